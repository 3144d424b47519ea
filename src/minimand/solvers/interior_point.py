"""A primal-dual interior point method for losses made of straight lines."""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.axes import independent
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.interior import Interior
from minimand.solvers.lines import Lines, lines_of
from minimand.solvers.problem import Objective, Problem, Shape

FIRST = 1e-4
"""The tolerance on the rows of a sample, which only tell on which side the other rows lie."""

FEWEST, LARGEST = 500, 6000
"""Rows of a sample at least; parameters that are solved for at once at most."""

ROUNDING, EXACT, ENOUGH = "numerical limits", 1e-13, 1e-5
"""What the gap may be where rounding ends the run: as a share of all there is, of the objective."""

SPARE = 100
"""What exact zeros may cost, in units of the tolerance."""


@component
class InteriorPoint(Solver):
    """Predictor-corrector steps on the optimality conditions of a piecewise linear loss.

    An example's loss is the max of ⟨d, v⟩ over d in boxes, or over all d ≥ 0 of a bounded sum, with
    v affine in its scores. The dual variables d stay inside their bounds while the complementarity
    is driven to zero. Scores that do not meet in a line are solved one after another. Where rows
    are many, a sample tells which of them lie far from their kinks; their duals are at a bound, so
    only the others take part, and every row is checked in the end.

    >>> from minimand.losses import Absolute
    >>> X, y = np.arange(5.0)[:, None], np.array([1.0, 3.0, 5.0, 7.0, 100.0])
    >>> solution = InteriorPoint().minimise(Objective(Absolute()), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [2.0]
    """

    tolerance: Positive = 1e-9
    max_iterations: Count = 100
    card = Card(
        formula="min_w max_{low ≤ d ≤ high} ⟨d, v(X w)⟩ + λ₁ ‖w‖₁ + ½ λ₂ ‖w‖²",
        source="Portnoy and Koenker (1997), The Gaussian hare and the Laplacian tortoise; "
        "Mehrotra (1992), On the implementation of a primal-dual interior point method",
        use="absolute, quantile, ε-insensitive and hinge losses, of several classes too, exactly",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must consist of lines, with a minimum that says something, and its system fit.

        Scores that do not meet in a line are solved one after another.
        """
        straight = objective.penalty.smooth or objective.penalty.entrywise
        fits = shape.parameters <= LARGEST * (shape.outputs if objective.singles else 1)
        useful = objective.polytope and straight and not objective.loss.card.zero_is_optimal
        reason = "made of straight pieces: exact steps, and a duality gap as proof"
        return reason if useful and fits else ""

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve for one score after another, or for all where they meet."""
        history, ends = History(problem, "gap"), list[_End]()
        problem, back = independent(problem)
        for one in problem.singles() or [problem]:
            if ends and not problem.warm:
                one.start = _shifted(one, ends[-1].theta.reshape(-1, 1))
            ends.append(self._alone(one, history, budget))
        worst = min(reversed(ends), key=lambda end: end.converged)
        theta = np.hstack([end.theta.reshape(problem.design.columns + 1, -1) for end in ends])
        duals = np.hstack([end.duals for end in ends])
        return Run(back(theta), worst.status, worst.converged, history, duals)

    def _alone(self, problem: Problem, history: History, budget: Budget) -> _End:
        """Solve a problem whose scores are one, or meet."""
        lines, theta = lines_of(problem), problem.start.ravel()
        if not np.all(np.isfinite(problem.design.push(problem.start))):
            problem.design.check_finite()
        end = self._near(lines, theta, problem.warm, history, budget)
        return end._replace(duals=lines.whole(end.duals))

    def _near(
        self, lines: Lines, theta: Array, warm: bool, history: History, budget: Budget
    ) -> _End:
        """Solve on the rows near their kinks, until no other row contradicts."""
        rows = len(lines.kink)
        few = max(FEWEST, int((rows * np.sqrt(lines.slopes) / 2) ** (2 / 3)))
        if 8 * few > rows:
            return self._solve(lines, theta, self.tolerance, history, budget)
        if not warm:
            sample = np.sort(np.random.default_rng(0).choice(rows, few, replace=False))
            theta = self._solve(lines.part(sample), theta, FIRST, history, budget).theta
        nearest = np.argpartition(lines.distance(lines.apart(theta)), 3 * few)[: 3 * few]
        near = _mask(nearest, rows)
        while not near.all():
            end, wrong = self._among(lines, near, theta, history, budget)
            if (end.converged and not wrong.any()) or budget.spent():
                return end
            near |= wrong
            theta = end.theta if end.converged else theta
            if not end.converged or 2 * near.sum() > rows:
                near[:] = True
        return self._solve(lines, theta, self.tolerance, history, budget)

    def _among(
        self, lines: Lines, near: Array, theta: Array, history: History, budget: Budget
    ) -> tuple[_End, Array]:
        """(the end on these rows, with the other duals as at θ; which of the others it moved)."""
        fixed = lines.bound(lines.apart(theta))
        end = self._solve(lines.part(near, fixed), theta, self.tolerance, history, budget)
        wrong = ~near & np.any(lines.bound(lines.apart(end.theta)) != fixed, axis=1)
        fixed[near] = end.duals
        return end._replace(duals=fixed), wrong

    def _solve(
        self, lines: Lines, theta: Array, tolerance: float, history: History, budget: Budget
    ) -> _End:
        """Iterate until the gap is small against the objective."""
        state, least, best = Interior(lines, theta), np.inf, None
        for iteration in range(self.max_iterations + 1):
            value, (apart, left) = state.value(), state.gap()
            gap, enough = apart + left, tolerance * max(abs(value), 1e-3 * state.size)
            history.add(value, gap, state.step)
            worse = gap > least
            if not worse:
                least, best = gap, copy(state)
            if gap <= enough:
                status = f"converged in {len(history.lines['value']) - 1} steps"
                return _End(state.rounded(SPARE * tolerance), state.duals, status, True)
            unbounded = value < -state.size  # no loss is negative: other rows must hold θ back
            spent = iteration == self.max_iterations or budget.spent()
            if unbounded or spent or (worse and apart <= enough) or not state.advance():
                break
        assert best is not None
        why = budget.reason or ROUNDING
        if iteration == self.max_iterations:
            why = f"the limit of {iteration} steps"
        status = f"ended by {why} with duality gap {least:.1e}"
        near = least <= max(ENOUGH * abs(best.value()), EXACT * best.size)
        theta = best.rounded(SPARE * tolerance)
        return _End(theta, best.duals, status, near and why == ROUNDING)


class _End(NamedTuple):
    theta: Array
    duals: Array
    status: str
    converged: bool


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
