"""What is left to gain is never more than a certificate says, and not much less."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
import scipy.sparse

from minimand.budget import Budget
from minimand.losses import (
    BinaryCrossEntropy,
    Gamma,
    HalfSquared,
    Logistic,
    Loss,
    Poisson,
    Tweedie,
)
from minimand.penalties import L1, L2
from minimand.solvers import LBFGS, Newton, Objective, ProximalNewton
from minimand.solvers.certificate import certify, curvature_bound
from minimand.solvers.problem import Problem


def data(loss: Loss, rows: int = 400, columns: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, columns)) * 10.0 ** np.arange(-2, columns - 2)
    score = 0.5 * (X / X.std(axis=0)).sum(axis=1)
    match loss:
        case Logistic():
            y = np.where(random.logistic(size=rows) < score, 1.0, -1.0)
        case BinaryCrossEntropy():
            y = 1.0 * (random.logistic(size=rows) < score)
        case HalfSquared():
            y = score + random.normal(size=rows)
        case Gamma():
            y = np.exp(score) * random.gamma(2, size=rows)
        case _:
            y = random.poisson(np.exp(score)).astype(float)
    return X, y


@pytest.mark.parametrize("strength", [0.0, 1e-3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    "loss",
    [Logistic(), BinaryCrossEntropy(), HalfSquared(), Poisson(), Gamma(), Tweedie()],
    ids=str,
)
def test_the_curvature_bounds_what_is_left(loss: Loss, intercept: bool, strength: float) -> None:
    """Near and far from the optimum; near, where 400 rows all count, the bound is nearly exact."""
    X, y = data(loss)
    objective = Objective(loss, L2(strength), intercept)
    problem = Problem(objective, X, y)
    best = Newton().minimise(objective, X, y)
    optimum, random = problem._point(best.params), np.random.default_rng(1)
    useful = 0
    for size in (1e-4, 1e-3, 1e-2, 0.1, 1.0):
        for _ in range(10):
            step = size * random.normal(size=optimum.shape) / problem.design.size[:, None]
            step[-1] *= intercept
            point = problem.at(optimum + step)
            left, bound = point.value - best.value, curvature_bound(problem, point)
            assert bound >= left - 1e-15
            useful += np.isfinite(bound)
            if size == 1e-4:
                assert bound <= 1.01 * left + 1e-15
    assert useful >= 20


def test_part_of_the_rows_is_enough() -> None:
    X, y = data(Poisson(), rows=20_000)
    objective = Objective(Poisson(), L2(1 / 20_000))
    best = Newton().minimise(objective, X, y)
    problem = Problem(objective, X, y)
    step = 1e-3 / problem.design.size[:, None]
    point = problem.at(problem._point(best.params) + step)
    left = point.value - best.value
    assert left <= curvature_bound(problem, point) <= 40 * left


def test_a_weak_penalty_leaves_lbfgs_a_tight_certificate() -> None:
    """The gap of the slopes is 1000 times as wide: it knows only the curvature of the penalty."""
    X, y = data(Logistic(), rows=60_000)
    objective = Objective(Logistic(), L2(1 / 60_000))
    best = Newton().minimise(objective, X, y)
    found = LBFGS().minimise(objective, X, y)
    assert found.value - best.value <= found.certificate.value <= 1e-6 * best.value
    assert "by the" in found.certificate.sentence


def test_without_a_penalty_there_is_a_bound_too_unless_nothing_bends() -> None:
    X, y = data(Poisson())
    objective = Objective(Poisson())
    problem = Problem(objective, X, y)
    theta = problem._point(Newton().minimise(objective, X, y).params)
    value, certificate = certify(problem, theta, None)
    assert certificate.kind == "curvature bound" and certificate.value <= 1e-12 * abs(value)
    assert certify(problem, theta - 30, None)[1].kind == "gradient norm"


def test_constant_columns_do_not_matter() -> None:
    X, y = data(Poisson())
    plain, wide = (
        Problem(Objective(Poisson()), X, y),
        Problem(Objective(Poisson()), np.column_stack([X, np.full(len(y), 3.0)]), y),
    )
    theta = plain.initial()
    theta[0] = Newton().minimise(Objective(Poisson()), X[:, :1], y).params["output"]["kernel"][0]
    bounds = [
        curvature_bound(plain, plain.at(theta)),
        curvature_bound(wide, wide.at(np.insert(theta, -1, 0.0, axis=0))),
    ]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-9)


def test_where_a_solver_looked_last_is_read_once_and_nobody_can_change_it() -> None:
    X, y = data(Logistic())
    problem = Problem(Objective(Logistic(), L2(0.1)), X, y)
    theta = problem.initial()
    seen, readings = problem.witnessed(theta), problem.design.readings
    assert certify(problem, theta, None)[0] == problem.at(theta).value
    for held in (seen.theta, seen.scores, seen.gradient):
        with pytest.raises(ValueError, match="read-only"):
            held[...] = 0.0
    assert problem.witnessed(theta) is seen and problem.design.readings == readings + 1
    theta[0] = 1.0
    np.testing.assert_array_equal(problem.witnessed(theta).gradient, problem.at(theta).gradient)
    other = copy(problem)
    other.penalty = L2(1.0)
    assert other.witnessed(theta).value > problem.witnessed(theta).value


def test_an_l1_penalty_is_certified_by_the_last_look_at_all_columns() -> None:
    """Rounds look once each, after a first one at the start; sizes are never asked for."""
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((500, 2000), density=0.02, format="csc", rng=rng)
    y = X[:, :5].sum(axis=1) + 0.1 * rng.normal(size=500)
    strength = float(np.max(np.abs(X.T @ y))) / 500 / 5
    objective = Objective(HalfSquared(), L1(strength), intercept=False)
    problem = Problem(objective, X, y)
    solution = ProximalNewton().solve(problem, "", Budget())
    assert solution.converged and problem.design.readings == len(solution.history["value"])
