"""Hypergradients equal central differences, and one step by hand; descent along them helps."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from minimand import randomness
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError, UnknownNameError
from minimand.losses import Cauchy, Squared
from minimand.networks import MLP, Linear
from minimand.optimizers import SGD, Adam, Averaged, Momentum, Optimizer
from minimand.penalties import L2
from minimand.schedules import Exponential
from minimand.training import Recipe
from minimand.tuning.hypergradients import (
    _differentiated,
    hypergradient,
    tuned_by_gradient,
)
from minimand.tuning.space import applied

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(80, 3))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
FOLD = Fold(np.arange(60), np.arange(60, 80))
CURVED = Recipe(
    MLP(hidden=(6,), activation="tanh"),
    Cauchy(scale=0.7),
    Momentum(0.02),
    L2(strength=0.01),
    Exponential(decay_steps=30.0),
    batch_size=16,
)
RATE = "optimizer.learning_rate"


@pytest.mark.parametrize(
    ("optimizer", "paths"),
    [
        (Momentum(0.02), [RATE, "optimizer.momentum", "schedule.decay_rate"]),
        (
            Averaged(Adam(0.01), decay=0.9),
            ["optimizer.decay", "optimizer.optimizer.learning_rate", "optimizer.optimizer.beta1"],
        ),
    ],
)
def test_it_equals_central_differences(optimizer: Optimizer, paths: list[str]) -> None:
    """Of fourth order, in double precision; over the end of an epoch."""
    recipe = replace(CURVED, optimizer=optimizer)
    paths = [*paths, "penalty.strength", "loss.scale"]
    with jax.enable_x64(True):
        slope_at, numbers = _differentiated(recipe, X, Y, paths, 10, FOLD, 0, None)
        found = slope_at(numbers).slope

        def difference(path: str, h: float) -> float:
            above, below = (slope_at(numbers | {path: numbers[path] + by}) for by in (h, -h))
            return (above.value - below.value) / (2 * h)

        for path, number in numbers.items():
            near, far = (difference(path, k * 1e-4 * number) for k in (1, 2))
            assert found[path] == pytest.approx((4 * near - far) / 3, rel=1e-6)


def test_one_step_by_hand() -> None:
    """Of the loss L after w - η g: dL/dη = -∇L(w - η g) · g, and dL/dλ = -η ∇L(w - η g) · w."""
    rate, strength = 0.1, 0.5
    recipe = Recipe(
        Linear(), Squared(), SGD(learning_rate=rate), L2(strength=strength), batch_size=60
    )
    found = hypergradient(recipe, X, Y, [RATE, "penalty.strength"], unrolled=1, fold=FOLD)
    params, _ = recipe.network.init(randomness.key(0), X[:1].astype(np.float32))
    kernel = np.asarray(params["output"]["kernel"], dtype=float)[:, 0]
    w = np.append(kernel, Y[FOLD.train].mean())
    design = np.column_stack([X, np.ones(80)])
    scale = float(Squared()(np.array([2.0]), np.array([0.0]))) / 2  # of the slope in the residual

    def slope(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return scale * design[rows].T @ (design[rows] @ w - Y[rows]) / len(rows)

    decayed = np.append(kernel, 0.0)
    step = slope(w, FOLD.train) + strength * decayed
    after = slope(w - rate * step, FOLD.test)
    assert found.slope[RATE] == pytest.approx(-after @ step, rel=1e-4)
    assert found.slope["penalty.strength"] == pytest.approx(-rate * after @ decayed, rel=1e-4)


def test_descent_lowers_the_validation_loss() -> None:
    start = replace(CURVED, optimizer=SGD(learning_rate=0.001))
    found = tuned_by_gradient(start, X, Y, [RATE, "penalty.strength"], steps=8, fold=FOLD)
    assert list(found.values) == sorted(found.values, reverse=True)
    assert found.values[-1] < found.values[0]
    assert found.recipe.optimizer.learning_rate > 0.003
    assert applied(start, found.settings[-1]) == found.recipe
    again = hypergradient(found.recipe, X, Y, [RATE], fold=FOLD)
    assert again.value == pytest.approx(found.values[-1], rel=1e-5)


def test_descent_stays_where_numbers_are_allowed() -> None:
    """More momentum would help here, but the first move would take it above 1."""
    start = Recipe(Linear(), Squared(), Momentum(1e-5, momentum=0.99), batch_size=60)
    found = tuned_by_gradient(start, X, X[:, 0], ["optimizer.momentum"], steps=6, fold=FOLD)
    assert 0.99 < found.recipe.optimizer.momentum < 1


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("optimizer.learning_rat", UnknownNameError, "did you mean 'learning_rate'"),
        ("batch_size", ArgumentError, "batch_size is 16; a hypergradient needs a real number"),
        ("network.activation", ArgumentError, "needs a real number"),
        ("network.dropout", ArgumentError, "dropout"),
    ],
)
def test_paths_must_lead_to_numbers(path: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        hypergradient(CURVED, X, Y, [path])


def test_rows_to_judge_by_are_needed() -> None:
    with pytest.raises(DataError, match="rows to judge by"):
        hypergradient(CURVED, X, Y, [RATE], fold=Fold(np.arange(80), np.arange(0)))


def test_descent_on_logarithms_cannot_leave_zero() -> None:
    with pytest.raises(ArgumentError, match=r"penalty.strength is 0.0; start from a number above"):
        tuned_by_gradient(replace(CURVED, penalty=L2(0.0)), X, Y, ["penalty.strength"])


def test_a_short_run_needs_a_step() -> None:
    with pytest.raises(ArgumentError, match="at least 1 step"):
        hypergradient(CURVED, X, Y, [RATE], unrolled=0)
