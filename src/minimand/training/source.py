"""Where the rows of a run are, as far as the host loop needs to know."""

from __future__ import annotations

from typing import Protocol

from minimand.training.program import State


class RowSource(Protocol):
    """Steps on rows, wherever these are: what `run` drives. An epoch has `steps` on `rows` rows."""

    steps: int
    rows: int

    def begin(self) -> State:
        """The state of every member before its first step."""

    def reach(self, first: int, wanted: int) -> int:
        """How far one call of `advance` can go from step `first`, at most to `wanted`."""

    def advance(self, state: State, first: int, until: int, careful: bool = False) -> State:
        """The state before step `until`, from the one before step `first`, which is used up.

        A careful run ends before the first gradient or parameter that is not finite.
        """

    def finish(self, state: State) -> State:
        """The state as if the epoch ended here."""

    def culprit(self, state: State) -> str:
        """The first tensor of the step after `state` that is not finite, in words."""
