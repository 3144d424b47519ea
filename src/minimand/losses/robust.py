"""Losses of the residual that outliers hardly move: redescending ones, and Huber's with a scale."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated

import numpy as np

from minimand.arrays import Array, clamp, cumulative_sum, namespace, positive_part, to_float
from minimand.component import Card, Interval, NonNegative, Positive, Range, component
from minimand.losses.base import JointLoss, PointwiseLoss, check_finite, crossing
from minimand.losses.regression import ResidualLoss, weighted_quantile

LEAST_SCALE, ROOM = 1e-9, 1e-12
TABLE = "Holland and Welsch (1977), Robust regression using iteratively reweighted least-squares"


class RedescendingLoss(ResidualLoss):
    """A loss whose pull on an outlier goes to 0.

    There may be several minima: descend from the fit of a convex loss such as Huber's.
    """

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return lowest(self, target, weight)


@component
class Cauchy(RedescendingLoss):
    """The negative log-likelihood of Cauchy errors, up to a factor: logarithmic far out.

    A larger `scale` (in units of the target) treats more residuals as ordinary. The default keeps
    95 % efficiency for Gaussian errors of standard deviation 1.

    >>> import numpy as np
    >>> Cauchy(scale=1.0).value(np.array([0.0, 3.0]), np.zeros(2)).round(4).tolist()
    [0.0, 1.1513]
    """

    scale: Positive = 2.385
    card = Card(
        formula="½ c² log(1 + (r/c)²)",
        source=TABLE,
        use="the centre of the conditional distribution when errors have very heavy tails",
        target="real",
        convex=False,
        lipschitz=lambda loss: loss.scale / 2,
        curvature=1.0,
        bounded_influence=True,
        symmetric=True,
        search=MappingProxyType({"scale": Range(0.5, 10.0, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        u = (r / self.scale) ** 2
        return 0.5 * self.scale**2 * namespace(u).log1p(u)

    def slope(self, r: Array) -> Array:
        return r / (1 + (r / self.scale) ** 2)

    def bend(self, r: Array) -> Array:
        t = r / self.scale
        w = 1 / (1 + t * t)
        return (1 - t) * w * (1 + t) * w


@component
class Welsch(RedescendingLoss):
    """The Gaussian loss (correntropy): squared near zero, and at most 1 whatever the residual.

    Textbooks that print exp(-r²/2σ²) give a *similarity*, which must be maximised; this is one
    minus it. A larger `scale` σ (in units of the target) treats more residuals as ordinary; the
    default keeps 95 % efficiency for Gaussian errors of standard deviation 1.

    >>> import numpy as np
    >>> Welsch(scale=1.0).value(np.array([0.0, 1.0, 100.0]), np.zeros(3)).round(4).tolist()
    [0.0, 0.3935, 1.0]
    """

    scale: Positive = 2.11
    card = Card(
        formula="1 - exp(-r²/(2σ²))",
        source=TABLE + ", with c = √2 σ",
        use="the centre of the conditional distribution, with gross outliers left out smoothly",
        target="real",
        convex=False,
        lipschitz=lambda loss: math.exp(-0.5) / loss.scale,
        curvature=lambda loss: loss.scale**-2,
        bounded_influence=True,
        symmetric=True,
        search=MappingProxyType({"scale": Range(0.5, 10.0, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        u = 0.5 * (r / self.scale) ** 2
        xp = namespace(u)  # autodiff of expm1 would lose the small slopes far out
        return xp.where(u < 0.5, -xp.expm1(-u), 1 - xp.exp(-u))

    def slope(self, r: Array) -> Array:
        return r * self._similarity(r) / self.scale**2

    def bend(self, r: Array) -> Array:
        t = r / self.scale
        return (1 - t) * (1 + t) * self._similarity(r) / self.scale**2

    def _similarity(self, r: Array) -> Array:
        u = 0.5 * (r / self.scale) ** 2
        return namespace(u).exp(-u)


@component
class TukeyBiweight(RedescendingLoss):
    """Squared near zero and constant beyond `scale`: gross outliers do not count at all.

    A larger `scale` (in units of the target) treats more residuals as ordinary; the default keeps
    95 % efficiency for Gaussian errors of standard deviation 1.

    >>> import numpy as np
    >>> TukeyBiweight(scale=3.0).value(np.array([0.0, 3.0, 100.0]), np.zeros(3)).tolist()
    [0.0, 1.5, 1.5]
    """

    scale: Positive = 4.685
    card = Card(
        formula="c²/6 (1 - (1 - (r/c)²)³) if |r| ≤ c, else c²/6",
        source="Beaton and Tukey (1974), The fitting of power series; " + TABLE,
        use="the centre of the conditional distribution, with gross outliers left out",
        target="real",
        convex=False,
        lipschitz=lambda loss: 16 / (25 * math.sqrt(5)) * loss.scale,
        curvature=1.0,
        bounded_influence=True,
        symmetric=True,
        search=MappingProxyType({"scale": Range(2.0, 20.0, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        xp = namespace(r, self.scale)
        t = xp.where(xp.abs(r) < self.scale, r / self.scale, xp.ones_like(r))
        u = t * t
        return self.scale**2 / 6 * u * (3 - 3 * u + u * u)  # 1 - (1 - u)³ would cancel near 0

    def slope(self, r: Array) -> Array:
        return r * self._inside(r) ** 2

    def bend(self, r: Array) -> Array:
        inside = self._inside(r)
        return inside * (5 * inside - 4)

    def _inside(self, r: Array) -> Array:
        """1 - (r/c)², and 0 beyond c."""
        t = r / self.scale
        return positive_part((1 - t) * (1 + t))


@component
class HuberWithScale(JointLoss):
    """Huber's loss of residuals in units of their own scale σ, which is estimated with the scores.

    σ is the number at which the loss is least: the one where the mean of min(r² / σ², ε²) is 1. So
    a target in other units changes nothing, and no δ has to be known; given σ, residuals beyond
    ε σ count as outliers. Convex in scores and σ together. One value for the whole batch (the last
    axis, if there are more); weights count as repeated examples do.

    Where so many residuals are 0 that no more than a share 1 / ε² of the examples is left, σ is 0
    and the loss is 2 ε mean |r|; a `least` scale above 0 makes it smooth there.

    >>> import numpy as np
    >>> score, target = np.array([1.0, -1.0, 1.0, 60.0]), np.zeros(4)
    >>> float(HuberWithScale(epsilon=1.5).scale(score, target).round(4))
    1.3093
    >>> float(HuberWithScale(epsilon=1.5)(score, target).round(4))
    46.1456
    """

    epsilon: Annotated[float, Interval(1.0, math.inf, "neither")] = 1.35
    least: NonNegative = 0.0
    card = Card(
        formula="min over σ ≥ least of mean(σ + σ H(r/σ)), H(u) = u² if |u| ≤ ε, else 2 ε |u| - ε²",
        source="Huber (1981), Robust Statistics, section 7.7; Owen (2007), A robust hybrid of "
        "lasso and ridge regression",
        use="the centre of the conditional distribution under moderate contamination, when the "
        "size of ordinary errors is not known",
        target="real",
        convex=True,
        kinks="so many r = 0 that σ = 0",
        bounded_influence=True,
        symmetric=True,
        search=MappingProxyType({"epsilon": Range(1.1, 3.0)}),
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """σ + mean of σ H(r / σ) over the last axis, at the best σ."""
        xp = namespace(score, weight)
        given = self._given(score, target, weight)
        return xp.sum(_shares(weight) * given.value(score, target), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """2 max(-ε, min(r / σ, ε)) / n: by the envelope theorem σ counts as given."""
        slope = self._given(score, target).gradient(score, target)
        return slope / score.shape[-1]

    def scale(self, score: Array, target: Array, weight: Array | None = None) -> Array:
        """The best σ, for each set: σ² = min over k of Σ_{i ≤ k} w r² / (Σ w - ε² Σ_{i > k} w).

        The examples are ordered by the size of r.
        """
        xp = namespace(score)
        square = (score - to_float(target, score)) ** 2
        order = xp.argsort(square, axis=-1)
        take = xp.take if square.ndim == 1 else xp.take_along_axis
        weight = take(xp.ones_like(square) if weight is None else weight, order, axis=-1)
        inner = cumulative_sum(weight * take(square, order, axis=-1))
        sums = cumulative_sum(weight)
        total = sums[..., -1:]
        room = total - self.epsilon**2 * (total - sums)
        open_ = room > ROOM * total
        square = xp.where(open_, inner / xp.where(open_, room, 1), inner[..., -1:])
        best = xp.min(square, axis=-1)
        free = best > self.least**2
        return xp.where(free, xp.sqrt(xp.where(free, best, 1)), self.least)

    def settled(self, score: Array, target: Array, weight: Array) -> GivenScale:
        """The loss of each example of a set in NumPy once σ is known; the weights sum to 1.

        σ² falls from the mean of r² to the best, which is a matter of a few steps: it becomes the
        number that would be best if the examples now within ε σ were those within the best ε σ.
        """
        square = (score - target) ** 2
        both, far = np.array([weight, weight * square]), self.epsilon**2
        last, best = math.inf, float(both[1].sum())
        while best < last:
            last, (share, inner) = best, (both @ (square <= far * best)).tolist()
            room = 1 - far * (1 - share)
            if room > ROOM:
                best = min(best, inner / room)
        scale = math.sqrt(best) if best > self.least**2 else self.least
        return GivenScale(self.epsilon, scale)

    def _given(self, score: Array, target: Array, weight: Array | None = None) -> GivenScale:
        return GivenScale(self.epsilon, self.scale(score, target, weight)[..., None])

    def guarded(self, target: Array, weight: Array) -> HuberWithScale:
        """The same with a least scale, far below the spread of the targets but not below rounding.

        Where rows are fitted exactly, steps towards a scale of 0 would end in noise.
        """
        share = _shares(weight)
        spread = share @ np.abs(target - share @ target) or share @ np.abs(target) or 1.0
        return replace(self, least=max(self.least, LEAST_SCALE * float(spread)))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The location that Huber's proposal 2 estimates along with the scale."""
        y = np.asarray(target, dtype=float)
        share = _shares(np.ones(y.shape) if weight is None else np.asarray(weight, dtype=float))

        def rise(constant: float) -> tuple[float, float]:
            score = np.full(y.shape, constant)
            given = self.settled(score, y, share)
            bends, r = share * given.curvature(score, y), score - y
            twist, bend = float(bends @ (r * r)), float(bends.sum())
            if twist > 0 and given.scale > self.least:
                bend -= float(bends @ r) ** 2 / twist
            return float(share @ given.gradient(score, y)), bend

        low, high = float(np.min(y)), float(np.max(y))
        return crossing(rise, low, high, float(weighted_quantile(y, 0.5, weight)), 1e-14)

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number."""
        check_finite(self, target)


class GivenScale(ResidualLoss):
    """σ + σ H(r / σ) for a given σ, which may be 0."""

    def __init__(self, epsilon: Array, scale: Array):
        self.epsilon, self.scale = epsilon, scale

    def rho(self, r: Array) -> Array:
        return self._rho(r, self.slope(r))

    def value_and_gradient(self, score: Array, target: Array) -> tuple[Array, Array]:
        r = score - to_float(target, score)
        inner = self.slope(r)
        return self._rho(r, inner), inner

    def _rho(self, r: Array, inner: Array) -> Array:
        return self.scale * (1 - 0.25 * inner * inner) + inner * r

    def slope(self, r: Array) -> Array:
        scale = self._above(r)
        return 2 / scale * clamp(r, self.epsilon * scale)

    def bend(self, r: Array) -> Array:
        xp = namespace(r)
        inside = (self.scale > 0) & (xp.abs(r) <= self.epsilon * self.scale)
        return xp.where(inside, 2 / self._above(r), 0)

    def _above(self, r: Array) -> Array:
        """σ, and next to nothing where it is 0."""
        return self.scale + float(namespace(r).finfo(r.dtype).smallest_normal)


def _shares(weight: Array) -> Array:
    """Weights over the last axis as shares of their sum; all 0 stay 0."""
    xp = namespace(weight)
    total = xp.sum(weight, axis=-1, keepdims=True)
    return weight / xp.where(total > 0, total, 1)


def lowest(loss: PointwiseLoss, target: Array, weight: Array | None = None) -> Array:
    """The constant of a loss with several minima: the best of 101 quantiles, then refined."""
    from scipy.optimize import minimize_scalar

    y = np.asarray(target, dtype=float)

    def cost(constant: float) -> float:
        return float(np.average(loss.value(np.full_like(y, constant), y), weights=weight))

    starts = np.unique(np.quantile(y, np.linspace(0, 1, 101)))
    costs = [cost(start) for start in starts]
    best = int(np.argmin(costs))
    ends = starts[max(best - 1, 0)], starts[min(best + 1, len(starts) - 1)]
    found = minimize_scalar(cost, bounds=ends, options={"xatol": 1e-9 * (1 + ends[1] - ends[0])})
    return found.x if found.fun < costs[best] else starts[best]
