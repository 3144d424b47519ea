"""Pictures of a schedule: the multiplier over the steps, as a chart and as plain text.

One with a memory, such as `ReduceOnPlateau`, is drawn over epochs that bring no progress.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from minimand.arrays import Array
from minimand.component import Component
from minimand.report.charts import COLOURS
from minimand.report.loss_charts import braille, written
from minimand.schedules import Schedule

POINTS = 601
EPOCHS = 30
SMALL = 0.1
"""A schedule is drawn until it has fallen so far, if it goes on falling."""


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


def chart(schedule: Schedule, steps: int | None = None) -> alt.Chart:
    """The multiplier of the learning rate, as a line.

    >>> from minimand.schedules import Cosine
    >>> chart(Cosine()).to_dict()["title"]
    'Cosine'
    """
    what, x, y = curve(schedule, steps)
    rows = [{"x": float(a), "y": float(b)} for a, b in zip(x, y, strict=True)]
    whole: alt.Chart = (
        alt.Chart(alt.Data(values=rows), title=str(schedule))
        .mark_line(strokeWidth=2, color=COLOURS["accent"])
        .encode(
            x=alt.X("x:Q", title=what, scale=alt.Scale(nice=False)),
            y=alt.Y("y:Q", title="multiplier", axis=alt.Axis(tickCount=5)),
        )
        .properties(width=420, height=160)
        .configure_view(stroke=None)
        .configure_axis(
            domain=False, ticks=False, gridColor=COLOURS["line"], labelColor=COLOURS["ink"],
            titleColor=COLOURS["muted"], titleFontWeight="normal",
        )
        .configure_title(color=COLOURS["ink"], anchor="start")
    )  # fmt: skip
    return whole


def rendered(schedule: Schedule, form: str, steps: int | None = None) -> bytes:
    """The chart as the content of a file: "svg", "png", or "html" that opens offline.

    Raises `ArgumentError` for another form.

    >>> from minimand.schedules import Cosine
    >>> rendered(Cosine(), "svg")[:4]
    b'<svg'
    """
    return written(lambda: chart(schedule, steps), form)


def plain(schedule: Schedule, steps: int | None = None, width: int = 60, height: int = 8) -> str:
    """The same picture for a terminal, in Braille dots.

    >>> from minimand.schedules import Linear
    >>> plain(Linear(), width=20, height=2).splitlines()[0]
    'multiplier, 0 to 1'
    """
    what, x, y = curve(schedule, steps)
    low, high = y.min(), y.max()
    head = f"multiplier, {low:.3g} to {high:.3g}" if low < high else f"multiplier {low:g}"
    foot = f"{x[0]:<.6g}".ljust(width - 12) + f"{x[-1]:>12.6g}"
    return "\n".join([head, *braille(y, width, height), foot, f"over the {what}"])


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
