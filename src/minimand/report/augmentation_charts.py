"""The contact sheet of an augmentation: examples as they are, and as a few draws change them."""

from __future__ import annotations

from typing import Any

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.data.augmentation import Augmentation
from minimand.data.images import read_images
from minimand.drawing import written
from minimand.report import pictures
from minimand.training.batches import inputs

ROWS, DRAWS = 6, 8


def drawn(
    augmentation: Augmentation, images: Any = "digits", rows: int = ROWS, draws: int = DRAWS,
    seed: int = 0,
) -> Array:  # fmt: skip
    """Images [rows, 1 + draws, height, width, ...]: an example, and the example by each draw.

    `images` are an array [n, height, width] or [n, height, width, channels], bytes or fractions, or
    what `read_images` reads; the examples are spread evenly over them.

    >>> from minimand.data.augmentation import Flip
    >>> sheet = drawn(Flip(probability=1.0), rows=2, draws=1)
    >>> sheet.shape, bool((sheet[:, 1] == sheet[:, 0, :, ::-1]).all())
    ((2, 2, 8, 8, 1), True)
    """
    X = read_images(images).X if isinstance(images, str) else np.asarray(images)
    chosen = np.linspace(0, len(X) - 1, min(rows, len(X))).round().astype(int)
    x = inputs(jnp.asarray(X[chosen]))
    target, weight = jnp.zeros(len(x)), jnp.ones(len(x))
    keys = jax.random.split(randomness.key(seed), draws)
    changed = jax.jit(jax.vmap(lambda key: augmentation(key, x, target, weight)[0]))(keys)
    return np.asarray(jnp.concatenate([x[:, None], jnp.swapaxes(changed, 0, 1)], axis=1))


def chart(augmentation: Augmentation, images: Any = "digits", seed: int = 0) -> alt.Chart:
    """The contact sheet: a row for each example, a column for each draw.

    >>> from minimand.data.augmentation import Rotation
    >>> chart(Rotation(degrees=20.0)).to_dict()["title"]
    ['Rotation(degrees=20.0)']
    """
    columns = ["as it is", *(str(i + 1) for i in range(DRAWS))]
    sheet = drawn(augmentation, images, seed=seed)
    return pictures.grid(sheet, columns=columns, title=str(augmentation))


def rendered(augmentation: Augmentation, form: str, images: Any = "digits", seed: int = 0) -> bytes:
    """The contact sheet as the content of a file: "svg", "png", or "html" that opens offline.

    Raises `ArgumentError` for another form.
    """
    return written(lambda: chart(augmentation, images, seed), form)


def plain(augmentation: Augmentation, images: Any = "digits", seed: int = 0) -> str:
    """One example and its draws for a terminal, in shades."""
    return pictures.plain(drawn(augmentation, images, 2, DRAWS, seed)[0])
