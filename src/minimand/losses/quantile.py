"""Losses that weigh a prediction too low and one too high differently."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, namespace, positive_part, square_zeros, to_float
from minimand.component import Card, NonNegative, OpenFraction, Range, component
from minimand.errors import ArgumentError
from minimand.losses.base import Loss, check_finite
from minimand.losses.polyhedral import Polyhedral
from minimand.losses.regression import REGRESSION, ResidualLoss, weighted_quantile


@component
class Quantile(ResidualLoss):
    """The pinball loss, whose constant is the quantile at `level`.

    A larger `level` makes a prediction that is too low cost more.

    >>> import numpy as np
    >>> Quantile(level=0.9).value(np.array([0.0, 2.0]), np.array([1.0, 1.0])).round(9).tolist()
    [0.9, 0.1]
    """

    level: OpenFraction = 0.5
    card = Card(
        formula="-τ r if r < 0, else (1 - τ) r",
        source="Koenker and Bassett (1978), Regression quantiles, eq. 3.1",
        use="the conditional quantile at level τ; prediction intervals",
        tasks=REGRESSION,
        target="real",
        convex=True,
        lipschitz=lambda loss: max(loss.level, 1 - loss.level),
        kinks="r = 0",
        bounded_influence=True,
        proper=True,
        symmetric=lambda loss: bool(np.all(loss.level == 0.5)),
        search=MappingProxyType({"level": Range(0.05, 0.95)}),
    )

    def rho(self, r: Array) -> Array:
        return pinball(r, self.level)

    def slope(self, r: Array) -> Array:
        return pinball_slope(r, self.level)

    def bend(self, r: Array) -> Array:
        return namespace(r).zeros_like(r)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return weighted_quantile(target, self.level, weight)

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kink, slope below it, slope above it) of the two lines that make the loss."""
        ones = np.ones_like(target)
        return target, -self.level * ones, (1 - self.level) * ones


@component
class Quantiles(Loss, Polyhedral):
    """The sum of the pinball losses at several levels: one score for each, [n, L], target [n].

    `levels` are the quantiles wanted, in increasing order. A larger `crossing` makes neighbouring
    quantiles in the wrong order cost more; without it each level is fitted alone. The response is
    sorted, which keeps quantiles in order and never makes them worse (Chernozhukov, Fernández-Val
    and Galichon, 2010).

    >>> import numpy as np
    >>> loss = Quantiles(levels=(0.1, 0.9))
    >>> loss.value(np.array([[0.0, 3.0]]), np.array([1.0])).round(9).tolist()
    [0.3]
    """

    levels: tuple[OpenFraction, ...] = (0.1, 0.5, 0.9)
    crossing: NonNegative = 0.0
    score_axes = 1
    card = Card(
        formula="Σₗ max(-τₗ rₗ, (1 - τₗ) rₗ) + c Σₗ max(0, zₗ - zₗ₊₁)",
        source="Koenker and Bassett (1978), Regression quantiles, eq. 3.1, summed over levels",
        use="several quantiles by one model: a predictive distribution, intervals",
        target="real",
        convex=True,
        kinks="rₗ = 0, zₗ = zₗ₊₁",
        bounded_influence=True,
        proper=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels or list(self.levels) != sorted(set(self.levels)):
            raise ArgumentError(
                f"Quantiles: levels is {self.levels}; give at least one, in increasing order"
            )

    @property
    def scores(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the last axis of the score holds."""
        return tuple(f"quantile {level:g}" for level in self.levels)

    def value(self, score: Array, target: Array) -> Array:
        """The pinball losses and the penalty for crossing, summed over levels."""
        target = to_float(target, score)
        crossed = positive_part(score[..., :-1] - score[..., 1:])
        pinballs = [pinball(score[..., i] - target, t) for i, t in enumerate(self.levels)]
        return sum(pinballs) + self.crossing * namespace(score).sum(crossed, axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """[n, L]: the slope of each pinball, and ±c for a neighbour on the wrong side."""
        xp = namespace(score, target)
        target = to_float(target, score)
        slopes = [pinball_slope(score[..., i] - target, t) for i, t in enumerate(self.levels)]
        crossed = xp.astype(score[..., :-1] > score[..., 1:], slopes[0].dtype)
        edge = xp.zeros_like(slopes[0])[..., None]
        above, below = xp.concat([crossed, edge], axis=-1), xp.concat([edge, crossed], axis=-1)
        return xp.stack(slopes, axis=-1) + self.crossing * (above - below)

    def curvature(self, score: Array, target: Array) -> Array:
        """0 wherever it exists, [n, L, L]."""
        return square_zeros(score)

    def response(self, score: Array) -> Array:
        """The quantiles in increasing order, [n, L]."""
        return namespace(score).sort(score, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return np.array([weighted_quantile(target, level, weight) for level in self.levels])

    def apart(self, score: Array, target: Array) -> Array:
        """The residuals, and by how much neighbours are in the wrong order, [n, 2 L - 1]."""
        moved = self.moved(score, target)
        moved[..., : len(self.levels)] -= np.asarray(target)[..., None]
        return moved

    def moved(self, step: Array, target: Array) -> Array:
        return np.concat([step, step[..., :-1] - step[..., 1:]], axis=-1)

    def pulled(self, slopes: Array, target: Array) -> Array:
        count = len(self.levels)
        pulled = slopes[..., :count].copy()
        pulled[..., :-1] += slopes[..., count:]
        pulled[..., 1:] -= slopes[..., count:]
        return pulled

    def box(self, target: Array) -> tuple[Array, Array]:
        none = np.zeros(len(self.levels) - 1)
        levels = np.asarray(self.levels)
        return np.append(-levels, none), np.append(1 - levels, none + self.crossing)

    def singles(self) -> tuple[Loss, ...]:
        return () if self.crossing else tuple(Quantile(level) for level in self.levels)

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number."""
        check_finite(self, target)


@component
class Expectile(ResidualLoss):
    """The squared error, weighed by side; its constant is the expectile at `level`.

    A larger `level` makes a prediction that is too low cost more. At 0.5 it is half the squared
    error.

    >>> import numpy as np
    >>> Expectile(level=0.9).value(np.array([0.0, 3.0]), np.array([1.0, 1.0])).round(9).tolist()
    [0.9, 0.4]
    """

    level: OpenFraction = 0.5
    card = Card(
        formula="τ r² if r < 0, else (1 - τ) r²",
        source="Newey and Powell (1987), Asymmetric least squares estimation and testing, eq. 2.1",
        use="the conditional expectile at level τ: a mean that leans to one side",
        target="real",
        convex=True,
        curvature=lambda loss: 2 * max(loss.level, 1 - loss.level),
        kinks="ρ'' jumps at r = 0",
        bounded_influence=False,
        proper=True,
        symmetric=lambda loss: bool(np.all(loss.level == 0.5)),
        search=MappingProxyType({"level": Range(0.05, 0.95)}),
    )

    def rho(self, r: Array) -> Array:
        return 0.5 * self.bend(r) * r * r

    def slope(self, r: Array) -> Array:
        return self.bend(r) * r

    def bend(self, r: Array) -> Array:
        xp = namespace(r, self.level)
        ones = xp.ones_like(r)
        return 2 * xp.where(r < 0, self.level * ones, (1 - self.level) * ones)


def pinball(r: Array, level: Array) -> Array:
    """-level · r below 0 and (1 - level) · r above it."""
    return level * positive_part(-r) + (1 - level) * positive_part(r)


def pinball_slope(r: Array, level: Array) -> Array:
    """The slope of `pinball`, 0 at its kink."""
    xp = namespace(r, level)
    return (1 - level) * xp.astype(r > 0, r.dtype) - level * xp.astype(r < 0, r.dtype)
