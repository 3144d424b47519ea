"""Fewer rows than columns: a problem with one unknown for each row."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from minimand.budget import Budget
from minimand.component import Card, component
from minimand.solvers.base import Run, Solver
from minimand.solvers.dense import Dense
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.lbfgs import LBFGS
from minimand.solvers.newton import Newton
from minimand.solvers.problem import Objective, Problem, Shape

MOST_ROWS = 5000
FLAT = 1e-13


@component
class RowSpace(Solver):
    """Another solver in the span of the rows, where the optimum lies.

    A quadratic penalty sees no rotation. With Z Zᵀ = U S Uᵀ the scores are U √S V + b and the
    penalty of W = Zᵀ U V / √S is that of V, which has no more rows than X. Without a penalty W is
    the shortest of all optima.

    >>> from minimand.losses import Logistic
    >>> from minimand.penalties import L2
    >>> X, y = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 5.0]]), np.array([-1.0, 1.0])
    >>> RowSpace().minimise(Objective(Logistic(), L2(0.1)), X, y).converged
    True
    """

    card = Card(
        formula="W = Zᵀ A",
        source="Hastie and Tibshirani (2004), Efficient quadratic regularization for expression "
        "arrays; Kimeldorf and Wahba (1970) for the form of the optimum",
        use="more columns than rows, with an L2 penalty, or a smooth loss without one",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The penalty must be quadratic, and the rows not too many for a Gram matrix.

        Only smooth losses may go without one.
        """
        wide = shape.rows < shape.columns and shape.rows <= MOST_ROWS
        ridge = objective.penalty.smooth and objective.penalty.bend() > 0
        lines = ridge and InteriorPoint().suits(objective, shape._replace(columns=shape.rows))
        smooth = objective.smooth and objective.penalty.smooth
        reason = f"the slopes lie in the span of {shape.rows} rows"
        return reason if (smooth or lines) and wide else ""

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Turn the problem, solve it, turn back."""
        gram = problem.design.outer()
        if not np.all(np.isfinite(gram)):
            problem.design.check_finite()
        squares, axes = np.linalg.eigh(gram)
        kept = squares > FLAT * squares[-1]
        kept[-1] = True
        axes, lengths = axes[:, kept], np.sqrt(np.maximum(squares[kept], 0.0))
        inverse = 1 / np.where(lengths > 0, lengths, 1.0)
        turned = copy(problem)
        turned.design = Dense(axes * lengths, problem.objective.intercept)
        bias = problem.start[-1]
        along = axes.T @ (problem.design.push(problem.start) - bias)
        turned.start = turned.design.point(inverse[:, None] * along, bias)
        one = turned.objective, turned.shape
        able = (InteriorPoint(), Newton(), LBFGS())
        run = next(solver for solver in able if solver.suits(*one)).run(turned, budget)
        ends = run.theta if run.ahead is None else run.ahead
        kernel, bias = turned.design.affine(ends)
        theta = problem.design.pull(axes @ (inverse[:, None] * kernel))
        theta[-1] = bias
        return replace(run, theta=theta, ahead=None)
