"""A progress bar for a terminal; silent everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def progress_bar(show: bool | None, epochs: int) -> Iterator[Callable[[int, np.ndarray], None]]:
    """A function of (epochs done, [member, (train, validation)] losses) that draws the bar."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda done, losses: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("epoch"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    losses_column = TextColumn("{task.fields[losses]}")
    with Progress(
        *columns,
        losses_column,
        console=Console(stderr=True, force_terminal=show),
        transient=True,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task("", total=epochs, losses="")

        def draw(done: int, losses: np.ndarray) -> None:
            finite = losses[np.all(np.isfinite(losses), axis=1)]
            text = ""
            if len(finite):
                train, validation = np.median(finite, axis=0)
                text = f"loss {train:.4g}, validation {validation:.4g}"
            bar.update(task, completed=done, losses=text, refresh=True)

        yield draw
