"""How a search stands: the line that is told about once a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from minimand.budget import Budget
from minimand.metrics import Metric
from minimand.tuning.interval import interval
from minimand.tuning.study import Study
from minimand.tuning.trial import Trial

Pulse = Callable[[int], Any]
"""Hears now and then how many members are alive."""


def unheard(alive: int) -> None:
    """Tell nobody."""


@dataclass
class Progress:
    """Says about once a second how a search stands; on a terminal in a single line.

    It hears of every finished trial, and how many of the members that train in this process are
    alive. Of other processes it knows which trials they have in hand. `show` is None for a terminal
    only.
    """

    study: Study
    metric: Metric
    folds: int
    trials: int
    watch: Budget
    show: bool | None = True
    every: float = 1.0
    _begun: float = field(default_factory=time.time)
    _said: float = 0.0
    _alive: int = 0
    _told: int = -1
    _open: bool = False

    def __call__(self, study: Study, trial: Trial) -> None:
        """A trial has finished."""
        if self.show:
            self.study = study
            count = len(study.trials)
            if count > self._told and (count >= self.trials or self._due):
                self._tell(count)

    def pulse(self, alive: int) -> None:
        """So many members are alive."""
        self._alive = alive
        if self.show and self._told < self.trials and self._due:
            self._tell(len(self.study.trials))

    @property
    def _due(self) -> bool:
        return time.time() >= self._said + self.every

    def _tell(self, count: int) -> None:
        self._said, self._told = time.time(), count
        if sys.stdout.isatty():
            self._open = count < self.trials
            print(f"\r{self.line()}\033[K", end="" if self._open else "\n", flush=True)
        else:
            print(self.line(), flush=True)

    def line(self) -> str:
        """Trials, the best and its interval, members alive, runs a second, and the time left."""
        trials = self.study.trials
        done = [t for t in trials if t.state == "done"]
        lost = ", ".join(
            f"{count} {state}"
            for state in ("pruned", "failed")
            if (count := sum(t.state == state for t in trials))
        )
        best = ""
        if done:
            leader = self.study.best
            best = f", best {self.metric.name} {interval(leader.scores, 1 / (self.folds - 1))}"
        spent = max(time.time() - self._begun, 1e-9)
        fresh = sum(trial.started >= self._begun for trial in trials)
        left = (self.trials - len(trials)) * spent / fresh if fresh else float("inf")
        if self.watch.seconds is not None:
            left = min(left, self.watch.seconds - self.watch.elapsed())
        alive = max(self._alive, self.study.running * self.folds)
        said = [f"{alive} members alive"] * (len(trials) < self.trials)
        said += [f"{fresh * self.folds / spent:.3g} runs a second"] * bool(fresh)
        said += [f"about {max(left, 0):.0f} s left"] * (left < float("inf"))
        return (
            f"  {len(trials)} of {self.trials} trials{lost and f' ({lost})'}{best}; "
            + ", ".join(said)
        )

    def __enter__(self) -> Self:
        if self.show is None:
            self.show = sys.stdout.isatty()
        return self

    def __exit__(self, *problem: object) -> None:
        self.show = False
        if self._open:
            print(flush=True)
