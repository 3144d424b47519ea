"""What a schedule is: a pure function from the step to the multiplier of the learning rate.

A schedule that answers to what is measured, such as `ReduceOnPlateau`, keeps a memory besides: the
learning rate is multiplied by `schedule(step) * schedule.factor(memory)`.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

from minimand.arrays import Array, namespace
from minimand.component import Component, Range

STEPS = MappingProxyType({"decay_steps": Range(100.0, 10000.0, log=True)})


class Schedule(Component):
    """A multiplier of the learning rate, 1 at its peak."""

    kind = "schedule"

    def __call__(self, step: Array) -> Array:
        """The multiplier at a step, counted from 0."""
        raise NotImplementedError

    def memory(self) -> dict[str, Any]:
        """What the schedule remembers of a run, before its first epoch."""
        return {}

    def watched(self, memory: dict[str, Any], value: Array) -> dict[str, Any]:
        """The memory after an epoch that ended with the watched value."""
        return memory

    def factor(self, memory: dict[str, Any]) -> Array:
        """What the memory multiplies the learning rate by."""
        return 1.0


def share(step: Array, steps: Array) -> Array:
    """step / steps, kept within [0, 1].

    >>> float(share(5, 10)), float(share(-1, 10)), float(share(12, 10))
    (0.5, 0.0, 1.0)
    """
    return namespace(step, steps).clip(step / steps, 0.0, 1.0)


def between(begin: Array, end: Array, way: Array) -> Array:
    """The point a share of the way from `begin` to `end`; exactly these at 0 and 1."""
    return (1.0 - way) * begin + way * end


def wave(way: Array) -> Array:
    """The share of the way along half a wave of the cosine: slow, fast, slow."""
    return 0.5 * (1.0 - namespace(way).cos(math.pi * way))
