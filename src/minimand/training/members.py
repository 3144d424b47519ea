"""K members on rows that are all at hand, dealt out to the cores or to the accelerators.

A core runs its members one after another, by the program that runs one alone: to the same bits, and
one that has ended costs nothing. An accelerator runs all of its members side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
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

CHUNK_SECONDS = 0.5
ROW_SECONDS = 3e-7
"""The same for each row of many: ten times what it takes to draw the order of an epoch anew."""

GROWTH = 32


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
        self._rows = [[jax.device_put(values, to) for values in (X, y)] for to in self._places]

    def begin(self) -> State:
        """The state of every member before its first step; the steps are compiled meanwhile."""
        everyone = np.arange(len(self._constants))
        X, y = self._rows[0]

        def begun(own: np.ndarray) -> State:
            members, constants = self._of(own)
            state: State = begin(members, X, constants)
            return state

        with single_precision(), ThreadPoolExecutor(1) as other:
            first = everyone if self._together else next(_groups(everyone, self.width))
            if not everywhere() and _is_new((self._of(first), X, y)):
                other.submit(self._compile, first)
            state = begun(everyone) if self._together else _in_turn(everyone, self.width, begun)
        check_decay(self.members.recipe, state.params)
        return state

    def reach(self, first: int, wanted: int) -> int:
        """Any step."""
        return wanted

    def advance(self, state: State, first: int, until: int, careful: bool = False) -> State:
        """The state before step `until`, from the one before step `first`."""
        after: State
        if self._together:
            with single_precision():
                after = advance(self.members, *self._rows[0], state, first, until, careful)
            return after
        hands = _dealt(np.asarray(state.status) == RUNNING, len(self._places))
        work = partial(self._work, jax.device_get(state), first, until)
        with ThreadPoolExecutor(len(hands)) as pool:
            done = list(pool.map(work, hands, range(len(hands))))
        back = np.argsort(np.concatenate(hands))
        after = jax.tree.map(lambda *leaves: np.concatenate(leaves)[back], *done)
        return after

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

    def _work(self, state: State, first: int, until: int, hand: np.ndarray, worker: int) -> State:
        """The members of one worker."""

        def went(own: np.ndarray) -> State:
            before = jax.tree.map(lambda leaf: leaf[own], state)
            after: State = advance(
                self._of(own)[0], *self._rows[worker], before, first, until, False
            )
            return after

        with jax.default_device(self._places[worker]), single_precision():
            while True:
                try:
                    return _in_turn(hand, self.width, went)
                except jax.errors.JaxRuntimeError as error:
                    if self.width == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                        raise
                    self.width = max(1, min(self.width, len(hand)) // 2)


def results(
    recipes: Sequence[Recipe], state: State, reason: str = "", finding: str = ""
) -> list[Trained]:
    """What came of every member."""
    host = jax.device_get(state)
    return [
        Trained.of(recipe, jax.tree.map(lambda leaf, k=k: leaf[k], host), reason, finding)
        for k, recipe in enumerate(recipes)
    ]


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


def _dealt(running: np.ndarray, workers: int) -> list[np.ndarray]:
    """The members in at most as many hands, such that all have about the same to do."""
    order = np.argsort(~running, kind="stable")
    return [order[worker::workers] for worker in range(min(workers, len(order)))]


def _groups(hand: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """A hand in groups that run side by side.

    To compile few sizes, those are filled up to a power of two with members that are there already.
    """
    size = 1 << (min(width, len(hand)) - 1).bit_length()
    for first in range(0, len(hand), size):
        yield np.resize(hand[first : first + size], size)


def _in_turn(hand: np.ndarray, width: int, work: Callable[[np.ndarray], State]) -> State:
    """What becomes of the members of a hand, one group after the other."""
    done, left = [], len(hand)
    for group in _groups(hand, width):
        done.append(jax.tree.map(lambda leaf, n=left: np.asarray(leaf)[:n], work(group)))
        left -= len(group)
    together: State = jax.tree.map(lambda *leaves: np.concatenate(leaves), *done)
    return together
