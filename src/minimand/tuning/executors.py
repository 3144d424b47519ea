"""Where the settings of a study are evaluated: in this process, in others, or on Ray.

Every worker does the same: it asks the study for settings, evaluates them and tells the scores,
until the study has as many trials as are wanted. So the workers need to know nothing of each other,
and one that dies is replaced by another.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import IO, Any, Protocol, Self

from minimand.budget import Budget
from minimand.errors import ArgumentError, SolverError, unknown
from minimand.tuning.space import Setting
from minimand.tuning.trial import Asked, Outcome, State, Trial

POLL = 0.1
"""Seconds between two looks at what others do."""
DEATHS = 8
"""How many workers in a row may die before one trial is done."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SHIFT = 5.0
"""Seconds that a task on Ray works before it is asked again whether to go on."""


Evaluate = Callable[[Sequence[Setting]], Sequence[Any]]
"""A batch of settings in, the scores of each out."""
Listener = Callable[[Any, Trial], None]
"""Hears the study and a trial that has finished."""


class Trials(Protocol):
    """What a worker must know of a `minimand.tuning.study.Study`."""

    @property
    def trials(self) -> list[Trial]:
        """The finished trials."""

    @property
    def elsewhere(self) -> bool:
        """Whether other workers have trials in hand."""

    def ask(self, n: int = 1, *, limit: float = ...) -> list[Asked]:
        """Settings to evaluate."""

    def tell(
        self,
        asked: Asked,
        scores: Any = (),
        curve: Iterable[tuple[float, float]] = (),
        state: State = "done",
        reason: str = "",
    ) -> None:
        """Store scores."""

    def twin(self, asked: Asked) -> Trial | None:
        """The finished trial with the same setting."""

    def release(self, asked: Asked) -> None:
        """Hand a setting back."""

    def shared(self) -> AbstractContextManager[Self]:
        """The study where other processes find it."""


def execute(
    study: Trials,
    evaluate: Evaluate,
    trials: int,
    batch: int,
    budget: Budget | None,
    executor: str,
    jobs: int,
    listeners: Sequence[Listener],
) -> None:
    """Do what `Study.run` says."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    for name, number in (("trials", trials), ("batch", batch), ("jobs", jobs)):
        if number < 1:
            raise ArgumentError(f"{name} is {number}; it must be at least 1")
    if executor == "here" and jobs > 1:
        raise ArgumentError(f"executor 'here' is one process; for jobs={jobs} take 'processes'")
    with Budget() if budget is None else nullcontext(budget) as budget:
        EXECUTORS[executor](Work(study, evaluate, trials, batch), jobs, budget, listeners)


class Work:
    """What a worker has to do."""

    def __init__(self, study: Trials, evaluate: Evaluate, trials: int, batch: int) -> None:
        self.study, self.evaluate, self.trials, self.batch = study, evaluate, trials, batch

    def until(self, spent: Callable[[], bool], told: Callable[[], None] = lambda: None) -> bool:
        """Work until `spent`, if there is any trial by then; whether there is more to do.

        `told` is called between batches.
        """
        while not (spent() and self.study.trials):
            asked = self.study.ask(self.batch, limit=self.trials)
            try:
                self._evaluate(asked)
            except BaseException:
                for one in asked:
                    self.study.release(one)
                raise
            told()
            if not asked:
                if not self.study.elsewhere:
                    return False
                time.sleep(POLL)
        return True

    def _evaluate(self, asked: Sequence[Asked]) -> None:
        """Tell the scores of all that are asked for, each setting evaluated once."""
        study, fresh, again = self.study, list[Asked](), list[Asked]()
        for one in asked:
            seen = study.twin(one) or any(one.setting == other.setting for other in fresh)
            (again if seen else fresh).append(one)
        for one, outcome in self._scored(fresh):
            study.tell(one, *outcome)
        for one in again:
            if twin := study.twin(one):
                same = f"the same setting as trial {twin.number}"
                study.tell(one, twin.scores, twin.curve, twin.state, same)

    def _scored(self, asked: list[Asked]) -> Iterator[tuple[Asked, Outcome]]:
        """What came of each; a batch that raises is tried one by one."""
        if not asked:
            return
        try:
            found = self.evaluate([one.setting for one in asked])
            if len(found) != len(asked):
                raise ArgumentError(
                    f"evaluate gave scores of {len(found)} settings for {len(asked)}"
                )
        except Exception as error:
            if len(asked) == 1:
                reason = f"{type(error).__name__}: {error}"
                yield asked[0], Outcome(state="failed", reason=reason)
            else:
                for one in asked:
                    yield from self._scored([one])
        else:
            for one, scores in zip(asked, found, strict=True):
                yield one, scores if isinstance(scores, Outcome) else Outcome(scores)


class News:
    """Tells the listeners of every trial that has finished since it was made."""

    def __init__(self, study: Trials, listeners: Sequence[Listener]) -> None:
        self._study, self._listeners = study, listeners
        self._known = {trial.number for trial in study.trials} if listeners else set()

    def __call__(self) -> None:
        """Tell what is new."""
        if not self._listeners:
            return
        for trial in self._study.trials:
            if trial.number not in self._known:
                self._known.add(trial.number)
                for listener in self._listeners:
                    listener(self._study, trial)


class Deaths:
    """Counts the workers that die in a row, until some trial is done.

    Raises:
        SolverError: there are too many.
    """

    def __init__(self, study: Trials) -> None:
        self._study, self._done, self._row = study, 0, 0

    def another(self, last_words: str) -> None:
        """One more has died."""
        done = sum(trial.state != "failed" for trial in self._study.trials)
        self._row = self._row + 1 if done == self._done else 1
        self._done = done
        if self._row >= DEATHS:
            raise SolverError(f"the worker processes die: {last_words}")


def _here(work: Work, jobs: int, budget: Budget, listeners: Sequence[Listener]) -> None:
    work.until(budget.spent, News(work.study, listeners))


def _processes(work: Work, jobs: int, budget: Budget, listeners: Sequence[Listener]) -> None:
    """Fresh Python processes, so that JAX is never forked; none needs the main module."""
    with work.study.shared() as study:
        message = _message(work, study)
        news = News(study, listeners)
        deaths = Deaths(study)
        workers = [_Worker(message, jobs) for _ in range(jobs)]
        try:
            while any(worker.ended is None for worker in workers) and not budget.spent():
                time.sleep(POLL)
                news()
                for place, worker in enumerate(workers):
                    if worker.ended:
                        deaths.another(worker.last_words)
                        worker.close()
                        workers[place] = _Worker(message, jobs)
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.wait()
        finally:
            for worker in workers:
                worker.close()
        news()


def _ray(work: Work, jobs: int, budget: Budget, listeners: Sequence[Listener]) -> None:
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ArgumentError(
            "executor 'ray' needs the package ray: pip install 'minimand[ray]'"
        ) from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    with work.study.shared() as study:
        message = ray.put(_message(work, study))
        task = ray.remote(max_retries=0)(_shift)
        news = News(study, listeners)
        running = [task.remote(message) for _ in range(jobs)]
        deaths = Deaths(study)
        while running:
            ready, running = ray.wait(running, timeout=POLL)
            news()
            for one in ready:
                try:
                    more = ray.get(one)
                except ray.exceptions.RayError as error:
                    deaths.another(str(error).strip().splitlines()[-1])
                    more = True
                if more and not budget.spent():
                    running.append(task.remote(message))
        news()


class _Worker:
    """A Python process that works until it is done, or its standard input is closed.

    That end is closed too if this process dies, so no worker is left behind for long.
    """

    def __init__(self, message: bytes, jobs: int) -> None:
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment = {name: threads for name in THREADS} | os.environ | {"PYTHONPATH": paths}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        self._sender = threading.Thread(target=self._send, args=(message,), daemon=True)
        self._sender.start()

    @property
    def ended(self) -> int | None:
        """The exit status; None while the process runs."""
        return self._process.poll()

    @property
    def last_words(self) -> str:
        """The last line of its standard error, or how it ended."""
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self.ended}"

    def stop(self) -> None:
        """Let it finish what it has in hand."""
        self._sender.join()
        with suppress(BrokenPipeError):
            self._input.close()

    def wait(self) -> None:
        """Wait for its end."""
        self._process.wait()

    def close(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()
        self.stop()
        self._errors.close()

    def _send(self, message: bytes) -> None:
        with suppress(BrokenPipeError):
            self._input.write(len(message).to_bytes(8, "big") + message)
            self._input.flush()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


def serve() -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's to obey
    with open(0, "rb", closefd=False) as source:
        work = pickle.loads(source.read(int.from_bytes(source.read(8), "big")))
    stopped = threading.Event()

    def listen() -> None:
        os.read(0, 1)
        stopped.set()

    threading.Thread(target=listen, daemon=True).start()
    work.until(stopped.is_set)


def _shift(message: bytes) -> bool:
    """Work for a while in a task of Ray; whether there is more to do."""
    work: Work = pickle.loads(message)
    return work.until(Budget(SHIFT).spent)


def _message(work: Work, study: Trials) -> bytes:
    """The work for another process; functions defined in a notebook or a script can go, too."""
    import cloudpickle

    try:
        made: bytes = cloudpickle.dumps(Work(study, work.evaluate, work.trials, work.batch))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ArgumentError(f"the function cannot be sent to another process: {error}") from None
    return made


EXECUTORS: dict[str, Callable[[Work, int, Budget, Sequence[Listener]], None]] = {
    "here": _here,
    "processes": _processes,
    "ray": _ray,
}
