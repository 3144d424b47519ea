"""Proximal Newton steps on a working set of columns, for penalties with a kink at zero."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.penalties import Penalty
from minimand.solvers.barrier import Barrier
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.coordinate_descent import Quadratic, few, pivoted
from minimand.solvers.design import Design
from minimand.solvers.exact_fit import with_scale
from minimand.solvers.normal_equations import is_linear, unread
from minimand.solvers.polish import Polish
from minimand.solvers.problem import Objective, Point, Problem, Shape

FIRST = 100
"""The least number of columns to work with; a tenth of all if that is more."""

FLAT = 1e-3
"""Bends below this share of their mean are raised to it, so that every step is finite."""

STRAIGHT = 1e-3
"""The share of the largest bend there is that counts as one, where the loss is straight."""

CLOSE, SPARSE_CLOSE = 0.03, 1e-3
"""From this relative gap on, the zeros are believed and the rest is solved for exactly."""

MARGIN = 0.3
"""Slopes count as too steep when this share of the relative gap is missing: they still move."""

SHARE, LEAST_SHARE = 0.03, 1e-8
"""The share of the gap that may be left on the working set; less when that leads nowhere."""

STUCK = 1e-3
"""A round that earns less than this share of a gap that stays leads nowhere."""

SMALL, EXTRA = 1 << 20, 1e-2
"""Data of so few numbers are solved to a hundredth of the tolerance, which costs little."""

GROWTH, SPARSE_GROWTH = 2, 5
"""How many times as many columns as are not zero make a working set; sparse ones cost little."""

PATIENCE, DEAR = 30, 1e10
"""Rounds before exact steps behind a barrier are tried; multiplications of a Hessian from which on
they are not."""

CHEAP, NEAR = 10, 0.1
"""A working set of so small a part of the columns is solved for good, as looking at all costs more;
so are sparse columns from that relative gap on."""

SWEEPS = 20
BALANCED, BALANCING, ROUNDING = 1e-10, 5, 1e-13


@component
class ProximalNewton(Solver):
    """Coordinate descent on local quadratics, on the columns that break the optimality conditions.

    Once the gap is small the nonzero parameters are polished by Newton's method. Where rounds lead
    nowhere, as under badly scaled columns, exact steps behind a barrier end the run.

    >>> from minimand.losses import Squared
    >>> from minimand.penalties import L1
    >>> X, y = np.array([[-1.0, 0.1], [0.0, -0.2], [1.0, 0.1]]), np.array([1.0, 3.0, 5.0])
    >>> solution = ProximalNewton().minimise(Objective(Squared(), L1(0.5)), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [1.625, 0.0]
    """

    tolerance: Positive = 1e-6
    max_iterations: Count = 100
    card = Card(
        formula="d = argmin gᵀ d + ½ dᵀ H d + p(w + d), on a working set",
        source="Lee, Sun and Saunders (2014), Proximal Newton-type methods; Johnson and Guestrin "
        "(2015), Blitz: a principled meta-algorithm for scaling sparse optimization",
        use="L1, elastic-net and group penalties with a smooth convex loss",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must be smooth and convex, the penalty kinked."""
        curved = objective.smooth or objective.settles
        one = objective.penalty.entrywise or shape.outputs == 1
        reason = "smooth and convex, and most parameters may be zero: few columns at a time"
        convex = objective.loss.card.convex and not objective.penalty.smooth
        return reason if curved and one and convex else ""

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve on a working set, look at all columns, enlarge the set, until the gap is closed."""
        history = History(problem, "gap")
        one = is_linear(problem.loss) and few(problem.design) and problem.penalty.entrywise
        if one and not problem.warm and (theta := at_once(problem, history)) is not None:
            return Run(theta, "solved in one step (the signs were found)", True, history)
        if not problem.objective.settles:
            return self._rounds(problem, history, budget)

        def solve(eased: Problem, start: Array) -> tuple[Run, bool]:
            eased.start = start
            run = self._rounds(eased, history, budget)
            point = eased.at(run.theta)
            return run, point.loss is not None and eased.free_scale(point.loss)

        return with_scale(problem, problem.start, solve, budget)

    def _rounds(self, problem: Problem, history: History, budget: Budget) -> Run:
        """Rounds from the start of the problem."""
        state = Working(problem)
        small = problem.design.rows * problem.design.columns <= SMALL
        tolerance = self.tolerance * (EXTRA if small else 1.0)
        fits = Barrier().suits(problem.objective, problem.shape) and problem.shape.work < DEAR
        exact = Barrier() if fits else None
        patience = min(PATIENCE if exact else self.max_iterations, self.max_iterations)
        share, last = SHARE, (np.inf, np.inf)
        for iteration in range(self.max_iterations + 1):
            gap = state.gap()
            history.add(state.value, gap)
            left = gap / state.unit
            if left <= tolerance:
                status = f"converged in {iteration} rounds"
                return Run(state.theta, status, True, history)
            if iteration == patience or budget.spent():
                why = budget.reason or f"the limit of {patience} rounds"
                break
            stuck = gap > 0.5 * last[0] and last[1] - state.value < STUCK * gap
            share = 0.1 * share if stuck else SHARE
            if share < LEAST_SHARE:
                why = "rounding: no step lowers the objective further"
                break
            last = gap, state.value
            state.advance(gap, share, tolerance, budget)
        if exact and iteration < self.max_iterations and not budget.spent():
            run = exact.onwards(problem, state.theta, history, budget)
            return replace(run, status=f"{run.status} behind a barrier, after {iteration} more")
        near = why.startswith("rounding") and left <= np.sqrt(tolerance)
        return Run(state.theta, f"ended by {why}; relative gap {left:.1e}", near, history)


def at_once(problem: Problem, history: History) -> Array | None:
    """The optimal θ of a quadratic loss with few columns, which is one `Quadratic`, if found."""
    theta, value, slopes, bends = unread(problem)
    nothing = np.zeros(problem.design.columns)
    model = Quadratic(problem.design, slopes[:, 0], bends, nothing, problem.penalty)
    matrix, linear, last = model.condensed
    if not np.all(np.isfinite(linear)):
        problem.design.check_finite()
        return None
    w = pivoted(matrix, linear, problem.penalty, nothing)
    if w is None:
        return None
    gain = float(linear @ w - 0.5 * w @ (matrix @ w) - problem.penalty.of(w))
    gain -= 0.5 * float(slopes.sum()) * last(nothing)
    history.add(value, gain, 0.0)
    history.add(value - gain, 0.0)
    theta[:-1, 0], theta[-1] = w, theta[-1] + last(w)
    return theta


class Working:
    """A point θ with its scores, and the gradient that says which columns to work with."""

    def __init__(self, problem: Problem):
        self.problem, self.penalty = problem, problem.penalty
        point = problem.at(problem.start)
        if not np.all(np.isfinite(point.gradient)):
            problem.design.check_finite()
        self.theta, self.first = point.theta.copy(), point.value
        self.polish = Polish(problem)
        self._look(point)

    @property
    def unit(self) -> float:
        """What the gap is measured against."""
        tiny = float(np.finfo(float).tiny)
        return max(abs(self.value), 1e-3 * (self.first - self.value), tiny)

    def gap(self) -> float:
        """The duality gap of the local quadratic, which is that of the objective near its optimum.

        Its duals are the slopes, scaled until they satisfy the constraints of the dual.
        """
        kernel, gradient = self.theta[:-1], self.gradient[:-1]
        slopes, bends = self.problem.slopes(self.scores), raised_bends(self.problem, self.scores)
        share = 1 / max(1.0, float(self.penalty.dual_norm(gradient)))
        bent = self.penalty.bend() * float(np.sum(kernel * kernel))
        energy = float(np.sum(slopes * slopes / bends)) + bent
        kink = float(self.penalty.of(kernel)) - 0.5 * bent
        kink += share * float(np.sum(gradient * kernel))
        last = float(np.sum(np.square(self.gradient[-1]) / bends.sum(axis=0)))
        gap: float = 0.5 * (1 - share) ** 2 * energy + max(kink, 0.0) + 0.5 * last
        return gap

    def advance(self, gap: float, share: float, tolerance: float, budget: Budget) -> None:
        """Minimise over a working set until a share of the gap is left there."""
        problem, near = self.problem, gap / self.unit
        sparse, separable = hasattr(problem.design.X, "nnz"), self.penalty.separable
        rows = self._working_set(MARGIN * min(near, 1.0))
        here = np.append(rows, -1)
        work = Work(problem, rows, self.theta[here], self.scores, self.penalty.on(rows))
        before, left = work.value, share / SHARE * tolerance * self.unit
        ended = np.inf
        if separable and (near <= (SPARSE_CLOSE if sparse else CLOSE) or share < SHARE):
            work.enter(np.flatnonzero(self._broken()[rows] > 0), share * gap, budget)
            work.polish(self.polish, left)
            ended = left
        if not work.value < before:
            cheap = CHEAP * len(rows) < problem.design.columns
            final = separable and (cheap or (sparse and near <= NEAR))
            ended = work.descend(share * gap, budget, left if final and sparse else share * gap)
            if final and ended > left:
                work.polish(self.polish, left)
                ended = left
        work.balance()
        self.theta[here] = work.theta
        if ended <= left:  # what proves it looks there again
            self._look(problem.witnessed(self.theta))
        else:
            self._look(problem.known(self.theta, work.scores))

    def _look(self, point: Point) -> None:
        """Take in what a point shows."""
        self.scores, self.value = self.problem.columns(point.scores), point.value
        self.gradient = point.gradient

    def _working_set(self, margin: float) -> Array:
        """The rows of W that are not zero, and about as many of those that should not stay zero."""
        nonzero, excess = self.theta[:-1].any(axis=1), self._broken(margin)
        growth = SPARSE_GROWTH if hasattr(self.problem.design.X, "nnz") else GROWTH
        wanted = max(FIRST, len(excess) // 10, growth * int(nonzero.sum()))
        rows = np.flatnonzero(nonzero | (excess > 0))
        if len(rows) > wanted:
            least = -excess[rows] / self.problem.design.size[rows]
            least[nonzero[rows]] = -np.inf
            rows = np.sort(rows[np.argpartition(least, wanted)[:wanted]])
        return self.penalty.together(rows)

    def _broken(self, margin: float = 0.0) -> Array:
        """By how much the slopes of zeros exceed what keeps them zero: the most in each row."""
        kernel, gradient = self.theta[:-1], self.gradient[:-1]
        excess = np.abs(self.penalty.prox(-(1 + margin) * gradient, 1.0))
        return np.where(kernel == 0, excess, 0.0).max(axis=1)


class Work:
    """The problem on m of the columns: θ [m + 1, K], and the scores of all rows."""

    def __init__(
        self, problem: Problem, columns: Array, theta: Array, scores: Array, penalty: Penalty
    ):
        self.problem, self.columns, self.penalty = problem, columns, penalty
        self.theta, self.scores = theta, scores
        self.value = self.height(theta, scores)

    @cached_property
    def part(self) -> Design:
        """The columns."""
        return self.problem.design.some(self.columns)

    def descend(self, gap: float, budget: Budget, within: float) -> float:
        """Sweep over the outputs until about a gap is left, and another inside a sweep; the sum."""
        for _ in range(SWEEPS):
            beyond, inside = self.sweep(within)
            if beyond <= gap or budget.spent():
                break
        return beyond + inside

    def enter(self, new: Array, gap: float, budget: Budget) -> None:
        """Descend in some columns alone."""
        if len(new):
            rows = np.append(new, -1)
            columns, theta = self.columns[new], self.theta[rows]
            alone = Work(self.problem, columns, theta, self.scores, self.penalty)
            alone.descend(gap, budget, gap)
            self.theta[rows], self.scores = alone.theta, alone.scores
            self.value = self.height(self.theta, self.scores)

    def polish(self, polish: Polish, gap: float) -> None:
        """Newton's method on what is not zero, until a gap is left there."""
        self.theta, self.scores = polish(self.columns, self.theta, self.scores, gap)
        self.value = self.height(self.theta, self.scores)

    def sweep(self, gap: float) -> tuple[float, float]:
        """Go down once in every output; about what is left to gain, beyond and in the quadratics.

        One output: what the quadratic did not foresee. Several: what the sweep has gained, since
        each step changes the quadratics of the other outputs.
        """
        outputs, beyond, inside = self.scores.shape[1], 0.0, 0.0
        bends = raised_bends(self.problem, self.scores)
        for k in range(outputs):
            slopes = self.problem.slopes(self.scores)[:, k]
            model = Quadratic(self.part, slopes, bends[:, k], self.theta[:-1, k], self.penalty)
            step = np.zeros_like(self.theta)
            step[:-1, k], step[-1, k], left = model.minimise(gap / outputs)
            moved = self.part.push(step)
            change = moved[:, k]
            foreseen = float(slopes @ change + 0.5 * bends[:, k] @ np.square(change))
            foreseen += float(self.penalty.of(self.theta[:-1] + step[:-1]))
            foreseen -= float(self.penalty.of(self.theta[:-1]))
            earned = self._search(step, moved, foreseen)
            beyond += abs(earned + foreseen) if outputs == 1 else earned
            inside += left
        return beyond, inside

    def balance(self) -> None:
        """Shift the intercepts until the slopes of every output sum to 0."""
        if not self.problem.objective.intercept:
            return
        for _ in range(BALANCING):
            slopes = self.problem.slopes(self.scores)
            if np.all(np.abs(slopes.sum(axis=0)) <= BALANCED * np.abs(slopes).sum(axis=0)):
                break
            bend = self.problem.bends(self.scores).sum(axis=0)
            step = np.zeros_like(self.theta)
            step[-1] = -np.linalg.lstsq(bend, slopes.sum(axis=0))[0]
            if not self._search(step, np.zeros_like(self.scores) + step[-1], 0.0):
                break

    def _search(self, step: Array, moved: Array, foreseen: float) -> float:
        """Go the step, halved until it earns a share of the decrease; what it has earned."""
        share, rounding = 1.0, ROUNDING * abs(self.value)
        while share > 1e-6:
            theta, scores = self.theta + share * step, self.scores + share * moved
            with np.errstate(over="ignore", invalid="ignore"):
                value = self.height(theta, scores)
            if value <= self.value + 1e-4 * share * min(foreseen, 0.0) + rounding:
                earned, self.value = self.value - value, value
                self.theta, self.scores = theta, scores
                return earned
            share /= 2
        return 0.0

    def height(self, theta: Array, scores: Array) -> float:
        """The objective."""
        return self.problem.cost(scores) + float(self.penalty.of(theta[:-1]))


def raised_bends(problem: Problem, scores: Array) -> Array:
    """The curvature of every row in every output alone, [n, K], kept away from 0."""
    bends = np.einsum("nkk->nk", problem.bends(scores))
    level = bends.mean(axis=0)
    steepest = max(level.max(), STRAIGHT * (problem.loss.fact("curvature") or 0.0) / len(bends))
    least = FLAT * np.maximum(level, FLAT * steepest)
    least = least * (problem.weight / problem.weight.mean())[:, None]
    return np.maximum(bends, np.maximum(least, np.finfo(float).tiny))
