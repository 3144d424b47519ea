"""Newton's method."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import Objective, Problem, Solution, Solver, descend, factorise

LARGEST_SYSTEM = 2500
NO_OPTIMUM = (
    "the objective has no minimum: it falls for ever as the scores of some rows grow, because "
    "they are told apart perfectly; add an L2 penalty, or rows of another class"
)


@component
class Newton(Solver):
    """Newton's method with Armijo back-tracking; a few steps, whatever the scale of the columns.

    >>> from minimand.losses import Logistic
    >>> from minimand.penalties import L2
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([-1.0, 1.0, -1.0, 1.0])
    >>> Newton().minimise(Objective(Logistic(), L2(0.1)), X, y).status
    'converged in 4 steps'
    """

    tolerance: Positive = 1e-9
    max_iterations: Count = 100
    card = Card(
        formula="θ ← θ - t H⁻¹ g",
        source="Nocedal and Wright (2006), Numerical Optimization, section 3.3",
        use="smooth convex losses with up to a few thousand parameters",
    )

    def suits(self, objective: Objective, columns: int, outputs: int) -> str:
        """The loss must be smooth and convex, and its Hessian must fit."""
        curved = objective.smooth and objective.loss.card.convex and objective.penalty.smooth
        size = (columns + 1) * outputs
        reason = f"smooth and convex with {size} parameters: a few steps with the exact Hessian"
        return reason if curved and size <= LARGEST_SYSTEM else ""

    def run(self, problem: Problem, budget: Budget) -> Solution:
        """Solve H d = -g at every step."""

        def direction(theta: Array, gradient: Array) -> Array:
            hessian, lift = problem.hessian(theta), 1e-10
            while True:
                try:
                    solve = factorise(hessian, lift)
                    return -solve(gradient.ravel()).reshape(theta.shape)
                except scipy.linalg.LinAlgError:
                    lift *= 100

        theta, status, converged, history = descend(
            problem,
            direction,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            budget=budget,
        )
        if converged and _still_moving(problem, theta, direction(theta, problem.gradient(theta))):
            status, converged = NO_OPTIMUM, False
        return problem.solution(theta, status, converged, history)


def _still_moving(problem: Problem, theta: Array, step: Array) -> bool:
    """Whether a small gradient hides a long step: on an exponential tail every step is about 1."""
    scores, move = problem.scores(theta), problem.scores(step)
    return bool(np.max(np.abs(move)) > 0.001 * (1 + np.max(np.abs(scores))))
