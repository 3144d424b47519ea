"""From a file to tidy columns: CSV, TSV (any of `,` `;` tab `|`, gzip allowed) and Parquet.

Text goes through the standard library's `csv` rather than polars: it keeps count of lines, so that
a ragged row can be named, and it bears stray quotation marks.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from itertools import islice
from pathlib import Path

import polars as pl

from minimand.data.columns import check_names, narrow, plural, tidy
from minimand.errors import DataError, FileError


def read_file(path: Path, header: bool | None) -> tuple[pl.DataFrame, list[str]]:
    """The columns of a CSV, TSV or Parquet file, tidy, and sentences about what was guessed.

    `header`: whether the first row of a text file holds names; None looks for numbers in it.

    Raises `FileError` if the file cannot be read, `DataError` naming the line if it is no table.
    """
    raw = read_bytes(path)
    if not raw.strip():
        raise DataError(f"'{path}' is empty")
    if raw[:4] == b"PAR1":
        return _read_parquet(path, raw), []
    if raw[:2] == b"PK" or b"\0" in raw[:4096]:
        raise DataError(
            f"'{path}' is not a text table; save it as CSV (UTF-8) or Parquet and read that"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"'{path}' is not UTF-8 text (line {line}); save it again with UTF-8 encoding"
        ) from None
    return _read_text(path, text, header)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked if it is gzipped.

    Raises:
        FileError: it cannot be read.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "its gzip data are damaged"
        raise FileError(f"cannot read '{path}': {reason}") from None


def _read_parquet(path: Path, raw: bytes) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(io.BytesIO(raw))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"'{path}' is not a readable Parquet file: {str(error).splitlines()[0]}"
        ) from None
    return pl.DataFrame([tidy(column) for column in frame.get_columns()])


def _read_text(path: Path, text: str, header: bool | None) -> tuple[pl.DataFrame, list[str]]:
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    end = 0
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                raise DataError(
                    f"'{path}', line {end + 1}: {plural(len(row), 'cell')} where the first line "
                    f"has {len(rows[0])} (separated by {separator!r}); correct the line"
                )
            end = reader.line_num
            if row:
                rows.append(row)
    except csv.Error as error:
        raise DataError(
            f"'{path}', line {end + 1}: {error}; look for a quotation mark left open"
        ) from None
    first = [cell.strip() for cell in rows[0]]
    notes = []
    if header is None:
        header = not any(map(_is_number, first))
        if not header:
            notes.append(
                f"No header was found in '{path.name}' (its first row holds numbers), so the "
                f"columns are called 0 to {len(first) - 1}; if the first row does hold names, "
                f"say --header (header=True in Python)."
            )
    if header:
        names = [cell or f"column {i + 1}" for i, cell in enumerate(first)]
        del rows[0]
    else:
        names = [str(i) for i in range(len(first))]
    check_names(names)
    if not rows:
        raise DataError(f"'{path}' has a header but no rows")
    cells = zip(*rows, strict=True)
    columns = [pl.Series(n, c, dtype=pl.String) for n, c in zip(names, cells, strict=True)]
    return pl.DataFrame([narrow(tidy(column)) for column in columns]), notes


def _separator(text: str) -> str:
    """The separator that cuts most of the first lines into equally many cells, and into most."""

    def merit(separator: str) -> tuple[float, int]:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        widths = [len(row) for row in islice(lines, 50) if row]
        width = widths[0]
        return (widths.count(width) / len(widths) if width > 1 else 0.0, width)

    try:
        return max(",;\t|", key=merit)
    except csv.Error:
        return ","


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False
