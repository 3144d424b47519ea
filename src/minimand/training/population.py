"""K runs that are one program, and what may happen to them between two epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jax
import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ShapeError
from minimand.training.inputs import check_structure, stacked_recipes
from minimand.training.members import InMemory, next_chunk, results
from minimand.training.program import EARLY, RUNNING
from minimand.training.recipe import Recipe
from minimand.training.result import Trained


class Population:
    """K recipes of one structure, trained together, an epoch or more at a time.

    Between two calls of `advance` members may be dropped, copied or given other numbers.

    Args:
        recipes: one for each member.
        X: [n, p] inputs.
        y: [n] targets.
        folds: `train` rows to descend on, `test` rows to watch; one for each member.
        seeds: one for each member.
        weight: [n] weights of the rows.
        jobs: how many threads they are dealt out to on a CPU; by default one for each core.
        width: how many run side by side, as in `train_members`.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> fold = Fold(np.arange(0, 64, 2), np.arange(1, 64, 2))
    >>> rates = (0.001, 0.1)
    >>> recipes = [Recipe(Linear(), Squared(), SGD(learning_rate=r), epochs=20) for r in rates]
    >>> both = Population(recipes, X, 4 + 3 * X[:, 0], [fold] * 2, [0, 0])
    >>> both.advance(10)
    >>> int(both.values.argmin())
    1
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
        jobs: int | None = None,
        width: int | None = None,
    ):
        self.recipes = list(recipes)
        self._rows = InMemory(recipes, X, y, folds, seeds, weight, jobs, width)
        self._state = self._rows.begin()
        self.epoch = 0

    def advance(self, epochs: int, budget: Budget | None = None) -> None:
        """Train every member that has not ended up to the end of that epoch."""
        budget, steps = budget or Budget(), self._rows.steps
        done, last, chunk = self.epoch * steps, min(epochs, self.recipes[0].epochs) * steps, steps
        while done < last and self.alive.any() and not budget.spent():
            begun, ahead = time.perf_counter(), min(last, done + chunk)
            self._state = self._rows.advance(self._state, done, ahead)
            spent = time.perf_counter() - begun
            chunk = max(steps, next_chunk(ahead - done, steps, self._rows.rows, spent))
            done = ahead
        self.epoch = done // steps

    @property
    def history(self) -> np.ndarray:
        """[K, epochs, 2]: training loss and what is watched; NaN where a member has not been."""
        history: np.ndarray = np.asarray(self._state.history)
        return history

    @property
    def values(self) -> np.ndarray:
        """[K]: what is watched after the last epoch of each member; less is better, else ∞.

        A member that watches no rows is worth its training loss.
        """
        ended = np.maximum(np.asarray(self._state.epoch) - 1, 0)
        last = self.history[np.arange(len(ended)), ended]
        watches = np.any(self._rows.members.validation.weight, axis=1)
        watched = np.where(watches, last[:, 1], last[:, 0])
        broken = np.isnan(watched) | (np.asarray(self._state.status) > EARLY)
        values: np.ndarray = np.where(broken, np.inf, watched)
        return values

    @property
    def alive(self) -> np.ndarray:
        """[K]: who has not ended."""
        alive: np.ndarray = np.asarray(self._state.status) == RUNNING
        return alive

    def select(self, index: Sequence[int]) -> None:
        """Make the members copies of these; one copied twice goes on twice, in the same way."""
        chosen = np.asarray(index, dtype=int)
        self.recipes = [self.recipes[k] for k in chosen]
        self._state = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], self._state)
        self._rows.select(chosen)

    def replace(self, recipes: Sequence[Recipe]) -> None:
        """Go on with other numbers.

        Raises:
            ArgumentError: a recipe has another structure.
        """
        if len(recipes) != len(self.recipes):
            raise ShapeError(
                f"{len(recipes)} recipes for {len(self.recipes)} members; give one each"
            )
        check_structure([*self.recipes, *recipes])
        self.recipes = list(recipes)
        self._rows.members = self._rows.members._replace(recipe=stacked_recipes(recipes))

    def trained(self, reason: str = "") -> list[Trained]:
        """What came of every member, and why those ended that could have gone on."""
        return results(self.recipes, self._state, reason)
