"""Columns, or channels of images, brought to mean 0 and spread 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minimand.arrays import Array

BLOCK = 1 << 20


def mean_and_spread(values: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The weighted mean and standard deviation of columns; 1 for a constant one.

    >>> mean_and_spread(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 1.]))
    """
    mean = np.average(values, axis=0, weights=weight)
    spread = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
    return mean, np.where(spread > 1e-12 * np.abs(mean), spread, 1.0)


def mean_and_spread_of_inputs(
    X: Array, weight: Array | None = None, codes: Sequence[int] = ()
) -> tuple[Array, Array]:
    """Those of the columns of X [n, p], or of the channels of images; columns of codes stay.

    >>> mean_and_spread_of_inputs(np.array([[1.0, 7.0], [3.0, 9.0]]), codes=[1])
    (array([2., 0.]), array([1., 1.]))
    """
    if X.ndim > 2:
        return mean_and_spread_of_channels(X, weight)
    mean, spread = mean_and_spread(np.asarray(X, dtype=float), weight)
    mean[list(codes)], spread[list(codes)] = 0.0, 1.0
    return mean, spread


def mean_and_spread_of_channels(images: Array, weight: Array | None = None) -> tuple[Array, Array]:
    """The weighted mean and standard deviation of the channels of images; 1 for a constant one.

    `images` are [n, height, width], of one channel, or [n, height, width, channels]. Bytes count as
    fractions of 255.

    >>> mean, spread = mean_and_spread_of_channels(np.array([[[0, 255]], [[255, 0]]], np.uint8))
    >>> float(mean), float(spread)
    (0.5, 0.5)
    """
    axes = (1, 2)
    unit = 255.0 if images.dtype == np.uint8 else 1.0
    moments = np.empty((2, len(images), *images.shape[3:]))
    step = max(1, BLOCK // math.prod(images.shape[1:]))
    for start in range(0, len(images), step):
        block = images[start : start + step] / unit
        moments[:, start : start + step] = block.mean(axis=axes), (block**2).mean(axis=axes)
    mean, square = np.average(moments, axis=1, weights=weight)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return mean, np.where(spread > 1e-7 * np.abs(mean), spread, 1.0)
