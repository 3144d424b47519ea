"""The one loop of the descent methods: a direction, a search along it, a rule to stop."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.solvers.base import History, Run
from minimand.solvers.problem import Point, Problem

NEAR, SLOW = 1e-3, 0.1
"""Steps that promise less than this share of the objective, but more than that of the last one, do
not converge like Newton's."""


class Direction:
    """Where to go from a point."""

    def __call__(self, point: Point) -> Array:
        """The step of length 1."""
        raise NotImplementedError

    def learn(self, old: Point, new: Point) -> None:
        """Take in what a step has shown."""


class Exacting(Direction):
    """-H⁻¹ g; H takes more of its digits whenever steps do not converge like Newton's.

    The gradient has all of its own, so those of H decide how fast, and not where to. `digits` are
    the arguments of `solved`, from fast to exact.
    """

    step: Array

    def __init__(self, problem: Problem, digits: tuple[tuple[Any, ...], ...]):
        self.problem, self.digits, self.left = problem, digits, np.inf

    def __call__(self, point: Point) -> Array:
        """The Newton step."""
        left = self._promised(point)
        slow = SLOW * self.left < left < NEAR * abs(point.value)
        if slow and self.digits[1:]:
            self.digits = self.digits[1:]
            left = self._promised(point)
        self.left = left
        return self.step

    def solved(self, point: Point, *digits: Any) -> Array:
        """The Newton step by a Hessian of such digits."""
        raise NotImplementedError

    def _promised(self, point: Point) -> float:
        self.step = self.solved(point, *self.digits[0])
        return -float(np.vdot(point.gradient, self.step))


class Search(Protocol):
    """How far to go."""

    def __call__(self, problem: Problem, point: Point, step: Array) -> tuple[Point | None, float]:
        """(the next point, the share of the step that was gone); None: nothing is lower."""


class Stop(Protocol):
    """When to end."""

    tolerance: float

    def __call__(self, problem: Problem, point: Point, step: Array) -> float:
        """How far the point is from the optimum; at most `tolerance` ends the run."""


class FullStep:
    """The whole step, unchecked."""

    def __call__(self, problem: Problem, point: Point, step: Array) -> tuple[Point | None, float]:
        """The point at the end of the step."""
        return problem.at(point.theta + step), 1.0


class Armijo:
    """The whole step, halved until it earns a fair share of the decrease that its slope promises.

    Scores are affine in the step, so halving reads no data. Where rounding hides the decrease, the
    slope at the end decides (Hager and Zhang, 2005, A new conjugate gradient method, eq. 4.1).
    """

    def height(self, point: Point) -> float:
        """What the next value must lie below."""
        return point.value

    def __call__(self, problem: Problem, point: Point, step: Array) -> tuple[Point | None, float]:
        """The point where the search ended."""
        promised = float(np.vdot(point.gradient, step))
        height = self.height(point)
        rounding = 4 * np.finfo(float).eps * abs(height)
        ahead = problem.at(point.theta + step)
        share = 1.0
        while share > 1e-20:
            value = problem.value_between(point, ahead, share) if share < 1 else ahead.value
            if value <= height + rounding:
                reached = problem.between(point, ahead, share) if share < 1 else ahead
                lower = value <= height + 1e-4 * share * promised
                if lower or np.vdot(reached.gradient, step) <= -0.9998 * promised:
                    return reached, share
            share /= 2
        return None, 0.0


class NonMonotone(Armijo):
    """The same below the highest of the last ten values (Grippo, Lampariello and Lucidi, 1986)."""

    def __init__(self) -> None:
        self.last: deque[float] = deque(maxlen=10)

    def height(self, point: Point) -> float:
        self.last.append(point.value)
        return max(self.last)


class ScaledGradient:
    """The largest scaled entry of the gradient."""

    def __init__(self, tolerance: float):
        self.tolerance = tolerance

    def __call__(self, problem: Problem, point: Point, step: Array) -> float:
        """Its size."""
        return problem.slope_size(point.gradient)


class Decrement:
    """What a quadratic model has left to gain, as a share of the objective."""

    def __init__(self, tolerance: float, highest: float = 0.0):
        self.tolerance, self.highest = tolerance, highest

    def __call__(self, problem: Problem, point: Point, step: Array) -> float:
        """-½ gᵀ step / |value|."""
        self.highest = max(self.highest, abs(point.value))
        left = -0.5 * float(np.vdot(point.gradient, step))
        return left / max(abs(point.value), 1e-12 * self.highest, np.finfo(float).tiny)


def descend(
    problem: Problem,
    direction: Direction,
    *,
    search: Search,
    stop: Stop,
    max_iterations: int,
    budget: Budget,
    start: Point | None = None,
    history: History | None = None,
) -> Run:
    """Go along `direction` by `search` until `stop` is content; append to the history of before."""
    point = start or problem.at(problem.start)
    if not np.all(np.isfinite(point.gradient)):
        problem.design.check_finite()
    history, share = history or History(problem), 0.0
    for iteration in range(max_iterations + 1):
        step = direction(point)
        left = stop(problem, point, step)
        history.add(point.value, problem.slope_size(point.gradient), share)
        if left <= stop.tolerance:
            status, ahead = f"converged in {iteration} steps", point.theta + step
            return Run(point.theta, status, True, history, ahead=ahead)
        if iteration == max_iterations or budget.spent():
            why = budget.reason or f"the limit of {max_iterations} steps"
            break
        reached, share = search(problem, point, step)
        if reached is None:
            why = "rounding: no step lowers the objective further"
            break
        direction.learn(point, reached)
        point = reached
    size = history.lines["gradient_norm"][-1]
    near = why.startswith("rounding") and left <= np.sqrt(stop.tolerance)
    return Run(point.theta, f"ended by {why}; scaled gradient {size:.1e}", near, history)
