"""Evidence that a point is optimal, measured from the data and not taken from the solver.

The objective is P(W, b) = Σ sᵢ ℓ(zᵢ) + p(W) with z = X W + b. Any duals α [n, K] with Σ α = 0 (when
there is an intercept) give a lower bound of it, so P is within

    Σ (sᵢ ℓ(zᵢ) + sᵢ ℓ*(αᵢ / sᵢ) - αᵢ zᵢ) + p(W) + p*(-Xᵀ α) + ⟨W, Xᵀ α⟩

of the optimum (Fenchel; Rockafellar, 1970, Convex Analysis, section 31). Duals that are slopes at
some scores u need no conjugate: the first sum is Σ sᵢ (ℓ(zᵢ) - ℓ(uᵢ) - ℓ'(uᵢ) (zᵢ - uᵢ)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtri

from minimand.arrays import Array
from minimand.losses import (
    BinaryCrossEntropy,
    Gamma,
    HalfSquared,
    Logistic,
    Poisson,
    Squared,
    Tweedie,
)
from minimand.solvers.axes import even_axes
from minimand.solvers.problem import Point, Problem

BALANCED = 1e-10
"""Slopes count as summing to 0 when their sum is this small against what is typical."""

DOUBTFUL = 1e-2
SAMPLE = 512

TIGHT = 1e-7
"""A gap of so small a share of the objective needs no better bound."""

SQUARES = (HalfSquared, Squared)
CONCORDANT = (Logistic, BinaryCrossEntropy, Poisson, Gamma, Tweedie)
"""Losses whose third derivative is nowhere larger than the second."""

FEWEST, MOST, SHARE, PER_COLUMN, LARGEST = 250, 1000, 0.125, 5, 500
"""Rows whose curvature is formed: that share between two limits, or so many a column; columns at
most."""

ROUNDING = 1e-13

STRAIGHT = 1e-100
"""Rows that bend less are looked at between bounds."""

SAME, BRACKETS = 1e-12, 60
"""How far slopes that count as the wanted ones may lie off; doublings and halvings of a bracket."""


@dataclass(frozen=True)
class Certificate:
    """How near to the optimum the parameters are.

    A "duality gap" or "curvature bound" is the most that is left to gain; a "gradient norm" is 0 at
    the optimum.
    """

    kind: str
    value: float
    sentence: str

    def near(self, optimum: float) -> bool:
        """Whether a solver that calls itself converged is believed."""
        return self.value <= DOUBTFUL * (1 if self.kind == "gradient norm" else abs(optimum) + 1)


def certify(problem: Problem, theta: Array, duals: Array | None) -> tuple[float, Certificate]:
    """(the objective at θ, the evidence for θ), from the data and θ alone."""
    point = problem.witnessed(theta)
    if not np.all(np.isfinite(point.gradient)):
        problem.design.check_finite()
    gap = np.inf
    if duals is not None:
        gap = piecewise_gap(problem, point, duals)
    elif problem.loss.card.convex and (problem.objective.smooth or problem.objective.settles):
        gap = smooth_gap(problem, point) + _held_back(problem, point)
    kind = "duality gap"
    if gap > TIGHT * abs(point.value) and (bound := curvature_bound(problem, point)) < gap:
        gap, kind = bound, "curvature bound"
    if np.isfinite(gap):
        return point.value, gap_certificate(gap, point.value, kind)
    size = problem.stationarity(point)
    sentence = f"the largest scaled entry of the gradient is {size:.1e} (0 at the optimum)"
    return point.value, Certificate("gradient norm", size, sentence)


def _held_back(problem: Problem, point: Point) -> float:
    """How much lower the objective could be if the least scale were 0, at most."""
    if not problem.objective.settles:
        return 0.0
    free = point.loss is not None and problem.free_scale(point.loss)
    return 0.0 if free else float(problem.loss.least)  # type: ignore[attr-defined]


def gap_certificate(gap: float, value: float, kind: str = "duality gap") -> Certificate:
    """The most that is left to gain, in words."""
    share = f" ({gap / abs(value):.0e} of it)" if value else ""
    return Certificate(kind, gap, f"within {gap:.1e} of the optimum{share}, by the {kind}")


def smooth_gap(problem: Problem, point: Point) -> float:
    """The gap with the slopes of the loss as duals; infinite where no penalty bounds them."""
    if problem.penalty.smooth and not problem.penalty.bend() > 0:
        return np.inf
    kernel, z = point.theta[:-1], problem.columns(point.scores)
    u, pulled = z, point.gradient.copy()
    pulled[:-1] -= problem.penalty.slope(kernel)
    if np.any(np.abs(pulled[-1]) > BALANCED * problem.typical):
        u, cost, slopes = balanced(problem, z, pulled[-1])
        pulled = problem.design.pull(slopes)
        if np.any(np.abs(pulled[-1]) > BALANCED * problem.typical):
            return np.inf
    share = 1.0
    if np.isinf(problem.penalty.conjugate(-pulled[:-1])):
        if problem.outputs > 1:
            return np.inf
        share = (1 - 1e-12) / float(problem.penalty.dual_norm(pulled[:-1]))
        if not problem.objective.settles:
            u = _shrunk(problem, u, share)
            cost, slopes = problem.reduced(slice(None), u, problem.loss)
    apart = 0.0
    if problem.objective.settles:  # a norm of the residuals: any share of its slopes will do
        if u is z:
            slopes = problem.reduced(slice(None), z, point.loss or problem.loss)[1]
        apart = max(point.cost - share * float(np.sum(slopes * (z - problem.y[:, None]))), 0.0)
    elif u is not z:  # Σ s (ℓ(z) - ℓ(u)) - α (z - u), which is never negative
        apart = max(point.cost - cost - float(np.sum(slopes * (z - u))), 0.0)
    unbalanced = np.maximum(np.abs(pulled[-1]) - np.finfo(float).eps * problem.typical, 0.0)
    loose = float(unbalanced @ (1 + np.abs(z).max(axis=0)))
    return apart + loose + _penalty_gap(problem, kernel, share * pulled[:-1])


def curvature_bound(problem: Problem, point: Point) -> float:
    """The most that is left to gain, by the gradient g and by how some of the rows bend.

    Where the third derivative of ℓ is at most c times the second, ℓ(z + δ) is at least
    ℓ(z) + ℓ' δ + ℓ'' δ² ψ(c |δ|), with ψ(s) = (e⁻ˢ + s - 1) / s², which falls from ½ (Bach, 2010,
    Self-concordant analysis for logistic regression, proposition 1). Let B = Σ ℓ'' z zᵀ over some
    rows, plus the curvature of the penalty, and r the largest √(zᵀ B⁻¹ z) of them. A step v with
    vᵀ B v = a² moves their scores by r a at most, and all other rows are convex; so it gains at
    most ν a - a² ψ(c r a), where ν² = gᵀ B⁻¹ g. For t = c r ν < 1 the largest gain over all a is
    (t + (1 - t) log(1 - t)) / (c r)², which is about ½ ν².
    """
    design, loss = problem.design, problem.loss
    apt = isinstance(loss, SQUARES + CONCORDANT) and problem.penalty.smooth
    if not apt or hasattr(design.X, "nnz") or design.columns > LARGEST:
        return np.inf
    shown = min(MOST, max(FEWEST, int(SHARE * design.rows)))
    shown = max(shown, PER_COLUMN * design.columns)
    some = slice(None, None, max(1, design.rows // shown))
    rows = design.dense(some)
    bends = problem.bends(problem.columns(point.scores)[some], some)[:, 0, 0]
    bent = np.sqrt(bends)[:, None] * rows
    B = bent.T @ bent
    np.einsum("ii->i", B)[:-1] += problem.penalty.bend()
    size = np.sqrt(np.where(B.diagonal() > 0, B.diagonal(), np.inf))
    B /= np.outer(size, size)
    np.einsum("ii->i", B)[...] = np.where(np.isinf(size), 1.0, 1.0 - len(B) * ROUNDING)
    factor, failed = dpotrf(B, lower=1)
    if failed:
        return np.inf
    whiten = (dtrtri(factor, lower=1)[0] / size).T
    square = float(np.sum(np.square(point.gradient[:, 0] @ whiten)))
    reach, least = 0.0, float(bends.min())
    if isinstance(loss, CONCORDANT):
        if square < 1e-6 * least:  # B holds ℓ'' z zᵀ of every row, so r² is at most 1 / ℓ''
            reach = 1 / least
        else:
            whitened = rows @ whiten
            reach = float(np.max(np.einsum("ij,ij->i", whitened, whitened)))
    t = float(np.sqrt(square * reach))
    if t < 1e-3:  # the bound over ½ ν² is 1 + t / 3 + t² / 6 + ...
        return 0.5 * square * (1 + t)
    return float((t + (1 - t) * np.log1p(-t)) / reach) if t < 1 else np.inf


def piecewise_gap(problem: Problem, point: Point, duals: Array) -> float:
    """The gap with given duals of a loss with flat pieces, brought into their polytopes.

    They are the weighted slopes [n, J] of its v. The duals of scores that stand alone are moved
    until they sum to 0. Without a penalty Xᵀ α must be 0, too: what rounding leaves of either
    counts with the size of θ, and with what moves the scores as far as they lie from their kinks.
    """
    form = problem.objective.polytope
    assert form is not None
    singles = problem.singles()
    if len(singles) > 1:
        thetas, parts = point.theta.T[:, :, None], duals.T[:, :, None]
        return sum(map(piecewise_gap, singles, map(Problem.at, singles, thetas), parts))
    y, weight = problem.y, problem.weight[:, None]
    duals = weight * form.nearest(duals / weight, y)
    if singles and problem.objective.intercept:
        low, high = form.box(y)
        duals = _level(duals, weight * low, weight * high)
    pulled = problem.design.pull(form.pulled(duals, y))
    apart = form.apart(problem.columns(point.scores), y)
    room = float(np.sum(weight * np.abs(apart)))
    kernel, against = point.theta[:-1], pulled[:-1]
    loose = float(np.sum(np.abs(pulled[-1]) * (np.abs(point.theta[-1]) + room)))
    if problem.penalty.smooth and not problem.penalty.bend() > 0:
        size = problem.design.size[:-1, None]
        along, inner = against / size, size * kernel
        if (axes := even_axes(problem)) is not None:
            along, inner = axes.T @ against, np.linalg.lstsq(axes, kernel)[0]
        loose += float(np.sum(np.abs(along) * (np.abs(inner) + room)))
        return _left(problem, point, duals, apart) + loose
    share = 1.0
    if np.isinf(problem.penalty.conjugate(-against)):
        share = (1 - 1e-12) / float(problem.penalty.dual_norm(against))
    left = _left(problem, point, share * duals, apart) + share * loose
    return left + _penalty_gap(problem, kernel, share * against)


def _left(problem: Problem, point: Point, duals: Array, apart: Array) -> float:
    """Σ s ℓ(z) - ⟨d, v⟩, which is never negative."""
    values = problem.weight * problem.loss.value(point.scores, problem.y)
    return max(float(np.sum(values - np.sum(duals * apart, axis=1))), 0.0)


def _penalty_gap(problem: Problem, kernel: Array, pulled: Array) -> float:
    """p(W) + p*(-Xᵀ α) + ⟨W, Xᵀ α⟩, which is never negative."""
    penalty = problem.penalty
    if penalty.smooth:  # of a quadratic it is a square: no cancellation
        return float(np.sum(np.square(penalty.slope(kernel) + pulled)) / (2 * penalty.bend()))
    gap = penalty.of(kernel) + penalty.conjugate(-pulled) + np.sum(kernel * pulled)
    return max(float(gap), 0.0)


def balanced(problem: Problem, z: Array, total: Array) -> tuple[Array, float, Array]:
    """(scores, cost, slopes): each output shifted by one number until its slopes sum to 0.

    `total` is the sum of those at z. A sample tells how they bend: that decides how fast, and not
    where to.
    """
    some = slice(None, None, max(1, len(z) // SAMPLE))
    bend = problem.bends(z[some], some).sum(axis=0) / problem.weight[some].sum()
    for _ in range(50):
        z = z - np.linalg.lstsq(bend, total)[0]
        loss = problem.row_loss(
            z if problem.loss.score_axes else z[:, 0], problem.y, problem.weight
        )
        cost, slopes = problem.reduced(slice(None), z, loss)
        total = slopes.sum(axis=0)
        if np.all(np.abs(total) <= BALANCED / 2 * problem.typical):
            break
    return z, cost, slopes


def _shrunk(problem: Problem, z: Array, share: float) -> Array:
    """The scores whose slopes are `share` times those at z.

    By Newton's method; row by row between bounds, where a loss is too straight for that.
    """
    wanted, u = share * problem.slopes(z), z
    for _ in range(10):
        bend = problem.bends(u)[:, :, 0]
        step = (problem.slopes(u) - wanted) / np.where(bend > STRAIGHT, bend, np.inf)
        u = u - step
        if np.max(np.abs(step)) <= 1e-12 * (1 + np.max(np.abs(u))):
            break
    off = np.abs(problem.slopes(u) - wanted)[:, 0] > SAME * np.max(np.abs(wanted))
    if np.any(off):
        u[off] = _between(problem, z, wanted, off)
    return u


def _between(problem: Problem, z: Array, wanted: Array, rows: Array) -> Array:
    """The scores of some rows with the wanted slopes, by halving, on the flatter side of z."""
    z, turn = z[rows], np.sign(wanted[rows])
    size = np.abs(wanted[rows])

    def beyond(length: Array) -> Array:
        flatter: Array = turn * problem.reduced(rows, z - turn * length, problem.loss)[1] <= size
        return flatter

    low, high = np.zeros_like(z), 1e-6 * (1 + np.abs(z))
    for _ in range(BRACKETS):
        high = np.where(beyond(high), high, 2 * high)
    for _ in range(BRACKETS):
        middle = 0.5 * (low + high)
        low, high = np.where(beyond(middle), (low, middle), (middle, high))
    return z - turn * high


def _level(duals: Array, low: Array, high: Array) -> Array:
    """Duals moved inside their boxes, by one share of the room of each, until they sum to 0."""
    total = float(duals.sum())
    room = duals - low if total > 0 else high - duals
    space = float(room.sum())
    return duals - room * (total / space) if space > abs(total) else duals
