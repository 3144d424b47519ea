"""The pure program of a run: shuffle, gather, forward, backward, update, validate, stop.

Everything here is a function of its arguments. `start` and `advance` are compiled once for each
structure of a recipe; a leading member axis runs K recipes, seeds and folds as one program.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from minimand.arrays import Array
from minimand.networks.base import Tree, output_bias
from minimand.training.recipe import Recipe

RUNNING, EARLY, NON_FINITE = 0, 1, 2


class Rows(NamedTuple):
    """Rows of the shared data as indices; rows of weight 0 are padding."""

    index: Array
    weight: Array


class Member(NamedTuple):
    """What one run has for itself: its recipe, its seed and its rows."""

    recipe: Recipe
    seed: Array
    train: Rows
    validation: Rows


class State(NamedTuple):
    """Everything that changes during a run."""

    params: Tree
    network: Tree
    optimizer: Any
    epoch: Array
    status: Array
    best: Array
    best_epoch: Array
    best_params: Tree
    best_network: Tree
    history: Array


@jax.jit
def start(members: Member, X: Array, bias: Array) -> State:
    """The state of every member before its first epoch."""
    started: State = jax.vmap(_start, in_axes=(0, None, 0))(members, X, bias)
    return started


@partial(jax.jit, donate_argnames="state")
def advance(members: Member, X: Array, y: Array, state: State, until: Array) -> State:
    """Run every member to the epoch `until`, or until all have stopped."""

    def unfinished(state: State) -> Array:
        return jnp.any((state.status == RUNNING) & (state.epoch < until))

    return jax.lax.while_loop(unfinished, lambda state: _epoch(members, X, y, state), state)


@jax.jit
def scores(recipe: Recipe, params: Tree, network: Tree, X: Array) -> Array:
    """The scores of one fitted network, shaped as its loss expects them."""
    return _score(recipe, params, network, X, jax.random.key(0), train=False)[0]


def _start(member: Member, X: Array, bias: Array) -> State:
    recipe = member.recipe
    params, network = recipe.network.init(_key(member), X[:1])
    params = output_bias(params, bias)
    return State(
        params=params,
        network=network,
        optimizer=_rule(recipe).init(params),
        epoch=jnp.zeros((), jnp.int32),
        status=jnp.full((), RUNNING, jnp.int32),
        best=jnp.full((), jnp.inf, jnp.float32),
        best_epoch=jnp.zeros((), jnp.int32),
        best_params=params,
        best_network=network,
        history=jnp.full((recipe.epochs, 2), jnp.nan, jnp.float32),
    )


def _epoch(members: Member, X: Array, y: Array, state: State) -> State:
    """One epoch of every member: a scan over the batches, each step mapped over the members."""
    key = jax.vmap(lambda member, epoch: jax.random.fold_in(_key(member), epoch))(
        members, state.epoch
    )
    batches = jax.vmap(_shuffled, in_axes=(0, None, 0), out_axes=1)(
        members.train, members.recipe.batch_size, key
    )
    update = jax.vmap(_update, in_axes=(0, None, None, 0, 0, 0, None))

    def step(carry: Any, batch: tuple[Rows, Array]) -> Any:
        rows, number = batch
        return update(members, X, y, carry, rows, key, number)

    numbers = jnp.arange(batches.index.shape[0])
    carry = (state.params, state.network, state.optimizer)
    carry, (loss, weight) = jax.lax.scan(step, carry, (batches, numbers))
    train = _ratio(jnp.sum(loss, axis=0), jnp.sum(weight, axis=0))
    return jax.vmap(_close, in_axes=(0, None, None, 0, 0, 0, 0))(
        members, X, y, state, carry, train, key
    )


def _update(
    member: Member, X: Array, y: Array, carry: Any, rows: Rows, key: Array, number: Array
) -> Any:
    """One step of one member; also returns (Σ w ℓ, Σ w) of the batch."""
    params, network, optimizer = carry
    (_, (network, loss)), gradient = jax.value_and_grad(_objective, argnums=1, has_aux=True)(
        member.recipe, params, network, X, y, rows, jax.random.fold_in(key, number)
    )
    updates, optimizer = _rule(member.recipe).update(gradient, optimizer, params)
    return (optax.apply_updates(params, updates), network, optimizer), loss


def _close(
    member: Member, X: Array, y: Array, before: State, carry: Any, train: Array, key: Array
) -> State:
    """The end of an epoch of one member: validate, remember the best, decide whether to stop.

    A member that has stopped keeps its parameters; what its optimiser holds no longer matters.
    """
    recipe, epoch = member.recipe, before.epoch + 1
    params, network, optimizer = carry
    validation = _ratio(*_total(recipe, params, network, X, y, member.validation, key, False)[0])
    watched = jnp.any(member.validation.weight > 0)
    running = (before.status == RUNNING) & (before.epoch < recipe.epochs)
    finite = jnp.isfinite(train) & _all_finite(params)
    good = running & finite
    better = good & (~watched | (validation < before.best - recipe.min_delta))
    best_epoch = jnp.where(better, epoch, before.best_epoch)
    tired = watched & (epoch - best_epoch >= recipe.patience) & (epoch < recipe.epochs)
    ended = jnp.where(finite, jnp.where(tired, EARLY, RUNNING), NON_FINITE)
    return State(
        params=_choose(good, params, before.params),
        network=_choose(good, network, before.network),
        optimizer=optimizer,
        epoch=jnp.where(running, epoch, before.epoch),
        status=jnp.where(running, ended, before.status),
        best=jnp.where(better, validation, before.best),
        best_epoch=best_epoch,
        best_params=_choose(better, params, before.best_params),
        best_network=_choose(better, network, before.best_network),
        history=before.history.at[before.epoch].set(jnp.stack([train, validation])),
    )


def _objective(
    recipe: Recipe, params: Tree, network: Tree, X: Array, y: Array, rows: Rows, key: Array
) -> tuple[Array, tuple[Tree, tuple[Array, Array]]]:
    loss, network = _total(recipe, params, network, X, y, rows, key, True)
    return _ratio(*loss) + recipe.penalty.value(params), (network, loss)


def _total(
    recipe: Recipe,
    params: Tree,
    network: Tree,
    X: Array,
    y: Array,
    rows: Rows,
    key: Array,
    train: bool,
) -> tuple[tuple[Array, Array], Tree]:
    score, network = _score(recipe, params, network, X[rows.index], key, train=train)
    return recipe.loss.total(score, y[rows.index], weight=rows.weight), network


def _score(
    recipe: Recipe, params: Tree, network: Tree, x: Array, key: Array, *, train: bool
) -> tuple[Array, Tree]:
    score, network = recipe.network.apply(params, network, x, key=key, train=train)
    return (score if recipe.loss.score_axes else score[..., 0]), network


def _rule(recipe: Recipe) -> optax.GradientTransformation:
    return optax.chain(recipe.optimizer.transform(), optax.scale_by_schedule(recipe.schedule))


def _key(member: Member) -> Array:
    return jax.random.key(member.seed)


def _shuffled(rows: Rows, batch_size: int, key: Array) -> Rows:
    """The rows in random order, cut into batches; the last one is filled up with weight 0."""
    n = rows.index.shape[0]
    size = min(batch_size, n)
    order = jnp.argsort(jax.random.bits(key, (n,)))
    missing = -n % size

    def cut(values: Array) -> Array:
        return jnp.pad(values[order], (0, missing)).reshape(-1, size)

    return Rows(cut(rows.index), cut(rows.weight))


def _ratio(total: Array, weight: Array) -> Array:
    return total / jnp.where(weight > 0, weight, 1.0)


def _all_finite(params: Tree) -> Array:
    return reduce(jnp.logical_and, (jnp.all(jnp.isfinite(p)) for p in jax.tree.leaves(params)))


def _choose(condition: Array, yes: Any, no: Any) -> Any:
    """`yes` or `no`, leaf by leaf; the primitive, since tracing `where` costs a first run more."""
    return jax.tree.map(
        lambda a, b: jax.lax.select(jnp.broadcast_to(condition, a.shape), a, b), yes, no
    )
