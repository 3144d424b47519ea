"""Which losses may serve which target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import polars as pl

from minimand.arrays import Array
from minimand.component import catalogue
from minimand.data import Task
from minimand.errors import ArgumentError
from minimand.losses import Loss, Quantile
from minimand.metrics import Metric


def eligible(task: Task, metric: Metric) -> list[Loss]:
    """Every loss that is tried without being asked for, at the metric's level."""
    level = getattr(metric, "level", 0.5)
    tried = [loss for loss in _known() if task in loss.card.tasks]
    found = [Quantile(level) if isinstance(loss, Quantile) else loss for loss in tried]
    return [loss for loss in found if loss != Quantile(0.5)]


def requested(losses: Sequence[Loss], task: Task, target: pl.Series, truth: Array) -> list[Loss]:
    """The losses that the user asked for, checked against the target.

    Raises:
        ArgumentError: a loss cannot be minimised or serves another task.
        TargetError: a target lies outside a loss's domain; the text names row and value.
    """
    for loss in losses:
        loss.check_minimisable()
        if not loss.serves(task):
            fitting = ", ".join(type(one).__name__ for one in _known() if one.serves(task))
            raise ArgumentError(
                f"{type(loss).__name__} does not fit '{target.name}', a {task} target; "
                f"choose among {fitting}"
            )
        if task in ("regression", "count"):
            loss.check_target(truth)
    return list(losses)


def _known() -> list[Loss]:
    """Every loss of the catalogue that can be minimised."""
    return [loss for cls in catalogue("loss").values() if _descends(loss := cast(Loss, cls()))]


def _descends(loss: Loss) -> bool:
    try:
        loss.check_minimisable()
    except ArgumentError:
        return False
    return True
