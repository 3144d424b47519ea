"""Fully connected networks."""

from __future__ import annotations

import math
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, DecayRate, Range, component
from minimand.constraints import ACTIVITY
from minimand.networks.base import LayeredNetwork, Tree

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jax.numpy.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


NORMS: dict[str, Any] = {
    "batch": lambda width, **same: nnx.BatchNorm(width, momentum=0.9, **same),
    "layer": nnx.LayerNorm,
    "group": lambda width, **same: nnx.GroupNorm(width, math.gcd(width, GROUPS), **same),
}
GROUPS = 8


class _Stack(nnx.Module):
    """Hidden layers, each with a norm if there is one, an activation and dropout; then the output.

    Norms keep PyTorch's ε and momentum.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        outputs: int,
        rngs: nnx.Rngs,
        activation: str = "relu",
        norm: str | None = None,
    ):
        widths = pairwise(sizes)
        self.hidden = nnx.Dict(
            {f"layer{i}": nnx.Linear(a, b, rngs=rngs) for i, (a, b) in enumerate(widths)}
        )
        self.output = nnx.Linear(sizes[-1], outputs, rngs=rngs)
        self.activation = activation
        if norm:
            same = {"epsilon": 1e-5, "use_fast_variance": False, "rngs": rngs}
            self.norms = nnx.Dict(
                {f"layer{i}": NORMS[norm](width, **same) for i, width in enumerate(sizes[1:])}
            )

    def __call__(self, x: Any, key: Any, dropout: Any, train: bool) -> tuple[Array, Tree]:
        """(scores, activities)."""
        activities = {}
        for i in range(len(self.hidden)):
            name = f"layer{i}"
            x = self.hidden[name](x)
            if hasattr(self, "norms"):
                x = _normalised(self.norms[name], x, train)
            x = ACTIVATIONS[self.activation](x)
            activities[name] = {ACTIVITY: x}
            if dropout is not None:
                x = _dropped(x, jax.random.fold_in(key, i), dropout)
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
        return _Stack((math.prod(shape),), self.outputs, rngs)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, no activities)."""
        return module.output(flat(x)), {}


@component
class MLP(LayeredNetwork):
    """The multilayer perceptron, with norms and dropout on request.

    `norm` stands between a hidden layer and its activation: "batch" (Ioffe and Szegedy 2015) over
    the rows of a batch, and over the whole run when not training; "layer" (Ba et al. 2016) over a
    row's units; "group" (Wu and He 2018) over up to 8 groups of them. While training, `dropout` is
    the share of a hidden layer's activations that is set to 0, the others growing to make up for it
    (Srivastava et al. 2014).

    >>> MLP(hidden=(128, 64), outputs=10).hidden
    (128, 64)
    """

    hidden: tuple[Count, ...] = (64,)
    outputs: Count = 1
    activation: Literal["relu", "tanh", "gelu", "silu"] = "relu"
    norm: Literal[None, "batch", "layer", "group"] = None
    dropout: DecayRate = 0.0
    drops: ClassVar[bool] = False
    card = Card(
        formula="h ← a(W h + b) for each hidden layer;  z = W h + b",
        source="Rumelhart, Hinton and Williams (1986), Learning representations by "
        "back-propagating errors",
        use="tables with interactions and curved effects",
        search=MappingProxyType({"dropout": Range(0.1, 0.5)}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        off = isinstance(self.dropout, float) and self.dropout == 0
        object.__setattr__(self, "drops", not off)

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The hidden layers and the output layer."""
        sizes = (math.prod(shape), *self.hidden)
        return _Stack(sizes, self.outputs, rngs, self.activation, self.norm)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities of the hidden layers)."""
        scores: tuple[Array, Tree] = module(
            flat(x), key, self.dropout if train and self.drops else None, train
        )
        return scores


MLP._static += ("drops",)  # whether there is dropout is structure; how much is a number


def flat(x: Array) -> Array:
    """Examples of any shape as rows, [n, p]."""
    return x.reshape(len(x), -1)


def _normalised(norm: Any, x: Array, train: bool) -> Array:
    if isinstance(norm, nnx.BatchNorm):
        return norm(x, use_running_average=not train)
    return norm(x)


def _dropped(x: Array, key: Array, rate: Array) -> Array:
    """x with a share set to 0 and the rest divided by the share that is kept.

    A unit's number is mixed with the key by MurmurHash3's finaliser (Appleby 2011): on a CPU,
    drawing the bits by JAX takes longer than the step that they are for.
    """
    first, second = jax.random.key_data(key)
    bits = jax.lax.iota("uint32", x.size).reshape(x.shape) * np.uint32(0x9E3779B1) + first
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ (bits >> shift)) * np.uint32(factor) ^ second
    kept = (bits ^ (bits >> 16)) >> 8 >= rate * 2**24
    return jax.numpy.where(kept, x / jax.numpy.asarray(1 - rate, x.dtype), 0)
