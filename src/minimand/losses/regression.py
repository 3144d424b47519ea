"""Losses of the residual r = score - target, for a real target."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, namespace, positive_part, to_float
from minimand.component import Card, OpenFraction, Positive, Range, component
from minimand.losses.base import PointwiseLoss, reject

REGRESSION = ("regression", "count")


class ResidualLoss(PointwiseLoss):
    """A loss ρ(r) of the residual r = score - target; subclasses give ρ, ρ' and ρ''."""

    def rho(self, r: Array) -> Array:
        """ρ(r)."""
        raise NotImplementedError

    def slope(self, r: Array) -> Array:
        """ρ'(r)."""
        raise NotImplementedError

    def bend(self, r: Array) -> Array:
        """ρ''(r)."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """ρ(score - target) for each example."""
        return self.rho(score - to_float(target, score))

    def gradient(self, score: Array, target: Array) -> Array:
        """ρ'(score - target) for each example."""
        return self.slope(score - to_float(target, score))

    def curvature(self, score: Array, target: Array) -> Array:
        """ρ''(score - target) for each example."""
        return self.bend(score - to_float(target, score))

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number."""
        reject(self, target, ~np.isfinite(target), "not a finite number", "drop or repair that row")


@component
class Squared(ResidualLoss):
    """The squared error, whose constant is the mean.

    >>> import numpy as np
    >>> float(Squared()(np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])))
    0.375
    """

    card = Card(
        formula="r²",
        source="Legendre (1805), Nouvelles méthodes pour la détermination des orbites des comètes",
        use="the conditional mean, when errors are light-tailed",
        tasks=REGRESSION,
        target="real",
        convex=True,
        curvature=2.0,
        bounded_influence=False,
        proper=True,
    )

    def rho(self, r: Array) -> Array:
        return r * r

    def slope(self, r: Array) -> Array:
        return 2 * r

    def bend(self, r: Array) -> Array:
        return 2 * namespace(r).ones_like(r)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return np.average(target, weights=weight)


@component
class Absolute(ResidualLoss):
    """The absolute error, whose constant is the median.

    >>> import numpy as np
    >>> float(Absolute()(np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])))
    0.5
    """

    card = Card(
        formula="|r|",
        source="Boscovich (1757); Laplace (1789), least absolute deviations",
        use="the conditional median; outlying targets pull no harder than others",
        tasks=REGRESSION,
        target="real",
        convex=True,
        lipschitz=1.0,
        kinks="r = 0",
        bounded_influence=True,
        proper=True,
    )

    def rho(self, r: Array) -> Array:
        return namespace(r).abs(r)

    def slope(self, r: Array) -> Array:
        return namespace(r).sign(r)

    def bend(self, r: Array) -> Array:
        return namespace(r).zeros_like(r)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return weighted_quantile(target, 0.5, weight)

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kink, slope below it, slope above it) of the two lines that make the loss."""
        return target, -np.ones_like(target), np.ones_like(target)


@component
class Huber(ResidualLoss):
    """Squared near zero and linear beyond `delta`: nearly efficient, and robust to outliers.

    A larger `delta` (in units of the target) treats more residuals as ordinary.

    >>> import numpy as np
    >>> Huber(delta=1.0).value(np.array([0.5, 3.0]), np.array([0.0, 0.0])).tolist()
    [0.125, 2.5]
    """

    delta: Positive = 1.35
    card = Card(
        formula="½ r² if |r| ≤ δ, else δ (|r| - ½ δ)",
        source="Huber (1964), Robust estimation of a location parameter, eq. 4.1",
        use="the centre of the conditional distribution under moderate contamination",
        tasks=REGRESSION,
        target="real",
        convex=True,
        lipschitz=lambda loss: loss.delta,
        curvature=1.0,
        kinks="ρ'' jumps at |r| = δ",
        bounded_influence=True,
        search=MappingProxyType({"delta": Range(0.1, 10.0, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        inner = self.slope(r)
        return inner * (r - 0.5 * inner)

    def slope(self, r: Array) -> Array:
        xp = namespace(r, self.delta)
        return xp.where(xp.abs(r) <= self.delta, r, self.delta * xp.sign(r))

    def bend(self, r: Array) -> Array:
        xp = namespace(r, self.delta)
        return xp.where(xp.abs(r) <= self.delta, xp.ones_like(r), xp.zeros_like(r))


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
        search=MappingProxyType({"level": Range(0.05, 0.95)}),
    )

    def rho(self, r: Array) -> Array:
        return self.level * positive_part(-r) + (1 - self.level) * positive_part(r)

    def slope(self, r: Array) -> Array:
        xp = namespace(r, self.level)
        ones = xp.ones_like(r)
        below = xp.where(r < 0, -self.level * ones, 0 * ones)
        return xp.where(r > 0, (1 - self.level) * ones, below)

    def bend(self, r: Array) -> Array:
        return namespace(r).zeros_like(r)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return weighted_quantile(target, self.level, weight)

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kink, slope below it, slope above it) of the two lines that make the loss."""
        ones = np.ones_like(target)
        return target, -self.level * ones, (1 - self.level) * ones


def weighted_quantile(y: Array, level: float, weight: Array | None = None) -> Array:
    """The smallest y below which at least `level` of the weight lies; the middle of a tie.

    >>> float(weighted_quantile(np.array([1.0, 2.0, 3.0, 10.0]), 0.5))
    2.5
    """
    y = np.asarray(y, dtype=float)
    if weight is None:
        return np.quantile(y, level, method="averaged_inverted_cdf")
    order = np.argsort(y)
    share = np.cumsum(np.asarray(weight)[order])
    share = share / share[-1]
    first = np.searchsorted(share, level - 1e-12, side="left")
    last = np.searchsorted(share, level + 1e-12, side="right")
    return 0.5 * (y[order][first] + y[order][min(last, len(y) - 1)])
