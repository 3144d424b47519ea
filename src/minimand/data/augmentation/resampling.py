"""Images as they are seen from elsewhere: the nearest pixel or between pixels, and fill modes.

Places are rows and columns that broadcast to [n, height, width], counted from the first pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import jax.numpy as jnp

from minimand.arrays import Array

Places = tuple[Array, Array]
"""(rows, columns)."""
Fill = Literal["nearest", "reflect", "wrap", "constant"]

FOLDS: Mapping[Fill, Callable[[Array, int], Array]] = MappingProxyType(
    {
        "nearest": lambda i, size: jnp.clip(i, 0, size - 1),  # a a a | a b c | c c c
        "reflect": lambda i, size: jnp.minimum(i % (2 * size), -(i + 1) % (2 * size)),  # c b a |
        "wrap": lambda i, size: i % size,  # a b c | a b c | a b c
        "constant": lambda i, size: jnp.clip(i, 0, size - 1),  # 0 0 0 | a b c | 0 0 0
    }
)
"""Which pixel of an axis stands for the one that is numbered i."""


def nearest(x: Array, places: Places, fill: Fill, value: Array) -> Array:
    """The pixels [n, height, width, ...] that are nearest to places in images of that shape."""
    rows, columns = (jnp.round(place).astype(jnp.int32) for place in places)
    return _pixels(x, rows, columns, fill, value)


def bilinear(x: Array, places: Places, fill: Fill, value: Array) -> Array:
    """Images at places between pixels, by the four around each; those outside are filled first."""
    (row, down), (column, right) = map(_split, places)

    def line(row: Array) -> Array:
        left, ending = (_pixels(x, row, column + i, fill, value) for i in (0, 1))
        return _between(left, ending, right)

    return _between(line(row), line(row + 1), down)


def _between(start: Array, end: Array, share: Array) -> Array:
    share = _behind(share.astype(start.dtype), start)
    return (1 - share) * start + share * end


def _split(place: Array) -> tuple[Array, Array]:
    """(whole part, the rest)."""
    whole = jnp.floor(place)
    return whole.astype(jnp.int32), place - whole


def _pixels(x: Array, rows: Array, columns: Array, fill: Fill, value: Array) -> Array:
    """The pixels of x at whole rows and columns."""
    n, height, width, *_ = x.shape
    row, column = FOLDS[fill](rows, height), FOLDS[fill](columns, width)
    image = jnp.arange(n)[:, None, None]
    found = x.at[image, row, column].get(mode="promise_in_bounds")
    if fill == "constant":
        inside = _behind((row == rows) & (column == columns), x)
        found = jnp.where(inside, found, jnp.asarray(value, x.dtype))
    return found


def _behind(part: Array, x: Array) -> Array:
    """[n, height, width] with the channels of images x, as axes of length 1, if they have any."""
    return part.reshape(*part.shape, *(1,) * (x.ndim - 3))
