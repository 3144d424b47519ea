"""What kind of prediction a target asks for, and whether it can serve the kind the user wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import polars as pl

from minimand.data.columns import as_numbers, listed, plural, tidy
from minimand.errors import ArgumentError, DataError, TargetError, unknown

Task = Literal["regression", "binary", "multiclass", "count"]
"""Numbers, one of two classes, one of several classes, or how often something happened."""

_MANY = 20
_EACH = 5
_PHRASES = {"binary": "one of two classes", "multiclass": "one of several classes",
            "count": "a count", "regression": "a number"}  # fmt: skip


def infer_task(
    target: pl.Series, task: Task | None = None, allowed: Sequence[Task] | None = None
) -> tuple[Task, str]:
    """The task that the target asks for, and one sentence that says why.

    `target: [n]` without missing values. `task` overrides and is checked against the values.
    `allowed` lists the tasks that the metric serves: the target is then read as one of them if it
    can be.

    Raises `DataError` (`TargetError` for counts) naming row and value if the target cannot serve.

    >>> infer_task(pl.Series("bought", ["yes", "no", "yes"]))
    ('binary', "'bought' has 2 distinct values, 'no', 'yes': one of two classes.")
    """
    if task is not None and task not in get_args(Task):
        raise unknown("task", task, get_args(Task))
    target = tidy(target)
    _check_usable(target)
    if task is not None:
        if allowed is not None and task not in allowed:
            raise ArgumentError(
                f"the task is {task}, but the metric serves {' or '.join(allowed)}; "
                f"choose another metric or task"
            )
        if (obstacle := _obstacle(target, task)) is not None:
            raise obstacle
        return task, f"'{target.name}' is read as {_PHRASES[task]}, as asked for."
    natural, reason = _natural(target)
    if allowed is None or natural in allowed:
        if (obstacle := _obstacle(target, natural)) is not None:
            raise obstacle
        return natural, f"'{target.name}' {reason}: {_PHRASES[natural]}."
    for other in allowed:
        if _obstacle(target, other) is None:
            return other, f"'{target.name}' {reason}; the metric reads it as {_PHRASES[other]}."
    raise DataError(
        f"the metric serves {' or '.join(allowed)}, but the target '{target.name}' {reason}; "
        f"choose another metric or another target"
    )


def check_count(target: pl.Series) -> None:
    """Raise `TargetError` naming the first value that is negative or not whole."""
    numbers = as_numbers(target)
    for wrong, what in ((numbers < 0, "is negative"), (numbers != numbers.floor(), "is not whole")):
        if (rows := wrong.arg_true()).len():
            raise TargetError(
                f"target '{target.name}', row {rows[0] + 1}: {target[rows[0]]} {what}; a count is "
                f"0, 1, 2 ...; choose the task regression instead"
            )


def _natural(target: pl.Series) -> tuple[Task, str]:
    """The task by the values alone, and the reason as the end of a sentence about the target."""
    distinct = target.n_unique()
    if distinct == 2:
        return "binary", f"has 2 distinct values, {listed(target.unique().sort())}"
    if target.dtype == pl.String:
        return "multiclass", f"holds text with {distinct} distinct values"
    if target.dtype == pl.Int64:
        low, high = int(target.min()), int(target.max())  # type: ignore[arg-type]
        consecutive = low in (0, 1) and high - low + 1 == distinct <= _MANY
        if consecutive and target.value_counts()["count"].to_numpy().min() >= _EACH:
            return "multiclass", f"holds {low} to {high}, each {_EACH} times or more"
        if low == 0:
            return "count", "holds whole numbers from 0 up"
    return "regression", f"holds numbers with {distinct} distinct values"


def _check_usable(target: pl.Series) -> None:
    if target.null_count():
        row = target.is_null().arg_true()[0] + 1
        raise DataError(f"the target '{target.name}' is missing in row {row}; drop such rows first")
    if target.dtype.is_temporal():
        raise DataError(
            f"the target '{target.name}' holds dates; turn it into a number, such as days since a "
            f"start"
        )
    if target.n_unique() < 2:
        values = f"only one value, {listed(target.head(1))}" if target.len() else "no values"
        raise DataError(f"the target '{target.name}' has {values}: there is nothing to predict")


def _obstacle(target: pl.Series, task: Task) -> DataError | None:
    """The error that keeps the target from serving the task, or None."""
    if task in ("regression", "count"):
        return _number_obstacle(target, task)
    distinct = target.n_unique()
    if task == "binary" and distinct != 2:
        return DataError(
            f"the target '{target.name}' has {distinct} distinct values "
            f"({listed(target.unique().sort())}); binary needs exactly 2"
        )
    text = target.dtype == pl.String
    if distinct > _MANY and distinct > (0.5 if text else 0.2) * target.len():
        no_number = f" and row 1, '{target[0]}', is not a number" if text else ""
        return DataError(
            f"the target '{target.name}' has {distinct} distinct values in "
            f"{plural(target.len(), 'row')}: too many for classes{no_number}"
        )
    return None


def _number_obstacle(target: pl.Series, task: Task) -> DataError | None:
    try:
        as_numbers(target)
    except DataError as error:
        return DataError(f"{task} needs numbers, but {error}")
    try:
        if task == "count":
            check_count(target)
    except TargetError as error:
        return error
    return None
