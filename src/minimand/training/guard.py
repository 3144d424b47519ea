"""What to do when numbers stop being finite: go back to the step before, and name the culprit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from minimand.arrays import Array
from minimand.networks.base import Tree
from minimand.training import program
from minimand.training.program import Member, State, advance


def rewound(members: Member, X: Array, y: Array, before: State, after: State, first: int) -> State:
    """The state of the one member just before the step whose loss or gradient is not finite.

    The program notices a loss at once, a gradient at the next step by what it made of the
    parameters: the steps from `first`, where the state was `before`, are then run again, less one.
    """
    if finite(after.params):
        return after
    bad = int(after.step[0]) - 1
    state: State = advance(members, X, y, before, first, max(bad, first))
    return state._replace(status=after.status)


def culprit(members: Member, X: Array, y: Array, state: State) -> str:
    """The first tensor of the step after `state` that is not finite, in words."""
    member, state = jax.tree.map(lambda leaf: leaf[0], (members, state))
    recipe, steps = member.recipe, program.steps_in_epoch(members)
    epoch, number = divmod(int(state.step), steps)
    key = jax.random.fold_in(jax.random.key(member.seed), epoch)
    batches = program.shuffled(member.train, recipe.batch_size, key)
    rows = jax.tree.map(lambda cut: cut[number], batches)
    key = jax.random.fold_in(key, number)
    used = np.asarray(rows.weight) > 0
    index = np.asarray(rows.index)[used]

    def row_of(values: Array) -> str:
        bad = ~np.isfinite(np.asarray(values, dtype=float)[used].reshape(len(index), -1))
        first = np.flatnonzero(bad.any(axis=1))
        return f" of row {index[first[0]] + 1}" if len(first) else ""

    for name, tree in (("parameter", state.params), ("network state", state.network)):
        if found := _named(tree):
            return f"the {name} {found}"
    for name, values in (("inputs", X[rows.index]), ("target", y[rows.index])):
        if where := row_of(values):
            return f"the {name}{where} stopped being finite"
    score, _ = program.forward(recipe, state.params, state.network, X[rows.index], key, train=True)
    if where := row_of(score):
        return f"the score{where} stopped being finite"
    (total, weight), _ = program.batch_loss(
        recipe, state.params, state.network, X, y, rows, key, train=True
    )
    if not jnp.isfinite(total / weight):
        where = row_of(recipe.loss(score, y[rows.index], reduction="none"))
        return f"the loss{where} stopped being finite"
    if not jnp.isfinite(recipe.penalty.value(state.params)):
        return "the penalty stopped being finite"
    gradient = jax.grad(program.objective, argnums=1, has_aux=True)(
        recipe, state.params, state.network, X, y, rows, key
    )[0]
    if where := _named(gradient):
        return f"the gradient of {where}"
    return "the parameters after their update stopped being finite"


def finite(tree: Tree) -> bool:
    """Whether every number of a tree is finite, looked at from the host."""
    return all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(tree))


def _named(tree: Tree) -> str:
    """The path of the first leaf that is not finite, with the place of the entry."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        for place in np.argwhere(~np.isfinite(np.asarray(leaf, dtype=float)))[:1]:
            name = ".".join(str(part.key) for part in path)
            return f"{name}{place.tolist()} stopped being finite"
    return ""
