"""Accelerated proximal gradient steps, for penalties with a kink at zero."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import Objective, Problem, Solution, Solver, record


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

    def suits(self, objective: Objective, columns: int, outputs: int) -> str:
        """The loss must be smooth; the penalty need not be."""
        return "the penalty has a kink at zero, which its proximal map handles" * objective.smooth

    def run(self, problem: Problem, budget: Budget) -> Solution:
        """Gradient step on the smooth part, proximal step on the penalty."""
        theta = ahead = problem.initial()
        history: dict[str, list[float]] = {"iteration": [], "value": [], "gradient_norm": []}
        step, momentum = 1.0, 1.0
        for iteration in range(self.max_iterations + 1):
            norm = problem.stationarity(theta)
            record(history, iteration, problem.value(theta), norm)
            if norm <= self.tolerance:
                return problem.solution(theta, f"converged in {iteration} steps", True, history)
            if iteration == self.max_iterations or budget.spent():
                break
            moved, step = self._step(problem, ahead, step)
            if np.sum((ahead - moved) * (moved - theta)) > 0:
                momentum = 1.0
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = moved + (momentum - 1) / following * (moved - theta)
            theta, momentum = moved, following
        why = budget.reason or f"the limit of {self.max_iterations} steps"
        status = f"ended by {why} with scaled gradient {norm:.1e}"
        return problem.solution(theta, status, False, history)

    def _step(self, problem: Problem, ahead: Array, step: float) -> tuple[Array, float]:
        """A proximal step short enough that the quadratic model lies above the smooth part."""
        gradient, cost = problem.cost_gradient(ahead), problem.cost(ahead)
        step *= 1.5
        while True:
            moved = ahead - step * gradient
            moved[:-1] = problem.penalty.prox(moved[:-1], step)
            change = moved - ahead
            model = cost + np.sum(gradient * change) + np.sum(change**2) / (2 * step)
            if problem.cost(moved) <= model + 1e-12 * abs(cost) or step < 1e-20:
                return moved, step
            step /= 2
