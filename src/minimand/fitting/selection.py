"""Comparing candidates that were scored on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minimand.arrays import Array
from minimand.data import Fold

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


def corrected_interval(scores: Array, folds: Sequence[Fold]) -> Interval:
    """The mean of cross-validation scores with the interval of Nadeau and Bengio.

    The folds' training rows overlap, so the variance s² of J scores is inflated:
    (1/J + n_test/n_train) s², against Student's t with J - 1 degrees of freedom.

    Source: Nadeau and Bengio (2003), Inference for the generalization error, section 3, eq. 9;
    Bouckaert and Frank (2004) for repeated cross-validation.

    >>> folds = [Fold(np.arange(8), np.arange(2))] * 5
    >>> corrected_interval(np.arange(1.0, 6.0), folds)  # 3 ± 2.776 √(0.45 · 2.5)
    Interval(mean=3.0, low=0.055..., high=5.944...)
    """
    from scipy.stats import t

    mean, count = float(np.mean(scores)), len(scores)
    share = np.mean([len(f.test) / len(f.train) for f in folds])
    error = float(np.sqrt((1 / count + share) * np.var(scores, ddof=1)))
    half = float(t.ppf(0.5 + LEVEL / 2, count - 1)) * error
    return Interval(mean, mean - half, mean + half)


def bootstrap(
    metric: Callable[[Array], float], rows: int, seed: int, repeats: int = 500
) -> tuple[float, float]:
    """The percentile interval of a metric of test rows, resampled with replacement.

    `metric` takes row numbers. Source: Efron (1979), Bootstrap methods: another look at the
    jackknife.

    >>> low, high = bootstrap(lambda rows: float(np.mean(rows < 50)), 100, seed=0)
    >>> 0.35 < low < 0.45 and 0.55 < high < 0.65
    True
    """
    random = np.random.default_rng(seed)
    values = [metric(random.integers(rows, size=rows)) for _ in range(repeats)]
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)
