"""Scores of any number of rows, in blocks of few sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minimand.arrays import Array
from minimand.networks.base import Tree
from minimand.training.program import scores
from minimand.training.recipe import Recipe

MOST_ROWS = 1 << 14
MOST_NUMBERS = 1 << 20
LEAST_ROWS = 32


def scores_in_blocks(
    recipe: Recipe,
    params: Tree,
    state: Tree,
    X: Array,
    prepared: Callable[[Array], Array] = lambda block: block,
) -> np.ndarray:
    """The scores of the rows of X [n, ...], each block `prepared` before it is scored."""
    return in_blocks(partial(scores, recipe, params, state), X, prepared)


def in_blocks(
    of: Callable[[Array], Array], X: Array, prepared: Callable[[Array], Array] = lambda block: block
) -> np.ndarray:
    """What a function makes of the rows of X [n, ...], each by itself.

    Blocks are filled up to a power of two, so that few programs serve any number of rows.
    """
    most = MOST_NUMBERS // max(1, math.prod(X.shape[1:]))
    most = min(MOST_ROWS, max(LEAST_ROWS, 1 << max(most, 1).bit_length() - 1))
    found = []
    for start in range(0, len(X), most):
        block = prepared(X[start : start + most])
        rows = max(LEAST_ROWS, 1 << (len(block) - 1).bit_length())
        filled = np.zeros((rows, *block.shape[1:]), block.dtype)
        filled[: len(block)] = block
        found.append(np.asarray(of(filled))[: len(block)])
    return np.concatenate(found)
