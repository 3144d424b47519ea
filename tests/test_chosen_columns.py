"""Some columns of an array: products as of a copy, which is not made where it would be large."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from minimand.solvers.sparse import design

ROWS, COLUMNS = 60_000, 60


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("intercept", [True, False])
def test_products(order: Any, dtype: Any, intercept: bool) -> None:
    rng = np.random.default_rng(0)
    X = np.asarray(3 + rng.normal(size=(ROWS, COLUMNS)), dtype, order=order)
    columns = np.sort(rng.choice(COLUMNS, 40, replace=False))
    theta, slopes, bends = rng.normal(size=(41, 2)), rng.normal(size=(ROWS, 2)), rng.random(ROWS)
    whole = design(X, intercept)
    tracemalloc.start()
    some = whole.some(columns)
    scores, sums, gram = some.push(theta), some.pull(slopes), some.gram(bends)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    Z = np.column_stack([X[:, columns] - whole.centre[columns], np.full(ROWS, float(intercept))])
    shift = np.zeros_like(theta) if intercept else np.vstack([np.zeros((40, 2)), theta[-1:]])
    np.testing.assert_allclose(scores, Z @ theta + shift[-1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sums, Z.T @ slopes, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(gram, Z.T @ (bends[:, None] * Z), rtol=1e-7, atol=1e-6)
    assert peak < 8 * X.size / 3


def test_few_of_many_columns_are_copied() -> None:
    X = np.random.default_rng(0).normal(size=(1000, 2000))
    some = design(X, True).some(np.arange(0, 2000, 2))
    np.testing.assert_array_equal(some.X, X[:, ::2])


@pytest.mark.parametrize("order", ["C", "F"])
def test_some_of_some(order: Any) -> None:
    rng = np.random.default_rng(0)
    X = np.asarray(3 + rng.normal(size=(6000, 60)), order=order)
    whole, slopes = design(X, True), rng.normal(size=(6000, 1))
    some = whole.some(np.arange(0, 60, 2))
    expected = (X - whole.centre).T @ slopes
    for inner in (np.arange(1, 30), np.array([3, 17])):
        for part in (some.some(inner), some.pick(inner)):
            gram = part.gram(np.ones(6000))
            np.testing.assert_allclose(part.pull(slopes)[:-1], expected[2 * inner], rtol=1e-9)
            np.testing.assert_allclose(gram[-1, :-1], 6000 * (X.mean(0) - whole.centre)[2 * inner])
