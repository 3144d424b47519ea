"""Grid search: the best mean wins, failures lose, and only the winner sees the other folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minimand.tuning import grid_search, product_grid
from minimand.tuning.grid import Job

SETTINGS = [{"a": a} for a in (1, 2, 3)]
TABLE = {1: [5.0, 1.0, 9.0, 9.0], 2: [4.0, 4.0, 0.0, 1.0], 3: [3.0, 3.0, 3.0, 3.0]}


class Scorer:
    """Scores from a table; remembers what it was asked."""

    def __init__(self, table: dict[int, list[float]]) -> None:
        self.table, self.asked = table, []  # type: ignore[var-annotated]

    def __call__(self, jobs: Sequence[Job]) -> list[float]:
        self.asked.append([(setting["a"], fold) for setting, fold in jobs])
        return [self.table[setting["a"]][fold] for setting, fold in jobs]


def test_the_highest_mean_of_the_searched_folds_wins() -> None:
    score = Scorer(TABLE)
    found = grid_search(score, SETTINGS, folds=4, searched=2)
    assert found.setting == {"a": 2}
    assert found.scores.tolist() == [4.0, 4.0, 0.0, 1.0]
    assert found.tried == [({"a": 1}, 3.0), ({"a": 2}, 4.0), ({"a": 3}, 3.0)]


def test_only_the_winner_is_scored_on_the_other_folds() -> None:
    score = Scorer(TABLE)
    grid_search(score, SETTINGS, folds=4, searched=2)
    assert score.asked == [[(a, fold) for a in (1, 2, 3) for fold in (0, 1)], [(2, 2), (2, 3)]]


def test_one_failed_fold_loses_however_good_the_others() -> None:
    found = grid_search(Scorer(TABLE | {2: [99.0, np.nan, 0.0, 0.0]}), SETTINGS, 4, 2)
    assert found.setting == {"a": 1}
    assert found.tried[1] == ({"a": 2}, -np.inf)


def test_the_first_of_equals_wins() -> None:
    assert (
        grid_search(Scorer(dict.fromkeys((1, 2, 3), [1.0] * 4)), SETTINGS, 4, 2).setting["a"] == 1
    )


def test_all_folds_may_be_searched() -> None:
    found = grid_search(Scorer(TABLE), SETTINGS, 4, 4)
    assert found.setting == {"a": 1}
    assert found.scores.tolist() == TABLE[1]


def test_product_grid_has_every_combination_once() -> None:
    grid = product_grid(a=[1, 2], b=["x", "y", "z"])
    assert len(grid) == 6
    assert len({(s["a"], s["b"]) for s in grid}) == 6
    assert grid[1] == {"a": 1, "b": "y"}
