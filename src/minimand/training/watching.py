"""Early stopping by a metric: what the user cares about, measured at the end of every epoch."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array, namespace
from minimand.errors import ArgumentError
from minimand.losses import Loss
from minimand.metrics import CLASSES, Formula, Metric, Prediction

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


def measured(metric: Metric, loss: Loss, scores: Array, target: Array, weight: Array) -> Array:
    """The metric of what some scores say, its sign such that less is better; NaN if they are not.

    A `Formula` of JAX arrays is an array that JAX can trace.
    """
    xp, classes = namespace(scores), scores.shape[-1] if loss.score_axes else 2
    response = loss.response(scores)
    if loss.card.target not in CLASS_TARGETS:
        said = Prediction(response)
    elif loss.score_axes:
        said = Prediction(loss.decide(scores), response, response[:, -1], classes)
    else:
        probability = xp.stack([1 - response, response], axis=1) if loss.card.proper else None
        said = Prediction(loss.decide(scores), probability, scores, classes)
        target = xp.astype(target > 0, xp.int32)
    value = metric.value if isinstance(metric, Formula) else metric
    return xp.where(xp.all(xp.isfinite(scores)), -metric.sign * value(target, said, weight), np.nan)
