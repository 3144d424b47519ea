"""Data that break solvers: an optimum that nobody can improve, or a status that says why not.

Every convex loss that `minimise` accepts meets every case. What it returns is judged from outside:
the objective is added up in NumPy, and SciPy, from the answer and from elsewhere, must not find a
lower one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize as scipy_minimise

import minimand.losses  # noqa: F401  (fills the catalogue)
from minimand.component import catalogue
from minimand.errors import ArgumentError
from minimand.losses import (
    MSLE,
    Absolute,
    BinaryCrossEntropy,
    CrammerSinger,
    CrossEntropy,
    EpsilonInsensitive,
    Exponential,
    Gamma,
    HalfSquared,
    Hinge,
    Huber,
    HuberWithScale,
    LogCosh,
    Logistic,
    Loss,
    Poisson,
    Quantile,
    Quantiles,
    Sparsemax,
    SquaredHinge,
    Tweedie,
    WestonWatkins,
)
from minimand.penalties import L1, L2, ElasticNet, Group, Penalty
from minimand.solvers import Objective, Shape, Solution, minimise, select
from minimand.solvers.sparse import design

Array = Any
TOLERANCE = 1e-6
NO_PENALTY = L2(0.0)


def targets(domain: str, score: Array, random: np.random.Generator) -> Array:
    """Targets of a domain that depend on a score of ordinary size."""
    noise = random.normal(size=len(score))
    made: dict[str, Callable[[], Array]] = {
        "real": lambda: score + noise,
        "count": lambda: random.poisson(np.exp(0.5 * score)).astype(float),
        "positive": lambda: np.exp(0.3 * score) * random.gamma(2, 0.5, len(score)),
        "fraction": lambda: 1 / (1 + np.exp(-score - noise)),
        "sign": lambda: np.where(score + noise > 0, 1.0, -1.0),
        "class": lambda: np.digitize(score + noise, [-0.5, 0.5]),
    }
    return made[domain]()


DOMAINS = ("real", "count", "positive", "fraction", "sign", "class")


def accepted(penalty: Penalty) -> list[Loss]:
    """The convex losses that a solver takes with this penalty."""
    found = []
    for made in catalogue("loss").values():
        loss = made()
        if not (made.__module__.startswith("minimand.") and loss.card.convex):
            continue
        if loss.card.target not in DOMAINS:
            continue
        try:
            select(Objective(loss, penalty), Shape(60, 4, 3 if loss.score_axes else 1))
        except ArgumentError:
            continue
        found.append(loss)
    return found


CONVEX = accepted(L2(0.01))
each_loss = pytest.mark.parametrize("loss", CONVEX, ids=str)
each_strength = pytest.mark.parametrize("strength", [0.0, 0.01])


@dataclass
class Case:
    """Data, and the columns in units in which a search from outside can move."""

    X: Array
    y: Array
    weight: Array | None = None
    offset: Array | None = None


def data(loss: Loss, rows: int = 60, columns: int = 4, seed: int = 0) -> Case:
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, columns))
    score = X[:, : min(columns, 5)] @ [1.0, -0.5, 0.3, 0.0, 0.2][: min(columns, 5)] + 0.2
    return Case(X, targets(loss.card.target, score, random))


def value(objective: Objective, case: Case, kernel: Array, bias: Array) -> float:
    """The objective, added up outside the solvers."""
    loss, X = objective.loss, np.asarray(case.X, dtype=np.float64)
    score = X @ kernel + bias
    if case.offset is not None:
        score = score + case.offset[:, None]
    weight = np.ones(len(X)) if case.weight is None else case.weight
    score = score if loss.score_axes else score[:, 0]
    with np.errstate(over="ignore"):
        cost = loss(score, case.y, weight=weight)
    return float(cost + objective.penalty.value(kernel))


def lowest(objective: Objective, case: Case, kernel: Array, bias: Array) -> float:
    """The lowest objective that SciPy finds, from the answer and from the best constant.

    It moves in standardised columns; it shares the loss with the solvers, but nothing else.
    """
    X = np.asarray(case.X, dtype=np.float64)
    centre, size = X.mean(axis=0), X.std(axis=0)
    size = np.where(size > 1e-12 * np.abs(centre), size, np.abs(centre) + (centre == 0))
    inner = Case((X - centre) / size, case.y, case.weight, case.offset)
    shape, loss = kernel.shape, objective.loss
    weight = np.ones(len(X)) if case.weight is None else case.weight
    kept = weight > 0
    share = weight[kept] / weight.sum()
    Z, y = np.column_stack([inner.X, np.ones(len(X))])[kept], case.y[kept]
    offset = 0.0 if case.offset is None else case.offset[kept][:, None]

    def both(theta: Array) -> tuple[float, Array]:
        W = theta.reshape(-1, shape[1])
        score = Z @ W + offset
        taken = score if loss.score_axes else score[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            if not objective.settles:
                cost = share @ loss.value(taken, y)
                slopes = share[:, None] * loss.gradient(taken, y).reshape(score.shape)
            else:
                given = loss.settled(taken, y, share)  # type: ignore[attr-defined]
                cost = share @ given.value(taken, y)
                slopes = (share * given.gradient(taken, y))[:, None]
            gradient = Z.T @ slopes
        w = W[:-1] / size[:, None]
        gradient[:-1] += objective.penalty.slope(w) / size[:, None]
        total = cost + objective.penalty.value(w)
        return (float(total), gradient.ravel()) if np.isfinite(total) else (1e300, 0 * theta)

    answer = np.vstack([kernel * size[:, None], bias + centre @ kernel])
    start = np.zeros_like(answer)
    with np.errstate(all="ignore"):
        start[-1] = loss.constant(y, share) if loss.card.target != "class" else 0.0
    options = {"maxiter": 100 if len(y) < 1000 else 30, "ftol": 1e-14, "gtol": 1e-10}
    return min(
        float(scipy_minimise(both, s.ravel(), jac=True, method="L-BFGS-B", options=options).fun)
        for s in (answer, start)
    )


def judged(objective: Objective, case: Case, solution: Solution | None = None) -> Solution:
    """The solution, if it keeps its word."""
    solution = solution or minimise(objective, case.X, case.y, case.weight, offset=case.offset)
    layer = solution.params["output"]
    kernel, bias = layer["kernel"], layer["bias"]
    assert np.all(np.isfinite(kernel)) and np.all(np.isfinite(bias)), solution.summary()
    here = value(objective, case, kernel, bias)
    typical = abs(here) + 1e-3 * float(np.mean(np.abs(case.y)))
    assert solution.value == pytest.approx(here, rel=1e-6, abs=1e-6 * typical), solution.summary()
    assert solution.status and solution.certificate.sentence
    best = lowest(objective, case, kernel, bias)
    if solution.converged:
        assert best >= here - TOLERANCE * typical, f"{here - best:.1e} lower; {solution.summary()}"
    else:
        assert (
            "ended" in solution.status
            or "no minimum" in solution.status
            or ("does not bear out" in solution.status)
        )
    if solution.certificate.kind == "duality gap":
        least = solution.value - solution.certificate.value
        assert best >= least - 1e-9 * typical, solution.summary()
    return solution


def objective_of(loss: Loss, strength: float) -> Objective:
    return Objective(loss, L2(strength))


# --- columns --------------------------------------------------------------------------------------


@each_loss
@each_strength
def test_duplicated_and_constant_columns(loss: Loss, strength: float) -> None:
    case = data(loss)
    ones = np.full((60, 1), 3.0)
    case.X = np.hstack([case.X, case.X[:, :2], ones, 0 * ones])
    judged(objective_of(loss, strength), case)


@each_loss
@each_strength
def test_columns_in_units_between_1e_minus_8_and_1e8(loss: Loss, strength: float) -> None:
    case = data(loss)
    case.X = case.X * np.array([1e-8, 1e-3, 1e3, 1e8])
    judged(objective_of(loss, strength), case)


@each_loss
def test_a_column_far_from_zero(loss: Loss) -> None:
    case = data(loss)
    case.X[:, 0] += 1e9
    judged(objective_of(loss, 0.01), case)


@each_loss
def test_ten_times_as_many_columns_as_rows(loss: Loss) -> None:
    judged(objective_of(loss, 0.1), data(loss, 12, 120))


@each_loss
def test_ten_times_as_many_columns_as_rows_without_a_penalty(loss: Loss) -> None:
    judged(objective_of(loss, 0.0), data(loss, 12, 120))


# --- rows -----------------------------------------------------------------------------------------


@each_loss
@each_strength
def test_one_row(loss: Loss, strength: float) -> None:
    case = data(loss)
    row = slice(0, 1)
    if loss.score_axes:
        case.y[0] = 1
    judged(objective_of(loss, strength), Case(case.X[row], case.y[row]))


@each_loss
@each_strength
def test_outlying_rows(loss: Loss, strength: float) -> None:
    case = data(loss)
    case.X[:2] *= 1e6
    judged(objective_of(loss, strength), case)


@each_loss
@each_strength
def test_weights_of_zero_leave_rows_out(loss: Loss, strength: float) -> None:
    case = data(loss)
    kept = np.random.default_rng(0).random(60) < 0.6
    case.weight = np.where(kept, 2.0, 0.0)
    found = judged(objective_of(loss, strength), case)
    without = minimise(objective_of(loss, strength), case.X[kept], case.y[kept])
    assert found.value == pytest.approx(without.value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", [x for x in CONVEX if x.card.target == "real"], ids=str)
def test_an_offset_far_from_zero(loss: Loss) -> None:
    case = data(loss)
    case.offset = np.full(60, 1e6)
    case.y = case.y + 1e6
    judged(objective_of(loss, 0.01), case)


# --- classes --------------------------------------------------------------------------------------

OF_CLASSES = [loss for loss in CONVEX if loss.card.target in ("sign", "class")]


@pytest.mark.parametrize("loss", OF_CLASSES, ids=str)
@each_strength
def test_perfectly_separable_classes(loss: Loss, strength: float) -> None:
    case = data(loss)
    index = np.digitize(case.X[:, 0], [-0.5, 0.5])
    case.y = index if loss.card.target == "class" else np.where(index > 1, 1.0, -1.0)
    if loss.card.target == "class":  # along one axis the middle class is no half space
        case.X = np.column_stack([case.X, 4.0 * (index == 1)])
    judged(objective_of(loss, strength), case)


@pytest.mark.parametrize("loss", OF_CLASSES, ids=str)
@each_strength
def test_a_class_without_weight(loss: Loss, strength: float) -> None:
    case = data(loss)
    gone = 1 if loss.card.target == "class" else -1
    case.weight = np.where(case.y == gone, 0.0, 1.0)
    judged(objective_of(loss, strength), case)


# --- many rows ------------------------------------------------------------------------------------

POLYHEDRAL = [Absolute(), EpsilonInsensitive(), Quantile(0.5), CrammerSinger(), WestonWatkins()]
MANY = [HalfSquared(), Logistic(), CrossEntropy(), Poisson(), Huber(), SquaredHinge(), Absolute()]


def many(loss: Loss, rows: int = 20_000) -> Case:
    return data(loss, rows, 6, seed=1)


@pytest.mark.parametrize("loss", MANY, ids=str)
def test_a_category_with_two_rows(loss: Loss) -> None:
    """A sample of the rows never sees it."""
    case = many(loss)
    level = np.zeros((len(case.y), 2))
    level[[123, 4567], 0] = level[[77, 8910, 15_000], 1] = 1.0
    case.X = np.hstack([case.X, level])
    assert judged(objective_of(loss, 1e-5), case).converged


@pytest.mark.parametrize("loss", [Absolute(), Hinge(), Quantiles()], ids=str)
def test_a_level_of_two_outlying_rows_without_a_penalty(loss: Loss) -> None:
    """Rows near their kinks say nothing of its slope, which the level's own rows hold back."""
    case = many(loss, 50_000)
    level = np.zeros((len(case.y), 1))
    level[[3, 777]] = 1.0
    case.X[:2] *= 1e4
    case.X = np.hstack([case.X, level])
    assert judged(objective_of(loss, 0.0), case).converged


@pytest.mark.parametrize("loss", [Absolute(), Hinge(), Quantiles()], ids=str)
def test_columns_twice_and_almost_twice_among_many_rows(loss: Loss) -> None:
    case = many(loss, 50_000)
    beside = case.X[:, :1] + 1e-7 * np.random.default_rng(2).normal(size=(50_000, 1))
    case.X = np.hstack([case.X, case.X[:, :2], beside])
    assert judged(objective_of(loss, 0.0), case).converged


@pytest.mark.parametrize("loss", POLYHEDRAL, ids=str)
def test_powers_of_a_column(loss: Loss) -> None:
    """From 1 to 10, between 0 and 1: no two columns alike, and yet nearly dependent."""
    case = data(loss, 200, 1)
    between = (case.X - case.X.min()) / np.ptp(case.X)
    found = judged(objective_of(loss, 0.0), Case(between ** np.arange(1, 11), case.y))
    span = 10 * np.linalg.qr(between ** np.arange(1, 11) - 0.3)[0]
    assert found.value - found.certificate.value <= minimise(Objective(loss), span, case.y).value


@pytest.mark.parametrize("loss", MANY, ids=str)
def test_outlying_rows_among_many(loss: Loss) -> None:
    case = many(loss)
    case.X[[5, 9999]] *= 1e6 if loss.card.target != "count" else -1e3
    judged(objective_of(loss, 1e-4), case)


# --- forms ----------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Array], Any]] = {
    "float32": lambda X: X.astype(np.float32),
    "fortran": np.asfortranarray,
    "fortran float32": lambda X: np.asfortranarray(X.astype(np.float32)),
    "strided rows": lambda X: np.repeat(X, 2, axis=0)[::2],
    "strided columns": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "read only": lambda X: np.require(X.copy(), requirements="W").copy(),
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
    "csr float32": lambda X: scipy.sparse.csr_matrix(X.astype(np.float32)),
    "csc float32": lambda X: scipy.sparse.csc_matrix(X.astype(np.float32)),
    "integers": lambda X: X.astype(int),
    "jax": lambda X: __import__("jax").numpy.asarray(X),
    "torch": lambda X: __import__("torch").tensor(X),
}
SEVERAL = [HalfSquared(), Logistic(), CrossEntropy(), Poisson(), Huber(), Quantile(0.8), Hinge()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("penalty", [L2(0.01), L1(0.01)], ids=str)
@pytest.mark.parametrize("loss", SEVERAL, ids=str)
def test_forms_of_the_data(loss: Loss, penalty: Penalty, form: str) -> None:
    """Columns hold whole numbers up to 8, so that no form rounds them; most are zero."""
    case = data(loss)
    X = np.round(2 * case.X) * (np.abs(case.X) > 0.5)
    objective = Objective(loss, penalty)
    try:
        expected = minimise(objective, X, case.y)
    except ArgumentError as refusal:
        assert "no solver handles" in str(refusal)
        return
    made = FORMS[form](X)
    if form == "read only":
        made.flags.writeable = False
    found = minimise(objective, made, case.y)
    assert found.converged == expected.converged, found.summary()
    assert found.value == pytest.approx(expected.value, rel=1e-8)


@pytest.mark.parametrize("solver", ["auto", "newton"])
def test_a_column_that_is_constant_but_for_rounding_does_no_harm(solver: str) -> None:
    """Standardised elsewhere and constant here, it spreads by 1e-16 about a mean that is not 0."""
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 4))
    y = np.argmax(X[:, :3] + random.gumbel(size=(400, 3)), axis=1)
    X[:, 3] = (0.3 - 1e-16 * random.integers(0, 4, 400)) / 7
    objective = Objective(CrossEntropy(), L2(1e-5))
    with_it = minimise(objective, X, y, solver=solver)
    without = minimise(objective, X[:, :3], y, solver="newton")
    assert with_it.converged and len(with_it.history["value"]) < 60
    assert with_it.value == pytest.approx(without.value, rel=1e-9)


@pytest.mark.parametrize(
    "loss",
    [
        Poisson(),
        Gamma(),
        Tweedie(),
        BinaryCrossEntropy(),
        Logistic(),
        CrossEntropy(),
        LogCosh(),
        Huber(0.5),
        HuberWithScale(),
        Absolute(),
        Hinge(),
        EpsilonInsensitive(),
        Quantiles(),
        CrammerSinger(),
        WestonWatkins(),
    ],
    ids=str,
)
def test_columns_that_depend_but_for_single_precision_reach_the_optimum_of_their_span(
    loss: Loss,
) -> None:
    """Orthogonal columns that span the same are no trouble, and have the same optimum."""
    random = np.random.default_rng(3)
    X = random.normal(size=(100, 8))
    X = np.hstack([X, X @ random.normal(size=(8, 2))]).astype(np.float32)
    y = targets(loss.card.target, X[:, 0], random)
    span = 10 * np.linalg.qr(X - X.mean(axis=0, dtype=np.float64))[0]
    expected, found = judged(Objective(loss), Case(span, y)), minimise(Objective(loss), X, y)
    assert expected.converged and found.converged, found.summary()
    assert found.value == pytest.approx(expected.value, rel=1e-8)


# --- the end of Newton's method -------------------------------------------------------------------


def test_rows_on_a_tail_are_not_told_apart() -> None:
    """Where log cosh is straight, steps are long because few rows bend; there is an optimum."""
    case = data(LogCosh())
    case.y[:2] = 1e6
    assert judged(objective_of(LogCosh(), 0.0), case).converged


def test_a_last_step_that_is_long_and_exact_is_no_tail() -> None:
    case = data(Tweedie())
    case.weight = np.where(np.random.default_rng(25).random(60) < 0.5, 1.0, 0.0)
    assert judged(objective_of(Tweedie(), 0.0), case).converged


def test_weights_over_twelve_orders_of_magnitude_with_a_scale() -> None:
    """Rows that decide are few, so that the scale goes to 0: no worse than a scale held above 0."""
    case, loss = data(HuberWithScale()), HuberWithScale()
    case.weight = 10 ** np.random.default_rng(2).uniform(-6, 6, 60)
    found = judged(objective_of(loss, 0.0), case)
    held = minimise(Objective(HuberWithScale(least=1e-3)), case.X, case.y, case.weight)
    assert found.value <= held.value


# --- penalties with kinks -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [LogCosh(), Huber()], ids=str)
def test_straight_stretches_of_a_loss_do_not_certify(loss: Loss) -> None:
    """Slopes there are those of many scores, of which the certificate must find one."""
    case = data(loss)
    case.X[:2] *= 1e6
    judged(Objective(loss, L1(0.01)), case)


def test_targets_far_from_zero_leave_a_loss_straight_everywhere() -> None:
    case = data(Huber())
    case.y = 1e8 * case.y
    judged(Objective(Huber(), L1(0.01)), case)


@pytest.mark.parametrize("penalty", [L1(0.01), ElasticNet(0.01, 0.5)], ids=str)
def test_a_class_without_weight_keeps_a_finite_intercept(penalty: Penalty) -> None:
    """Once no row gives it any probability, nothing bends along its intercept."""
    case = data(Sparsemax())
    case.weight = np.where(case.y == 1, 0.0, 1.0)
    found = judged(Objective(Sparsemax(), penalty), case)
    assert np.max(np.abs(found.params["output"]["bias"])) < 1e6


@pytest.mark.parametrize("loss", [Logistic(), Exponential(), MSLE()], ids=str)
def test_groups_that_nothing_asks_for(loss: Loss) -> None:
    """All targets alike: the intercept says all, and no column takes part."""
    case = data(loss)
    case.y[:] = 1.0
    found = judged(Objective(loss, Group(0.01)), case)
    assert not found.params["output"]["kernel"].any()


@pytest.mark.parametrize("form", ["csr", "csc", "csr float32", "csc float32"])
@pytest.mark.parametrize("loss", [HalfSquared(), Logistic(), Absolute()], ids=str)
def test_a_sparse_column_far_from_zero_is_not_constant(loss: Loss, form: str) -> None:
    """Its squares hide how it spreads."""
    case = data(loss)
    case.X = np.hstack([np.round(case.X), np.full((60, 1), 0.3)])
    expected = minimise(objective_of(loss, 0.01), case.X, case.y)
    case.X[:, 0] += 1e6
    found = minimise(objective_of(loss, 0.01), FORMS[form](case.X), case.y)
    assert expected.converged and found.converged, found.summary()
    assert found.value == pytest.approx(expected.value, rel=1e-8)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_a_sparse_constant_column_of_a_million_rows_is_constant(form: str) -> None:
    """Sums of so many entries are off by more than the least that counts as a spread."""
    X = np.column_stack([np.full(1_000_003, 1e9 / 3), np.arange(1_000_003) % 7 == 0])
    assert design(FORMS[form](X)).constant.tolist() == [True, False]


def broken(objective: Objective, case: Case, solution: Solution) -> float:
    """By how much the slopes, added up in NumPy, miss the conditions of an optimum.

    In a group that is not zero they are -λ √p w / ‖w‖: what they miss counts with its length, over
    the objective. Elsewhere they are no longer than λ √p.
    """
    penalty, kernel = objective.penalty, solution.params["output"]["kernel"]
    score = case.X @ kernel + solution.params["output"]["bias"]
    score = score if objective.loss.score_axes else score[:, 0]
    slopes = objective.loss.gradient(score, case.y).reshape(len(score), -1) / len(score)
    pulled = case.X.T @ slopes + penalty.slope(kernel)
    group = getattr(penalty, "groups", ()) or range(len(kernel))
    entry = np.arange(kernel.shape[1]) if penalty.entrywise else np.zeros(kernel.shape[1], int)
    names = np.add.outer(np.asarray(group) * kernel.shape[1], entry)
    worst = float(np.max(np.abs(slopes.sum(axis=0))))
    for name in np.unique(names):
        w, slope = kernel[names == name], pulled[names == name] / penalty.corner
        root = 1.0 if penalty.entrywise else np.sqrt(len(set(np.nonzero(names == name)[0])))
        if length := float(np.linalg.norm(w)):
            miss = penalty.corner * float(slope @ w + root * length) / solution.value
        else:
            miss = max(float(np.linalg.norm(slope)) - root, 0.0)
        worst = max(worst, abs(miss))
    return worst


KINKED = [L1(0.01), ElasticNet(0.01, 0.5), Group(0.01), Group(0.01, (0, 0, 1, 1))]
each_kink = pytest.mark.parametrize("penalty", KINKED, ids=str)


@each_kink
@pytest.mark.parametrize("loss", [Logistic(), CrossEntropy(), Huber(), LogCosh()], ids=str)
def test_outlying_rows_under_a_penalty_with_kinks(loss: Loss, penalty: Penalty) -> None:
    case = data(loss)
    case.X[:2] *= 1e6
    objective = Objective(loss, penalty)
    found = minimise(objective, case.X, case.y)
    assert found.converged and broken(objective, case, found) < 1e-6, found.summary()


@each_kink
@pytest.mark.parametrize("loss", [Logistic(), CrossEntropy(), Huber(), LogCosh()], ids=str)
def test_units_between_1e_minus_8_and_1e8_under_a_penalty_with_kinks(
    loss: Loss, penalty: Penalty
) -> None:
    """A group holds columns of 1e-8 and of 1e8 alike."""
    case = data(loss)
    case.X = case.X * np.array([1e-8, 1e8, 1e3, 1e-3])
    objective = Objective(loss, penalty)
    found = minimise(objective, case.X, case.y)
    assert found.converged and broken(objective, case, found) < 1e-6, found.summary()


@each_kink
def test_residuals_far_from_zero_under_a_penalty_with_kinks(penalty: Penalty) -> None:
    """There a Huber loss is straight almost everywhere."""
    case = data(Huber())
    case.y = 1e8 * case.y
    found = minimise(Objective(Huber(1.0), penalty), case.X, case.y)
    absolute = minimise(Objective(Absolute(), penalty), case.X, case.y)
    assert found.converged and found.value == pytest.approx(absolute.value, rel=1e-7)


def test_outlying_rows_under_a_penalty_with_kinks_and_a_scale_for_all_rows() -> None:
    """SciPy minimises over the parts of w above and below 0, each with bounds."""
    case, loss = data(HuberWithScale()), HuberWithScale()
    case.X[:2] *= 1e6
    objective = Objective(loss, L1(0.01))
    found = minimise(objective, case.X, case.y)
    assert found.value <= lowest_split(objective, case) * (1 + 1e-9), found.summary()


def lowest_split(objective: Objective, case: Case) -> float:
    """The lowest objective under an L1 penalty that SciPy finds in standardised columns."""
    loss, strength = objective.loss, objective.penalty.corner
    size = case.X.std(axis=0)
    Z, share = np.column_stack([case.X / size, np.ones(len(case.y))]), 1 / len(case.y)
    p = len(size)

    def both(parts: Array) -> tuple[float, Array]:
        theta = np.append(parts[:p] - parts[p : 2 * p], parts[-1])
        given = loss.settled(Z @ theta, case.y, np.full(len(case.y), share))  # type: ignore[attr-defined]
        slopes = Z.T @ (share * given.gradient(Z @ theta, case.y))
        cost = share * np.sum(given.value(Z @ theta, case.y))
        corners = np.append(np.tile(strength / size, 2), 0.0)
        signed = np.concatenate([slopes[:p], -slopes[:p], slopes[-1:]])
        return float(cost + corners @ parts), signed + corners

    bounds = [(0, None)] * (2 * p) + [(None, None)]
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-12}
    start = np.zeros(2 * p + 1)
    end = scipy_minimise(both, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return float(end.fun)


@pytest.mark.parametrize("penalty", [L1(0.01), Group(0.01, (0, 0, 1, 1))], ids=str)
@pytest.mark.parametrize("loss", [Logistic(), CrossEntropy()], ids=str)
def test_one_class_alone_is_certified_within_what_is_left(loss: Loss, penalty: Penalty) -> None:
    """The objective falls to 0 as the intercept grows."""
    case = data(loss)
    case.y[:] = 1
    found = minimise(Objective(loss, penalty), case.X, case.y)
    assert 0 < found.value <= found.certificate.value + 1e-16 < 1e-9, found.summary()


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_sparse_data_with_more_columns_than_rows_and_several_classes(form: str) -> None:
    case, objective = data(CrossEntropy(), 12, 120), Objective(CrossEntropy(), L1(1e-6))
    expected, found = (minimise(objective, X, case.y) for X in (case.X, FORMS[form](case.X)))
    assert found.converged and found.value == pytest.approx(expected.value, rel=1e-6)


def test_columns_that_depend_do_not_grow_under_newton_cg() -> None:
    """Rounding bends the objective along sums of columns that are always 0."""
    random = np.random.default_rng(3)
    X = random.normal(size=(100, 8))
    case = Case(np.hstack([X, X @ random.normal(size=(8, 2))]), X[:, 0] + random.normal(size=100))
    found = minimise(Objective(LogCosh()), case.X, case.y, solver="newtoncg")
    expected = minimise(Objective(LogCosh()), X, case.y)
    assert found.converged and found.value == pytest.approx(expected.value, rel=1e-9)
    assert np.max(np.abs(found.params["output"]["kernel"])) < 10
