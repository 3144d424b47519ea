"""Kinked losses with kinked penalties, and hinges of several classes: linear programs and peers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linprog, minimize
from sklearn import datasets
from sklearn.linear_model import QuantileRegressor
from sklearn.svm import LinearSVC

import minimand.losses  # noqa: F401  (fills the catalogue)
from minimand.budget import Budget
from minimand.component import catalogue
from minimand.errors import ArgumentError
from minimand.losses import (
    MAPE,
    Absolute,
    CrammerSinger,
    EpsilonInsensitive,
    Hinge,
    Huber,
    HuberWithScale,
    Loss,
    Perceptron,
    Quantile,
    Quantiles,
    WestonWatkins,
)
from minimand.penalties import L1, L2, ElasticNet, Group, Penalty
from minimand.solvers import InteriorPoint, Objective, Shape, Smoothing, Solution, minimise, select

PENALTIES = (L2(0.0), L2(0.1), L1(0.1), ElasticNet(0.1, 0.5), Group(0.1, (0, 0, 1)))
CONVEX = [
    loss
    for loss in (made() for made in catalogue("loss").values())
    if loss.card.convex and Objective(loss).solvable and not loss.card.zero_is_optimal
]


def standardised(X: np.ndarray) -> np.ndarray:
    return (X - X.mean(axis=0)) / X.std(axis=0)


X, Y = datasets.load_diabetes(return_X_y=True)
X = standardised(X)
WX, WY = datasets.load_wine(return_X_y=True)
WX, RANDOM = standardised(WX), np.random.default_rng(0)
WY = np.where(RANDOM.uniform(size=len(WY)) < 0.15, RANDOM.integers(0, 3, len(WY)), WY)
FEW = np.sort(RANDOM.choice(len(WY), 45, replace=False))
SX, SY = WX[FEW][:, :4], WY[FEW]
TARGETS = {"real": Y, "positive": Y, "sign": np.where(Y > 150, 1.0, -1.0)}
LINES = (Absolute(), Quantile(0.8), EpsilonInsensitive(20.0), MAPE(), Hinge())
STRENGTH = {
    "Absolute": 0.1,
    "Quantile": 0.1,
    "EpsilonInsensitive": 0.1,
    "MAPE": 1e-3,
    "Hinge": 0.02,
}


def target(loss: Loss) -> np.ndarray:
    return TARGETS[loss.card.target]


def flat(solution: Solution) -> np.ndarray:
    layer = solution.params["output"]
    return np.concatenate([layer["kernel"].ravel(), layer["bias"]])


def proven(solution: Solution, share: float = 1e-6) -> Solution:
    assert solution.converged, solution.summary()
    assert solution.certificate.kind == "duality gap"
    assert solution.certificate.value <= share * abs(solution.value), solution.summary()
    return solution


def rows_of(loss: Loss, z: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(slope [n], height at z = 0 [n]) of all the lines whose largest is the loss, by hand."""
    one = np.ones(len(y))
    match loss:
        case Absolute():
            return [(one, -y), (-one, y)]
        case Quantile():
            return [
                ((1 - loss.level) * one, -(1 - loss.level) * y),
                (-loss.level * one, loss.level * y),
            ]
        case EpsilonInsensitive():
            return [(0 * one, 0 * y), (one, -y - loss.epsilon), (-one, y - loss.epsilon)]
        case MAPE():
            return [(1 / y, -one), (-1 / y, one)]
        case Hinge():
            return [(0 * one, 0 * y), (-y, one)]
    raise AssertionError(loss)


def linear_program(loss: Loss, strength: float, X: np.ndarray, y: np.ndarray) -> float:
    """min mean of ξ + strength Σ t over w, b, ξ ≥ each line, t ≥ |w|."""
    n, p = X.shape
    Z, eye = np.column_stack([X, np.ones(n)]), scipy.sparse.eye_array
    blocks, right = [], []
    for slope, height in rows_of(loss, Z[:, -1], y):
        none = scipy.sparse.csr_array((n, p))
        blocks.append(scipy.sparse.hstack([slope[:, None] * Z, -eye(n), none]))
        right.append(-height)
    for sign in (1, -1):
        kernel = scipy.sparse.hstack([sign * eye(p), scipy.sparse.csr_array((p, 1 + n)), -eye(p)])
        blocks.append(kernel)
        right.append(np.zeros(p))
    price = np.concatenate([np.zeros(p + 1), np.full(n, 1 / n), np.full(p, strength)])
    solved = linprog(
        price,
        A_ub=scipy.sparse.vstack(blocks, format="csr"),
        b_ub=np.concatenate(right),
        bounds=[(None, None)] * len(price),
        method="highs",
    )
    return float(solved.fun)


# --- Straight lines with an L1 or elastic-net penalty ---


@pytest.mark.parametrize("loss", LINES, ids=str)
@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_lines_with_an_l1_penalty_solve_the_linear_program(loss: Loss, factor: float) -> None:
    strength, y = factor * STRENGTH[type(loss).__name__], target(loss)
    solution = proven(minimise(Objective(loss, L1(strength)), X, y), 1e-7)
    assert solution.solver == "InteriorPoint"
    assert solution.value == pytest.approx(linear_program(loss, strength, X, y), rel=1e-7)


@pytest.mark.parametrize(("level", "strength"), [(0.5, 0.05), (0.9, 0.05), (0.2, 0.3)])
def test_quantiles_with_an_l1_penalty_agree_with_a_peer(level: float, strength: float) -> None:
    solution = proven(minimise(Objective(Quantile(level), L1(strength)), X, Y))
    peer = QuantileRegressor(quantile=level, alpha=strength).fit(X, Y)
    expected = np.append(peer.coef_, peer.intercept_)
    np.testing.assert_allclose(flat(solution), expected, atol=1e-6 * np.abs(expected).max())
    kernel = solution.params["output"]["kernel"][:, 0]
    assert np.array_equal(kernel == 0, peer.coef_ == 0)


@pytest.mark.parametrize("loss", LINES, ids=str)
def test_an_elastic_net_lies_where_its_own_gradient_says(loss: Loss) -> None:
    strength, y = STRENGTH[type(loss).__name__], target(loss)
    half = proven(minimise(Objective(loss, ElasticNet(strength, 0.5)), X, y), 1e-7)
    for other, share in ((L1(strength), 1.0), (L2(strength), 0.0)):
        same = proven(minimise(Objective(loss, ElasticNet(strength, share)), X, y), 1e-7)
        alone = minimise(Objective(loss, other), X, y)
        assert same.value == pytest.approx(alone.value, rel=1e-8)
    random, layer = np.random.default_rng(1), half.params["output"]
    for size in (1e-1, 1e-3):
        kernel = layer["kernel"] + size * random.normal(size=(10, 1))
        score = (X @ kernel + layer["bias"] + size * random.normal())[:, 0]
        assert loss(score, y) + ElasticNet(strength, 0.5).value(kernel) >= half.value


@pytest.mark.parametrize("loss", [Absolute(), Hinge()], ids=str)
def test_an_elastic_net_agrees_with_a_quadratic_program(loss: Loss) -> None:
    small, y = X[:40, :3], target(loss)[:40]
    y = y / 50 if loss == Absolute() else y
    penalty = ElasticNet(0.2, 0.5)
    solution = proven(minimise(Objective(loss, penalty), small, y))
    assert solution.value == pytest.approx(epigraph(loss, penalty, small, y), rel=1e-6)


def test_many_rows_are_solved_from_a_sample() -> None:
    random = np.random.default_rng(3)
    many = random.normal(size=(6000, 8))
    y = many @ [2.0, -1.0, 0.5, 0, 0, 0, 0, 0] + random.standard_t(2, size=6000)
    solution = proven(minimise(Objective(Quantile(0.8), L1(0.02)), many, y), 1e-7)
    assert solution.value == pytest.approx(linear_program(Quantile(0.8), 0.02, many, y), rel=1e-7)
    assert np.count_nonzero(solution.params["output"]["kernel"]) == 3


def test_more_columns_than_rows() -> None:
    random = np.random.default_rng(4)
    wide, y = random.normal(size=(40, 200)), random.normal(size=40)
    solution = proven(minimise(Objective(Absolute(), L1(0.05)), wide, y))
    assert solution.value == pytest.approx(linear_program(Absolute(), 0.05, wide, y), rel=1e-7)
    assert np.count_nonzero(solution.params["output"]["kernel"]) <= 41


# --- Several quantiles at once ---


@pytest.mark.parametrize("penalty", [L2(0.0), L2(0.1), L1(0.1)], ids=str)
def test_quantiles_that_may_cross_are_those_of_each_level(penalty: Penalty) -> None:
    levels = (0.1, 0.5, 0.9)
    solution = proven(minimise(Objective(Quantiles(levels), penalty), X, Y))
    alone = [minimise(Objective(Quantile(level), penalty), X, Y) for level in levels]
    assert solution.params["output"]["kernel"].shape == (10, 3)
    assert solution.value == pytest.approx(sum(one.value for one in alone), rel=1e-8)
    expected = np.column_stack([one.scores(X) for one in alone])
    np.testing.assert_allclose(solution.scores(X), expected, atol=1e-2)


def test_a_price_on_crossing_keeps_quantiles_in_order() -> None:
    some, y, levels = X[:60], Y[:60], (0.45, 0.5, 0.55)
    free = minimise(Objective(Quantiles(levels)), some, y)
    kept = proven(minimise(Objective(Quantiles(levels, crossing=10.0)), some, y))
    assert np.min(np.diff(free.scores(some))) < -0.1
    assert np.min(np.diff(kept.scores(some))) > -1e-3
    n, p, k = 60, 11, 3
    Z = np.column_stack([some, np.ones(n)])
    blocks, right = [], []
    for level in range(k):  # variables: W by level, residuals by level, crossings
        for slope in (1 - levels[level], -levels[level]):
            row = np.zeros((n, k * p + k * n + 2 * n))
            row[:, level * p : (level + 1) * p] = slope * Z
            row[:, k * p + level * n : k * p + (level + 1) * n] = -np.eye(n)
            blocks.append(row)
            right.append(slope * y)
    for pair in range(k - 1):
        row = np.zeros((n, k * p + k * n + 2 * n))
        row[:, pair * p : (pair + 2) * p] = np.hstack([Z, -Z])
        start = k * p + k * n + pair * n
        row[:, start : start + n] = -np.eye(n)
        blocks.append(row)
        right.append(np.zeros(n))
    price = np.concatenate([np.zeros(k * p), np.full(k * n, 1 / n), np.full(2 * n, 10 / n)])
    bounds = [(None, None)] * (k * p + k * n) + [(0, None)] * (2 * n)
    solved = linprog(price, A_ub=np.vstack(blocks), b_ub=np.concatenate(right), bounds=bounds)
    assert kept.value == pytest.approx(solved.fun, rel=2e-6)


# --- Hinges of several classes ---


def hinge_program(loss: Loss, strength: float, X: np.ndarray, y: np.ndarray) -> float:
    """min mean slack + strength ‖W‖₁, W = P - N, one slack for each row or for each rival."""
    (n, p), k = X.shape, int(y.max()) + 1
    row, rival = np.nonzero(np.arange(k) != y[:, None])
    pairs = np.arange(len(row))

    def scores(Z: np.ndarray) -> scipy.sparse.csr_array:  # z_rival - z_y by pair, for W of [q, k]
        place = np.arange(Z.shape[1]) * k
        columns = np.concatenate([place + rival[:, None], place + y[row][:, None]])
        lines = np.repeat(np.tile(pairs, 2), Z.shape[1])
        entries = np.concatenate([Z[row], -Z[row]]).ravel()
        shape = (len(row), Z.shape[1] * k)
        return scipy.sparse.csr_array((entries, (lines, columns.ravel())), shape=shape)

    slack = row if isinstance(loss, CrammerSinger) else pairs
    count = int(slack.max()) + 1
    slacks = scipy.sparse.csr_array((-np.ones(len(row)), (pairs, slack)), shape=(len(row), count))
    kernel = scores(X)
    solved = linprog(
        np.concatenate([np.full(2 * p * k, strength), np.zeros(k), np.full(count, 1 / n)]),
        A_ub=scipy.sparse.hstack([kernel, -kernel, scores(np.ones((n, 1))), slacks], format="csr"),
        b_ub=-np.ones(len(row)),
        bounds=[(0, None)] * (2 * p * k) + [(None, None)] * k + [(0, None)] * count,
        method="highs",
    )
    return float(solved.fun)


HINGES = (CrammerSinger(), WestonWatkins())


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_crammer_and_singers_machine_agrees_with_a_peer(C: float) -> None:
    objective = Objective(CrammerSinger(), L2(1 / (C * len(WY))), intercept=False)
    solution = proven(minimise(objective, WX, WY))
    peer = LinearSVC(
        multi_class="crammer_singer", fit_intercept=False, C=C, tol=1e-8, max_iter=1000000
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        W = peer.fit(WX, WY).coef_.T
    expected = CrammerSinger()(WX @ W, WY) + objective.penalty.value(W)
    assert solution.value <= expected * (1 + 1e-6)
    assert solution.value == pytest.approx(float(expected), rel=1e-5)
    kernel = solution.params["output"]["kernel"]
    np.testing.assert_allclose(kernel, W, atol=2e-3 * np.abs(W).max())


@pytest.mark.parametrize("loss", HINGES, ids=str)
@pytest.mark.parametrize("strength", [0.0, 0.02, 10.0])
def test_hinges_of_classes_solve_the_linear_program(loss: Loss, strength: float) -> None:
    solution = proven(minimise(Objective(loss, L1(strength)), SX, SY), 1e-7)
    assert solution.solver == "InteriorPoint"
    assert solution.value == pytest.approx(hinge_program(loss, strength, SX, SY), rel=1e-8)


def classes(n: int, p: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of which a tenth of the columns tell the class, not for certain."""
    random = np.random.default_rng(5)
    rows, kernel = random.normal(size=(n, p)), np.zeros((p, k))
    kernel[: p // 10] = random.normal(size=(p // 10, k)) * np.sqrt(40 / p)
    y = (rows @ kernel + random.gumbel(size=(n, k))).argmax(axis=1)
    y[:k] = np.arange(k)
    return rows, y


@pytest.mark.parametrize("loss", HINGES, ids=str)
@pytest.mark.parametrize("shape", [(400, 60, 5), (60, 120, 6), (1500, 10, 4)], ids=str)
def test_hinges_with_many_parameters_take_few_passes(loss: Loss, shape: Any) -> None:
    rows, y = classes(*shape)
    for strength in (0.03, 0.003):
        solution = proven(minimise(Objective(loss, L1(strength)), rows, y), 1e-6)
        assert solution.value == pytest.approx(hinge_program(loss, strength, rows, y), rel=1e-7)
        assert solution.history["passes"][-1] < 500


@pytest.mark.parametrize("loss", HINGES, ids=str)
def test_a_hinge_does_not_feel_where_columns_lie(loss: Loss) -> None:
    rows, y = classes(300, 10, 3)
    strength, far = 0.02, rows + 1e6 * np.arange(1, 11)
    solution = proven(minimise(Objective(loss, L1(strength)), far, y), 1e-7)
    assert solution.value == pytest.approx(hinge_program(loss, strength, rows, y), rel=1e-8)


@pytest.mark.parametrize("loss", HINGES, ids=str)
@pytest.mark.parametrize("rows", [[3], [3, 80, 150]], ids=str)
def test_a_hinge_bears_outlying_rows(loss: Loss, rows: list[int]) -> None:
    outlying = WX.copy()
    outlying[rows] *= 1e6
    for penalty in (L1(0.02), L2(0.1)):
        solution = proven(minimise(Objective(loss, penalty), outlying, WY), 2e-5)
        if penalty == L1(0.02):
            expected = hinge_program(loss, 0.02, outlying, WY)
            assert solution.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", HINGES, ids=str)
def test_two_classes_are_one_hinge(loss: Loss) -> None:
    two = np.where(SY == 2, 1, SY)
    both = proven(minimise(Objective(loss, L2(0.1)), SX, two))
    margin = both.scores(SX)[:, 1] - both.scores(SX)[:, 0]
    alone = minimise(Objective(Hinge(), L2(0.05)), SX, 2.0 * two - 1)
    assert both.value == pytest.approx(alone.value, rel=2e-6)
    np.testing.assert_allclose(margin, alone.scores(SX), atol=2e-3)


@pytest.mark.parametrize("loss", HINGES, ids=str)
def test_separable_classes_cost_nothing(loss: Loss) -> None:
    plain, y = datasets.load_wine(return_X_y=True)
    solution = minimise(Objective(loss), standardised(plain), y)
    assert solution.converged and solution.value == pytest.approx(0, abs=1e-9)
    assert np.array_equal(solution.scores(standardised(plain)).argmax(axis=1), y)


# --- Any penalty: programs that a general method solves ---


def epigraph(loss: Loss, penalty: Penalty, X: np.ndarray, y: np.ndarray) -> float:
    """The objective by sequential quadratic programming over slacks of rows and of groups."""
    (n, p), several = X.shape, bool(loss.score_axes)
    k = int(y.max()) + 1 if several else 1
    Z = np.column_stack([X, np.ones(n)])
    groups = np.asarray(getattr(penalty, "groups", ())) if hasattr(penalty, "groups") else None
    names = np.arange(p) if groups is None or not len(groups) else groups
    count = int(names.max()) + 1
    roots = np.sqrt(np.bincount(names))
    entrywise = not isinstance(penalty, Group)
    heights = p * k if entrywise else count
    l1, l2 = float(penalty.corner), float(penalty.bend())

    def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        theta = x[: (p + 1) * k].reshape(p + 1, k)
        return theta[:-1], Z @ theta, x[(p + 1) * k : -heights], x[-heights:]

    def cost(x: np.ndarray) -> float:
        w, _, slack, top = split(x)
        price = l1 * (top.sum() if entrywise else roots @ top)
        return float(slack.sum() / n + price + 0.5 * l2 * np.sum(w * w))

    def room(x: np.ndarray) -> np.ndarray:
        w, z, slack, top = split(x)
        if several:
            apart = 1 + z - z[np.arange(n), y][:, None]
            apart[np.arange(n), y] = 0
            lines = [slack[:, None] - apart if len(slack) == n else slack.reshape(n, k) - apart]
        else:
            lines = [slack - (s * z[:, 0] + h) for s, h in rows_of(loss, z, y)]
        if entrywise:
            return np.concatenate([*(a.ravel() for a in lines), top - w.ravel(), top + w.ravel()])
        length = np.bincount(names, np.sum(w * w, axis=1), minlength=count)
        return np.concatenate([*(a.ravel() for a in lines), top**2 - length])

    slacks = n * k if isinstance(loss, WestonWatkins) else n
    start = np.concatenate([np.full((p + 1) * k, 0.1), np.full(slacks, 5.0), np.full(heights, 1.0)])
    bounds = [(None, None)] * ((p + 1) * k) + [(0, None)] * (slacks + heights)
    found = minimize(
        cost,
        start,
        method="SLSQP",
        bounds=bounds,
        constraints={"type": "ineq", "fun": room},
        options={"maxiter": 300, "ftol": 1e-10},
    )
    return float(found.fun)


@pytest.mark.parametrize("loss", [CrammerSinger(), WestonWatkins(), Absolute(), Hinge()], ids=str)
@pytest.mark.parametrize("penalty", [L2(0.1), Group(0.05, (0, 0, 1))], ids=str)
def test_small_programs_of_a_general_method(loss: Loss, penalty: Penalty) -> None:
    some = slice(None, None, 3)
    y: Any = SY[some] if loss.score_axes else np.where(SY[some] > 0, 1.0, -1.0)
    solution = proven(minimise(Objective(loss, penalty), SX[some, :3], y))
    assert solution.value == pytest.approx(epigraph(loss, penalty, SX[some, :3], y), rel=2e-5)


@pytest.mark.parametrize("loss", LINES, ids=str)
def test_groups_of_one_column_are_the_lasso(loss: Loss) -> None:
    strength, y = STRENGTH[type(loss).__name__], target(loss)
    grouped = proven(minimise(Objective(loss, Group(strength, tuple(range(10)))), X, y))
    assert grouped.solver == "Smoothing"
    assert grouped.value == pytest.approx(linear_program(loss, strength, X, y), rel=2e-6)


@pytest.mark.parametrize("loss", [Absolute(), EpsilonInsensitive(20.0)], ids=str)
def test_groups_become_zero_together(loss: Loss) -> None:
    names = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    solution = proven(minimise(Objective(loss, Group(0.3, tuple(names))), X, Y))
    used = solution.params["output"]["kernel"][:, 0] != 0
    assert {tuple(np.unique(used[names == g])) for g in range(3)} == {(False,), (True,)}


@pytest.mark.parametrize(
    "penalty", [L1(0.5), ElasticNet(0.5, 0.5), Group(0.3, (0, 0, 1, 1, 1, 2, 2, 2, 2, 2))], ids=str
)
def test_huber_with_its_scale_is_huber_at_that_scale(penalty: Penalty) -> None:
    solution = proven(minimise(Objective(HuberWithScale(), penalty), X, Y))
    scale = solution.params["scale"]
    eased = penalty.from_json(penalty.to_json() | {"strength": penalty.strength * scale / 2})
    given = minimise(Objective(Huber(delta=1.35 * scale), eased), X, Y)
    assert solution.value == pytest.approx(scale + 2 / scale * given.value, rel=1e-6)
    np.testing.assert_allclose(flat(solution), flat(given), atol=1e-2)


# --- Forms of data ---

CASES: list[tuple[Loss, Penalty, np.ndarray, np.ndarray]] = [
    (Absolute(), L1(0.3), X, Y),
    (EpsilonInsensitive(20.0), ElasticNet(0.3, 0.5), X, Y),
    (Absolute(), Group(0.3, (0, 0, 1, 1, 1, 2, 2, 2, 2, 2)), X, Y),
    (CrammerSinger(), L1(0.02), WX, WY),
    (WestonWatkins(), L2(0.1), WX, WY),
    (Quantiles((0.2, 0.8), crossing=1.0), L1(0.1), X, Y),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]}")


@each_case
def test_forms_of_data_give_the_same(case: Any) -> None:
    loss, penalty, data, y = case
    objective = Objective(loss, penalty)
    plain = proven(minimise(objective, data, y))
    for other in (
        scipy.sparse.csr_array(data),
        scipy.sparse.csc_array(data),
        np.asfortranarray(data),
        data.astype(np.float32),
    ):
        found = proven(minimise(objective, other, y))
        assert found.value == pytest.approx(plain.value, rel=2e-6)


@each_case
def test_weights_count_as_repeated_rows(case: Any) -> None:
    loss, penalty, data, y = case
    count = np.random.default_rng(2).integers(0, 3, len(y))
    weighted = proven(minimise(Objective(loss, penalty), data, y, count))
    repeated = proven(
        minimise(Objective(loss, penalty), np.repeat(data, count, axis=0), np.repeat(y, count))
    )
    assert weighted.value == pytest.approx(repeated.value, rel=2e-6)


@each_case
def test_an_offset_without_an_intercept(case: Any) -> None:
    loss, penalty, data, y = case
    objective = Objective(loss, penalty, intercept=False)
    shift = np.random.default_rng(2).normal(size=len(y))
    found = proven(minimise(objective, data, y, offset=shift))
    assert np.all(found.params["output"]["bias"] == 0)
    if loss.card.target == "class":  # a shift of all scores is not felt
        assert found.value == pytest.approx(minimise(objective, data, y).value, rel=2e-6)
    else:
        moved = proven(minimise(objective, data, y - shift))
        assert found.value == pytest.approx(moved.value, rel=2e-6)


@each_case
def test_a_warm_start_leads_to_the_same(case: Any) -> None:
    loss, penalty, data, y = case
    first = proven(minimise(Objective(loss, penalty), data, y))
    again = proven(minimise(Objective(loss, penalty), data, y, start=first.params))
    assert again.value == pytest.approx(first.value, rel=2e-6)


@each_case
def test_the_gap_holds_when_the_budget_ends_the_run(case: Any) -> None:
    loss, penalty, data, y = case
    objective = Objective(loss, penalty)
    best = minimise(objective, data, y).value
    early = minimise(objective, data, y, budget=Budget(seconds=1e-9))
    assert not early.converged and early.status.startswith("ended")
    assert early.certificate.value >= (early.value - best) * (1 - 1e-9)


# --- What is solved, and what is not ---


@pytest.mark.parametrize("loss", CONVEX, ids=str)
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_every_convex_loss_is_solved_with_every_penalty(loss: Loss, penalty: Penalty) -> None:
    outputs = len(loss.scores) or (3 if loss.score_axes else 1)
    solver, reason = select(Objective(loss, penalty), Shape(100, 3, outputs))
    assert solver and reason


def test_a_loss_that_0_minimises_is_refused() -> None:
    for penalty in PENALTIES:
        with pytest.raises(ArgumentError, match="minimised by the score 0"):
            select(Objective(Perceptron(), penalty), Shape(100, 3))
    for solver in (InteriorPoint(), Smoothing()):
        assert not solver.suits(Objective(Perceptron(), L1(0.1)), Shape(100, 3))


@pytest.mark.parametrize("loss", [Hinge(), Absolute(), CrammerSinger()], ids=str)
def test_more_columns_than_rows_are_solved_in_the_span_of_the_rows(loss: Loss) -> None:
    """With K = X Xᵀ the kernel is Xᵀ A: the same objective of the columns of K^½."""
    random = np.random.default_rng(0)
    wide, y = random.normal(size=(40, 3000)), random.integers(0, 3, 40)
    target = y if loss.score_axes else np.where(y > 0, 1.0, -1.0)
    values, axes = np.linalg.eigh(wide @ wide.T)
    narrow = axes * np.sqrt(values)
    found = minimise(Objective(loss, L2(1.0)), wide, target)
    expected = minimise(Objective(loss, L2(1.0)), narrow, target, solver=InteriorPoint())
    assert found.converged and found.solver == "RowSpace" and expected.converged
    assert found.value == pytest.approx(expected.value, rel=1e-8)
    np.testing.assert_allclose(found.scores(wide), expected.scores(narrow), atol=1e-5)


def test_very_many_columns_do_without_a_matrix_of_all() -> None:
    assert type(select(Objective(Hinge(), L2(0.1)), Shape(100_000, 20_000))[0]) is Smoothing
    levels = Objective(Quantiles((0.1, 0.5, 0.9), crossing=0.0))
    assert type(select(levels, Shape(100_000, 3000, 3))[0]) is InteriorPoint  # one after another
