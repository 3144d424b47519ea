"""What is asked of `fit` and `compare` beside the data, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from minimand.component import Component
from minimand.data import Task
from minimand.errors import ArgumentError, ArgumentTypeError, unknown
from minimand.fitting.candidates import MODELS
from minimand.losses import Loss
from minimand.metrics import Metric
from minimand.penalties import Penalty

if TYPE_CHECKING:
    from minimand.data.augmentation import Augmentation
    from minimand.networks import Network

C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class Question:
    """What is asked beside the data; the fields are the arguments of `fit`."""

    metric: Metric | None
    losses: Sequence[Loss]
    task: Task | None
    models: Sequence[str] | None
    penalty: Penalty
    seed: int
    folds: int
    test_size: float | None
    command: str
    networks: Sequence[str | Network] | None
    augmentations: Sequence[str | Augmentation]
    epochs: int | None

    @classmethod
    def asked(
        cls,
        metric: str | Metric | None,
        loss: str | Loss | Sequence[str | Loss] | None,
        task: Task | None,
        models: str | Sequence[str] | None,
        penalty: str | Penalty,
        seed: int,
        folds: int,
        test_size: float | None,
        command: str = "",
        network: str | Network | Sequence[str | Network] | None = None,
        augmentation: str | Augmentation | Sequence[str | Augmentation] | None = None,
        epochs: int | None = None,
    ) -> Question:
        """The question as callers write it: names stand for components."""
        several = [loss] if isinstance(loss, (str, Loss)) else loss or []
        losses = [component_of(Loss, one) for one in several]
        metric = None if metric is None else component_of(Metric, metric)
        penalty = component_of(Penalty, penalty)
        models = [models] if isinstance(models, str) else models
        for model in models or ():
            if model not in MODELS:
                raise unknown("model", model, MODELS)
        networks = None if network is None else _listed(network)
        augmentations = [] if augmentation is None else _listed(augmentation)
        numbers = [("seed", seed, 0), ("folds", folds, 2)]
        numbers += [] if epochs is None else [("epochs", epochs, 1)]
        for name, value, least in numbers:
            if not (isinstance(value, (int, np.integer)) and least <= value < 2**32):
                raise ArgumentError(f"{name} is {value}; it must be an integer in [{least}, 2^32)")
        if test_size is not None and not 0 < test_size < 1:
            raise ArgumentError(f"test_size is {test_size}; it must lie in (0, 1)")
        given = {
            "metric": metric and str(metric),
            "loss": [str(one) for one in losses],
            "task": task,
            "models": models and list(models),
            "penalty": str(penalty),
            "seed": seed,
            "folds": folds,
            "test_size": test_size,
            "network": networks and [str(one) for one in networks],
            "augmentation": [str(one) for one in augmentations],
            "epochs": epochs,
        }
        shown = ", ".join(f"{k}={v!r}" for k, v in given.items() if v or k == "seed")
        command = command or f"minimand.{'fit' if test_size else 'compare'}(X, y, {shown})"
        asked = (metric, losses, task, models, penalty, seed, folds, test_size, command)
        return cls(*asked, networks, augmentations, epochs)


def _listed(given: Any) -> list[Any]:
    """Several things, or the one that is given."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def component_of(base: type[C], given: str | C) -> C:
    """The component that a name stands for."""
    if isinstance(given, str):
        return base.parse(given)
    if not isinstance(given, base):
        raise ArgumentTypeError(f"{base.kind} must be a name or a {base.__name__}, not {given!r}")
    return given
