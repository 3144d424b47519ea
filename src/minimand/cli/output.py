"""What commands print and the charts that they write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from minimand.errors import FileError


def say(line: str) -> None:
    """One line on standard output, at once."""
    print(line, flush=True)


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> None:
    """Rows of plain text; `headings` stand above them if there are any."""
    from rich.console import Console
    from rich.table import Table

    columns = headings or [""] * len(rows[0])
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), show_header=bool(headings))
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 140
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def form(chart: Path) -> str:
    """What the name of a file says of its form: "svg", "png" ..."""
    return chart.suffix[1:].lower()


def write_chart(chart: Path, drawn: bytes) -> None:
    """Write a chart into its file.

    Raises:
        FileError: it cannot be written.
    """
    try:
        chart.write_bytes(drawn)
    except OSError as error:
        raise FileError(f"cannot write '{chart}': {error.strerror}") from None
