"""Random boxes in images, and the augmentation that empties them."""

from __future__ import annotations

from types import MappingProxyType

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.component import Card, Fraction, Range, Real, component
from minimand.data.augmentation.base import Augmentation, Batch, check_images


@component
class Cutout(Augmentation):
    """A box of each image replaced by `value`; its sides are a share `side` of the image's.

    Its centre is anywhere, so that a part of the box may lie outside. Masks stay.

    Raises:
        ShapeError: the inputs are no images.

    >>> x, y, w = jnp.ones((1, 4, 4)), jnp.zeros(1), jnp.ones(1)
    >>> float(Cutout(side=0.5)(jax.random.key(0), x, y, w)[0].sum())
    12.0
    """

    side: Fraction = 0.5
    value: Real = 0.0
    card = Card(
        formula="x' = value inside of a box with sides side · h and side · w, else x",
        source="DeVries and Taylor (2017), Improved regularization of convolutional neural "
        "networks with cutout, section 3",
        use="objects that may be partly hidden",
        search=MappingProxyType({"side": Range(0.1, 0.6)}),
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        check_images(self, x)
        box = random_box(key, jnp.full(x.shape[0], self.side), x)
        return jnp.where(box, jnp.asarray(self.value, x.dtype), x), target, weight


def random_box(key: Array, side: Array, x: Array) -> Array:
    """Which pixels of images x, [n, height, width, ...], lie in a box around a random centre.

    Its sides are shares `side` [n] of the height and the width; what lies outside is cut off.
    """
    down, right = jax.random.split(key)
    tall, wide = _span(down, side, x.shape[1]), _span(right, side, x.shape[2])
    box = tall[:, :, None] & wide[:, None, :]
    return box.reshape(*box.shape, *(1,) * (x.ndim - 3))


def _span(key: Array, side: Array, size: int) -> Array:
    """[n, size]: the pixels of an axis within a share `side` of it, around a random centre."""
    centre = jax.random.randint(key, side.shape, 0, size)
    half = jnp.floor(side * size / 2)
    pixel = jnp.arange(size)
    return (pixel >= (centre - half)[:, None]) & (pixel < (centre + half)[:, None])
