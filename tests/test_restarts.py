"""Restarts find the global optimum of functions whose minima are known, and count the others."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from minimand.arrays import Array
from minimand.errors import ArgumentError, ShapeError, SolverError
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import Adam
from minimand.penalties import L2
from minimand.training import Recipe, train
from minimand.tuning.basins import basins, restarts, train_restarts


def camel(x: Array) -> Array:
    """The six-hump camel back: six minima of three values."""
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2


def rastrigin(x: Array) -> Array:
    return 10 * len(x) + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x))


def test_the_minima_of_the_camel_back() -> None:
    """Dixon and Szegö (1978): -1.0316 at ±(0.0898, -0.7126); the others are -0.2155 and 2.1043."""
    starts = np.random.default_rng(0).uniform([-2, -1], [2, 1], size=(64, 2))
    found = restarts(camel, starts)
    values = [basin.value for basin in found.basins[:3]]
    np.testing.assert_allclose(values, [-1.031628, -0.215464, 2.104250], atol=1e-6)
    sign = np.sign(found.best[0])
    np.testing.assert_allclose(sign * found.best, [0.08984, -0.71266], atol=1e-5)
    assert found.gap == pytest.approx(0.816164, abs=1e-6)


def test_the_global_minimum_of_rastrigin_among_many() -> None:
    starts = np.random.default_rng(0).uniform(-2.5, 2.5, size=(128, 2))
    found = restarts(rastrigin, starts)
    np.testing.assert_allclose(found.best, 0, atol=1e-6)
    assert found.basins[0].value == pytest.approx(0, abs=1e-9)
    assert found.basins[1].value == pytest.approx(0.99496, abs=1e-4)
    assert sum(basin.share for basin in found.basins) == pytest.approx(1)


def test_a_convex_function_has_one_basin() -> None:
    found = restarts(lambda x: jnp.sum((x - 3) ** 2), np.eye(4))
    assert [basin.starts for basin in found.basins] == [found.basins[0].starts]
    assert found.gap == math.inf
    assert "4 of 4 starts" in found.summary()
    assert found.unseen == 1 * 2 / (4 * 3)


def test_the_unseen_share_is_that_of_boender_and_rinnooy_kan() -> None:
    found = restarts(lambda x: (x[0] ** 2 - 1) ** 2 + 0.1 * x[0], np.linspace(-2, 2, 10)[:, None])
    assert len(found.basins) == 2
    assert found.unseen == pytest.approx(2 * 3 / (10 * 9))


def test_starts_that_fail_are_left_out() -> None:
    found = restarts(lambda x: jnp.log(x[0]) + 1 / x[0], [[-1.0], [2.0], [0.5]])
    assert found.best == pytest.approx([1.0], abs=1e-4)
    assert found.basins[0].share == 1.0


def test_basins_are_cut_where_values_part() -> None:
    found = basins([1.0, 1.05, 1.11, math.nan, 2.0], tolerance=0.1)
    assert [basin.starts for basin in found] == [(0, 1), (2,), (4,)]
    assert [basin.share for basin in found] == [0.5, 0.25, 0.25]
    assert [basin.starts for basin in basins([-200.0, -199.0], tolerance=0.01)] == [(0, 1)]
    assert len(basins([1.0, 1.0, 2.0], tolerance=0.0)) == 2


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ShapeError, match="expected \\[K, d\\]"):
        restarts(camel, [0.0, 0.0])
    with pytest.raises(ArgumentError, match="tolerance is -1"):
        basins([1.0], tolerance=-1)
    with pytest.raises(SolverError, match="none of 2 starts"):
        basins([math.nan, math.inf], tolerance=0.1)


# --- Networks: the exclusive or has local minima for two hidden units ---

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0.0, 1.0, 1.0, 0.0])
NARROW = Recipe(
    MLP(hidden=(2,), activation="tanh"), Squared(), Adam(0.05), L2(1e-4), epochs=300, batch_size=4
)


def test_two_hidden_units_learn_the_exclusive_or_from_some_starts_only() -> None:
    found = train_restarts(NARROW, CORNERS, XOR, starts=16, tolerance=1e-2)
    assert found.basins[0].value < 0.01 < 0.05 < found.basins[1].value
    assert 0 < found.basins[0].share < 1
    np.testing.assert_allclose(found.best.scores(CORNERS), XOR, atol=0.1)
    first = found.basins[0].starts[0]
    alone = train(NARROW, CORNERS, XOR, validation=0, seed=first)
    kernels = [
        layer["kernel"] for layer in (alone.params["hidden"]["layer0"], alone.params["output"])
    ]
    penalty = 0.5e-4 * sum(float(np.sum(np.square(kernel))) for kernel in kernels)
    mean = float(np.mean(Squared()(alone.scores(CORNERS), XOR, reduction="none")))
    assert found.values[first] == pytest.approx(mean + penalty, rel=1e-4)


def test_no_start_is_refused() -> None:
    with pytest.raises(ArgumentError, match="starts is 0"):
        train_restarts(NARROW, CORNERS, XOR, starts=0)
