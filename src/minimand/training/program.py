"""The pure program of a run: shuffle, gather, forward, backward, update, validate, stop.

Everything here is a function of its arguments: the order of the rows and the dropout keys follow
from (seed, step). `begin` and `advance` are compiled once for each structure of a recipe; a leading
member axis runs K recipes, seeds and folds as one program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from minimand import randomness
from minimand.arrays import Array
from minimand.networks.base import Tree
from minimand.training.batches import Rows, inputs, shuffled
from minimand.training.passes import forward, objective, ratio
from minimand.training.recipe import Recipe
from minimand.training.sharding import shared
from minimand.training.trees import all_finite, chosen
from minimand.training.validation import judged, lost

RUNNING, EARLY, NON_FINITE = 0, 1, 2


class Member(NamedTuple):
    """What one run has for itself: its recipe, its seed and its rows."""

    recipe: Recipe
    seed: Array
    train: Rows
    validation: Rows


class State(NamedTuple):
    """Everything that changes during a run.

    `step` counts the batches seen and `skipped` those passed over, `epoch` the epochs ended; `sums`
    are (Σ w ℓ, Σ w) of the epoch so far, `memory` is the schedule's, `rate` multiplies every
    update. A run whose loss stops being finite keeps what it had before that step.
    """

    params: Tree
    network: Tree
    optimizer: Any
    memory: Any
    rate: Array
    step: Array
    skipped: Array
    sums: Array
    epoch: Array
    status: Array
    best: Array
    best_epoch: Array
    best_params: Tree
    best_network: Tree
    history: Array


@jax.jit
def begin(members: Member, X: Array, bias: Array) -> State:
    """The state of every member before its first step."""
    started: State = jax.lax.map(lambda own: _start(own[0], X, own[1]), (members, bias))
    return started


@partial(jax.jit, static_argnames="careful", donate_argnames="state")
def advance(
    members: Member,
    X: Array,
    y: Array,
    state: State,
    first: Array,
    until: Array,
    careful: bool = False,
) -> State:
    """Run every member from step `first` to step `until`, or until all have stopped.

    The state given is used up: its memory becomes that of the one returned. A `careful` run also
    looks at every gradient and at every parameter, and ends before the first that is not finite.
    """
    steps = steps_in_epoch(members)

    def unfinished(carry: tuple[Array, State]) -> Array:
        step, state = carry
        return jnp.any(state.status == RUNNING) & (step < until)

    def to_the_end_of_the_epoch(carry: tuple[Array, State]) -> tuple[Array, State]:
        step, state = carry
        first = step % steps
        last = jnp.minimum(steps, first + until - step)
        key = epoch_keys(members, step // steps)
        state = take_steps(members, X, y, state, key, first, last, careful=careful)
        at_the_end = _mapped(partial(_close, X=X, y=y), members, in_axes=(0, 0, 0))
        state = jax.lax.cond(
            last == steps, at_the_end, lambda _, state, __: state, members, state, key
        )
        return step - first + last, state

    return noticed(jax.lax.while_loop(unfinished, to_the_end_of_the_epoch, (first, state))[1])


def noticed(state: State) -> State:
    """A single member whose parameters are not finite has ended; of several, at an epoch's end."""
    if len(state.status) > 1:
        return state
    status = jnp.where(all_finite(state.params), state.status, NON_FINITE)
    return state._replace(status=status)


@jax.jit
def close(members: Member, X: Array, y: Array, state: State) -> State:
    """The state of every member as if its epoch ended here."""
    over_members = jax.vmap(partial(_close, X=X, y=y))
    ended: State = over_members(members, state, epoch_keys(members, state.epoch[0]))
    return ended


@jax.jit
def scores(recipe: Recipe, params: Tree, network: Tree, X: Array) -> Array:
    """The scores of one fitted network, shaped as its loss expects them."""
    return forward(recipe, params, network, inputs(X), randomness.key(0), train=False)[0]


def steps_in_epoch(members: Member) -> int:
    """How many batches the rows of every member make."""
    rows: int = members.train.index.shape[-1]
    return -(-rows // min(members.recipe.batch, rows))


def _start(member: Member, X: Array, bias: Array) -> State:
    recipe = member.recipe
    params, network = recipe.network.init(randomness.key(member.seed), X[:1])
    params = recipe.network.starting_at(params, bias)
    zero = jnp.zeros((), jnp.int32)
    return State(
        params=params,
        network=network,
        optimizer=rule(recipe).init(params),
        memory=recipe.schedule.memory(),
        rate=jnp.ones((), jnp.float32),
        step=zero,
        skipped=zero,
        sums=jnp.zeros(2, jnp.float32),
        epoch=zero,
        status=jnp.full((), RUNNING, jnp.int32),
        best=jnp.full((), jnp.inf, jnp.float32),
        best_epoch=zero,
        best_params=params,
        best_network=network,
        history=jnp.full((recipe.epochs, 2), jnp.nan, jnp.float32),
    )


def epoch_keys(members: Member, epoch: Array) -> Array:
    """The key of every member for an epoch."""
    return jax.vmap(lambda seed: jax.random.fold_in(randomness.key(seed), epoch))(members.seed)


def take_steps(
    members: Member,
    X: Array,
    y: Array,
    state: State,
    key: Array,
    first: Array,
    last: Array,
    count: Array | None = None,
    careful: bool = False,
) -> State:
    """The batches `first` to `last` of an epoch, each mapped over the members."""
    order = _mapped(shuffled, members, in_axes=(0, None, 0, None))
    batches = order(members.train, members.recipe.batch, key, count)
    guarded = len(members.seed) == 1 or members.recipe.on_non_finite == "skip"
    one = partial(_update, guarded=guarded, careful=careful)
    update = _mapped(one, members, in_axes=(0, None, None, 0, 0, 0, None))

    def step(number: Array, changing: State) -> State:
        rows = shared(jax.tree.map(lambda cut: cut[:, number], batches))
        changed: State = update(members, X, y, changing, rows, key, number)
        return changed

    after: State = jax.lax.fori_loop(first, last, step, state)
    return after


def _update(
    member: Member,
    X: Array,
    y: Array,
    state: State,
    rows: Rows,
    key: Array,
    number: Array,
    guarded: bool,
    careful: bool,
) -> State:
    """One step of one member; if `guarded`, not taken without rows or with a loss not finite.

    A finite loss with a gradient that is not shows later, by what it makes of the parameters, and
    a `careful` run then finds the step: see `guard`. Members that run together go unguarded,
    because a choice for each would copy all that they have at every step: one that has ended goes
    on to no effect, and keeps the best parameters that it had.
    """
    recipe, key = member.recipe, jax.random.fold_in(key, number)

    def gradient_at(params: Tree) -> Any:
        slope = jax.value_and_grad(objective, argnums=1, has_aux=True)
        (_, seen), gradient = slope(recipe, params, state.network, X, y, rows, key)
        return seen, gradient

    (network, loss), gradient = recipe.optimizer.gradient(gradient_at, state.params)

    def taken() -> tuple[Tree, Tree, Any]:
        updates, optimizer = rule(recipe).update(
            gradient,
            state.optimizer,
            state.params,
            value=ratio(*loss),
            key=key,
            gradient_at=gradient_at,
        )
        size = state.rate * recipe.schedule.factor(state.memory)
        updates = jax.tree.map(lambda update: size * update, updates)
        params = optax.apply_updates(state.params, updates)
        return recipe.constraint.projected(params), network, optimizer

    finite = jnp.isfinite(loss[0])
    skips = recipe.on_non_finite == "skip"
    if careful or skips or recipe.optimizer.hiding:
        finite &= all_finite(gradient)
    if careful:
        finite &= all_finite(taken()[:2])
    running = state.status == RUNNING
    good = running & finite & jnp.any(rows.weight > 0)
    kept = (state.params, state.network, state.optimizer)
    params, network, optimizer = jax.lax.cond(good, taken, lambda: kept) if guarded else taken()
    ends = running & ~finite & (not skips)
    return state._replace(
        params=params,
        network=network,
        optimizer=optimizer,
        step=state.step + (running & ~ends),
        skipped=state.skipped + (running & ~finite) if skips else state.skipped,
        sums=state.sums + jnp.where(good, jnp.stack(loss), 0.0),
        status=jnp.where(ends, NON_FINITE, state.status),
    )


def _mapped(function: Any, members: Member, in_axes: tuple[int | None, ...]) -> Any:
    """`function` mapped over the members; a single one is spared the cost of masking its branches.

    A mapped `cond` computes both branches and copies the result of one.
    """
    if len(members.seed) > 1:
        return jax.vmap(function, in_axes=in_axes)

    def alone(*arguments: Any) -> Any:
        own = [
            argument if axis is None else jax.tree.map(lambda leaf: leaf[0], argument)
            for argument, axis in zip(arguments, in_axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], function(*own))

    return alone


def _close(member: Member, state: State, key: Array, X: Array, y: Array) -> State:
    """The end of an epoch of one member, validation included."""
    value = judged if member.recipe.metric else lost
    total = validated(member, state, X, y, member.validation, key, value)
    return end_epoch(member, state, total)


def validated(
    member: Member,
    state: State,
    X: Array,
    y: Array,
    rows: Rows,
    key: Array,
    value: Callable[..., tuple[Array, Array]] = lost,
) -> tuple[Array, Array]:
    """What some rows are worth, by the parameters to validate with."""
    params = member.recipe.optimizer.evaluated(state.params, state.optimizer[0])
    return value(member.recipe, params, state.network, X, y, rows, key)


def end_epoch(member: Member, state: State, total: tuple[Array, Array]) -> State:
    """Remember the best parameters and decide whether to stop, after validation."""
    recipe, epoch = member.recipe, state.epoch + 1
    params = recipe.optimizer.evaluated(state.params, state.optimizer[0])
    train, validation = ratio(*state.sums), ratio(*total)
    watched = total[1] > 0
    finite = all_finite(params)
    running = (state.status == RUNNING) & finite
    better = running & (~watched | (validation < state.best - recipe.min_delta))
    never = state.best == jnp.inf
    kept = running & (better | never) if recipe.restore_best else running
    best_epoch = jnp.where(better, epoch, state.best_epoch)
    tired = watched & (epoch - best_epoch >= recipe.patience) & (epoch < recipe.epochs)
    tired &= epoch >= recipe.min_epochs
    reached = watched & (recipe.goal is not None) & (validation <= recipe.falling_goal)
    memory = recipe.schedule.watched(state.memory, jnp.where(watched, validation, train))
    lines = state.history.at[state.epoch].set(jnp.stack([train, validation]))
    return state._replace(
        memory=chosen(running, memory, state.memory),
        sums=jnp.zeros_like(state.sums),
        epoch=jnp.where(running, epoch, state.epoch),
        status=jnp.where(
            running & (tired | reached), EARLY, jnp.where(finite, state.status, NON_FINITE)
        ),
        best=jnp.where(better, validation, state.best),
        best_epoch=best_epoch,
        best_params=chosen(kept, params, state.best_params),
        best_network=chosen(kept, state.network, state.best_network),
        history=jnp.where(running, lines, state.history),
    )


def rule(recipe: Recipe) -> optax.GradientTransformationExtraArgs:
    """The recipe's optimiser, its updates multiplied by the schedule."""
    scaled = optax.scale_by_schedule(recipe.schedule)
    return optax.with_extra_args_support(optax.chain(recipe.optimizer.transform(), scaled))
