"""Augmentations that move images: each says where in the image a pixel of the result comes from.

Masks move with their images. In a `Chain`, those that follow one another with the same fill mode
are one map, so that the image is resampled once, and what it shows is cut off once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.component import Card, Fraction, NonNegative, Range, Real, component
from minimand.data.augmentation.base import Augmentation, Batch, check_images, holds_masks
from minimand.data.augmentation.resampling import Fill, Places, bilinear, nearest


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Geometric(Augmentation):
    """A random map of the plane for each image [height, width] or [height, width, channels].

    Targets [n, height, width] are masks and move along, to the nearest pixel; others stay. Outside
    of the image `fill` is "nearest" (a a a | a b c | c c c), "reflect" (c b a | a b c | c b a),
    "wrap" (a b c | a b c | a b c) or "constant": `value`, and 0 in a mask.

    Raises:
        ShapeError: the inputs are no images.
    """

    fill: Fill = "nearest"
    value: Real = 0.0
    whole: ClassVar[bool] = False
    """Whether pixels land on pixels, so that there is nothing to interpolate."""

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        """Where pixels come from that go to places in images of a shape [n, height, width].

        Places are counted from the middle of the image.
        """
        raise NotImplementedError

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        return seen_through([(key, self)], x, target, weight)


def seen_through(
    maps: Sequence[tuple[Array, Geometric]], x: Array, target: Array, weight: Array
) -> Batch:
    """A batch after maps with their keys, as one; the first says what is outside of the image."""
    first = maps[0][1]
    check_images(first, x)
    shape = x.shape[:3]
    middle = [(size - 1) / 2 for size in shape[1:]]
    rows, columns = (jnp.arange(size) - half for size, half in zip(shape[1:], middle, strict=True))
    places = rows[:, None], columns[None, :]
    for key, one in reversed(maps):
        places = one.source(key, places, shape)
    at = places[0] + middle[0], places[1] + middle[1]
    resampled = nearest if all(one.whole for _, one in maps) else bilinear
    if holds_masks(x, target, weight):
        move = partial(nearest, places=at, fill=first.fill, value=0)
        for _ in weight.shape[1:]:
            move = jax.vmap(move)
        target = move(target)
    return resampled(x, at, first.fill, first.value), target, weight


@component
class Flip(Geometric):
    """Each image mirrored with a `probability`: left and right change places, or up and down.

    >>> x, y, w = jnp.array([[[1.0, 2.0, 3.0]]]), jnp.zeros(1), jnp.ones(1)
    >>> Flip(probability=1.0)(jax.random.key(0), x, y, w)[0].tolist()
    [[[3.0, 2.0, 1.0]]]
    """

    direction: Literal["horizontal", "vertical"] = "horizontal"
    probability: Fraction = 0.5
    whole = True
    card = Card(
        formula="x'[i, j] = x[i, w - 1 - j] with probability p",
        source="Krizhevsky, Sutskever and Hinton (2012), ImageNet classification with deep "
        "convolutional neural networks, section 4.1",
        use="images that mean the same in a mirror",
        search=MappingProxyType({"probability": Range(0.0, 0.5)}),
    )

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        rows, columns = places
        flipped = jax.random.uniform(key, (shape[0], 1, 1)) < self.probability
        if self.direction == "vertical":
            return jnp.where(flipped, -rows, rows), columns
        return rows, jnp.where(flipped, -columns, columns)


@component
class Shift(Geometric):
    """Each image moved up or down by at most a share `height` of its own, sideways by `width`.

    Moves are rounded to whole pixels, so that nothing is blurred.

    >>> x, y, w = jnp.arange(5.0).reshape(1, 1, 5), jnp.zeros(1), jnp.ones(1)
    >>> Shift(width=0.4, fill="wrap")(jax.random.key(2), x, y, w)[0].tolist()
    [[[2.0, 3.0, 4.0, 0.0, 1.0]]]
    """

    height: NonNegative = 0.1
    width: NonNegative = 0.1
    whole = True
    card = Card(
        formula="x'[i, j] = x[i + a, j + b], a and b uniform in ±height · h, ±width · w, rounded",
        source="LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to "
        "document recognition, section III.B",
        use="images whose objects stand anywhere",
        search=MappingProxyType({"height": Range(0.0, 0.2), "width": Range(0.0, 0.2)}),
    )

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        n, height, width = shape
        down, right = jax.random.split(key)
        return (
            places[0] + jnp.round(height * _within(down, self.height, n)),
            places[1] + jnp.round(width * _within(right, self.width, n)),
        )


@component
class RandomCrop(Geometric):
    """Each image padded by `padding` pixels on every side, and a part of its own size cut out.

    >>> x, y, w = jnp.ones((1, 3, 3)), jnp.zeros(1), jnp.ones(1)
    >>> RandomCrop(padding=1)(jax.random.key(0), x, y, w)[0].tolist()
    [[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]
    """

    padding: NonNegative = 4.0
    fill: Fill = "constant"
    whole = True
    card = Card(
        formula="x'[i, j] = x[i + a, j + b], a and b uniform among the whole numbers in ±padding",
        source="Lee et al. (2015), Deeply-supervised nets, section 3.1; He et al. (2016), Deep "
        "residual learning for image recognition, section 4.2",
        use="small images, such as CIFAR's, whose objects stand anywhere",
        search=MappingProxyType({"padding": Range(0.0, 6.0)}),
    )

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        rows, columns = places
        padding = jnp.floor(self.padding)
        draw = jax.random.uniform(key, (2, shape[0], 1, 1))
        down, right = jnp.floor(draw * (2 * padding + 1)) - padding
        return rows + down, columns + right


@component
class Rotation(Geometric):
    """Each image turned about its middle by an angle uniform in ±`degrees`.

    >>> Rotation(degrees=15.0)
    Rotation(degrees=15.0)
    """

    degrees: NonNegative = 10.0
    card = Card(
        formula="x'(p) = x(R p), R = [cos θ, -sin θ; sin θ, cos θ], θ uniform in ±degrees",
        source="Simard, Steinkraus and Platt (2003), Best practices for convolutional neural "
        "networks applied to visual document analysis, section 2",
        use="images that may be tilted",
        search=MappingProxyType({"degrees": Range(0.0, 30.0)}),
    )

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        rows, columns = places
        angle = jnp.deg2rad(_within(key, self.degrees, shape[0]))
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return cos * rows + sin * columns, cos * columns - sin * rows


@component
class Shear(Geometric):
    """Each image slanted sideways by an angle uniform in ±`degrees`.

    >>> Shear(degrees=15.0)
    Shear(degrees=15.0)
    """

    degrees: NonNegative = 10.0
    card = Card(
        formula="x'(p) = x(S p), S = [cos θ, 0; -sin θ, 1] on (row, column), θ uniform in ±degrees",
        source="LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to "
        "document recognition, section III.B; S as in Keras's "
        "ImageDataGenerator",
        use="handwriting, and objects seen aslant",
        search=MappingProxyType({"degrees": Range(0.0, 30.0)}),
    )

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        rows, columns = places
        angle = jnp.deg2rad(_within(key, self.degrees, shape[0]))
        return jnp.cos(angle) * rows, columns - jnp.sin(angle) * rows


@component
class Zoom(Geometric):
    """Each image enlarged or made smaller by at most a share `factor`, its height and width apart.

    >>> Zoom(factor=0.2)
    Zoom(factor=0.2)
    """

    factor: Fraction = 0.1
    card = Card(
        formula="x'(i, j) = x(a i, b j) from the middle, a and b uniform in 1 ± factor",
        source="LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to "
        "document recognition, section III.B",
        use="objects near and far",
        search=MappingProxyType({"factor": Range(0.0, 0.3)}),
    )

    def source(self, key: Array, places: Places, shape: tuple[int, ...]) -> Places:
        tall, wide = (1 + _within(part, self.factor, shape[0]) for part in jax.random.split(key))
        return tall * places[0], wide * places[1]


def _within(key: Array, limit: Array, n: int) -> Array:
    """[n, 1, 1] draws, uniform in ±limit."""
    return limit * jax.random.uniform(key, (n, 1, 1), minval=-1.0)
