"""Early stopping by a metric: what the user cares about, measured at the end of every epoch."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError
from minimand.losses import Loss
from minimand.metrics import CLASSES, Metric, Prediction

CLASS_TARGETS = ("sign", "class")


def check_metric(metric: Metric, loss: Loss) -> None:
    """Raise `ArgumentError` if the metric cannot judge what the loss's scores say."""
    said = CLASSES if loss.card.target in CLASS_TARGETS else ("regression", "count")
    if not set(metric.card.tasks) & set(said):
        raise ArgumentError(
            f"the metric {metric.name} is for {' and '.join(metric.card.tasks)}; scores of "
            f"{loss} are for {' and '.join(said)}"
        )
    if metric.needs_probability and not loss.card.proper:
        raise ArgumentError(f"{metric.name} needs probabilities, which {loss} does not give")


def measured(metric: Metric, loss: Loss, scores: Array, target: Array, weight: Array) -> float:
    """The metric of the rows that have a weight, its sign such that less is better."""
    used = np.asarray(weight) > 0
    scores, target = np.asarray(scores, dtype=float)[used], np.asarray(target)[used]
    if not used.any() or not np.all(np.isfinite(scores)):
        return np.nan
    response = loss.response(scores)
    if loss.card.target not in CLASS_TARGETS:
        said = Prediction(response)
    elif loss.score_axes:
        said = Prediction(loss.decide(scores), response, response[:, -1])
    else:
        probability = np.stack([1 - response, response], axis=1) if loss.card.proper else None
        said = Prediction(loss.decide(scores), probability, scores)
        target = (target > 0).astype(int)
    return float(-metric.sign * metric(target, said))
