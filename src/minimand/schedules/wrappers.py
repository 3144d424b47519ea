"""Schedules made of schedules."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from minimand.arrays import Array, asarray, namespace, positive_part
from minimand.component import Card, Count, Fraction, Positive, Range, component
from minimand.schedules.annealing import Cosine, Linear
from minimand.schedules.base import Schedule, between, share
from minimand.schedules.decay import Constant

MOST_CYCLES = 32


@component
class Warmup(Schedule):
    """Up in a straight line from `start` to 1 within `steps` steps, and then a schedule's own.

    >>> warm = Warmup(Cosine(decay_steps=10), steps=100)
    >>> [float(warm(t)) for t in (0, 50, 100, 105)]
    [0.0, 0.5, 1.0, 0.5]
    """

    schedule: Schedule = Constant()
    steps: Positive = 100.0
    start: Fraction = 0.0
    card = Card(
        formula="s + (1 - s) t / w for t < w, then the schedule at t - w",
        source="Goyal et al. (2017), Accurate, large minibatch SGD, section 2.2",
        use="large batches and step sizes, adaptive rules on deep networks",
        search=MappingProxyType({"steps": Range(10.0, 1000.0, log=True)}),
    )

    def __call__(self, step: Array) -> Array:
        up = between(self.start, 1.0, share(step, self.steps))
        after = self.schedule(positive_part(step - self.steps))
        return namespace(step, up, after).where(step < self.steps, up, after)

    def memory(self) -> dict[str, Any]:
        return self.schedule.memory()

    def watched(self, memory: dict[str, Any], value: Array) -> dict[str, Any]:
        return self.schedule.watched(memory, value)

    def factor(self, memory: dict[str, Any]) -> Array:
        return self.schedule.factor(memory)


@component
class Joined(Schedule):
    """One schedule before the step `boundary`, and from there another, which counts from 0 again.

    More than two are joined by joining again. What either remembers acts all the time.

    >>> joined = Joined(Constant(), Linear(decay_steps=10), boundary=100)
    >>> [float(joined(t)) for t in (99, 100, 105)]
    [1.0, 1.0, 0.5]
    """

    first: Schedule = Constant()
    then: Schedule = Linear()
    boundary: Positive = 1000.0
    card = Card(
        formula="the first at t < b, then the other at t - b",
        source="DeepMind et al. (2020), The DeepMind JAX ecosystem: Optax, `join_schedules`",
        use="a run in phases",
        search=MappingProxyType({"boundary": Range(100.0, 10000.0, log=True)}),
    )

    def __call__(self, step: Array) -> Array:
        since = step - self.boundary
        first, then = self.first(step), self.then(positive_part(since))
        return namespace(since, first, then).where(since < 0, first, then)

    def memory(self) -> dict[str, Any]:
        return {"first": self.first.memory(), "then": self.then.memory()}

    def watched(self, memory: dict[str, Any], value: Array) -> dict[str, Any]:
        return {
            "first": self.first.watched(memory["first"], value),
            "then": self.then.watched(memory["then"], value),
        }

    def factor(self, memory: dict[str, Any]) -> Array:
        return self.first.factor(memory["first"]) * self.then.factor(memory["then"])


@component
class Restarts(Schedule):
    """A schedule that begins again after `steps` steps, in cycles that grow.

    Each cycle is `growth` times as long as the one before, its schedule stretched to fit, and
    starts at `decay_rate` times the height.

    >>> sgdr = Restarts(Cosine(decay_steps=10), steps=10, growth=2)
    >>> [round(float(sgdr(t)), 3) for t in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    schedule: Schedule = Cosine()
    steps: Positive = 1000.0
    growth: Count = 1
    decay_rate: Fraction = 1.0
    card = Card(
        formula="rⁱ times the schedule at (t - tᵢ) / gⁱ, tᵢ the start of cycle i",
        source="Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm "
        "restarts, section 3; Smith (2017), Cyclical learning rates",
        use="several minima in one run, for snapshots or ensembles",
        search=MappingProxyType({"steps": Range(100.0, 10000.0, log=True)}),
    )

    def __call__(self, step: Array) -> Array:
        cycle, begin = self._cycle(step / self.steps)
        within = (step - begin * self.steps) / self.growth**cycle
        return self.decay_rate**cycle * self.schedule(within)

    def _cycle(self, way: Array) -> tuple[Array, Array]:
        """(the cycle, where it began) at a way measured in first cycles."""
        xp = namespace(way)
        if self.growth == 1:
            return xp.floor(way), xp.floor(way)
        begins = (float(self.growth) ** np.arange(1, MOST_CYCLES) - 1) / (self.growth - 1)
        way = xp.asarray(way)
        cycle = xp.sum(way[..., None] >= asarray(begins, way), axis=-1)
        return cycle, (float(self.growth) ** cycle - 1) / (self.growth - 1)

    def memory(self) -> dict[str, Any]:
        return self.schedule.memory()

    def watched(self, memory: dict[str, Any], value: Array) -> dict[str, Any]:
        return self.schedule.watched(memory, value)

    def factor(self, memory: dict[str, Any]) -> Array:
        return self.schedule.factor(memory)
