from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from minimand.data import Task, infer_task, read_table
from minimand.errors import ArgumentError, DataError, TargetError, UnknownNameError


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a"], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([True, False], "binary"),
        ([1.5, 2.5, 2.5], "binary"),
        ([-1, 1], "binary"),
        ([0, 1, 2] * 5, "multiclass"),
        ([1, 2, 3] * 5, "multiclass"),
        ([0.0, 1.0, 2.0] * 5, "regression"),
        ([0, 1, 2] * 4, "count"),
        ([0, 1, 3] * 5, "count"),
        ([2, 3, 4] * 5, "regression"),
        ([-1, 0, 1] * 5, "regression"),
        (list(range(21)) * 5, "count"),
        ([0.5, 1.0, 2.0], "regression"),
        ([151.0, 75.0, 141.0], "regression"),
    ],
)
def test_the_task_follows_from_the_values(values: list[Any], task: Task) -> None:
    found, reason = infer_task(pl.Series("y", values))
    assert found == task
    assert reason.startswith("'y' ") and reason.endswith(".")


@pytest.mark.parametrize(
    ("name", "task"),
    [("diabetes", "regression"), ("digits", "multiclass"), ("iris", "multiclass"),
     ("wine", "multiclass"), ("breast_cancer", "binary")],
)  # fmt: skip
def test_bundled_data_sets(name: str, task: Task) -> None:
    target = read_table(name).target
    assert target is not None and infer_task(target)[0] == task


def test_the_metric_steers_among_what_the_target_can_serve() -> None:
    digits = pl.Series("digit", list(range(10)) * 20)
    task, reason = infer_task(digits, allowed=("regression", "count"))
    assert task == "regression" and "metric" in reason
    assert infer_task(pl.Series([1.5, 2.5] * 9), allowed=("regression",))[0] == "regression"
    assert infer_task(pl.Series(["a", "b"]), allowed=("multiclass",))[0] == "multiclass"
    with pytest.raises(DataError, match="metric serves regression"):
        infer_task(pl.Series(["a", "b"]), allowed=("regression",))
    diabetes = read_table("diabetes").target
    assert diabetes is not None
    with pytest.raises(DataError, match="metric serves binary or multiclass"):
        infer_task(diabetes, allowed=("binary", "multiclass"))


@pytest.mark.parametrize(
    ("values", "task", "words"),
    [
        (["1", "2", "x"], "regression", "row 3: 'x' is not a number"),
        (["1", "two"], "count", "row 2: 'two' is not a number"),
        ([1, 2, 3], "binary", "3 distinct values .* exactly 2"),
        ([5, 5, 5], "regression", "only one value, '5'"),
        (["a", "a"], None, "only one value, 'a'"),
        ([f"name {i}" for i in range(30)], None, "30 distinct values .* row 1, 'name 0'"),
        ([i / 7 for i in range(30)], "multiclass", "too many for classes"),
        ([1, None, 2], None, "missing in row 2"),
    ],
)
def test_a_target_that_cannot_serve(values: list[Any], task: Task | None, words: str) -> None:
    with pytest.raises(DataError, match=words):
        infer_task(pl.Series("y", values), task)


def test_counts_are_whole_and_not_negative() -> None:
    with pytest.raises(TargetError, match="row 2: -1 is negative"):
        infer_task(pl.Series("y", [3, -1, 2]), "count")
    with pytest.raises(TargetError, match=r"row 3: 2\.5 is not whole"):
        infer_task(pl.Series("y", [3.0, 1.0, 2.5]), "count")
    assert infer_task(pl.Series("y", [3.0, 1.0, 2.0]), "count")[0] == "count"


def test_dates_unknown_tasks_and_contradictions() -> None:
    with pytest.raises(DataError, match="holds dates"):
        infer_task(pl.Series("y", ["2024-01-01", "2024-01-02"]).str.to_date())
    with pytest.raises(UnknownNameError, match="did you mean 'regression'"):
        infer_task(pl.Series("y", [1, 2]), "regresion")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="the metric serves regression"):
        infer_task(pl.Series("y", [1, 2]), "binary", allowed=("regression",))
