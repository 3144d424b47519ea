"""Gradient descent."""

from __future__ import annotations

from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import Objective, Problem, Solution, Solver, descend


@component
class GradientDescent(Solver):
    """Full-batch gradient descent with Armijo back-tracking: the textbook's plain method.

    >>> import numpy as np
    >>> from minimand.losses import Squared
    >>> X, y = np.array([[-1.0], [0.0], [1.0]]), np.array([1.0, 3.0, 5.0])
    >>> solution = GradientDescent().minimise(Objective(Squared()), X, y)
    >>> solution.params["output"]["kernel"].round(6)
    array([[2.]])
    """

    tolerance: Positive = 1e-8
    max_iterations: Count = 5000
    card = Card(
        formula="θ ← θ - t g",
        source="Cauchy (1847); Armijo (1966), Minimization of functions having Lipschitz "
        "continuous first partial derivatives",
        use="smooth losses with too many parameters for a Hessian",
    )

    def suits(self, objective: Objective, columns: int, outputs: int) -> str:
        """The objective must be smooth."""
        if not (objective.smooth and objective.penalty.smooth):
            return ""
        if not objective.loss.card.convex:
            return "smooth but not convex: down to a stationary point near the best constant"
        return "smooth, with too many parameters for a Hessian"

    def run(self, problem: Problem, budget: Budget) -> Solution:
        """Go straight down."""
        end = descend(
            problem,
            lambda theta, gradient: -gradient,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            budget=budget,
        )
        return problem.solution(*end)
