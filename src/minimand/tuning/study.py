"""A study: every setting that was tried for one question, kept where nothing is lost.

Optuna proposes and stores. Added here: trials whose worker died run again under the same number,
nothing is evaluated twice, and the space of a study can change while it lives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from minimand.budget import Budget
from minimand.errors import ArgumentError, SolverError, unknown
from minimand.tuning.executors import Evaluate, Listener, execute
from minimand.tuning.ledger import Direction, Ledger, counts
from minimand.tuning.samplers import Proposer, Stored, setting_of
from minimand.tuning.space import Setting, Space, ordered
from minimand.tuning.storage import Place, absolute, me, opened
from minimand.tuning.trial import STATES, Asked, State, Trial, identity, read, stored, template

TRIES = 6
"""How many workers may die at a setting before it counts as failed."""


class Study:
    """All trials of one question, in memory or in a storage that many processes share.

    `storage` is None (memory), the path of an SQLite file, that of a journal file (its name ends
    in .log or .journal), or the URL of a PostgreSQL or MySQL server. A study that is there
    already goes on. If its space has changed since, its trials are copied into a successor, which
    the name means from then on; trials outside the new space stay behind in the old one.

    `sampler` is "grid", "random", "sobol", "tpe", "gp", "cma-es", a sampler of Optuna, or a plan of
    your own (see `minimand.tuning.samplers.Plan`).

    >>> from minimand.tuning.space import Float
    >>> study = Study({"x": Float(-1.0, 1.0)}, sampler="grid")
    >>> study.run(lambda settings: [s["x"] ** 2 for s in settings], trials=100)
    >>> len(study.trials), study.best.setting
    (3, {'x': 0.0})

    Raises:
        FileError: the storage cannot be opened.
        ArgumentError: an impossible space, a sampler whose package is missing, or a stored study
            with the other direction.
    """

    def __init__(
        self,
        space: Space,
        *,
        storage: Place = None,
        name: str = "study",
        sampler: Any = "tpe",
        direction: Direction = "minimize",
        seed: int = 0,
    ) -> None:
        if direction not in ("minimize", "maximize"):
            raise unknown("direction", direction, ("minimize", "maximize"))
        self.space = ordered(space)
        self.storage, self.name, self.sampler = absolute(storage), name, sampler
        self.direction: Direction = direction
        self.seed = seed
        self._proposer = Proposer(sampler, self.space, seed)
        self._seen: dict[tuple[int, int], Trial] = {}
        self._ledger = Ledger(storage, name, direction, self.space)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.storage is None:
            raise ArgumentError(
                "a study in memory cannot go to another process; give it a storage='study.db'"
            )
        options = {n: getattr(self, n) for n in ("storage", "sampler", "direction", "seed")}
        return _reopened, (self.space, self.name, options)

    def ask(self, n: int = 1, *, limit: float = math.inf) -> list[Asked]:
        """Up to `n` settings to evaluate: those whose worker died first, then new ones.

        Fewer come back when a grid is through, or the study has `limit` trials, imports aside.

        Raises:
            ArgumentError: another process has given the study another space.
        """
        self._ledger.follow()
        if self._ledger.outdated:
            raise ArgumentError(
                f"study '{self.name}' has been given another space; open it anew with that space"
            )
        self._ledger.reclaim()
        asked: list[Asked] = []
        while len(asked) < n and (one := self._start(limit)) is not None:
            asked.append(one)
        return asked

    def tell(
        self,
        asked: Asked | int,
        scores: Any = (),
        curve: Iterable[tuple[float, float]] = (),
        state: State = "done",
        reason: str = "",
    ) -> None:
        """Store the scores of a setting; what another worker has told already stays.

        A trial is failed if the mean of its scores is NaN. Optuna is told that it was pruned
        without a value, since its samplers pass over failures and would propose the like again.
        """
        if state not in STATES:
            raise unknown("state", state, STATES)
        number = asked.number if isinstance(asked, Asked) else asked
        values = np.atleast_1d(np.asarray(scores, dtype=float))
        self._ledger.follow()
        before = read(self._ledger.trial(number), self.space)
        points = tuple((float(at), float(value)) for at, value in curve)
        told = replace(
            before,
            scores=values,
            state=state,
            curve=points,
            seconds=time.time() - before.started,
            reason=reason,
        )
        if state == "done" and math.isnan(told.value):
            bad = f"{np.isnan(values).sum()} of {values.size} scores are NaN"
            told = replace(told, state="failed", reason=reason or bad)
        self._ledger.drop(number)
        self._ledger.finish(told, self._proposer.sampler(number))

    def twin(self, asked: Asked) -> Trial | None:
        """The finished trial that had the same setting, if there is one."""
        twin = self._ledger.twin(asked.number)
        return None if twin is None else self._read(twin)

    def add(self, trials: Iterable[Trial]) -> None:
        """Import past trials; one that is there already, scores and all, is passed over.

        Raises:
            ArgumentError: a setting outside the space.
        """
        known = {identity(trial) for trial in self._ledger.trials()}
        for trial in trials:
            done = trial.state == "done"
            made = template(
                self.space,
                stored(self.space, trial.setting),
                TrialState.COMPLETE if done else TrialState.PRUNED,
                trial.attributes() | {"imported": True},
                trial.value if done else None,
            )
            if identity(made) not in known:
                self._ledger.create(made)

    def queue(self, settings: Iterable[Setting]) -> None:
        """Settings to try next, before the sampler is asked.

        Raises:
            ArgumentError: a setting outside the space.
        """
        for setting in settings:
            found = stored(self.space, setting)
            self._ledger.create(template(self.space, found, TrialState.WAITING, {}))

    def release(self, asked: Asked) -> None:
        """Hand a setting back, to be asked for again."""
        self._ledger.drop(asked.number)
        self._ledger.put_back(self._ledger.trial(asked.number))

    def run(
        self,
        evaluate: Evaluate,
        trials: int,
        *,
        batch: int = 1,
        budget: Budget | None = None,
        executor: str = "here",
        jobs: int = 1,
        listeners: Sequence[Listener] = (),
    ) -> None:
        """Evaluate until the study has this many finished trials in all, imports aside.

        `evaluate` takes up to `batch` settings and gives the scores of each. An exception makes a
        failed trial of the setting that caused it, and a setting that was tried before gets the
        scores of then. `executor` is "here", "processes" (`jobs` of them) or "ray". Listeners are
        called in this process with the study and each trial that has finished. Ctrl-C ends the
        run when the settings in hand are finished.

        Raises:
            SolverError: worker processes die before they can evaluate anything.
        """
        execute(self, evaluate, trials, batch, budget, executor, jobs, listeners)

    @property
    def trials(self) -> list[Trial]:
        """The finished trials, by number; imports are among them."""
        finished = (TrialState.COMPLETE, TrialState.PRUNED)
        return [self._read(t) for t in self._ledger.trials() if t.state in finished]

    @property
    def best(self) -> Trial:
        """The trial with the best mean score; the earliest of those that tie.

        Raises:
            SolverError: no trial is done.
        """
        trials = self.trials
        done = [trial for trial in trials if trial.state == "done"]
        if not done:
            why = "".join(f"; trial {t.number} {t.state}: {t.reason}" for t in trials[:1])
            raise SolverError(f"no trial of study '{self.name}' is done{why}")
        sign = 1 if self.direction == "minimize" else -1
        return min(done, key=lambda trial: sign * trial.value)

    @property
    def running(self) -> int:
        """How many trials are in the hands of workers."""
        return sum(t.state == TrialState.RUNNING for t in self._ledger.trials())

    @property
    def elsewhere(self) -> bool:
        """Whether trials are in the hands of other workers, or were when these died."""
        open_ = (TrialState.RUNNING, TrialState.WAITING)
        return any(
            t.state in open_ and counts(t) and t.user_attrs.get("worker") != me()
            for t in self._ledger.trials()
        )

    @property
    def optuna(self) -> optuna.Study:
        """The study as Optuna knows it: for its plots, its importances and its dashboard."""
        return self._ledger.study(self._proposer.sampler(0))

    @contextmanager
    def shared(self) -> Iterator[Study]:
        """The study where other processes find it: one in memory moves to a file and back."""
        if self.storage is not None:
            yield self
            return
        with TemporaryDirectory() as folder:
            place = Path(folder) / "study.db"
            self._ledger.copy_to(opened(place))
            options = {n: getattr(self, n) for n in ("name", "sampler", "direction", "seed")}
            study = Study(self.space, storage=place, **options)
            try:
                yield study
            finally:
                self._ledger.take_over(study._ledger)

    def _read(self, finished: FrozenTrial) -> Trial:
        """A finished trial, which never changes."""
        key = (self._ledger.id, finished.number)
        if key not in self._seen:
            self._seen[key] = read(finished, self.space)
        return self._seen[key]

    def _start(self, limit: float) -> Asked | None:
        """A trial of our own that has its setting; None if no more are wanted."""
        while (trial := self._ledger.claim(limit)) is not None:
            if trial.user_attrs.get("tries", 0) >= TRIES:
                self.tell(trial.number, (), (), "failed", f"{TRIES} workers died at it")
                continue
            found = setting_of(trial)
            if found is None:
                found = self._propose(trial)
            if found is None:
                self._ledger.put_back(trial)
                return None
            self._ledger.write(trial, found)
            self._ledger.hold(trial.number)
            setting = {name: self.space[name].read(value) for name, value in found.items()}
            return Asked(trial.number, setting)
        return None

    def _propose(self, trial: FrozenTrial) -> Stored | None:
        """A setting for a trial, as its number and the other trials make it."""
        others = [t for t in self._ledger.trials() if t.number != trial.number]
        texts = {other.number: self._ledger.text(other) for other in others}
        tried = {text for text in texts.values() if text is not None}
        ahead = sum(
            counts(t) and texts[t.number] is None for t in others if t.number < trial.number
        )
        study = self._ledger.study(self._proposer.sampler(trial.number))
        return self._proposer.propose(study, trial, tried, ahead)


def _reopened(space: Space, name: str, options: dict[str, Any]) -> Study:
    if isinstance(options["sampler"], BaseSampler):
        options["sampler"].reseed_rng()  # or all workers would draw the same
    return Study(space, name=name, **options)
