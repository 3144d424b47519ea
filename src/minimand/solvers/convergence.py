"""How fast a run should have been, by the curvature at its end, and how fast it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from minimand.arrays import Array
from minimand.solvers.base import Solution
from minimand.solvers.linear_algebra import one_thread
from minimand.solvers.problem import Objective, Problem

EXACT = 2000
"""Up to so many parameters the Hessian is formed; beyond, only its products are."""


@dataclass(frozen=True)
class Convergence:
    """The extreme curvatures of the objective at a solution, and the rates that follow.

    `largest` (L) and `smallest` (μ) are eigenvalues of the Hessian in the coordinates that the
    solvers use, with centred columns. A rate is the factor by which a step shrinks what is left to
    gain: `observed` over the run's history, the others in theory (Nesterov, 2018, Lectures on
    Convex Optimization, theorems 2.1.15 and 2.2.2), for gradient descent with the best fixed step
    and for its accelerated form.
    """

    largest: float
    smallest: float
    observed: float

    @property
    def condition(self) -> float:
        """L / μ."""
        return self.largest / self.smallest if self.smallest > 0 else np.inf

    @property
    def gradient_descent(self) -> float:
        """((κ - 1) / (κ + 1))²."""
        return ((1 - 1 / self.condition) / (1 + 1 / self.condition)) ** 2

    @property
    def accelerated(self) -> float:
        """1 - 1 / √κ."""
        return 1 - 1 / math.sqrt(self.condition)

    def summary(self) -> str:
        """The measurements in a sentence each."""
        return (
            f"curvature from {self.smallest:.3g} to {self.largest:.3g}: condition number "
            f"{self.condition:.3g}; a step leaves {self.gradient_descent:.6g} of the gap by "
            f"gradient descent and {self.accelerated:.6g} by its accelerated form, in theory; "
            f"the run left {self.observed:.6g}"
        )


def convergence(
    objective: Objective, X: Any, y: Any, solution: Solution, weight: Any = None, offset: Any = None
) -> Convergence:
    """Measure the curvature at a solution of the objective on X [n, p], y [n].

    >>> from minimand.losses import HalfSquared
    >>> from minimand.solvers import GradientDescent
    >>> X, y = np.array([[-2.0], [0.0], [2.0]]), np.array([1.0, 3.0, 6.0])
    >>> objective = Objective(HalfSquared())
    >>> solution = GradientDescent().minimise(objective, X, y)
    >>> round(convergence(objective, X, y, solution).condition, 6)
    2.666667
    """
    problem = Problem(objective, X, y, weight, offset, solution.params)
    with one_thread():
        smallest, largest = _extremes(problem)
    return Convergence(largest, max(smallest, 0.0), observed_rate(solution.history["value"]))


def observed_rate(values: list[float]) -> float:
    """The mean factor by which a step shrank what was left above the last value; NaN if unknown."""
    left = np.asarray(values) - values[-1]
    steps = np.flatnonzero(left > 1e-12 * abs(left[0]))
    if len(steps) < 2:
        return np.nan
    last = steps[-1]
    return float((left[last] / left[0]) ** (1 / last))


def _extremes(problem: Problem) -> tuple[float, float]:
    """(smallest, largest) eigenvalue of the Hessian of the smooth part; free directions only."""
    point = problem.at(problem.start)
    size, free = problem.shape.parameters, problem.design.columns + problem.objective.intercept
    if size <= EXACT:
        hessian = problem.hessian(point)[: free * problem.outputs, : free * problem.outputs]
        found = scipy.linalg.eigvalsh(hessian)
        return float(found[0]), float(found[-1])
    bends = problem.bends(problem.columns(point.scores))

    def product(vector: Array) -> Array:
        step = vector.reshape(-1, problem.outputs)
        moved = np.einsum("nab,nb->na", bends, problem.design.push(step))
        product = problem.design.pull(moved)
        product[:-1] += problem.penalty.bend() * step[:-1]
        return product.ravel()

    operator = scipy.sparse.linalg.LinearOperator((size, size), product, dtype=np.float64)
    top = scipy.sparse.linalg.eigsh(operator, 1, which="LA", return_eigenvectors=False, tol=1e-3)
    low = scipy.sparse.linalg.eigsh(operator, 1, which="SA", return_eigenvectors=False, tol=1e-3)
    return float(low[0]), float(top[0])
