"""`minimize` for any function."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from minimand.errors import SolverError
from minimand.tuning.found import minimize
from minimand.tuning.space import Choice, Float, Int

PLANE = {"x": Float(-1.0, 1.0), "y": Float(-1.0, 1.0)}


def bowl(x: float, y: float) -> float:
    return (x - 0.3) ** 2 + (y + 0.2) ** 2


@pytest.mark.parametrize(
    ("sampler", "trials", "close"), [("tpe", 40, 0.01), ("gp", 16, 0.01), ("sobol", 40, 0.05)]
)
def test_the_minimum_of_a_quadratic_is_found(sampler: str, trials: int, close: float) -> None:
    if sampler == "gp":
        pytest.importorskip("torch")
    found = minimize(bowl, PLANE, trials, sampler=sampler)
    assert found.value == bowl(**found.setting) < close
    assert found.value == min(trial.value for trial in found.trials)


def test_a_maximum() -> None:
    found = minimize(lambda x: -abs(x - 3), {"x": Int(0, 9)}, 30, direction="maximize")
    assert (found.setting, found.value) == ({"x": 3}, 0)


def test_keywords_or_one_dictionary() -> None:
    by_keyword = minimize(bowl, PLANE, 12)
    by_dictionary = minimize(lambda point: bowl(**point), PLANE, 12)
    assert by_keyword.setting == by_dictionary.setting


def test_failures_are_trials_with_a_reason() -> None:
    def fn(x: float) -> float:
        if x < -0.5:
            raise ZeroDivisionError("too far left")
        return math.nan if x < 0 else x

    found = minimize(fn, {"x": Float(-1.0, 1.0)}, 30, sampler="random")
    reasons = {trial.reason for trial in found.trials if trial.state == "failed"}
    assert reasons == {"ZeroDivisionError: too far left", "1 of 1 scores are NaN"}
    assert len(found.trials) == 30
    assert found.value >= 0


def test_tpe_learns_from_failures() -> None:
    """Half the range diverges; Optuna alone would pass over that and go on proposing there."""

    def fn(x: float) -> float:
        return math.nan if x > 0 else (x + 0.5) ** 2

    found = minimize(fn, {"x": Float(-1.0, 1.0)}, 60)
    late = [trial.state for trial in found.trials[20:]]
    assert late.count("failed") < len(late) / 8


def test_all_failures_are_an_error_that_says_why() -> None:
    with pytest.raises(SolverError, match="trial 0 failed: TypeError"):
        minimize(lambda x: x + "a", {"x": Float(0.0, 1.0)}, 3)


def test_several_scores_count_by_their_mean() -> None:
    found = minimize(lambda x: [x, x + 2], {"x": Choice(1, 5)}, sampler="grid")
    assert found.value == 2
    assert found.trials[0].scores.tolist() == [1, 3]


def test_a_setting_is_evaluated_once() -> None:
    calls = []
    found = minimize(lambda n: calls.append(n) or n, {"n": Int(1, 3)}, 20)
    assert sorted(calls) == [1, 2, 3]
    assert len(found.trials) == 20
    twins = {trial.reason for trial in found.trials if trial.reason}
    assert all(reason.startswith("the same setting as trial") for reason in twins)


def test_the_queue_comes_first_and_a_stored_study_goes_on() -> None:
    queue = [{"x": 0.3, "y": -0.2}]
    options: dict[str, Any] = {"storage": "study.db", "queue": queue, "sampler": "random"}
    first = minimize(bowl, PLANE, 5, **options)
    before = [trial.setting for trial in first.trials]
    assert (before[0], first.value) == (queue[0], 0)
    after = [trial.setting for trial in minimize(bowl, PLANE, 8, **options).trials]
    assert (len(after), after[:5]) == (8, before)


def test_processes_take_functions_that_are_defined_anywhere(tmp_path: Path) -> None:
    target = 0.25

    def fn(x: float) -> float:
        return abs(x - target)

    space = {"x": Float(-1.0, 1.0)}
    found = minimize(fn, space, 12, jobs=2, sampler="random")
    assert [trial.number for trial in found.trials] == list(range(12))
    assert found.value == abs(found.setting["x"] - target)
    alone = minimize(fn, space, 12, sampler="random")
    assert [t.setting for t in found.trials] == [t.setting for t in alone.trials]
