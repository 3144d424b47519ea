"""Columns brought to mean 0 and spread 1."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array


def mean_and_spread(values: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The weighted mean and standard deviation of columns; 1 for a constant one.

    >>> mean_and_spread(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 1.]))
    """
    mean = np.average(values, axis=0, weights=weight)
    spread = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
    return mean, np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)
