"""How a run is getting on: plain events, and a bar that draws them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Event:
    """What the host sees between two chunks of a run.

    `seconds` have passed since the run began, or was resumed, at step `begun`. `alive` is how many
    members have not ended. `lines` are (epoch, training loss, what is watched)
    of the epochs that ended since the last event, medians over the members whose losses are finite.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    begun: int
    seconds: float
    examples_per_second: float
    alive: int
    lines: Sequence[tuple[int, float, float]]

    @property
    def seconds_left(self) -> float:
        """The time that the rest takes, at most, at the speed so far."""
        return self.seconds * (self.steps - self.step) / max(self.step - self.begun, 1)


Listener = Callable[[Event], None]


def medians(history: np.ndarray, first: int, last: int) -> list[tuple[int, float, float]]:
    """(epoch, training loss, what is watched) of epochs `first` to `last` of [K, epochs, 2]."""
    lines = []
    for epoch in range(first, last):
        losses = [line for line in history[:, epoch].tolist() if isfinite(line[0])]
        if losses:
            train, validation = map(median, zip(*losses, strict=True))
            lines.append((epoch + 1, train, validation))
    return lines


@contextmanager
def progress_bar(show: bool | None) -> Iterator[Listener]:
    """A listener that draws a bar on a terminal or in a notebook; silent everywhere else."""
    if show is False or not (show or sys.stderr.isatty() or _in_notebook()):
        yield lambda event: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    with Progress(
        TextColumn("epoch"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeLeft(),
        TextColumn("{task.fields[said]}"),
        console=Console(stderr=True, force_terminal=show),
        transient=True,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task("", total=None, said="")

        def draw(event: Event) -> None:
            said = f"{event.examples_per_second:,.0f} examples/s"
            for _, train, validation in event.lines[-1:]:
                watched = f", validation {validation:.4g}" if np.isfinite(validation) else ""
                said = f"loss {train:.4g}{watched}, {said}"
            done = event.epochs * event.step / event.steps
            bar.update(task, total=event.epochs, completed=done, said=said, refresh=True)

        yield draw


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None
