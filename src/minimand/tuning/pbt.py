"""Population-based training: the weak copy the strong and change their numbers on the way.

One run of a population finds not a setting but a schedule of settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.errors import ArgumentError, ArgumentTypeError
from minimand.training.population import Population
from minimand.tuning.space import Float, Setting, applied, value_at

FACTORS = (0.8, 1.2)


@dataclass(frozen=True)
class Generation:
    """Epochs between two exchanges, up to `epoch`.

    Member k came from member `parents[k]` of the generation before, was trained with `settings[k]`
    and ended at `values[k]`, less being better.
    """

    epoch: int
    parents: np.ndarray
    settings: tuple[Setting, ...]
    values: np.ndarray


@dataclass(frozen=True)
class Evolved:
    """What a population went through; the networks are in the population itself."""

    generations: tuple[Generation, ...]

    @property
    def best(self) -> int:
        """The member that ended best."""
        return int(_ordered(self.generations[-1].values)[0])

    def lineage(self, member: int) -> list[int]:
        """Which member held, in every generation, the weights that `member` ended with."""
        line = [member]
        for generation in reversed(self.generations[1:]):
            line.append(int(generation.parents[line[-1]]))
        return line[::-1]

    def schedule(self, member: int) -> list[tuple[int, Setting]]:
        """(epoch up to which, setting): what the weights of `member` were trained with."""
        return [
            (generation.epoch, generation.settings[k])
            for generation, k in zip(self.generations, self.lineage(member), strict=True)
        ]


def population_based_training(
    population: Population,
    space: Mapping[str, Float],
    *,
    every: int,
    seed: int = 0,
    share: float = 0.25,
    resample: float = 0.25,
) -> Evolved:
    """Train a population to its last epoch; every so often the worst become copies of the best.

    A copy, optimiser's state and all, goes on with each number of the space times 0.8 or 1.2, or
    drawn anew, within the space. A member whose loss is not finite is always replaced. The same
    seed gives the same run.

    Args:
        population: its recipes hold the numbers that the members start from. Early stopping should
            leave it alone: give the recipes a `patience` as long as their `epochs`.
        space: what may change; numbers only.
        every: how many epochs lie between exchanges.
        seed: decides what is drawn.
        share: of the members, how many are replaced at once, and by how many.
        resample: how often a number is drawn anew.

    Raises:
        ArgumentError: an interval that does not fit into the epochs, a share above a half, or a
            dimension that is not of real numbers.

    Source: Jaderberg et al. (2017), Population based training of neural networks, sections 3 and
    4.1, with truncation selection.
    """
    recipes = list(population.recipes)
    epochs = recipes[0].epochs
    check(space, epochs, every, share)
    random = np.random.default_rng(seed)
    settings = [{path: float(value_at(recipe, path)) for path in space} for recipe in recipes]
    parents = np.arange(len(recipes))
    generations: list[Generation] = []
    for epoch in [*range(every, epochs, every), epochs]:
        population.advance(epoch)
        values = np.array(population.values, dtype=float)
        generations.append(Generation(epoch, parents, tuple(settings), values))
        if epoch == epochs or not np.any(np.isfinite(values)):
            break
        parents = exploited(values, share)
        settings = list(settings)
        for k in np.flatnonzero(parents != np.arange(len(parents))):
            settings[k] = explored(settings[parents[k]], space, random, resample)
            recipes[k] = applied(recipes[k], settings[k])
        population.select(parents.tolist())
        population.replace(recipes)
    return Evolved(tuple(generations))


def exploited(values: np.ndarray, share: float = 0.25) -> np.ndarray:
    """Whom each member goes on from: the worst from the best, one each, all others from themselves.

    >>> exploited(np.array([0.3, 0.1, 0.2, 0.4])).tolist()
    [0, 1, 2, 1]
    >>> exploited(np.array([0.3, np.nan, 0.2, np.inf])).tolist()
    [0, 2, 2, 2]
    """
    order, finite = _ordered(values), int(np.isfinite(values).sum())
    wanted = max(1, int(share * len(values)))
    losers = order[min(finite, max(len(values) - wanted, 1)) :]
    winners = order[: min(wanted, finite)]
    parents = np.arange(len(values))
    parents[losers] = np.resize(winners, len(losers))
    return parents


def explored(
    setting: Setting, space: Mapping[str, Float], random: np.random.Generator, resample: float
) -> dict[str, Any]:
    """A setting near by: each number times 0.8 or 1.2, or drawn anew, within the space."""
    found = {}
    for path, dimension in space.items():
        if random.random() < resample:
            found[path] = _drawn(dimension, random)
        else:
            near = setting[path] * random.choice(FACTORS)
            found[path] = float(np.clip(near, dimension.low, dimension.high))
    return found


def check(space: Mapping[str, Float], epochs: int, every: int, share: float) -> None:
    """Refuse exchanges that cannot be, and what cannot change on the way.

    Raises:
        ArgumentError: see `population_based_training`.
    """
    if not 1 <= every < epochs:
        raise ArgumentError(f"every is {every}; of {epochs} epochs it must lie in [1, {epochs})")
    if not 0 < share <= 0.5:
        raise ArgumentError(f"share is {share}; it must lie in (0, 0.5]")
    for path, dimension in space.items():
        if not isinstance(dimension, Float):
            raise ArgumentTypeError(
                f"{path} is {dimension!r}; numbers alone can change during a run, so give a Float"
            )


def _drawn(dimension: Float, random: np.random.Generator) -> float:
    if dimension.log:
        return float(np.exp(random.uniform(np.log(dimension.low), np.log(dimension.high))))
    return float(random.uniform(dimension.low, dimension.high))


def _ordered(values: np.ndarray) -> np.ndarray:
    """Members from best to worst."""
    return np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
