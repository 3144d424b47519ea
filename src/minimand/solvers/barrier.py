"""Newton's method behind a barrier that rounds off the kinks of a penalty, less and less."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import cast

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.penalties import Penalty
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.descent import Armijo, Direction, descend
from minimand.solvers.linear_algebra import lifted
from minimand.solvers.newton import FEW, LARGEST_SYSTEM, LIFT
from minimand.solvers.problem import Objective, Point, Problem, Shape

SHRINK = 0.1
"""What the height of the barrier is multiplied by from round to round."""

CENTRED, STEPS = 1e-3, 100
"""What a round may leave to gain, in units of that height; its Newton steps at most."""

EASY = 1e-3
"""The share of the first objective that the gap is measured against, if less than that is left."""

SMALL = 1e3
"""Groups that cost less than so many times the height of the barrier may be zero."""


@component
class Barrier(Solver):
    """Exact Newton steps on a penalty whose kinks are rounded off, whatever the scale of columns.

    Each of m groups of parameters costs λ t - μ log(t² - ‖w_g‖²) at the best t, so that the optimum
    lies within m μ of that of the penalty. The height μ falls from round to round. Which groups are
    zero is settled in the end.

    >>> from minimand.losses import Squared
    >>> from minimand.penalties import L1
    >>> X, y = np.array([[-1.0, 0.1], [0.0, -0.2], [1.0, 0.1]]), np.array([1.0, 3.0, 5.0])
    >>> solution = Barrier().minimise(Objective(Squared(), L1(0.5)), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [1.625, 0.0]
    """

    tolerance: Positive = 1e-9
    max_iterations: Count = 30
    card = Card(
        formula="min over w and t of f(w) + Σ λ t_g - μ log(t_g² - ‖w_g‖²), μ → 0",
        source="Boyd and Vandenberghe (2004), Convex Optimization, sections 11.3 and 11.6",
        use="groups of parameters of several classes; badly scaled columns under L1 or groups",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must be smooth and convex, the penalty kinked, and the Hessian must fit."""
        curved = objective.smooth or objective.settles
        convex = objective.loss.card.convex and not objective.penalty.smooth
        size = shape.parameters
        reason = f"kinks at zero, in {size} parameters: exact Newton steps behind a barrier"
        return reason if curved and convex and size <= LARGEST_SYSTEM else ""

    def pays(self, shape: Shape) -> bool:
        """Whether some fifty Hessians cost little."""
        return shape.work < FEW

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Minimise behind lower and lower barriers, then say what is zero."""
        return self.onwards(problem, problem.start, History(problem, "gap"), budget)

    def onwards(self, problem: Problem, theta: Array, history: History, budget: Budget) -> Run:
        """The same from θ on; append to the history of before."""
        point = problem.at(theta)
        if not np.all(np.isfinite(point.gradient)):
            problem.design.check_finite()
        first = abs(point.value) or 1.0
        behind, free = Behind(problem, first), np.ones(theta.shape, dtype=bool)
        for iteration in range(self.max_iterations + 1):
            history.add(point.value, behind.gap)
            unit = max(abs(point.value), EASY * first)
            if iteration == self.max_iterations or budget.spent():
                why = budget.reason or f"the limit of {self.max_iterations} rounds"
                status = f"ended by {why}; relative gap {behind.gap / unit:.1e}"
                return Run(point.theta, status, False, history)
            if behind.gap <= self.tolerance * unit:
                break
            behind.height *= SHRINK
            run = behind.centre(behind.problem.at(theta), free, budget)
            theta, point = run.theta, problem.at(run.theta)
        run = behind.settled(theta, budget)
        history.add(problem.value(run.theta), behind.gap)
        status = f"converged in {iteration} rounds" if run.converged else run.status
        return replace(run, status=status, history=history)


class Behind:
    """A problem whose penalty is seen through a barrier.

    A group of length r costs s - μ - μ log((μ + s) / 2 μ), where s² = μ² + λ² r².
    """

    smooth = True

    def __init__(self, problem: Problem, height: float):
        self.problem, self.penalty = copy(problem), problem.penalty
        self.problem.penalty = cast(Penalty, self)
        shape = problem.design.columns, problem.outputs
        self.group, self.corner = problem.penalty.groups_of(shape)
        self.first = np.unique(self.group, return_index=True)[1]
        self.height = height / len(self.first)

    @property
    def gap(self) -> float:
        """How far the optimum lies from that of the penalty, at most."""
        return self.height * len(self.first)

    def centre(self, start: Point, free: Array, budget: Budget) -> Run:
        """The optimum at this height of the `free` parameters [p + 1, K], from a point on."""
        return descend(
            self.problem,
            Central(self, free),
            search=Armijo(),
            stop=Centred(self.height),
            max_iterations=STEPS,
            budget=budget,
            start=start,
        )

    def settled(self, theta: Array, budget: Budget) -> Run:
        """The same without the groups that are almost zero, but for those that slopes pull away."""
        free = np.ones(theta.shape, dtype=bool)
        cost = self.corner * self._lengths(theta[:-1])
        free[:-1] = (cost > SMALL * self.height).reshape(theta[:-1].shape)
        while True:
            start = self.problem.at(np.where(free, theta, 0.0))
            if not np.isfinite(start.value):
                free[:] = True
                continue
            run = self.centre(start, free, budget)
            pulled = self._lengths(self.problem.at(run.theta).gradient[:-1]) > self.corner
            wrong = ~free[:-1] & pulled.reshape(theta[:-1].shape)
            if not wrong.any():
                return run
            free[:-1] |= wrong

    def of(self, w: Array) -> float:
        """The penalty."""
        over, height = self._sizes(w)[self.first] - self.height, self.height
        kinks = np.sum(over - height * np.log1p(over / (2 * height)))
        return float(kinks + 0.5 * self.bend() * np.sum(w * w))

    def slope(self, w: Array) -> Array:
        """Its gradient."""
        rate = np.square(self.corner) / (self.height + self._sizes(w))
        return (rate + self.bend()).reshape(w.shape) * w

    def bend(self) -> float:
        """The curvature of the ridge."""
        return float(self.penalty.bend())

    def hessian(self, w: Array) -> Array:
        """The curvature of the rest, [p K, p K]."""
        sizes = self._sizes(w)
        rate = np.square(self.corner) / (self.height + sizes)
        along = rate * w.ravel() / np.sqrt(sizes)
        same = self.group[:, None] == self.group
        whole: Array = np.diag(rate) - same * np.outer(along, along)
        return whole

    def _sizes(self, w: Array) -> Array:
        return np.hypot(self.height, self.corner * self._lengths(w))

    def _lengths(self, w: Array) -> Array:
        """The length of the group of every entry, flat."""
        squares = np.bincount(self.group, np.square(w.ravel()))
        lengths: Array = np.sqrt(squares)[self.group]
        return lengths


class Central(Direction):
    """-H⁻¹ g of the parameters that are free, [p + 1, K]."""

    def __init__(self, behind: Behind, free: Array):
        self.behind, self.free = behind, np.flatnonzero(free)

    def __call__(self, point: Point) -> Array:
        """The Newton step."""
        problem, kernel, free = self.behind.problem, point.theta[:-1], self.free
        hessian = problem.hessian(point)
        hessian[: kernel.size, : kernel.size] += self.behind.hessian(kernel)
        if problem.shifts:  # the intercepts alone do not feel one
            hessian[kernel.size :, kernel.size :] += hessian.diagonal()[kernel.size :].mean()
        step = np.zeros(point.theta.size)
        step[free] = -lifted(hessian[free[:, None], free], LIFT)(point.gradient.ravel()[free])
        return step.reshape(point.theta.shape)


class Centred:
    """What is left to gain, in units of the height of the barrier."""

    tolerance = CENTRED

    def __init__(self, height: float):
        self.height = height

    def __call__(self, problem: Problem, point: Point, step: Array) -> float:
        """-½ gᵀ step / μ."""
        return -0.5 * float(np.vdot(point.gradient, step)) / self.height
