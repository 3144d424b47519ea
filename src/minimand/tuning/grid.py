"""Grid search over settings, on the same folds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

Setting = Mapping[str, Any]
Job = tuple[Setting, int]
"""A setting and the number of the fold to score it on."""


@dataclass(frozen=True)
class Searched:
    """The best setting, its score on every fold, and the settings that lost."""

    setting: Setting
    scores: np.ndarray
    tried: list[tuple[Setting, float]]


def product_grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination of the values.

    >>> product_grid(a=[1, 2], b=["x"])
    [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'}]
    """
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def grid_search(
    score: Callable[[Sequence[Job]], Sequence[float]],
    settings: Sequence[Setting],
    folds: int,
    searched: int,
) -> Searched:
    """Choose the setting with the highest mean score on the first `searched` of the folds.

    The chosen setting alone is then scored on the other folds. `score` runs a batch of jobs at
    once and gives one number a job, greater being better; NaN marks a job that failed.

    >>> grid_search(lambda jobs: [-abs(s["a"] - 2) for s, _ in jobs], [{"a": 1}, {"a": 2}], 3, 1)
    Searched(setting={'a': 2}, scores=array([0, 0, 0]), tried=[({'a': 1}, -1.0), ({'a': 2}, 0.0)])
    """
    jobs = [(setting, fold) for setting in settings for fold in range(searched)]
    table = np.reshape(score(jobs), (len(settings), searched))
    means = np.where(np.isnan(table).any(axis=1), -np.inf, table.mean(axis=1))
    best = int(np.argmax(means))
    rest = score([(settings[best], fold) for fold in range(searched, folds)])
    scores = np.concatenate([table[best], np.asarray(rest, dtype=table.dtype)])
    tried = [(setting, float(mean)) for setting, mean in zip(settings, means, strict=True)]
    return Searched(settings[best], scores, tried)
