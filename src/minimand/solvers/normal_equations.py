"""Least squares in one step."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, component
from minimand.losses import HalfSquared, Loss, Squared
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.linear_algebra import factorise, smallest_pivot
from minimand.solvers.problem import Objective, Problem, Shape

LARGEST_GRAM = 5000
SMALL_PIVOT = 1e-6
RANK = 1e-14


@component
class NormalEquations(Solver):
    """The normal equations of least squares or ridge, with columns scaled first.

    Where a pivot is small, columns nearly depend on one another and the equations have lost half
    of the digits: then the scaled columns themselves are factorised (QR). Columns that depend on
    one another get the solution of least norm.

    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> solution = NormalEquations().minimise(Objective(Squared()), X, np.array([1.0, 3.0, 5.0]))
    >>> solution.params["output"]["kernel"].round(9), solution.params["output"]["bias"].round(9)
    (array([[2.]]), array([1.]))
    """

    card = Card(
        formula="(Xᵀ X + ½ n λ I) w = Xᵀ y",
        source="Gauss (1809); Björck (1996), Numerical Methods for Least Squares Problems",
        use="squared loss with no penalty or an L2 penalty",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """Squared loss and a quadratic penalty have a linear optimality condition."""
        fits = min(shape.columns, shape.rows) <= LARGEST_GRAM
        suits = is_linear(objective.loss) and objective.penalty.smooth and fits
        return "the optimality condition is linear: one solve gives the exact optimum" * suits

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve for the step from no slopes at all, whose gradient needs no scores."""
        (theta, value, slopes, bends), history = unread(problem), History(problem)
        if problem.design.columns > problem.design.rows:
            step, how, gradient = _wide(problem, slopes, bends)
        else:
            step, how, gradient = _tall(problem, slopes, bends)
        history.add(value, problem.slope_size(gradient), 0.0)
        history.add(value + 0.5 * float(np.sum(gradient * step)), 0.0)
        return Run(theta + step, f"solved in one step ({how})", True, history)


def unread(problem: Problem) -> tuple[Array, float, Array, Array]:
    """(θ with no slopes, its cost, the slopes [n, 1] and bends [n] there), without reading X."""
    theta = problem.initial() if problem.warm else problem.start.copy()
    scores = np.full((problem.design.rows, 1), theta[-1, 0])
    if problem.offset is not None:
        scores += problem.offset[:, None]
    cost, slopes = problem.reduced(slice(None), scores, problem.loss)
    return theta, cost, slopes, problem.bends(scores)[:, 0, 0]


def is_linear(loss: Loss) -> bool:
    """Whether the slope of the loss is linear in the score."""
    return isinstance(loss, (Squared, HalfSquared))


def _tall(problem: Problem, slopes: Array, bends: Array) -> tuple[Array, str, Array]:
    """(step, how it was found, gradient) by the Gram matrix of the columns."""
    scale = problem.design.size
    gram, gradient = problem.design.moments(bends, slopes)
    gram /= np.outer(scale, scale)
    np.einsum("ii->i", gram)[:-1] += problem.penalty.bend() / scale[:-1] ** 2
    gram[-1, -1] += not problem.objective.intercept
    try:
        factor = scipy.linalg.cho_factor(gram)
    except (scipy.linalg.LinAlgError, ValueError):
        problem.design.check_finite()
        factor = (np.zeros_like(gram), False)
    pivots = np.square(np.diag(factor[0]))
    if pivots.min() > SMALL_PIVOT * pivots.max():
        step = -scipy.linalg.cho_solve(factor, gradient / scale[:, None]) / scale[:, None]
        return step, "Cholesky", gradient
    return _orthogonal(problem, slopes, bends), "QR of dependent columns, least norm", gradient


def _orthogonal(problem: Problem, slopes: Array, bends: Array) -> Array:
    """The step of least norm, by the triangle of the scaled columns, block after block of rows."""
    design, root = problem.design, np.sqrt(bends)
    scale, size = design.size, design.columns + 1
    right = -slopes[:, 0] / root
    triangle = np.zeros((size, size + 1))
    np.einsum("ii->i", triangle[:, :-1])[:-1] = np.sqrt(problem.penalty.bend()) / scale[:-1]
    for first in range(0, design.rows, 2 * size):
        rows = np.arange(first, min(first + 2 * size, design.rows))
        block = design.dense(rows) * (root[rows, None] / scale)
        both = np.vstack([triangle, np.column_stack([block, right[rows]])])
        triangle = scipy.linalg.qr(both, mode="r", overwrite_a=True)[0][: size + 1]
    solved = scipy.linalg.lstsq(triangle[:, :-1], triangle[:, -1], cond=RANK)[0]
    step: Array = (solved / scale)[:, None]
    return step


def _wide(problem: Problem, slopes: Array, bends: Array) -> tuple[Array, str, Array]:
    """(step, how it was found, gradient) by the Gram matrix of the rows: W = Zᵀ a.

    Rows count with the root of their bend; b takes their weighted mean away.
    """
    design, root = problem.design, np.sqrt(bends)
    gradient = design.pull(slopes)
    if not np.all(np.isfinite(gradient)):
        design.check_finite()
    mean = root / np.linalg.norm(root) * problem.objective.intercept
    right = -slopes[:, 0] / root
    right -= mean * (mean @ right)
    gram = design.outer() * np.outer(root, root)
    gram -= np.outer(mean, mean @ gram)
    gram -= np.outer(gram @ mean, mean)
    solved, how = _least(gram, float(problem.penalty.bend()), right)
    step = design.pull((root * solved)[:, None])
    step[-1] = 0.0
    if problem.objective.intercept:
        step[-1] = -(slopes.sum() + bends @ design.push(step)[:, 0]) / bends.sum()
    return step, f"by rows, {how}", gradient


def _least(gram: Array, ridge: float, right: Array) -> tuple[Array, str]:
    """(the shortest solution of (gram + ridge I) a = right, how it was found)."""
    lifted = gram + ridge * np.eye(len(gram))
    if ridge > 0 and smallest_pivot(lifted) > SMALL_PIVOT:
        return factorise(lifted, 0.0)(right), "Cholesky"
    values, vectors = scipy.linalg.eigh(gram)
    kept = values > 1e-13 * values.max(initial=0.0)
    along = vectors[:, kept]
    solved = along @ ((along.T @ right) / (values[kept] + ridge))
    return solved, f"least norm, rank {int(kept.sum())}"
