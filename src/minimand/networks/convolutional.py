"""Convolutional networks with pooling."""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import Any

from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, DecayRate, Range, component
from minimand.constraints import ACTIVITY
from minimand.errors import ShapeError
from minimand.networks.base import Dropping, Tree
from minimand.networks.convolution import Convolution, image_shape, max_pooled, with_channels
from minimand.networks.layers import (
    ACTIVATIONS,
    Activation,
    Norm,
    dropped,
    flat,
    normalised,
    normed,
)
from minimand.networks.mlp import Stack


class _Pyramid(Stack):
    """Convolutions, each with a norm if there is one, activation and pooling; then a stack."""

    def __init__(
        self,
        channels: tuple[int, ...],
        kernel_size: int,
        pool: int,
        sizes: tuple[int, ...],
        outputs: int,
        rngs: nnx.Rngs,
        activation: str,
        norm: str | None,
    ):
        super().__init__(sizes, outputs, rngs, activation, norm)
        self.convolutions = nnx.Dict(
            {
                f"layer{i}": Convolution(a, b, kernel_size, rngs, activation=activation)
                for i, (a, b) in enumerate(pairwise(channels))
            }
        )
        if norm:
            self.convolution_norms = nnx.Dict(
                {f"layer{i}": normed(norm, width, rngs) for i, width in enumerate(channels[1:])}
            )
        self.pool = pool

    def __call__(self, x: Any, key: Any, dropout: Any, train: bool) -> tuple[Array, Tree]:
        """(scores, activities)."""
        activities = {}
        for name, convolution in self.convolutions.items():
            x = convolution(x)
            if hasattr(self, "convolution_norms"):
                x = normalised(self.convolution_norms[name], x, train)
            x = max_pooled(ACTIVATIONS[self.activation](x), self.pool)
            activities[name] = {ACTIVITY: x}
        scores, hidden = super().__call__(dropped(flat(x), key, dropout), key, dropout, train)
        return scores, {"convolutions": activities} | hidden


@component
class CNN(Dropping):
    """The convolutional network: convolutions with pooling, then fully connected layers.

    Each convolution has a square kernel and zeros around its images, so that these keep their size,
    and is followed by a norm if there is one, the activation, and the largest value of every square
    of `pool` × `pool` pixels; rows and columns left over are cut off. Then come the `hidden` layers
    of an `MLP` and the output. `norm` is that of an `MLP`: "batch" is over rows and places, "layer"
    over the channels of a place, "group" over groups of channels and all places. While training,
    `dropout` is the share that is set to 0 of what each fully connected layer takes in.

    Images are [n, height, width] or [n, height, width, channels].

    Raises:
        ShapeError: the inputs are no images, or too small for so much pooling.

    >>> CNN(channels=(16, 32), outputs=10).channels
    (16, 32)
    """

    channels: tuple[Count, ...] = (32, 64)
    kernel_size: Count = 3
    pool: Count = 2
    hidden: tuple[Count, ...] = ()
    outputs: Count = 1
    activation: Activation = "relu"
    norm: Norm = None
    dropout: DecayRate = 0.0
    card = Card(
        formula="h ← pool(a(K * h + b)) for each convolution;  h ← a(W h + b) for each hidden "
        "layer;  z = W h + b",
        source="LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to "
        "document recognition, section II",
        use="images in which what matters may stand anywhere",
        search=MappingProxyType({"dropout": Range(0.1, 0.5)}),
    )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The convolutions, the hidden layers and the output layer."""
        height, width, colours = image_shape(self, shape)
        shrunk = self.pool ** len(self.channels)
        features = (height // shrunk) * (width // shrunk) * (colours, *self.channels)[-1]
        if not features:
            raise ShapeError(
                f"{self} pools images of {height} × {width} pixels down to nothing; give it fewer "
                f"channels or a smaller pool"
            )
        return _Pyramid(
            (colours, *self.channels),
            self.kernel_size,
            self.pool,
            (features, *self.hidden),
            self.outputs,
            rngs,
            self.activation,
            self.norm,
        )

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities of all layers but the output)."""
        scores: tuple[Array, Tree] = module(with_channels(x), key, self.rate(train), train)
        return scores
