"""What the neighbours of a setting say of it: scores with some of their luck averaged away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minimand.tuning.space import Setting

FEWEST = 20
"""Settings below which neighbours are too far apart to say anything."""


def smoothed(settings: Sequence[Setting], scores: Any) -> np.ndarray:
    """Scores [n], greater being better, as a forest of randomised trees sees them.

    The highest of many noisy scores is often luck, and its neighbours know. Scores further below
    the median than the best is above it count as that far below, so that a run that diverged does
    not blunt the trees. Fewer than 20 settings keep their scores.

    Source: Geurts, Ernst and Wehenkel (2006), Extremely randomized trees.

    >>> noise = np.random.default_rng(0).standard_normal(80)
    >>> settings = [{"a": a} for a in np.linspace(-1, 1, 80)]
    >>> truth = np.array([-4 * s["a"] ** 2 for s in settings])
    >>> error = smoothed(settings, truth + noise) - truth
    >>> bool(np.square(error).mean() < np.square(noise).mean() / 2)
    True
    """
    values = np.array(scores, dtype=float)
    from sklearn.ensemble import ExtraTreesRegressor

    columns = features(settings)
    if len(values) < FEWEST or not columns.size:
        return values
    floored = np.maximum(values, 2 * np.median(values) - values.max())
    forest = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0)
    return np.asarray(forest.fit(columns, floored).predict(columns))


def features(settings: Sequence[Setting]) -> np.ndarray:
    """Settings as numbers [n, columns]: the ranks of numbers, and one column for any other value.

    What a setting does not have is -1 or 0.

    >>> features([{"a": 0.001}, {"a": 10.0}, {"a": 0.1, "b": "x"}])
    array([[0., 0.],
           [2., 0.],
           [1., 1.]])
    """
    columns = []
    for name in sorted({name for setting in settings for name in setting}):
        values = [setting.get(name) for setting in settings]
        if all(v is None or _is_number(v) for v in values):
            numbers = np.array([np.nan if v is None else v for v in values], dtype=float)
            known = np.unique(numbers[~np.isnan(numbers)])
            columns.append(np.where(np.isnan(numbers), -1, np.searchsorted(known, numbers)))
        else:
            words = np.array(["" if v is None else repr(v) for v in values])
            columns += [words == word for word in np.unique(words[words != ""])]
    return np.array(columns, dtype=float).reshape(len(columns), len(settings)).T


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
