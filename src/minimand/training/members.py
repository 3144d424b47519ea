"""K members on rows that are all at hand, dealt out to the cores or to the accelerators.

A core runs its members one after another, by the program that runs one alone: to the same bits, and
one that has ended costs nothing. An accelerator runs all of its members side by side; those that
have ended leave, once the places they hold have cost what fewer cost to compile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from minimand.arrays import Array
from minimand.data.splits import Fold
from minimand.training.compilation import single_precision
from minimand.training.guard import culprit
from minimand.training.inputs import (
    best_constant,
    check_decay,
    check_members,
    checked_rows,
    stacked,
)
from minimand.training.program import (
    RUNNING,
    Member,
    State,
    advance,
    begin,
    close,
    steps_in_epoch,
)
from minimand.training.recipe import Recipe
from minimand.training.result import Trained
from minimand.training.sharding import everywhere
from minimand.training.spread import Spread

CHUNK_SECONDS = 0.5
ROW_SECONDS = 3e-7
"""The same for each row of many: ten times what it takes to draw the order of an epoch anew."""

GROWTH = 32
COMPILING = 5.0
"""Seconds of places at which nobody runs that are worth compiling for fewer places."""
FEW = 16
"""Groups of so many stay as large as they are: what is compiled for another size rounds anew."""


class InMemory:
    """Members and the rows that they share, in `jobs` hands on a CPU, `width` of a hand at a time.

    By default a width of 1 on a CPU and as many as an accelerator's memory holds.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        X: Array,
        y: Array,
        folds: Sequence[Fold],
        seeds: Sequence[int],
        weight: Array | None = None,
        jobs: int | None = None,
        width: int | None = None,
    ):
        check_members(recipes, folds, seeds)
        X, y, weight = checked_rows(recipes[0], X, y, weight)
        self.members = stacked(recipes, folds, seeds, weight)
        self.data = (X, y, *self.members.train, *self.members.validation)
        self._constants = np.asarray(
            [best_constant(r, y, weight, f) for r, f in zip(recipes, folds, strict=True)],
            dtype=np.float32,
        )
        self.steps = steps_in_epoch(self.members)
        self.rows = int(self.members.train.index.size)
        self._places = _places(len(recipes), jobs)
        self.width = width or (1 if jax.default_backend() == "cpu" else len(recipes))
        self._idle = 0.0
        self._rows = [[jax.device_put(values, to) for values in (X, y)] for to in self._places]

    def begin(self) -> State:
        """The state of every member before its first step; the steps are compiled meanwhile."""
        everyone = np.arange(len(self._constants))
        groups = [everyone] if self._together else _groups(everyone, self._size(len(everyone)))
        X, y = self._rows[0]
        with single_precision(), ThreadPoolExecutor(1) as other:
            if not everywhere() and _is_new((self._of(groups[0]), X, y)):
                other.submit(self._compile, groups[0])
            begun = [begin(members, X, constants) for members, constants in map(self._of, groups)]
        state: State = begun[0] if self._together else Spread(groups, begun).whole()
        check_decay(self.members.recipe, state.params)
        return state

    def reach(self, first: int, wanted: int) -> int:
        """Any step."""
        return wanted

    def advance(self, state: Any, first: int, until: int, careful: bool = False) -> Any:
        """The state before step `until`, from the one before step `first`."""
        if self._together:
            with single_precision():
                return advance(self.members, *self._rows[0], state, first, until, careful)
        while True:
            try:
                return self._through(self._spread(state), first, until)
            except jax.errors.JaxRuntimeError as error:
                short = "RESOURCE_EXHAUSTED" in str(error) and not isinstance(state, Spread)
                if self.width == 1 or not short:
                    raise
                self.width = self._size(len(self._constants)) // 2

    def finish(self, state: State) -> State:
        """The state as if the epoch ended here."""
        with single_precision():
            ended: State = close(self.members, *self._rows[0], state)
        return ended

    def select(self, index: np.ndarray) -> None:
        """Keep these members, in this order."""
        self.members, self._constants = self._of(index)

    def culprit(self, state: State) -> str:
        """The first tensor of the step after `state` that is not finite, in words."""
        epoch, number = divmod(int(state.step[0]), self.steps)
        X, y = self._rows[0]
        return culprit(self.members, X, y, state, epoch, number)

    @property
    def _together(self) -> bool:
        """Whether one call takes all members: there is but one, or devices share its batches."""
        return len(self._constants) == 1 or everywhere() is not None

    def _of(self, own: np.ndarray) -> tuple[Member, np.ndarray]:
        """Some of the members, and their constants."""
        return jax.tree.map(lambda leaf: leaf[own], self.members), self._constants[own]

    def _compile(self, own: np.ndarray) -> None:
        """Go no step, from a state of zeros."""
        members, constants = self._of(own)
        X, y = self._rows[0]
        with single_precision():
            shapes = jax.eval_shape(begin, members, X, constants)
            state = jax.tree.map(lambda of: np.zeros(of.shape, of.dtype), shapes)
            advance(members, X, y, state, 0, 0, False)

    def _work(self, first: int, until: int, worker: int, own: np.ndarray, state: State) -> State:
        """The members of one group, by one worker."""
        with jax.default_device(self._places[worker]), single_precision():
            members, (X, y) = self._of(own)[0], self._rows[worker]
            after: State = jax.block_until_ready(advance(members, X, y, state, first, until, False))
        return after

    def _through(self, spread: Spread, first: int, until: int) -> Spread:
        """The state before step `until`; the time at places where nobody runs is added up."""
        begun, workers, size = time.perf_counter(), len(self._places), len(spread.groups[0])
        places = max(-(-len(spread.busy) // workers), 1) * workers * size
        idle = 1 - np.sum(np.asarray(spread.status) == RUNNING) / places
        after = spread.through(partial(self._work, first, until), workers)
        self._idle += idle * (time.perf_counter() - begun)
        return after

    def _spread(self, state: Any) -> Spread:
        """A state in groups; anew if those who still run fit into fewer, or long into smaller."""
        running, size = np.asarray(state.status) == RUNNING, self._size(len(self._constants))
        if isinstance(state, Spread):
            fits, size = self._size(running.sum()), len(state.groups[0])
            if fits < size and size > FEW and self._idle > COMPILING:
                size, self._idle = fits, 0.0
            elif len(state.busy) <= -(-running.sum() // size):
                return state
            state = state.whole()
        return Spread.of(state, _groups(np.argsort(~running, kind="stable"), size))

    def _size(self, members: int) -> int:
        """How many of so many run side by side: a power of two, to compile few sizes."""
        most = min(self.width, -(-int(members) // len(self._places)))
        return 1 << (most - 1).bit_length()


def results(
    recipes: Sequence[Recipe], state: State, reason: str = "", finding: str = ""
) -> list[Trained]:
    """What came of every member."""
    host = jax.tree.map(np.asarray, state)
    return [
        Trained.of(recipe, jax.tree.map(lambda leaf, k=k: leaf[k], host), reason, finding)
        for k, recipe in enumerate(recipes)
    ]


def _groups(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Members in groups of a size, the last filled up with members that are there already."""
    return [np.resize(order[k : k + size], size) for k in range(0, len(order), size)]


def next_chunk(chunk: int, steps: int, rows: int, seconds: float) -> int:
    """About half a second of steps, in whole epochs of `rows` rows if it is more than one.

    It is longer for many rows, since the order of a whole epoch is drawn for each part of it.
    """
    enough = max(CHUNK_SECONDS, ROW_SECONDS * rows)
    wanted = max(1, min(GROWTH * chunk, round(chunk * enough / max(seconds, 1e-9))))
    return wanted if wanted < steps else wanted - wanted % steps


def cores() -> int:
    """How many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


_seen: set[Any] = set()
"""The structures and shapes that this process has compiled steps for."""


def _is_new(given: Any) -> bool:
    """Whether the steps for such members and rows are yet to be compiled; asked once for each."""
    leaves, structure = jax.tree.flatten(given)
    key = (structure, *((leaf.shape, leaf.dtype) for leaf in leaves))
    new = key not in _seen
    _seen.add(key)
    return new


def _places(members: int, jobs: int | None) -> list[Any]:
    """Where the data of every worker go; None: where JAX puts things by itself."""
    if place := everywhere():
        return [place]
    if jax.default_backend() == "cpu":
        return [None] * min(members, jobs or cores())
    return list(jax.local_devices()[:members])
