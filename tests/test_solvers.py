"""Solver x problem: a small certificate, and the same parameters as a peer's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from sklearn import datasets, linear_model

from minimand.budget import Budget
from minimand.errors import ArgumentError, DataError, ShapeError, TargetError
from minimand.losses import (
    Absolute,
    CrossEntropy,
    Exponential,
    Hinge,
    Huber,
    Logistic,
    Loss,
    Perceptron,
    Poisson,
    Quantile,
    Squared,
    SquaredHinge,
    ZeroOne,
)
from minimand.penalties import L1, L2, ElasticNet, Penalty
from minimand.solvers import (
    LBFGS,
    ActiveRows,
    Barrier,
    GradientDescent,
    InteriorPoint,
    Newton,
    NormalEquations,
    Objective,
    ProximalGradient,
    ProximalNewton,
    RowSpace,
    Shape,
    Solution,
    Solver,
    select,
)

NO_PENALTY = L2(0.0)


@cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Standardised columns; classes of two as -1 and +1; diabetes in units of its spread."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        X, y = X[:300], y[:300]
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    if name == "breast_cancer":
        y = 2 * y - 1
    return X, (y - 150) / 77 if name == "diabetes" else y


def count_data() -> tuple[np.ndarray, np.ndarray]:
    X, y = load("diabetes")
    return X, np.round(3 * (y - y.min()))


def solved(
    loss: Loss,
    penalty: Penalty,
    X: np.ndarray,
    y: np.ndarray,
    solver: Solver | None = None,
    weight: np.ndarray | None = None,
) -> Solution:
    outputs = int(y.max()) + 1 if loss.score_axes else 1
    solver = solver or select(Objective(loss, penalty), Shape(*np.shape(X), outputs))[0]
    return solver.minimise(Objective(loss, penalty), X, y, weight)


def flat(solution: Solution) -> np.ndarray:
    layer = solution.params["output"]
    return np.concatenate([layer["kernel"].ravel(), layer["bias"]])


def peer_flat(peer: Any) -> np.ndarray:
    return np.append(np.ravel(peer.coef_), peer.intercept_)


# --- Peers: each gives [coefficients, intercept] or an optimal value from another program ---


def least_squares(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return peer_flat(linear_model.LinearRegression().fit(X, y))


def ridge(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """scikit-learn minimises Σ r² + α ‖w‖², we Σ r² / n + ½ λ ‖w‖²: α = n λ / 2."""
    alpha = 0.3 * len(X) / 2
    return peer_flat(linear_model.Ridge(alpha, solver="svd").fit(X, y))


def lasso(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """scikit-learn minimises half of Σ r² / n: α = λ / 2."""
    peer = linear_model.Lasso(0.15, tol=1e-14, max_iter=100_000).fit(X, y)
    assert np.any(peer.coef_ == 0)
    return peer_flat(peer)


def elastic_net(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    peer = linear_model.ElasticNet(0.15, l1_ratio=0.7, tol=1e-14, max_iter=100_000)
    return peer_flat(peer.fit(X, y))


def logistic(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """scikit-learn minimises C Σ ℓ + ½ ‖w‖²: C = 1 / (n λ)."""
    peer = linear_model.LogisticRegression(
        C=1 / (0.01 * len(X)), tol=1e-12, solver="newton-cholesky"
    )
    return peer_flat(peer.fit(X, y))


def softmax(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    peer = linear_model.LogisticRegression(C=1 / (0.01 * len(X)), tol=1e-12, max_iter=10_000)
    peer.set_params(solver="newton-cg").fit(X, y)
    return np.concatenate([peer.coef_.T.ravel(), peer.intercept_])


def poisson(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    peer = linear_model.PoissonRegressor(alpha=0.01, tol=1e-12, solver="newton-cholesky")
    return peer_flat(peer.fit(X, y))


def quasi_newton(value: Callable[[np.ndarray], float], size: int) -> np.ndarray:
    options = {"gtol": 1e-12, "ftol": 1e-16, "maxiter": 10_000, "maxfun": 10**6}
    rough = minimize(value, np.zeros(size), method="L-BFGS-B", options=options)
    return np.asarray(rough.x)


def huber(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Huber (1973): the same minimum as least squares with an L1-penalised shift of every row."""
    Z = np.column_stack([X, np.ones(len(X))])
    shift = np.zeros(len(X))
    for _ in range(2000):
        theta = np.linalg.lstsq(Z, y - shift)[0]
        r = y - Z @ theta
        shift = np.sign(r) * np.maximum(np.abs(r) - 0.5, 0)
    return theta


@dataclass(frozen=True)
class Case:
    """One problem: a loss and a penalty on data, the solvers for it, and a peer's parameters."""

    name: str
    loss: Loss
    penalty: Penalty
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    peer: Callable[[np.ndarray, np.ndarray], np.ndarray]
    solvers: tuple[Solver, ...]


def named(name: str) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    return lambda: load(name)


CASES = [
    Case("least squares", Squared(), NO_PENALTY, named("diabetes"), least_squares,
         (NormalEquations(), Newton(), GradientDescent(max_iterations=20_000))),
    Case("ridge", Squared(), L2(0.3), named("diabetes"), ridge,
         (NormalEquations(), Newton(), GradientDescent(), ProximalGradient())),
    Case("lasso", Squared(), L1(0.3), named("diabetes"), lasso,
         (ProximalGradient(), Barrier())),
    Case("elastic net", Squared(), ElasticNet(0.3, 0.7), named("diabetes"), elastic_net,
         (ProximalGradient(), Barrier())),
    Case("huber", Huber(0.5), NO_PENALTY, named("diabetes"), huber,
         (Newton(), GradientDescent(tolerance=1e-9, max_iterations=20_000))),
    Case("logistic", Logistic(), L2(0.01), named("breast_cancer"), logistic,
         (Newton(), GradientDescent(), ProximalGradient())),
    Case("softmax of iris", CrossEntropy(), L2(0.01), named("iris"), softmax,
         (Newton(), GradientDescent())),
    Case("softmax of wine", CrossEntropy(), L2(0.01), named("wine"), softmax, (Newton(),)),
    Case("poisson", Poisson(), L2(0.01), count_data, poisson, (Newton(), GradientDescent())),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "solver"),
    [
        pytest.param(case, solver, id=f"{case.name}, {type(solver).__name__}")
        for case in CASES
        for solver in case.solvers
    ],
)
def test_parameters_agree_with_a_peer(case: Case, solver: Solver) -> None:
    X, y = case.data()
    solution = solved(case.loss, case.penalty, X, y, solver)
    expected = case.peer(X, y)
    found = flat(solution)
    if case.loss.score_axes:  # a shift of all the intercepts changes nothing: compare centred ones
        k = solution.params["output"]["bias"].size
        found[-k:] -= found[-k:].mean()
        expected[-k:] -= expected[-k:].mean()
    assert solution.converged, solution.status
    assert solution.certificate.value < 1e-7
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_softmax_of_digits_reaches_the_peers_objective() -> None:
    X, y = load("digits")
    solution = solved(CrossEntropy(), L2(0.01), X, y)
    peer = linear_model.LogisticRegression(C=1 / (0.01 * len(X)), tol=1e-10, max_iter=10_000)
    peer.fit(X, y)
    log_p = peer.predict_log_proba(X)[np.arange(len(y)), y]
    assert solution.converged, solution.status
    assert solution.value == pytest.approx(-log_p.mean() + 0.005 * np.sum(peer.coef_**2), abs=1e-9)


@pytest.mark.parametrize("loss", [SquaredHinge(), Exponential()])
def test_smooth_margin_losses_against_a_quasi_newton_peer(loss: Loss) -> None:
    X, y = load("breast_cancer")
    X = X[:, :8]
    phi = {
        "SquaredHinge": lambda m: np.maximum(0, 1 - m) ** 2,
        "Exponential": lambda m: np.exp(-m),
    }[type(loss).__name__]

    def objective(theta: np.ndarray) -> float:
        return (
            float(np.mean(phi(y * (X @ theta[:-1] + theta[-1])))) + 0.05 * theta[:-1] @ theta[:-1]
        )

    peer = quasi_newton(objective, 9)
    solution = solved(loss, L2(0.1), X, y)
    assert solution.converged, solution.status
    assert solution.value <= objective(peer) + 1e-12
    np.testing.assert_allclose(flat(solution), peer, atol=1e-4)


# --- Losses made of two lines: linear programs ---


def linear_program(
    X: np.ndarray, y: np.ndarray, below: float, above: float
) -> tuple[float, np.ndarray]:
    """min mean(below u + above v) with u, v ≥ 0 and X w + b + u - v = y."""
    n, p = X.shape
    Z = np.column_stack([X, np.ones(n)])
    cost = np.concatenate([np.zeros(p + 1), np.full(n, below / n), np.full(n, above / n)])
    equal = np.hstack([Z, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * (p + 1) + [(0, None)] * (2 * n)
    found = linprog(cost, A_eq=equal, b_eq=y, bounds=bounds, method="highs")
    return float(found.fun), found.x[: p + 1]


def hinge_program(X: np.ndarray, y: np.ndarray) -> float:
    """min mean(u) with u ≥ 0 and u ≥ 1 - y (X w + b)."""
    n, p = X.shape
    Z = np.column_stack([X, np.ones(n)])
    cost = np.concatenate([np.zeros(p + 1), np.full(n, 1 / n)])
    bounds = [(None, None)] * (p + 1) + [(0, None)] * n
    A = np.hstack([-y[:, None] * Z, -np.eye(n)])
    return float(linprog(cost, A_ub=A, b_ub=-np.ones(n), bounds=bounds, method="highs").fun)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_quantile_regression_solves_the_linear_program(level: float) -> None:
    X, y = load("diabetes")
    solution = solved(Quantile(level), NO_PENALTY, X, y)
    optimum, theta = linear_program(X, y, level, 1 - level)
    assert solution.converged, solution.status
    assert solution.certificate.kind == "duality gap"
    assert -1e-12 <= solution.value - optimum <= solution.certificate.value
    assert solution.certificate.value <= 2e-9
    np.testing.assert_allclose(flat(solution), theta, rtol=1e-6, atol=1e-6)
    peer = linear_model.QuantileRegressor(quantile=level, alpha=0.0).fit(X, y)
    np.testing.assert_allclose(flat(solution), peer_flat(peer), rtol=1e-6, atol=1e-6)


def test_least_absolute_deviations_solve_the_linear_program() -> None:
    X, y = load("diabetes")
    solution = solved(Absolute(), NO_PENALTY, X, y)
    optimum, theta = linear_program(X, y, 1.0, 1.0)
    assert -1e-12 <= solution.value - optimum <= solution.certificate.value <= 2e-9
    np.testing.assert_allclose(flat(solution), theta, rtol=1e-6, atol=1e-6)


def test_the_hinge_solves_the_linear_program() -> None:
    X, y = load("breast_cancer")
    X = X[:, :5]  # not separable by five columns
    solution = solved(Hinge(), NO_PENALTY, X, y)
    assert solution.converged, solution.status
    assert -1e-12 <= solution.value - hinge_program(X, y) <= solution.certificate.value <= 1e-8


def test_the_support_vector_machine_agrees_with_libsvm() -> None:
    """scikit-learn minimises ½ ‖w‖² + C Σ ℓ: C = 1 / (n λ)."""
    from sklearn.svm import SVC

    X, y = load("breast_cancer")
    solution = solved(Hinge(), L2(0.01), X, y)
    peer = SVC(kernel="linear", C=1 / (0.01 * len(X)), tol=1e-9).fit(X, y)
    np.testing.assert_allclose(flat(solution)[:-1], peer.coef_.ravel(), rtol=1e-5, atol=1e-6)
    assert solution.converged, solution.status


@pytest.mark.parametrize("strength", [0.0, 0.1])
@pytest.mark.parametrize("loss", [Absolute(), Quantile(0.1), Hinge()], ids=str)
def test_the_duality_gap_bounds_the_distance_to_the_optimum_at_every_step(
    loss: Loss, strength: float
) -> None:
    X, y = load("breast_cancer" if isinstance(loss, Hinge) else "diabetes")
    X = X[:, :5]
    best = solved(loss, L2(strength), X, y).value
    for steps in range(1, 16):
        early = solved(loss, L2(strength), X, y, InteriorPoint(max_iterations=steps))
        assert early.value - best <= early.certificate.value + 1e-12
        assert early.converged or f"limit of {steps} steps" in early.status


def test_engel_food_expenditure(shared_data: Callable[[str], Path]) -> None:
    """Koenker's quantreg: rq(foodexp ~ income) gives (81.482, 0.560) and (62.397, 0.644).

    Printed to three digits for τ = 0.5 and 0.75 in M. Clark, Model Estimation by Example,
    "Quantile regression" (m-clark.github.io/models-by-example).
    """
    data = np.loadtxt(shared_data("quantile/engel.csv"), delimiter=",", skiprows=1)
    for level, (intercept, slope) in {0.5: (81.482, 0.560), 0.75: (62.397, 0.644)}.items():
        found = flat(solved(Quantile(level), NO_PENALTY, data[:, :1], data[:, 1]))
        np.testing.assert_allclose(found, [slope, intercept], atol=5.1e-4)


def test_belgian_phone_calls(shared_data: Callable[[str], Path]) -> None:
    """Venables and Ripley, Modern Applied Statistics with S, section 6.5: lm gives 5.04.

    The least absolute deviations (published slope: 1.56) are those of a line through two points;
    all the lines with slopes from 1.157 to 1.622 between such lines are equally good.
    """
    data = np.loadtxt(shared_data("robust/phones.csv"), delimiter=",", skiprows=1)
    X, y = data[:, 1:2], data[:, 2]
    intercept, slope = flat(solved(Squared(), NO_PENALTY, X, y))[::-1]
    assert (round(intercept, 2), round(slope, 2)) == (-260.06, 5.04)
    i, j = np.triu_indices(len(y), 1)
    slopes = (y[j] - y[i]) / (X[j, 0] - X[i, 0])
    residuals = y - y[i, None] - slopes[:, None] * (X[:, 0] - X[i])
    deviations = np.abs(residuals).mean(axis=1)
    best = slopes[deviations < deviations.min() + 1e-9]
    robust = solved(Absolute(), NO_PENALTY, X, y)
    assert robust.value == pytest.approx(deviations.min(), rel=1e-9)
    assert best.min() < 1.56 < best.max()
    assert best.min() <= flat(robust)[0] <= best.max()


# --- Weights ---

EVERY = [
    (Squared(), NO_PENALTY),
    (Squared(), L1(0.1)),
    (Absolute(), L2(0.01)),
    (Huber(0.7), NO_PENALTY),
    (Quantile(0.3), L2(0.01)),
    (Logistic(), L2(0.01)),
    (Hinge(), L2(0.01)),
    (SquaredHinge(), L2(0.01)),
    (Exponential(), L2(0.01)),
    (Poisson(), L2(0.01)),
    (CrossEntropy(), L2(0.01)),
]


def small(loss: Loss) -> tuple[np.ndarray, np.ndarray]:
    """Sixty noisy rows whose target suits the loss."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    z = X @ [1.0, 2.0, 0.5] + rng.standard_t(3, size=60)
    y = {"count": np.floor(np.exp(z / 3)), "sign": np.where(z > 0, 1.0, -1.0)}
    y |= {"real": z, "class": np.digitize(z, [-1.0, 1.0])}
    return X, y[loss.card.target]


def every(test: Any) -> Any:
    names = [f"{loss}, {penalty}" for loss, penalty in EVERY]
    return pytest.mark.parametrize(("loss", "penalty"), EVERY, ids=names)(test)


@every
def test_integer_weights_equal_repeated_rows(loss: Loss, penalty: Penalty) -> None:
    X, y = small(loss)
    times = np.arange(len(y)) % 4
    weighted = solved(loss, penalty, X, y, weight=times)
    repeated = solved(loss, penalty, np.repeat(X, times, axis=0), np.repeat(y, times))
    assert weighted.value == pytest.approx(repeated.value, rel=1e-8)
    np.testing.assert_allclose(flat(weighted), flat(repeated), atol=1e-5)


@every
def test_rows_of_weight_zero_never_touch_the_result(loss: Loss, penalty: Penalty) -> None:
    X, y = small(loss)
    weight = np.ones(len(y) + 1)
    weight[-1] = 0
    solver, _ = select(Objective(loss, penalty), Shape(100, 3, 3))
    bad_X, bad_y = np.vstack([X, np.full(3, np.nan)]), np.append(y.astype(float), np.nan)
    found = solver.minimise(Objective(loss, penalty), bad_X, bad_y, weight)
    assert np.array_equal(flat(found), flat(solver.minimise(Objective(loss, penalty), X, y)))


@every
def test_a_common_factor_of_the_weights_changes_nothing(loss: Loss, penalty: Penalty) -> None:
    X, y = small(loss)
    found = flat(solved(loss, penalty, X, y, weight=np.full(len(y), 7.0)))
    np.testing.assert_allclose(found, flat(solved(loss, penalty, X, y)), atol=1e-6)


# --- Degenerate data ---


@every
def test_degenerate_columns_do_not_change_the_optimum(loss: Loss, penalty: Penalty) -> None:
    """A constant column is worth nothing; without a penalty neither is a copy of a column."""
    X, y = small(loss)
    plain = solved(loss, penalty, X, y)
    constant = solved(loss, penalty, np.column_stack([X, np.full(60, 3.3)]), y)
    assert plain.converged and constant.converged, (plain.status, constant.status)
    assert constant.value == pytest.approx(plain.value, rel=1e-7)
    np.testing.assert_allclose(constant.scores(np.column_stack([X, np.full(60, 3.3)])),
                               plain.scores(X), atol=1e-4)  # fmt: skip


@pytest.mark.parametrize(
    "loss", [Squared(), Absolute(), Huber(), Hinge(), SquaredHinge(), Logistic()]
)
def test_a_duplicated_column_does_not_change_the_scores(loss: Loss) -> None:
    X, y = small(loss)
    plain = solved(loss, NO_PENALTY, X, y)
    double = solved(loss, NO_PENALTY, X[:, [0, 1, 2, 0]], y)
    assert double.converged, double.status
    assert double.value == pytest.approx(plain.value, rel=1e-7)


def test_duplicated_columns_share_the_least_squares_coefficient() -> None:
    """The solution of least norm splits a coefficient evenly, as the pseudo-inverse does."""
    X, y = small(Squared())
    found = flat(solved(Squared(), NO_PENALTY, X[:, [0, 0]], y))
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("loss", [Squared(), Absolute(), Huber()])
def test_more_columns_than_rows_are_interpolated(loss: Loss) -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(20, 50)), rng.normal(size=20)
    solution = solved(loss, NO_PENALTY, X, y)
    assert solution.converged, solution.status
    np.testing.assert_allclose(solution.scores(X), y, atol=1e-6)


@every
def test_shifted_columns_change_the_intercept_alone(loss: Loss, penalty: Penalty) -> None:
    X, y = small(loss)
    plain, shifted = solved(loss, penalty, X, y), solved(loss, penalty, X + 1e6, y)
    kernels = [s.params["output"]["kernel"] for s in (plain, shifted)]
    np.testing.assert_allclose(kernels[1], kernels[0], atol=1e-5)


@pytest.mark.parametrize(
    "loss", [Squared(), Absolute(), Huber(0.7), Logistic(), Hinge(), Exponential(), Poisson()]
)
def test_the_scale_of_the_columns_does_not_matter_without_penalty(loss: Loss) -> None:
    X, y = small(loss)
    scales = np.array([1e6, 1.0, 1e-6])
    plain, scaled = solved(loss, NO_PENALTY, X, y), solved(loss, NO_PENALTY, X * scales, y)
    assert scaled.converged, scaled.status
    kernels = [s.params["output"]["kernel"][:, 0] for s in (plain, scaled)]
    np.testing.assert_allclose(kernels[1] * scales, kernels[0], rtol=1e-4)


@pytest.mark.parametrize("loss", [Logistic(), Exponential(), CrossEntropy()])
def test_separable_classes_without_penalty_have_no_optimum(loss: Loss) -> None:
    X = np.arange(8.0)[:, None]
    y = np.repeat([0, 1], 4)
    solution = solved(loss, NO_PENALTY, X, loss.from_classes(y))
    assert not solution.converged
    assert "no minimum" in solution.status and "L2" in solution.status
    assert solved(loss, L2(1e-3), X, loss.from_classes(y)).converged


def test_partly_separable_classes_have_no_optimum_either() -> None:
    """Albert and Anderson (1984): an indicator column whose rows are of one class is enough."""
    X, y = small(Logistic())
    X = np.column_stack([X, y > 0])
    X[:10, 3] = 0
    assert np.any(y[X[:, 3] == 0] > 0)
    assert "no minimum" in solved(Logistic(), NO_PENALTY, X, y).status
    counts = np.where(X[:, 3] > 0, 0, np.arange(60) % 4)
    assert "no minimum" in solved(Poisson(), NO_PENALTY, X, counts).status


@pytest.mark.parametrize("loss", [Hinge(), SquaredHinge()])
def test_separable_classes_cost_a_hinge_nothing(loss: Loss) -> None:
    X, y = np.arange(8.0)[:, None], np.repeat([-1.0, 1.0], 4)
    solution = solved(loss, NO_PENALTY, X, y)
    assert solution.converged
    assert solution.value == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("loss", [Squared(), Absolute(), Huber(), Quantile(0.2), Poisson()])
@pytest.mark.parametrize("penalty", [NO_PENALTY, L2(0.1)])
def test_one_row_is_met_exactly(loss: Loss, penalty: Penalty) -> None:
    solution = solved(loss, penalty, np.array([[1.0, -2.0]]), np.array([3.0]))
    assert solution.converged, solution.status
    assert loss.response(solution.scores(np.array([[1.0, -2.0]]))) == pytest.approx(3.0)


@pytest.mark.parametrize("loss", [Squared(), Absolute(), Huber(), Quantile(0.2)])
def test_a_constant_target_is_met_without_slopes(loss: Loss) -> None:
    solution = solved(loss, NO_PENALTY, load("wine")[0], np.full(178, 7.0))
    assert solution.converged, solution.status
    np.testing.assert_allclose(flat(solution), [0.0] * 13 + [7.0], atol=1e-7)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize(
    "solver", [NormalEquations(), Newton(), GradientDescent(), InteriorPoint()], ids=str
)
def test_the_unit_of_the_target_does_not_matter(solver: Solver, factor: float) -> None:
    loss = Quantile(0.2) if isinstance(solver, InteriorPoint) else Squared()
    X, y = small(loss)
    solution = solved(loss, NO_PENALTY, X, y * factor, solver)
    assert solution.converged, solution.status
    expected = flat(solved(loss, NO_PENALTY, X, y, solver))
    np.testing.assert_allclose(flat(solution) / factor, expected, rtol=1e-6)


# --- Behaviour ---


def test_methods_agree_on_least_squares() -> None:
    rng = np.random.default_rng(0)
    X = 2 * rng.random((100, 1))
    y = 4 + 3 * X[:, 0] + rng.normal(size=100)
    exact = flat(solved(Squared(), NO_PENALTY, X, y, NormalEquations()))
    for solver in (Newton(), GradientDescent()):
        solution = solved(Squared(), NO_PENALTY, X, y, solver)
        assert solution.converged, solution.status
        np.testing.assert_allclose(flat(solution), exact, rtol=1e-6)


SMOOTH = [o for o in (Objective(*pair) for pair in EVERY) if Newton().suits(o, Shape(100, 3, 3))]


@pytest.mark.parametrize("solver", [Newton(), GradientDescent(max_iterations=300)], ids=str)
@pytest.mark.parametrize("objective", SMOOTH, ids=str)
def test_armijo_steps_never_raise_the_objective(objective: Objective, solver: Solver) -> None:
    X, y = small(objective.loss)
    values = np.array(solver.minimise(objective, X, y).history["value"])
    assert len(values) > 1
    assert np.all(np.diff(values) <= 4 * np.finfo(float).eps * np.abs(values[:-1]))
    assert values[-1] < values[0]


def test_proximal_gradient_without_penalty_is_still_right() -> None:
    X, y = small(Squared())
    found = solved(Squared(), NO_PENALTY, X, y, ProximalGradient())
    np.testing.assert_allclose(flat(found), flat(solved(Squared(), NO_PENALTY, X, y)), atol=1e-6)


def test_a_strong_lasso_leaves_only_the_mean() -> None:
    """No slope survives once λ reaches the largest |2 xᵀ(y - ȳ)| / n."""
    X, y = load("diabetes")
    least = np.max(np.abs(2 * X.T @ (y - y.mean()) / len(y)))
    assert np.all(flat(solved(Squared(), L1(1.001 * least), X, y))[:-1] == 0)
    assert np.any(flat(solved(Squared(), L1(0.999 * least), X, y))[:-1] != 0)


@pytest.mark.parametrize(
    ("loss", "penalty", "solver"),
    [
        (Squared(), NO_PENALTY, GradientDescent()),
        (Logistic(), NO_PENALTY, Newton()),
        (Squared(), L1(0.01), ProximalGradient()),
        (Squared(), L1(0.01), Barrier()),
        (Absolute(), NO_PENALTY, InteriorPoint()),
    ],
)
def test_a_spent_budget_ends_a_solver_with_what_there_is(
    loss: Loss, penalty: Penalty, solver: Solver
) -> None:
    X, y = small(loss)
    budget = Budget()
    budget.interrupted = True
    solution = solver.minimise(Objective(loss, penalty), X, y, budget=budget)
    assert not solution.converged
    assert "Ctrl-C" in solution.status
    assert np.all(np.isfinite(flat(solution)))


@pytest.mark.parametrize(
    ("loss", "penalty", "columns", "outputs", "expected"),
    [
        (Squared(), NO_PENALTY, 10, 1, NormalEquations),
        (Squared(), L2(1.0), 10, 1, NormalEquations),
        (Squared(), L1(1.0), 10, 1, ProximalNewton),
        (Squared(), ElasticNet(1.0, 0.5), 10, 1, ProximalNewton),
        (Squared(), ElasticNet(1.0, 0.0), 10, 1, NormalEquations),
        (Absolute(), L2(1.0), 10, 1, InteriorPoint),
        (Quantile(0.9), NO_PENALTY, 10, 1, InteriorPoint),
        (Hinge(), NO_PENALTY, 10, 1, InteriorPoint),
        (Logistic(), L2(1.0), 10, 1, Newton),
        (CrossEntropy(), L2(1.0), 4, 3, Newton),
        (CrossEntropy(), L2(1.0), 64, 10, LBFGS),
        (CrossEntropy(), L2(1.0), 784, 10, LBFGS),
        (Logistic(), L1(1.0), 10, 1, ProximalNewton),
        (Huber(), NO_PENALTY, 10, 1, ActiveRows),
        (Logistic(), L2(1.0), 2000, 1, RowSpace),
    ],
)
def test_selection_gives_a_solver_and_its_reason(
    loss: Loss, penalty: Penalty, columns: int, outputs: int, expected: type[Solver]
) -> None:
    solver, reason = select(Objective(loss, penalty), Shape(1000, columns, outputs))
    assert type(solver) is expected
    assert len(reason.split()) >= 4


def test_the_perceptron_is_not_solved_exactly() -> None:
    with pytest.raises(ArgumentError, match="score 0 everywhere"):
        select(Objective(Perceptron()), Shape(100, 3))
    with pytest.raises(ArgumentError, match="InteriorPoint cannot minimise Perceptron"):
        InteriorPoint().minimise(Objective(Perceptron()), *small(Hinge()))


def test_the_zero_one_error_is_refused_with_its_surrogates() -> None:
    with pytest.raises(ArgumentError, match="Logistic"):
        select(Objective(ZeroOne()), Shape(100, 3))
    with pytest.raises(ArgumentError, match="Hinge"):
        Newton().minimise(Objective(ZeroOne()), *small(Hinge()))


@pytest.mark.parametrize(
    ("solver", "loss", "penalty"),
    [
        (NormalEquations(), Huber(), NO_PENALTY),
        (NormalEquations(), Squared(), L1(0.1)),
        (InteriorPoint(), Squared(), NO_PENALTY),
        (Newton(), Absolute(), NO_PENALTY),
        (Newton(), Squared(), L1(0.1)),
        (GradientDescent(), Absolute(), NO_PENALTY),
        (ProximalGradient(), Absolute(), L1(0.1)),
    ],
)
def test_a_solver_refuses_what_it_cannot_solve(
    solver: Solver, loss: Loss, penalty: Penalty
) -> None:
    with pytest.raises(ArgumentError, match=f"{type(solver).__name__} cannot minimise"):
        solver.minimise(Objective(loss, penalty), *small(loss))


X3, y3 = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("loss", "X", "y", "weight", "error", "text"),
    [
        (Squared(), X3[:, 0], y3, None, ShapeError, r"X has shape \(3,\)"),
        (Squared(), X3, y3[:2], None, ShapeError, r"y \(2,\)"),
        (Squared(), X3[:0], y3[:0], None, ShapeError, r"\(0, 1\)"),
        (Squared(), X3 * [[1], [np.nan], [1]], y3, None, DataError, "nan in row 2, column 1"),
        (Squared(), X3, y3 * [1, 1, np.inf], None, TargetError, "row 3"),
        (Poisson(), X3, y3 - 2, None, TargetError, "row 1 is -1.0"),
        (Logistic(), X3, y3 > 1, None, TargetError, "neither -1 nor"),
        (Squared(), X3, y3, np.zeros(3), DataError, "not all zero"),
        (Squared(), X3, y3, np.array([1.0, -1.0, 1.0]), DataError, "minimum -1.0"),
        (Squared(), X3, y3, np.array([1.0, np.nan, 1.0]), DataError, "weight must be"),
        (Squared(), X3, y3, np.array([1.0, np.inf, 1.0]), DataError, "finite"),
        (Squared(), X3, y3, np.ones(2), ShapeError, r"shape \(2,\)"),
        (CrossEntropy(), X3, np.zeros(3, dtype=int), None, DataError, "none but class 0"),
    ],
)
def test_bad_input_is_one_sentence(
    loss: Loss, X: Any, y: Any, weight: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        solved(loss, NO_PENALTY, X, np.asarray(y), weight=weight)


def test_class_indices_may_be_floats() -> None:
    X, y = load("iris")
    as_floats = solved(CrossEntropy(), L2(0.1), X, y.astype(float), Newton())
    assert np.array_equal(flat(as_floats), flat(solved(CrossEntropy(), L2(0.1), X, y)))


def test_scores_are_the_affine_map_that_was_fitted() -> None:
    X, y = load("iris")
    solution = solved(CrossEntropy(), L2(0.1), X, y)
    layer = solution.params["output"]
    assert layer["kernel"].shape == (4, 3) and layer["bias"].shape == (3,)
    np.testing.assert_allclose(solution.scores(X), X @ layer["kernel"] + layer["bias"])
    assert np.mean(solution.scores(X).argmax(axis=1) == y) > 0.9
