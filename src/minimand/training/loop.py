"""The host side of training: chunks of steps, progress, time and Ctrl-C, and what comes back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, SolverError
from minimand.networks.base import Tree, merged
from minimand.training.anchor import Anchor
from minimand.training.checkpoint import Checkpoints, NoCheckpoints, identity
from minimand.training.compilation import collector_paused
from minimand.training.inputs import check_seeds
from minimand.training.members import InMemory, next_chunk, results
from minimand.training.program import NON_FINITE, RUNNING, State
from minimand.training.progress import Event, Listener, medians, progress_bar
from minimand.training.recipe import Recipe
from minimand.training.result import Trained, as_watched
from minimand.training.sharding import on_devices
from minimand.training.source import RowSource
from minimand.training.trees import copied

HALVINGS = 20
FIRST = 32
"""The steps of the first chunk, at most."""

LONGER = 4
"""So many times longer chunks may be for members, whose states are dealt out anew for each."""


def train(
    recipe: Recipe,
    X: Array,
    y: Array,
    *,
    validation: float = 0.1,
    seed: int = 0,
    devices: int = 1,
    budget: Budget | None = None,
    progress: bool | None = None,
    checkpoints: str | Path | None = None,
    every: float = 30.0,
    keep: int = 2,
    resume: bool = False,
    start: Trained | Tree | None = None,
    listeners: Sequence[Listener] = (),
) -> Trained:
    """Train one network.

    Args:
        recipe: what to train and how.
        X: [n, p] inputs.
        y: [n] targets, as the recipe's loss expects them.
        validation: the share of rows, drawn with the seed, that early stopping watches; 0 turns
            it off.
        seed: decides the initial parameters, the order of the rows and the validation part.
        devices: how many of this machine's devices share every batch.
        budget: seconds or steps after which the run ends; an epoch that it cuts short is validated
            like a whole one.
        progress: show a progress bar; None shows it on a terminal.
        checkpoints: a folder for checkpoints.
        every: seconds between two checkpoints; the last one is written at the end.
        keep: how many checkpoints stay, the newest; each holds the best parameters so far too.
        resume: go on from the newest checkpoint, if there is one, to the same bits.
        start: go on from the last step of an earlier run of such a recipe, on these data; or
            begin from these parameters, nested by layer like `Trained.params`. What they leave out
            starts fresh.
        listeners: called with an `Event` between chunks of the run, about twice a second.

    Raises:
        SolverError: a number stopped being finite; the text names it and the step, and `trained`
            has the parameters of the best epoch, and in `last` those before that step.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1), batch_size=8, epochs=50)
    >>> fitted = train(recipe, X, 4 + 3 * X[:, 0], validation=0.0)
    >>> fitted.scores(np.array([[1.0]])).round(3)
    array([7.])
    """
    if not 0 <= validation < 1:
        raise ArgumentError(f"validation is {validation}; it must lie in [0, 1)")
    check_seeds([seed])
    order = np.random.default_rng(seed).permutation(len(X))
    held = round(validation * len(X))
    fold = Fold(np.sort(order[held:]), np.sort(order[:held]))
    (fitted,) = train_members(
        [recipe],
        X,
        y,
        [fold],
        [seed],
        devices=devices,
        budget=budget,
        progress=progress,
        checkpoints=checkpoints,
        every=every,
        keep=keep,
        resume=resume,
        starts=[start] if start else (),
        listeners=listeners,
    )
    if not fitted.finite:
        raise SolverError(fitted.status, trained=fitted)
    return fitted


def train_members(
    recipes: Sequence[Recipe],
    X: Array,
    y: Array,
    folds: Sequence[Fold],
    seeds: Sequence[int],
    *,
    weight: Array | None = None,
    devices: int = 1,
    jobs: int | None = None,
    width: int | None = None,
    budget: Budget | None = None,
    progress: bool | None = None,
    checkpoints: str | Path | None = None,
    every: float = 30.0,
    keep: int = 2,
    resume: bool = False,
    starts: Sequence[Trained | Tree] = (),
    listeners: Sequence[Listener] = (),
) -> list[Trained]:
    """Train K recipes of one structure as one program: member k has recipe, fold and seed k.

    A fold's `train` rows are descended on and its `test` rows are watched for early stopping. A
    member whose loss stops being finite ends by itself and says so in its status. On a CPU they are
    dealt out to `jobs` threads, one for each core by default. Each runs `width` members side by
    side: 1 by default, and then each gives the bits that it would give alone. A width of 8 takes a
    sixth of the time off small perceptrons, and is equal but for rounding. Accelerators run as many
    side by side as their memory holds.
    """
    for recipe, fold in zip(recipes, folds, strict=False):
        if recipe.goal is not None and not len(fold.test):
            raise ArgumentError(
                f"the goal is {recipe.goal}, and there are no validation rows to reach it on; set "
                f"some aside, or leave the goal out"
            )
    with on_devices(devices):
        rows = InMemory(recipes, X, y, folds, seeds, weight, jobs, width)
        saved = NoCheckpoints()
        if checkpoints is not None:
            own = identity(recipes, seeds, rows.data)
            saved = Checkpoints(checkpoints, own, every, keep, resume)
        return run(
            rows,
            recipes,
            saved,
            budget=budget,
            progress=progress,
            starts=starts,
            listeners=listeners,
        )


@collector_paused()
def run(
    rows: RowSource,
    recipes: Sequence[Recipe],
    saved: NoCheckpoints,
    *,
    budget: Budget | None,
    progress: bool | None,
    starts: Sequence[Trained | Tree],
    listeners: Sequence[Listener],
) -> list[Trained]:
    """All epochs, unless something ends them before."""
    steps, halves = rows.steps, recipes[0].on_non_finite == "halve" and len(recipes) == 1
    last, chunk, finding = steps * recipes[0].epochs, min(steps, FIRST), ""
    with budget or Budget() as budget, progress_bar(progress) as draw:
        state = rows.begin()
        if starts:
            state = _begun(state, starts)
        done, (state, good) = saved.restored((state, copied(state) if halves else None))
        anchor = Anchor(done, state) if len(recipes) == 1 else None
        budget.taken = done
        begun, first = time.perf_counter(), done
        while done < last and not budget.spent() and np.any(np.asarray(state.status) == RUNNING):
            wanted = min(last, done + chunk, budget.steps or last)
            if halves:
                wanted = min(wanted, done - done % steps + steps)
            chunk_begun, ahead = time.perf_counter(), rows.reach(done, wanted)
            state = rows.advance(state, done, ahead)
            if anchor and np.asarray(state.status)[0] == NON_FINITE:
                rate = np.array(state.rate)
                if good is not None and rate[0] > 0.5**HALVINGS:
                    done, state = int(good.step[0]), copied(good)._replace(rate=rate / 2)
                    anchor = Anchor(done, state)
                    continue
                state = anchor.replayed(rows, done, ahead)
                finding = rows.culprit(state)
                state = state._replace(status=np.full_like(state.status, NON_FINITE))
                break
            if good is not None and ahead % steps == 0 and _last_loss(state) < _last_loss(good):
                good = copied(state)
            if anchor:
                anchor.moved(ahead, state)
            saved.after(ahead, (state, good))
            now = time.perf_counter()
            event = Event(
                step=ahead,
                steps=last,
                epoch=ahead // steps,
                epochs=recipes[0].epochs,
                begun=first,
                seconds=now - begun,
                examples_per_second=rows.rows * (ahead - first) / steps / (now - begun),
                alive=int(np.sum(np.asarray(state.status) == RUNNING)),
                lines=medians(as_watched(recipes[0], state.history), done // steps, ahead // steps),
            )
            for listener in (draw, *listeners):
                listener(event)
            share = (now - chunk_begun) / min(len(recipes), LONGER)
            done, chunk = ahead, next_chunk(ahead - done, steps, rows.rows, share)
            budget.taken = done
        saved.close(done, (state, good))
        if done % steps and not finding:
            state = rows.finish(state)
    return results(recipes, state, budget.reason, finding)


def _last_loss(state: State) -> float:
    """The training loss of the last epoch, and ∞ before the first one."""
    epoch = int(np.asarray(state.epoch)[0])
    return float(np.asarray(state.history)[0, epoch - 1, 0]) if epoch else np.inf


def _begun(state: State, starts: Sequence[Trained | Tree]) -> State:
    """The state from which members go on, or begin with the parameters given."""
    if past := [one.last for one in starts if isinstance(one, Trained)]:
        return state._replace(**jax.tree.map(_stacked, *past))
    params = merged(state.params, jax.tree.map(_stacked, *starts))
    return state._replace(params=params, best_params=copied(params))


def _stacked(*leaves: Array) -> np.ndarray:
    return np.stack([np.asarray(leaf) for leaf in leaves])
