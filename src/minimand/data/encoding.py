"""From columns to the numbers a model is fitted on, learnt once and applied again at prediction.

`FeatureEncoder` makes a design matrix, `TargetEncoder` the target; both are plain frozen data that
travel with the model as JSON. Numbers are standardised, missing ones become the median beside a
0/1 column that says so, and text becomes one 0/1 column a level.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import polars as pl

from minimand.data.columns import (
    Kind,
    as_numbers,
    as_text,
    check_finite,
    listed,
    plural,
    tidy,
)
from minimand.data.task import Task, check_count
from minimand.errors import DataError, TargetError, unknown

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Label = str | int | float | bool

_RARE = 10
_FEW_LEVELS = 10
_MOST_LEVELS = 100
_IDENTIFIER_LEVELS = 50
_HEAVY_SKEWNESS = 5.0
_HEAVY_ROWS = 100
_HEAVY_VALUES = 20


@dataclass(frozen=True)
class Numeric:
    """A column of numbers, truth values or dates: (x - center) / scale.

    With `squash` = (m, s), x is first replaced by asinh((x - m) / s), which is linear near m and
    logarithmic far from it. Missing values count as `fill`; `missing` adds the 0/1 column.
    """

    column: str
    kind: Kind
    fill: float
    center: float
    scale: float
    squash: tuple[float, float] | None
    missing: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the output columns."""
        return (self.column, f"{self.column} is missing") if self.missing else (self.column,)

    def write(self, column: pl.Series, out: Matrix) -> list[str]:
        """Fill `out: [n, len(names)]` and say what was unusual."""
        numbers = as_numbers(column, self.kind)
        x = numbers.fill_null(self.fill).to_numpy()
        if self.squash is not None:
            x = np.arcsinh((x - self.squash[0]) / self.squash[1])
        out[:, 0] = (x - self.center) / self.scale
        if self.missing:
            out[:, 1] = numbers.is_null().to_numpy()
        elif count := numbers.null_count():
            return [_newly_missing(self.column, count, f"its median, {self.fill:g}, was used")]
        return []


@dataclass(frozen=True)
class Levels:
    """A column of text: a 0/1 column for each level, one for all `pooled` levels, one for missing.

    A level not seen at training counts as pooled if anything was; otherwise it has only zeros.
    """

    column: str
    levels: tuple[str, ...]
    pooled: tuple[str, ...]
    missing: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the output columns."""
        extra = ["(other)"] * bool(self.pooled) + ["(missing)"] * self.missing
        return tuple(f"{self.column}={level}" for level in [*self.levels, *extra])

    def write(self, column: pl.Series, out: Matrix) -> list[str]:
        """Fill `out: [n, len(names)]`, which holds zeros, and say what was unusual."""
        text = as_text(column)
        codes = text.cast(pl.Enum(self.levels + self.pooled), strict=False).to_physical()
        codes = codes.cast(pl.Int64).clip(upper_bound=len(self.levels))
        new = codes.is_null() & text.is_not_null()
        if self.pooled:
            codes = codes.set(new, len(self.levels))
        if self.missing:
            codes = codes.set(text.is_null(), len(self.names) - 1)
        rows = codes.is_not_null().arg_true().to_numpy()
        out[rows, codes.drop_nulls().to_numpy()] = 1.0
        notes = []
        if new.any():
            levels = text.filter(new)
            become = "they count as its pooled levels" if self.pooled else "they count as no level"
            notes.append(
                f"'{self.column}' has {plural(levels.n_unique(), 'level')} not seen at training, "
                f"in {plural(levels.len(), 'row')} ({listed(levels.unique().sort())}): {become}."
            )
        if not self.missing and (count := text.null_count()):
            notes.append(_newly_missing(self.column, count, "it counts as no level there"))
        return notes


Part = Numeric | Levels


@dataclass(frozen=True)
class FeatureEncoder:
    """Turns a frame of features into a matrix, as learnt from the training frame.

    `notes` are sentences about what `fit` decided. `dropped` are the columns it left out.

    >>> frame = pl.DataFrame({"age": [20, 40], "job": ["clerk", None]})
    >>> encoder = FeatureEncoder.fit(frame)
    >>> encoder.names
    ('age', 'job=clerk', 'job=(missing)')
    >>> encoder.transform(frame)
    array([[-1.,  1.,  0.],
           [ 1.,  0.,  1.]])
    """

    parts: tuple[Part, ...]
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, frame: pl.DataFrame) -> Self:
        """Learn medians, scales and levels from the columns of `frame: [n, p]`.

        Raises `DataError` if a number is infinite or no column is of any use.
        """
        fitted = [(c.name, *_fit_column(tidy(c))) for c in frame.get_columns()]
        parts = tuple(part for _, part, _ in fitted if part is not None)
        named: dict[str, list[str]] = {}
        for name, _, what in fitted:
            named.setdefault(what, []).append(name)
        notes = tuple(f"{what}: {listed(names)}." for what, names in named.items() if what)
        if not parts:
            raise DataError(f"no column is of any use for prediction: {' '.join(notes)}")
        return cls(parts, tuple(name for name, part, _ in fitted if part is None), notes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns that are used."""
        return tuple(part.column for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of the matrix."""
        return tuple(name for part in self.parts for name in part.names)

    def transform(self, frame: pl.DataFrame) -> Matrix:
        """The matrix [n, len(names)]; see `transform_with_notes`."""
        return self.transform_with_notes(frame)[0]

    def transform_with_notes(self, frame: pl.DataFrame) -> tuple[Matrix, tuple[str, ...]]:
        """The matrix [n, len(names)], and sentences about new levels and unknown columns.

        Raises `DataError` naming a column that is absent, or the column, row and value that cannot
        be read.
        """
        notes = []
        if extra := [c for c in frame.columns if c not in {*self.columns, *self.dropped}]:
            notes.append(f"Ignored {plural(len(extra), 'column')} unknown at training: "
                         f"{listed(extra)}.")  # fmt: skip
        for column in self.columns:
            if column not in frame.columns:
                raise DataError(_absent(column, extra))
        ends = np.cumsum([0, *(len(part.names) for part in self.parts)])
        out = np.zeros((frame.height, int(ends[-1])))
        for part, (start, end) in zip(self.parts, pairwise(ends), strict=True):
            notes += part.write(tidy(frame[part.column]), out[:, start:end])
        return out, tuple(notes)

    def numeric_scale(self, name: str) -> tuple[float, float] | None:
        """(center, scale) of an output column, so that output = (original - center) / scale.

        None if the column was squashed: its coefficient has no meaning in the original unit.

        >>> FeatureEncoder.fit(pl.DataFrame({"age": [20, 40]})).numeric_scale("age")
        (30.0, 10.0)
        """
        for part in self.parts:
            if name in part.names:
                if isinstance(part, Levels) or name != part.column:
                    return (0.0, 1.0)
                return None if part.squash else (part.center, part.scale)
        raise unknown("feature", name, self.names)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that `from_json` reads."""
        return {
            "version": 1,
            "parts": [asdict(part) for part in self.parts],
            "dropped": list(self.dropped),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The encoder that `to_json` wrote."""
        parts = tuple(_part(fields) for fields in data["parts"])
        return cls(parts, tuple(data["dropped"]), tuple(data["notes"]))


@dataclass(frozen=True)
class TargetEncoder:
    """Turns a target into the numbers a loss takes, and the model's responses back.

    Regression: (y - center) / scale with the median and a robust scale (interquartile range /
    1.349, the standard deviation of a normal distribution with that range). Classes: their index in
    the sorted `classes`. Counts stay as they are.

    >>> encoder = TargetEncoder.fit(pl.Series(["no", "yes", "no"]), "binary")
    >>> encoder.encode(pl.Series(["yes", "no"])), encoder.decode([1, 1])
    (array([1, 0]), array(['yes', 'yes'], dtype='<U3'))
    """

    task: Task
    classes: tuple[Label, ...] = ()
    center: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, target: pl.Series, task: Task) -> Self:
        """Learn classes, or center and scale, from `target: [n]` without missing values.

        Raises `DataError` if all values are the same, `TargetError` for what is not a count.
        """
        target = tidy(target)
        if target.drop_nulls().n_unique() < 2:
            raise DataError(f"the target '{target.name}' has only one value: nothing to predict")
        if task in ("binary", "multiclass"):
            return cls(task, tuple(target.drop_nulls().unique().sort()))
        if task == "count":
            check_count(target)
            return cls(task)
        y = as_numbers(target).drop_nulls().to_numpy()
        low, high = np.quantile(y, [0.25, 0.75])
        spreads = ((high - low) / 1.349, _spread(y)[1])
        scale = next((s for s in spreads if 0 < s < math.inf), 1.0)
        return cls(task, (), float(np.median(y)), float(scale))

    def encode(self, target: pl.Series) -> np.ndarray[Any, Any]:
        """`target: [n]` as float64, or as int64 class indices.

        Raises `TargetError` naming the row for a missing value, a class not seen at training, or a
        value that is not a count; `DataError` for a value that is not a number.
        """
        target = tidy(target)
        if target.null_count():
            row = target.is_null().arg_true()[0] + 1
            raise TargetError(f"target '{target.name}', row {row}: the value is missing")
        if self.task == "count":
            check_count(target)
        if not self.classes:
            return (as_numbers(target).to_numpy() - self.center) / self.scale
        text = isinstance(self.classes[0], str)
        kind: Kind = "boolean" if isinstance(self.classes[0], bool) else "number"
        values = as_text(target) if text else as_numbers(target, kind)
        labels = [c if text else float(c) for c in self.classes]
        codes = values.replace_strict(
            labels, range(len(labels)), default=None, return_dtype=pl.Int64
        )
        if codes.null_count():
            row = codes.is_null().arg_true()[0]
            raise TargetError(
                f"target '{target.name}', row {row + 1}: '{target[row]}' is not one of the classes "
                f"seen at training, {listed(self.classes)}"
            )
        return codes.to_numpy()

    def decode(self, response: Any) -> np.ndarray[Any, Any]:
        """Responses in the user's terms: labels for class indices, numbers in the target's unit."""
        values: np.ndarray[Any, Any] = np.asarray(response)
        labels = np.asarray(self.classes)
        return labels[values] if self.classes else values * self.scale + self.center

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that `from_json` reads."""
        return {"version": 1} | asdict(self) | {"classes": list(self.classes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The encoder that `to_json` wrote."""
        return cls(data["task"], tuple(data["classes"]), data["center"], data["scale"])


def _fit_column(column: pl.Series) -> tuple[Part | None, str]:
    """How to encode one tidy column (None: leave it out), and what that is worth saying, if any."""
    check_finite(column)
    name, missing = column.name, column.null_count() > 0
    present = column.drop_nulls()
    if present.is_empty():
        return None, "Left out, every value is missing"
    constant = present.n_unique() == 1
    if constant and not missing:
        return None, "Left out, constant"
    if constant or column.dtype == pl.String:
        return _fit_levels(name, as_text(present), column.len(), missing)
    kind = _kind(column)
    x = as_numbers(present, kind).to_numpy()
    fill = float(np.median(x))
    if kind == "boolean":
        return Numeric(name, kind, fill, 0.0, 1.0, None, missing), ""
    squash = _squash(x) if kind == "number" else None
    filled = as_numbers(column, kind).fill_null(fill).to_numpy()
    if squash is not None:
        filled = np.arcsinh((filled - squash[0]) / squash[1])
    center, scale = _spread(filled)
    if not 0 < scale < math.inf:
        return None, "Left out, the values are too close together or too far apart"
    note = "Squashed with asinh because of a very heavy tail" if squash else ""
    return Numeric(name, kind, fill, center, scale, squash, missing), note


def _fit_levels(name: str, text: pl.Series, rows: int, missing: bool) -> tuple[Part | None, str]:
    table = text.alias("level").value_counts(name="rows")
    table = table.sort(["rows", "level"], descending=[True, False])
    levels, counts = table.get_columns()
    if levels.len() > _IDENTIFIER_LEVELS and levels.len() > 0.5 * rows:
        return None, "Left out, text that differs in most rows, as an identifier does"
    kept = levels
    if levels.len() > _FEW_LEVELS:
        kept = levels.filter(counts >= _RARE).head(_MOST_LEVELS)
    if kept.is_empty():
        return None, f"Left out, text with no level in {_RARE} rows"
    pooled = tuple(levels.tail(levels.len() - kept.len()).sort())
    note = "Rare levels pooled into one, '(other)'" if pooled else ""
    return Levels(name, tuple(kept.sort()), pooled, missing), note


def _kind(column: pl.Series) -> Kind:
    if column.dtype == pl.Boolean:
        return "boolean"
    return "date" if column.dtype.is_temporal() else "number"


def _squash(x: Matrix) -> tuple[float, float] | None:
    """(median, scale) for asinh if the tail is very heavy, else None."""
    if x.size < _HEAVY_ROWS or np.unique(x).size <= _HEAVY_VALUES:
        return None
    center, scale = _spread(x)
    if not 0 < scale < math.inf or abs(np.mean(((x - center) / scale) ** 3)) <= _HEAVY_SKEWNESS:
        return None
    middle = float(np.median(x))
    away = np.abs(x - middle)
    return middle, float(np.median(away[away > 0]))


def _spread(x: Matrix) -> tuple[float, float]:
    """Mean and standard deviation, without overflow on the way."""
    largest = float(np.max(np.abs(x))) or 1.0
    unit = x / largest
    return float(np.mean(unit)) * largest, float(np.std(unit)) * largest


def _newly_missing(column: str, count: int, done: str) -> str:
    return (
        f"'{column}' is missing in {plural(count, 'row')}, which it never was at training: {done}."
    )


def _absent(column: str, present: list[str]) -> str:
    near = difflib.get_close_matches(column, present, n=1)
    hint = f" ('{near[0]}' is near)" if near else ""
    return f"column '{column}', used at training, is absent{hint}; add it, or rename a column"


def _part(fields: Mapping[str, Any]) -> Part:
    if "levels" in fields:
        pooled = tuple(fields["pooled"])
        return Levels(**{**fields, "levels": tuple(fields["levels"]), "pooled": pooled})
    return Numeric(**{**fields, "squash": fields["squash"] and tuple(fields["squash"])})
