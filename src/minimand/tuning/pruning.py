"""Settings whose training ends early because others do better, epoch by epoch on every fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

import numpy as np

from minimand.errors import ArgumentError, unknown
from minimand.training import Trained
from minimand.training.population import Population
from minimand.tuning.halving import Bracket, Curve, Runs, brackets, reached, successive_halving
from minimand.tuning.progress import Pulse, unheard
from minimand.tuning.space import Setting
from minimand.tuning.study import Study
from minimand.tuning.trial import Outcome

ETA = 3
"""At every rung the best third goes on."""
FINISHERS = 3
"""So many should reach the last rung at least, so that there is a choice."""
PRUNING = ("halving", "hyperband", "asha")
Place = tuple[int, int]
"""The numbers of a setting and of a fold."""


class Scored(Runs, Protocol):
    """Runs of settings that can be scored as they are."""

    def scores(self) -> Sequence[np.ndarray]:
        """The scores of every setting on every fold, when its training ended."""


@dataclass(frozen=True)
class Pruned:
    """Evaluates a batch of settings by successive halving, bracket after bracket.

    `start` makes settings ready to train. With a `study` it is ASHA: a setting goes on if it is
    among the best of all that any worker has brought to that rung.
    """

    start: Callable[[Sequence[Setting]], Scored]
    brackets: tuple[Bracket, ...]
    study: Study | None = None

    def __call__(self, settings: Sequence[Setting]) -> list[Outcome]:
        outcomes = []
        for bracket, some in self._shared_out(settings):
            runs = self.start(some)
            rungs = bracket.rungs if self.study else bracket.rungs[-_rungs(len(some)) :]
            halved = successive_halving(runs, rungs, ETA, others=self._others)
            for k, (scores, curve) in enumerate(zip(runs.scores(), halved.curves, strict=True)):
                epoch, value = curve[-1]
                beaten = k not in halved.finishers and math.isfinite(value)
                left = ("pruned", f"others did better at epoch {epoch:g}") if beaten else ()
                outcomes.append(Outcome(scores, curve, *left))
        return outcomes

    def _shared_out(
        self, settings: Sequence[Setting]
    ) -> Iterator[tuple[Bracket, Sequence[Setting]]]:
        """The settings, dealt out to the brackets in turn."""
        rest = settings
        for bracket in cycle(self.brackets):
            if not rest:
                return
            yield bracket, rest[: bracket.members]
            rest = rest[bracket.members :]

    def _others(self, rung: int) -> list[float]:
        trials = self.study.trials if self.study else ()
        return reached([trial.curve for trial in trials], rung)


def pruned(
    how: str,
    start: Callable[[Sequence[Setting]], Scored],
    epochs: int,
    study: Study,
    batch: int,
) -> tuple[Pruned, int]:
    """(what evaluates by that kind of pruning, how many settings it takes at a time).

    Raises:
        UnknownNameError: there is no such kind.
        ArgumentError: the epochs are searched themselves.
    """
    if how not in PRUNING:
        raise unknown("pruning", how, PRUNING)
    for name in study.space:
        if name.endswith(("epochs", "max_iter")):
            raise ArgumentError(
                f"pruning decides how many epochs a setting gets; take '{name}' out of the space"
            )
    found = brackets(epochs, eta=ETA)
    if how == "asha":
        return Pruned(start, (Bracket(batch, found[0].rungs),), study), batch
    if how == "halving":
        found = found[:1]
    return Pruned(start, found), sum(bracket.members for bracket in found)


def _rungs(settings: int) -> int:
    """How many rungs leave finishers enough of so many settings."""
    return 1 + max(0, int(math.log(settings / FINISHERS, ETA)))


class ByFolds:
    """Settings that are trained epoch by epoch on every fold; for `successive_halving`.

    Args:
        settings: how many.
        folds: how many.
        parts: populations, and the setting and the fold of each of their members.
        score: gives the scores of every setting by its networks, one for each fold.
        pulse: hears at every rung how many members are alive.
    """

    def __init__(
        self,
        settings: int,
        folds: int,
        parts: Iterable[tuple[Population, Sequence[Place]]],
        score: Callable[[Mapping[Place, Trained]], Sequence[np.ndarray]],
        pulse: Pulse = unheard,
    ) -> None:
        self._settings, self._folds, self._score, self._pulse = settings, folds, score, pulse
        self._parts = [(population, list(places)) for population, places in parts]
        self._gone: dict[Place, Trained] = {}

    def __len__(self) -> int:
        return self._settings

    def __call__(self, members: Sequence[int], resource: int) -> list[Curve]:
        """Train these settings up to an epoch; the mean over the folds of what each watches."""
        values: dict[int, list[float]] = {k: [] for k in members}
        for population, places in self._parts:
            kept = [i for i, (setting, _) in enumerate(places) if setting in values]
            if len(kept) < len(places):
                self._gone |= dict(zip(places, population.trained("pruned"), strict=True))
                population.select(kept)
                places[:] = [places[i] for i in kept]
            if kept:
                self._pulse(int(population.alive.sum()))
                population.advance(resource)
            for (setting, _), value in zip(places, population.values, strict=True):
                values[setting].append(float(value))
        return [((resource, self._mean(values[k])),) for k in members]

    def _mean(self, values: Sequence[float]) -> float:
        """NaN if a fold has no value."""
        whole = len(values) == self._folds and all(map(math.isfinite, values))
        return float(np.mean(values)) if whole else math.nan

    def scores(self) -> Sequence[np.ndarray]:
        """The scores of every setting on every fold, when its training ended."""
        networks = dict(self._gone)
        for population, places in self._parts:
            networks |= dict(zip(places, population.trained(), strict=True))
        return self._score(networks)
