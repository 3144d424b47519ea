"""Short runs: what becomes of a recipe when only its first steps are taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minimand.data.splits import Fold
from minimand.errors import ArgumentError
from minimand.training import Recipe
from minimand.training.inputs import check_seeds


def first_steps(recipe: Recipe, fold: Fold, steps: int, seed: int) -> tuple[Recipe, Fold]:
    """The recipe that ends after `steps` and never before, and no more rows than these can see.

    Raises:
        ArgumentError: fewer than one step, or a seed that is no 32-bit number.
    """
    if steps < 1:
        raise ArgumentError(f"a short run needs at least 1 step; got {steps}")
    check_seeds([seed])
    train = np.random.default_rng(seed).permutation(fold.train)[: steps * recipe.batch]
    epochs = -(-steps // max(1, -(-len(train) // recipe.batch)))
    short = replace(recipe, epochs=epochs, patience=epochs, metric=None, goal=None)
    return short, Fold(np.sort(train), fold.test)


def set_aside(rows: int, seed: int) -> Fold:
    """A fifth of the rows to judge by, drawn with the seed.

    >>> fold = set_aside(10, seed=0)
    >>> len(fold.train), len(fold.test)
    (8, 2)
    """
    order, held = np.random.default_rng(seed).permutation(rows), round(0.2 * rows)
    return Fold(np.sort(order[held:]), np.sort(order[:held]))
