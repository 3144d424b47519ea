"""Losses of the residual r = score - target, for a real target."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np

from minimand.arrays import Array, clamp, namespace, norm, positive_part, to_float
from minimand.component import Card, NonNegative, Positive, Range, component
from minimand.errors import ArgumentError
from minimand.losses.base import JointLoss, PointwiseLoss, check_finite

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
        check_finite(self, target)


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
        symmetric=True,
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
class HalfSquared(ResidualLoss):
    """Half the squared error, whose gradient is the residual itself.

    >>> import numpy as np
    >>> HalfSquared().value(np.array([2.5, 8.0]), np.array([3.0, 7.0])).tolist()
    [0.125, 0.5]
    """

    card = Card(
        formula="½ r²",
        source="Nelder and Wedderburn (1972), Generalized linear models, the normal family",
        use="the squared error where other libraries carry the factor ½",
        target="real",
        convex=True,
        curvature=1.0,
        bounded_influence=False,
        proper=True,
        symmetric=True,
    )

    def rho(self, r: Array) -> Array:
        return 0.5 * r * r

    def slope(self, r: Array) -> Array:
        return r

    def bend(self, r: Array) -> Array:
        return namespace(r).ones_like(r)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return np.average(target, weights=weight)


@component
class RootMeanSquared(JointLoss):
    """The root of a batch's mean squared error, in the unit of the target; score and target [n].

    One value for the whole batch (the last axis, if there are more), so it depends on how examples
    are batched. Weights act inside the root. Where every residual is 0, so is the gradient.

    >>> import numpy as np
    >>> float(RootMeanSquared()(np.array([3.0, -4.0]), np.array([0.0, 0.0])).round(4))
    3.5355
    """

    card = Card(
        formula="√(Σ w r² / Σ w)",
        source="Gauss (1821), Theoria combinationis observationum, the mean error to be feared",
        use="the conditional mean, with steps that do not depend on the target's unit",
        target="real",
        convex=True,
        kinks="every r = 0",
        bounded_influence=False,
        proper=True,
        symmetric=True,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """√(Σ w r² / Σ w) over the last axis."""
        xp = namespace(score, weight)
        total = xp.sum(weight, axis=-1, keepdims=True)
        share = weight / xp.where(total > 0, total, xp.ones_like(total))
        return norm(xp.sqrt(share) * (score - to_float(target, score)))

    def gradient(self, score: Array, target: Array) -> Array:
        """r / (n · value), and 0 where every residual is 0."""
        xp = namespace(score)
        value = self.value(score, target)[..., None]
        scale = score.shape[-1] * xp.where(value > 0, value, xp.ones_like(value))
        return (score - to_float(target, score)) / scale

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return np.average(target, weights=weight)

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number."""
        check_finite(self, target)

    def total(
        self,
        score: Array,
        target: Array,
        *,
        weight: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[Array, Array]:
        """Refused: the root of a mean is no sum over batches, so nothing exact can be added up.

        Raises:
            ArgumentError: always; the text says what to add up instead.
        """
        raise ArgumentError(
            "RootMeanSquared is not a sum over batches and has no total; add up Squared().total "
            "and take the root of the quotient"
        )


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
        symmetric=True,
    )

    def rho(self, r: Array) -> Array:
        return namespace(r).abs(r)

    def slope(self, r: Array) -> Array:
        return namespace(r).sign(r)

    def bend(self, r: Array) -> Array:
        return namespace(r).zeros_like(r)

    def curvature(self, score: Array, target: Array) -> Array:
        """0 for each example, without a pass for the residual."""
        return self.bend(score)

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
        symmetric=True,
        search=MappingProxyType({"delta": Range(0.1, 10.0, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        xp = namespace(r, self.delta)
        inner = self.slope(r)
        outer = self.delta * (xp.abs(r) - 0.5 * self.delta)
        return xp.where(r == inner, 0.5 * r * inner, outer)

    def slope(self, r: Array) -> Array:
        return clamp(r, self.delta)

    def bend(self, r: Array) -> Array:
        xp = namespace(r, self.delta)
        return xp.astype(xp.abs(r) <= self.delta, r.dtype)


@component
class LogCosh(ResidualLoss):
    """Squared near zero and linear far out, with every derivative continuous.

    It is Huber's idea without a `delta`: the turn lies near |r| = 1, so scale the target.

    >>> import numpy as np
    >>> LogCosh().value(np.array([1e-8, 800.0]), np.zeros(2)).round(20).tolist()
    [5e-17, 799.30685281944]
    """

    card = Card(
        formula="log cosh r",
        source="Green (1990), Bayesian reconstructions from emission tomography data",
        use="like Huber's loss with δ = 1, where second derivatives must be smooth",
        target="real",
        convex=True,
        lipschitz=1.0,
        curvature=1.0,
        bounded_influence=True,
        symmetric=True,
    )

    def rho(self, r: Array) -> Array:
        xp = namespace(r)
        size = xp.abs(r)
        near = size < 1  # there |r| - log 2 would cancel; far out sinh would overflow
        inner = 0.5 * xp.log1p(xp.sinh(xp.where(near, r, xp.zeros_like(r))) ** 2)
        return xp.where(near, inner, size + (xp.log1p(xp.exp(-2 * size)) - math.log(2)))

    def slope(self, r: Array) -> Array:
        return namespace(r).tanh(r)

    def bend(self, r: Array) -> Array:
        xp = namespace(r)
        e = xp.exp(-2 * xp.abs(r))
        return 4 * e / (1 + e) ** 2


@component
class EpsilonInsensitive(ResidualLoss):
    """The absolute error beyond `epsilon`: smaller residuals cost nothing.

    A larger `epsilon` (in units of the target) widens the tube within which errors are free.

    >>> import numpy as np
    >>> EpsilonInsensitive(epsilon=0.5).value(np.array([0.4, -2.0]), np.zeros(2)).tolist()
    [0.0, 1.5]
    """

    epsilon: NonNegative = 0.1
    card = Card(
        formula="max(0, |r| - ε)",
        source="Vapnik (1995), The nature of statistical learning theory, section 6.1",
        use="support vector regression: errors below a tolerance do not matter",
        target="real",
        convex=True,
        lipschitz=1.0,
        kinks="|r| = ε",
        bounded_influence=True,
        symmetric=True,
        search=MappingProxyType({"epsilon": Range(0.01, 0.5, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        return positive_part(namespace(r).abs(r) - self.epsilon)

    def slope(self, r: Array) -> Array:
        xp = namespace(r, self.epsilon)
        return xp.where(xp.abs(r) > self.epsilon, xp.sign(r), xp.zeros_like(r))

    def bend(self, r: Array) -> Array:
        return namespace(r).zeros_like(r)

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kinks, slopes below, slopes above), [n, 2], of the two halves, each of two lines."""
        kinks = np.stack([target - self.epsilon, target + self.epsilon], axis=-1)
        zeros, ones = np.zeros_like(target), np.ones_like(target)
        return kinks, np.stack([-ones, zeros], axis=-1), np.stack([zeros, ones], axis=-1)


@component
class SquaredEpsilonInsensitive(ResidualLoss):
    """The square of the error beyond `epsilon`: smaller residuals cost nothing.

    A larger `epsilon` (in units of the target) widens the tube within which errors are free.

    >>> import numpy as np
    >>> SquaredEpsilonInsensitive(epsilon=0.5).value(np.array([0.4, -2.0]), np.zeros(2)).tolist()
    [0.0, 2.25]
    """

    epsilon: NonNegative = 0.1
    card = Card(
        formula="max(0, |r| - ε)²",
        source="Vapnik (1995), The nature of statistical learning theory, section 6.1",
        use="support vector regression by smooth solvers",
        target="real",
        convex=True,
        curvature=2.0,
        kinks="ρ'' jumps at |r| = ε",
        bounded_influence=False,
        symmetric=True,
        search=MappingProxyType({"epsilon": Range(0.01, 0.5, log=True)}),
    )

    def rho(self, r: Array) -> Array:
        return positive_part(namespace(r).abs(r) - self.epsilon) ** 2

    def slope(self, r: Array) -> Array:
        xp = namespace(r)
        return 2 * positive_part(xp.abs(r) - self.epsilon) * xp.sign(r)

    def bend(self, r: Array) -> Array:
        xp = namespace(r, self.epsilon)
        return xp.where(xp.abs(r) > self.epsilon, 2 * xp.ones_like(r), xp.zeros_like(r))


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
