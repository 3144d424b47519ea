"""A point inside the bounds of lines and their duals, and the steps that take it to the optimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minimand.arrays import Array
from minimand.solvers.linear_algebra import lifted, once
from minimand.solvers.lines import Lines

LIFT = 1e-15

CORRECTIONS, PAYS, REACH, SPREAD, WORTH = 3, 20, 0.3, 0.1, 0.03
"""Corrections of a step at most, and parameters for each that make a factor dear enough; by how
much one aims to lengthen the step, by what share a product may miss the wanted one, and the length
that must be gained."""

LONG, NEAR = 0.9, 0.9995
"""A step that needs no correction; the share of the way to the bounds that is gone."""

REFINED, LITTLE = 3, 1e-2
"""How often the last step is refined at most; the share of the wanted gap that may be left."""


class Step(NamedTuple):
    """Steps of θ, of the duals d and what is summed of them, and of the slacks u and v."""

    theta: Array
    d: Array
    summed: Array
    u: Array
    v: Array

    @property
    def r(self) -> Array:
        """That of what the sums lack to their bounds."""
        return -self.summed


class Interior:
    """Slacks u, v ≥ 0 with apart = spread v - u; duals low < d with summed d < high.

    They are optimal once (d - low) u and (high - summed d) v are 0, as well as the `balance`
    Zᵀ d + ridge θ + slope.
    """

    def __init__(self, lines: Lines, theta: Array):
        apart = lines.apart(theta)
        room = float(max(np.mean(np.abs(apart)), 1e-6 * np.mean(np.abs(lines.kink)))) or 1.0
        self.size = room * float(np.sum(lines.high) - np.sum(lines.low)) / 2
        self.tied = bool(np.any(lines.ridge[: lines.slopes]))
        self.lines = framed = lines.framed()
        self.theta, self.d, self.step = theta, framed.centre(), 0.0
        apart = framed.apart(theta)
        self.v = framed.beyond(apart) + room
        self.u = framed.spread(self.v) - apart
        self.balance = self._balance()

    @property
    def duals(self) -> Array:
        """Those of the rows."""
        duals: Array = self.lines.rows(self.d)
        return duals

    def value(self) -> float:
        """The objective."""
        return float(self.lines.value(self.theta, self.lines.spread(self.v) - self.u))

    def gap(self) -> tuple[float, float]:
        """The complementarity, and what is left of the balance."""
        return self._complementarity(*self._slacks()), self._gained(self.balance)

    def rounded(self, share: float) -> Array:
        """θ with exact zeros where the corners of a penalty hold it, if that costs next to nothing.

        Either a slope or what its dual lacks to a corner goes to 0.
        """
        lines, own, theta = self.lines, self.lines.frame, self.theta.copy()
        spread = lines.spread(self.v)
        lacking = 1 - np.abs(own(self.d)) / own(lines.high)
        slopes = np.abs(own(spread - self.u)) / float(np.mean(spread + self.u))
        theta[: len(slopes)][slopes < lacking] = 0.0
        value = self.value()
        most = value + share * max(abs(value), 1e-3 * self.size)
        return theta if lines.value(theta, lines.apart(theta)) <= most else self.theta

    def advance(self) -> bool:
        """One predictor-corrector step; False when rounding leaves no room for one.

        Corrections bring products that would stray far from the others back, which lengthens the
        step (Gondzio, 1996, Multiple centrality corrections in a primal-dual method for linear
        programming).
        """
        lines, (s, r) = self.lines, self._slacks()
        if min(s.min(), r.min(), self.u.min(), self.v.min()) <= 0:
            return False
        us, vr = self.u / s, self.v / r
        eased = lines.eased(us, vr)
        matrix = lines.hessian(eased)
        np.einsum("ii->i", matrix)[...] += lines.ridge
        try:
            solve = lifted(matrix, LIFT, once)
        except (np.linalg.LinAlgError, ValueError):
            return False

        def lacking(theta: Array, d: Array) -> Array:
            """What the balance lacks after steps of θ and d."""
            left: Array = self.balance + lines.pull(d) + lines.ridge * theta
            return left

        def nearer(theta: Array, d: Array, left: Array, du0: Array, dv0: Array) -> Step:
            """These steps of θ and d with what the balance still lacks, and those that follow."""
            more = -solve(left)
            further = lines.times(eased, lines.moved(more))
            further += d
            sums = lines.summed(further)
            return Step(theta + more, further, sums, du0 - us * further, dv0 + vr * sums)

        def towards(du0: Array, dv0: Array) -> Step:
            """The step after which u is u + du0 and v is v + dv0 as far as d allows."""
            theta, d = np.zeros_like(self.theta), lines.times(eased, du0 - lines.spread(dv0))
            return nearer(theta, d, lacking(theta, d), du0, dv0)

        pairs = s.size + r.size
        mu = self._complementarity(s, r) / pairs
        step = towards(-self.u, -self.v)
        dual, primal = self._longest(step, s, r, 1.0)
        after = np.vdot(s + dual * step.d, self.u + primal * step.u)
        after += np.vdot(r + dual * step.r, self.v + primal * step.v)
        target = mu * (after / (pairs * mu)) ** 3
        aim = (target - step.d * step.u) / s - self.u, (target - step.r * step.v) / r - self.v
        step = towards(*aim)
        dual, primal = self._longest(step, s, r, NEAR)
        for _ in range(min(CORRECTIONS, self.theta.size // PAYS)):
            if min(dual, primal) > LONG:
                break
            far, fast = min(1.0, dual + REACH), min(1.0, primal + REACH)
            ahead = (
                aim[0] + _missed((s + far * step.d) * (self.u + fast * step.u), target) / s,
                aim[1] + _missed((r + far * step.r) * (self.v + fast * step.v), target) / r,
            )
            corrected = towards(*ahead)
            longer = self._longest(corrected, s, r, NEAR)
            if min(longer) < min(dual, primal) + WORTH:
                break
            aim, step = ahead, corrected
            dual, primal = longer
        for _ in range(REFINED):
            left = lacking(step.theta, step.d)
            if self._gained(left) <= LITTLE * pairs * target:
                break
            step = nearer(step.theta, step.d, left, *aim)
        dual, primal = self._longest(step, s, r, NEAR)
        self.theta, self.d = self.theta + primal * step.theta, self.d + dual * step.d
        self.u, self.v = self.u + primal * step.u, self.v + primal * step.v
        self.balance = self._balance()
        self.step = min(dual, primal)
        return self.step > 1e-10

    def _gained(self, left: Array) -> float:
        """What such a balance may hide: half its square over the ridge, or its product with θ."""
        ridge = self.lines.ridge
        free = np.abs(left * self.theta)
        return float(np.sum(np.divide(left * left, 2 * ridge, out=free, where=ridge > 0)))

    def _balance(self) -> Array:
        lines = self.lines
        balance: Array = lines.pull(self.d) + lines.ridge * self.theta + lines.slope
        return balance

    def _slacks(self) -> tuple[Array, Array]:
        """What d is above its least, and what is left of its bounds."""
        return self.d - self.lines.low, self.lines.high - self.lines.summed(self.d)

    def _complementarity(self, s: Array, r: Array) -> float:
        """What every step drives to zero."""
        return float(np.vdot(s, self.u) + np.vdot(r, self.v))

    def _longest(self, step: Step, s: Array, r: Array, near: float) -> tuple[float, float]:
        """The longest steps (of d, of the rest), at most 1, that keep everything positive.

        A ridge ties d to θ, so then both are the same.
        """
        dual = _room(((s, step.d), (r, step.r)), near)
        primal = _room(((self.u, step.u), (self.v, step.v)), near)
        if self.tied:
            dual = primal = min(dual, primal)
        return dual, primal


def _missed(products: Array, target: float) -> Array:
    """What brings products near the target; what takes some off is held back."""
    missed = np.clip(products, SPREAD * target, target / SPREAD) - products
    return np.maximum(missed, -target / SPREAD)


def _room(pairs: tuple[tuple[Array, Array], ...], near: float) -> float:
    """The longest step t ≤ 1 with x + t dx ≥ 0, `near` the whole way, for all pairs (x, dx)."""
    steepest = min(float((dx / x).min()) for x, dx in pairs)
    return min(1.0, near / -steepest) if steepest < 0 else 1.0
