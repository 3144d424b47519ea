"""Images side by side: as a chart, and as plain text for a terminal."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import altair as alt
import numpy as np

from minimand.arrays import Array
from minimand.drawing import COLOURS
from minimand.errors import ShapeError

TILE = 64
"""How high an image is drawn, in pixels of the chart."""
ACROSS = 10
"""Images side by side."""
SHADES = " .:-=+*#%@"


def grid(
    images: Array, rows: Sequence[str] = (), columns: Sequence[str] = (), title: str = ""
) -> alt.Chart:
    """Images [rows, columns, height, width] or [..., 1 or 3 channels], black at 0 and white at 1.

    `rows` and `columns` are their names, all different; without them an axis is left out.

    Raises:
        ShapeError: the images have another shape.

    >>> grid(np.zeros((2, 3, 8, 8)), columns=["a", "b", "c"]).to_dict()["mark"]["type"]
    'image'
    """
    tall, wide, height, width, _ = _five(images).shape
    down, across = rows or [str(i) for i in range(tall)], columns or [str(j) for j in range(wide)]
    values = [
        {"row": row, "column": column, "url": _url(image)}
        for row, line in zip(down, _five(images), strict=True)
        for column, image in zip(across, line, strict=True)
    ]
    tile = TILE * width / height
    names: Any = {"domain": False, "ticks": False, "labelAngle": 0, "labelColor": COLOURS["muted"]}
    drawn: alt.Chart = (
        alt.Chart(alt.Data(values=values), title=wrap(title, 100))
        .mark_image(width=tile, height=TILE)
        .encode(
            x=alt.X("column:N", sort=None, title=None,
                    axis=alt.Axis(orient="top", **names) if columns else None),
            y=alt.Y("row:N", sort=None, title=None, axis=alt.Axis(**names) if rows else None),
            url="url:N",
        )
        .properties(width=alt.Step(tile + 6), height=alt.Step(TILE + 6))
        .configure_view(stroke=None)
        .configure_title(color=COLOURS["ink"], anchor="start")
    )  # fmt: skip
    return drawn


def laid_out(images: Array, shape: tuple[int, ...]) -> Array:
    """Images [n, p] in rows of ten, the last row filled up with grey ones.

    >>> laid_out(np.ones((12, 4)), (2, 2)).shape
    (2, 10, 2, 2)
    """
    images = np.asarray(images)
    missing = -len(images) % ACROSS
    images = np.pad(images, ((0, missing), (0, 0)), constant_values=0.5)
    return images.reshape(-1, ACROSS, *shape)


def plain(images: Array, width: int = 80) -> str:
    """The images [columns, height, width, ...] of a row that fit into a width, in shades of text.

    >>> print(plain(np.array([[[0.3, 1.0]], [[1.0, 0.6]]])))
    --@@  @@++
    """
    line = _five(images[None])[0].mean(axis=-1)
    step = -(-max(line.shape[1:]) // 16)
    line = line[:, : line.shape[1] // step * step, : line.shape[2] // step * step]
    n, height, wide = len(line), line.shape[1] // step, line.shape[2] // step
    small = line.reshape(n, height, step, wide, step).mean(axis=(2, 4))
    shade = np.array(list(SHADES))[np.rint(small * (len(SHADES) - 1)).astype(int)]
    shown = shade[: max(1, (width + 2) // (2 * wide + 2))]
    return "\n".join("  ".join("".join(np.repeat(row, 2)) for row in rows).rstrip()
                     for rows in shown.swapaxes(0, 1))  # fmt: skip


def _five(images: Array) -> Array:
    """Images [rows, columns, height, width, channels] within 0 ... 1."""
    shape = np.shape(images)
    if len(shape) not in (4, 5) or shape[4:] not in ((), (1,), (3,)) or 0 in shape:
        raise ShapeError(
            f"cannot draw images of shape {shape}; give [rows, columns, height, width] or "
            f"[rows, columns, height, width, channels] with 1 or 3 channels"
        )
    return np.clip(np.asarray(images, float), 0, 1).reshape(*shape[:4], -1)


def _url(image: Array) -> str:
    """A PNG picture of an image [height, width, channels], enlarged without smoothing."""
    from PIL import Image

    shades = np.uint8(np.rint(255 * image))
    times = -(-2 * TILE // len(image))
    large = shades.repeat(times, axis=0).repeat(times, axis=1)
    file = io.BytesIO()
    Image.fromarray(large.squeeze(-1) if large.shape[-1] == 1 else large).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
