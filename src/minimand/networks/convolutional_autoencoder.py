"""Autoencoders of images: convolutions that halve an image to a code, and some that double it."""

from __future__ import annotations

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, component
from minimand.constraints import ACTIVITY
from minimand.errors import ArgumentError
from minimand.networks.base import Tree, output_bias
from minimand.networks.coder import Autoencoding
from minimand.networks.convolution import Convolution, image_shape, with_channels
from minimand.networks.layers import ACTIVATIONS, Activation, flat, initial


class _Hourglass(nnx.Module):
    """Convolutions of stride 2 to a code; from it, resizing by 2 and convolutions back."""

    def __init__(
        self,
        image: tuple[int, int, int],
        channels: tuple[int, ...],
        code: int,
        size: int,
        activations: tuple[str, str],
        rngs: nnx.Rngs,
    ):
        self.activation, self.code_activation = activations
        depths = (image[2], *channels)
        self.sizes = [image[:2]]
        for _ in channels:
            height, width = self.sizes[-1]
            self.sizes.append((-(-height // 2), -(-width // 2)))

        def layer(a: int, b: int, activation: str, stride: int = 1) -> Convolution:
            return Convolution(a, b, size, rngs, activation=activation, stride=stride)

        down = [layer(a, b, self.activation, 2) for a, b in pairwise(depths)]
        *up, output = pairwise(depths[::-1])
        features = math.prod(self.sizes[-1]) * depths[-1]
        there, back = initial(self.code_activation), initial(self.activation)
        self.encoder = nnx.Dict({f"layer{i}": one for i, one in enumerate(down)})
        self.code = nnx.Linear(features, code, kernel_init=there, rngs=rngs)
        self.widening = nnx.Linear(code, features, kernel_init=back, rngs=rngs)
        self.decoder = nnx.Dict(
            {f"layer{i}": layer(*two, self.activation) for i, two in enumerate(up)}
        )
        self.output = layer(*output, "identity")

    def encode(self, x: Array) -> tuple[Array, Tree]:
        """(code [n, k], activities)."""
        x, seen = with_channels(x), {}
        for i in range(len(self.encoder)):
            name = f"layer{i}"
            x = ACTIVATIONS[self.activation](self.encoder[name](x))
            seen[name] = {ACTIVITY: x}
        code = ACTIVATIONS[self.code_activation](self.code(flat(x)))
        return code, {"encoder": seen, "code": {ACTIVITY: code}}

    def decode(self, code: Array) -> Array:
        """The rebuilt images as rows [n, d]."""
        *sizes, smallest = self.sizes
        x = ACTIVATIONS[self.activation](self.widening(code)).reshape(len(code), *smallest, -1)
        for i, size in enumerate(sizes[:0:-1]):
            x = ACTIVATIONS[self.activation](self.decoder[f"layer{i}"](_resized(x, size)))
        return flat(self.output(_resized(x, sizes[0])))


@component
class ConvolutionalAutoencoder(Autoencoding):
    """Convolutions that halve an image, to a code, and from it back by resizing and convolutions.

    Each of `channels` is a convolution of stride 2 with a square kernel; the last image is fully
    connected to the code. The way back is the mirror image: the nearest pixels double an image
    before each convolution, which leaves no checkerboard. Scores are rows [n, d], as the
    `Reconstruction` takes them. Images are [n, height, width] or [n, height, width, channels].

    Raises:
        ArgumentError: there are no channels.
        ShapeError: the inputs are no images.

    >>> ConvolutionalAutoencoder(channels=(8, 16), code=10).width(jnp.ones((1, 8, 8)))
    64
    """

    channels: tuple[Count, ...] = (16, 32)
    code: Count = 32
    kernel_size: Count = 3
    activation: Activation = "relu"
    code_activation: Activation = "sigmoid"
    card = Card(
        formula="h ← a(K * h + b), every second pixel;  code = a(W h + b);  "
        "h ← a(K' * double(h) + b')",
        source="Masci, Meier, Cireşan and Schmidhuber (2011), Stacked convolutional auto-encoders; "
        "Odena, Dumoulin and Olah (2016), Deconvolution and checkerboard artifacts",
        use="features of images without labels",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels:
            raise ArgumentError(
                "ConvolutionalAutoencoder: channels is empty; name those of each convolution, such "
                "as (16, 32)"
            )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The layers there and back."""
        activations = self.activation, self.code_activation
        image = image_shape(self, shape)
        return _Hourglass(image, self.channels, self.code, self.kernel_size, activations, rngs)

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """`params` with the mean of the best constants of a channel as its bias."""
        channels = params["output"]["bias"].shape[0]
        return output_bias(params, jnp.mean(constant.reshape(-1, channels), axis=0))

    def encoder(self, params: Tree) -> list[Tree]:
        """Nothing that a fully connected network could begin with."""
        raise ArgumentError(f"{self} has convolutions; only fully connected layers can be stacked")


def _resized(x: Array, size: tuple[int, int]) -> Array:
    """Images at another size, by the nearest pixels."""
    return jax.image.resize(x, (len(x), *size, x.shape[-1]), "nearest")
