"""Networks that give every pixel of an image its scores."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, component
from minimand.networks.base import LayeredNetwork, Tree
from minimand.networks.convolution import Convolution, image_shape, max_pooled, with_channels
from minimand.networks.layers import ACTIVATIONS, Activation, Norm, initial, normalised, normed


class _Pair(nnx.Module):
    """Two convolutions 3 × 3, each with a norm if there is one, and the activation."""

    def __init__(
        self, inputs: int, outputs: int, rngs: nnx.Rngs, activation: str, norm: str | None
    ):
        widths = enumerate(pairwise((inputs, outputs, outputs)))
        self.convolutions = nnx.Dict(
            {f"layer{i}": Convolution(a, b, 3, rngs, activation=activation) for i, (a, b) in widths}
        )
        if norm:
            self.norms = nnx.Dict({f"layer{i}": normed(norm, outputs, rngs) for i in range(2)})
        self.activation = activation

    def __call__(self, x: Array, train: bool) -> Array:
        for name, convolution in self.convolutions.items():
            x = convolution(x)
            if hasattr(self, "norms"):
                x = normalised(self.norms[name], x, train)
            x = ACTIVATIONS[self.activation](x)
        return x


class Doubling(nnx.Module):
    """Every pixel becomes 2 × 2: a convolution transposed, with a kernel and stride of 2."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
        self.spread = nnx.Linear(inputs, 4 * outputs, kernel_init=initial("identity"), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        n, height, width, _ = x.shape
        squares = self.spread(x).reshape(n, height, width, 2, 2, -1)
        return squares.swapaxes(2, 3).reshape(n, 2 * height, 2 * width, -1)


class _U(nnx.Module):
    """Down with pooling, up again beside what was there on the way down, and the scores."""

    def __init__(
        self,
        colours: int,
        channels: tuple[int, ...],
        outputs: int,
        rngs: nnx.Rngs,
        activation: str,
        norm: str | None,
    ):
        steps = [*pairwise(channels)]
        down = zip((colours, *channels), channels, strict=False)
        self.down = nnx.Dict(
            {f"level{i}": _Pair(a, b, rngs, activation, norm) for i, (a, b) in enumerate(down)}
        )
        self.doubled = nnx.Dict(
            {f"level{i}": Doubling(b, a, rngs) for i, (a, b) in enumerate(steps)}
        )
        self.up = nnx.Dict(
            {f"level{i}": _Pair(2 * a, a, rngs, activation, norm) for i, (a, _) in enumerate(steps)}
        )
        self.output = nnx.Linear(channels[0], outputs, rngs=rngs)

    def __call__(self, x: Array, train: bool) -> Array:
        height, width = x.shape[1:3]
        unit = 2 ** len(self.up)
        x = jnp.pad(x, [(0, 0), (0, -height % unit), (0, -width % unit), (0, 0)], mode="edge")
        seen: list[Array] = []
        for pair in self.down.values():
            x = pair(max_pooled(x, 2) if seen else x, train)
            seen.append(x)
        for name, beside in reversed([*zip(self.up, seen[:-1], strict=True)]):
            x = jnp.concatenate([beside, self.doubled[name](x)], axis=-1)
            x = self.up[name](x, train)
        return self.output(x[:, :height, :width])


@component
class UNet(LayeredNetwork):
    """The U-shaped network: scores [n, height, width, outputs] for every pixel of an image.

    On the way down each of `channels` is a pair of convolutions 3 × 3 at half the height and width
    of the one before; on the way up their results stand beside what comes from below. Images may
    have any height and width: they are filled up by their own last rows and columns, and the scores
    cut back.

    Images are [n, height, width] or [n, height, width, channels].

    >>> UNet(channels=(8, 16), outputs=2).channels
    (8, 16)
    """

    channels: tuple[Count, ...] = (16, 32, 64)
    outputs: Count = 2
    activation: Activation = "relu"
    norm: Norm = "batch"
    card = Card(
        formula="hᵢ ← pair(pool(hᵢ₋₁)) downwards;  u ← pair(hᵢ, double(u)) upwards;  z = W u + b",
        source="Ronneberger, Fischer and Brox (2015), U-Net: convolutional networks for biomedical "
        "image segmentation, section 2, with zeros around the images",
        use="a class for every pixel",
    )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The way down, the way up and the output layer."""
        colours = image_shape(self, shape)[2]
        return _U(colours, self.channels, self.outputs, rngs, self.activation, self.norm)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, no activities)."""
        return module(with_channels(x), train), {}
