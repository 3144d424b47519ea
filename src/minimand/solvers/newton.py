"""Newton's method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import Run, Solver
from minimand.solvers.descent import Armijo, Decrement, Direction, descend
from minimand.solvers.linear_algebra import lifted
from minimand.solvers.problem import Objective, Point, Problem, Shape

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
    'converged in 3 steps'
    """

    tolerance: Positive = 1e-13
    max_iterations: Count = 100
    card = Card(
        formula="θ ← θ - t H⁻¹ g",
        source="Nocedal and Wright (2006), Numerical Optimization, section 3.3",
        use="smooth convex losses with up to a few thousand parameters",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must be smooth and convex, and its Hessian must fit."""
        curved = objective.smooth and objective.loss.card.convex and objective.penalty.smooth
        size = shape.parameters
        reason = f"smooth and convex with {size} parameters: a few steps with the exact Hessian"
        return reason if curved and size <= LARGEST_SYSTEM else ""

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve H d = -g at every step."""
        direction = ExactHessian(problem)
        run = descend(
            problem,
            direction,
            search=Armijo(),
            stop=Decrement(self.tolerance),
            max_iterations=self.max_iterations,
            budget=budget,
        )
        if run.converged and problem.penalty.bend() == 0:
            point = problem.at(run.theta)
            if _still_moving(problem, point, direction(point)):
                return replace(run, status=NO_OPTIMUM, converged=False)
        return run


class ExactHessian(Direction):
    """-H⁻¹ g."""

    def __init__(self, problem: Problem):
        self.problem = problem

    def __call__(self, point: Point) -> Array:
        """The Newton step."""
        size = np.repeat(self.problem.design.size, self.problem.outputs)
        solve = lifted(self.problem.hessian(point), 1e-10, size)
        return -solve(point.gradient.ravel()).reshape(point.theta.shape)


def _still_moving(problem: Problem, point: Point, step: Array) -> bool:
    """Whether a small gradient hides a long step: on an exponential tail every step is about 1."""
    move = problem.design.push(step)
    return bool(np.max(np.abs(move)) > 0.001 * (1 + np.max(np.abs(point.scores))))
