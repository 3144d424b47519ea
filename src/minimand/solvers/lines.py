"""Sums over rows of the largest of some lines, as an interior point method sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from minimand.arrays import Array
from minimand.losses.polyhedral import Polyhedral, diagonal
from minimand.solvers.problem import Problem

PROBES, LONG = 8, 10.0
"""Random slopes that tell how long rows are; what is long, in units of the median."""


class Boxes:
    """Duals d between `low` and `high`, each on its own.

    `summed` d is what `high` bounds, and `spread` is its transpose.
    """

    low: Array
    high: Array

    def summed(self, d: Array) -> Array:
        """What `high` bounds."""
        return d

    def spread(self, v: Array) -> Array:
        """The transpose of that."""
        return v

    def beyond(self, apart: Array) -> Array:
        """The least v not below 0 whose spread is not below apart."""
        return np.maximum(apart, 0.0)

    def eased(self, us: Array, vr: Array) -> Any:
        """The inverses of diag(us) + spread diag(vr) summed."""
        return 1 / (us + vr)

    def times(self, eased: Any, values: Array) -> Array:
        """Their products with values."""
        product: Array = eased * values
        return product


@dataclass(frozen=True)
class Lines(Boxes):
    """Σ max over d of ⟨d, a⟩ + ½ ridge θ² + slope θ + level, with a = Z θ - kink [n, J].

    θ [q] holds the parameters of all outputs: `slopes` of them, then the intercepts. `corner` is
    the slope of a penalty right of 0, for each of the former.
    """

    design: Any
    kink: Array
    low: Array
    high: Array
    ridge: Array
    slope: Array
    level: float
    corner: float

    @property
    def outputs(self) -> int:
        """How many scores a row has."""
        return len(self.ridge) // (int(self.design.columns) + 1)

    @property
    def slopes(self) -> int:
        """How many parameters are no intercepts."""
        return len(self.ridge) - self.outputs

    def framed(self) -> Any:
        """The same with a penalty's corners as more lines."""
        return Framed(self) if self.corner else self

    def rows(self, values: Array) -> Array:
        """Those of the rows, [n, J]."""
        return values

    def frame(self, values: Array) -> Array:
        """Those of the parameters that have a line of their own: none here."""
        return values[:0, 0]

    def value(self, theta: Array, apart: Array) -> float:
        """The objective; apart is that of all lines."""
        cost = float(np.sum(self.bound(apart) * apart)) + self.level
        return cost + float((0.5 * self.ridge * theta + self.slope) @ theta)

    def apart(self, theta: Array) -> Array:
        """How far the score of every row lies beyond its kinks."""
        return self.moved(theta) - self.kink

    def moved(self, step: Array) -> Array:
        """How far a step moves that."""
        scores: Array = self.design.push(step[:, None])
        return scores

    def pull(self, d: Array) -> Array:
        """Its transpose, [q]."""
        pulled: Array = self.design.pull(d.sum(axis=1, keepdims=True))[:, 0]
        return pulled

    def bound(self, apart: Array) -> Array:
        """The duals of rows that are not at a kink."""
        return np.where(apart > 0, self.high, self.low)

    def distance(self, apart: Array) -> Array:
        """How far rows are from their nearest kink."""
        distance: Array = np.abs(apart).min(axis=1)
        return distance

    def part(self, rows: Array, fixed: Array | None = None) -> Self:
        """These rows alone: as a sample of all, or with the duals of all others `fixed`."""
        share, slope, level = len(self.kink) / len(self.kink[rows]), self.slope, self.level
        if fixed is not None:
            others = np.where(rows[:, None], 0.0, fixed)
            share = 1.0
            slope = slope + self.pull(others)
            level = level - float(np.sum(others * self.kink))
        return replace(
            self,
            design=self.design.take(rows),
            kink=self.kink[rows],
            low=share * self.low[rows],
            high=share * self.high[rows],
            slope=slope,
            level=level,
        )

    def centre(self) -> Array:
        """Duals inside their bounds: in the middle, and of long rows the nearer to 0."""
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(self.design.size), PROBES))
        scores = self.design.push(signs / self.design.size[:, None])
        square = np.square(scores).mean(axis=1, keepdims=True)
        return self.middle() / np.maximum(1.0, square / (LONG**2 * np.median(square)))

    def middle(self) -> Array:
        """Duals as far from their bounds as can be."""
        return (self.low + self.high) / 2

    def hessian(self, eased: Any) -> Array:
        """Zᵀ times the inverses times Z, [q, q]."""
        gram: Array = self.design.gram(eased.sum(axis=1))
        return gram

    def whole(self, d: Array) -> Array:
        """Duals as the loss knows them."""
        return d


@dataclass(frozen=True)
class Several(Lines):
    """The same for several scores that meet in lines, of which only the `live` are not always 0."""

    form: Polyhedral
    y: Array
    live: Array
    shifts: bool

    def moved(self, step: Array) -> Array:
        scores = self.design.push(step.reshape(-1, self.outputs))
        return self.form.moved(scores, self.y)[self.live].reshape(self.kink.shape)

    def pull(self, d: Array) -> Array:
        pulled: Array = self.design.pull(self.form.pulled(self.whole(d), self.y))
        return pulled.ravel()

    def part(self, rows: Array, fixed: Array | None = None) -> Self:
        return replace(super().part(rows, fixed), y=self.y[rows], live=self.live[rows])

    def hessian(self, eased: Any) -> Array:
        y = self.y[:, None]
        half = self.form.pulled(self.inverses(eased), y)
        bends = self.form.pulled(half.swapaxes(-1, -2), y)
        grams = self.design.grams(bends).transpose(2, 0, 3, 1)
        if self.shifts:  # no row feels a shift of all scores, and nor does what is looked for
            rows = slice(-1, None) if self.corner else slice(None)
            level = np.einsum("iaia->ia", grams).mean(axis=1)
            np.einsum("iaib->iab", grams)[rows] += level[rows, None, None]
        return grams.reshape(self.ridge.size, -1)

    def inverses(self, eased: Any) -> Array:
        """The inverses as matrices, [n, J, J] with the lines that are always 0."""
        return diagonal(self.whole(eased))

    def whole(self, d: Array) -> Array:
        whole = np.zeros(self.live.shape)
        whole[self.live] = d.ravel()
        return whole


class Joint(Several):
    """The same where `high` [n, 1] bounds the sum of a row's duals, and `low` is 0.

    `eased` are weights w [n, J, J + 1] of edges: the product with x has the entries
    Σ w_ab (x_a - x_b), where one more x is 0; no difference of large numbers is taken.
    """

    def framed(self) -> Any:
        return JointFramed(self) if self.corner else self

    def bound(self, apart: Array) -> Array:
        worst = np.arange(apart.shape[1]) == apart.argmax(axis=1)[:, None]
        return np.where(worst & (apart > 0), self.high, 0.0)

    def distance(self, apart: Array) -> Array:
        below, top = np.partition(np.hstack([apart, 0 * self.high]), -2, axis=1)[:, -2:].T
        distance: Array = top - below
        return distance

    def summed(self, d: Array) -> Array:
        summed: Array = d.sum(axis=1, keepdims=True)
        return summed

    def beyond(self, apart: Array) -> Array:
        beyond: Array = np.maximum(apart, 0.0).max(axis=1, keepdims=True)
        return beyond

    def middle(self) -> Array:
        return np.tile(self.high / (self.kink.shape[1] + 1), self.kink.shape[1])

    def eased(self, us: Array, vr: Array) -> Any:
        pull = np.hstack([1 / us, 1 / vr])
        return pull[:, :-1, None] * (pull / pull.sum(axis=1, keepdims=True))[:, None, :]

    def times(self, eased: Any, values: Array) -> Array:
        ends = np.hstack([values, 0 * self.high])
        product: Array = np.einsum("nab,nab->na", eased, values[:, :, None] - ends[:, None, :])
        return product

    def inverses(self, eased: Any) -> Array:
        rows, size = self.live.shape
        inverses = np.zeros((rows, size, size))
        inverses[self.live[:, :, None] & self.live[:, None, :]] = -eased[:, :, :-1].ravel()
        kept = eased.sum(axis=2) - np.einsum("naa->na", eased[:, :, :-1])
        np.einsum("naa->na", inverses)[...] = self.whole(kept)
        return inverses


class Framed(Boxes):
    """Lines, and after them one for each parameter with a penalty's corner: all of them flat.

    It bends at 0, from -corner to corner; its place is in units of the scores.
    """

    def __init__(self, lines: Lines):
        self.lines, self.ridge, self.slope = lines, lines.ridge, lines.slope
        self.slopes, self.size = lines.slopes, np.repeat(lines.design.size[:-1], lines.outputs)
        edge = lines.corner / self.size
        self.low, self.high = np.append(lines.low, -edge), np.append(lines.high, edge)

    def rows(self, values: Array) -> Array:
        """Those of the rows, [n, J]."""
        return values[: self.lines.kink.size].reshape(self.lines.kink.shape)

    def frame(self, values: Array) -> Array:
        """Those of the parameters."""
        return values[-self.slopes :]

    def value(self, theta: Array, apart: Array) -> float:
        """The objective; apart is that of all lines."""
        edges = float(self.frame(self.high) @ np.abs(self.frame(apart)))
        return self.lines.value(theta, self.rows(apart)) + edges

    def apart(self, theta: Array) -> Array:
        """How far all lines are from their kinks."""
        return np.append(self.lines.apart(theta), self.size * theta[: self.slopes])

    def moved(self, step: Array) -> Array:
        """How far a step moves that."""
        moved = np.broadcast_to(self.lines.moved(step), self.lines.kink.shape)
        return np.append(moved, self.size * step[: self.slopes])

    def pull(self, d: Array) -> Array:
        """Its transpose, [q]."""
        pulled = self.lines.pull(self.rows(d))
        pulled[: self.slopes] += self.size * self.frame(d)
        return pulled

    def centre(self) -> Array:
        """Duals inside their bounds."""
        return np.append(self.lines.centre(), 0 * self.size)

    def hessian(self, eased: Any) -> Array:
        """That of the lines, and what the parameters add to its diagonal."""
        rows, frame = self.split(eased)
        hessian = self.lines.hessian(rows)
        np.einsum("ii->i", hessian)[: self.slopes] += np.square(self.size) * frame
        return hessian

    def split(self, eased: Any) -> tuple[Any, Array]:
        """The inverses of the rows, and those of the parameters."""
        return self.rows(eased), self.frame(eased)


class JointFramed(Framed):
    """The same where the rows are not boxes."""

    def caps(self, values: Array) -> Array:
        """What `high` bounds of the rows, [n, 1]."""
        return values[: -self.slopes, None]

    def summed(self, d: Array) -> Array:
        return np.append(self.lines.summed(self.rows(d)), self.frame(d))

    def spread(self, v: Array) -> Array:
        rows = np.broadcast_to(self.caps(v), self.lines.kink.shape)
        return np.append(rows, self.frame(v))

    def beyond(self, apart: Array) -> Array:
        return np.append(self.lines.beyond(self.rows(apart)), super().beyond(self.frame(apart)))

    def eased(self, us: Array, vr: Array) -> Any:
        frame = super().eased(self.frame(us), self.frame(vr))
        return self.lines.eased(self.rows(us), self.caps(vr)), frame

    def times(self, eased: Any, values: Array) -> Array:
        rows, frame = eased
        return np.append(self.lines.times(rows, self.rows(values)), frame * self.frame(values))

    def split(self, eased: Any) -> tuple[Any, Array]:
        rows, frame = eased
        return rows, frame


def lines_of(problem: Problem) -> Lines:
    """The lines of a problem."""
    form, weight, y = problem.objective.polytope, problem.weight[:, None], problem.y
    assert form is not None
    ridge = np.zeros((problem.design.columns + 1, problem.outputs))
    ridge[:-1] = problem.penalty.bend()
    ridge[-1] = not problem.objective.intercept
    scores = np.zeros((len(y), problem.outputs))
    if problem.offset is not None:
        scores += problem.offset[:, None]
    apart = form.apart(scores, y)
    live = form.live(apart, y)
    kink = -apart[live].reshape(len(y), -1)
    low, high = (weight * end for end in form.box(y))
    low = np.broadcast_to(low, kink.shape)
    if not form.joint:
        high = np.broadcast_to(high, kink.shape)
    corner = float(problem.penalty.corner)
    parts = problem.design, kink, low, high, ridge.ravel(), np.zeros(ridge.size), 0.0, corner
    if problem.outputs == 1:
        return Lines(*parts)
    return (Joint if form.joint else Several)(*parts, form, y, live, problem.shifts)
