"""The bench: one prepared problem, on which every candidate is fitted and judged alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from minimand.arrays import Array
from minimand.data import Fold, TargetEncoder
from minimand.losses import Loss
from minimand.metrics import Metric, Prediction

RAW = TargetEncoder("regression")


@dataclass(frozen=True)
class Bench:
    """The rows to choose on as a design matrix, with their folds and the metric that judges.

    `truth` is what the metric reads of the target: numbers in the user's unit, or class indices
    in the order of `labels.classes`.
    """

    X: Array
    target: pl.Series
    truth: Array
    labels: TargetEncoder
    metric: Metric
    folds: Sequence[Fold]
    seed: int

    def encoder(self, loss: Loss) -> TargetEncoder:
        """How the loss sees the target: real losses see it standardised, counts stay counts."""
        if self.labels.classes:
            return self.labels
        return TargetEncoder.fit(self.target, "regression") if loss.card.target == "real" else RAW

    def encoded(self, loss: Loss) -> Array:
        """The target as the loss expects it."""
        return loss.from_classes(self.encoder(loss).encode(self.target))

    def outputs(self, loss: Loss) -> int:
        """How many scores the loss takes for a row."""
        return len(self.labels.classes) if loss.score_axes else 1

    def score(self, prediction: Prediction, rows: Array) -> float:
        """The metric on some rows, with the sign that makes greater better."""
        return self.metric.sign * self.metric(self.truth[rows], prediction)


def truth_of(target: pl.Series, labels: TargetEncoder) -> Array:
    """What a metric reads of a target."""
    return labels.encode(target) if labels.classes else RAW.encode(target)


def predict(loss: Loss, encoder: TargetEncoder, scores: Array) -> Prediction:
    """What the scores of a fitted model say, in the form that metrics read."""
    response = loss.response(scores)
    if not encoder.classes:
        return Prediction(encoder.decode(response))
    if loss.score_axes:
        return Prediction(loss.decide(scores), response, response[:, -1])
    probability = np.stack([1 - response, response], axis=1) if loss.card.proper else None
    return Prediction(loss.decide(scores), probability, scores)


@dataclass(frozen=True)
class Constant:
    """The constant that a metric likes best on some rows: the baseline of every comparison."""

    name: str
    value: Any
    share: Array | None = None

    @classmethod
    def best(cls, bench: Bench, rows: Array) -> Constant:
        """The most frequent class, or the better of the mean and the metric's quantile."""
        truth = bench.truth[rows]
        if classes := bench.labels.classes:
            share = np.bincount(truth, minlength=len(classes)) / len(truth)
            top = int(np.argmax(share))
            return cls(f"most frequent class '{classes[top]}'", top, share)
        level = getattr(bench.metric, "level", 0.5)
        middle = "median" if level == 0.5 else f"{level:g} quantile"
        offers = [cls("mean", float(np.mean(truth))), cls(middle, float(np.quantile(truth, level)))]
        return max(
            offers, key=lambda c: bench.metric.sign * bench.metric(truth, c.predict(len(truth)))
        )

    def predict(self, rows: int) -> Prediction:
        """The constant for a number of rows."""
        value = np.full(rows, self.value)
        if self.share is None:
            return Prediction(value)
        return Prediction(value, np.tile(self.share, (rows, 1)), np.zeros(rows))
