"""Losses of errors in proportion to the target: percentages and ratios."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array, namespace, positive_part, to_float
from minimand.component import Card, component
from minimand.losses.base import PointwiseLoss, reject
from minimand.losses.regression import weighted_quantile
from minimand.losses.robust import lowest


@component
class MSLE(PointwiseLoss):
    """The mean squared logarithmic error: the squared error of log(1 + prediction).

    The score is log(1 + prediction), so every score is allowed; the response is the prediction.

    >>> import numpy as np
    >>> loss, score = MSLE(), np.log(np.array([1.0, 7.0]))
    >>> loss.value(score, np.array([0.0, 13.0])).round(4).tolist()
    [0.0, 0.4805]
    >>> loss.response(score).round(4).tolist()
    [0.0, 6.0]
    """

    card = Card(
        formula="(z - log(1 + y))²",
        source="scikit-learn, mean_squared_log_error, with z = log(1 + prediction)",
        use="growth and ratios of a target that is not negative; small values count as well",
        target="count",
        convex=True,
        curvature=2.0,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        return self._residual(score, target) ** 2

    def gradient(self, score: Array, target: Array) -> Array:
        return 2 * self._residual(score, target)

    def curvature(self, score: Array, target: Array) -> Array:
        return 2 * namespace(score).ones_like(score)

    def response(self, score: Array) -> Array:
        """The prediction exp(score) - 1."""
        return namespace(score).expm1(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The mean of log(1 + target)."""
        return np.average(np.log1p(target), weights=weight)

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number that is not negative."""
        check_not_negative(self, target)

    def _residual(self, score: Array, target: Array) -> Array:
        xp = namespace(score, target)
        return score - xp.log1p(to_float(target, score))


@component
class MAPE(PointwiseLoss):
    """The mean absolute percentage error, as a fraction: 0.1 is 10 %.

    Its constant is a weighted median that lies low, because an error of the same size costs more
    where the target is small.

    >>> import numpy as np
    >>> float(MAPE()(np.array([150.0, 100.0]), np.array([100.0, 200.0])))
    0.5
    """

    card = Card(
        formula="|z - y| / y",
        source="Gneiting (2011), Making and evaluating point forecasts, section 3.2",
        use="when the percentage itself is what is judged, for targets well above 0",
        target="positive",
        convex=True,
        kinks="z = y",
        bounded_influence=True,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        target = above_zero(to_float(target, score))
        return namespace(score, target).abs(score - target) / target

    def gradient(self, score: Array, target: Array) -> Array:
        target = above_zero(to_float(target, score))
        return namespace(score, target).sign(score - target) / target

    def curvature(self, score: Array, target: Array) -> Array:
        return namespace(score).zeros_like(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The median with weights weight / target."""
        return weighted_quantile(target, 0.5, (1.0 if weight is None else weight) / target)

    def pieces(self, target: Array) -> tuple[Array, Array, Array]:
        """(kink, slope below it, slope above it) of the two lines that make the loss."""
        return target, -1 / target, 1 / target

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number above 0."""
        target = np.asarray(target)
        bad = ~((target > 0) & np.isfinite(target))
        reject(self, target, bad, "not above 0", "a percentage of it means nothing; use SMAPE")


@component
class SMAPE(PointwiseLoss):
    """The symmetric mean absolute percentage error, as a fraction between 0 and 2.

    Too high and too low by the same factor cost the same. A prediction on the wrong side of 0
    costs 2 and feels no slope, so start above 0; where score and target are 0 the loss is 0.

    >>> import numpy as np
    >>> SMAPE().value(np.array([150.0, 100.0]), np.array([100.0, 150.0])).tolist()
    [0.4, 0.4]
    """

    card = Card(
        formula="2 |z - y| / (|z| + y)",
        source="Makridakis (1993), Accuracy measures: theoretical and practical concerns",
        use="when this percentage itself is what is judged, and targets of 0 occur",
        target="count",
        convex=False,
        kinks="z = y; z = 0, where it jumps for y = 0",
        bounded_influence=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        r = score - to_float(target, score)
        share = (positive_part(r) + positive_part(-r)) / self._size(score, target)
        xp = namespace(share)
        return 2 * xp.where(score < 0, xp.ones_like(share), share)

    def gradient(self, score: Array, target: Array) -> Array:
        return 4 * self._pull(score, target) / self._size(score, target) ** 2

    def curvature(self, score: Array, target: Array) -> Array:
        return -8 * self._pull(score, target) / self._size(score, target) ** 3

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return lowest(self, target, weight)

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number that is not negative."""
        check_not_negative(self, target)

    def _size(self, score: Array, target: Array) -> Array:
        """z + y for z ≥ 0, and 1 where both are 0."""
        xp = namespace(score, target)
        size = xp.where(score < 0, xp.zeros_like(score), score) + to_float(target, score)
        return xp.where(size > 0, size, xp.ones_like(size))

    def _pull(self, score: Array, target: Array) -> Array:
        """y with the sign of the residual, and 0 on the wrong side of 0."""
        target = to_float(target, score)
        xp = namespace(score, target)
        return xp.where(score < 0, xp.zeros_like(score), xp.sign(score - target) * target)


def above_zero(target: Array) -> Array:
    """1 in place of 0, which stands for an example that is masked."""
    xp = namespace(target)
    return xp.where(target > 0, target, xp.ones_like(target))


def check_not_negative(loss: PointwiseLoss, target: Array) -> None:
    """Raise `TargetError` unless every target is a finite number that is not negative."""
    target = np.asarray(target)
    bad = ~((target >= 0) & np.isfinite(target))
    reject(loss, target, bad, "not a number from 0 upwards", "use a loss for real targets")
