"""A primal-dual interior point method for losses made of straight lines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.axes import independent
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.linear_algebra import factorise
from minimand.solvers.problem import Objective, Problem, Shape

FIRST = 1e-4
"""The tolerance on the rows of a sample, which only tell on which side the other rows lie."""

FEWEST = 500
ROUNDING, EXACT = "numerical limits", 1e-13
SPARE = 100
"""What exact zeros may cost, in units of the tolerance."""


@component
class InteriorPoint(Solver):
    """Predictor-corrector steps on the optimality conditions of a piecewise linear loss.

    Every part of an example's loss is the max over d in [low, high] of d (score - kink). The dual
    variables d stay inside their boxes while the complementarity is driven to zero. Where rows are
    many, a sample tells which of them lie far from their kinks; their duals are at a bound, so only
    the others take part, and every row is checked in the end.

    >>> from minimand.losses import Absolute
    >>> X, y = np.arange(5.0)[:, None], np.array([1.0, 3.0, 5.0, 7.0, 100.0])
    >>> solution = InteriorPoint().minimise(Objective(Absolute()), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [2.0]
    """

    tolerance: Positive = 1e-9
    max_iterations: Count = 100
    card = Card(
        formula="min_w max_{low ≤ d ≤ high} dᵀ(X w - kink) + ½ λ ‖w‖²",
        source="Portnoy and Koenker (1997), The Gaussian hare and the Laplacian tortoise; "
        "Mehrotra (1992), On the implementation of a primal-dual interior point method",
        use="absolute, quantile, ε-insensitive and hinge losses, exactly",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must consist of lines, with a minimum that says something."""
        useful = bool(objective.singles) and not objective.loss.card.zero_is_optimal
        return "made of straight pieces: exact steps, and a duality gap as proof" * useful

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve for one score after another."""
        history, ends = History(problem, "gap"), list[_End]()
        problem, back = independent(problem)
        for one in problem.singles():
            if ends and not problem.warm:
                one.start = _shifted(one, ends[-1].theta)
            ends.append(self._alone(one, history, budget))
        worst = min(reversed(ends), key=lambda end: end.converged)
        theta, duals = (np.hstack([end[part] for end in ends]) for part in (0, 1))
        return Run(back(theta), worst.status, worst.converged, history, duals)

    def _alone(self, problem: Problem, history: History, budget: Budget) -> _End:
        """Solve on the rows near their kinks, until no other row contradicts."""
        lines = _lines(problem)
        if not np.all(np.isfinite(problem.design.push(problem.start))):
            problem.design.check_finite()
        rows, columns = len(lines.kink), problem.design.columns
        few = max(FEWEST, int((rows * np.sqrt(columns) / 2) ** (2 / 3)))
        if 8 * few > rows:
            return self._solve(lines, problem.start, self.tolerance, history, budget)
        theta = problem.start
        if not problem.warm:
            sample = np.sort(np.random.default_rng(0).choice(rows, few, replace=False))
            theta = self._solve(lines.part(sample), theta, FIRST, history, budget).theta
        distance = np.abs(lines.apart(theta)).min(axis=1)
        near = _mask(np.argpartition(distance, 3 * few)[: 3 * few], rows)
        while True:
            fixed = lines.bound(theta)
            some = lines if near.all() else lines.part(near, fixed)
            end = self._solve(some, theta, self.tolerance, history, budget)
            duals = fixed
            duals[near] = end.duals
            wrong = ~near & np.any(lines.bound(end.theta) != fixed, axis=1)
            if near.all() or (end.converged and not wrong.any()) or budget.spent():
                return end._replace(duals=duals)
            near |= wrong
            theta = end.theta if end.converged else theta
            if not end.converged or 2 * near.sum() > rows:
                near[:] = True

    def _solve(
        self, lines: _Lines, theta: Array, tolerance: float, history: History, budget: Budget
    ) -> _End:
        """Iterate until the gap is small against the objective."""
        state = _Interior(lines, theta)
        for iteration in range(self.max_iterations + 1):
            value, gap = state.value(), state.gap()
            history.add(value, gap, state.step)
            if gap <= tolerance * max(abs(value), 1e-3 * state.size):
                status = f"converged in {len(history.lines['value']) - 1} steps"
                return _End(state.rounded(SPARE * tolerance), state.d[: state.rows], status, True)
            unbounded = value < -state.size  # no loss is negative: other rows must hold θ back
            spent = iteration == self.max_iterations or budget.spent()
            if unbounded or spent or not state.advance():
                break
        why = budget.reason or ROUNDING
        if iteration == self.max_iterations:
            why = f"the limit of {iteration} steps"
        status = f"ended by {why} with duality gap {gap:.1e}"
        exact = why == ROUNDING and gap <= EXACT * max(abs(value), state.size)
        return _End(state.theta, state.d[: state.rows], status, exact)


class _End(NamedTuple):
    theta: Array
    duals: Array
    status: str
    converged: bool


@dataclass(frozen=True)
class _Lines:
    """Σ max(low a, high a) + ½ ridge θ² + slope θ + level, with a = Z θ - kink [m, J].

    `corner` is the slope of a penalty right of 0, for each column.
    """

    design: Any
    kink: Array
    low: Array
    high: Array
    ridge: Array
    slope: Array
    level: float
    corner: float

    def framed(self) -> _Lines:
        """The same with a penalty's corners as more lines; all of them have as many parts."""
        if not self.corner:
            return self
        design, parts = _Framed(self.design), self.kink.shape[1]
        bound = np.tile(self.corner / parts / design.size[:-1, None], parts)
        return replace(
            self,
            design=design,
            kink=np.vstack([self.kink, np.zeros_like(bound)]),
            low=np.vstack([self.low, -bound]),
            high=np.vstack([self.high, bound]),
            corner=0.0,
        )

    def value(self, theta: Array, apart: Array) -> float:
        """The objective; apart is that of the frame, too."""
        cost = float(np.sum(np.maximum(self.low * apart, self.high * apart))) + self.level
        return cost + float((0.5 * self.ridge * theta[:, 0] + self.slope) @ theta[:, 0])

    def apart(self, theta: Array) -> Array:
        """How far the score of every row lies beyond its kinks."""
        return self.design.push(theta) - self.kink

    def bound(self, theta: Array) -> Array:
        """The duals of rows that are not at a kink."""
        return np.where(self.apart(theta) > 0, self.high, self.low)

    def part(self, rows: Array, fixed: Array | None = None) -> _Lines:
        """These rows alone: as a sample of all, or with the duals of all others `fixed`."""
        share, slope, level = len(self.kink) / len(self.kink[rows]), self.slope, self.level
        if fixed is not None:
            others = np.where(rows[:, None], 0.0, fixed)
            share = 1.0
            slope = slope + self.design.pull(others.sum(axis=1)[:, None])[:, 0]
            level = level - float(np.sum(others * self.kink))
        return replace(
            self,
            design=self.design.take(rows),
            kink=self.kink[rows],
            low=share * self.low[rows],
            high=share * self.high[rows],
            slope=slope,
            level=level,
        )


class _Framed:
    """Z, and below it a row for each column, with the column's size as its only entry."""

    def __init__(self, design: Any):
        self.design, self.size, self.rows = design, design.size, design.rows

    def push(self, theta: Array) -> Array:
        """The scores, and the slopes in units of the scores, [n + p, 1]."""
        return np.vstack([self.design.push(theta), self.size[:-1, None] * theta[:-1]])

    def pull(self, values: Array) -> Array:
        """The transpose of that, [p + 1, 1]."""
        pulled: Array = self.design.pull(values[: self.rows])
        pulled[:-1] += self.size[:-1, None] * values[self.rows :]
        return pulled

    def gram(self, bends: Array) -> Array:
        """Zᵀ diag(bends) Z, and what the other rows add to its diagonal."""
        gram: Array = self.design.gram(bends[: self.rows])
        np.einsum("ii->i", gram)[:-1] += np.square(self.size[:-1]) * bends[self.rows :]
        return gram


def _lines(problem: Problem) -> _Lines:
    """The whole problem: (kinks, slopes below, slopes above) [n, J] of the J lines of the loss."""
    parts = problem.loss.pieces(problem.y.astype(float))  # type: ignore[attr-defined]
    kink, low, high = (part.reshape(len(problem.y), -1) for part in parts)
    if problem.offset is not None:
        kink = kink - problem.offset[:, None]
    weight = problem.weight[:, None]
    ridge = np.full(problem.design.columns + 1, float(problem.penalty.bend()))
    ridge[-1] = 0.0 if problem.objective.intercept else 1.0
    corner, slope = float(problem.penalty.corner), np.zeros_like(ridge)
    return _Lines(problem.design, kink, weight * low, weight * high, ridge, slope, 0.0, corner)


def _shifted(problem: Problem, theta: Array) -> Array:
    """θ with the best intercept for a problem."""
    if not problem.objective.intercept:
        return theta
    rest = problem.y - problem.design.push(theta)[:, 0]
    rest = rest if problem.offset is None else rest - problem.offset
    shifted = theta.copy()
    shifted[-1] += problem.loss.constant(rest, problem.weight)
    return shifted


def _mask(rows: Array, size: int) -> Array:
    """Rows given by number or by truth, as truth."""
    mask = np.zeros(size, dtype=bool)
    mask[rows] = True
    return mask


class _Interior:
    """Slacks u, v ≥ 0 with apart = v - u and duals low < d < high, and one step for them."""

    def __init__(self, lines: _Lines, theta: Array):
        apart = lines.apart(theta)
        room = float(max(np.mean(np.abs(apart)), 1e-6 * np.mean(np.abs(lines.kink)))) or 1.0
        self.size = room * float(np.sum(lines.high - lines.low)) / 2
        self.lines = lines = lines.framed()
        self.theta, self.rows = theta.copy(), len(apart)
        self.d = (lines.low + lines.high) / 2
        apart = lines.apart(theta)
        self.v = np.maximum(apart, 0) + room
        self.u = self.v - apart
        self.step = 0.0
        self.balance = self._pulled(self.d) + lines.ridge * theta[:, 0] + lines.slope

    def value(self) -> float:
        """The objective."""
        return self.lines.value(self.theta, self.v - self.u)

    def rounded(self, share: float) -> Array:
        """θ with exact zeros where the corners of a penalty hold it, if that costs next to nothing.

        Either a slope or what its dual lacks to a corner goes to 0.
        """
        lines, d = self.lines, self.d[self.rows :]
        if not len(d):
            return self.theta
        lacking = 1 - np.abs(d[:, 0]) / lines.high[self.rows :, 0]
        slopes = np.abs(self.v - self.u)[self.rows :, 0] / float(np.mean(self.v + self.u))
        theta = self.theta.copy()
        theta[:-1][slopes < lacking] = 0.0
        value = self.value()
        near = lines.value(theta, lines.apart(theta)) <= value + share * max(
            abs(value), 1e-3 * self.size
        )
        return theta if near else self.theta

    def gap(self) -> float:
        """The complementarity, and what is left of Zᵀ d + ridge θ + slope."""
        return self._complementarity() + float(np.abs(self.balance) @ np.abs(self.theta[:, 0]))

    def advance(self) -> bool:
        """One predictor-corrector step; False when rounding leaves no room for one."""
        s, r = self.d - self.lines.low, self.lines.high - self.d
        if min(s.min(), r.min(), self.u.min(), self.v.min()) <= 0:
            return False
        us, vr = self.u / s, self.v / r
        pull = 1 / (us + vr)
        matrix = self.lines.design.gram(pull.sum(axis=1))
        np.einsum("ii->i", matrix)[...] += self.lines.ridge
        try:
            solve = factorise(matrix, 1e-13)
        except (scipy.linalg.LinAlgError, ValueError):
            return False

        def direction(du0: Array, dv0: Array) -> tuple[Array, Array, Array, Array]:
            """The step after which u is u + du0 and v is v + dv0 as far as d allows."""
            force = dv0 - du0
            d_theta = -solve(self.balance - self._pulled(pull * force))[:, None]
            dd = pull * (self.lines.design.push(d_theta) - force)
            return d_theta, dd, du0 - us * dd, dv0 + vr * dd

        mu = self._complementarity() / (2 * self.d.size)
        _, dd, du, dv = direction(-self.u, -self.v)
        dual, primal = self._longest(dd, du, dv, s, r, 1.0)
        after = np.sum((s + dual * dd) * (self.u + primal * du))
        after += np.sum((r - dual * dd) * (self.v + primal * dv))
        target = mu * (after / (2 * self.d.size * mu)) ** 3
        d_theta, dd, du, dv = direction(
            (target - dd * du) / s - self.u, (target + dd * dv) / r - self.v
        )
        dual, primal = self._longest(dd, du, dv, s, r, 0.9995)
        self.theta = self.theta + primal * d_theta
        self.d, self.u, self.v = self.d + dual * dd, self.u + primal * du, self.v + primal * dv
        self.balance = (1 - dual) * self.balance
        self.step = min(dual, primal)
        return self.step > 1e-10

    def _complementarity(self) -> float:
        """Σ (d - low) u + (high - d) v, which every step drives to zero."""
        lines = self.lines
        return float(np.vdot(self.d - lines.low, self.u) + np.vdot(lines.high - self.d, self.v))

    def _pulled(self, values: Array) -> Array:
        """Zᵀ of values summed over the parts."""
        return self.lines.design.pull(values.sum(axis=1)[:, None])[:, 0]

    def _longest(
        self, dd: Array, du: Array, dv: Array, s: Array, r: Array, near: float
    ) -> tuple[float, float]:
        """The longest steps (of d, of the rest), at most 1, that keep everything positive.

        A ridge ties d to θ, so then both are the same.
        """
        dual = _room(((s, dd), (r, -dd)), near)
        primal = _room(((self.u, du), (self.v, dv)), near)
        if np.any(self.lines.ridge[:-1]):
            dual = primal = min(dual, primal)
        return dual, primal


def _room(pairs: tuple[tuple[Array, Array], ...], near: float) -> float:
    """The longest step t ≤ 1 with x + t dx ≥ 0, `near` the whole way, for all pairs (x, dx)."""
    steepest = max(float(np.max(-dx / x)) for x, dx in pairs)
    return min(1.0, near / steepest) if steepest > 0 else 1.0
