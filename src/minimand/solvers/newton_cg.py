"""Newton's method without a Hessian: steps by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import Run, Solver
from minimand.solvers.descent import Armijo, Decrement, Direction, descend
from minimand.solvers.newton import settled
from minimand.solvers.polish import conjugate_gradient
from minimand.solvers.preconditioner import Diagonal
from minimand.solvers.problem import Objective, Point, Problem, Shape

LOOSEST = 0.1
MOST_PRODUCTS = 500


@component
class NewtonCG(Solver):
    """Newton's method for very many columns: a product with the Hessian reads the data once.

    >>> from minimand.losses import Logistic
    >>> from minimand.penalties import L2
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([-1.0, 1.0, -1.0, 1.0])
    >>> NewtonCG().minimise(Objective(Logistic(), L2(0.1)), X, y).converged
    True
    """

    tolerance: Positive = 1e-9
    max_iterations: Count = 100
    card = Card(
        formula="θ ← θ - t d, H d ≈ g by conjugate gradients",
        source="Dembo and Steihaug (1983), Truncated-Newton algorithms for large-scale "
        "unconstrained optimization",
        use="smooth convex losses with many thousands of columns",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The objective must be smooth and convex."""
        curved = objective.smooth and objective.loss.card.convex and objective.penalty.smooth
        reason = f"smooth and convex, with {shape.columns} columns: too many for a Gram matrix"
        return reason if curved else ""

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve H d = -g the better, the nearer the optimum is."""
        direction = Truncated(problem)
        run = descend(
            problem,
            direction,
            search=Armijo(),
            stop=Decrement(self.tolerance),
            max_iterations=self.max_iterations,
            budget=budget,
        )
        return settled(problem, run, direction.step)


class Truncated(Direction):
    """-H⁻¹ g by conjugate gradients (Nocedal and Wright, 2006, algorithm 7.1)."""

    step: Array

    def __init__(self, problem: Problem):
        self.problem = problem
        self.first = 0.0

    def __call__(self, point: Point) -> Array:
        """The step, as exact as the gradient is small."""
        inverse = Diagonal(self.problem, point)
        size = float(np.vdot(point.gradient, inverse(point.gradient)))
        self.first = max(self.first, size)
        share = min(LOOSEST, np.sqrt(size / (self.first or 1.0))) ** 2
        self.step, _ = conjugate_gradient(
            self._hessian(point), -point.gradient, inverse, share=share, most=MOST_PRODUCTS
        )
        return self.step

    def _hessian(self, point: Point) -> Callable[[Array], Array]:
        """v ↦ H v."""
        problem = self.problem
        bends = problem.bends(problem.columns(point.scores))

        def product(v: Array) -> Array:
            found = problem.design.sweep(
                v, lambda rows, scores: np.einsum("nab,nb->na", bends[rows], scores)
            )
            found[:-1] += problem.penalty.bend() * v[:-1]
            return found

        return product
