"""L-BFGS over all rows, preconditioned by the curvature of a sample of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.descent import Armijo, Decrement, Direction, descend
from minimand.solvers.newton import Newton, newton
from minimand.solvers.preconditioner import Curvature, Diagonal, sample_size
from minimand.solvers.problem import Objective, Point, Problem, Shape

PATIENCE = 15
ROUGH, FINEST = 1e-4, 1e-14
MOST_COLUMNS = 4000


@component
class LBFGS(Solver):
    """L-BFGS that begins from the curvature of a sample of the rows, at the sample's optimum.

    Some six readings of all rows are enough, whatever the scale of the columns. Where the sample
    misleads (rare categories, outlying rows), exact Newton steps end the run; where these cannot,
    L-BFGS with renewed curvature of all rows does.

    It ends when the model of the objective promises less than `tolerance` of it; where there are
    too few rows for a sample, and steps cost little, less than `tolerance` squared.

    >>> from minimand.losses import Logistic
    >>> from minimand.penalties import L2
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([-1.0, 1.0, -1.0, 1.0])
    >>> LBFGS().minimise(Objective(Logistic(), L2(0.1)), X, y).converged
    True
    """

    tolerance: Positive = 1e-7
    max_iterations: Count = 1000
    memory: Count = 10
    card = Card(
        formula="θ ← θ - t H g, H from the last steps and the curvature of a sample of the rows",
        source="Liu and Nocedal (1989), On the limited memory BFGS method for large scale "
        "optimization; Byrd, Chin, Neveitt and Nocedal (2011), On the use of stochastic Hessian "
        "information in optimization methods for machine learning",
        use="smooth losses with many rows, or with too many parameters for a Hessian",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The objective must be smooth."""
        if not (objective.smooth and objective.penalty.smooth):
            return ""
        if not objective.loss.card.convex:
            return "smooth but not convex: down to a stationary point near the best constant"
        if sample_size(shape) < shape.rows:
            return f"smooth: a sample's curvature spares {shape.rows} rows most of the readings"
        return f"smooth, with {shape.parameters} parameters: too many for a Hessian"

    def run(self, problem: Problem, budget: Budget) -> Run:
        """A sample, then all rows, then without the sample if that was not enough."""
        sample = _sample(problem)
        start = sample.at(problem.start)
        if not np.all(np.isfinite(start.gradient)):
            problem.design.check_finite()
        inverse, go = _inverse(sample, start), partial(self._go, budget=budget)
        tolerance = self.tolerance
        if sample is problem and problem.design.columns <= MOST_COLUMNS:
            tolerance = max(tolerance**2, FINEST)
        if sample is not problem:
            rough = go(sample, start, inverse, History(sample), ROUGH)
            start = _lower(problem, problem.at(rough.theta), start.value)
            inverse = _inverse(sample, sample.at(start.theta))
        run = go(problem, start, inverse, History(problem), tolerance)
        sure = problem.penalty.bend() > 0 or inverse.determined()
        done = len(run.history.lines["value"]) > self.max_iterations or budget.spent()
        if done or (run.converged and (sure or not problem.loss.card.convex)):
            return run
        return self._rescued(problem, run, tolerance, budget)

    def _go(
        self,
        problem: Problem,
        start: Point,
        inverse: Callable[[Array], Array],
        history: History,
        tolerance: float,
        budget: Budget,
    ) -> Run:
        """For as many steps as take about the time of Newton's method."""
        patience = PATIENCE + min(problem.shape.parameters // 20, 2 * PATIENCE)
        return descend(
            problem,
            LimitedMemory(inverse, self.memory),
            search=Armijo(),
            stop=Decrement(tolerance),
            max_iterations=min(patience, self.max_iterations),
            budget=budget,
            start=start,
            history=history,
        )

    def _rescued(self, problem: Problem, run: Run, tolerance: float, budget: Budget) -> Run:
        """The run, continued without a sample: by Newton's method or with renewed curvature."""
        lines = run.history.lines["value"]
        before = len(lines) - 1
        if Newton().suits(problem.objective, problem.shape):
            exact, point = Newton(), problem.at(run.theta)
            most = self.max_iterations - before
            run = newton(problem, point, run.history, exact.tolerance, most, budget)
            return replace(run, status=f"{run.status}, by Newton's method after {before} more")
        moved = True
        while moved and len(lines) <= self.max_iterations and not budget.spent():
            point, length = problem.at(run.theta), len(lines)
            inverse = _inverse(problem, point)
            run = self._go(problem, point, inverse, run.history, tolerance, budget)
            moved = not run.converged and len(lines) > length + 1
        return replace(run, status=f"{run.status}, after {before} with another curvature")


class LimitedMemory(Direction):
    """-H g of the inverse Hessian H that the last steps show, beginning from another.

    Nocedal and Wright (2006), Numerical Optimization, algorithm 7.4.
    """

    def __init__(self, inverse: Callable[[Array], Array], memory: int):
        self.inverse = inverse
        self.pairs: deque[tuple[Array, Array, float]] = deque(maxlen=memory)

    def __call__(self, point: Point) -> Array:
        """The step."""
        q, shares = point.gradient.copy(), []
        for s, y, bent in reversed(self.pairs):
            shares.append(float(np.vdot(s, q)) / bent)
            q -= shares[-1] * y
        step = self.inverse(q)
        for s, y, bent in self.pairs:
            step += (shares.pop() - float(np.vdot(y, step)) / bent) * s
        return -step

    def learn(self, old: Point, new: Point) -> None:
        """Keep the changes of θ and of the gradient, if the objective bends upwards between."""
        s, y = new.theta - old.theta, new.gradient - old.gradient
        bent = float(np.vdot(s, y))
        if bent > 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(y)):
            self.pairs.append((s, y, bent))


def _sample(problem: Problem) -> Problem:
    """The problem of enough rows drawn at random; the problem itself if it has few."""
    rows, count = problem.design.rows, sample_size(problem.shape)
    if count == rows:
        return problem
    return problem.part(np.sort(np.random.default_rng(0).choice(rows, count, replace=False)))


def _inverse(problem: Problem, point: Point) -> Curvature | Diagonal:
    form = Curvature if problem.design.columns <= MOST_COLUMNS else Diagonal
    return form(problem, point)


def _lower(problem: Problem, found: Point, expected: float) -> Point:
    """The point found, or the start if that is lower; looked at where one may doubt it."""
    if found.value <= expected and not problem.warm:
        return found
    start = problem.at(problem.start)
    return found if found.value <= start.value else start
