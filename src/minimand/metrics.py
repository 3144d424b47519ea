"""Metrics: what the user cares about. They judge predictions; they are never descended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minimand.arrays import Array
from minimand.component import Card, Component, OpenFraction, component
from minimand.errors import ArgumentError

NUMBERS = ("regression", "count")
CLASSES = ("binary", "multiclass")


@dataclass(frozen=True)
class Prediction:
    """What a model says about n rows, in the form that metrics read.

    `value` [n] is the mean (regression, count) or the class index; `probability` is [n, K] if the
    loss is proper, else None; `score` [n] ranks the rows of a binary task.
    """

    value: Array
    probability: Array | None = None
    score: Array | None = None

    def rows(self, index: Array) -> Prediction:
        """The prediction of some of the rows."""
        parts = (self.value, self.probability, self.score)
        return Prediction(*(None if p is None else p[index] for p in parts))


class Metric(Component):
    """A number that says how good predictions are."""

    kind = "metric"
    greater_is_better: ClassVar[bool] = False
    needs_probability: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, np.inf)
    of_rows: ClassVar[bool] = False
    """Whether it is the share of rows of which something is true."""

    def __call__(self, target: Array, prediction: Prediction) -> float:
        """The metric of [n] targets (numbers or class indices) and their predictions."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name by which people ask for it, such as `mae` or `pinball(level=0.9)`."""
        return str(self).lower()

    @property
    def sign(self) -> int:
        """+1 if greater is better, else -1."""
        return 1 if self.greater_is_better else -1


@component
class MSE(Metric):
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

    def __call__(self, target: Array, prediction: Prediction) -> float:
        return float(np.mean(np.square(target - prediction.value)))


@component
class RMSE(Metric):
    """The root of the mean squared error, `rmse`, in the unit of the target."""

    card = Card(
        "√ mean (y - ŷ)²",
        "Gauss (1823)",
        "the typical error in the target's unit, large ones counting more",
        NUMBERS,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        return float(np.sqrt(np.mean(np.square(target - prediction.value))))


@component
class MAE(Metric):
    """The mean absolute error, `mae`, in the unit of the target."""

    card = Card(
        "mean |y - ŷ|",
        "Laplace (1789)",
        "the typical error in the target's unit",
        NUMBERS,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        return float(np.mean(np.abs(target - prediction.value)))


@component
class MedianAE(Metric):
    """The median absolute error, `medianae`: blind to the worst half of the rows."""

    card = Card(
        "median |y - ŷ|",
        "Gauss (1816)",
        "the error of the better half of the rows",
        NUMBERS,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        return float(np.median(np.abs(target - prediction.value)))


@component
class R2(Metric):
    """The share of the variance that is explained, `r2`; 0 for a constant target that is missed."""

    greater_is_better = True
    range = (-np.inf, 1.0)
    card = Card(
        "1 - Σ (y - ŷ)² / Σ (y - ȳ)²",
        "Wright (1921)",
        "comparison across targets of different units",
        NUMBERS,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        spread = np.sum(np.square(target - np.mean(target)))
        missed = np.sum(np.square(target - prediction.value))
        return float(1 - missed / spread if spread > 0 else missed == 0)


@component
class Pinball(Metric):
    """The mean pinball loss of a predicted quantile, `pinball(level=0.9)`."""

    level: OpenFraction = 0.5
    card = Card(
        "mean max(τ (y - ŷ), (τ - 1) (y - ŷ))",
        "Koenker and Bassett (1978)",
        "a predicted quantile, such as a high one for safety stock",
        NUMBERS,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        r = target - prediction.value
        return float(np.mean(np.maximum(self.level * r, (self.level - 1) * r)))


@component
class PoissonDeviance(Metric):
    """The mean Poisson deviance, `poissondeviance`; predictions below 1e-6 count as 1e-6."""

    card = Card(
        "mean 2 (y log(y / ŷ) - y + ŷ)",
        "Nelder and Wedderburn (1972)",
        "counts, where errors matter relative to the mean",
        ("count",),
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        from sklearn.metrics import mean_poisson_deviance

        return float(mean_poisson_deviance(target, np.maximum(prediction.value, 1e-6)))


@component
class Accuracy(Metric):
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

    def __call__(self, target: Array, prediction: Prediction) -> float:
        return float(np.mean(target == prediction.value))


@component
class Error(Metric):
    """The share of rows whose class is wrong: the 0-1 error, `error`."""

    range = (0.0, 1.0)
    of_rows = True
    card = Card(
        "mean 1[ŷ ≠ y]",
        "the 0-1 error",
        "all mistakes cost the same",
        CLASSES,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        return float(np.mean(target != prediction.value))


@component
class BalancedAccuracy(Metric):
    """The mean over the classes of the share that is found, `balancedaccuracy`."""

    greater_is_better = True
    range = (0.0, 1.0)
    card = Card(
        "mean over classes of recall",
        "Brodersen et al. (2010)",
        "rare classes matter as much as common ones",
        CLASSES,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        right = prediction.value == target
        return float(np.mean([np.mean(right[target == k]) for k in np.unique(target)]))


@component
class F1(Metric):
    """The harmonic mean of precision and recall, `f1`; averaged over more than two classes."""

    greater_is_better = True
    range = (0.0, 1.0)
    card = Card(
        "2 TP / (2 TP + FP + FN)",
        "van Rijsbergen (1979)",
        "finding a rare class without false alarms",
        CLASSES,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        from sklearn.metrics import f1_score

        average = "macro" if max(target.max(), prediction.value.max()) > 1 else "binary"
        return float(f1_score(target, prediction.value, average=average, zero_division=0.0))


@component
class LogLoss(Metric):
    """The mean negative log-probability of the true class, `logloss`."""

    needs_probability = True
    card = Card(
        "mean -log p(y), p kept above 1e-15",
        "Good (1952)",
        "the probabilities themselves",
        CLASSES,
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        if prediction.probability is None:
            raise ArgumentError("logloss needs probabilities; use a proper loss such as Logistic")
        own = prediction.probability[np.arange(len(target)), target]
        return float(-np.mean(np.log(np.maximum(own, 1e-15))))


@component
class AUC(Metric):
    """The area under the ROC curve, `auc`: how well the score ranks the two classes."""

    greater_is_better = True
    range = (0.0, 1.0)
    card = Card(
        "P(score of a 1 > score of a 0)",
        "Hanley and McNeil (1982)",
        "ranking the rows of two classes",
        ("binary",),
    )

    def __call__(self, target: Array, prediction: Prediction) -> float:
        from scipy.stats import rankdata

        positive = target == 1
        n1, n0 = int(positive.sum()), int((~positive).sum())
        if not n1 or not n0:
            return float("nan")
        ranks = rankdata(prediction.score)
        return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


DEFAULT = {
    "regression": RMSE(),
    "count": PoissonDeviance(),
    "binary": Accuracy(),
    "multiclass": Accuracy(),
}
