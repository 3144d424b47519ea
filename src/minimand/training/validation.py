"""What some rows are worth to a network: their loss, or the metric that a recipe watches.

Both come as (Σ w v, Σ w), worked out for not many rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from minimand.arrays import Array
from minimand.metrics import Formula
from minimand.networks.base import Tree
from minimand.training.batches import Rows, cut, inputs
from minimand.training.passes import batch_loss, forward
from minimand.training.recipe import Recipe
from minimand.training.watching import measured

ROWS_AT_ONCE = 2**14
NUMBERS_AT_ONCE = 2**20


def lost(
    recipe: Recipe, params: Tree, network: Tree, X: Array, y: Array, rows: Rows, key: Array
) -> tuple[Array, Array]:
    """(Σ w ℓ, Σ w)."""
    if not rows.index.size:
        return jnp.zeros(()), jnp.zeros(())
    loss, weight = in_parts(
        lambda part: batch_loss(recipe, params, network, X, y, part, key), X, rows
    )
    return jnp.sum(loss), jnp.sum(weight)


def judged(
    recipe: Recipe, params: Tree, network: Tree, X: Array, y: Array, rows: Rows, key: Array
) -> tuple[Array, Array]:
    """(m Σ w, Σ w) of the recipe's metric m, its sign such that less is better.

    The host works out one that is not a `Formula`.
    """
    if (metric := recipe.metric) is None or not rows.index.size:
        return jnp.zeros(()), jnp.zeros(())

    def scored(part: Rows) -> Array:
        return forward(recipe, params, network, inputs(X[part.index]), key, train=False)[0]

    parts = in_parts(scored, X, rows)
    score = parts.reshape(-1, *parts.shape[2:])[: len(rows.index)]
    total = jnp.sum(rows.weight)
    seen = score, y[rows.index], rows.weight
    if isinstance(metric, Formula):
        return total * measured(metric, recipe.loss, *seen), total
    value = jax.pure_callback(
        lambda *seen: np.float32(measured(metric, *(jax.tree.map(np.asarray, seen)))),
        jax.ShapeDtypeStruct((), jnp.float32),
        recipe.loss,
        *seen,
        vmap_method="sequential",
    )
    return total * value, total


def in_parts(function: Callable[[Rows], Array], X: Array, rows: Rows) -> Array:
    """What a function says of some rows at a time; the last are filled up at weight 0."""
    most = min(ROWS_AT_ONCE, max(1, NUMBERS_AT_ONCE // math.prod(X.shape[1:])))
    if len(rows.index) <= most:
        return jax.tree.map(lambda said: said[None], function(rows))
    return jax.lax.map(function, Rows(*(cut(values, most) for values in rows)))
