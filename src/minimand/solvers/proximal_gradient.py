"""Accelerated proximal gradient steps, for penalties with a kink at zero."""

from __future__ import annotations

import numpy as np

from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.problem import Objective, Point, Problem, Shape


@component
class ProximalGradient(Solver):
    """FISTA with back-tracking and restarts: smooth loss, any penalty with a proximal map.

    >>> from minimand.losses import Squared
    >>> from minimand.penalties import L1
    >>> X, y = np.array([[-1.0, 0.1], [0.0, -0.2], [1.0, 0.1]]), np.array([1.0, 3.0, 5.0])
    >>> solution = ProximalGradient().minimise(Objective(Squared(), L1(0.5)), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [1.625, 0.0]
    """

    tolerance: Positive = 1e-8
    max_iterations: Count = 10000
    card = Card(
        formula="θ ← prox(v - t g(v), t), v extrapolated",
        source="Beck and Teboulle (2009), A fast iterative shrinkage-thresholding algorithm; "
        "O'Donoghue and Candès (2015), Adaptive restart",
        use="L1 and elastic-net penalties",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must be smooth; the penalty need not be."""
        return "the penalty has a kink at zero, which its proximal map handles" * objective.smooth

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Gradient step on the smooth part, proximal step on the penalty."""
        point = ahead = problem.at(problem.start)
        if not np.all(np.isfinite(point.gradient)):
            problem.design.check_finite()
        history, step, momentum = History(problem), 1.0, 1.0
        for iteration in range(self.max_iterations + 1):
            norm = problem.stationarity(point)
            history.add(point.value, norm, step)
            if norm <= self.tolerance:
                return Run(point.theta, f"converged in {iteration} steps", True, history)
            if iteration == self.max_iterations or budget.spent():
                break
            moved, step = _step(problem, ahead, 1.5 * step)
            if np.sum((ahead.theta - moved.theta) * (moved.theta - point.theta)) > 0:
                momentum = 1.0
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            beyond = 1 + (momentum - 1) / following
            ahead = problem.between(point, moved, beyond) if beyond > 1 else moved
            point, momentum = moved, following
        why = budget.reason or f"the limit of {self.max_iterations} steps"
        status = f"ended by {why} with scaled gradient {norm:.1e}"
        return Run(point.theta, status, False, history)


def _step(problem: Problem, ahead: Point, step: float) -> tuple[Point, float]:
    """A proximal step short enough that the quadratic model lies above the cost."""
    gradient = ahead.gradient.copy()
    gradient[:-1] -= problem.penalty.slope(ahead.theta[:-1])
    while True:
        theta = ahead.theta - step * gradient
        theta[:-1] = problem.penalty.prox(theta[:-1], step)
        moved = problem.at(theta)
        change = theta - ahead.theta
        model = ahead.cost + np.sum(gradient * change) + np.sum(change**2) / (2 * step)
        if moved.cost <= model + 1e-12 * abs(ahead.cost) or step < 1e-20:
            return moved, step
        step /= 2
