"""What every picture shares: colours, style, the forms of its file, and curves as plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.errors import unknown

FORMATS = ("svg", "png", "html")
_PER_COLUMN = 512  # so that even a jump is drawn without a gap

COLOURS = {
    "ink": "#24292f",
    "muted": "#68707a",
    "line": "#d5d9de",
    "accent": "#0b6e99",
    "second": "#c2571a",
}
"""Colours of the charts under the names by which a page gives each a light and a dark value."""


def styled(chart: Any) -> Any:
    """An Altair chart without frames, its words and lines in the colours above."""
    return (
        chart.configure_view(stroke=None)
        .configure_axis(
            domain=False, ticks=False, gridColor=COLOURS["line"], labelColor=COLOURS["ink"],
            titleColor=COLOURS["muted"], titleFontWeight="normal",
        )
        .configure_title(color=COLOURS["ink"], anchor="start")
    )  # fmt: skip


def written(draw: Callable[[], Any], form: str) -> bytes:
    """A chart as the content of a file; it is drawn only if the form is known."""
    check_form(form)
    import vl_convert

    drawn = draw()
    if form == "html":
        return bytes(drawn.to_html(inline=True).encode())
    specification = drawn.to_dict()
    if form == "svg":
        return vl_convert.vegalite_to_svg(specification).encode()
    return vl_convert.vegalite_to_png(specification, scale=2)


def check_form(form: str) -> None:
    """Raise `ArgumentError` for a form that no chart has."""
    if form not in FORMATS:
        raise unknown("form of a chart", form, FORMATS)


def braille(y: Array, width: int, height: int) -> list[str]:
    """A curve through evenly spaced values [n] as `height` lines of `width` Braille characters.

    >>> braille(np.array([0.0, 1.0]), width=2, height=1)
    ['⡤⠚']
    """
    columns, rows = 2 * width, 4 * height
    fine = np.linspace(0, len(y) - 1, _PER_COLUMN * columns)
    at = np.interp(fine, np.arange(len(y)), y)
    spread = float(np.ptp(at))
    level = (at - at.min()) / spread if spread else np.full(len(at), 0.5)
    dots = np.zeros((rows, columns), dtype=bool)
    dots[np.rint((1 - level) * (rows - 1)).astype(int), np.arange(len(at)) // _PER_COLUMN] = True
    bits = np.array([[1, 8], [2, 16], [4, 32], [64, 128]])
    cells = (dots.reshape(height, 4, width, 2) * bits[:, None, :]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + int(cell)) for cell in line) for line in cells]
