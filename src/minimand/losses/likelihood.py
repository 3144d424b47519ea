"""Negative log-likelihoods of a score through its canonical link."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array, namespace, to_float
from minimand.component import Card, component
from minimand.losses.base import PointwiseLoss, reject


@component
class Poisson(PointwiseLoss):
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
        xp = namespace(score)
        target = to_float(target, score)
        near = xp.abs(score) < 1  # exp(z) - 1 cancels there, and expm1 does not
        return xp.where(near, xp.expm1(score) - (target - 1), xp.exp(score) - target)

    def curvature(self, score: Array, target: Array) -> Array:
        return namespace(score).exp(score)

    def response(self, score: Array) -> Array:
        """The mean exp(score)."""
        return namespace(score).exp(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The log of the mean, kept finite when every count is 0."""
        mean = np.average(target, weights=weight)
        return np.log(mean if mean > 0 else 0.5 / len(target))

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number that is not negative."""
        target = np.asarray(target)
        bad = ~((target >= 0) & np.isfinite(target))
        reject(self, target, bad, "not a count (0, 1, 2, ...)", "use a loss for real targets")
