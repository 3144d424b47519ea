"""Training on data that do not fit in memory: one block of rows after the other.

The epoch of the program in `minimand.training.program` is here one block: its rows are shuffled
by (seed, how many blocks came before), and its batches are one compiled loop. The order of the
blocks follows from (seed, epoch). Another thread reads a block while the one before is in use.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.blocks import Block, Blocks, as_blocks
from minimand.data.columns import plural
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError, ShapeError, SolverError
from minimand.networks.base import Tree
from minimand.training.batches import Rows
from minimand.training.checkpoint import Checkpoints, NoCheckpoints, identity
from minimand.training.compilation import single_precision
from minimand.training.guard import culprit
from minimand.training.inputs import best_constant, check_decay, check_seeds, checked_rows, stacked
from minimand.training.loop import run
from minimand.training.program import (
    Member,
    State,
    begin,
    end_epoch,
    epoch_keys,
    noticed,
    scores,
    take_steps,
    validated,
)
from minimand.training.progress import Listener
from minimand.training.recipe import Recipe
from minimand.training.result import Trained
from minimand.training.sharding import everywhere, on_devices
from minimand.training.watching import measured

T = TypeVar("T")


def train_stream(
    recipe: Recipe,
    source: Blocks | Iterable[Any],
    *,
    validation: float | Blocks | Iterable[Any] = 0.1,
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
    """Train one network on blocks of rows, a few of which are in memory at a time.

    Every epoch takes every row once: the blocks in an order that follows from the seed and the
    epoch (those of a source that cannot be indexed, in its own), the rows of a block shuffled. No
    batch spans two blocks. A single block gives the run that `train` gives on its rows, bit for
    bit.

    Args:
        recipe: what to train and how.
        source: `ParquetBlocks`, a list of (X, y) or (X, y, weight), anything that gives such blocks
            whenever it is gone through, a generator of them (kept in a temporary folder), or a
            function that makes one.
        validation: the share of blocks, drawn with the seed, that early stopping watches (0 turns
            it off), or other blocks to watch, such as [(X, y)].
        seed: decides the initial parameters, the order of the rows and the validation part.
        devices: how many of this machine's devices share every batch.
        budget: ends the run early and keeps what there is.
        progress: show a progress bar; None shows it on a terminal.
        checkpoints: a folder for checkpoints.
        every: seconds between two checkpoints; the last one is written at the end.
        keep: how many checkpoints stay, the newest; each holds the best parameters so far too.
        resume: go on from the newest checkpoint, if there is one, to the same bits.
        start: go on from the last step of an earlier run of such a recipe, or begin from these
            parameters, nested by layer like `Trained.params`; what they leave out starts fresh.
        listeners: called with an `Event` between chunks of the run.

    Raises:
        DataError: a block that cannot be used; the text says where it begins.
        SolverError: the loss stopped being finite; the text names the epoch.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1), batch_size=8, epochs=50)
    >>> blocks = [(x[k::2], 4 + 3 * x[k::2, 0]) for k in range(2)]
    >>> train_stream(recipe, blocks, validation=0.0).scores(np.array([[1.0]])).round(3)
    array([7.])
    """
    check_seeds([seed])
    train, watched = _split(as_blocks(source), validation, seed)
    if recipe.batch > train.sizes.max() and len(train.sizes) > 1:
        raise ArgumentError(
            f"batch_size is {recipe.batch}, but no batch spans two blocks and the largest has "
            f"{train.sizes.max()} rows; make the blocks larger, or the batches smaller"
        )
    saved = NoCheckpoints()
    if checkpoints is not None:
        own = identity([recipe], [seed], [part.said() for part in (train, watched)])
        saved = Checkpoints(checkpoints, own, every, keep, resume)
    with (
        on_devices(devices),
        single_precision(),
        closing(Streamed(recipe, seed, train, watched)) as rows,
    ):
        (fitted,) = run(
            rows,
            [recipe],
            saved,
            budget=budget,
            progress=progress,
            starts=[start] if start else (),
            listeners=listeners,
        )
    if not fitted.finite:
        raise SolverError(fitted.status, trained=fitted)
    return fitted


class Part(NamedTuple):
    """Some of the blocks of a source."""

    blocks: Blocks
    numbers: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """How many rows each block has."""
        return np.asarray([self.blocks.sizes[number] for number in self.numbers])

    def read(self, order: Iterable[int]) -> Iterator[Block]:
        """The blocks at these places."""
        return self.blocks.read([int(self.numbers[place]) for place in order])

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The places of the blocks of an epoch, in the order in which they are read."""
        places = np.arange(len(self.numbers))
        if not self.blocks.any_order:
            return places
        return np.random.default_rng([seed, epoch]).permutation(places)

    def said(self) -> np.ndarray:
        """What tells this part from others, as numbers."""
        text = f"{self.blocks.fingerprint()} {self.numbers.tolist()}"
        return np.frombuffer(text.encode(), dtype=np.uint8)


class Loaded(NamedTuple):
    """A block as the program takes it, filled up; `order` has its `rows` with a weight in front."""

    X: Array
    y: Array
    weight: Array
    order: Array
    rows: int
    before: int


class Streamed:
    """Rows that come in blocks; in the terms of `RowSource`."""

    def __init__(self, recipe: Recipe, seed: int, train: Part, watched: Part):
        self._recipe, self._seed, self._train, self._watched = recipe, seed, train, watched
        self._steps = -(-train.sizes // min(recipe.batch, int(train.sizes.max())))
        self.steps, self.rows = int(self._steps.sum()), int(train.sizes.sum())
        nothing = Fold(np.arange(0), np.arange(0))
        self._members = stacked([recipe], [nothing], [seed], np.ones(1))
        self._place = everywhere()
        self._reader: Generator[Loaded] | None = None
        self._block: Loaded | None = None
        self._visit = -1

    def begin(self) -> State:
        """The state before the first step; output biases fit the first block."""
        (block,) = self._train.read([0])
        X, y, weight = _checked(self._recipe, block)
        everything = Fold(np.arange(len(y)), np.arange(0))
        constants = [best_constant(self._recipe, y, weight, everything)]
        bias = np.asarray(constants, dtype=np.float32)
        state: State = begin(self._members, jax.device_put(X[:1], self._place), bias)
        check_decay(self._members.recipe, state.params)
        return state

    def reach(self, first: int, wanted: int) -> int:
        """No further than the end of a block."""
        _, number, batches = self._located(first)
        return min(wanted, first - number + batches)

    def advance(self, state: State, first: int, until: int, careful: bool = False) -> State:
        """The state before step `until`, from the one before step `first`."""
        visit, number, _ = self._located(first)
        block = self._visited(visit)[:5]
        last = number + until - first
        state = _through(self._members, block, state, visit, number, last, careful)
        return self.finish(state) if until > first and until % self.steps == 0 else state

    def finish(self, state: State) -> State:
        """The end of an epoch: the watched blocks, and what follows from them."""
        total, metric = (np.zeros(1, np.float32), np.zeros(1, np.float32)), self._recipe.metric
        said: list[tuple[np.ndarray, ...]] = []
        if len(self._watched.numbers):
            capacity = int(self._watched.sizes.max())
            load = partial(_loaded, self._recipe, capacity=capacity, place=self._place)
            blocks = map(load, self._watched.read(range(len(self._watched.numbers))))
            with closing(read_ahead(blocks)) as reader:
                for block in reader:
                    total = _watch(self._members, block[:3], state, total)
                    if metric is not None:
                        said.append(_said(self._members, block[:3], state))
        if metric is not None and said:
            columns = (np.concatenate(values) for values in zip(*said, strict=True))
            total = (measured(metric, self._recipe.loss, *columns) * total[1], total[1])
        ended: State = _end(self._members, state, total)
        return ended

    def culprit(self, state: State) -> str:
        """The first tensor of the step after `state` that is not finite, in words."""
        visit, number, _ = self._located(int(state.step[0]))
        X, y, weight, order, rows, before = self._visited(visit)
        members = _with_rows(self._members, order, weight)
        return culprit(members, X, y, state, visit, number, rows, before)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._reader:
            self._reader.close()

    def _located(self, step: int) -> tuple[int, int, int]:
        """(blocks before, batches before in the block, batches of the block) of a step."""
        epoch, rest = divmod(step, self.steps)
        batches = self._steps[self._train.order(self._seed, epoch)]
        ends = np.cumsum(batches)
        place = int(np.searchsorted(ends, rest, side="right"))
        number = rest - int(ends[place] - batches[place])
        return epoch * len(batches) + place, number, int(batches[place])

    def _visited(self, visit: int) -> Loaded:
        """The block after `visit` others, which is often the one in hand or the next."""
        if self._block is None or visit != self._visit:
            if self._reader is None or visit != self._visit + 1:
                self.close()
                self._reader = read_ahead(self._loaded_from(visit))
            self._block, self._visit = next(self._reader), visit
            gc.collect(1)  # the loop has paused the collector, and blocks may leave cycles behind
        return self._block

    def _loaded_from(self, visit: int) -> Iterator[Loaded]:
        """All blocks of the run but the first `visit`."""
        capacity = int(self._train.sizes.max())
        begun, place = divmod(visit, len(self._steps))
        for epoch in range(begun, self._recipe.epochs):
            order = self._train.order(self._seed, epoch)
            for block in self._train.read(order[place if epoch == begun else 0 :]):
                yield _loaded(self._recipe, block, capacity, self._place)


def read_ahead(items: Iterator[T]) -> Generator[T]:
    """The same items; another thread makes each while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


@partial(jax.jit, static_argnames="careful", donate_argnames="state")
def _through(
    members: Member,
    block: Any,
    state: State,
    visit: Array,
    first: Array,
    last: Array,
    careful: bool,
) -> State:
    """The batches `first` to `last` of a block, the `visit`-th of the run."""
    X, y, weight, order, count = block
    members = _with_rows(members, order, weight)
    keys = epoch_keys(members, visit)
    return noticed(take_steps(members, X, y, state, keys, first, last, count, careful))


@jax.jit
def _watch(members: Member, block: Any, state: State, total: Any) -> Any:
    """(Σ w ℓ, Σ w), with those of one more block."""
    X, y, weight = block
    rows = Rows(jnp.arange(len(weight)), weight)
    over_members = jax.vmap(validated, in_axes=(0, 0, None, None, None, None))
    return jax.tree.map(jnp.add, total, over_members(members, state, X, y, rows, randomness.key(0)))


def _said(members: Member, block: Any, state: State) -> tuple[np.ndarray, ...]:
    """(scores, targets, weights) of a watched block, for a metric of all of them."""
    X, y, weight = block
    recipe, state = jax.tree.map(lambda leaf: leaf[0], (members.recipe, state))
    params = recipe.optimizer.evaluated(state.params, state.optimizer[0])
    found = scores(recipe, params, state.network, X)
    return np.asarray(found), np.asarray(y), np.asarray(weight)


@partial(jax.jit, donate_argnames="state")
def _end(members: Member, state: State, total: Any) -> State:
    ended: State = jax.vmap(end_epoch)(members, state, total)
    return ended


def _with_rows(members: Member, order: Array, weight: Array) -> Member:
    """The one member with all rows of a block."""
    return members._replace(train=Rows(order[None], weight[order][None]))


def _loaded(recipe: Recipe, block: Block, capacity: int, place: Any) -> Loaded:
    X, y, weight = _checked(recipe, block)
    if missing := capacity - len(y):
        X, y = (np.concatenate([v, np.repeat(v[:1], missing, axis=0)]) for v in (X, y))
        weight = np.append(weight, np.zeros(missing))
    used = weight > 0
    order = np.argsort(~used, kind="stable").astype(np.int32)
    X, y, weight, order = jax.device_put((X, y, weight.astype(np.float32), order), place)
    return Loaded(X, y, weight, order, int(used.sum()), block.before)


def _checked(recipe: Recipe, block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        return checked_rows(recipe, block.X, block.y, block.weight)
    except (DataError, ShapeError) as error:
        raise type(error)(f"in the block that begins at row {block.before + 1}: {error}") from None


def _split(source: Blocks, validation: Any, seed: int) -> tuple[Part, Part]:
    """The blocks to train on and those to watch."""
    numbers = np.flatnonzero(source.sizes)
    if not isinstance(validation, int | float):
        watched = as_blocks(validation)
        return Part(source, numbers), Part(watched, np.flatnonzero(watched.sizes))
    if not 0 <= validation < 1:
        raise ArgumentError(f"validation is {validation}; it must lie in [0, 1)")
    held = max(1, round(validation * len(numbers))) if validation else 0
    if held == len(numbers):
        raise ArgumentError(
            f"validation is {validation}, which leaves none of {plural(held, 'block')} to train "
            f"on; make smaller blocks, give [(X, y)] to watch, or validation=0.0"
        )
    order = np.random.default_rng(seed).permutation(numbers)
    return Part(source, np.sort(order[held:])), Part(source, np.sort(order[:held]))
