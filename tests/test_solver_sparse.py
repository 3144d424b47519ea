"""Sparse penalties with any smooth convex loss: peers' parameters, forms of data, hard data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import statsmodels.api as sm
from scipy.optimize import linprog, minimize
from sklearn import datasets, linear_model

from minimand.budget import Budget
from minimand.errors import ArgumentError, DataError
from minimand.losses import (
    Absolute,
    CrossEntropy,
    HalfSquared,
    Huber,
    HuberWithScale,
    LogCosh,
    Logistic,
    Loss,
    Poisson,
    Squared,
    SquaredHinge,
    Welsch,
)
from minimand.penalties import L1, L2, ElasticNet, Group, Penalty
from minimand.solvers import Objective, ProximalGradient, Shape, Solution, minimise
from minimand.solvers.frank_wolfe import FrankWolfe
from minimand.solvers.proximal_newton import ProximalNewton

NEWTON = ProximalNewton()


@cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Standardised columns; two classes as -1 and +1; diabetes also as counts of 25 units."""
    X, y = getattr(datasets, f"load_{name.partition(' ')[0]}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    if name == "breast_cancer":
        y = 2.0 * y - 1
    return X, np.round(y / 25) if name.endswith("counts") else y


def weights(n: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 3.0, n)


def flat(solution: Solution) -> np.ndarray:
    layer = solution.params["output"]
    return np.concatenate([layer["kernel"].ravel(), layer["bias"]])


def solved(loss: Loss, penalty: Penalty, X: Any, y: Any, weight: Any = None, **more: Any) -> Any:
    solution = NEWTON.minimise(Objective(loss, penalty), X, y, weight, **more)
    assert solution.converged, solution.status
    return solution


def agree(found: np.ndarray, expected: np.ndarray, rtol: float = 1e-6) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * np.max(np.abs(expected)))


# --- Peers ---


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [30.0, 3.0, 0.1])
def test_lasso_of_scikit_learn(alpha: float, weighted: bool) -> None:
    X, y = load("diabetes")
    weight = weights(len(y)) if weighted else None
    peer = linear_model.Lasso(alpha, tol=1e-14, max_iter=10**6).fit(X, y, sample_weight=weight)
    expected = np.append(peer.coef_, peer.intercept_)
    agree(flat(solved(HalfSquared(), L1(alpha), X, y, weight)), expected)
    agree(flat(solved(Squared(), L1(2 * alpha), X, y, weight)), expected)


def test_elastic_net_of_scikit_learn() -> None:
    X, y = load("diabetes")
    weight = weights(len(y))
    peer = linear_model.ElasticNet(2.0, l1_ratio=0.3, tol=1e-14, max_iter=10**6)
    peer.fit(X, y, sample_weight=weight)
    found = solved(HalfSquared(), ElasticNet(2.0, 0.3), X, y, weight)
    agree(flat(found), np.append(peer.coef_, peer.intercept_))


def test_logistic_elastic_net_of_scikit_learn() -> None:
    """C = 1 / (n λ)."""
    X, y = load("breast_cancer")
    X, weight = X[:, ::4], weights(len(y))
    peer = linear_model.LogisticRegression(
        C=1 / (0.02 * weight.sum()), l1_ratio=0.6, solver="saga", tol=1e-10, max_iter=10**5
    ).fit(X, y, sample_weight=weight)
    found = solved(Logistic(), ElasticNet(0.02, 0.6), X, y, weight)
    agree(flat(found), np.append(peer.coef_, peer.intercept_))


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_multinomial_lasso_of_scikit_learn(name: str) -> None:
    X, y = load(name)
    peer = linear_model.LogisticRegression(
        C=1 / (0.02 * len(y)), l1_ratio=1.0, solver="saga", tol=1e-10, max_iter=10**5
    ).fit(X, y)
    found = solved(CrossEntropy(), L1(0.02), X, y)
    expected = np.concatenate([peer.coef_.T.ravel(), peer.intercept_ - peer.intercept_.mean()])
    agree(flat(found), expected)


def test_poisson_lasso_of_statsmodels() -> None:
    """Its alpha counts against the sum of the log-likelihood, and not for the intercept."""
    X, y = load("diabetes counts")
    alpha = np.append(np.full(X.shape[1], 0.1 * len(y)), 0.0)
    design = np.column_stack([X, np.ones(len(y))])
    peer = sm.Poisson(y, design).fit_regularized(
        alpha=alpha, disp=0, acc=1e-12, maxiter=2000, trim_mode="off", qc_verbose=False
    )
    agree(flat(solved(Poisson(), L1(0.1), X, y)), peer.params, 1e-5)


def bounded(loss: Loss, penalty: Penalty, X: np.ndarray, y: np.ndarray, w: Any) -> np.ndarray:
    """SciPy's L-BFGS-B on w = u - v with u, v ≥ 0, where the penalty is smooth."""
    p, share = X.shape[1], np.ones(len(y)) / len(y) if w is None else w / w.sum()

    def objective(both: np.ndarray) -> tuple[float, np.ndarray]:
        w, z = both[:p] - both[p:-1], X @ (both[:p] - both[p:-1]) + both[-1]
        slopes = share * loss.gradient(z, y)
        pulled = X.T @ slopes + penalty.bend() * w
        value = share @ loss.value(z, y) + penalty.corner * both[:-1].sum()
        value += 0.5 * penalty.bend() * w @ w
        gradient = [pulled + penalty.corner, penalty.corner - pulled, [slopes.sum()]]
        return value, np.concatenate(gradient)

    found = minimize(
        objective,
        np.zeros(2 * p + 1),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * (2 * p) + [(None, None)],
        options={"maxiter": 20_000, "maxfun": 10**6, "ftol": 1e-17, "gtol": 1e-12, "maxcor": 50},
    )
    return np.append(found.x[:p] - found.x[p:-1], found.x[-1])


@pytest.mark.parametrize(
    ("loss", "penalty", "data"),
    [
        (Huber(20.0), L1(1.0), "diabetes"),
        (LogCosh(), ElasticNet(0.1, 0.5), "diabetes"),
        (Poisson(), ElasticNet(0.1, 0.5), "diabetes counts"),
        (Logistic(), L1(0.01), "breast_cancer"),
        (SquaredHinge(), L1(0.02), "breast_cancer"),
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_any_smooth_convex_loss_by_scipy(
    loss: Loss, penalty: Penalty, data: str, weighted: bool
) -> None:
    X, y = load(data)
    weight = weights(len(y)) if weighted else None
    found = flat(solved(loss, penalty, X, y, weight))
    assert 0 < np.count_nonzero(found) < len(found)
    agree(found, bounded(loss, penalty, X, y, weight), 1e-5)


# --- Groups ---

THREES = tuple(np.arange(30) // 3)


def test_groups_of_orthonormal_columns_are_shrunk_in_closed_form() -> None:
    """w_g = (1 - λ √p_g / ‖u_g‖)₊ u_g of the least-squares slopes u, when XᵀX = n 1."""
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.normal(size=(60, 6)))[0] * np.sqrt(60)
    u = np.array([2.0, -1.0, 0.3, 0.4, 0.1, 3.0])
    groups, expected = (0, 1, 2, 2, 2, 0), np.zeros(6)
    for group in range(3):
        rows = np.flatnonzero(np.array(groups) == group)
        size = np.linalg.norm(u[rows])
        expected[rows] = u[rows] * max(0.0, 1 - 0.5 * np.sqrt(len(rows)) / size)
    objective = Objective(HalfSquared(), Group(0.5, groups), intercept=False)
    found = NEWTON.minimise(objective, X, X @ u)
    assert found.converged, found.status
    assert np.all(expected[2:5] == 0) and expected[1] != 0
    agree(flat(found)[:-1], expected)


@pytest.mark.parametrize(
    ("loss", "strength", "data"),
    [(Logistic(), 0.03, "breast_cancer"), (Squared(), 40.0, "diabetes")],
)
def test_groups_are_zero_together_and_meet_the_conditions(
    loss: Loss, strength: float, data: str
) -> None:
    """-g = λ √p_g w_g / ‖w_g‖ where a group is used, ‖g‖ ≤ λ √p_g where it is not."""
    X, y = load(data)
    groups = np.arange(X.shape[1]) // 3
    found = solved(loss, Group(strength, tuple(groups)), X, y)
    w, g = flat(found)[:-1], X.T @ loss.gradient(found.scores(X), y) / len(y)
    used = set()
    for group in np.unique(groups):
        rows = groups == group
        limit = strength * np.sqrt(rows.sum())
        if np.any(w[rows]):
            used.add(group)
            np.testing.assert_allclose(
                -g[rows], limit * w[rows] / np.linalg.norm(w[rows]), rtol=0, atol=1e-4 * limit
            )
        else:
            assert np.linalg.norm(g[rows]) <= limit * (1 + 1e-9)
    assert 0 < len(used) < len(set(groups))


def test_groups_of_one_column_are_the_lasso() -> None:
    X, y = load("diabetes")
    expected = flat(solved(HalfSquared(), L1(3.0), X, y))
    agree(flat(solved(HalfSquared(), Group(3.0), X, y)), expected)
    agree(flat(solved(HalfSquared(), Group(3.0, tuple(range(10))), X, y)), expected)


def test_rows_of_several_outputs_are_left_to_the_proximal_gradient() -> None:
    """A column then serves all classes or none."""
    X, y = load("iris")
    objective = Objective(CrossEntropy(), Group(0.1, (0, 1, 2, 3)))
    assert not NEWTON.suits(objective, Shape(150, 4, 3))
    kernel = ProximalGradient().minimise(objective, X, y).params["output"]["kernel"]
    used = np.any(kernel != 0, axis=1)
    assert 0 < used.sum() < 4 and np.all(kernel[used] != 0)


@pytest.mark.parametrize("strength", [0.02, 0.1])
def test_rows_of_several_outputs_meet_the_conditions_of_the_group_lasso(strength: float) -> None:
    """Xᵀ(p - Y)/n is -λ w / ‖w‖ in a row of W that is not zero, and no longer than λ otherwise."""
    X, y = load("wine")
    found = minimise(Objective(CrossEntropy(), Group(strength)), X, y)
    assert found.converged
    kernel, odds = found.params["output"]["kernel"], np.exp(found.scores(X))
    slopes = X.T @ (odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[y]) / len(y)
    lengths = np.linalg.norm(kernel, axis=1, keepdims=True)
    kept = lengths[:, 0] > 0
    assert 0 < kept.sum() < len(kept)
    agree(slopes[kept], -strength * (kernel / np.where(lengths > 0, lengths, 1))[kept], 1e-5)
    assert np.all(np.linalg.norm(slopes[~kept], axis=1) <= strength)


# --- Plain references ---


@pytest.mark.parametrize(
    ("loss", "penalty", "data"),
    [
        (HalfSquared(), L1(3.0), "diabetes"),
        (Logistic(), ElasticNet(0.1, 0.5), "breast_cancer"),
        (CrossEntropy(), L1(0.05), "iris"),
    ],
    ids=str,
)
def test_fista_agrees(loss: Loss, penalty: Penalty, data: str) -> None:
    X, y = load(data)
    plain = ProximalGradient().minimise(Objective(loss, penalty), X, y)
    agree(flat(solved(loss, penalty, X, y)), flat(plain), 1e-4)


def test_frank_wolfe_under_the_limit_that_the_lasso_keeps() -> None:
    """The lasso minimises the loss among all W with ‖W‖₁ no larger than its own."""
    X, y = load("diabetes")
    lasso = solved(HalfSquared(), L1(20.0), X, y)
    size = np.abs(flat(lasso)[:-1]).sum()
    found = FrankWolfe(radius=float(size)).minimise(Objective(HalfSquared()), X, y)
    assert found.converged, found.status
    assert np.abs(flat(found)[:-1]).sum() <= size * (1 + 1e-12)
    assert 0 <= found.value - (lasso.value - 20 * size) <= found.certificate.value + 1e-9
    assert found.certificate.kind == "duality gap"


def test_frank_wolfe_inside_a_wide_limit_is_least_squares() -> None:
    X, y = load("diabetes")
    peer = linear_model.LinearRegression().fit(X[:, :2], y)
    wide = FrankWolfe(radius=200.0, tolerance=1e-9, max_iterations=2000)
    found = wide.minimise(Objective(HalfSquared()), X[:, :2], y)
    best = 0.5 * np.mean((y - peer.predict(X[:, :2])) ** 2)
    assert best <= found.value * (1 + 1e-12) and found.value <= best * (1 + 1e-3)


def test_frank_wolfe_ends_by_a_budget() -> None:
    budget = Budget()
    budget.interrupted = True
    found = FrankWolfe().minimise(Objective(Logistic()), *load("breast_cancer"), budget=budget)
    assert not found.converged and "Ctrl-C" in found.status


# --- Forms of data ---


def counts(n: int = 300, p: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Mostly zero, never negative: columns whose mean matters."""
    rng = np.random.default_rng(2)
    X = rng.poisson(0.3, (n, p)) * rng.integers(1, 4, (n, p)).astype(float)
    return X, np.where(X[:, :4] @ [1, -1, 0.5, 0.5] + rng.normal(size=n) > 0.3, 1.0, -1.0)


FORMS: list[Callable[[np.ndarray], Any]] = [
    np.asfortranarray,
    lambda X: X.astype(np.float32),
    lambda X: np.asfortranarray(X, dtype=np.float32),
    scipy.sparse.csr_array,
    scipy.sparse.csc_matrix,
    jnp.asarray,
    lambda X: np.repeat(X, 2, axis=1)[:, ::2],
]


@pytest.mark.parametrize("form", range(len(FORMS)))
@pytest.mark.parametrize("intercept", [True, False])
def test_the_form_of_the_data_does_not_matter(form: int, intercept: bool) -> None:
    X, y = counts()
    objective = Objective(Logistic(), ElasticNet(0.02, 0.8), intercept)
    expected = NEWTON.minimise(objective, X, y)
    found = NEWTON.minimise(objective, FORMS[form](X), y)
    assert found.converged, found.status
    agree(flat(found), flat(expected))
    assert (flat(found)[-1] == 0) != intercept


@pytest.mark.parametrize("columns", [150, 1500])
@pytest.mark.parametrize("loss", [HalfSquared(), Logistic()], ids=str)
def test_sparse_data_with_many_columns(loss: Loss, columns: int) -> None:
    """Few columns by their Gram matrix, many as they are: the intercept stays free in both."""
    rng = np.random.default_rng(3)
    X = scipy.sparse.random_array(
        (400, columns), density=0.05, format="csc", rng=rng, data_sampler=rng.random
    )
    y = np.where(X[:, :30].sum(axis=1) + 0.3 * rng.normal(size=400) > 0.8, 1.0, -1.0)
    gradient = X.T @ (y - y.mean()) / len(y) / (1 if loss == HalfSquared() else 2)
    penalty = L1(np.max(np.abs(gradient)) / 20)
    found = solved(loss, penalty, X, y)
    dense = solved(loss, penalty, X.toarray(), y)
    agree(flat(found), flat(dense))
    assert np.count_nonzero(flat(found)) > 50
    assert found.certificate.value < 1e-5 * found.value


@pytest.mark.parametrize("columns", [300, 3000])
def test_more_columns_than_rows(columns: int) -> None:
    """Ten times as many; scikit-learn's lasso to 1e-6."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(columns // 10, columns)) + 3
    y = X[:, :5].sum(axis=1) + rng.normal(size=len(X))
    alpha = 0.05 * np.max(np.abs(X.T @ (y - y.mean()))) / len(y)
    peer = linear_model.Lasso(alpha, tol=1e-13, max_iter=10**6).fit(X, y)
    found = solved(HalfSquared(), L1(alpha), X, y)
    agree(flat(found), np.append(peer.coef_, peer.intercept_))


def test_many_rows_in_either_order() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(20_000, 30)) * 10 ** rng.uniform(-1, 1, 30)
    y = rng.poisson(np.exp(0.3 * X[:, 0] / X[:, 0].std())).astype(float)
    found = solved(Poisson(), L1(0.05), X, y)
    agree(flat(solved(Poisson(), L1(0.05), np.asfortranarray(X), y)), flat(found))
    slopes = X.T @ (np.exp(found.scores(X)) - y) / len(y)
    used = flat(found)[:-1] != 0
    np.testing.assert_allclose(-slopes[used], 0.05 * np.sign(flat(found)[:-1][used]), rtol=1e-5)
    assert np.all(np.abs(slopes) <= 0.05 * (1 + 1e-5))


def test_weights_are_repeated_rows() -> None:
    X, y = load("breast_cancer")
    times = np.random.default_rng(6).integers(0, 3, len(y))
    found = solved(Logistic(), L1(0.02), X, y, times.astype(float))
    repeated = solved(Logistic(), L1(0.02), np.repeat(X, times, axis=0), np.repeat(y, times))
    agree(flat(found), flat(repeated))


def test_an_offset_is_part_of_the_score() -> None:
    """Of a squared loss it is the same as a target that is lower by it."""
    X, y = load("diabetes")
    offset = 50 * np.sin(np.arange(len(y)))
    found = solved(HalfSquared(), L1(2.0), X, y, offset=offset)
    agree(flat(found), flat(solved(HalfSquared(), L1(2.0), X, y - offset)))


@pytest.mark.parametrize("loss", [HalfSquared(), Logistic(), CrossEntropy()], ids=str)
def test_a_warm_start_at_the_solution_is_left_at_once(loss: Loss) -> None:
    X, y = load("wine" if loss.score_axes else "breast_cancer")
    tight = ProximalNewton(tolerance=1e-7)
    first = tight.minimise(Objective(loss, L1(0.02)), X, y)
    again = NEWTON.minimise(Objective(loss, L1(0.02)), X, y, start=first.params)
    assert again.status == "converged in 0 rounds"
    agree(flat(again), flat(first), 1e-12)


# --- Hard data ---


def test_the_strongest_useful_penalty_leaves_nothing() -> None:
    X, y = load("diabetes")
    least = np.max(np.abs(X.T @ (y - y.mean()) / len(y)))
    assert np.all(flat(solved(HalfSquared(), L1(1.001 * least), X, y))[:-1] == 0)
    assert np.any(flat(solved(HalfSquared(), L1(0.999 * least), X, y))[:-1] != 0)


def test_columns_in_units_from_1e_minus_8_to_1e8() -> None:
    """The value in a column's own units: w / unit, under a penalty that each unit feels."""
    X, y = load("diabetes")
    unit = 10.0 ** np.linspace(-8, 8, X.shape[1])
    found = solved(HalfSquared(), L1(1e-3), X * unit, y)
    slopes = (X * unit).T @ (found.scores(X * unit) - y) / len(y)
    w = flat(found)[:-1]
    assert found.certificate.value < 1e-5 * found.value
    np.testing.assert_allclose(np.abs(slopes[w == 0]) <= 1e-3 * (1 + 1e-6), True)


def test_duplicated_and_constant_columns() -> None:
    X, y = load("diabetes")
    expected = solved(HalfSquared(), L1(2.0), X, y)
    doubled = np.column_stack([X, X, np.full(len(y), 7.0), np.zeros(len(y))])
    found = solved(HalfSquared(), L1(2.0), doubled, y)
    assert found.value == pytest.approx(expected.value, rel=1e-7)
    assert np.all(found.params["output"]["kernel"][-2:] == 0)
    w = found.params["output"]["kernel"][:, 0]
    agree(w[:10] + w[10:20], flat(expected)[:-1], 1e-3)


@pytest.mark.parametrize("strength", [0.02, 0.1])
@pytest.mark.parametrize("rows", [40, 60])
def test_a_scale_of_zero_is_a_linear_program(rows: int, strength: float) -> None:
    """With more columns than rows σ = 0 is best: min over W, b of 2 ε mean |r| + λ ‖W‖₁."""
    random = np.random.default_rng(0)
    p, n = 3 * rows, rows
    X = random.standard_normal((n, p))
    y = X[:, :3] @ [3, -2, 1] + random.standard_normal(n)
    y[::10] += 20
    one = np.ones((n, 1))
    prices = [np.full(2 * p, strength), [0, 0], np.full(2 * n, 2.7 / n)]
    parts = np.hstack([X, -X, one, -one, np.eye(n), -np.eye(n)])
    expected = linprog(np.concatenate(prices), A_eq=parts, b_eq=y, bounds=(0, None)).fun
    found = minimise(Objective(HuberWithScale(1.35), L1(strength)), X, y)
    assert found.converged and "scale of the residuals is 0" in found.status
    assert found.value == pytest.approx(expected, rel=1e-7)


def test_separable_classes_have_an_optimum_under_a_penalty() -> None:
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    y = np.array([-1.0, -1.0, 1.0, 1.0])
    found = solved(Logistic(), L1(0.01), X, y)
    expected = bounded(Logistic(), L1(0.01), X, y, None)
    agree(flat(found), expected, 1e-5)


@pytest.mark.parametrize("loss", [HalfSquared(), Huber()], ids=str)
def test_one_row(loss: Loss) -> None:
    found = solved(loss, L1(0.1), np.array([[1.0, 2.0]]), np.array([3.0]))
    assert np.allclose(flat(found), [0, 0, 3])


def test_a_budget_ends_the_rounds() -> None:
    budget = Budget()
    budget.interrupted = True
    found = NEWTON.minimise(Objective(Logistic(), L1(0.01)), *load("breast_cancer"), budget=budget)
    assert not found.converged and "Ctrl-C" in found.status
    assert np.all(np.isfinite(flat(found)))


def test_a_limit_of_rounds_is_said() -> None:
    short = ProximalNewton(max_iterations=1)
    found = short.minimise(Objective(Logistic(), L1(0.001)), *load("breast_cancer"))
    assert not found.converged and "limit of 1 rounds" in found.status


def test_nan_in_the_data_is_named() -> None:
    X, y = np.ones((3, 2)), np.arange(3.0)
    X[1, 1] = np.nan
    with pytest.raises(DataError, match="nan in row 2, column 2"):
        NEWTON.minimise(Objective(HalfSquared(), L1(0.1)), X, y)


@pytest.mark.parametrize(
    ("loss", "penalty"), [(Absolute(), L1(0.1)), (Welsch(), L1(0.1)), (Squared(), L2(0.1))], ids=str
)
def test_what_it_does_not_suit(loss: Loss, penalty: Penalty) -> None:
    with pytest.raises(ArgumentError, match="ProximalNewton cannot minimise"):
        NEWTON.minimise(Objective(loss, penalty), *load("diabetes"))


def test_the_history_tells_of_a_falling_value_and_gap() -> None:
    found = solved(Logistic(), L1(0.005), *load("breast_cancer"))
    values, gaps = found.history["value"], found.history["gap"]
    assert np.all(np.diff(values) <= 1e-12) and gaps[-1] <= 1e-6 * values[-1] < gaps[0]
    assert found.certificate.value == pytest.approx(gaps[-1], abs=1e-6 * values[-1])
