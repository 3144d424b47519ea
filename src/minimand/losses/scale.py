"""Negative log-likelihoods of a location and of the scale around it, and of an angle.

The method `dropped` gives the terms of -log p that no score changes; `value` leaves them out.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from minimand.arrays import Array, namespace, special, stop_gradient, to_float
from minimand.component import Card, Fraction, Positive, Range, component
from minimand.losses.base import Loss, reject
from minimand.losses.proportion import above_tangent
from minimand.losses.regression import ResidualLoss, weighted_quantile

LEAST_SPREAD = 1e-12


class ScaleLoss(Loss):
    """ρ(u) + log σ of the standardised residual u = (target - location) / σ, with log σ = h s.

    `s` is the second score and `h` is `share`. Subclasses give ρ, ρ', ρ'' / σ², (u ρ')' and
    1 - u ρ'.
    """

    score_axes = 1
    share: ClassVar[float] = 1.0

    def rho(self, u: Array) -> Array:
        """ρ(u)."""
        raise NotImplementedError

    def slope(self, u: Array) -> Array:
        """ρ'(u)."""
        raise NotImplementedError

    def bend(self, u: Array, score: Array, target: Array) -> Array:
        """ρ''(u) / σ²."""
        raise NotImplementedError

    def twist(self, u: Array) -> Array:
        """(u ρ')' = ρ'(u) + u ρ''(u)."""
        raise NotImplementedError

    def slack(self, u: Array, within: Array) -> Array:
        """1 - u ρ'(u), of `within` = 1 - |u|, which is exact where it nearly vanishes."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """ρ(u) + log σ for each example."""
        return self.rho(self._standardised(score, target)) + self.share * score[..., 1]

    def gradient(self, score: Array, target: Array) -> Array:
        """[-ρ'(u) / σ, h (1 - u ρ'(u))] for each example."""
        u = self._standardised(score, target)
        pull = self._over_scale(self.slope(u), score)
        slack = self.slack(u, self._within(score, target, u))
        return namespace(score).stack([-pull, self.share * slack], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """[[ρ'' / σ², h (u ρ')' / σ], [the same, h² u (u ρ')']] for each example."""
        xp, u = namespace(score), self._standardised(score, target)
        twist = self.twist(u)
        here = self.bend(u, score, target)
        both = self.share * self._over_scale(twist, score)
        rows = [[here, both], [both, self.share**2 * u * twist]]
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)

    def response(self, score: Array) -> Array:
        """The location, [n]."""
        return score[..., 0]

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number."""
        reject(self, target, ~np.isfinite(target), "not a finite number", "drop or repair that row")

    def _standardised(self, score: Array, target: Array) -> Array:
        return self._over_scale(to_float(target, score) - score[..., 0], score)

    def _within(self, score: Array, target: Array, u: Array, unit: Array = 1.0) -> Array:
        """1 - |u| of residuals in `unit` σ; where σ is nearly 1, by the series of e^{-log σ}."""
        xp, x = namespace(score), -self.share * score[..., 1]
        size, lost = (d / unit for d in distance(to_float(target, score), score[..., 0]))
        near = xp.abs(x) < 1e-3
        x = xp.where(near, x, 0 * x)
        short = (1 - size) - lost
        exact = ((1 - size) - x) - (lost - short * x + size * above_tangent(x))
        return xp.where(near, exact, 1 - xp.abs(u))

    def _over_scale(self, x: Array, score: Array) -> Array:
        """x / σ, in two steps, so that 0 / σ is 0 however small σ is."""
        root = namespace(score).exp(-0.5 * self.share * score[..., 1])
        return x * root * root


@component
class GaussianNLL(ScaleLoss):
    """The Gaussian negative log-likelihood of a mean and the log of a variance, both predicted.

    The constant ½ log(2π) is dropped. Any number of outputs: score [n, outputs, 2].

    >>> import numpy as np
    >>> GaussianNLL().value(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([3.0, 1.0])).tolist()
    [4.5, 1.0]
    """

    scores = ("mean", "log_variance")
    share = 0.5
    card = Card(
        formula="½ (s + (y - m)² exp(-s))",
        source="Nix and Weigend (1994), Estimating the mean and variance of the target, eq. 5",
        use="a mean and how far targets scatter around it, when both change with the input",
        target="real",
        convex=False,
        bounded_influence=False,
        proper=True,
    )

    def rho(self, u: Array) -> Array:
        return 0.5 * u * u

    def slope(self, u: Array) -> Array:
        return u

    def bend(self, u: Array, score: Array, target: Array) -> Array:
        return self._over_scale(namespace(u).ones_like(u), score) ** 2

    def twist(self, u: Array) -> Array:
        return 2 * u

    def slack(self, u: Array, within: Array) -> Array:
        return within * (1 + namespace(u).abs(u))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The mean and the log of the variance."""
        mean = np.average(target, weights=weight)
        variance = np.average((np.asarray(target) - mean) ** 2, weights=weight)
        return np.array([mean, np.log(max(variance, LEAST_SPREAD))])

    def dropped(self, target: Array) -> Array:
        """½ log(2π)."""
        return 0.5 * math.log(2 * math.pi) + 0.0 * target


@component
class BetaNLL(GaussianNLL):
    """The Gaussian likelihood in which each example weighs variance^β, held constant.

    A larger `beta` lets badly predicted examples pull the mean harder: 0 is GaussianNLL, and at 1
    the mean learns as under the squared error. The weight has no gradient, so the curvature is
    that of the example at its present weight. The constant ½ log(2π) is dropped.

    >>> import numpy as np
    >>> score, target = np.array([[0.0, 2.0]]), np.array([3.0])
    >>> BetaNLL(beta=1.0).gradient(score, target)[:, 0].round(9).tolist()
    [-3.0]
    """

    beta: Fraction = 0.5
    card = Card(
        formula="stop(exp(β s)) ½ (s + (y - m)² exp(-s))",
        source="Seitzer et al. (2022), On the pitfalls of heteroscedastic uncertainty, eq. 5",
        use="like GaussianNLL, where a network explains hard examples away as noise",
        target="real",
        convex=False,
        bounded_influence=False,
        search=MappingProxyType({"beta": Range(0.1, 1.0)}),
    )

    def value(self, score: Array, target: Array) -> Array:
        return self._weight(score) * super().value(score, target)

    def gradient(self, score: Array, target: Array) -> Array:
        return self._weight(score)[..., None] * super().gradient(score, target)

    def curvature(self, score: Array, target: Array) -> Array:
        return self._weight(score)[..., None, None] * super().curvature(score, target)

    def _weight(self, score: Array) -> Array:
        return namespace(score, self.beta).exp(self.beta * stop_gradient(score[..., 1]))


@component
class LaplaceNLL(ScaleLoss):
    """The Laplace negative log-likelihood of a median and the log of a scale, both predicted.

    The constant log 2 is dropped.

    >>> import numpy as np
    >>> LaplaceNLL().value(np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([3.0, 1.0])).tolist()
    [3.0, 2.0]
    """

    scores = ("median", "log_scale")
    card = Card(
        formula="s + |y - m| exp(-s)",
        source="Kotz, Kozubowski and Podgórski (2001), The Laplace Distribution, eq. 2.1.1",
        use="a median and how far targets scatter around it; tails heavier than Gaussian",
        target="real",
        convex=False,
        kinks="y = m",
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        """s + |u|; with s + |y - m| in one where σ is nearly 1."""
        xp, s = namespace(score), score[..., 1]
        size, lost = distance(to_float(target, score), score[..., 0])
        near = xp.abs(s) < 1
        exact = (s + size) + (lost + size * xp.expm1(-xp.where(near, s, 0 * s)))
        return xp.where(near, exact, s + xp.abs(self._standardised(score, target)))

    def slope(self, u: Array) -> Array:
        return namespace(u).sign(u)

    def bend(self, u: Array, score: Array, target: Array) -> Array:
        return namespace(u).zeros_like(u)

    def twist(self, u: Array) -> Array:
        return namespace(u).sign(u)

    def slack(self, u: Array, within: Array) -> Array:
        return within

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The median and the log of the mean absolute distance from it."""
        median = weighted_quantile(target, 0.5, weight)
        spread = np.average(np.abs(np.asarray(target) - median), weights=weight)
        return np.array([median, np.log(max(spread, LEAST_SPREAD))])

    def dropped(self, target: Array) -> Array:
        """log 2."""
        return math.log(2.0) + 0.0 * target


@component
class StudentT(ScaleLoss):
    """Student's t negative log-likelihood of a location and the log of a squared scale.

    A larger `df` trusts outliers more; at infinity this is GaussianNLL. The constant
    log Γ(½ ν) + ½ log(ν π) - log Γ(½ (ν + 1)) is dropped.

    >>> import numpy as np
    >>> StudentT(df=1.0).value(np.array([[0.0, 0.0]]), np.array([1.0])).round(4).tolist()
    [0.6931]
    """

    df: Positive = 4.0
    scores = ("location", "log_squared_scale")
    share = 0.5
    card = Card(
        formula="½ s + ½ (ν + 1) log(1 + (y - m)² exp(-s) / ν)",
        source="Lange, Little and Taylor (1989), Robust statistical modeling using the t, eq. 1",
        use="a location and a scale that a share of wild targets must not ruin",
        target="real",
        convex=False,
        bounded_influence=True,
        proper=True,
        search=MappingProxyType({"df": Range(1.0, 30.0, log=True)}),
    )

    def value(self, score: Array, target: Array) -> Array:
        """½ s + ½ (ν + 1) log(1 + u²/ν), by the logarithm of u where u² may overflow."""
        root, small, inside = self._folded(self._standardised(score, target))
        xp, log_scale = namespace(small), 0.5 * score[..., 1]
        r = xp.abs(to_float(target, score) - score[..., 0])
        log_a = xp.log(xp.where(inside, xp.ones_like(r), r / root)) - log_scale
        far = xp.where(inside, xp.zeros_like(r), 2 * log_a)
        return log_scale + 0.5 * (self.df + 1) * (xp.log1p(small * small) + far)

    def slope(self, u: Array) -> Array:
        root, small, _ = self._folded(u)
        return (self.df + 1) / root * small / (1 + small * small)

    def bend(self, u: Array, score: Array, target: Array) -> Array:
        root, small, inside = self._folded(u)
        xp, square = namespace(u), small * small
        side = self._fall(u / root, self._within(score, target, u / root, root), small, inside)
        shrunk = self._over_scale(xp.where(inside, xp.ones_like(u), xp.abs(small)), score)
        return (self.df + 1) / self.df * side / (1 + square) ** 2 * shrunk * shrunk

    def twist(self, u: Array) -> Array:
        root, small, inside = self._folded(u)
        square = small * small
        side = namespace(u).where(inside, namespace(u).ones_like(u), square)
        return 2 * (self.df + 1) / root * small * side / (1 + square) ** 2

    def slack(self, u: Array, within: Array) -> Array:
        """(1 - u²) / (1 + u² / ν)."""
        _, small, inside = self._folded(u)
        return self._fall(u, within, small, inside) / (1 + small * small)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The maximum-likelihood location and scale, by the EM algorithm of Lange et al."""
        target = np.asarray(target, dtype=float)
        weight = np.ones_like(target) if weight is None else np.asarray(weight, dtype=float)
        location = weighted_quantile(target, 0.5, weight)
        square = np.average((target - location) ** 2, weights=weight)
        for _ in range(2000):
            square = max(square, LEAST_SPREAD)
            trust = weight * (self.df + 1) / (self.df + (target - location) ** 2 / square)
            location = np.sum(trust * target) / np.sum(trust)
            square = np.sum(trust * (target - location) ** 2) / np.sum(weight)
        return np.array([location, np.log(max(square, LEAST_SPREAD))])

    def dropped(self, target: Array) -> Array:
        """log Γ(½ ν) + ½ log(ν π) - log Γ(½ (ν + 1))."""
        df = self.df + 0.0 * target
        gammas = special("gammaln", 0.5 * df) - special("gammaln", 0.5 * (df + 1))
        return gammas + 0.5 * namespace(df).log(math.pi * df)

    def _fall(self, x: Array, within: Array, small: Array, inside: Array) -> Array:
        """1 - x² of `within` = 1 - |x|, times the square of `small` where u is not `inside`."""
        xp = namespace(x)
        shrink = xp.where(inside, xp.ones_like(x), xp.abs(small))
        return (within * shrink) * ((1 + xp.abs(x)) * shrink)

    def _folded(self, u: Array) -> tuple[Any, Array, Array]:
        """√ν, and a = u / √ν, or 1 / a where a is beyond 1: nothing overflows."""
        xp = namespace(u, self.df)
        root = self.df**0.5
        a = u / root
        inside = xp.abs(a) <= 1
        return root, xp.where(inside, a, 1 / xp.where(inside, xp.ones_like(a), a)), inside


@component
class VonMises(ResidualLoss):
    """The von Mises negative log-likelihood of an angle in radians; full turns do not matter.

    A larger `concentration` makes a wrong direction dearer. The constant log(2π I₀(κ)) - κ is
    dropped.

    >>> import numpy as np
    >>> VonMises().value(np.array([np.pi, 2 * np.pi]), np.zeros(2)).round(9).tolist()
    [2.0, 0.0]
    """

    concentration: Positive = 1.0
    card = Card(
        formula="κ (1 - cos r)",
        source="Mardia and Jupp (2000), Directional Statistics, eq. 3.5.17",
        use="the mean direction: wind, time of day, orientation",
        target="angle",
        convex=False,
        lipschitz=lambda loss: loss.concentration,
        curvature=lambda loss: loss.concentration,
        bounded_influence=True,
        proper=True,
        symmetric=True,
        search=MappingProxyType({"concentration": Range(0.1, 10.0, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        return 2 * self.concentration * namespace(r).sin(0.5 * r) ** 2

    def slope(self, r: Array) -> Array:
        return self.concentration * namespace(r).sin(r)

    def bend(self, r: Array) -> Array:
        return self.concentration * namespace(r).cos(r)

    def response(self, score: Array) -> Array:
        """The direction as an angle in [-π, π]."""
        xp = namespace(score)
        return xp.atan2(xp.sin(score), xp.cos(score))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The mean direction."""
        sine, cosine = (np.average(f(target), weights=weight) for f in (np.sin, np.cos))
        return np.arctan2(sine, cosine)

    def dropped(self, target: Array) -> Array:
        """log(2π I₀(κ)) - κ."""
        concentration = self.concentration + 0.0 * target
        return namespace(concentration).log(2 * math.pi * special("i0e", concentration))


def distance(x: Array, y: Array) -> tuple[Array, Array]:
    """|x - y| and what its rounding lost; the two add up exactly (Knuth, TAOCP 4.2.2, theorem B).

    >>> [float(part) for part in distance(np.array(1.0), np.array(1e-20))]
    [1.0, -1e-20]
    """
    xp, gap = namespace(x, y), x - y
    shift = gap - x
    lost = (x - (gap - shift)) - (y + shift)
    return xp.abs(gap), xp.where(gap < 0, -lost, lost)
