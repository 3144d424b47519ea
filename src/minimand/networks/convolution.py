"""What networks of images are put together from: convolution and pooling, channels last.

JAX differentiates a convolution into others whose axes stand in an order that XLA's CPU code is
slow for inside of a loop, and every training step is in one: 1.5 s instead of 0.06 s for two
convolutions. Here both slopes are written such that nothing is slow.
"""

from __future__ import annotations

from functools import partial, reduce
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from minimand.arrays import Array
from minimand.errors import ShapeError
from minimand.networks.layers import initial

SAME = ("NHWC", "HWIO", "NHWC")


class Convolution(nnx.Module):
    """A convolution with weights to be learned, which begin as suits the activation behind it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        rngs: nnx.Rngs,
        *,
        activation: str = "relu",
        stride: int = 1,
        bias: bool = True,
    ):
        shape = (size, size, inputs, outputs)
        self.kernel = nnx.Param(initial(activation)(rngs.params(), shape))
        if bias:
            self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        """[n, height, width, inputs] to [n, ⌈height / stride⌉, ⌈width / stride⌉, outputs]."""
        x = convolved(x, self.kernel[...], self.stride)
        return x + self.bias[...] if hasattr(self, "bias") else x


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolved(x: Array, kernel: Array, stride: int = 1) -> Array:
    """Images under a sliding kernel, with zeros around them.

    z[i, j] = Σ_ab x[s i + a - ⌊(h - 1) / 2⌋, s j + b - ⌊(w - 1) / 2⌋] K[a, b].

    Args:
        x: [n, height, width, inputs].
        kernel: [h, w, inputs, outputs].
        stride: s; the result is [n, ⌈height / s⌉, ⌈width / s⌉, outputs].

    >>> convolved(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    return _convolved(x, kernel, stride, SAME)


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _convolved(x, kernel, stride, SAME), (x, kernel)


def _backward(stride: int, kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    """The slopes of x and kernel; an accelerator has a way of its own to the second."""
    x, kernel = kept
    turned = jax.linear_transpose(
        lambda x: _convolved(x, kernel.swapaxes(2, 3), stride, ("NHWC", "HWOI", "NHWC")), x
    )
    at_once = jax.linear_transpose(lambda kernel: _convolved(x, kernel, stride, SAME), kernel)
    of_kernel = jax.lax.platform_dependent(
        x,
        slope,
        cpu=partial(_image_by_image, shape=kernel.shape, stride=stride),
        default=lambda x, slope: at_once(slope)[0],
    )
    return turned(slope)[0], of_kernel


convolved.defvjp(_forward, _backward)


def _convolved(x: Array, kernel: Array, stride: int, order: tuple[str, str, str]) -> Array:
    """The convolution, with axes in an order."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), _rims(kernel.shape), dimension_numbers=order
    )


def _rims(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """How many zeros stand before and behind the rows and columns."""
    return [((size - 1) // 2, size // 2) for size in shape[:2]]


def _image_by_image(x: Array, slope: Array, shape: tuple[int, ...], stride: int) -> Array:
    """The slope of a kernel: Σ patchesᵀ slope; the patches of one image fit into a cache."""
    height, width, _, outputs = shape
    rows, columns = slope.shape[1:3]
    places = [
        (slice(a, a + stride * rows, stride), slice(b, b + stride * columns, stride))
        for a, b in product(range(height), range(width))
    ]
    x = jnp.pad(x, [(0, 0), *((a, b + stride - 1) for a, b in _rims(shape)), (0, 0)])
    exact = jnp.promote_types(x.dtype, jnp.float32)

    def added(total: Array, image: tuple[Array, Array]) -> tuple[Array, None]:
        x, slope = image
        patches = jnp.concatenate([x[place] for place in places], axis=-1)
        axes = (((0, 1), (0, 1)), ((), ()))
        return total + jax.lax.dot_general(slope, patches, axes, preferred_element_type=exact), None

    total = jnp.zeros((outputs, height * width * shape[2]), exact)
    total, _ = jax.lax.scan(added, total, (x, slope))
    return total.T.reshape(shape).astype(x.dtype)


def max_pooled(x: Array, size: int) -> Array:
    """The largest value of each square of size × size pixels; what no square covers is cut off.

    Of equal values the first one takes the whole slope.

    >>> max_pooled(jnp.arange(15.0).reshape(1, 3, 5, 1), 2)[0, :, :, 0].tolist()
    [[6.0, 8.0]]
    """
    rows, columns = x.shape[1] // size, x.shape[2] // size
    squares = x[:, : rows * size, : columns * size].reshape(
        -1, rows, size, columns, size, x.shape[3]
    )
    entries = (squares[:, :, i, :, j] for i, j in product(range(size), repeat=2))
    return reduce(lambda a, b: jnp.where((a < b) | jnp.isnan(b), b, a), entries)


def with_channels(x: Array) -> Array:
    """Images [n, height, width] or [n, height, width, channels] as the latter."""
    return x[..., None] if x.ndim == 3 else x


def image_shape(network: Any, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of the images that a network is to read.

    Raises:
        ShapeError: examples of this shape are no images.
    """
    if len(shape) not in (2, 3):
        raise ShapeError(
            f"{network} reads images [n, height, width] or [n, height, width, channels]; these "
            f"inputs are {['n', *shape]}; reshape them"
        )
    height, width, channels = (*shape, 1)[:3]
    return height, width, channels
