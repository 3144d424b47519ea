"""Which solver, and why."""

from __future__ import annotations

from typing import Any

from minimand.budget import Budget
from minimand.errors import ArgumentError
from minimand.solvers.active_rows import ActiveRows
from minimand.solvers.barrier import Barrier
from minimand.solvers.base import Solution, Solver
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.lbfgs import LBFGS
from minimand.solvers.newton import Newton
from minimand.solvers.normal_equations import NormalEquations
from minimand.solvers.problem import Objective, Problem, Shape
from minimand.solvers.proximal_gradient import ProximalGradient
from minimand.solvers.proximal_newton import ProximalNewton
from minimand.solvers.row_space import RowSpace
from minimand.solvers.smoothing import Smoothing

IN_ORDER = (
    NormalEquations(),
    RowSpace(),
    InteriorPoint(),
    Smoothing(),
    ActiveRows(),
    Newton(),
    LBFGS(),
    ProximalNewton(),
    Barrier(),
    ProximalGradient(),
)


def select(objective: Objective, shape: Shape) -> tuple[Solver, str]:
    """The first solver that suits the objective, with the reason.

    Raises:
        ArgumentError: no solver suits; the text says what to do.

    >>> from minimand.losses import Squared
    >>> select(Objective(Squared()), Shape(rows=100, columns=10))[0]
    NormalEquations()
    """
    objective.loss.check_minimisable()
    name = type(objective.loss).__name__
    if objective.loss.card.zero_is_optimal:
        raise ArgumentError(
            f"{name} is minimised by the score 0 everywhere, so an exact linear fit says nothing; "
            f"train it by stochastic steps (a recipe) or choose another loss"
        )
    if not objective.solvable:
        raise ArgumentError(
            f"{name} takes more than one score or target for a row, or whole sets of rows; "
            f"train it by a recipe"
        )
    for solver in IN_ORDER:
        if solver.pays(shape) and (reason := solver.suits(objective, shape)):
            return solver, reason
    raise ArgumentError(
        f"no solver handles {name} with {objective.penalty}: it has kinks and is not convex; use a "
        f"smooth loss, or train it by a recipe"
    )


def minimise(
    objective: Objective,
    X: Any,
    y: Any,
    weight: Any = None,
    *,
    offset: Any = None,
    start: dict[str, Any] | None = None,
    solver: str | Solver = "auto",
    budget: Budget | None = None,
) -> Solution:
    """Minimise the objective on X [n, p], y [n], weights [n] and offsets of the score [n].

    `solver` is a solver, its text such as "newton(tolerance=1e-12)", or "auto". `start` are the
    parameters of an earlier solution.

    Raises:
        ArgumentError: no solver handles the objective, or not the one that was asked for.
        ShapeError, DataError: the arrays do not fit together or hold what they must not.

    >>> import numpy as np
    >>> from minimand.losses import Squared
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> minimise(Objective(Squared()), X, y).params["output"]["kernel"].round(9).tolist()
    [[2.0]]
    """
    if solver != "auto":
        chosen = Solver.parse(solver) if isinstance(solver, str) else solver
        if not isinstance(chosen, Solver):
            raise ArgumentError(f"{chosen} fits nonlinear models: call least_squares with them")
        return chosen.minimise(objective, X, y, weight, offset=offset, start=start, budget=budget)
    problem = Problem(objective, X, y, weight, offset, start)
    chosen, why = select(objective, problem.shape)
    return chosen.solve(problem, why, budget or Budget())
