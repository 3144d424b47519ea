"""Least squares in one step."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from minimand.budget import Budget
from minimand.component import Card, component
from minimand.losses import HalfSquared, Squared
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.problem import Objective, Problem, Shape


@component
class NormalEquations(Solver):
    """The normal equations of least squares or ridge, with columns scaled first.

    Columns that depend on one another get the solution of least norm.

    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> solution = NormalEquations().minimise(Objective(Squared()), X, np.array([1.0, 3.0, 5.0]))
    >>> solution.params["output"]["kernel"].round(9), solution.params["output"]["bias"].round(9)
    (array([[2.]]), array([1.]))
    """

    card = Card(
        formula="(Xᵀ X + ½ n λ I) w = Xᵀ y",
        source="Gauss (1809); Björck (1996), Numerical Methods for Least Squares, section 2.2",
        use="squared loss with no penalty or an L2 penalty",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """Squared loss and a quadratic penalty have a linear optimality condition."""
        fits = isinstance(objective.loss, (Squared, HalfSquared)) and objective.penalty.smooth
        return "the optimality condition is linear: one solve gives the exact optimum" * fits

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve H step = -gradient at the start."""
        history, point = History(problem), problem.at(problem.start)
        if not np.all(np.isfinite(point.gradient)):
            problem.design.check_finite()
        history.add(point.value, problem.stationarity(point), 0.0)
        scale = problem.design.size
        hessian = problem.hessian(point) / np.outer(scale, scale)
        solved, rank = _solve(hessian, -point.gradient[:, 0] / scale)
        end = problem.at(point.theta + (solved / scale)[:, None])
        history.add(end.value, problem.stationarity(end))
        return Run(end.theta, f"solved in one step ({rank})", True, history)


def _solve(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, str]:
    """Cholesky while the pivots allow it, else the solution of least norm."""
    try:
        factor = scipy.linalg.cho_factor(matrix)
        pivots = np.abs(np.diag(factor[0]))
        if pivots.min() > 1e-7 * pivots.max():
            return scipy.linalg.cho_solve(factor, right), "Cholesky, full rank"
    except scipy.linalg.LinAlgError:
        pass
    solved, _, rank, _ = scipy.linalg.lstsq(matrix, right, cond=1e-12)
    return solved, f"least norm, rank {rank} of {len(right)}"
