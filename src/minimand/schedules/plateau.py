"""The schedule that answers to what is measured."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np

from minimand.arrays import Array, namespace
from minimand.component import (
    Card,
    Count,
    Fraction,
    Interval,
    NonNegative,
    Range,
    component,
)
from minimand.schedules.base import Schedule


@component
class ReduceOnPlateau(Schedule):
    """Multiplied by `decay_rate` when the watched value has not fallen for `patience` epochs.

    To fall means to lie more than `min_delta` below the best so far. Reductions end at the
    multiplier `end`; the `cooldown` epochs after one do not count. A `patience` as long as that of
    early stopping comes too late.

    >>> plateau = ReduceOnPlateau(decay_rate=0.5, patience=2)
    >>> memory = plateau.memory()
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     memory = plateau.watched(memory, loss)
    >>> float(plateau.factor(memory))
    0.5
    """

    decay_rate: Fraction = 0.5
    patience: Count = 4
    min_delta: NonNegative = 1e-4
    cooldown: Annotated[int, Interval(0, math.inf, "left")] = 0
    end: Fraction = 0.0
    card = Card(
        formula="m ← max(r m, e) after p epochs without a fall, once",
        source="Goodfellow, Bengio and Courville (2016), Deep Learning, section 8.3.1; "
        "ReduceLROnPlateau of Keras and PyTorch",
        use="runs whose length is not known, with validation rows",
        search=MappingProxyType({"decay_rate": Range(0.1, 0.7)}),
    )

    def __call__(self, step: Array) -> Array:
        return 0.0 * step + 1.0

    def memory(self) -> dict[str, Any]:
        """The best value, epochs without a fall, epochs of cooldown to come, the multiplier."""
        whole, real = np.zeros((), np.int32), np.ones((), np.float32)
        return {"best": np.inf * real, "waited": whole, "resting": whole, "factor": real}

    def watched(self, memory: dict[str, Any], value: Array) -> dict[str, Any]:
        best, resting, factor = memory["best"], memory["resting"], memory["factor"]
        xp = namespace(value, best, self.decay_rate, self.min_delta, self.end)
        better = value < best - self.min_delta
        waited = xp.where(better | (resting > 0), 0, memory["waited"] + 1)
        tired = waited >= self.patience
        found = {
            "best": xp.where(better, value, best),
            "waited": xp.where(tired, 0, waited),
            "resting": xp.where(tired, self.cooldown, xp.maximum(resting - 1, 0)),
            "factor": xp.where(tired, xp.maximum(self.decay_rate * factor, self.end), factor),
        }
        return {name: xp.astype(new, memory[name].dtype) for name, new in found.items()}

    def factor(self, memory: dict[str, Any]) -> Array:
        return memory["factor"]
