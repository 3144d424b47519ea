"""Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.axes import FLAT, WEAK, bent
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.descent import Armijo, Decrement, DecrementAhead, Exacting, descend
from minimand.solvers.linear_algebra import lifted, scaled, smallest_pivot
from minimand.solvers.preconditioner import precision, sample_size
from minimand.solvers.problem import Objective, Point, Problem, Shape

Solve = Callable[[Problem, Point, Array], Array]

LARGEST_SYSTEM = 2500
FEW = 2e7
LIFT = 1e-10
"""What is added to the diagonal of a Hessian of scaled columns."""

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
    """Newton's method from a point, continuing a history.

    Where the Hessian at the end is nearly singular, or the last step long, steps that see the weak
    axes go on until little is left to gain.
    """
    direction, lines = ExactHessian(problem), history.lines["value"]

    def steps(start: Point, stop: type[Decrement], most: int) -> Run:
        return descend(
            problem,
            direction,
            search=Armijo(),
            stop=stop(tolerance, max(np.abs(lines), default=0.0)),
            max_iterations=most,
            budget=budget,
            start=start,
            history=history,
        )

    first = len(lines)
    run = steps(start, DecrementAhead, max_iterations)
    weak = direction.digits[1:] and smallest_pivot(direction.hessian) < WEAK
    if not run.converged or not (weak or far(problem, run.theta, direction.step)):
        return run
    direction.digits, before = direction.digits[-1:], len(lines) - first - 1
    ends = problem.at(run.theta if run.ahead is None else run.ahead)
    run = steps(ends, Decrement, max_iterations - before)
    run = replace(run, status=f"{run.status} along weak axes, after {before} more")
    return settled(problem, run, direction.step)


class ExactHessian(Exacting):
    """-H⁻¹ g with the Hessian of all rows, at first in single precision where that will do."""

    def __init__(self, problem: Problem):
        digits = (np.float32, plain), (np.float64, plain), (np.float64, along_axes)
        super().__init__(problem, digits if precision(problem) == np.float32 else digits[1:])

    def solved(self, point: Point, dtype: Any, solve: Solve) -> Array:
        """The Newton step."""
        self.hessian = self.problem.hessian(point, dtype)
        if self.problem.shifts:
            self._anchor(self.hessian.reshape(point.theta.shape * 2))
        return -solve(self.problem, point, self.hessian).reshape(point.theta.shape)

    def _anchor(self, hessian: Array) -> None:
        """Bend H [p + 1, K, p + 1, K] along shifts of all scores, which neither g nor a step has.

        A penalty does so for all columns but that of the intercept.
        """
        rows = slice(-1, None) if self.problem.penalty.bend() > 0 else slice(None)
        diagonal = np.einsum("iaia->ia", hessian).mean(axis=1)
        np.einsum("iaib->iab", hessian)[rows] += diagonal[rows, None, None]


def plain(problem: Problem, point: Point, hessian: Array) -> Array:
    """H⁻¹ g."""
    step: Array = lifted(hessian, LIFT)(point.gradient.ravel())
    return step


def along_axes(problem: Problem, point: Point, hessian: Array) -> Array:
    """The same; how H bends along its weak axes is told by the scores that they move.

    Axes that move no score are left out.
    """
    matrix, scale = scaled(hessian)
    axes = scipy.linalg.eigh(matrix, subset_by_value=(-np.inf, WEAK))[1]
    slope = scale * point.gradient.ravel()
    along = slope @ axes
    step = lifted(matrix, LIFT)(slope - axes @ along)
    weak = scale[:, None] * axes
    weak[np.repeat(np.append(problem.design.constant, False), problem.outputs)] = 0.0
    kernel, bends = weak[: -problem.outputs], problem.bends(problem.columns(point.scores))
    found = bent(problem.design, bends, weak) + problem.penalty.bend() * (kernel.T @ kernel)
    levels, turn = scipy.linalg.eigh(found)
    kept = levels > FLAT
    turn = turn[:, kept]
    return scale * (step + axes @ (turn @ ((along @ turn) / levels[kept])))


def settled(problem: Problem, run: Run, step: Array) -> Run:
    """The run, unless a small gradient hides a long step: on a tail that decays each is about 1."""
    if run.converged and far(problem, run.theta, step):
        return replace(run, status=NO_OPTIMUM, converged=False, ahead=None)
    return run


def far(problem: Problem, theta: Array, step: Array) -> bool:
    """Whether a step moves a score by a thousandth of the largest. A penalty rules that out."""
    if problem.penalty.bend() > 0:
        return False
    k = problem.outputs
    both = np.abs(problem.design.push(np.hstack([step, theta])))
    return bool(np.max(both[:, :k]) > 0.001 * (1 + np.max(both[:, k:])))
