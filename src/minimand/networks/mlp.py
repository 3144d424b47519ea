"""Fully connected networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import jax
from flax import nnx

from minimand.component import Card, Count, component
from minimand.networks.base import LayeredNetwork

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jax.numpy.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


class _Stack(nnx.Module):
    """Hidden layers with an activation, then the output layer."""

    def __init__(self, sizes: tuple[int, ...], outputs: int, activation: str, rngs: nnx.Rngs):
        widths = pairwise(sizes)
        self.hidden = nnx.Dict(
            {f"layer{i}": nnx.Linear(a, b, rngs=rngs) for i, (a, b) in enumerate(widths)}
        )
        self.output = nnx.Linear(sizes[-1], outputs, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Any) -> Any:
        for i in range(len(self.hidden)):
            x = ACTIVATIONS[self.activation](self.hidden[f"layer{i}"](x))
        return self.output(x)


@component
class Linear(LayeredNetwork):
    """Scores that are affine in the inputs.

    >>> Linear(outputs=3)
    Linear(outputs=3)
    """

    outputs: Count = 1
    card = Card(
        formula="z = W x + b",
        source="Gauss (1809), Theoria motus",
        use="few rows, or effects that must be read off",
    )

    def layers(self, features: int, rngs: nnx.Rngs) -> nnx.Module:
        """One layer from the inputs to the scores."""
        return _Stack((features,), self.outputs, "relu", rngs)


@component
class MLP(LayeredNetwork):
    """The multilayer perceptron.

    >>> MLP(hidden=(128, 64), outputs=10).hidden
    (128, 64)
    """

    hidden: tuple[Count, ...] = (64,)
    outputs: Count = 1
    activation: Literal["relu", "tanh", "gelu", "silu"] = "relu"
    card = Card(
        formula="h ← a(W h + b) for each hidden layer;  z = W h + b",
        source="Rumelhart, Hinton and Williams (1986), Learning representations by "
        "back-propagating errors",
        use="tables with interactions and curved effects",
    )

    def layers(self, features: int, rngs: nnx.Rngs) -> nnx.Module:
        """The hidden layers and the output layer."""
        return _Stack((features, *self.hidden), self.outputs, self.activation, rngs)
