"""Newton's method for losses whose curvature jumps from one constant to another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.losses.base import crossing
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.descent import Decrement, Exacting, descend
from minimand.solvers.exact_fit import with_scale
from minimand.solvers.linear_algebra import lifted
from minimand.solvers.problem import Objective, Point, Problem, Shape

LARGEST_SYSTEM = 2500
FEWEST = 4000
"""Rows of the sample that gives the start; it has at least 20 rows for each column."""

FIRST = 1e-4
"""The tolerance on a sample."""

LIFTS = (1e-10,), (1e-15,)

FLATTER = 0.1
"""The share of its slope at the beginning that may be left at the end of a step."""


@component
class ActiveRows(Solver):
    """Newton steps whose Hessian, the Gram matrix of the active rows, is kept up to date.

    A row is active where its loss bends. From step to step only the rows that come or go are added
    to the matrix or taken away. A step ends near the lowest point on its way; once no row comes or
    goes, it is exact. A sample of the rows gives the start where there are many.

    A scale that the loss settles for all rows together is part of the step.

    >>> from minimand.losses import Huber
    >>> X, y = np.arange(6.0)[:, None], np.array([1.0, 3.0, 5.0, 7.0, 9.0, 100.0])
    >>> solution = ActiveRows().minimise(Objective(Huber(delta=1.0)), X, y)
    >>> solution.status, solution.scores(X).round(2).tolist()
    ('converged in 3 steps', [0.6, 2.9, 5.2, 7.5, 9.8, 12.1])
    """

    tolerance: Positive = 1e-14
    max_iterations: Count = 200
    card = Card(
        formula="θ ← θ - t (Σ ℓ'' z zᵀ over rows with ℓ'' > 0)⁻¹ g, t exact",
        source="Madsen and Nielsen (1990), Finite algorithms for robust linear regression; "
        "Huber (1981), Robust Statistics, section 7.8, for the scale",
        use="Huber's loss with and without a scale, the squared hinge, expectiles and the like",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must be convex with a curvature that jumps, and its Hessian must fit."""
        card = objective.loss.card
        jumps = objective.settles or bool(objective.smooth and card.kinks)
        fits = shape.outputs == 1 and shape.parameters <= LARGEST_SYSTEM
        reason = "the curvature of a row jumps: exact steps by the rows that are active"
        return reason * bool(jumps and fits and card.convex and objective.penalty.smooth)

    def run(self, problem: Problem, budget: Budget) -> Run:
        """A rough start from a sample, then all rows."""
        start = problem.start
        few = max(FEWEST, 20 * problem.shape.columns)
        if problem.shape.rows >= 5 * few and not problem.warm:
            rows = np.sort(np.random.default_rng(0).choice(problem.shape.rows, few, replace=False))
            start = self._descend(problem.part(rows), start, FIRST, budget).theta
        return self._descend(problem, start, self.tolerance, budget)

    def _descend(self, problem: Problem, start: Array, tolerance: float, budget: Budget) -> Run:
        """Newton's method."""
        history = History(problem)

        def solve(eased: Problem, start: Array) -> tuple[Run, bool]:
            direction = ActiveGram(eased)
            run = descend(
                eased,
                direction,
                search=Exact(),
                stop=Decrement(tolerance),
                max_iterations=self.max_iterations,
                budget=budget,
                start=eased.at(start),
                history=history,
            )
            return run, direction.free

        if problem.objective.settles:
            return with_scale(problem, start, solve, budget)
        return solve(problem, start)[0]


class ActiveGram(Exacting):
    """-H⁻¹ g, with the Gram matrix of the active rows from the step before.

    Rows bend by `level` times a pattern that is 0 or 1 for most losses: the pattern changes in a
    few rows, the level with the scale.
    """

    def __init__(self, problem: Problem):
        super().__init__(problem, LIFTS)
        rows, size = problem.shape.rows, problem.shape.columns + 1
        self.pattern, self.gram = np.zeros(rows), np.zeros((size, size))
        self.free = False

    def solved(self, point: Point, lift: float) -> Array:
        """The Newton step, with a little added to the diagonal."""
        problem = self.problem
        loss = point.loss or problem.loss
        bends = loss.curvature(point.scores, problem.y)
        level = float(bends.max()) or 1.0
        self._update(problem.weight * (bends / level))
        hessian = level * self.gram
        np.einsum("ii->i", hessian)[:-1] += problem.penalty.bend()
        hessian[-1, -1] += not problem.objective.intercept
        solve = lifted(hessian, lift)
        step = -solve(point.gradient[:, 0])
        self.free = problem.free_scale(loss)
        if self.free:
            pull = problem.weight * bends * (point.scores - problem.y)
            twist = float(pull @ (point.scores - problem.y))
            tilt = problem.design.pull(pull[:, None])[:, 0]
            along = solve(tilt)
            left = twist - float(tilt @ along)
            step += along * (float(tilt @ step) / max(left, 1e-6 * twist))
        return step[:, None]

    def _update(self, pattern: Array) -> None:
        """The Gram matrix of these bends: from the one before, or anew where that is less work."""
        design, change = self.problem.design, pattern - self.pattern
        if np.count_nonzero(change) <= np.count_nonzero(pattern):
            self.gram = self.gram + design.gathered(change)
        else:
            self.gram = design.gathered(pattern)
        self.pattern = pattern


class Exact:
    """To the lowest point along the step, but for a small part of the slope at its beginning.

    Scores are affine in the step, so that looking for it reads no data.
    """

    def __call__(self, problem: Problem, point: Point, step: Array) -> tuple[Point | None, float]:
        """The point where the slope along the step is small."""
        promised = float(np.vdot(point.gradient, step))
        if not promised < 0:
            return None, 0.0
        ahead = problem.at(point.theta + step)
        share, slope = 1.0, float(np.vdot(ahead.gradient, step))
        if abs(slope) > FLATTER * -promised:
            low, high = (0.0, 1.0) if slope > 0 else (1.0, np.inf)
            guess = promised / min(promised - slope, 0.5 * promised)
            rise = _rise(problem, point, ahead)
            share = crossing(rise, low, high, guess, FLATTER * -promised)
            ahead = problem.between(point, ahead, share)
        rounding = 4 * np.finfo(float).eps * abs(point.value)
        return (ahead, share) if ahead.value <= point.value + rounding else (None, 0.0)


def _rise(problem: Problem, old: Point, new: Point) -> Callable[[float], tuple[float, float]]:
    """share ↦ (slope, curvature) of the objective on the way from one point to another."""
    far, kernel = (new.scores - old.scores), (new.theta - old.theta)[:-1]

    def rise(share: float) -> tuple[float, float]:
        scores = old.scores + share * far
        loss = problem.row_loss(scores, problem.y, problem.weight)
        slopes, bends = loss.gradient(scores, problem.y), loss.curvature(scores, problem.y)
        here = problem.penalty.slope(old.theta[:-1] + share * kernel)
        slope = float((problem.weight * slopes) @ far + np.vdot(here, kernel))
        bends = problem.weight * bends
        bend = float(bends @ (far * far) + problem.penalty.bend() * np.vdot(kernel, kernel))
        if problem.free_scale(loss):
            r = scores - problem.y
            bend -= float(bends @ (r * far)) ** 2 / float(bends @ (r * r))
        return slope, bend

    return rise
