"""Fully connected networks."""

from __future__ import annotations

import math
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import jax
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, DecayRate, Range, component
from minimand.constraints import ACTIVITY
from minimand.networks.base import Dropping, LayeredNetwork, Tree
from minimand.networks.layers import (
    ACTIVATIONS,
    Activation,
    Norm,
    dropped,
    flat,
    initial,
    normalised,
    normed,
)


class Stack(nnx.Module):
    """Hidden layers, each with a norm if there is one, activation and dropout; then the output.

    If `residual`, a layer adds to what the one before had put out ahead of norm and activation.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        outputs: int,
        rngs: nnx.Rngs,
        activation: str = "relu",
        norm: str | None = None,
        residual: bool = False,
    ):
        widths = list(pairwise(sizes))
        self.adds = tuple(residual and i > 0 and a == b for i, (a, b) in enumerate(widths))
        first = [initial(activation, 1 / sum(self.adds) if adds else 1.0) for adds in self.adds]
        self.hidden = nnx.Dict(
            {
                f"layer{i}": nnx.Linear(*width, kernel_init=first[i], rngs=rngs)
                for i, width in enumerate(widths)
            }
        )
        self.output = nnx.Linear(sizes[-1], outputs, rngs=rngs)
        self.activation = activation
        if norm:
            self.norms = nnx.Dict(
                {f"layer{i}": normed(norm, width, rngs) for i, width in enumerate(sizes[1:])}
            )

    def __call__(self, x: Any, key: Any, dropout: Any, train: bool) -> tuple[Array, Tree]:
        """(scores, activities)."""
        activities, reached = {}, x
        for i, adds in enumerate(self.adds):
            name = f"layer{i}"
            x = reached = self.hidden[name](x) + reached if adds else self.hidden[name](x)
            if hasattr(self, "norms"):
                x = normalised(self.norms[name], x, train)
            x = ACTIVATIONS[self.activation](x)
            activities[name] = {ACTIVITY: x}
            x = dropped(x, jax.random.fold_in(key, i), dropout)
        return self.output(x), {"hidden": activities}


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

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """One layer from the inputs to the scores."""
        return Stack((math.prod(shape),), self.outputs, rngs)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, no activities)."""
        return module.output(flat(x)), {}


@component
class MLP(Dropping):
    """The multilayer perceptron, with norms, dropout and skip connections on request.

    `norm` stands between a hidden layer and its activation: "batch" (Ioffe and Szegedy 2015) over
    the rows of a batch, and over the whole run when not training; "layer" (Ba et al. 2016) over a
    row's units; "group" (Wu and He 2018) over up to 8 groups of them. While training, `dropout` is
    the share of a hidden layer's activations that is set to 0, the others growing to make up for it
    (Srivastava et al. 2014).

    If `residual`, each hidden layer as wide as the one before adds to what that one put out ahead
    of norm and activation: u ← u + W a(u) + b (He et al. 2016, Identity mappings in deep residual
    networks, eq. 3), so that gradients reach the first layer however many there are. The kernels of
    the L layers that add begin with 1/L of the usual variance (Hayou et al. 2021, Stable ResNet).

    >>> MLP(hidden=(128, 64), outputs=10).hidden
    (128, 64)
    """

    hidden: tuple[Count, ...] = (64,)
    outputs: Count = 1
    activation: Activation = "relu"
    norm: Norm = None
    dropout: DecayRate = 0.0
    residual: bool = False
    card = Card(
        formula="h ← a(W h + b) for each hidden layer;  z = W h + b",
        source="Rumelhart, Hinton and Williams (1986), Learning representations by "
        "back-propagating errors",
        use="tables with interactions and curved effects",
        search=MappingProxyType({"dropout": Range(0.1, 0.5)}),
    )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The hidden layers and the output layer."""
        sizes = (math.prod(shape), *self.hidden)
        return Stack(sizes, self.outputs, rngs, self.activation, self.norm, self.residual)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities of the hidden layers)."""
        scores: tuple[Array, Tree] = module(flat(x), key, self.rate(train), train)
        return scores
