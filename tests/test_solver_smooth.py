"""Smooth objectives: Newton's method, L-BFGS on samples, Newton-CG, and the span of the rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from sklearn import datasets, linear_model

from minimand.budget import Budget
from minimand.errors import DataError
from minimand.losses import (
    Brier,
    Cauchy,
    CrossEntropy,
    Gamma,
    Huber,
    Logistic,
    Loss,
    Ordinal,
    Poisson,
    Squared,
    Welsch,
)
from minimand.penalties import L1, L2
from minimand.solvers import Newton, Objective, Shape, Solution, Solver, minimise
from minimand.solvers.lbfgs import LBFGS
from minimand.solvers.newton_cg import NewtonCG
from minimand.solvers.preconditioner import Curvature, precision, sample_size
from minimand.solvers.problem import Problem
from minimand.solvers.row_space import RowSpace

MANY = 40_000  # rows, of which 8,000 make a sample
SOLVERS = [(Newton(), 500), (LBFGS(), 500), (NewtonCG(), 500), (RowSpace(), 7)]


@cache
def bundled(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Standardised columns."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    return X, {"breast_cancer": 2 * y - 1, "diabetes": np.round(y / 25)}.get(name, y)


@cache
def many(kind: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(MANY, 8))
    scores = X @ random.normal(size=(8, 4)) / 3
    return X, {
        "sign": np.where(scores[:, 0] + random.logistic(size=MANY) > 0, 1.0, -1.0),
        "count": random.poisson(np.exp(scores[:, 0])).astype(float),
        "class": np.argmax(scores + random.gumbel(size=scores.shape), axis=1),
    }[kind]


def flat(solution: Solution) -> np.ndarray:
    layer = solution.params["output"]
    return np.concatenate([layer["kernel"].ravel(), layer["bias"]])


def peer_flat(peer: Any) -> np.ndarray:
    bias = np.atleast_1d(peer.intercept_)
    return np.concatenate(
        [np.atleast_2d(peer.coef_).T.ravel(), bias - bias.mean() * (len(bias) > 1)]
    )


def peer_of(loss: Loss, strength: float, rows: int) -> Any:
    """scikit-learn's estimator of the same objective, to its last digits."""
    if isinstance(loss, Poisson):
        return linear_model.PoissonRegressor(alpha=strength, tol=1e-12, solver="newton-cholesky")
    C, settings = 1 / (strength * rows), {"tol": 1e-12, "max_iter": 10_000}
    solver = "newton-cholesky" if isinstance(loss, Logistic) else "newton-cg"
    return linear_model.LogisticRegression(C=C, solver=solver, **settings)


# --- Peers ---


@pytest.mark.parametrize("solver", [Newton(), LBFGS(), NewtonCG(tolerance=1e-14)], ids=str)
@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (Logistic(), "breast_cancer"),
        (CrossEntropy(), "iris"),
        (CrossEntropy(), "wine"),
        (Poisson(), "diabetes"),
    ],
)
def test_parameters_agree_with_scikit_learn(loss: Loss, name: str, solver: Solver) -> None:
    X, y = bundled(name)
    solution = solver.minimise(Objective(loss, L2(0.01)), X, y)
    expected = peer_flat(peer_of(loss, 0.01, len(y)).fit(X, y))
    assert solution.converged, solution.status
    np.testing.assert_allclose(flat(solution), expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("scales", [1.0, 10.0 ** np.linspace(-2, 2, 8)], ids=["one", "ill"])
@pytest.mark.parametrize(
    ("loss", "kind"), [(Logistic(), "sign"), (Poisson(), "count"), (CrossEntropy(), "class")]
)
def test_a_sample_saves_most_readings_of_many_rows(loss: Loss, kind: str, scales: Any) -> None:
    X, y = many(kind)
    objective = Objective(loss, L2(1 / MANY))
    solution = LBFGS().minimise(objective, X * scales, y)
    exact = Newton().minimise(objective, X * scales, y)
    assert solution.status.startswith("converged")
    assert solution.value - exact.value <= 1e-6 * abs(exact.value)
    assert solution.history["passes"][-1] <= 10
    assert len(solution.history["passes"]) == len(solution.history["value"])


def test_the_curvature_of_one_score_is_the_hessian() -> None:
    X, y = bundled("breast_cancer")
    problem = Problem(Objective(Logistic(), L2(0.1)), X, y)
    point = problem.at(problem.start)
    expected = np.linalg.solve(problem.hessian(point), point.gradient)
    np.testing.assert_allclose(Curvature(problem, point)(point.gradient), expected, atol=1e-7)


def test_the_curvature_of_equal_classes_and_no_slopes_is_the_hessian() -> None:
    """At score 0 every row has the same curvature, so the product form is exact."""
    X, y = bundled("iris")
    problem = Problem(Objective(CrossEntropy(), L2(0.1)), X, y)
    point = problem.at(problem.start)
    assert np.ptp(point.scores) < 1e-12
    step = Curvature(problem, point)(point.gradient)
    found = problem.hessian(point) @ step.ravel()
    np.testing.assert_allclose(found, point.gradient.ravel(), atol=1e-9)


def test_all_the_gram_matrices_of_a_hessian_come_in_one_reading() -> None:
    X, y = bundled("iris")
    problem = Problem(Objective(CrossEntropy(), L2(0.1)), X, y)
    point = problem.at(problem.start + 0.3 * np.arange(15.0).reshape(5, 3))
    before, step = problem.design.readings, 1e-6
    hessian = problem.hessian(point)
    assert problem.design.readings == before + 1
    for i in range(15):
        move = step * np.eye(15)[i].reshape(5, 3)
        ahead, behind = problem.at(point.theta + move), problem.at(point.theta - move)
        slope = (ahead.gradient - behind.gradient) / (2 * step)
        np.testing.assert_allclose(hessian[i], slope.ravel(), atol=1e-7)


@pytest.mark.parametrize("solver", [LBFGS(), NewtonCG()], ids=str)
def test_kinks_are_refused(solver: Solver) -> None:
    assert solver.suits(Objective(Logistic(), L2(0.1)), Shape(100, 3))
    assert not solver.suits(Objective(Logistic(), L1(0.1)), Shape(100, 3))


def test_samples_are_for_many_rows() -> None:
    assert sample_size(Shape(100_000, 200)) == 8000
    assert sample_size(Shape(20_000, 200)) == 20_000
    assert Newton().pays(Shape(20_000, 20)) and not Newton().pays(Shape(20_000, 200))
    assert not Newton().pays(Shape(100_000, 10))
    assert Newton().pays(Shape(150, 4, 3)) and not Newton().pays(Shape(20_000, 100, 10))


# --- Where a sample misleads ---


@cache
def rare_levels() -> tuple[np.ndarray, np.ndarray]:
    """Indicators of which some hold for two rows, or for a dozen."""
    X, y = many("sign")
    random = np.random.default_rng(1)
    levels = np.zeros((MANY, 10))
    for column in range(10):
        levels[random.choice(MANY, 2 + column, replace=False), column] = 1
    return np.hstack([X, levels]), y


def outlying(rows: int, factor: float) -> np.ndarray:
    X = many("sign")[0].copy()
    X[np.random.default_rng(2).choice(MANY, rows, replace=False), 3] *= factor
    return X


@pytest.mark.parametrize(
    ("X", "strength"),
    [
        (rare_levels()[0], 1 / MANY),
        (rare_levels()[0], 1e-9),
        (outlying(3, 1e6), 1e-3),
        (outlying(100, 1e3), 1e-3),
        (outlying(5, 1e5), 0.0),
        (np.hstack([many("sign")[0]] * 2), 1 / MANY),
        (np.hstack([many("sign")[0], np.ones((MANY, 1))]), 0.0),
        (many("sign")[0] + 1e5, 1e-3),
    ],
)
def test_no_answer_depends_on_a_misleading_sample(X: np.ndarray, strength: float) -> None:
    objective, y = Objective(Logistic(), L2(strength)), many("sign")[1]
    solution = LBFGS().minimise(objective, X, y)
    exact = Newton().minimise(objective, X, y)
    assert abs(solution.value - exact.value) <= 1e-6 * exact.value


def test_a_class_that_the_sample_misses_is_solved_too() -> None:
    X, y = many("class")
    y = y.copy()
    y[:3] = 4
    objective = Objective(CrossEntropy(), L2(1e-3))
    solution = LBFGS().minimise(objective, X, y)
    exact = Newton().minimise(objective, X, y)
    assert solution.converged, solution.status
    assert abs(solution.value - exact.value) <= 1e-6 * exact.value


def test_newtons_method_ends_what_lbfgs_cannot_and_says_so() -> None:
    X, y = rare_levels()
    solution = LBFGS().minimise(Objective(Logistic(), L2(1e-9)), X, y)
    exact = Newton().minimise(Objective(Logistic(), L2(1e-9)), X, y)
    assert "by Newton's method after" in solution.status
    assert solution.value <= exact.value * (1 + 1e-9)


def test_many_separable_rows_have_no_optimum() -> None:
    X, _ = many("sign")
    y = np.where(X[:, 0] > 0, 1.0, -1.0)
    solution = LBFGS().minimise(Objective(Logistic()), X, y)
    assert not solution.converged
    assert "no minimum" in solution.status
    assert LBFGS().minimise(Objective(Logistic(), L2(1e-2)), X, y).converged


def test_a_level_of_one_class_has_no_optimum_among_many_rows() -> None:
    """Albert and Anderson (1984), and Newton's method on all rows finds it."""
    X, y = many("sign")
    level = np.zeros(MANY)
    level[np.flatnonzero(y > 0)[:5]] = 1
    solution = LBFGS().minimise(Objective(Logistic()), np.column_stack([X, level]), y)
    assert "no minimum" in solution.status


@pytest.mark.parametrize("row", [0, 17, MANY - 1])
def test_a_missing_number_is_named_whether_sampled_or_not(row: int) -> None:
    X, y = many("sign")
    X = X.copy()
    X[row, 2] = np.nan
    with pytest.raises(DataError, match=f"nan in row {row + 1}, column 3"):
        LBFGS().minimise(Objective(Logistic(), L2(0.1)), X, y)


# --- Forms of data ---


def forms(X: np.ndarray) -> dict[str, Any]:
    return {
        "fortran": np.asfortranarray(X),
        "single": X.astype(np.float32),
        "csr": scipy.sparse.csr_matrix(X),
        "csc": scipy.sparse.csc_matrix(X),
    }


@pytest.mark.parametrize("form", ["fortran", "single", "csr", "csc"])
@pytest.mark.parametrize(
    ("loss", "kind", "solver", "rows"),
    [
        (Logistic(), "sign", LBFGS(), MANY),
        *((Logistic(), "sign", solver, rows) for solver, rows in SOLVERS),
        *((CrossEntropy(), "class", solver, rows) for solver, rows in SOLVERS),
    ],
)
def test_every_form_of_data_gives_the_same(
    loss: Loss, kind: str, solver: Solver, rows: int, form: str
) -> None:
    X, y = many(kind)
    X, y = np.round(2 * X[:rows]) / 2, y[:rows]
    objective = Objective(loss, L2(0.01))
    plain = solver.minimise(objective, X, y)
    other = solver.minimise(objective, forms(X)[form], y)
    assert other.converged, other.status
    np.testing.assert_allclose(flat(other), flat(plain), atol=2e-3)
    assert other.value == pytest.approx(plain.value, rel=1e-6)


@pytest.mark.parametrize(("solver", "rows"), SOLVERS)
def test_weights_are_repeated_rows_and_offsets_are_scores(solver: Solver, rows: int) -> None:
    X, y = many("count")
    X, y = X[:rows], y[:rows]
    times, offset = np.arange(rows) % 3, np.linspace(-1, 1, rows)
    objective = Objective(Poisson(), L2(0.1))
    weighted = solver.minimise(objective, X, y, times, offset=offset)
    again = [np.repeat(a, times, axis=0) for a in (X, y, offset)]
    repeated = Newton().minimise(objective, again[0], again[1], offset=again[2])
    np.testing.assert_allclose(flat(weighted), flat(repeated), atol=1e-4)
    peer = linear_model.PoissonRegressor(alpha=0.1, tol=1e-12, solver="newton-cholesky")
    share = np.exp(again[2])  # y / exp(offset) weighed by exp(offset) is the same likelihood
    peer.set_params(alpha=0.1 * len(share) / share.sum())
    peer.fit(again[0], again[1] / share, sample_weight=share)
    np.testing.assert_allclose(flat(weighted), peer_flat(peer), atol=1e-4)


@pytest.mark.parametrize("solver", [Newton(), LBFGS(), NewtonCG()], ids=str)
def test_without_an_intercept_the_bias_is_zero(solver: Solver) -> None:
    X, y = bundled("breast_cancer")
    solution = solver.minimise(Objective(Logistic(), L2(0.01), intercept=False), X + 1, y)
    peer = peer_of(Logistic(), 0.01, len(y)).set_params(fit_intercept=False).fit(X + 1, y)
    assert solution.params["output"]["bias"] == 0
    np.testing.assert_allclose(flat(solution)[:-1], peer.coef_.ravel(), atol=1e-4)


@pytest.mark.parametrize("intercept", [True, False])
def test_many_rows_without_an_intercept(intercept: bool) -> None:
    X, y = many("sign")
    objective = Objective(Logistic(), L2(1e-4), intercept)
    solution, exact = (solver.minimise(objective, X + 0.5, y) for solver in (LBFGS(), Newton()))
    assert solution.value == pytest.approx(exact.value, rel=1e-6)


@pytest.mark.parametrize("solver", [Newton(), LBFGS(), NewtonCG(), RowSpace()], ids=str)
def test_a_start_at_the_optimum_stays_there(solver: Solver) -> None:
    X, y = many("sign")
    X, y = (X[:7], y[:7]) if isinstance(solver, RowSpace) else (X, y)
    objective = Objective(Logistic(), L2(0.01))
    first = Newton().minimise(objective, X, y)
    again = solver.minimise(objective, X, y, start=first.params)
    assert len(again.history["value"]) <= 2
    np.testing.assert_allclose(flat(again), flat(first), atol=1e-6)


@pytest.mark.parametrize("solver", [Newton(), LBFGS(), NewtonCG(), RowSpace()], ids=str)
def test_a_spent_budget_ends_the_run(solver: Solver) -> None:
    X, y = many("sign")
    X, y = (X[:7], y[:7]) if isinstance(solver, RowSpace) else (X, y)
    budget = Budget()
    budget.interrupted = True
    solution = solver.minimise(Objective(Logistic(), L2(0.01)), X, y, budget=budget)
    assert not solution.converged and "Ctrl-C" in solution.status
    assert np.all(np.isfinite(flat(solution)))


def test_the_limit_of_steps_is_kept() -> None:
    X, y = rare_levels()
    solution = LBFGS(max_iterations=2).minimise(Objective(Logistic(), L2(1e-9)), X, y)
    assert not solution.converged
    assert "limit of 2 steps" in solution.status


# --- More columns than rows ---


@pytest.mark.parametrize("strength", [1.0, 1e-3])
@pytest.mark.parametrize("loss", [Logistic(), CrossEntropy(), Poisson()], ids=str)
def test_ten_times_more_columns_than_rows_agree_with_scikit_learn(
    loss: Loss, strength: float
) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(40, 400))
    y = {"sign": X[:, 0] > 0, "class": np.arange(40) % 3, "count": np.arange(40) % 5}
    target = y[loss.card.target] * 1
    target = 2.0 * target - 1 if loss.card.target == "sign" else target
    solution = RowSpace().minimise(Objective(loss, L2(strength)), X, target)
    expected = peer_flat(peer_of(loss, strength, 40).fit(X, target))
    assert solution.converged, solution.status
    np.testing.assert_allclose(flat(solution), expected, atol=1e-5 * np.abs(expected).max())


def test_without_a_penalty_the_shortest_of_all_optima_is_found() -> None:
    """numpy.linalg.lstsq gives the least norm on centred data."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(20, 50)), random.normal(size=20)
    expected = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean())[0]
    for loss in (Squared(), Huber(1.0)):
        found = RowSpace().minimise(Objective(loss), X, y)
        assert found.converged, found.status
        np.testing.assert_allclose(found.params["output"]["kernel"][:, 0], expected, atol=1e-6)


def test_rows_that_say_nothing_leave_the_constant() -> None:
    y = np.array([1.0, -1.0, 1.0])
    solution = RowSpace().minimise(Objective(Logistic(), L2(0.1)), np.ones((3, 5)), y)
    np.testing.assert_allclose(flat(solution), [0, 0, 0, 0, 0, np.log(2)], atol=1e-9)


def test_very_many_columns_need_no_gram_matrix() -> None:
    random = np.random.default_rng(0)
    X = scipy.sparse.random_array((5000, 6000), density=0.002, format="csr", rng=random)
    y = np.where(X @ random.normal(size=6000) > 0, 1.0, -1.0)
    objective = Objective(Logistic(), L2(1e-3))
    peer = linear_model.LogisticRegression(C=1 / 5, tol=1e-8, max_iter=1000).fit(X, y)
    margin = y * peer.decision_function(X)
    best = np.mean(np.logaddexp(0, -margin)) + 0.5e-3 * np.sum(peer.coef_**2)
    for solver in (LBFGS(), NewtonCG()):
        assert solver.minimise(objective, X, y).value == pytest.approx(best, rel=1e-6)


# --- Not convex ---


@pytest.mark.parametrize("loss", [Brier(), Ordinal(), Welsch(), Cauchy()], ids=str)
def test_losses_that_are_not_convex_come_to_rest_where_scipy_does(loss: Loss) -> None:
    X, y = bundled("wine" if loss.card.target == "class" else "diabetes")
    y = y.astype(float) if loss.card.target == "real" else y
    objective = Objective(loss, L2(1e-3))
    problem = Problem(objective, X, y)
    shape = problem.start.shape

    def both(theta: np.ndarray) -> tuple[float, np.ndarray]:
        point = problem.at(theta.reshape(shape))
        return point.value, point.gradient.ravel()

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000, "maxfun": 10_000}
    peer = scipy.optimize.minimize(
        both, problem.start.ravel(), jac=True, method="L-BFGS-B", options=options
    )
    solution = LBFGS().minimise(objective, X, y)
    assert solution.converged, solution.status
    assert solution.value <= peer.fun + 1e-6 * abs(peer.fun)
    assert solution.certificate.value < 1e-6


# --- Precision ---


def test_products_in_single_precision_cost_no_digits() -> None:
    """The gradient stays double, so the same optimum is reached in about as many steps."""
    random = np.random.default_rng(0)
    X = random.normal(size=(3000, 80)) @ (np.eye(80) + 0.5)
    y = np.where(X[:, 0] + random.logistic(size=3000) > 0, 1.0, -1.0)
    objective = Objective(Logistic(), L2(1e-6))
    problem = Problem(objective, X, y)
    assert precision(problem) is np.float32
    assert precision(Problem(objective, X + 1e4, y)) is np.float64
    solution = Newton().minimise(objective, X, y)
    assert solution.converged, solution.status
    assert solution.certificate.value < 1e-9
    assert len(solution.history["value"]) <= 10


def test_nearly_dependent_columns_fall_back_to_double_precision() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(3000, 80))
    X[:, 1] = X[:, 0] + 1e-5 * random.normal(size=3000)
    y = np.where(X[:, 0] + random.logistic(size=3000) > 0, 1.0, -1.0)
    solution = Newton().minimise(Objective(Logistic(), L2(1e-12)), X, y)
    assert solution.converged, solution.status
    gradient = Problem(Objective(Logistic(), L2(1e-12)), X, y)
    layer = solution.params["output"]
    point = gradient.at(gradient.design.point(layer["kernel"], layer["bias"]))
    assert np.max(np.abs(point.gradient)) < 1e-9


@pytest.mark.parametrize("target", [np.array([0, 2, 1, 1]), np.array([0, 2, -100, 1])])
@pytest.mark.parametrize(
    "loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.1), CrossEntropy(class_weight=2.0)]
)
def test_value_and_gradient_together_are_what_they_are_apart(
    loss: CrossEntropy, target: np.ndarray
) -> None:
    score = np.array([[1.0, 2.0, 3.0], [800.0, 0.0, -3.0], [0.0, 0.0, 0.0], [-40.0, 1.0, -50.0]])
    value, gradient = loss.value_and_gradient(score, target)
    np.testing.assert_allclose(value, loss.value(score, target), rtol=1e-14)
    np.testing.assert_allclose(gradient, loss.gradient(score, target), rtol=1e-14)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("spread", [5.0, 20.0, 60.0])
@pytest.mark.parametrize("loss", [Gamma(), Poisson()], ids=str)
def test_offsets_that_lie_far_apart(loss: Loss, spread: float, intercept: bool) -> None:
    """The best constant without them lies at values up to 1e75."""
    for seed in range(6):
        random = np.random.default_rng(seed)
        X, offset = random.normal(size=(80, 5)), spread * random.normal(size=80)
        y = np.round(np.exp(0.5 * X @ random.normal(size=5)) * random.gamma(2, size=80)) + 1
        found = minimise(Objective(loss, intercept=intercept), X, y, offset=offset)
        assert found.converged, found.summary()
        mean = np.exp(found.scores(X, offset))
        rest = 1 - y / mean if isinstance(loss, Gamma) else mean - y
        sums = np.column_stack([X, np.ones(80)]) if intercept else X
        assert np.max(np.abs(sums.T @ rest)) <= 1e-6 * np.max(np.abs(sums).T @ np.abs(rest))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_offset_that_is_not_finite_is_refused_by_row(bad: float) -> None:
    X, y = bundled("diabetes")
    offset = np.where(np.arange(len(y)) == 6, bad, 0.0)
    with pytest.raises(DataError, match=rf"offset must be finite, and holds {bad} in row 7"):
        minimise(Objective(Poisson()), X, y, offset=offset)
