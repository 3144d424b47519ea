"""Losses whose curvature jumps, and Huber's loss with a scale: against peers and by definition."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize, minimize_scalar
from sklearn import datasets, linear_model, svm

from minimand.budget import Budget
from minimand.errors import ArgumentError
from minimand.losses import (
    Expectile,
    Huber,
    HuberWithScale,
    Logistic,
    Loss,
    ModifiedHuber,
    RootMeanSquared,
    SquaredEpsilonInsensitive,
    SquaredHinge,
)
from minimand.penalties import L1, L2
from minimand.solvers import Objective, Shape, Solution
from minimand.solvers.active_rows import ActiveRows

Array = Any
NO_PENALTY = L2(0.0)


@cache
def diabetes() -> tuple[Array, Array]:
    X, y = datasets.load_diabetes(return_X_y=True)
    return X / X.std(axis=0), (y - 150) / 77


@cache
def cancer() -> tuple[Array, Array]:
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), 2.0 * y - 1


@cache
def contaminated(n: int = 300, p: int = 4) -> tuple[Array, Array]:
    """A tenth of the targets far off."""
    random = np.random.default_rng(0)
    X = random.normal(size=(n, p))
    noise = random.normal(size=n) * np.where(random.random(n) < 0.1, 20.0, 1.0)
    return X, X @ np.arange(1.0, p + 1) + 2 + noise


def solved(
    loss: Loss, X: Any, y: Array, penalty: L2 = NO_PENALTY, intercept: bool = True, **options: Any
) -> Solution:
    weight = options.pop("weight", None)
    objective = Objective(loss, penalty, intercept=intercept)
    solution = ActiveRows().minimise(objective, X, y, weight, **options)
    assert solution.converged, solution.summary()
    return solution


def flat(solution: Solution) -> Array:
    layer = solution.params["output"]
    return np.append(layer["kernel"].ravel(), layer["bias"])


def close(solution: Solution, expected: Array, rel: float = 1e-9) -> None:
    found = flat(solution)
    np.testing.assert_allclose(found, expected, rtol=rel, atol=rel * np.abs(expected).max())


def data_of(loss: Loss) -> tuple[Array, Array]:
    return cancer() if loss.card.target == "sign" else diabetes()


JUMPS = [
    Huber(0.5),
    Expectile(0.8),
    SquaredEpsilonInsensitive(0.3),
    SquaredHinge(),
    ModifiedHuber(),
]
each_loss = pytest.mark.parametrize("loss", [*JUMPS, HuberWithScale()], ids=str)


# --- peers ------------------------------------------------------------------------------------


def test_huber_is_least_squares_with_sparse_shifts() -> None:
    """Antoniadis (2007): ½ ‖y - X w - s‖² + δ ‖s‖₁ over w and s; the lasso finds s."""
    X, y = diabetes()
    design = np.column_stack([X, np.ones(len(y))])
    rest = np.eye(len(y)) - design @ np.linalg.pinv(design)
    lasso = linear_model.Lasso(0.5 / len(y), fit_intercept=False, tol=1e-14, max_iter=10**6)
    shift = lasso.fit(rest, rest @ y).coef_
    assert 0 < np.count_nonzero(shift) < len(y)
    close(solved(Huber(0.5), X, y), np.linalg.lstsq(design, y - shift)[0], rel=1e-7)


def test_squared_hinge_is_linear_svc() -> None:
    X, y = cancer()
    peer = svm.LinearSVC(C=0.1, dual=False, fit_intercept=False, tol=1e-12, max_iter=10**5)
    found = solved(SquaredHinge(), X, y, L2(1 / (0.1 * len(y))), intercept=False)
    close(found, np.append(peer.fit(X, y).coef_, 0.0), rel=1e-7)


def test_squared_epsilon_insensitive_is_linear_svr() -> None:
    X, y = diabetes()
    peer = svm.LinearSVR(
        epsilon=0.3,
        loss="squared_epsilon_insensitive",
        dual=False,
        fit_intercept=False,
        tol=1e-12,
        max_iter=10**5,
    )
    loss, penalty = SquaredEpsilonInsensitive(0.3), L2(1 / len(y))
    found = solved(loss, X, y, penalty, intercept=False)
    close(found, np.append(peer.fit(X, y).coef_, 0.0), rel=1e-5)


def test_an_expectile_is_least_squares_weighed_by_side() -> None:
    X, y = diabetes()
    found = solved(Expectile(0.8), X, y)
    weight = np.where(y > found.scores(X), 0.8, 0.2)
    peer = linear_model.LinearRegression().fit(X, y, sample_weight=weight)
    close(found, np.append(peer.coef_, peer.intercept_))


def test_modified_huber_cannot_be_improved_by_scipy() -> None:
    X, y = cancer()
    found = solved(ModifiedHuber(), X, y, L2(0.01))

    def value(theta: Array) -> float:
        margin = y * (X @ theta[:-1] + theta[-1])
        cost = np.where(margin >= -1, np.maximum(0, 1 - margin) ** 2, -4 * margin)
        return float(cost.mean() + 0.005 * theta[:-1] @ theta[:-1])

    assert found.value == pytest.approx(value(flat(found)), rel=1e-12)
    random = np.random.default_rng(0)
    for start in (np.zeros(31), random.normal(size=31), flat(found)):
        other = minimize(value, start, method="L-BFGS-B", options={"maxfun": 10**5}).fun
        assert other >= found.value - 1e-12


@pytest.mark.parametrize(("epsilon", "alpha"), [(1.35, 1e-4), (1.1, 1.0), (3.0, 100.0)])
def test_huber_with_scale_is_scikit_learns(epsilon: float, alpha: float) -> None:
    """Its objective is ours times n, with alpha ‖w‖² for ½ n λ ‖w‖²."""
    X, y = contaminated()
    peer = linear_model.HuberRegressor(epsilon=epsilon, alpha=alpha, tol=1e-6, max_iter=10**5)
    peer.fit(X, y)  # with a smaller tolerance it raises: its line search fails
    found = solved(HuberWithScale(epsilon), X, y, L2(2 * alpha / len(y)))
    close(found, np.append(peer.coef_, peer.intercept_), rel=1e-4)
    assert found.params["scale"] == pytest.approx(peer.scale_, rel=1e-4)


def test_huber_with_scale_solves_hubers_two_equations() -> None:
    """Huber (1981), section 7.7: Σ ψ(r/σ) x = 0 and mean ψ² = 1, with ψ(u) = clip(u, ±ε)."""
    X, y = contaminated()
    found = solved(HuberWithScale(1.5), X, y)
    psi = np.clip((y - found.scores(X)) / found.params["scale"], -1.5, 1.5)
    assert np.mean(psi**2) == pytest.approx(1.0, abs=1e-10)
    assert np.abs(np.column_stack([X, np.ones(len(y))]).T @ psi).max() < 1e-8 * len(y)
    assert 0 < np.mean(np.abs(psi) == 1.5) < 0.3


# --- the loss itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1.01, 1.35, 4.0])
def test_the_scale_is_where_the_loss_is_least(epsilon: float) -> None:
    random = np.random.default_rng(1)
    r, weight = random.standard_t(2, 40), random.integers(0, 3, 40).astype(float)

    def cost(scale: float) -> float:
        u = np.abs(r) / scale
        h = np.where(u <= epsilon, u * u, 2 * epsilon * u - epsilon**2)
        return float(np.average(scale + scale * h, weights=weight))

    best = minimize_scalar(cost, bounds=(1e-6, 20), method="bounded", options={"xatol": 1e-10})
    loss, zero = HuberWithScale(epsilon), np.zeros(40)
    assert loss(r, zero, weight=weight) == pytest.approx(best.fun, rel=1e-12)
    assert loss.scale(r, zero, weight) == pytest.approx(best.x, rel=1e-4)


@pytest.mark.parametrize("epsilon", [1.01, 1.35, 4.0])
@pytest.mark.parametrize("zeros", [0, 3, 30, 40])
def test_the_scale_of_a_solver_solves_its_equation(epsilon: float, zeros: int) -> None:
    random = np.random.default_rng(2)
    r, weight = random.standard_t(1, 40), random.random(40)
    r[:zeros], share = 0.0, weight / weight.sum()
    loss, zero = HuberWithScale(epsilon), np.zeros(40)
    scale = loss.settled(r, zero, share).scale
    assert scale == pytest.approx(float(loss.scale(r, zero, share)), rel=1e-12)
    if share[zeros:].sum() > 1 / epsilon**2:
        assert share @ np.minimum(r**2 / scale**2, epsilon**2) == pytest.approx(1, rel=1e-12)
    else:
        assert scale == 0


def test_without_outliers_it_is_twice_the_root_mean_square() -> None:
    r = np.array([1.0, -2.0, 3.0])
    zero = np.zeros(3)
    assert HuberWithScale(10.0)(r, zero) == pytest.approx(2 * RootMeanSquared()(r, zero))
    slope = HuberWithScale(10.0).gradient(r, zero)
    np.testing.assert_allclose(slope, 2 * RootMeanSquared().gradient(r, zero), rtol=1e-12)


def test_autodiff_agrees_on_slope_and_curvature() -> None:
    import jax

    r, zero, loss = np.array([0.3, -0.5, 1.0, 9.0, -0.1]), np.zeros(5), HuberWithScale(1.5)
    with jax.enable_x64(True):
        slope = jax.grad(lambda z: loss(z, zero))
        ordinary = np.where(np.abs(r) < 5, r, 0)  # larger residuals and a larger σ: no bend
        here, bend = jax.jit(lambda z: jax.jvp(slope, (z,), (ordinary,)))(r)
        flat_out = jax.jit(slope)(zero)
    np.testing.assert_allclose(loss.gradient(r, zero), here, rtol=1e-12)
    np.testing.assert_allclose(bend, 0, atol=1e-12)
    np.testing.assert_array_equal(flat_out, 0)


def test_other_units_change_nothing() -> None:
    X, y = contaminated()
    one, other = (solved(HuberWithScale(), X, y * unit) for unit in (1.0, 1e-20))
    np.testing.assert_allclose(flat(other), 1e-20 * flat(one), rtol=1e-9)
    assert other.params["scale"] == pytest.approx(1e-20 * one.params["scale"], rel=1e-9)


def test_larger_epsilon_counts_more_residuals_as_ordinary() -> None:
    X, y = contaminated()
    scales = [solved(HuberWithScale(e), X, y).params["scale"] for e in (1.1, 1.35, 2.0, 5.0)]
    assert scales == sorted(scales)


@pytest.mark.parametrize("sizes", ["one", "random"])
def test_its_constant_is_the_intercept_alone(sizes: str) -> None:
    _, y = contaminated()
    weight = np.ones(len(y)) if sizes == "one" else np.random.default_rng(0).random(len(y))
    loss = HuberWithScale()
    best = loss.constant(y, weight)
    for shift in (-1e-4, 1e-4):
        near, there = (loss(np.full(len(y), b), y, weight=weight) for b in (best, best + shift))
        assert near < there


# --- a scale of 0, where scikit-learn raises or stops short -----------------------------------


def test_a_perfect_fit_is_found_and_said() -> None:
    X, _ = contaminated()
    w = np.array([1.0, -2.0, 3.0, 0.5])
    found = solved(HuberWithScale(), X, X @ w + 7)
    close(found, np.append(w, 7), rel=1e-8)
    assert "the scale of the residuals is 0" in found.status
    assert found.params["scale"] < 1e-8


def test_rows_fitted_exactly_make_it_least_absolute_deviations() -> None:
    """With σ = 0 the loss is 2 ε mean |r|: statsmodels' median regression minimises the same."""
    from statsmodels.regression.quantile_regression import QuantReg

    X, _ = contaminated()
    random = np.random.default_rng(3)
    y = X @ np.ones(4) + 1 + np.where(random.random(300) < 0.3, random.normal(size=300), 0)
    found = solved(HuberWithScale(), X, y)
    assert "the scale of the residuals is 0" in found.status
    peer = QuantReg(y, np.column_stack([X, np.ones(300)])).fit(0.5, p_tol=1e-12, max_iter=5000)
    close(found, peer.params, rel=1e-5)
    assert found.value == pytest.approx(2 * 1.35 * np.abs(y - found.scores(X)).mean(), rel=1e-7)


def test_targets_that_are_mostly_zero() -> None:
    X, y = contaminated()
    y = np.where(np.random.default_rng(0).random(300) < 0.6, 0.0, y)
    penalty = L2(1e-4)
    found = solved(HuberWithScale(), X, y, penalty)
    peer = linear_model.HuberRegressor(alpha=penalty.strength * 150, tol=1e-10, max_iter=10**5)
    peer.fit(X, y)
    theirs = HuberWithScale()(peer.predict(X), y) + penalty.value(peer.coef_)
    assert found.value <= theirs + 1e-8


@pytest.mark.parametrize("y", [np.zeros(20), np.full(20, 3.0)], ids=["zero", "constant"])
def test_targets_without_spread(y: Array) -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    found = solved(HuberWithScale(), X, y)
    np.testing.assert_allclose(found.scores(X), y, atol=1e-12)


def test_columns_in_any_unit_where_scikit_learn_stops_short() -> None:
    X, y = contaminated()
    units = np.array([1e-8, 1e-3, 1e4, 1e8])
    one, other = solved(HuberWithScale(), X, y), solved(HuberWithScale(), X * units, y)
    np.testing.assert_allclose(other.scores(X * units), one.scores(X), rtol=1e-7)


def test_more_columns_than_rows() -> None:
    X = np.random.default_rng(0).normal(size=(30, 300))
    y = X[:, 0] + np.random.default_rng(1).normal(size=30)
    found = solved(HuberWithScale(), X, y, L2(0.01))
    shortest = np.linalg.pinv(X - X.mean(axis=0)) @ (y - y.mean())  # that fits every row
    np.testing.assert_allclose(flat(found)[:-1], shortest, atol=1e-7)
    free = solved(HuberWithScale(), X, y, L2(50.0))
    assert free.params["scale"] > 0.1
    assert free.certificate.value <= 1e-9 * free.value


# --- every loss: data forms, weights, offsets, starts -------------------------------------------


@each_loss
def test_weights_are_repeated_rows(loss: Loss) -> None:
    X, y = data_of(loss)
    times = np.random.default_rng(0).integers(0, 4, len(y))
    rows = np.repeat(np.arange(len(y)), times)
    one = solved(loss, X, y, L2(0.1), weight=times.astype(float))
    close(one, flat(solved(loss, X[rows], y[rows], L2(0.1))), rel=1e-7)


@each_loss
@pytest.mark.parametrize("form", ["float32", "fortran", "strided", "csr", "csc"])
def test_forms_of_the_data(loss: Loss, form: str) -> None:
    X, y = data_of(loss)
    X = X.astype(np.float32)
    made = {
        "float32": lambda: X,
        "fortran": lambda: np.asfortranarray(X),
        "strided": lambda: np.repeat(X, 2, axis=0)[::2],
        "csr": lambda: scipy.sparse.csr_array(X),
        "csc": lambda: scipy.sparse.csc_array(X),
    }[form]()
    expected = solved(loss, X.astype(np.float64), y, L2(0.1))
    close(solved(loss, made, y, L2(0.1)), flat(expected), rel=1e-6)


@each_loss
def test_an_offset_and_no_intercept(loss: Loss) -> None:
    """A column of ones with its slope fixed as an offset, and the rest penalised as before."""
    X, y = data_of(loss)
    whole = solved(loss, X, y, L2(0.1))
    bias = whole.params["output"]["bias"][0]
    rest = solved(loss, X, y, L2(0.1), intercept=False, offset=np.full(len(y), bias))
    np.testing.assert_allclose(flat(rest)[:-1], flat(whole)[:-1], rtol=1e-6, atol=1e-8)
    assert flat(rest)[-1] == 0


@each_loss
def test_a_start_near_the_end_saves_steps(loss: Loss) -> None:
    X, y = data_of(loss)
    whole = solved(loss, X, y, L2(0.1))
    again = solved(loss, X, y, L2(0.1001), start=whole.params)
    assert len(again.history["value"]) <= len(whole.history["value"])
    assert again.value == pytest.approx(solved(loss, X, y, L2(0.1001)).value, rel=1e-12)


@each_loss
def test_many_rows_begin_with_a_sample(loss: Loss) -> None:
    X, y = contaminated(25_000, 3)
    y = np.sign(y) if loss.card.target == "sign" else y
    found = solved(loss, X, y, L2(0.1))
    assert found.history["passes"][-1] < 20
    assert found.certificate.value <= 1e-9 * found.value


@each_loss
def test_the_budget_is_kept(loss: Loss) -> None:
    X, y = data_of(loss)
    spent = Budget(seconds=1e-9)
    found = ActiveRows().minimise(Objective(loss, L2(0.1)), X, y, budget=spent)
    assert not found.converged
    assert np.isfinite(found.value)


def test_a_tiny_delta_still_ends_exactly() -> None:
    """Newton's method with halved steps needs hundreds of them here."""
    X, y = contaminated()
    found = solved(Huber(1e-6), X, y)
    assert len(found.history["value"]) < 60
    assert found.certificate.value < 1e-6


def test_the_last_step_is_exact() -> None:
    X, y = diabetes()
    found = solved(Huber(0.5), X, y, L2(0.01))
    assert found.certificate.kind == "duality gap"
    assert found.certificate.value < 1e-20


def test_what_it_does_not_suit() -> None:
    shape = Shape(100, 5)
    for objective in (Objective(Logistic()), Objective(Huber(), L1(0.1))):
        assert ActiveRows().suits(objective, shape) == ""
    assert ActiveRows().suits(Objective(Huber()), shape)
    with pytest.raises(ArgumentError, match="let select"):
        ActiveRows().minimise(Objective(Huber(), L1(0.1)), *diabetes())
