"""Which loss to begin with: read off the target, and off what the metric rewards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl

from minimand import losses
from minimand.arrays import Array
from minimand.data import TargetEncoder, Task, from_arrays, infer_task
from minimand.errors import ArgumentTypeError
from minimand.losses import Loss
from minimand.metrics import Metric

RARE = 0.2
"""A class is rare with less than this part of the 1 / K that it would have among equals."""
OUTLYING, CONTAMINATED = 0.01, 0.2
"""Shares of values beyond 5 spreads; a log-normal with σ = 2, already very skewed, has 16 %."""
MANY_ZEROS = 0.2
SKEWED = 1.0
OVERDISPERSED = 2.0

Reasons = Iterator[tuple[Loss, str]]


@dataclass(frozen=True)
class Recommendation:
    """A loss, and in one sentence why it suits."""

    loss: Loss
    why: str

    def __str__(self) -> str:
        return f"{self.loss}: {self.why}"


def recommend(
    y: Any, task: Task | None = None, metric: str | Metric | None = None
) -> list[Recommendation]:
    r"""Losses for a target, the most fitting first, each with its reason.

    What the metric rewards comes first, then what the values show: outliers, skew, zeros,
    imbalance, ordered classes. It is where to begin; `compare` measures which serves best. A spread
    is 1.48 times the median distance from the median, which for a normal distribution is σ. Scales
    such as Huber's `delta` are left at 1, since `fit` brings the target to a spread of about 1.

    Args:
        y: the target [n]; missing values are left out. Categories of pandas that are ordered, an
            Enum of polars and whole numbers from 1 up are read as classes with an order.
        task: "regression", "binary", "multiclass" or "count"; None infers it.
        metric: what you care about, such as "mae".

    Raises:
        MinimandError: the target or an argument cannot be used.

    >>> counts = np.repeat([0, 1, 2, 7, 30], [50, 20, 15, 10, 5])
    >>> print(*recommend(counts, task="count")[:2], sep="\n")
    NegativeBinomial: the variance is 16 times the mean; a Poisson count has them equal
    ZeroInflatedPoisson: 50% of the counts are 0; a Poisson count of that mean has 7%
    """
    target = from_arrays({"target": y}).frame["target"].drop_nulls()
    asked = _metric(metric)
    allowed = cast("Sequence[Task]", asked.card.tasks) if asked else None
    task, _ = infer_task(target, task, allowed)
    labels = TargetEncoder.fit(target, task)
    values = labels.encode(target) if labels.classes else target.cast(float).to_numpy()
    order = _order(y, labels) if task == "multiclass" else ""
    found: dict[str, Recommendation] = {}
    for loss, why in [*_elicited(asked, task, values), *_suited(task, values, order)]:
        found.setdefault(type(loss).__name__, Recommendation(loss, why))
    return list(found.values())


def _metric(metric: Any) -> Metric | None:
    if metric is None or isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        raise ArgumentTypeError(f"metric must be a name such as 'mae', not {metric!r}")
    return Metric.parse(metric)


def _order(y: Any, labels: TargetEncoder) -> str:
    """Why the classes have an order, in words that name it; empty if they have none."""
    dtype = getattr(y, "dtype", None)
    ordered = isinstance(dtype, pl.Enum) or getattr(dtype, "ordered", None) is True
    if ordered:
        names = list(map(str, cast("Any", dtype).categories))
        kept = [name for name in names if name in set(map(str, labels.classes))]
        return f"the {len(kept)} classes have an order, {kept[0]} to {kept[-1]}"
    first, last = labels.classes[0], labels.classes[-1]
    if isinstance(first, int) and first >= 1:
        return f"the {len(labels.classes)} classes are whole numbers, {first} to {last}, as grades"
    return ""


def _elicited(metric: Metric | None, task: Task, values: Array) -> Reasons:
    """The losses whose minimiser is what the metric rewards."""
    name = type(metric).__name__
    binary = task == "binary"
    probabilities = losses.Logistic() if binary else losses.CrossEntropy()
    match name:
        case "MSE" | "RMSE" | "R2":
            yield losses.Squared(), f"{name} is best at the conditional mean, as this loss is"
        case "MAE" | "MedianAE":
            yield losses.Absolute(), f"{name} is about the conditional median, as this loss is"
        case "Pinball":
            level = float(getattr(metric, "level", 0.5))
            yield losses.Quantile(level=level), f"{name} rewards the quantile at level {level:g}"
        case "PoissonDeviance":
            yield losses.Poisson(), f"half of {name} is this loss, up to a constant"
        case "LogLoss" | "AUC":
            why = f"{name} needs probabilities or their order, which a proper loss estimates"
            yield probabilities, why
        case "Accuracy" | "Error":
            yield probabilities, f"{name} is flat; the sign of this convex stand-in decides as it"
        case "BalancedAccuracy" if binary:
            ones = float(np.mean(values))
            ratio = float(f"{(1 - ones) / ones:.4g}")
            why = f"{name} counts both classes the same, and class 1 has {ones:.1%} of the rows"
            yield losses.BinaryCrossEntropy(pos_weight=ratio), why
        case "BalancedAccuracy":
            share = np.bincount(values) / len(values)
            why = f"{name} counts the classes the same; their shares are taken out of the score"
            yield losses.LogitAdjusted(prior=share), why  # type: ignore[arg-type]


def _suited(task: Task, values: Array, order: str) -> Reasons:
    """The losses that the values themselves speak for."""
    match task:
        case "regression":
            return _regression(values)
        case "count":
            return _count(values)
        case "binary":
            return _two_classes(values)
    return _classes(values, order)


def _regression(y: Array) -> Reasons:
    distance = np.abs(y - np.median(y))
    spread = 1.4826 * np.median(distance) or np.std(y)
    outlying = float(np.mean(distance > 5 * spread))
    skew = float(np.mean((y - y.mean()) ** 3) / np.std(y) ** 3)
    zeros = float(np.mean(y == 0))
    far = f"{outlying:.1%} of the values lie beyond 5 spreads of the median"
    if y.min() >= 0 and zeros >= MANY_ZEROS:
        yield losses.Tweedie(), f"{zeros:.0%} zeros and otherwise positive, as sums of claims are"
    if outlying >= CONTAMINATED:
        yield from _robust(far)
    if y.min() > 0 and skew > SKEWED:
        yield losses.Gamma(), f"positive with skewness {skew:.1f}: errors grow with the mean"
        yield losses.MSLE(), f"from {y.min():.3g} to {y.max():.3g}: ratios rather than differences"
    if outlying > OUTLYING:
        yield from _robust(far)
        yield losses.Squared(), f"{far}: right if the mean must follow them"
    else:
        yield losses.Squared(), f"{far}: the mean, most precisely"
        yield losses.Huber(), f"{far}, but new rows may: nearly as precise, and safe against them"


def _robust(far: str) -> Reasons:
    yield losses.Huber(), f"{far}: their pull is bounded"
    yield losses.Absolute(), f"{far}: they pull no harder than others"
    yield losses.Welsch(), f"{far}: they are ignored (not convex)"


def _count(y: Array) -> Reasons:
    mean = float(np.mean(y))
    excess = float(np.var(y)) / mean
    zeros, expected = float(np.mean(y == 0)), float(np.exp(-mean))
    if excess > OVERDISPERSED:
        why = f"the variance is {excess:.0f} times the mean; a Poisson count has them equal"
        yield losses.NegativeBinomial(), why
    if zeros > expected + 0.1:
        why = f"{zeros:.0%} of the counts are 0; a Poisson count of that mean has {expected:.0%}"
        yield losses.ZeroInflatedPoisson(), why
    yield losses.Poisson(), f"counts with mean {mean:.3g}: errors grow with the mean"


def _two_classes(y: Array) -> Reasons:
    rarer = float(min(np.mean(y), 1 - np.mean(y)))
    share = f"the rarer class has {rarer:.1%} of the rows"
    if rarer < RARE / 2:
        yield losses.BinaryFocal(), f"{share}: easy rows count less"
    yield losses.Logistic(), f"{share}: its probability"
    yield losses.SquaredHinge(), f"{share}: the class and its probability, by clear rows less"
    yield losses.Hinge(), f"{share}: the class alone, by the rows near the border"


def _classes(y: Array, order: str) -> Reasons:
    share = np.bincount(y) / len(y)
    classes = len(share)
    if order:
        yield losses.Ordinal(), f"{order}: a near miss is better than a far one"
    if share.min() < RARE / classes:
        why = f"the rarest of {classes} classes has {share.min():.1%} of the rows"
        yield losses.LogitAdjusted(prior=share), f"{why}: shares are taken out"  # type: ignore[arg-type]
        yield losses.Focal(), f"{why}: easy rows count less"
    yield losses.CrossEntropy(), f"probabilities of {classes} classes"
    yield losses.Brier(), f"probabilities of {classes} classes, the improbable counting less"
