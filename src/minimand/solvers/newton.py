"""Newton's method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.descent import Armijo, DecrementAhead, Exacting, descend
from minimand.solvers.linear_algebra import lifted
from minimand.solvers.preconditioner import precision, sample_size
from minimand.solvers.problem import Objective, Point, Problem, Shape

LARGEST_SYSTEM = 2500
FEW = 2e7
DIGITS = (np.float32, 1e-10), (np.float64, 1e-10), (np.float64, 1e-15)
"""How a Hessian is multiplied, and what is added to its diagonal: from fast to exact."""

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
    'converged in 2 steps'
    """

    tolerance: Positive = 1e-12
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

    def pays(self, shape: Shape) -> bool:
        """Whether the Hessian of all rows is cheap enough to need no other."""
        return sample_size(shape) == shape.rows and (shape.outputs == 1 or shape.work < FEW)

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve H d = -g at every step."""
        start, history = problem.at(problem.start), History(problem)
        return newton(problem, start, history, self.tolerance, self.max_iterations, budget)


def newton(
    problem: Problem,
    start: Point,
    history: History,
    tolerance: float,
    max_iterations: int,
    budget: Budget,
) -> Run:
    """Newton's method from a point, continuing a history."""
    direction = ExactHessian(problem)
    highest = max(np.abs(history.lines["value"]), default=0.0)
    run = descend(
        problem,
        direction,
        search=Armijo(),
        stop=DecrementAhead(tolerance, highest),
        max_iterations=max_iterations,
        budget=budget,
        start=start,
        history=history,
    )
    return settled(problem, run, direction.step)


class ExactHessian(Exacting):
    """-H⁻¹ g with the Hessian of all rows, at first in single precision where that will do."""

    def __init__(self, problem: Problem):
        super().__init__(problem, DIGITS if precision(problem) == np.float32 else DIGITS[1:])

    def solved(self, point: Point, dtype: Any, lift: float) -> Array:
        """The Newton step."""
        solve = lifted(self.problem.hessian(point, dtype), lift)
        step: Array = -solve(point.gradient.ravel()).reshape(point.theta.shape)
        return step


def settled(problem: Problem, run: Run, step: Array) -> Run:
    """The run, unless a small gradient hides a long step: on an exponential tail each is about 1.

    A penalty rules that out.
    """
    if not run.converged or problem.penalty.bend() > 0:
        return run
    k = problem.outputs
    both = np.abs(problem.design.push(np.hstack([step, run.theta])))
    if np.max(both[:, :k]) > 0.001 * (1 + np.max(both[:, k:])):
        return replace(run, status=NO_OPTIMUM, converged=False, ahead=None)
    return run
