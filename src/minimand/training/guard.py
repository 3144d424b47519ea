"""Which number was the first that is not finite, in words."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.networks.base import Tree
from minimand.training.batches import inputs, shuffled
from minimand.training.passes import forward, objective
from minimand.training.program import Member, State


def culprit(
    members: Member,
    X: Array,
    y: Array,
    state: State,
    epoch: int,
    number: int,
    count: Array | None = None,
    before: int = 0,
) -> str:
    """The first tensor of the step after `state` that is not finite, in words.

    That is batch `number` of an epoch. `count` is as in `shuffled`, and `before` says how
    many rows come before those of X.
    """
    member, state = jax.tree.map(lambda leaf: leaf[0], (members, state))
    recipe = member.recipe
    key = jax.random.fold_in(randomness.key(member.seed), epoch)
    batches = shuffled(member.train, recipe.batch, key, count)
    rows = jax.tree.map(lambda cut: cut[number], batches)
    key = jax.random.fold_in(key, number)
    used = np.asarray(rows.weight) > 0
    index = np.asarray(rows.index)[used]

    def row_of(values: Array) -> str:
        bad = ~np.isfinite(np.asarray(values, dtype=float)[used].reshape(len(index), -1))
        first = np.flatnonzero(bad.any(axis=1))
        return f" of row {before + index[first[0]] + 1}" if len(first) else ""

    for name, tree in (("parameter", state.params), ("network state", state.network)):
        if found := _named(tree):
            return f"the {name} {found}"
    x = inputs(X[rows.index])
    for name, values in (("inputs", x), ("target", y[rows.index])):
        if where := row_of(values):
            return f"the {name}{where} stopped being finite"
    score = forward(recipe, state.params, state.network, x, key, train=True)[0]
    if where := row_of(score):
        return f"the score{where} stopped being finite"
    asked = (recipe, state.params, state.network, X, y, rows, key)
    value, (_, (total, _)) = objective(*asked)
    if not jnp.isfinite(total):
        where = row_of(recipe.loss(score, y[rows.index], reduction="none"))
        return f"the loss{where} stopped being finite"
    if not jnp.isfinite(value):
        return "the penalty stopped being finite"
    gradient, _ = jax.grad(objective, argnums=1, has_aux=True)(*asked)
    if where := _named(gradient):
        return f"the gradient of {where}"
    return "the parameters after their update stopped being finite"


def _named(tree: Tree) -> str:
    """The path of the first leaf that is not finite, with the place of the entry."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        for place in np.argwhere(~np.isfinite(np.asarray(leaf, dtype=float)))[:1]:
            name = ".".join(str(part.key) for part in path)
            return f"{name}{place.tolist()} stopped being finite"
    return ""
