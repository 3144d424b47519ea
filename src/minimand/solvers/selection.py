"""Which solver, and why."""

from __future__ import annotations

from minimand.errors import ArgumentError
from minimand.solvers.base import Objective, Solver
from minimand.solvers.gradient_descent import GradientDescent
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.newton import Newton
from minimand.solvers.normal_equations import NormalEquations
from minimand.solvers.proximal_gradient import ProximalGradient

IN_ORDER = (NormalEquations(), InteriorPoint(), Newton(), GradientDescent(), ProximalGradient())


def select(objective: Objective, columns: int, outputs: int = 1) -> tuple[Solver, str]:
    """The first solver that suits the objective, with the reason.

    Raises:
        ArgumentError: no solver suits; the text says what to do.

    >>> from minimand.losses import Squared
    >>> select(Objective(Squared()), columns=10)[0]
    NormalEquations()
    """
    objective.loss.check_minimisable()
    name = type(objective.loss).__name__
    if objective.loss.card.zero_is_optimal:
        raise ArgumentError(
            f"{name} is minimised by the score 0 everywhere, so an exact linear fit says nothing; "
            f"train it by stochastic steps (a recipe) or choose another loss"
        )
    if not objective.loss.by_row:
        raise ArgumentError(
            f"{name} takes more than one score or target for a row, or whole sets of rows; "
            f"train it by a recipe"
        )
    for solver in IN_ORDER:
        if reason := solver.suits(objective, columns, outputs):
            return solver, reason
    raise ArgumentError(
        f"no solver handles {name} with {objective.penalty}; use an L2 penalty or a smooth loss"
    )
