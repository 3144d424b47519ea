"""Successive halving, Hyperband and ASHA: short runs for many, long ones for those that lead.

All of it is decided from curves: what a member was worth at each amount of a resource, which is
epochs (`ByEpochs`) or rows to train on (`ByRows`). Less is better, and NaN is worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from minimand.arrays import Array
from minimand.data.splits import Fold
from minimand.errors import ArgumentError
from minimand.training import Recipe, Trained, train_members
from minimand.training.population import Population

Curve = tuple[tuple[float, float], ...]
"""(resource, value) in the order of time."""
Heard = Callable[[int, Curve, bool], Any]
"""Called with a member, its curve so far, and whether it goes on."""


def _unheard(member: int, curve: Curve, goes_on: bool) -> None:
    """Tell nobody."""


class Runs(Protocol):
    """Members that can be trained further, numbered 0, 1, ..."""

    def __len__(self) -> int:
        """How many there are."""

    def __call__(self, members: Sequence[int], resource: int) -> Sequence[Curve]:
        """Train these up to a resource, the others no more; what came of each since the last call.

        A member that has ended by itself adds nothing.
        """


@dataclass(frozen=True)
class Halved:
    """The curve of every member, and those that reached the last rung, best first."""

    curves: tuple[Curve, ...]
    finishers: tuple[int, ...]

    @property
    def best(self) -> int | None:
        """The member that won; None if none got to the end."""
        return self.finishers[0] if self.finishers else None


def successive_halving(
    runs: Runs,
    rungs: Sequence[int],
    eta: float = 3.0,
    *,
    others: Callable[[int], Sequence[float]] = lambda rung: (),
    heard: Heard = _unheard,
) -> Halved:
    """At every rung the best 1/η of the members go on to the next.

    Their number is rounded up to a power of two, which bounds the compiling; the next best fill it.
    With `others` it is ASHA for a worker of many: nobody waits, and a member goes on if it is in
    the best 1/η of what all workers have seen at that rung so far.

    Args:
        runs: the members, such as `ByEpochs(population)`.
        rungs: the resource at which members are judged, rising; the last ends the runs.
        eta: one of so many goes on, at least 2.
        others: the values that other workers' members had at a rung, `reached(curves, rung)`.
        heard: told of every member at every rung, so that a study knows at once who left.

    Raises:
        ArgumentError: rungs that do not rise, or an eta less than 2.

    Source: Jamieson and Talwalkar (2016), Non-stochastic best arm identification and hyperparameter
    optimization, figure 3; without waiting, Li et al. (2020), A system for massively parallel
    hyperparameter tuning, algorithm 2.

    >>> class Lines:
    ...     def __len__(self):
    ...         return 4
    ...     def __call__(self, members, resource):
    ...         return [((resource, member + 1 / resource),) for member in members]
    >>> halved = successive_halving(Lines(), [1, 2], eta=2)
    >>> halved.best, [curve[-1] for curve in halved.curves]
    (0, [(2, 0.5), (2, 1.5), (1, 3.0), (1, 4.0)])
    """
    _check(rungs, eta)
    curves: list[Curve] = [()] * len(runs)
    here = list(range(len(runs)))
    for rung in rungs:
        for member, more in zip(here, runs(here, rung), strict=True):
            curves[member] += tuple(more)
        values = [curves[member][-1][1] if curves[member] else math.nan for member in here]
        leaders = leading(values, 1.0 if rung == rungs[-1] else eta, others(rung))
        ordered = np.argsort(values, kind="stable")
        places = 1 << (len(leaders) - 1).bit_length() if leaders else 0
        going = [] if rung == rungs[-1] else [here[i] for i in sorted(ordered[:places].tolist())]
        for member in here:
            heard(member, curves[member], member in going)
        finishers = tuple(here[i] for i in leaders)
        here = going
        if not here:
            break
    return Halved(tuple(curves), finishers if rung == rungs[-1] else ())


@dataclass(frozen=True)
class Bracket:
    """So many members, judged at these rungs."""

    members: int
    rungs: tuple[int, ...]


def brackets(most: int, least: int = 1, eta: int = 3) -> tuple[Bracket, ...]:
    """Hyperband's brackets: from many members that are judged early to few that are not.

    Each costs about as much. `most` and `least` bound the resource of one member.

    Raises:
        ArgumentError: not 1 ≤ least ≤ most, or an eta less than 2.

    Source: Li et al. (2018), Hyperband: a novel bandit-based approach to hyperparameter
    optimization, algorithm 1.

    >>> [(bracket.members, bracket.rungs) for bracket in brackets(most=9, eta=3)]
    [(9, (1, 3, 9)), (5, (3, 9)), (3, (9,))]
    """
    if not 1 <= least <= most:
        raise ArgumentError(f"least is {least} and most is {most}; need 1 ≤ least ≤ most")
    _check([most], eta)
    rounds = 0
    while least * eta ** (rounds + 1) <= most:
        rounds += 1
    return tuple(
        Bracket(
            -(-(rounds + 1) * eta**s // (s + 1)),
            tuple(round(most / eta**i) for i in range(s, -1, -1)),
        )
        for s in range(rounds, -1, -1)
    )


def hyperband(
    start: Callable[[int], Runs],
    most: int,
    least: int = 1,
    eta: int = 3,
    *,
    heard: Heard = _unheard,
) -> tuple[Halved, ...]:
    """Successive halving of every bracket; `start(members)` makes so many fresh members.

    Raises:
        ArgumentError: as `brackets`.
    """
    return tuple(
        successive_halving(start(bracket.members), bracket.rungs, eta, heard=heard)
        for bracket in brackets(most, least, eta)
    )


def promotable(
    curves: Mapping[int, Curve],
    rungs: Sequence[int],
    eta: float = 3.0,
    busy: Collection[int] = (),
) -> tuple[int, int] | None:
    """ASHA for one free worker: (trial, the rung to train it to), or None to begin a new trial.

    The highest rung comes first. There, the best ⌊n/η⌋ of the n trials that have reached it may go
    on; the best of these that has not is chosen.

    Args:
        curves: of all trials, by number.
        rungs: rising.
        eta: one of so many goes on, at least 2.
        busy: trials that some worker is training now.

    Raises:
        ArgumentError: rungs that do not rise, or an eta less than 2.

    Source: Li et al. (2020), algorithm 2.

    >>> promotable({0: ((1, 0.5),), 1: ((1, 0.2),), 2: ((1, 0.9),)}, rungs=[1, 3, 9])
    (1, 3)
    """
    _check(rungs, eta)
    for rung, higher in reversed(list(pairwise(rungs))):
        at = {trial: value_at(curve, rung) for trial, curve in curves.items()}
        seen = {trial: value for trial, value in at.items() if value is not None}
        finite = sorted((t for t in seen if math.isfinite(seen[t])), key=seen.__getitem__)
        for trial in finite[: int(len(seen) / eta)]:
            if trial not in busy and value_at(curves[trial], higher) is None:
                return trial, higher
    return None


def leading(values: Sequence[float], eta: float, others: Sequence[float] = ()) -> list[int]:
    """The places of the values in the best ⌈n/η⌉ of all n, the best first; never a NaN.

    >>> leading([0.3, 0.1, float("nan"), 0.2], eta=2)
    [1, 3]
    >>> leading([0.3, 0.1], eta=2, others=[0.0, 0.2])
    [1]
    """
    own, everyone = _nan_last(values), _nan_last([*values, *others])
    places = math.ceil(len(everyone) / eta)
    last = np.sort(everyone)[places - 1]
    order = np.argsort(own, kind="stable")[:places]
    return [int(i) for i in order if own[i] <= last and np.isfinite(own[i])]


def reached(curves: Sequence[Curve], resource: float) -> list[float]:
    """The values of those that got as far as a resource."""
    return [value for curve in curves if (value := value_at(curve, resource)) is not None]


def value_at(curve: Curve, resource: float) -> float | None:
    """The value of a curve at a resource, or None if it does not get so far.

    >>> value_at(((1, 0.5), (2, 0.4)), 2), value_at(((1, 0.5),), 2)
    (0.4, None)
    """
    return next((value for at, value in curve if at >= resource), None)


class ByEpochs:
    """The members of a population; the resource is epochs."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._held = list(range(len(population.values)))
        self._epochs = 0

    def __len__(self) -> int:
        return len(self._held)

    def __call__(self, members: Sequence[int], resource: int) -> list[Curve]:
        if list(members) != self._held:
            self._population.select([self._held.index(member) for member in members])
            self._held = list(members)
        self._population.advance(resource)
        begun, self._epochs = self._epochs, resource
        lines = np.asarray(self._population.history)[:, begun:resource, 1]
        return [_curve(begun, *of) for of in zip(lines, self._population.values, strict=True)]

    def trained(self) -> dict[int, Trained]:
        """The networks of those that are left, by member."""
        return dict(zip(self._held, self._population.trained(), strict=True))


class ByRows:
    """Members trained afresh at every rung; the resource is how many rows they learn from.

    Which rows come first is drawn with a member's seed; all of its fold's `test` rows are watched.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        X: Array,
        y: Array,
        folds: Sequence[Fold],
        seeds: Sequence[int],
        *,
        weight: Array | None = None,
    ) -> None:
        self._recipes, self._X, self._y, self._weight = recipes, X, y, weight
        self._seeds = seeds
        orders = [
            np.random.default_rng(seed).permutation(fold.train)
            for fold, seed in zip(folds, seeds, strict=True)
        ]
        self._rows = list(zip(orders, (fold.test for fold in folds), strict=True))
        self._trained: dict[int, Trained] = {}

    def __len__(self) -> int:
        return len(self._recipes)

    def __call__(self, members: Sequence[int], resource: int) -> list[Curve]:
        parts = [(order[:resource], test) for order, test in (self._rows[k] for k in members)]
        fitted = train_members(
            [self._recipes[k] for k in members],
            self._X,
            self._y,
            [Fold(np.sort(train), test) for train, test in parts],
            [self._seeds[k] for k in members],
            weight=self._weight,
        )
        self._trained = dict(zip(members, fitted, strict=True))
        return [((resource, _watched(one)),) for one in fitted]

    def trained(self) -> dict[int, Trained]:
        """The networks of those that are left, by member."""
        return self._trained


def _curve(begun: int, line: np.ndarray, value: float) -> Curve:
    """The epochs that a member ran after `begun`, and a NaN where it broke."""
    ran = line[~np.isnan(line)]
    curve = tuple((begun + i + 1, float(found)) for i, found in enumerate(ran))
    return curve if np.isfinite(value) else (*curve, (begun + len(ran) + 1, math.nan))


def _nan_last(values: Sequence[float]) -> np.ndarray:
    """Failures as infinitely bad."""
    found = np.asarray(values, dtype=float)
    return np.where(np.isnan(found), np.inf, found)


def _watched(trained: Trained) -> float:
    """The watched value of the epoch that was kept, its sign such that less is better."""
    if not trained.finite:
        return math.nan
    value = trained.history["validation"][trained.best_epoch - 1]
    return -value if trained.recipe.rising else value


def _check(rungs: Sequence[int], eta: float) -> None:
    if not rungs or rungs[0] < 1 or any(a >= b for a, b in pairwise(rungs)):
        raise ArgumentError(f"rungs are {list(rungs)}; they must rise from 1 or more")
    if not eta >= 2:
        raise ArgumentError(f"eta is {eta}; it must be at least 2")
