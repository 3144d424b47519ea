"""Sparse data by columns: single precision, long indices, columns that are nearly the same."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from minimand.losses import HalfSquared, Logistic, Loss
from minimand.penalties import L1
from minimand.solvers import Objective, minimise
from minimand.solvers.sparse import design

ROWS, COLUMNS, APART = 20_000, 2000, 10


def millions() -> Any:
    """Four million numbers in single precision; column j has every tenth row, from j mod 10 on."""
    rng = np.random.default_rng(0)
    data = rng.random(ROWS // APART * COLUMNS, dtype=np.float32)
    rows = [np.arange(j % APART, ROWS, APART, dtype=np.int32) for j in range(COLUMNS)]
    ends = np.arange(0, len(data) + 1, ROWS // APART, dtype=np.int32)
    return scipy.sparse.csc_array((data, np.concatenate(rows), ends), (ROWS, COLUMNS))


@pytest.mark.parametrize("intercept", [True, False])
def test_products_are_those_of_double_precision(intercept: bool) -> None:
    X, rng = millions(), np.random.default_rng(1)
    one = design(X, intercept)
    theta, slopes = rng.normal(size=(COLUMNS + 1, 2)), rng.normal(size=(ROWS, 2))
    W, b = one.affine(theta)
    exact = X.astype(np.float64)
    scores = exact @ W + b
    assert np.allclose(one.push(theta), scores, rtol=1e-12, atol=1e-12)
    sums = exact.T @ slopes
    if intercept:
        sums -= np.outer(exact.mean(axis=0), slopes.sum(axis=0))
    assert np.allclose(one.pull(slopes)[:-1], sums, rtol=1e-9, atol=1e-9)
    few = np.where(np.arange(COLUMNS + 1) % 100 == 0, theta.T, 0.0).T
    W, b = one.affine(few)
    assert np.allclose(one.push(few), exact @ W + b, rtol=1e-12, atol=1e-12)


def test_single_precision_is_never_copied_to_double() -> None:
    X = millions()
    y = X[:, :5].sum(axis=1) + 0.1 * np.random.default_rng(1).normal(size=X.shape[0])
    steepest = np.max(np.abs(X.T @ (y - y.mean()))) / len(y)
    objective = Objective(HalfSquared(), L1(steepest / 10))
    expected = minimise(objective, X.astype(np.float64), y)
    tracemalloc.start()
    found = minimise(objective, X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.data.nbytes
    assert found.converged and found.value == pytest.approx(expected.value, rel=1e-6)


def test_indices_of_64_bits() -> None:
    """As SciPy makes them of lists of positions."""
    rng = np.random.default_rng(0)
    short = scipy.sparse.random_array((300, 800), density=0.05, format="csc", rng=rng)
    y = short[:, :20].sum(axis=1) + 0.1 * rng.normal(size=300)
    long = short.copy()
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    objective = Objective(HalfSquared(), L1(1e-4))
    found, expected = minimise(objective, long, y), minimise(objective, short, y)
    assert found.converged and found.value == pytest.approx(expected.value, rel=1e-6)


@pytest.mark.parametrize("loss", [HalfSquared(), Logistic()], ids=str)
@pytest.mark.parametrize("intercept", [True, False])
def test_columns_that_are_nearly_the_same(loss: Loss, intercept: bool) -> None:
    """Where sweeps over the columns would need thousands, few rounds do, and the slopes agree."""
    rng = np.random.default_rng(0)
    base = scipy.sparse.random_array((500, 40), density=0.2, format="csc", rng=rng)
    twins = []
    for _ in range(20):
        twins.append(base + 0.05 * scipy.sparse.random_array(base.shape, density=0.1, rng=rng))
    X = scipy.sparse.csc_array(scipy.sparse.hstack(twins))
    score = X @ (rng.normal(size=800) * (rng.random(800) < 0.1))
    y = score + 0.1 * rng.normal(size=500)
    y = y if loss == HalfSquared() else np.where(y > np.median(y), 1.0, -1.0)
    halves = 1.0 if loss == HalfSquared() else 2.0
    strength = np.max(np.abs(X.T @ (y - y.mean() * intercept))) / len(y) / halves / 100
    found = minimise(Objective(loss, L1(strength), intercept), X, y)
    assert found.converged and len(found.history["value"]) < 20
    assert found.certificate.value <= 1e-6 * found.value
    w, b = (found.params["output"][name] for name in ("kernel", "bias"))
    z = (X @ w + b)[:, 0]
    slopes = z - y if loss == HalfSquared() else -y / (1 + np.exp(y * z))
    gradient = X.T @ slopes / len(y)
    assert np.max(np.abs(gradient)) <= strength * (1 + 1e-4)
    assert np.allclose(gradient[w[:, 0] != 0], -strength * np.sign(w[w != 0]), rtol=1e-3)
