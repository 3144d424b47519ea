"""The state of many members in groups, each where it was computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from minimand.training.program import RUNNING, State

Work = Callable[[int, np.ndarray, State], State]
"""From a worker's number, the members of a group and their state to the state after."""


class Spread:
    """What JAX and the host loop take for the `State` of all members, in their order.

    A group may be filled up with members that another has already, or that are in it twice. What is
    asked for is put together at that moment: all of it would be copied at every chunk.
    """

    def __init__(self, groups: Sequence[np.ndarray], states: Sequence[State]):
        self.groups, self.states = groups, states
        _, self._first = np.unique(np.concatenate(groups), return_index=True)

    @classmethod
    def of(cls, state: State, groups: Sequence[np.ndarray]) -> Spread:
        """The state of all, in these groups."""
        host = jax.tree.map(np.asarray, state)
        return cls(groups, [jax.tree.map(lambda leaf, own=own: leaf[own], host) for own in groups])

    def __getattr__(self, name: str) -> Any:
        """A field of the state of all."""
        if name not in State._fields:
            raise AttributeError(name)
        parts = [getattr(state, name) for state in self.states]
        return jax.tree.map(
            lambda *leaves: np.concatenate([*map(np.asarray, leaves)])[self._first], *parts
        )

    @property
    def busy(self) -> list[int]:
        """The groups in which somebody still runs."""
        states = enumerate(self.states)
        return [k for k, state in states if np.any(np.asarray(state.status) == RUNNING)]

    def whole(self) -> State:
        """The state of all."""
        return State(*(getattr(self, name) for name in State._fields))

    def through(self, work: Work, workers: int) -> Spread:
        """The state after `work`, done for the groups in which somebody still runs."""
        after, busy = list(self.states), self.busy

        def hand(worker: int) -> None:
            for k in busy[worker::workers]:
                after[k] = work(worker, self.groups[k], self.states[k])

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(hand, range(workers)))
        return Spread(self.groups, after)


def _as_state(_: None, fields: Any) -> Any:
    return State(*fields)


jax.tree_util.register_pytree_node(Spread, lambda one: (tuple(one.whole()), None), _as_state)
