"""How many members should run side by side: by a rule that was measured, or measured here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.data.splits import Fold
from minimand.errors import SolverError
from minimand.training import Recipe
from minimand.training.members import InMemory
from minimand.training.program import RUNNING

STEPS, TURNS = 50, 3
SECONDS = 0.5
"""About as long is each width measured, by fewer steps if they are slow."""
SLOWER = 1.2
"""Nothing wider is tried once a member's step takes so many times as long as the best."""
LONG = 2**22
"""A search of so many steps of members, minutes at least, is worth measuring."""

SMALL, SIDE_BY_SIDE = 2**15, (16, 8, 4)
"""Dense networks of at most so many numbers gain by running so many members side by side."""


@dataclass(frozen=True)
class Width:
    """The quickest of some widths, and the seconds that a member's step took with each."""

    best: int
    seconds: dict[int, float]

    def summary(self) -> str:
        """What was measured, in a sentence."""
        said = ", ".join(f"{took * 1e6:.3g} µs by {width}" for width, took in self.seconds.items())
        return f"members side by side: {self.best} (a step of one took {said})"


def usual_width(recipe: Recipe, X: Array, members: int) -> int | None:
    """How many of a worker's members run side by side on inputs X [n, ...], unless it is measured.

    On a CPU up to 16 if the parameters are vectors and matrices of at most 2¹⁵ numbers in all: a
    step takes 10 to 28 % less time so. It must leave few places of the last group empty. Larger
    networks and convolutions take more time so, hence 1. None on an accelerator: as many as its
    memory holds.
    """
    if jax.default_backend() != "cpu":
        return None
    params, _ = jax.eval_shape(lambda x: recipe.network.init(randomness.key(0), x), X[:1])
    leaves = jax.tree.leaves(params)
    if any(leaf.ndim > 2 for leaf in leaves) or sum(leaf.size for leaf in leaves) > SMALL:
        return 1
    return next((width for width in SIDE_BY_SIDE if -members % width <= members / 8), 1)


def probe_width(
    recipe: Recipe,
    X: Array,
    y: Array,
    weight: Array | None = None,
    *,
    widths: Sequence[int] = (1, 4, 16),
) -> Width:
    """Train so many members of a recipe side by side for a moment, and say what is quickest.

    Each width is compiled and runs up to 50 steps, three times; the best time counts. Widths that
    do not fit into memory are left out, as are those above one that did not or that was slow.

    Args:
        recipe: what the members will train.
        X: [n, ...] inputs.
        y: [n] targets.
        weight: [n] weights of the rows.
        widths: what to try, in rising order.

    Raises:
        SolverError: the recipe diverges at once.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import MLP
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> width = probe_width(Recipe(MLP(), Squared()), X, X[:, 0], widths=(1, 2))
    >>> sorted(width.seconds), width.best in (1, 2)
    ([1, 2], True)
    """
    everything = Fold(np.arange(len(y)), np.arange(0))
    seconds: dict[int, float] = {}
    for width in widths:
        rows = InMemory(
            [recipe] * width, X, y, [everything] * width, range(width), weight, 1, width
        )
        state = rows.advance(rows.begin(), 0, 1)
        if rows.width < width:
            break
        took, done, steps = [], 1, 1
        for _ in range(1 + TURNS):
            begun = time.perf_counter()
            state = jax.block_until_ready(rows.advance(state, done, done + steps))
            took.append((time.perf_counter() - begun) / steps / width)
            done, steps = done + steps, max(1, min(STEPS, int(SECONDS / TURNS / took[0] / width)))
        if np.any(np.asarray(state.status) != RUNNING):
            raise SolverError(
                f"the loss stopped being finite within {done} steps, so that there was nothing to "
                f"measure; scale the inputs, or take a smaller step size"
            )
        seconds[width] = min(took)
        if seconds[width] > SLOWER * min(seconds.values()):
            break
    return Width(min(seconds, key=seconds.__getitem__), seconds)
