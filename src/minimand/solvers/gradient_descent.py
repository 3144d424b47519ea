"""Gradient descent."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import Run, Solver
from minimand.solvers.descent import (
    Armijo,
    Direction,
    FullStep,
    NonMonotone,
    ScaledGradient,
    Search,
    descend,
)
from minimand.solvers.problem import Objective, Point, Problem, Shape


class Steepest(Direction):
    """Straight down by twice the rate that the last search accepted."""

    def __init__(self, rate: float = 1.0):
        self.rate = rate

    def __call__(self, point: Point) -> Array:
        """-rate · gradient."""
        return -self.rate * point.gradient

    def learn(self, old: Point, new: Point) -> None:
        """Twice the rate that was just accepted."""
        gone = np.linalg.norm(new.theta - old.theta) / np.linalg.norm(old.gradient)
        self.rate = 2.0 * float(gone)


class Constant(Steepest):
    """Straight down at one rate for ever."""

    def learn(self, old: Point, new: Point) -> None:
        """Nothing."""


class Secant(Steepest):
    """Straight down at the rate 1 / curvature that the last change of the gradient shows."""

    def learn(self, old: Point, new: Point) -> None:
        """⟨s, s⟩ / ⟨s, y⟩ of the last change s of θ and y of the gradient."""
        s, y = new.theta - old.theta, new.gradient - old.gradient
        bent = float(np.sum(s * y))
        self.rate = float(np.sum(s * s)) / bent if bent > 0 else 2 * self.rate


class FirstOrder(Solver):
    """A direction from the gradient alone and a search along it, to a small scaled gradient."""

    tolerance: Positive
    max_iterations: Count

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The objective must be smooth."""
        if not (objective.smooth and objective.penalty.smooth):
            return ""
        if not objective.loss.card.convex:
            return "smooth but not convex: down to a stationary point near the best constant"
        return "smooth, with too many parameters for a Hessian"

    def pieces(self) -> tuple[Direction, Search]:
        """The direction and the search."""
        raise NotImplementedError

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Put the pieces together."""
        direction, search = self.pieces()
        return descend(
            problem,
            direction,
            search=search,
            stop=ScaledGradient(self.tolerance),
            max_iterations=self.max_iterations,
            budget=budget,
        )


@component
class GradientDescent(FirstOrder):
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
        formula="θ ← θ - t g, t halved until the objective falls enough",
        source="Cauchy (1847); Armijo (1966), Minimization of functions having Lipschitz "
        "continuous first partial derivatives",
        use="smooth losses with too many parameters for a Hessian",
    )

    def pieces(self) -> tuple[Direction, Search]:
        return Steepest(), Armijo()


@component
class FixedStep(FirstOrder):
    """Full-batch gradient descent at one rate; it diverges if the rate exceeds 2 / L.

    >>> from minimand.losses import Squared
    >>> X, y = np.array([[-1.0], [0.0], [1.0]]), np.array([1.0, 3.0, 5.0])
    >>> FixedStep(learning_rate=0.5).minimise(Objective(Squared()), X, y).converged
    True
    """

    learning_rate: Positive = 0.1
    tolerance: Positive = 1e-8
    max_iterations: Count = 5000
    card = Card(
        formula="θ ← θ - η g",
        source="Nesterov (2018), Lectures on Convex Optimization, section 1.2.3",
        use="seeing what a step size does",
    )

    def pieces(self) -> tuple[Direction, Search]:
        return Constant(self.learning_rate), FullStep()


@component
class BarzilaiBorwein(FirstOrder):
    """Gradient descent at the rate of the last secant, under a non-monotone search.

    >>> from minimand.losses import Logistic
    >>> from minimand.penalties import L2
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([-1.0, 1.0, -1.0, 1.0])
    >>> BarzilaiBorwein().minimise(Objective(Logistic(), L2(0.1)), X, y).converged
    True
    """

    tolerance: Positive = 1e-8
    max_iterations: Count = 5000
    card = Card(
        formula="θ ← θ - ⟨s, s⟩ / ⟨s, y⟩ g",
        source="Barzilai and Borwein (1988), Two-point step size gradient methods; Raydan (1997), "
        "The Barzilai and Borwein gradient method for the large scale unconstrained problem",
        use="smooth losses with many parameters: far fewer steps than plain descent",
    )

    def pieces(self) -> tuple[Direction, Search]:
        return Secant(), NonMonotone()
