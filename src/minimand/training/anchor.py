"""A copy of a run's state to go back to: the steps after a state take over its memory."""

from __future__ import annotations

import time

import numpy as np

from minimand.training.program import RUNNING, State
from minimand.training.source import RowSource
from minimand.training.trees import copied

WORTH = 50
"""A copy is renewed after steps that took so many times as long as copying."""


class Anchor:
    """The state before some step, on the host."""

    def __init__(self, step: int, state: State):
        self._copy(step, state)

    def moved(self, step: int, state: State) -> None:
        """Hold a later state, if the steps up to it are worth a copy."""
        if time.perf_counter() - self._made >= WORTH * self._cost:
            del self._state  # so that memory holds one copy at a time
            self._copy(step, state)

    def replayed(self, rows: RowSource, done: int, until: int) -> State:
        """The state before the first step from `done` to `until` that makes what is not finite.

        Up to `done` the steps are taken as they were, to the same bits.
        """
        state, step = self._state, self._step
        while step < until and np.asarray(state.status)[0] == RUNNING:
            ahead = rows.reach(step, done if step < done else until)
            state = rows.advance(state, step, ahead, careful=step >= done)
            step = ahead
        return state

    def _copy(self, step: int, state: State) -> None:
        begun = time.perf_counter()
        self._state: State = copied(state)
        self._step = step
        self._made = time.perf_counter()
        self._cost = self._made - begun
