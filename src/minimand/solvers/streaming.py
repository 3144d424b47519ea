"""Rows that come in parts: each part is solved with a quadratic memory of those before."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.errors import ArgumentError
from minimand.losses import HalfSquared, Loss, Squared
from minimand.solvers.descent import Armijo, Decrement, Direction, descend
from minimand.solvers.design import Design
from minimand.solvers.linear_algebra import lifted, one_thread
from minimand.solvers.newton import LARGEST_SYSTEM
from minimand.solvers.problem import Objective, Point, Problem
from minimand.solvers.smoothing import LIFT, SmoothLoss, SmoothPenalty

TOLERANCE, STEPS = 1e-11, 50
WIDTH = 0.5
"""What kinks are rounded off by at first, against how far rows lie from them."""


class Stream:
    """A linear model that learns from parts of the data and keeps none of them.

    Each part is minimised together with the penalty and with a memory of the parts before: the
    second-order expansion of each where it was solved. So the first part is solved exactly, and if
    the loss is a square they all are: the answer is that of all rows at once. Otherwise it settles
    as more rows come, old ones or new, of which the later weigh more. Kinks are rounded off, less
    and less.

    Mairal (2013), Stochastic majorization-minimization algorithms for large-scale optimization,
    with expansions in place of upper bounds.

    `params` are those of a `Solution`. `outputs` is the number of scores, where the rows of a part
    may not tell.

    >>> from minimand.losses import HalfSquared
    >>> stream = Stream(Objective(HalfSquared()))
    >>> for part in (np.array([0.0, 1.0]), np.array([2.0, 6.0])):
    ...     stream.learn(part[:, None], part**2)
    >>> np.polyfit([0, 1, 2, 6], [0, 1, 4, 36], 1).round(6).tolist()
    [6.39759, -4.144578]
    >>> stream.params["output"]["kernel"].round(6).tolist()
    [[6.39759]]
    """

    params: dict[str, Any]

    def __init__(self, objective: Objective, outputs: int = 1):
        loss = objective.loss
        smooth = objective.smooth and loss.by_row
        if not loss.card.convex or not (smooth or objective.polytope is not None):
            raise ArgumentError(
                f"{loss} cannot be learnt from parts of the data: that takes a convex loss of "
                f"single rows; use fit"
            )
        self.objective, self.outputs, self.parts, self.amount = objective, outputs, 0, 0.0

    def learn(
        self, X: Any, y: Array, weight: Array | None = None, offset: Array | None = None
    ) -> None:
        """Take in the rows X [m, p], y [m], with weights [m] and offsets of the score [m].

        Raises:
            ArgumentError: there are too many parameters to remember their curvature.
        """
        problem = Part(self.objective, X, y, weight, offset, self._start(X.shape[1]))
        size = problem.shape.parameters
        if size > LARGEST_SYSTEM:
            raise ArgumentError(
                f"the curvature of {size} parameters is too much to remember between parts of the "
                f"data (at most {LARGEST_SYSTEM}); use fit, or a network without hidden layers"
            )
        with one_thread():
            if not self.parts:
                self._begin(problem)
            amount = float(len(y) if weight is None else np.sum(weight))
            self.amount += amount
            self._absorb(problem, self._share(amount))
            self.parts += 1

    def _start(self, columns: int) -> dict[str, Any] | None:
        if self.parts:
            return self.params
        if self.outputs == 1:
            return None
        kernel, bias = np.zeros((columns, self.outputs)), np.zeros(self.outputs)
        return {"output": {"kernel": kernel, "bias": bias}}

    def _share(self, amount: float) -> float:
        """How much rows that come now weigh: those before count less, unless they are exact."""
        stale = not isinstance(self.objective.loss, (Squared, HalfSquared))
        return (1 + stale) * amount / (self.amount + stale * amount)

    def _begin(self, problem: Part) -> None:
        """An empty memory, in the coordinates of the first part."""
        self.frame = problem.design.take(np.arange(0))
        if not hasattr(self.frame.X, "nnz"):  # parts are small: they may be copied to be centred
            self.frame.origin = self.frame.origin + self.frame.centre
            self.frame.centre = np.zeros(problem.design.columns)
        self.frame.constant = np.zeros(problem.design.columns, dtype=bool)
        theta, size = problem.start, problem.start.size
        self.memory = Memory(theta, np.zeros_like(theta), np.zeros((size, size)))
        self.edges, self.width = np.zeros_like(theta[:-1]), 0.0
        if (form := self.objective.polytope) is not None:
            scores = problem._scores(theta)
            self.width = WIDTH * float(np.mean(np.abs(form.apart(scores, problem.y)))) or 1.0

    def _absorb(self, problem: Part, share: float) -> None:
        """Solve a part that makes up that share of all rows, and remember it."""
        width = self.width / np.sqrt(1 + self.parts)
        problem.enter(self.frame, self.memory.faded(1 - share), share)
        penalty = SmoothPenalty(problem, self.edges, width or WIDTH)
        smooth = problem.smoothed(width) if width else problem
        if not self.objective.penalty.smooth:
            smooth.penalty = penalty  # type: ignore[assignment]
        run = descend(
            smooth,
            Step(smooth),
            search=Armijo(),
            stop=Decrement(TOLERANCE),
            max_iterations=STEPS,
            budget=Budget(),
            start=smooth.at(self.memory.theta),
        )
        theta, shown = run.theta, run.theta.copy()
        point = smooth.at(theta)
        slope = point.gradient.copy()
        slope[:-1] -= smooth.penalty.slope(theta[:-1])
        self.memory = Memory(theta, slope, smooth.curvature(point))
        if not self.objective.penalty.smooth:
            shown[:-1] = penalty.rounded(theta[:-1])
            self.edges = penalty.edges(theta[:-1])
        self.params = problem.params(shown)


class Memory(NamedTuple):
    """What rows cost near a point θ: slope · (· - θ) + ½ (· - θ)ᵀ curvature (· - θ)."""

    theta: Array
    slope: Array
    curvature: Array

    def faded(self, share: float) -> Memory:
        """The share of it."""
        return Memory(self.theta, share * self.slope, share * self.curvature)

    def gradient(self, theta: Array) -> Array:
        """The slope at a point."""
        bent: Array = self.curvature @ (theta - self.theta).ravel()
        return self.slope + bent.reshape(theta.shape)

    def value(self, theta: Array) -> float:
        """The cost at a point."""
        return 0.5 * float(np.sum((theta - self.theta) * (self.slope + self.gradient(theta))))


class Part(Problem):
    """Some rows, and a memory of those before."""

    memory: Memory

    def enter(self, frame: Design, memory: Memory, share: float) -> None:
        """Take the coordinates of the first rows, and the weight that the share of all gives."""
        X, own = self.design.X, self.design
        self.design = copy(frame)
        self.design.X = X + (own.origin - frame.origin) if np.any(own.origin != frame.origin) else X
        self.design.rows = own.rows
        self.memory, self.weight = memory, share * self.weight
        self.scale = np.repeat(frame.size[:, None], self.outputs, axis=1)

    def smoothed(self, width: float) -> Part:
        """The same with the kinks of the loss rounded off."""
        smooth, y = copy(self), self.y
        smooth.scale = self.scale
        form = self.objective.polytope
        assert form is not None
        duals = np.zeros_like(form.apart(np.zeros((len(y), self.outputs)), y))
        smooth.loss = SmoothLoss(self.loss, y, form.nearest(duals, y), width)
        smooth.objective = replace(self.objective, loss=smooth.loss)
        smooth.y = np.arange(len(y))
        return smooth

    def value_between(self, old: Point, new: Point, share: float) -> float:
        theta = old.theta + share * (new.theta - old.theta)
        return super().value_between(old, new, share) + self.memory.value(theta)

    def curvature(self, point: Point) -> Array:
        """That of the loss and of the memory, [(p + 1) K, (p + 1) K]."""
        bend = np.zeros_like(point.theta)
        bend[:-1] = self.penalty.bend()
        bend[-1] += not self.objective.intercept
        return self.hessian(point) - np.diag(bend.ravel())

    def hessian(self, point: Point, dtype: Any = np.float64) -> Array:
        return super().hessian(point, dtype) + self.memory.curvature

    def _made(
        self, theta: Array, scores: Array, cost: float, gradient: Array, loss: Loss | None = None
    ) -> Point:
        gradient += self.memory.gradient(theta)
        return super()._made(theta, scores, cost + self.memory.value(theta), gradient, loss)


class Step(Direction):
    """-H⁻¹ g; where few rows bend, H is lifted by a share of all rows, which goes to 0 with g."""

    def __init__(self, problem: Part):
        self.problem, loss = problem, problem.loss
        most = float(problem.weight.sum()) / loss.width if isinstance(loss, SmoothLoss) else 0.0
        size = np.repeat(problem.design.size, problem.outputs)
        self.most = LIFT * most * np.square(size)

    def __call__(self, point: Point) -> Array:
        problem, penalty = self.problem, self.problem.penalty
        hessian = problem.hessian(point)
        np.einsum("ii->i", hessian)[...] += self.most * min(1, problem.slope_size(point.gradient))
        if isinstance(penalty, SmoothPenalty):
            corner = penalty.at(point.theta[:-1]).matrix()
            hessian[: len(corner), : len(corner)] += corner
        step: Array = -lifted(hessian, 1e-10)(point.gradient.ravel())
        return step.reshape(point.theta.shape)
