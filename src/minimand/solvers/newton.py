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
from minimand.solvers.descent import Armijo, Decrement, Exacting, descend
from minimand.solvers.linear_algebra import lifted, scaled, smallest_pivot
from minimand.solvers.preconditioner import precision, sample_size
from minimand.solvers.problem import Objective, Point, Problem, Shape

Inverse = Callable[[Array], Array]
"""Gradient ↦ H⁻¹ gradient, both flat."""

LARGEST_SYSTEM = 2500
FEW = 2e7
LIFT = 1e-10
"""What is added to the diagonal of a Hessian of scaled columns."""

MARGIN = 100
"""By how many times a step may leave more than the squared share of the last promises."""

LAG, LAGGING, SURE = 4, 3, 1e4
"""By how many times the Hessian of the point before leaves a larger share than the step that led
away from it, as that one felt half of the change; so many steps in a row must do, and by so much
more than is asked for, which is what another Newton step would bring."""

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
    'converged in 4 steps'
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
        """Whether the Hessian of all rows is cheap enough to be formed more than once."""
        return sample_size(shape) == shape.rows and shape.work < FEW

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
    direction, lines = ExactHessian(problem, tolerance), history.lines["value"]
    first, highest = len(lines), max(np.abs(lines), default=0.0)

    def steps(start: Point, stop: Decrement, most: int) -> Run:
        return descend(
            problem,
            direction,
            search=Armijo(),
            stop=stop,
            max_iterations=most,
            budget=budget,
            start=start,
            history=history,
        )

    run = steps(start, Ahead(tolerance, highest, direction), max_iterations)
    weak = direction.digits[1:] and smallest_pivot(direction.hessian) < WEAK
    if not run.converged or not (weak or far(problem, run.theta, direction.step)):
        return run
    before = len(lines) - first - 1
    direction.see_weak_axes()
    ends = problem.at(run.theta if run.ahead is None else run.ahead)
    run = steps(ends, Present(tolerance, max(np.abs(lines))), max_iterations - before)
    run = replace(run, status=f"{run.status} along weak axes, after {before} more")
    return settled(problem, run, direction.step)


class ExactHessian(Exacting):
    """-H⁻¹ g with the Hessian of all rows, at first in single precision where that will do.

    The Hessian of the point before serves `again` where so few more steps with it will do.
    """

    inverse: Inverse | None = None
    again = False

    def __init__(self, problem: Problem, tolerance: float):
        digits = (np.float32, plain), (np.float64, plain), (np.float64, along_axes)
        super().__init__(problem, digits if precision(problem) == np.float32 else digits[1:])
        self.tolerance = tolerance

    def __call__(self, point: Point) -> Array:
        """The step."""
        if self.inverse is not None:
            step = self._by(self.inverse, point)
            left = -float(np.vdot(point.gradient, step))
            share = (LAG * left / self.left) ** LAGGING
            self.again = SURE * left * share <= self.tolerance * abs(point.value)
            if self.again:
                self.step, self.left = step, left
                return step
        return super().__call__(point)

    def solved(self, point: Point, dtype: Any, inverted: Callable[..., Inverse]) -> Array:
        """The Newton step."""
        self.hessian = self.problem.hessian(point, dtype)
        if self.problem.shifts:
            self._anchor(self.hessian.reshape(point.theta.shape * 2))
        self.inverse = inverted(self.problem, point, self.hessian)
        return self._by(self.inverse, point)

    def see_weak_axes(self) -> None:
        """Take all digits from now on."""
        self.digits, self.inverse = self.digits[-1:], None

    def _by(self, inverse: Inverse, point: Point) -> Array:
        return -inverse(point.gradient.ravel()).reshape(point.theta.shape)

    def _anchor(self, hessian: Array) -> None:
        """Bend H [p + 1, K, p + 1, K] along shifts of all scores, which neither g nor a step has.

        A penalty does so for all columns but that of the intercept.
        """
        rows = slice(-1, None) if self.problem.penalty.bend() > 0 else slice(None)
        diagonal = np.einsum("iaia->ia", hessian).mean(axis=1)
        np.einsum("iaib->iab", hessian)[rows] += diagonal[rows, None, None]


class Ahead(Decrement):
    """What will be left after one more step, if that gains at least as large a share as the last.

    Once each step squares the share that the one before has left, the next is taken to do so, too.
    The step is taken: `descend` ends with it.
    """

    before, share = 0.0, 1.0

    def __init__(self, tolerance: float, highest: float, direction: ExactHessian):
        super().__init__(tolerance, highest)
        self.direction = direction

    def __call__(self, problem: Problem, point: Point, step: Array) -> float:
        """The decrement, times what the last step has left of it."""
        left = super().__call__(problem, point, step)
        last, self.share = self.share, min(left / self.before, 1.0) if self.before else 1.0
        self.before = left
        if self.direction.again:
            return left * min(SURE * LAG * self.share, 1.0)
        squares = last < 0.1 and self.share < 10 * last**2
        return left * self.share * (min(MARGIN * self.share, 1.0) if squares else 1.0)


class Present(Decrement):
    """The same as a share of the present value, however high the first ones were.

    Values that fall below 1 may be on their way to 0.
    """

    def __call__(self, problem: Problem, point: Point, step: Array) -> float:
        """The decrement."""
        self.highest = min(self.highest, 1.0)
        return super().__call__(problem, point, step)


def plain(problem: Problem, point: Point, hessian: Array) -> Inverse:
    """H⁻¹."""
    return lifted(hessian, LIFT)


def along_axes(problem: Problem, point: Point, hessian: Array) -> Inverse:
    """The same; how H bends along its weak axes is told by the scores that they move.

    Axes that move no score are left out.
    """
    matrix, scale = scaled(hessian)
    axes = scipy.linalg.eigh(matrix, subset_by_value=(-np.inf, WEAK))[1]
    solve = lifted(matrix, LIFT)
    weak = scale[:, None] * axes
    weak[np.repeat(np.append(problem.design.constant, False), problem.outputs)] = 0.0
    kernel, bends = weak[: -problem.outputs], problem.bends(problem.columns(point.scores))
    found = bent(problem.design, bends, weak) + problem.penalty.bend() * (kernel.T @ kernel)
    levels, turn = scipy.linalg.eigh(found)
    kept = levels > FLAT
    turn, levels = turn[:, kept], levels[kept]

    def inverse(gradient: Array) -> Array:
        slope = scale * gradient
        along = slope @ axes
        step: Array = solve(slope - axes @ along)
        return scale * (step + axes @ (turn @ ((along @ turn) / levels)))

    return inverse


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
