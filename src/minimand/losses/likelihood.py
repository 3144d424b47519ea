"""Negative log-likelihoods of a score that is the logarithm of the mean.

An exposure t (person-years, area, policies) enters as an offset: pass `score + log(t)`. The method
`dropped` gives the terms of -log p that no score changes; `value` leaves them out.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

import numpy as np

from minimand.arrays import Array, log1pexp, logsumexp, namespace, sigmoid, special, times, to_float
from minimand.component import Card, Interval, Positive, Range, component
from minimand.losses.base import Loss, PointwiseLoss, reject


class LogLinkLoss(PointwiseLoss):
    """A loss whose best score is the logarithm of the mean of a target that is not negative."""

    def response(self, score: Array) -> Array:
        """The mean exp(score)."""
        return namespace(score).exp(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The log of the mean, kept finite when every target is 0."""
        mean = np.average(target, weights=weight)
        return np.log(mean if mean > 0 else 0.5 / len(target))

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number that is not negative."""
        _check_not_negative(self, target)


class PositiveLoss(LogLinkLoss):
    """A loss whose best score is the logarithm of the mean of a positive target."""

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number above 0."""
        bad = ~((np.asarray(target) > 0) & np.isfinite(target))
        todo = "drop that row, or use Tweedie, which takes zeros"
        reject(self, target, bad, "not a finite positive number", todo)

    def _surplus(self, score: Array, target: Array) -> Array:
        """1 - target exp(-score), without cancellation where the score is nearly right."""
        xp = namespace(score)
        beyond = xp.log(target) - score
        return xp.where(xp.abs(beyond) < 1, -xp.expm1(beyond), 1 - target * xp.exp(-score))


@component
class Poisson(LogLinkLoss):
    """The Poisson negative log-likelihood of a count, with mean exp(score).

    The constant log(target!) is dropped.

    >>> import numpy as np
    >>> Poisson().value(np.array([0.0, 1.0]), np.array([3, 0])).round(4).tolist()
    [1.0, 2.7183]
    """

    card = Card(
        formula="exp(z) - y z",
        source="Nelder and Wedderburn (1972), Generalized linear models",
        use="the mean of a count or a rate",
        tasks=("count",),
        target="count",
        convex=True,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        return namespace(score).exp(score) - to_float(target, score) * score

    def gradient(self, score: Array, target: Array) -> Array:
        return self.value_and_gradient(score, target)[1]

    def value_and_gradient(self, score: Array, target: Array) -> tuple[Array, Array]:
        mean, target = namespace(score).exp(score), to_float(target, score)
        return mean - target * score, _excess(score, target, mean)

    def curvature(self, score: Array, target: Array) -> Array:
        return namespace(score).exp(score)

    def dropped(self, target: Array) -> Array:
        """log(target!), exact, where other libraries take Stirling's formula."""
        return special("gammaln", target + 1.0)


@component
class Gamma(PositiveLoss):
    """The gamma negative log-likelihood of a positive target, with mean exp(score).

    For a shape k the likelihood is k times this, less terms of k and the target alone.

    >>> import numpy as np
    >>> Gamma().value(np.array([0.0, 1.0]), np.array([3.0, 2.71828])).round(4).tolist()
    [3.0, 2.0]
    """

    card = Card(
        formula="z + y exp(-z)",
        source="McCullagh and Nelder (1989), Generalized Linear Models, section 8.3",
        use="the mean of a positive amount whose spread grows with its mean: costs, durations",
        target="positive",
        convex=True,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        return score + to_float(target, score) * namespace(score).exp(-score)

    def gradient(self, score: Array, target: Array) -> Array:
        return self._surplus(score, to_float(target, score))

    def curvature(self, score: Array, target: Array) -> Array:
        return to_float(target, score) * namespace(score).exp(-score)


@component
class InverseGaussian(PositiveLoss):
    """The inverse-Gaussian negative log-likelihood of a positive target, with mean exp(score).

    The constant 1 / (2 target) is dropped. For a shape λ the likelihood is λ times this, less
    terms of λ and the target alone.

    >>> import numpy as np
    >>> InverseGaussian().value(np.array([0.0, 0.0]), np.array([1.0, 4.0])).tolist()
    [-0.5, 1.0]
    """

    card = Card(
        formula="½ y exp(-2z) - exp(-z)",
        source="McCullagh and Nelder (1989), Generalized Linear Models, table 2.1",
        use="the mean of a positive amount with a tail heavier than the gamma's",
        target="positive",
        convex=False,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        rate = namespace(score).exp(-score)
        return rate * (0.5 * to_float(target, score) * rate - 1)

    def gradient(self, score: Array, target: Array) -> Array:
        return namespace(score).exp(-score) * self._surplus(score, to_float(target, score))

    def curvature(self, score: Array, target: Array) -> Array:
        rate = namespace(score).exp(-score)
        return rate * (2 * to_float(target, score) * rate - 1)


@component
class Tweedie(LogLinkLoss):
    """Half the Tweedie deviance: many exact zeros and a positive rest, with mean exp(score).

    A larger `power` (the variance grows like the mean to that power) forgives large targets more;
    Poisson is the limit at 1 and Gamma the limit at 2. The terms of the target alone are dropped.

    >>> import numpy as np
    >>> Tweedie(power=1.5).value(np.array([0.0, 0.0]), np.array([0.0, 1.0])).tolist()
    [2.0, 4.0]
    """

    power: Annotated[float, Interval(1.0, 2.0, "neither")] = 1.5
    card = Card(
        formula="exp((2 - p) z) / (2 - p) + y exp((1 - p) z) / (p - 1)",
        source="Jørgensen (1987), Exponential dispersion models",
        use="the mean of an amount that is often exactly zero: claims, rainfall",
        target="count",
        convex=True,
        bounded_influence=False,
        proper=True,
        search=MappingProxyType({"power": Range(1.2, 1.8)}),
    )

    def value(self, score: Array, target: Array) -> Array:
        target = to_float(target, score)
        up, down = self._powers(score, target)
        return up / (2 - self.power) + target * down / (self.power - 1)

    def gradient(self, score: Array, target: Array) -> Array:
        xp, target = namespace(score, self.power), to_float(target, score)
        up, down = self._powers(score, target)
        near = xp.abs(score) < 1
        exact = xp.exp((1 - self.power) * xp.where(near, score, 0 * score))
        return xp.where(near, exact * _excess(score, target), up - target * down)

    def curvature(self, score: Array, target: Array) -> Array:
        target = to_float(target, score)
        up, down = self._powers(score, target)
        return (2 - self.power) * up + (self.power - 1) * target * down

    def _powers(self, score: Array, target: Array) -> tuple[Array, Array]:
        """exp((2 - p) z) and exp((1 - p) z), the latter 1 where a target of 0 makes it idle."""
        xp = namespace(score, self.power)
        idle = xp.where(target == 0, xp.zeros_like(score), score)
        return xp.exp((2 - self.power) * score), xp.exp((1 - self.power) * idle)


@component
class NegativeBinomial(LogLinkLoss):
    """The negative-binomial (NB2) negative log-likelihood of a count, with mean exp(score).

    A larger `dispersion` α (the variance is μ + α μ²) lets large counts pull less; Poisson is the
    limit at 0. The constant log(y!) + log Γ(1/α) - log Γ(y + 1/α) is dropped.

    >>> import numpy as np
    >>> NegativeBinomial(dispersion=1.0).value(np.zeros(2), np.array([0, 2])).round(4).tolist()
    [0.6931, 2.0794]
    """

    dispersion: Positive = 1.0
    card = Card(
        formula="y log(1 + 1/(α exp(z))) + log(1 + α exp(z)) / α",
        source="Hilbe (2011), Negative Binomial Regression, eq. 8.9",
        use="the mean of a count that varies more than a Poisson count",
        target="count",
        convex=True,
        bounded_influence=False,
        proper=True,
        search=MappingProxyType({"dispersion": Range(0.01, 10.0, log=True)}),
    )

    def value(self, score: Array, target: Array) -> Array:
        t = self._odds(score)
        return to_float(target, score) * log1pexp(-t) + log1pexp(t) / self.dispersion

    def gradient(self, score: Array, target: Array) -> Array:
        """(μ - y) / (1 + α μ)."""
        xp, t, target = namespace(score), self._odds(score), to_float(target, score)
        near = xp.abs(score) < 1
        far = sigmoid(t) / self.dispersion - target * sigmoid(-t)
        return xp.where(near, _excess(xp.where(near, score, 0 * score), target) * sigmoid(-t), far)

    def curvature(self, score: Array, target: Array) -> Array:
        t = self._odds(score)
        return (to_float(target, score) + 1 / self.dispersion) * sigmoid(t) * sigmoid(-t)

    def dropped(self, target: Array) -> Array:
        """log(y!) + log Γ(1/α) - log Γ(y + 1/α)."""
        size = 1 / self.dispersion + 0.0 * target
        choices = special("gammaln", target + size) - special("gammaln", size)
        return special("gammaln", target + 1.0) - choices

    def _odds(self, score: Array) -> Array:
        """log(α μ)."""
        xp = namespace(score, self.dispersion)
        return score + xp.log(self.dispersion * xp.ones_like(score))


@component
class ZeroInflatedPoisson(Loss):
    """A Poisson count that is 0 for another reason, too, with probability sigmoid(zero_logit).

    The constant log(target!) is dropped. The response is the mean of the count.

    >>> import numpy as np
    >>> ZeroInflatedPoisson().value(np.zeros((2, 2)), np.array([0, 2])).round(4).tolist()
    [0.3799, 1.6931]
    """

    score_axes = 1
    scores = ("log_mean", "zero_logit")
    card = Card(
        formula="-log(π + (1 - π) exp(-μ)) if y = 0, else μ - y z - log(1 - π); μ = exp(z)",
        source="Lambert (1992), Zero-inflated Poisson regression, eq. 1",
        use="counts with more zeros than a Poisson count has",
        target="count",
        convex=False,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        xp = namespace(score)
        z, g, y = score[..., 0], score[..., 1], to_float(target, score)
        mean = xp.exp(z)
        positive = sigmoid(-g) * -xp.expm1(-mean)  # the probability that the count is not 0
        few = positive < 0.5
        rare = -xp.log1p(-xp.where(few, positive, 0 * positive))
        common = log1pexp(g) - logsumexp(xp.stack([g, -mean], axis=-1))
        return xp.where(y == 0, xp.where(few, rare, common), mean - y * z + log1pexp(g))

    def gradient(self, score: Array, target: Array) -> Array:
        xp = namespace(score)
        z, g, zero = score[..., 0], score[..., 1], target == 0
        mean = xp.exp(z)
        pull = xp.exp(z - log1pexp(g + mean))  # the mean, times the odds that this 0 is a count
        structural = _sigmoid_gap(g, g + mean, -mean)
        by_mean = xp.where(zero, pull, _excess(z, to_float(target, score)))
        return xp.stack([by_mean, xp.where(zero, structural, sigmoid(g))], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        xp = namespace(score)
        z, g, zero = score[..., 0], score[..., 1], target == 0
        mean = xp.exp(z)
        pull, extra = xp.exp(z - log1pexp(g + mean)), sigmoid(g + mean)
        both = xp.where(zero, -pull * extra, 0 * z)
        by_mean = xp.where(zero, times(pull, pull - xp.expm1(z)), mean)
        tilt = _sigmoid_gap(-g - mean, g, -2 * g - mean)
        inflated = _sigmoid_gap(g, g + mean, -mean) * tilt
        by_logit = xp.where(zero, inflated, sigmoid(g) * sigmoid(-g))
        rows = [[by_mean, both], [both, by_logit]]
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)

    def response(self, score: Array) -> Array:
        """The mean (1 - π) μ of the count, [n]."""
        return sigmoid(-score[..., 1]) * namespace(score).exp(score[..., 0])

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The maximum-likelihood log mean and logit of inflation, by fixed-point iteration."""
        target = np.asarray(target, dtype=float)
        zeros = float(np.average(target == 0, weights=weight))
        if zeros in (0.0, 1.0):
            return np.array([Poisson().constant(target, weight), -30.0])
        above = np.average(target, weights=weight) / (1 - zeros)  # the mean of what is not 0
        mean = above
        for _ in range(1000):
            mean = max(-above * np.expm1(-mean), 1e-12)
        inflated = 1 - (1 - zeros) / -np.expm1(-mean)
        if not inflated > 0:
            return np.array([Poisson().constant(target, weight), -30.0])
        return np.array([np.log(mean), np.log(inflated) - np.log1p(-inflated)])

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number that is not negative."""
        _check_not_negative(self, target)

    def dropped(self, target: Array) -> Array:
        """log(target!)."""
        return Poisson().dropped(target)


def _check_not_negative(loss: Loss, target: Array) -> None:
    bad = ~((np.asarray(target) >= 0) & np.isfinite(target))
    reject(loss, target, bad, "not a finite number of at least 0", "use a loss for real targets")


def _excess(score: Array, target: Array, mean: Array | None = None) -> Array:
    """exp(score) - target, of a known mean exp(score) or not.

    exp(score) - 1 cancels near 0, and expm1 does not.
    """
    xp = namespace(score)
    mean = xp.exp(score) if mean is None else mean
    return xp.where(xp.abs(score) < 1, xp.expm1(score) - (target - 1), mean - target)


def _sigmoid_gap(x: Array, y: Array, gap: Array) -> Array:
    """sigmoid(x) - sigmoid(y) from gap = x - y, without cancellation."""
    xp, above = namespace(x), gap > 0
    shrunk = xp.expm1(xp.where(above, -gap, gap))
    return xp.where(above, -sigmoid(x) * sigmoid(-y), sigmoid(-x) * sigmoid(y)) * shrunk
