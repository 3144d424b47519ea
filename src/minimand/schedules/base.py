"""What a schedule is: a pure function from the step to the multiplier of the learning rate.

A schedule that answers to what is measured, such as `ReduceOnPlateau`, keeps a memory besides: the
learning rate is multiplied by `schedule(step) * schedule.factor(memory)`.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from minimand.arrays import Array, namespace
from minimand.component import Component, Range
from minimand.drawing import COLOURS, braille, styled

if TYPE_CHECKING:
    import altair as alt

STEPS = MappingProxyType({"decay_steps": Range(100.0, 10000.0, log=True)})
POINTS = 601
EPOCHS = 30
SMALL = 0.1
"""A schedule is drawn until it has fallen so far, if it goes on falling."""


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

    def plot(self, steps: int | None = None) -> alt.Chart:
        """The multiplier over the steps, as an Altair chart that a notebook shows as it is.

        One with a memory is drawn over epochs that bring no progress.

        Args:
            steps: where the picture ends; None: where the schedule ends or is small.

        >>> from minimand.schedules import Cosine
        >>> Cosine().plot().to_dict()["title"]
        'Cosine'
        """
        import altair as alt

        what, x, y = curve(self, steps)
        rows = [{"x": float(a), "y": float(b)} for a, b in zip(x, y, strict=True)]
        line = (
            alt.Chart(alt.Data(values=rows), title=str(self))
            .mark_line(strokeWidth=2, color=COLOURS["accent"])
            .encode(
                x=alt.X("x:Q", title=what, scale=alt.Scale(nice=False)),
                y=alt.Y("y:Q", title="multiplier", axis=alt.Axis(tickCount=5)),
            )
            .properties(width=420, height=160)
        )
        drawn: alt.Chart = styled(line)
        return drawn

    def sketch(self, steps: int | None = None, width: int = 60, height: int = 8) -> str:
        """The same picture for a terminal, in Braille dots.

        >>> from minimand.schedules import Linear
        >>> Linear().sketch(width=20, height=2).splitlines()[0]
        'multiplier, 0 to 1'
        """
        what, x, y = curve(self, steps)
        low, high = y.min(), y.max()
        head = f"multiplier, {low:.3g} to {high:.3g}" if low < high else f"multiplier {low:g}"
        foot = f"{x[0]:<.6g}".ljust(width - 12) + f"{x[-1]:>12.6g}"
        return "\n".join([head, *braille(y, width, height), foot, f"over the {what}"])


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


def curve(schedule: Schedule, steps: int | None = None) -> tuple[str, Array, Array]:
    """(what the axis is, steps or epochs, multipliers); `steps` is where the picture ends.

    >>> from minimand.schedules import Linear
    >>> what, x, y = curve(Linear(decay_steps=10), steps=20)
    >>> what, x[[0, -1]].tolist(), y[[0, -1]].tolist()
    ('step', [0.0, 20.0], [1.0, 0.0])
    """
    memory = schedule.memory()
    if remembers(memory):
        epochs = np.arange(1.0, 1 + (steps or EPOCHS))
        factors = []
        for _ in epochs:
            memory = schedule.watched(memory, 1.0)
            factors.append(float(schedule.factor(memory)))
        return "epoch without progress", epochs, np.asarray(factors)
    x = np.linspace(0.0, steps or 1.2 * reach(schedule), POINTS)
    return "step", x, np.asarray(schedule(x), dtype=float)


def reach(schedule: Schedule) -> float:
    """The step after which a schedule does not change, or is small.

    >>> from minimand.schedules import Exponential, Linear
    >>> reach(Linear(decay_steps=50)), reach(Exponential(decay_rate=0.5, decay_steps=100))
    (50.0, 400.0)
    """
    end = _steps(schedule) or 100.0
    for _ in range(12):
        if schedule(end) <= SMALL or schedule(2 * end) >= schedule(end):
            break
        end *= 2
    return end


def remembers(memory: dict[str, Any]) -> bool:
    """Whether there is anything in a memory, at any depth."""
    return any(not isinstance(part, dict) or remembers(part) for part in memory.values())


def _steps(schedule: Schedule) -> float:
    """The steps that the fields of a schedule and its parts name, altogether."""
    total = 0.0
    for name in schedule._hints:
        value = getattr(schedule, name)
        if isinstance(value, Component):
            total += _steps(value)  # type: ignore[arg-type]
        elif "steps" in name or "boundar" in name:
            total += float(np.max(value))
    return total
