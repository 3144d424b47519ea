"""From what the user has (a file, a bundled data set, arrays) to a `Table`.

Whatever is done to the data on the way (rows dropped, a header guessed) is said in `Table.notes`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from minimand.data.columns import check_finite, check_names, listed, narrow, plural, tidy
from minimand.data.files import read_file
from minimand.errors import DataError, FileError, ShapeError, unknown

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Data sets that come with scikit-learn and can be asked for by name."""

_ROW_LABELS = (
    *("id", "index", "instant", "no", "row", "rowid", "rowname", "rownames", "row.names"),
    *("row_names", "unnamed: 0", "column 1"),
)


@dataclass(frozen=True)
class Table:
    """Features and target, row by row, with what was done to them.

    `frame` holds the feature columns only, each Int64, Float64, Boolean, String, Date or Datetime.
    `target` is None if none was asked for. `notes` are sentences for the user. `fingerprint` is a
    SHA-256 of names, types and values: the same data gives the same print from any source.
    """

    name: str
    frame: pl.DataFrame
    target: pl.Series | None
    notes: tuple[str, ...]
    fingerprint: str
    test: None = None

    @property
    def size(self) -> str:
        """How much there is, in words."""
        rows = 0 if self.target is None else len(self.target)
        return f"{rows:,} rows, {self.frame.width} columns of features"

    @property
    def width(self) -> int:
        """How many columns of features there are."""
        return self.frame.width

    def rows(self, index: Any) -> pl.DataFrame:
        """The features of some rows."""
        chosen: pl.DataFrame = self.frame[index]
        return chosen


def read_table(
    source: str | os.PathLike[str],
    target: str | None = None,
    *,
    header: bool | None = None,
    need_target: bool = True,
) -> Table:
    """Read a CSV, TSV or Parquet file (gzip allowed), or a bundled data set by its name.

    A file wins over a bundled data set of the same name. `header`: whether the first row holds
    names; None looks for numbers in it. With `need_target=False`, as for prediction, every row is
    kept, one row is enough and the target column may be absent.

    Raises `FileError` if there is no such file, `UnknownNameError` for an unknown target, and
    `DataError` for data that cannot be used, naming the line, row or column.

    >>> table = read_table("iris")
    >>> table.frame.shape, table.target[0]
    ((150, 4), 'setosa')
    """
    if os.path.isfile(source):
        path = Path(source)
        frame, notes = read_file(path, header)
        return _table(path.name, frame, target, notes, need_target, numbered=True)
    if str(source) in BUNDLED:
        name = str(source)
        return _table(name, _bundled(name), target or "target", [], need_target)
    if os.path.isdir(source):
        raise FileError(f"'{source}' is a directory; give the path of a CSV or Parquet file in it")
    raise FileError(
        f"there is no file '{source}', and no bundled data set of that name "
        f"(bundled: {', '.join(BUNDLED)})"
    )


def from_arrays(X: Any, y: Any = None, *, name: str = "data") -> Table:
    """A table from arrays: NumPy, pandas, polars, a list of rows, or a dict of columns.

    `X: [n, p]`, or `[n]` for one column. `y: [n]`, or the name of a column of X; rows where it is
    missing are dropped. Columns without a name are called "0", "1" and so on.

    Raises `ShapeError` if lengths differ, and `DataError` for data that cannot be used.

    >>> from_arrays([[1, "a"], [2, "b"], [3, "a"]], [0.5, 1.5, 2.5]).frame.schema
    Schema([('0', Int64), ('1', String)])
    """
    frame = _frame(X)
    if y is None or (isinstance(y, (str, int)) and not isinstance(y, bool)):
        return _table(name, frame, None if y is None else str(y), [], need_target=y is not None)
    target = _column(y, "target")
    if target.len() != frame.height:
        raise ShapeError(
            f"X has {plural(frame.height, 'row')} but y has {plural(target.len(), 'value')}; "
            f"they must be equally long"
        )
    return _finished(name, frame, target, [], need_target=True)


def _table(
    name: str,
    frame: pl.DataFrame,
    target: str | None,
    notes: list[str],
    need_target: bool,
    numbered: bool = False,
) -> Table:
    """Split the target off `frame`; `numbered` looks for a column of row numbers to leave out."""
    columns = frame.columns
    if need_target and target is None:
        raise DataError(
            f"no target was given; name the column to predict with --target "
            f"(target= or y= in Python); the columns are {listed(columns, 40)}"
        )
    if need_target and target not in columns:
        raise unknown("column", target, columns)
    if numbered and need_target and len(columns) > 2:
        first = frame.to_series(0)
        if first.name != target and _numbers_the_rows(first):
            frame = pl.DataFrame(frame.get_columns()[1:])
            notes = [*notes, f"Left out '{first.name}': it only numbers the rows."]
    if target is None or target not in columns:
        return _finished(name, frame, None, notes, need_target)
    features = pl.DataFrame([c for c in frame.get_columns() if c.name != target])
    return _finished(name, features, frame[target], notes, need_target)


def _finished(
    name: str, frame: pl.DataFrame, target: pl.Series | None, notes: list[str], need_target: bool
) -> Table:
    """Check the content, drop rows without a target, take the fingerprint."""
    if not frame.width:
        raise DataError(f"'{name}' has no column to predict from besides the target")
    for column in [*frame.get_columns(), *([] if target is None else [target])]:
        check_finite(column)
    if target is not None and need_target and (missing := target.null_count()):
        notes = [
            *notes,
            f"Dropped {missing} of {plural(target.len(), 'row')}: the target '{target.name}' "
            f"is missing there.",
        ]
        frame, target = frame.filter(target.is_not_null()), target.drop_nulls()
        if not frame.height:
            raise DataError(f"the target '{target.name}' is missing in every row of '{name}'")
    if not frame.height:
        raise DataError(f"'{name}' has no rows")
    if need_target and frame.height == 1:
        raise DataError(f"'{name}' has one row with a target; fitting needs at least 2, better 50")
    return Table(name, frame, target, tuple(notes), _fingerprint(frame, target))


def _numbers_the_rows(column: pl.Series) -> bool:
    """Whether the column is called like a row label and counts from 0 or 1."""
    if column.dtype != pl.Int64 or column.name.casefold() not in _ROW_LABELS:
        return False
    start = column[0] if column.len() else None
    counting = pl.int_range(column.len(), eager=True) + (start or 0)
    return start in (0, 1) and bool((column == counting).all())


def _fingerprint(frame: pl.DataFrame, target: pl.Series | None) -> str:
    digest = hashlib.sha256()
    for column in [*frame.get_columns(), *([] if target is None else [target.alias("\0target")])]:
        values = column.to_physical()
        parts = [repr((column.name, str(column.dtype), column.len())).encode()]
        parts.append(column.is_null().to_numpy().tobytes())
        if values.dtype == pl.String:
            text = values.fill_null("")
            parts += [text.str.len_bytes().to_numpy().tobytes(), "".join(text).encode()]
        else:
            parts.append(values.cast(pl.UInt8 if values.dtype == pl.Boolean else values.dtype)
                         .fill_null(0).to_numpy().tobytes())  # fmt: skip
        for part in parts:
            digest.update(part)
    return digest.hexdigest()


def _bundled(name: str) -> pl.DataFrame:
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    target = data.target
    if name in ("iris", "wine", "breast_cancer"):
        target = data.target_names[target].tolist()
    columns = dict(zip(map(str, data.feature_names), data.data.T, strict=True))
    return pl.DataFrame(columns | {"target": target})


def _frame(X: Any) -> pl.DataFrame:
    """Any table-like thing as tidy columns."""
    if isinstance(X, pl.LazyFrame):
        X = X.collect()
    if isinstance(X, pl.DataFrame):
        columns = [tidy(column) for column in X.get_columns()]
    elif hasattr(X, "iloc") and hasattr(X, "columns"):
        columns = [_column(X.iloc[:, i], "", str(c)) for i, c in enumerate(X.columns)]
    elif isinstance(X, Mapping):
        columns = [_column(values, "", str(c)) for c, values in X.items()]
    elif isinstance(X, pl.Series) or hasattr(X, "iloc"):
        columns = [_column(X, "0")]
    else:
        values = X if isinstance(X, np.ndarray) else _as_array(X)
        if values.ndim not in (1, 2):
            raise ShapeError(
                f"X has shape {values.shape}; expected a table [rows, columns] or one column [rows]"
            )
        values = values[:, None] if values.ndim == 1 else values
        columns = [narrow(_column(values[:, i], "", str(i))) for i in range(values.shape[1])]
    if not columns:
        raise DataError("the data have no columns")
    check_names([column.name for column in columns])
    for column in columns:
        if column.len() != columns[0].len():
            raise ShapeError(
                f"column '{columns[0].name}' has {plural(columns[0].len(), 'value')} but column "
                f"'{column.name}' has {column.len()}; they must be equally long"
            )
    return pl.DataFrame(columns)


def _column(values: Any, default: str, name: str | None = None) -> pl.Series:
    """One tidy column called `name`, or by the series' own name, or by the default."""
    if name is None:
        own = getattr(values, "name", None)
        name = default if own in (None, "") else str(own)
    if isinstance(values, pl.Series):
        return tidy(values.alias(name))
    array: np.ndarray[Any, Any]
    if hasattr(values, "iloc"):  # pandas: its own types become NumPy's, its missing values None
        plain = isinstance(values.dtype, np.dtype) and values.dtype.kind in "biufMm"
        array = values.to_numpy() if plain else values.to_numpy(dtype=object, copy=True)
        if not plain:
            array[values.isna().to_numpy()] = None
    else:
        array = values if isinstance(values, np.ndarray) else _as_array(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ShapeError(f"'{name}' has shape {array.shape}; expected one value for each row")
    match array.dtype.kind:
        case "b" | "i" | "u":
            return tidy(pl.Series(name, array))
        case "f":
            return tidy(pl.Series(name, array.astype(np.float64)))
        case "M" | "m" as kind:
            return tidy(pl.Series(name, array.astype(f"{kind}8[us]")))
        case "U" | "O":
            return _objects(name, array.tolist())
    raise DataError(f"'{name}' holds {array.dtype}; every cell must be a number, text or a date")


def _objects(name: str, values: list[Any]) -> pl.Series:
    """Python objects as a column; a mixture of types is read as the text it prints as."""
    try:
        column = pl.Series(name, values)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        column = pl.Series(name, [None], dtype=pl.Object)
    if column.dtype == pl.Object:
        text = [None if v is None else str(v) for v in values]
        return narrow(tidy(pl.Series(name, text, dtype=pl.String)))
    return tidy(column)


def _as_array(values: Any) -> np.ndarray[Any, Any]:
    """Lists and foreign arrays as NumPy, without turning numbers beside text into text."""
    try:
        array = np.asarray(values)
        return np.asarray(values, dtype=object) if array.dtype.kind in "US" else array
    except ValueError:
        raise ShapeError(
            "the rows are not equally long; every row needs a value for each column (None if "
            "missing)"
        ) from None
