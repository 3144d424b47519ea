"""How long the work may go on: a time limit and Ctrl-C, which every loop asks about."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from minimand.errors import ArgumentError


class Budget:
    """A time limit in seconds, and for training one in steps (None: no limit); Ctrl-C ends it too.

    Inside `with Budget(...) as budget:` the first Ctrl-C only marks the budget as spent, so that
    the work in hand is finished and kept; a second one interrupts at once. Budgets inside of one
    another are all spent by it.

    >>> with Budget(60) as budget:
    ...     budget.spent()
    False
    """

    def __init__(self, seconds: float | None = None, *, steps: int | None = None) -> None:
        if seconds is not None and not seconds > 0:
            raise ArgumentError(f"budget is {seconds} seconds; it must be positive")
        if steps is not None and not steps > 0:
            raise ArgumentError(f"budget is {steps} steps; it must be positive")
        self.seconds, self.steps, self.taken = seconds, steps, 0
        self.interrupted = False
        self._start = time.monotonic()
        self._before: list[Any] = []

    def elapsed(self) -> float:
        """Seconds since the budget was made."""
        return time.monotonic() - self._start

    def spent(self) -> bool:
        """Whether to stop now."""
        late = self.seconds is not None and self.elapsed() >= self.seconds
        return self.interrupted or late or (self.steps is not None and self.taken >= self.steps)

    @property
    def reason(self) -> str:
        """Why the budget is spent, or nothing."""
        if self.interrupted:
            return "Ctrl-C"
        if self.steps is not None and self.taken >= self.steps:
            return f"budget of {self.steps} steps spent"
        return f"budget of {self.seconds:g} s spent" if self.spent() else ""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before.append(signal.signal(signal.SIGINT, self._interrupt))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before:
            signal.signal(signal.SIGINT, self._before.pop())

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        outer = getattr(self._before[0], "__self__", None)
        if isinstance(outer, Budget):
            outer._interrupt(number, frame)
