"""One column at a time: the five kinds of column that the rest of the package meets.

`tidy` turns any column into whole numbers (Int64), numbers (Float64), truth values (Boolean), text
(String) or dates (Date, Datetime), with null as the only missing value. `narrow` reads text that
carries no type, as the cells of a CSV file do, into the narrowest of these kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import polars as pl

from minimand.errors import DataError

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "None")
"""Cells that mean "no value", after white space around them has been stripped."""

Kind = Literal["number", "boolean", "date"]
"""The kinds of column that can be read as numbers."""

_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$"
_MICROSECONDS_PER_DAY = 86_400e6


def tidy(column: pl.Series) -> pl.Series:
    """The column as Int64, Float64, Boolean, String, Date or Datetime, null where missing.

    Raises `DataError` for a column of lists, structures or other things that are not single values.

    >>> tidy(pl.Series("job", [" clerk", "?", None])).to_list()
    ['clerk', None, None]
    """
    dtype = column.dtype
    if dtype == pl.Boolean or dtype == pl.Date:
        return column
    if dtype.is_integer():
        whole = column.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == column.null_count() else column.cast(pl.Float64)
    if dtype.is_numeric():
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        plain = column.dt.convert_time_zone("UTC") if dtype.time_zone else column
        return plain.dt.replace_time_zone(None).dt.cast_time_unit("us")
    if dtype == pl.Duration:
        return column.dt.total_microseconds(fractional=False) / _MICROSECONDS_PER_DAY
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null, pl.Time):
        text = column.cast(pl.String).str.strip_chars()
        return text.set(text.is_in(MISSING), None)
    raise DataError(
        f"column '{column.name}' holds {dtype}; every cell must be one number, text, truth value "
        f"or date"
    )


def narrow(column: pl.Series) -> pl.Series:
    """A tidy text column in the narrowest kind that every value fits; other kinds unchanged.

    >>> narrow(pl.Series(["1", "2.5", None])).to_list(), narrow(pl.Series(["1", "b"])).to_list()
    ([1.0, 2.5, None], ['1', 'b'])
    """
    present = column.drop_nulls()
    if column.dtype != pl.String or present.is_empty():
        return column
    for dtype in (pl.Int64, pl.Float64):
        if present.head(1).cast(dtype, strict=False).null_count():
            continue
        numbers = column.cast(dtype, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    if present.str.to_lowercase().is_in(["true", "false"]).all():
        return column.str.to_lowercase() == "true"
    if present.str.contains(_ISO_DATE).all():
        return _dates(column)
    return column


def as_numbers(column: pl.Series, kind: Kind = "number") -> pl.Series:
    """A tidy column as Float64, null where missing; dates count days from 1970-01-01.

    `kind` says what the column was at training. Raises `DataError` that names the row (from 1) and
    the value if one cannot be read so, or is infinite.

    >>> as_numbers(pl.Series("age", ["31", "old"]))
    Traceback (most recent call last):
    minimand.errors.DataError: column 'age', row 2: 'old' is not a number
    """
    numbers = _numbers(narrow(column) if kind == "date" else column, kind)
    if numbers.null_count() > column.null_count():
        row = (numbers.is_null() & column.is_not_null()).arg_true()[0]
        what = {"number": "a number", "boolean": "true or false", "date": "a date (YYYY-MM-DD)"}
        raise DataError(
            f"column '{column.name}', row {row + 1}: '{column[row]}' is not {what[kind]}"
        )
    check_finite(numbers)
    return numbers


def as_text(column: pl.Series) -> pl.Series:
    """A tidy column as text; whole numbers have no decimal point, so that 2.0 is the level "2"."""
    if column.dtype == pl.Float64:
        whole = column.cast(pl.Int64, strict=False)
        if (whole == column).all():
            column = whole
    return column.cast(pl.String)


def check_finite(column: pl.Series) -> None:
    """Raise `DataError` if a number in the column is infinite, naming the first row (from 1)."""
    if column.dtype == pl.Float64 and (rows := column.is_infinite().arg_true()).len():
        raise DataError(
            f"column '{column.name}', row {rows[0] + 1}: the value is infinite; correct it, "
            f"or leave the cell empty if the value is missing"
        )


def listed(values: Iterable[Any], limit: int = 5) -> str:
    """Values in quotes, the first `limit` of them.

    >>> listed(["a", "b", "c"], limit=2)
    "'a', 'b', ... (3 in all)"
    """
    values = list(values)
    rest = f", ... ({len(values)} in all)" if len(values) > limit else ""
    return ", ".join(f"'{v}'" for v in values[:limit]) + rest


def plural(count: int, noun: str) -> str:
    """`"1 row"`, `"2 rows"`, `"2 classes"`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{ending}"


def check_names(names: Sequence[str]) -> None:
    """Raise `DataError` if a column name occurs twice."""
    if twice := [n for n in dict.fromkeys(names) if names.count(n) > 1]:
        raise DataError(
            f"column names must differ, but {listed(twice)} "
            f"{'occurs' if len(twice) == 1 else 'occur'} more than once; rename the columns"
        )


def _numbers(column: pl.Series, kind: Kind) -> pl.Series:
    """Float64 with null for whatever cannot be read as `kind`."""
    nothing = pl.Series(column.name, [None] * column.len(), dtype=pl.Float64)
    if column.dtype == pl.Date:
        days = column.to_physical().cast(pl.Float64)
        return days if kind == "date" else nothing
    if column.dtype == pl.Datetime:
        days = column.dt.cast_time_unit("us").to_physical() / _MICROSECONDS_PER_DAY
        return days if kind == "date" else nothing
    if kind == "date":
        return nothing
    if kind == "boolean" and column.dtype == pl.String:
        column = column.str.to_lowercase().replace({"true": "1", "false": "0"})
    numbers = column.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_in([0.0, 1.0]), None) if kind == "boolean" else numbers


def _dates(column: pl.Series) -> pl.Series:
    """ISO text as Date, or Datetime if any value has a time; text again if a date is impossible."""
    length = column.str.len_bytes().max()
    if length == len("2024-02-29"):
        dates = column.str.to_date("%Y-%m-%d", strict=False)
    else:
        full = column.str.replace(" ", "T", literal=True)
        full = full.str.replace(r"^([^T]+)$", "${1}T00:00").str.replace(r"(T\d\d:\d\d)$", "${1}:00")
        dates = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us")
    return dates if dates.null_count() == column.null_count() else column
