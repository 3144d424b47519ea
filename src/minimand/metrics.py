"""Metrics: what the user cares about. They judge predictions; they are never descended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minimand.arrays import Array, arange, namespace, to_float, xlogy
from minimand.component import Card, Component, OpenFraction, component
from minimand.errors import ArgumentError

NUMBERS = ("regression", "count")
CLASSES = ("binary", "multiclass")


@dataclass(frozen=True)
class Prediction:
    """What a model says about n rows, in the form that metrics read.

    `value` [n] is the mean (regression, count) or the class index; `probability` is [n, K] if the
    loss is proper, else None; `score` [n] ranks the rows of a binary task; `classes` is K, by
    default as many as the rows show.
    """

    value: Array
    probability: Array | None = None
    score: Array | None = None
    classes: int | None = None

    def rows(self, index: Array) -> Prediction:
        """The prediction of some of the rows."""
        parts = (self.value, self.probability, self.score)
        value, probability, score = (None if part is None else part[index] for part in parts)
        return Prediction(value, probability, score, self.classes)


class Metric(Component):
    """A number that says how good predictions are."""

    kind = "metric"
    greater_is_better: ClassVar[bool] = False
    needs_probability: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, np.inf)
    of_rows: ClassVar[bool] = False
    """Whether it is the share of rows of which something is true."""

    def __call__(self, target: Array, prediction: Prediction, weight: Array | None = None) -> float:
        """The metric of [n] targets (numbers or class indices) and their predictions.

        A row of weight 2 counts like two rows, one of weight 0 like none.
        """
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name by which people ask for it, such as `mae` or `pinball(level=0.9)`."""
        return str(self).lower()

    @property
    def sign(self) -> int:
        """+1 if greater is better, else -1."""
        return 1 if self.greater_is_better else -1


class Formula(Metric):
    """A metric written for arrays of any library, so that it is worked out where these are."""

    def __call__(self, target: Array, prediction: Prediction, weight: Array | None = None) -> float:
        """The metric of [n] targets (numbers or class indices) and their predictions."""
        return float(self.value(target, prediction, weight))

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        """The same as a number of the arrays' library."""
        raise NotImplementedError


@component
class MSE(Formula):
    """The mean squared error, `mse`.

    >>> MSE()(np.array([3, -0.5, 2, 7]), Prediction(np.array([2.5, 0.0, 2, 8])))
    0.375
    """

    card = Card(
        "mean (y - ŷ)²",
        "Gauss (1823)",
        "large errors matter more than their number",
        NUMBERS,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        return average((target - prediction.value) ** 2, weight)


@component
class RMSE(Formula):
    """The root of the mean squared error, `rmse`, in the unit of the target."""

    card = Card(
        "√ mean (y - ŷ)²",
        "Gauss (1823)",
        "the typical error in the target's unit, large ones counting more",
        NUMBERS,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        value = average((target - prediction.value) ** 2, weight)
        return namespace(value).sqrt(value)


@component
class MAE(Formula):
    """The mean absolute error, `mae`, in the unit of the target."""

    card = Card(
        "mean |y - ŷ|",
        "Laplace (1789)",
        "the typical error in the target's unit",
        NUMBERS,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        return average(abs(target - prediction.value), weight)


@component
class MedianAE(Formula):
    """The median absolute error, `medianae`: blind to the worst half of the rows."""

    card = Card(
        "median |y - ŷ|",
        "Gauss (1816)",
        "the error of the better half of the rows",
        NUMBERS,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        error = abs(target - prediction.value)
        xp = namespace(error)
        order = xp.argsort(error)
        below = xp.cumulative_sum(_weights(error, weight)[order])
        ends = [xp.searchsorted(below, below[-1:] / 2, side=side) for side in ("left", "right")]
        return xp.mean(error[order][xp.clip(xp.concat(ends), 0, len(error) - 1)])


@component
class R2(Formula):
    """The share of the variance that is explained, `r2`; 0 for a constant target that is missed."""

    greater_is_better = True
    range = (-np.inf, 1.0)
    card = Card(
        "1 - Σ (y - ŷ)² / Σ (y - ȳ)²",
        "Wright (1921)",
        "comparison across targets of different units",
        NUMBERS,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        missed = average((target - prediction.value) ** 2, weight)
        spread = average((target - average(target, weight)) ** 2, weight)
        return _where(spread > 0, 1 - _ratio(missed, spread), missed == 0)


@component
class Pinball(Formula):
    """The mean pinball loss of a predicted quantile, `pinball(level=0.9)`."""

    level: OpenFraction = 0.5
    card = Card(
        "mean max(τ (y - ŷ), (τ - 1) (y - ŷ))",
        "Koenker and Bassett (1978)",
        "a predicted quantile, such as a high one for safety stock",
        NUMBERS,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        r = target - prediction.value
        return average(namespace(r).maximum(self.level * r, (self.level - 1) * r), weight)


@component
class PoissonDeviance(Formula):
    """The mean Poisson deviance, `poissondeviance`; predictions below 1e-6 count as 1e-6."""

    card = Card(
        "mean 2 (y log(y / ŷ) - y + ŷ)",
        "Nelder and Wedderburn (1972)",
        "counts, where errors matter relative to the mean",
        ("count",),
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        xp = namespace(prediction.value)
        mean = xp.clip(prediction.value, 1e-6, None)
        target = to_float(target, mean)
        return average(2 * (xlogy(target, target / mean) - target + mean), weight)


@component
class Accuracy(Formula):
    """The share of rows whose class is right, `accuracy`."""

    greater_is_better = True
    range = (0.0, 1.0)
    of_rows = True
    card = Card(
        "mean 1[ŷ = y]",
        "one minus the 0-1 error",
        "all mistakes cost the same",
        CLASSES,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        return average(target == prediction.value, weight)


@component
class Error(Formula):
    """The share of rows whose class is wrong: the 0-1 error, `error`."""

    range = (0.0, 1.0)
    of_rows = True
    card = Card(
        "mean 1[ŷ ≠ y]",
        "the 0-1 error",
        "all mistakes cost the same",
        CLASSES,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        return average(target != prediction.value, weight)


@component
class BalancedAccuracy(Formula):
    """The mean over the classes of the share that is found, `balancedaccuracy`."""

    greater_is_better = True
    range = (0.0, 1.0)
    card = Card(
        "mean over classes of recall",
        "Brodersen et al. (2010)",
        "rare classes matter as much as common ones",
        CLASSES,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        true, _, both = _counts(target, prediction, weight)
        return average(_ratio(both, true), true > 0)


@component
class F1(Formula):
    """The harmonic mean of precision and recall, `f1`; averaged over more than two classes."""

    greater_is_better = True
    range = (0.0, 1.0)
    card = Card(
        "2 TP / (2 TP + FP + FN)",
        "van Rijsbergen (1979)",
        "finding a rare class without false alarms",
        CLASSES,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        true, said, both = _counts(target, prediction, weight)
        found = _ratio(2 * both, true + said)
        return found[1] if len(found) == 2 else average(found, true + said > 0)


@component
class LogLoss(Formula):
    """The mean negative log-probability of the true class, `logloss`."""

    needs_probability = True
    card = Card(
        "mean -log p(y), p kept above 1e-15",
        "Good (1952)",
        "the probabilities themselves",
        CLASSES,
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        if prediction.probability is None:
            raise ArgumentError("logloss needs probabilities; use a proper loss such as Logistic")
        xp = namespace(prediction.probability)
        own = xp.take_along_axis(prediction.probability, target[:, None], axis=-1)[:, 0]
        return -average(xp.log(xp.clip(own, 1e-15, None)), weight)


@component
class AUC(Formula):
    """The area under the ROC curve, `auc`: how well the score ranks the two classes."""

    greater_is_better = True
    range = (0.0, 1.0)
    card = Card(
        "P(score of a 1 > score of a 0)",
        "Hanley and McNeil (1982)",
        "ranking the rows of two classes",
        ("binary",),
    )

    def value(self, target: Array, prediction: Prediction, weight: Array | None) -> Array:
        score: Array = prediction.score
        xp, weight = namespace(score), _weights(score, weight)
        order, positive = xp.argsort(score), weight * (target == 1)
        below = xp.cumulative_sum((weight - positive)[order], include_initial=True)
        first, last = (xp.searchsorted(score[order], score, side=s) for s in ("left", "right"))
        pairs = xp.sum(positive) * below[-1]
        won = xp.sum(positive * (below[first] + below[last])) / 2
        return _where(pairs > 0, _ratio(won, pairs), np.nan)


def average(values: Array, weight: Array | None) -> Array:
    """Σ w v / Σ w, and NaN where nothing has a weight."""
    if weight is None:
        return namespace(values).mean(values)
    total = namespace(weight).sum(weight)
    return _where(total > 0, _ratio((weight * values).sum(), total), np.nan)


def _counts(target: Array, prediction: Prediction, weight: Array | None) -> list[Array]:
    """Σ w over the rows that are of a class, said to be of it, and both: [K] each."""
    value, xp = prediction.value, namespace(prediction.value)
    classes = prediction.classes or max(2, int(max(target.max(), value.max())) + 1)
    true, said = (of[:, None] == arange(classes, value) for of in (target, value))
    weight = _weights(value, weight)[:, None]
    return [xp.sum(weight * rows, axis=0) for rows in (true, said, true & said)]


def _weights(like: Array, weight: Array | None) -> Array:
    return namespace(like).ones(len(like)) if weight is None else weight


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, and part where the whole is 0."""
    return part / _where(whole > 0, whole, 1)


def _where(condition: Array, value: Array, other: Array) -> Array:
    return namespace(condition).where(condition, value, other)


DEFAULT = {
    "regression": RMSE(),
    "count": PoissonDeviance(),
    "binary": Accuracy(),
    "multiclass": Accuracy(),
}
