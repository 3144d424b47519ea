"""A budget ends the work by time or by Ctrl-C, and leaves the process as it found it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from minimand.budget import Budget
from minimand.errors import ArgumentError


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_limit_must_be_positive(seconds: float) -> None:
    with pytest.raises(ArgumentError, match="must be positive"):
        Budget(seconds)


def test_time_is_spent() -> None:
    budget = Budget(0.02)
    assert not budget.spent()
    assert budget.reason == ""
    time.sleep(0.03)
    assert budget.spent()
    assert budget.reason == "budget of 0.02 s spent"
    assert budget.elapsed() >= 0.03


def test_no_limit_is_never_spent() -> None:
    assert not Budget().spent()


def test_the_first_interrupt_marks_and_the_second_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Budget() as budget:
        os.kill(os.getpid(), signal.SIGINT)
        assert budget.spent()
        assert budget.reason == "Ctrl-C"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_is_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), Budget():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_it_works_in_a_thread_where_signals_cannot_be_set() -> None:
    seen: list[bool] = []

    def work() -> None:
        with Budget(60) as budget:
            seen.append(budget.spent())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_ctrl_c_reaches_the_budgets_around() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Budget() as outer:
        with outer, Budget() as inner:
            os.kill(os.getpid(), signal.SIGINT)
        assert inner.spent() and outer.spent()
        with pytest.raises(KeyboardInterrupt), Budget():
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
