"""Residual networks for small images."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, component
from minimand.constraints import ACTIVITY
from minimand.errors import ArgumentError, ShapeError
from minimand.networks.base import LayeredNetwork, Tree
from minimand.networks.convolution import Convolution, image_shape, max_pooled, with_channels
from minimand.networks.layers import ACTIVATIONS, Activation, normalised, normed


class Filter(nnx.Module):
    """A convolution 3 × 3 without bias, then batch norm."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs, activation: str, stride: int = 1):
        self.convolution = Convolution(
            inputs, outputs, 3, rngs, activation=activation, stride=stride, bias=False
        )
        self.norm = normed("batch", outputs, rngs)

    def __call__(self, x: Array, train: bool) -> Array:
        return normalised(self.norm, self.convolution(x), train)


class Block(nnx.Module):
    """a(x + f(x)), f being two filters with the activation a between them.

    More outputs than inputs halve the image: every other pixel of x is added, and zeros to the new
    channels, so that the way around f has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs, activation: str):
        self.stride = 1 if inputs == outputs else 2
        self.first = Filter(inputs, outputs, rngs, activation, self.stride)
        self.second = Filter(outputs, outputs, rngs, activation)
        self.activation = activation

    def __call__(self, x: Array, train: bool) -> Array:
        a = ACTIVATIONS[self.activation]
        inside = self.second(a(self.first(x, train)), train)
        around = x[:, :: self.stride, :: self.stride]
        added = inside.shape[-1] - x.shape[-1]
        around = jnp.pad(around, [(0, 0)] * 3 + [(added // 2, added - added // 2)])
        return a(around + inside)


class _Residual(nnx.Module):
    """A filter, blocks, the mean over all places, and the output."""

    def __init__(self, channels: tuple[int, ...], outputs: int, rngs: nnx.Rngs, activation: str):
        colours, first, *_ = channels
        self.first = Filter(colours, first, rngs, activation)
        pairs = pairwise(channels[1:])
        self.blocks = nnx.Dict(
            {f"block{i}": Block(a, b, rngs, activation) for i, (a, b) in enumerate(pairs)}
        )
        self.output = nnx.Linear(channels[-1], outputs, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities)."""
        x = ACTIVATIONS[self.activation](self.first(x, train))
        first, blocks = {ACTIVITY: x}, {}
        for name, block in self.blocks.items():
            x = block(x, train)
            blocks[name] = {ACTIVITY: x}
        return self.output(jnp.mean(x, axis=(1, 2))), {"first": first, "blocks": blocks}


@component
class ResNet(LayeredNetwork):
    """The residual network for small images: 6 n + 2 layers, n blocks for each of three sizes.

    The first size has so many `channels`, the next ones half the height and width of the image and
    twice the channels. `depth` counts layers. Every convolution is followed by batch norm.

    Images are [n, height, width] or [n, height, width, channels].

    Raises:
        ArgumentError: the depth is not 8, 14, 20, 26, 32, ...

    >>> ResNet(depth=32, outputs=10).depth
    32
    """

    depth: Count = 20
    channels: Count = 16
    outputs: Count = 1
    activation: Activation = "relu"
    card = Card(
        formula="h ← a(h + f(h)) for each block, f(h) = N(K' * a(N(K * h)));  z = W mean(h) + b",
        source="He, Zhang, Ren and Sun (2016), Deep residual learning for image recognition, "
        "section 4.2",
        use="small images, where more depth pays",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 8 or self.depth % 6 != 2:
            raise ArgumentError(
                f"ResNet: depth is {self.depth}; it must be 6 n + 2, such as 20, 32, 44 or 56"
            )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The first filter, the blocks and the output layer."""
        colours = image_shape(self, shape)[2]
        blocks = self.depth // 6
        sizes = [self.channels * factor for factor in (1, 2, 4) for _ in range(blocks)]
        return _Residual((colours, self.channels, *sizes), self.outputs, rngs, self.activation)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities of all layers but the output)."""
        scores: tuple[Array, Tree] = module(with_channels(x), train)
        return scores


class _Residual9(nnx.Module):
    """Four filters, of which the last three pool, two blocks among them, and the output."""

    def __init__(self, colours: int, width: int, outputs: int, rngs: nnx.Rngs, activation: str):
        channels = (colours, width, 2 * width, 4 * width, 8 * width)
        self.filters = nnx.Dict(
            {
                f"layer{i}": Filter(a, b, rngs, activation)
                for i, (a, b) in enumerate(pairwise(channels))
            }
        )
        self.blocks = nnx.Dict(
            {f"layer{i}": Block(channels[i + 1], channels[i + 1], rngs, activation) for i in (1, 3)}
        )
        self.output = nnx.Linear(channels[-1], outputs, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities)."""
        filters, blocks = {}, {}
        for i, (name, layer) in enumerate(self.filters.items()):
            x = ACTIVATIONS[self.activation](layer(x, train))
            x = max_pooled(x, 2) if i else x
            filters[name] = {ACTIVITY: x}
            if name in self.blocks:
                x = self.blocks[name](x, train)
                blocks[name] = {ACTIVITY: x}
        return self.output(jnp.max(x, axis=(1, 2))), {"filters": filters, "blocks": blocks}


@component
class ResNet9(LayeredNetwork):
    """The residual network of nine layers that trains quickly: wide, with two blocks.

    Four convolutions, of `channels` and 2, 4 and 8 times as many, each but the first with pooling
    by 2; a block follows the second and the last. All have batch norm. The output sees the largest
    value of every channel.

    Images are [n, height, width] or [n, height, width, channels], of 8 × 8 pixels or more.

    >>> ResNet9(channels=32, outputs=10).channels
    32
    """

    channels: Count = 64
    outputs: Count = 1
    activation: Activation = "relu"
    card = Card(
        formula="h ← pool(a(N(K * h))) four times, h ← a(h + f(h)) after two of them;  "
        "z = W max(h) + b",
        source="Page (2018), How to train your ResNet, part 4; Coleman et al. (2019), Analysis of "
        "DAWNBench",
        use="small images in little time",
    )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The filters, the blocks and the output layer."""
        height, width, colours = image_shape(self, shape)
        if min(height, width) < 8:
            raise ShapeError(f"ResNet9 needs 8 × 8 pixels or more; these are {height} × {width}")
        return _Residual9(colours, self.channels, self.outputs, rngs, self.activation)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities of all layers but the output)."""
        scores: tuple[Array, Tree] = module(with_channels(x), train)
        return scores
