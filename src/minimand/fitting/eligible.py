"""Which losses may serve which target."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from minimand.arrays import Array
from minimand.component import catalogue
from minimand.data import Task
from minimand.errors import ArgumentError
from minimand.losses import Loss, Quantile
from minimand.metrics import Metric
from minimand.solvers import Objective

DOMAINS = {
    "regression": ("real", "count", "positive", "fraction"),
    "count": ("real", "count", "positive"),
    "binary": ("sign", "class", "fraction"),
    "multiclass": ("class",),
}


def eligible(task: Task, metric: Metric) -> list[Loss]:
    """Every loss of the catalogue that can be minimised for the task, at the metric's level."""
    losses = [cls() for cls in _serving(task)]
    level = getattr(metric, "level", 0.5)
    found = [Quantile(level) if isinstance(loss, Quantile) else loss for loss in losses]
    return [loss for loss in found if _descends(loss) and loss != Quantile(0.5)]


def requested(losses: Sequence[Loss], task: Task, target: pl.Series, truth: Array) -> list[Loss]:
    """The losses that the user asked for, checked against the target.

    Raises:
        ArgumentError: a loss cannot be minimised or serves another task.
        TargetError: a target lies outside a loss's domain; the text names row and value.
    """
    for loss in losses:
        loss.check_minimisable()
        if loss.card.target not in DOMAINS[task] or not Objective(loss).affine:
            fitting = [cls.__name__ for cls in _serving(task) if _descends(cls())]
            raise ArgumentError(
                f"{type(loss).__name__} does not fit '{target.name}', a {task} target; "
                f"choose among {', '.join(fitting)}"
            )
        if task in ("regression", "count"):
            loss.check_target(truth)
    return list(losses)


def _serving(task: Task) -> list[type[Loss]]:
    known = catalogue("loss").values()
    return [cls for cls in known if issubclass(cls, Loss) and task in cls.card.tasks]


def _descends(loss: Loss) -> bool:
    try:
        loss.check_minimisable()
    except ArgumentError:
        return False
    return True
