"""An objective on data: its value, gradient and Hessian at a point, read in blocks."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self, cast

import numpy as np

from minimand.arrays import Array
from minimand.component import Component, component
from minimand.errors import ArgumentError, DataError, ShapeError
from minimand.losses import Loss
from minimand.losses.base import crossing
from minimand.losses.polyhedral import Polyhedral, polytope
from minimand.penalties import L2, Penalty
from minimand.solvers.design import column, matrix, shares
from minimand.solvers.sparse import design

SAMPLE, BEYOND = 1024, 100


@component
class Objective(Component):
    """The weighted mean loss of an affine score X W + b, plus a penalty of W (never of b).

    Without `intercept` b is 0. To penalise an intercept, leave it out and give X a column of ones.
    """

    kind = "objective"
    loss: Loss
    penalty: Penalty = L2(strength=0.0)
    intercept: bool = True

    @property
    def smooth(self) -> bool:
        """Whether the loss has a gradient everywhere."""
        return not self.loss.card.kinks or self.loss.card.curvature is not None

    @property
    def settles(self) -> bool:
        """Whether all rows share a number besides the scores, which the loss fits with them."""
        return hasattr(self.loss, "settled")

    @property
    def solvable(self) -> bool:
        """Whether the loss is one of single rows, at least once such a number is settled."""
        return self.loss.by_row or self.settles or self.polytope is not None

    @property
    def polytope(self) -> Polyhedral | None:
        """The flat pieces of the loss, if it is made of such."""
        return polytope(self.loss)

    @property
    def singles(self) -> tuple[Loss, ...]:
        """Losses made of straight lines, one for each score, if that is all there is to solve."""
        apart = self.penalty.smooth or self.penalty.entrywise
        return self.polytope.singles() if self.polytope is not None and apart else ()


class Shape(NamedTuple):
    """The size of a problem, which decides between solvers."""

    rows: int
    columns: int
    outputs: int = 1
    sparse: bool = False

    @property
    def parameters(self) -> int:
        """How many numbers a point has."""
        return (self.columns + 1) * self.outputs

    @property
    def work(self) -> int:
        """About how many multiplications a Hessian takes."""
        return self.rows * self.parameters**2


@dataclass
class Point:
    """A point θ [p + 1, K] with what one reading of the data says about it.

    `cost` is the weighted mean loss, `value` adds the penalty; `gradient` is that of the cost and
    the smooth part of the penalty. `scores` are [n], or [n, K] for a loss over K classes. `loss` is
    that of a row alone, where rows share what these scores have settled.
    """

    theta: Array
    scores: Array
    cost: float
    value: float
    gradient: Array
    loss: Loss | None = None


class Problem:
    """An objective on checked data; `weight` sums to 1. Rows of weight 0 are left out."""

    seen: Point | None = None

    def __init__(
        self,
        objective: Objective,
        X: Any,
        y: Any,
        weight: Any = None,
        offset: Any = None,
        start: Any = None,
    ):
        self.objective, self.loss, self.penalty = objective, objective.loss, objective.penalty
        if not objective.solvable:
            raise ArgumentError(f"{self.loss} is no loss of one row and its score")
        self.loss.check_minimisable()
        if not self.penalty.solvable:
            raise ArgumentError(f"{self.penalty} is no penalty of a linear model")
        self.penalty.check_names(())
        X, y = matrix(X), np.asarray(y)
        if X.ndim != 2 or y.shape != X.shape[:1] or 0 in X.shape:
            raise ShapeError(f"X has shape {X.shape} and y {y.shape}; expected [n, p] and [n]")
        rows = len(y)
        self.weight, kept = shares(weight, rows)
        self.offset = None if offset is None else column(offset, "offset", rows)
        if kept is not None:
            X, y, self.weight = X[kept], y[kept], self.weight[kept]
            self.offset = None if self.offset is None else self.offset[kept]
        self.loss.check_target(y)
        if objective.settles:
            rest = y if self.offset is None else y - self.offset
            self.loss = self.loss.guarded(rest, self.weight)  # type: ignore[attr-defined]
        self.y, self.outputs = y, len(self.loss.scores) or 1
        if self.loss.score_axes and not self.loss.scores:
            self.y = y.astype(np.int64)
            known = 0 if start is None else np.shape(start["output"]["kernel"])[-1]
            self.outputs = max(int(self.y.max()) + 1, known)
            if self.outputs < 2:
                raise DataError(f"{self.loss} compares classes, and y holds none but class 0")
        self.design = design(X, objective.intercept)
        self.warm = start is not None
        self.start = self._point(start) if self.warm else self.initial()

    def __copy__(self) -> Self:
        """The same, without what was found out about it."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        for name in ("typical", "scale", "seen"):
            vars(other).pop(name, None)
        return other

    @property
    def shape(self) -> Shape:
        """The size of the problem."""
        one = self.design
        return Shape(one.rows, one.columns, self.outputs, hasattr(one.X, "nnz"))

    @property
    def shifts(self) -> bool:
        """Whether the loss is one over classes, which does not feel a shift of all scores."""
        return self.outputs > 1 and not self.loss.scores

    def part(self, rows: Array) -> Problem:
        """The problem of those rows alone; points mean the same."""
        part = copy(self)
        part.design, part.y = self.design.take(rows), self.y[rows]
        part.weight = self.weight[rows] / self.weight[rows].sum()
        part.offset = None if self.offset is None else self.offset[rows]
        return part

    def singles(self) -> list[Problem]:
        """The problems of every score alone, where they add up to this one."""
        problems = []
        for k, loss in enumerate(self.objective.singles):
            one = copy(self)
            one.objective, one.loss = replace(self.objective, loss=loss), loss
            one.outputs, one.start = 1, self.start[:, k : k + 1]
            problems.append(one)
        return problems

    def eased(self, factor: float) -> Problem:
        """The problem with the least scale times a factor, where rows share a scale."""
        eased, loss = copy(self), cast(Any, self.loss)
        eased.typical, eased.scale = self.typical, self.scale
        if self.objective.settles:
            eased.loss = replace(loss, least=factor * loss.least)
        return eased

    def initial(self) -> Array:
        """θ with no slopes and the best constant score, beside the offset if there is one."""
        theta = np.zeros((self.design.columns + 1, self.outputs))
        if self.objective.intercept:
            theta[-1] = level = self.loss.constant(self.y, self.weight)
            smooth = self.objective.smooth or self.objective.settles
            if self.offset is not None and self.outputs == 1 and smooth and self.loss.card.convex:
                theta[-1] = self._beside(self.offset, float(np.squeeze(level)))
        return theta

    def at(self, theta: Array) -> Point:
        """The point θ, by one reading of the data."""
        if self.objective.settles:
            return self.known(theta, self._scores(theta))
        scores = np.empty((self.outputs, self.design.rows)).T  # classes apart: sums over them fly
        cost = 0.0

        def visit(rows: slice, linear: Array) -> Array:
            nonlocal cost
            scores[rows] = linear if self.offset is None else linear + self.offset[rows, None]
            value, slopes = self.reduced(rows, scores[rows], self.loss)
            cost += value
            return slopes

        with np.errstate(over="ignore", invalid="ignore"):
            gradient = self.design.sweep(theta, visit)
        return self._made(theta, scores, cost, gradient)

    def witnessed(self, theta: Array) -> Point:
        """The same, kept, so that to look there again reads no data."""
        if self.seen is None or not np.array_equal(self.seen.theta, theta):
            self.seen = self.at(theta.copy())
            for held in (self.seen.theta, self.seen.scores, self.seen.gradient):
                held.flags.writeable = False
        return self.seen

    def between(self, old: Point, new: Point, share: float) -> Point:
        """The point a share of the way from one to another: X is read once, not twice.

        It is read twice far beyond the other, where the rounding of the scores would grow.
        """
        theta = old.theta + share * (new.theta - old.theta)
        if share > BEYOND:
            return self.at(theta)
        return self.known(theta, self.columns(old.scores + share * (new.scores - old.scores)))

    def known(self, theta: Array, scores: Array) -> Point:
        """The point θ of known scores [n, K]."""
        loss = self.row_loss(self._taken(scores), self.y, self.weight)
        cost, slopes = self.reduced(slice(None), scores, loss)
        return self._made(theta, scores, cost, self.design.pull(slopes), loss)

    def value_between(self, old: Point, new: Point, share: float) -> float:
        """The objective a share of the way from one point to another, without reading X."""
        with np.errstate(over="ignore", invalid="ignore"):
            scores = old.scores + share * (new.scores - old.scores)
            loss = self.row_loss(scores, self.y, self.weight)
            cost = float(self.weight @ loss.value(scores, self.y))
        theta = old.theta + share * (new.theta - old.theta)
        return cost + float(self.penalty.of(theta[:-1]))

    def value(self, theta: Array) -> float:
        """The objective at θ."""
        return self.at(theta).value

    def hessian(self, point: Point, dtype: Any = np.float64) -> Array:
        """The Hessian of the smooth part, [(p + 1) K, (p + 1) K], in the order of θ.ravel()."""
        size, k = self.design.columns + 1, self.outputs
        bends = self.bends(self.columns(point.scores))
        if k == 1:
            hessian = self.design.gram(bends[:, 0, 0], dtype).reshape(size, 1, size, 1)
        else:
            hessian = self.design.grams(bends, dtype).transpose(2, 0, 3, 1)
        for a in range(k):
            np.einsum("ii->i", hessian[:-1, a, :-1, a])[...] += self.penalty.bend()
            hessian[-1, a, -1, a] += not self.objective.intercept
        return hessian.reshape(size * k, size * k)

    @cached_property
    def typical(self) -> Array:
        """The slope of a row in every output: a sample's, [K].

        It is that a little beside the best constant, where it may be rounding alone.
        """
        some = slice(None, None, max(1, self.design.rows // SAMPLE))
        y, share = self.y[some], self.weight[some] / self.weight[some].sum()
        spread = np.sqrt(share @ np.square(y, dtype=float))
        level = (self.initial() if self.warm else self.start)[-1]
        scores = np.zeros((len(y), self.outputs)) + level + 1e-6 * spread
        if self.offset is not None:
            scores += self.offset[some, None]
        taken = self._taken(scores)
        slopes = self.row_loss(taken, y, share).gradient(taken, y)
        typical: Array = np.sqrt(share @ np.square(slopes).reshape(len(y), -1))
        return np.where(typical > 0, typical, 1.0)

    @cached_property
    def scale(self) -> Array:
        """The size of a gradient entry that counts as 1: column size times typical slope."""
        return self.design.size[:, None] * self.typical

    def stationarity(self, point: Point) -> float:
        """The largest scaled entry of the (proximal) gradient: 0 exactly at the optimum."""
        if self.penalty.smooth:
            return self.slope_size(point.gradient)
        gradient, kernel = point.gradient.copy(), point.theta[:-1]
        gradient[:-1] -= self.penalty.slope(kernel)
        gradient[:-1] = kernel - self.penalty.prox(kernel - gradient[:-1], 1.0)
        return self.slope_size(gradient)

    def slope_size(self, gradient: Array) -> float:
        """The largest scaled entry of a gradient."""
        return float(np.max(np.abs(gradient) / self.scale))

    def row_loss(self, scores: Array, y: Array, weight: Array) -> Loss:
        """The loss of a row alone; what rows share is settled by the scores of these rows."""
        if not self.objective.settles:
            return self.loss
        settled: Loss = self.loss.settled(scores, y, weight)  # type: ignore[attr-defined]
        return settled

    def free_scale(self, loss: Loss) -> bool:
        """Whether rows share a scale that is settled above the least one, so that it moves too."""
        return self.objective.settles and bool(loss.scale > self.loss.least)  # type: ignore[attr-defined]

    def columns(self, scores: Array) -> Array:
        """Scores as [n, K], whatever the loss takes."""
        return scores.reshape(len(scores), self.outputs)

    def cost(self, scores: Array) -> float:
        """The weighted mean loss of scores [n, K]."""
        taken = self._taken(scores)
        loss = self.row_loss(taken, self.y, self.weight)
        return float(self.weight @ loss.value(taken, self.y))

    def slopes(self, scores: Array) -> Array:
        """The weighted slopes of the loss, [n, K], at scores [n, K]."""
        taken = self._taken(scores)
        slopes = self.row_loss(taken, self.y, self.weight).gradient(taken, self.y)
        return self.weight[:, None] * slopes.reshape(scores.shape)

    def bends(self, scores: Array, rows: slice = slice(None)) -> Array:
        """The weighted curvature of the loss, [m, K, K], at scores [m, K] of some rows."""
        taken, y, weight = self._taken(scores), self.y[rows], self.weight[rows]
        bends = self.row_loss(taken, y, weight).curvature(taken, y)
        return weight[:, None, None] * bends.reshape(*scores.shape, self.outputs)

    def params(self, theta: Array) -> dict[str, Any]:
        """θ as named parameters of the scores X W + b, and the scale if the loss fits one.

        Where no row feels a shift of all scores, the biases sum to 0.
        """
        kernel, bias = self.design.affine(theta)
        if self.shifts:
            bias -= bias.mean()
        params: dict[str, Any] = {"output": {"kernel": kernel, "bias": bias}}
        if self.objective.settles:
            loss: Any = self.row_loss(self._scores(theta)[:, 0], self.y, self.weight)
            params["scale"] = float(loss.scale)
        return params

    def _beside(self, offset: Array, level: float) -> float:
        """The best constant beside an offset, where `level` is the best one alone."""

        def rise(constant: float) -> tuple[float, float]:
            scores = offset[:, None] + constant
            return float(self.slopes(scores).sum()), float(self.bends(scores).sum())

        low, high = level - float(offset.max()), level - float(offset.min())
        with np.errstate(over="ignore", invalid="ignore"):
            return crossing(rise, low, high, level - float(self.weight @ offset))

    def _point(self, params: dict[str, Any]) -> Array:
        """θ of named parameters."""
        kernel = np.asarray(params["output"]["kernel"], dtype=float)
        bias = np.asarray(params["output"]["bias"], dtype=float)
        expected = (self.design.columns, self.outputs)
        if kernel.shape != expected or bias.shape != expected[1:]:
            raise ShapeError(
                f"start has a kernel {kernel.shape} and a bias {bias.shape}; this problem needs "
                f"{expected} and {expected[1:]}"
            )
        return self.design.point(kernel, bias)

    def _scores(self, theta: Array) -> Array:
        """The scores at θ, [n, K], with the offset."""
        scores = self.design.push(theta)
        return scores if self.offset is None else scores + self.offset[:, None]

    def _made(
        self, theta: Array, scores: Array, cost: float, gradient: Array, loss: Loss | None = None
    ) -> Point:
        kernel = theta[:-1]
        gradient[:-1] += self.penalty.slope(kernel)
        value = cost + float(self.penalty.of(kernel))
        return Point(theta, self._taken(scores), cost, value, gradient, loss)

    def _taken(self, scores: Array) -> Array:
        """Scores [n, K] as the loss takes them."""
        return scores if self.loss.score_axes else scores[:, 0]

    def reduced(self, rows: slice, scores: Array, loss: Loss) -> tuple[float, Array]:
        """(weighted sum of the loss, weighted slopes [m, K]) of some rows."""
        taken, y, weight = self._taken(scores), self.y[rows], self.weight[rows]
        values, slopes = loss.value_and_gradient(taken, y)
        return float(weight @ values), weight[:, None] * slopes.reshape(scores.shape)
