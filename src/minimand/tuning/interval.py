"""Confidence intervals: of mean scores, with what the folds share, and of a metric of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.data.splits import Fold

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        half = self.high - self.mean
        return f"{self.mean:.4g} ± {half:.2g}" if math.isfinite(half) else f"{self.mean:.4g}"


def corrected_interval(scores: Any, folds: Sequence[Fold] = ()) -> Interval:
    """The mean of J scores with its 95 % interval; without folds, scores of independent runs.

    The training rows of folds overlap, so the variance s² is inflated: (1/J + n_test/n_train) s²,
    against Student's t with J - 1 degrees of freedom. One score has an unbounded interval.

    Source: Nadeau and Bengio (2003), Inference for the generalization error, section 3, eq. 9;
    Bouckaert and Frank (2004) for repeated cross-validation.

    >>> folds = [Fold(np.arange(8), np.arange(2))] * 5
    >>> corrected_interval(range(1, 6), folds)  # 3 ± 2.776 √(0.45 · 2.5)
    Interval(mean=3.0, low=0.055..., high=5.944...)
    """
    return interval(np.asarray(scores, dtype=float), overlap(folds))


def bootstrap(
    metric: Callable[[np.ndarray], float], rows: int, seed: int, repeats: int = 500
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


def of_share(share: float, rows: int) -> tuple[float, float]:
    """The exact interval of the share of test rows of which something is true.

    Source: Clopper and Pearson (1934), The use of confidence or fiducial limits.

    >>> low, high = of_share(1.0, 12)
    >>> round(low, 3), high
    (0.735, 1.0)
    """
    from scipy.stats import binomtest

    low, high = binomtest(round(share * rows), rows).proportion_ci(LEVEL)
    return float(low), float(high)


def interval(scores: np.ndarray, share: float) -> Interval:
    """The mean of scores [J] with its 95 % interval, where `share` is n_test/n_train."""
    mean, half = float(scores.mean()), float(half_widths(scores, share))
    return Interval(mean, mean - half, mean + half)


def half_widths(values: np.ndarray, share: float) -> np.ndarray:
    """Of the 95 % interval of the mean along the last axis; ∞ for a single value."""
    from scipy.special import stdtrit

    count = values.shape[-1]
    if count == 1:
        return np.full(values.shape[:-1], np.inf)
    error = np.sqrt((1 / count + share) * values.var(axis=-1, ddof=1))
    return np.asarray(stdtrit(count - 1, 0.5 + LEVEL / 2) * error)


def overlap(folds: Sequence[Fold]) -> float:
    """Test rows for one training row, on average."""
    return float(np.mean([len(f.test) / len(f.train) for f in folds])) if folds else 0.0
