"""Losses of the residual that outliers hardly move: their pull fades, and they are not convex."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, namespace, positive_part
from minimand.component import Card, Positive, Range, component
from minimand.losses.base import PointwiseLoss
from minimand.losses.regression import ResidualLoss

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
