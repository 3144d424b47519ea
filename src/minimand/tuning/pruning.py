"""Settings whose training ends early because others do better, epoch by epoch on every fold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from minimand.tuning.evaluate import CrossValidation
from minimand.tuning.halving import Bracket, Curve, brackets, reached, successive_halving
from minimand.tuning.space import Setting, applied, groups
from minimand.tuning.study import Study
from minimand.tuning.trial import Outcome

ETA = 3
"""At every rung the best third goes on."""
FINISHERS = 3
"""So many should reach the last rung at least, so that there is a choice."""


@dataclass(frozen=True)
class Pruned:
    """Evaluates a batch of settings by successive halving, bracket after bracket.

    With a `study` it is ASHA: a setting goes on if it is among the best of all that any worker has
    brought to that rung.
    """

    validated: CrossValidation
    brackets: tuple[Bracket, ...]
    seed: int = 0
    study: Study | None = None

    def __call__(self, settings: Sequence[Setting]) -> list[Outcome]:
        outcomes = []
        for bracket, some in self._shared_out(settings):
            runs = ByFolds(self.validated, some, self.seed)
            rungs = bracket.rungs if self.study else bracket.rungs[-_rungs(len(some)) :]
            halved = successive_halving(runs, rungs, ETA, others=self._others)
            scores = runs.scores()
            outcomes += [
                Outcome(scores[k], curve)
                if k in halved.finishers
                else Outcome((), curve, "pruned", f"others did better at epoch {curve[-1][0]:g}")
                for k, curve in enumerate(halved.curves)
            ]
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
    how: str, validated: CrossValidation, study: Study, seed: int, batch: int
) -> tuple[Pruned, int]:
    """(what evaluates by that kind of pruning, how many settings it takes at a time)."""
    found = brackets(validated.recipe.epochs, eta=ETA)
    if how == "asha":
        return Pruned(validated, (Bracket(batch, found[0].rungs),), seed, study), batch
    if how == "halving":
        found = found[:1]
    return Pruned(validated, found, seed), sum(bracket.members for bracket in found)


def _rungs(settings: int) -> int:
    """How many rungs leave finishers enough of so many settings."""
    return 1 + max(0, int(math.log(settings / FINISHERS, ETA)))


class ByFolds:
    """Settings that are trained epoch by epoch on every fold; for `successive_halving`."""

    def __init__(self, validated: CrossValidation, settings: Sequence[Setting], seed: int = 0):
        recipes = [applied(validated.recipe, setting) for setting in settings]
        self._validated, self._folds = validated, len(validated.folds)
        self._held = groups(recipes)
        self._parts = [
            validated.population([recipes[k] for k in group], seed) for group in self._held
        ]
        self._size = len(recipes)

    def __len__(self) -> int:
        return self._size

    def __call__(self, members: Sequence[int], resource: int) -> list[Curve]:
        """Train these settings up to an epoch; the mean over the folds of what each watches."""
        curves: dict[int, Curve] = {}
        for number, population in enumerate(self._parts):
            kept = [k for k in self._held[number] if k in members]
            if kept != self._held[number]:
                places = [self._held[number].index(k) for k in kept]
                population.select([p * self._folds + f for p in places for f in range(self._folds)])
                self._held[number] = kept
            if kept:
                population.advance(resource)
                means = population.values.reshape(len(kept), self._folds).mean(axis=1)
                means = np.where(np.isfinite(means), means, np.nan)
                curves |= {
                    k: ((resource, float(mean)),) for k, mean in zip(kept, means, strict=True)
                }
        return [curves[k] for k in members]

    def scores(self) -> dict[int, np.ndarray]:
        """The scores on every fold of the settings that are left."""
        found: dict[int, np.ndarray] = {}
        for kept, population in zip(self._held, self._parts, strict=True):
            judged = [
                self._validated.judged(one, place % self._folds)
                for place, one in enumerate(population.trained())
            ]
            rows = np.reshape(judged, (len(kept), self._folds))
            found |= dict(zip(kept, rows, strict=True))
        return found
