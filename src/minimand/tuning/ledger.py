"""The book of a study in Optuna's storage: who works on which trial, and in which study.

A trial is created once and keeps its number for good. The death of its worker makes it wait again,
with the setting that it has. Only the storage's own step from waiting to running gives a trial to a
worker, and a trial is finished once, so none is lost and none counts twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from datetime import datetime
from typing import Any, Literal
from weakref import ReferenceType, ref

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from minimand.errors import ArgumentError
from minimand.tuning.samplers import Stored, setting_of, text_of
from minimand.tuning.space import Dimension
from minimand.tuning.storage import Place, alive, me, opened
from minimand.tuning.trial import Trial, fits, template

BEAT = 10.0
"""Seconds between two signs of life, and for a worker to put its name on a trial."""
Direction = Literal["minimize", "maximize"]


class Ledger:
    """The trials of the newest study of a name; the study is made if there is none.

    Raises:
        FileError: the storage cannot be opened.
        ArgumentError: the stored study has the other direction.
    """

    id: int
    _texts: dict[int, str]
    _study: optuna.Study | None

    def __init__(self, place: Place, name: str, direction: Direction, space: dict[str, Dimension]):
        self.shared = place is not None
        self.storage = opened(place)
        self.name, self._space = name, space
        self._shape = {n: distribution_to_json(d.distribution) for n, d in space.items()}
        self._held: set[int] = set()
        self._lock, self._signing, self._said = threading.Lock(), False, 0.0
        study = optuna.create_study(
            storage=self.storage, study_name=name, direction=direction, load_if_exists=True
        )
        if study.direction.name.casefold() != direction:
            raise ArgumentError(
                f"study '{name}' is there already, to {study.direction.name.casefold()}; "
                "give that direction or another name"
            )
        self._go(self.storage.get_study_id_from_name(name))
        self.follow()
        if "space" not in self.attributes() and not self.trials():
            self.storage.set_study_user_attr(self.id, "space", self._shape)
        while self.outdated:
            self._succeed()

    @property
    def outdated(self) -> bool:
        """Whether the stored study has another space."""
        return bool(self.attributes().get("space") != self._shape)

    def attributes(self) -> Mapping[str, Any]:
        """What is written on the study itself."""
        return self.storage.get_study_user_attrs(self.id)

    def follow(self) -> bool:
        """Go to the newest study of the name; whether that is another one."""
        before = self.id
        while successor := self.attributes().get("successor"):
            self._go(self.storage.get_study_id_from_name(successor))
        return self.id != before

    def study(self, sampler: BaseSampler) -> optuna.Study:
        """The study as Optuna knows it, with nothing remembered from before."""
        if self._study is None:
            name = self.storage.get_study_name_from_id(self.id)
            self._study = optuna.Study(study_name=name, storage=self.storage, sampler=sampler)
        fresh = copy(self._study)
        fresh.sampler = sampler
        return fresh

    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self.storage.get_all_trials(self.id, deepcopy=False)

    def trial(self, number: int) -> FrozenTrial:
        """The trial of this number."""
        try:
            where = self.storage.get_trial_id_from_study_id_trial_number(self.id, number)
        except KeyError:
            raise ArgumentError(f"study '{self.name}' has no trial {number}") from None
        return self.storage.get_trial(where)

    def text(self, trial: FrozenTrial) -> str | None:
        """The setting of a trial as a text, kept since it never changes."""
        if trial.number not in self._texts and (found := setting_of(trial)) is not None:
            self._texts[trial.number] = text_of(found)
        return self._texts.get(trial.number)

    def twin(self, number: int) -> FrozenTrial | None:
        """The first finished trial with the same setting as this one, of those seen so far."""
        own = self._texts.get(number)
        same = sorted(n for n, text in self._texts.items() if text == own)
        twins = (self.trial(n) for n in same if n != number)
        return next((twin for twin in twins if twin.state.is_finished()), None)

    def claim(self, limit: float) -> FrozenTrial | None:
        """A trial that waits, or else a new one, unless there are `limit` with those before it."""
        trials = self.trials()
        for trial in trials:
            waits = trial.state == TrialState.WAITING and ahead(trial, trials) < limit
            if waits and self._move(trial, TrialState.RUNNING):
                self._mark(trial, worker=me(), started=time.time())
                return self.storage.get_trial(trial._trial_id)
        if sum(map(counts, trials)) >= limit:
            return None
        new = template({}, {}, TrialState.RUNNING, {"worker": me(), "started": time.time()})
        where = self.create(new)
        trials = self.trials()
        trial = next(t for t in reversed(trials) if t._trial_id == where)
        if ahead(trial, trials) >= limit:
            self.put_back(trial)
            return None
        return trial

    def create(self, made: FrozenTrial) -> int:
        """A new trial as it is given; Optuna's own number for it comes back."""
        return self.storage.create_new_trial(self.id, made)

    def write(self, trial: FrozenTrial, found: Stored) -> None:
        """Give a trial its setting, also where Optuna looks for it."""
        if setting_of(trial) is None:
            self._mark(trial, setting=found)
        self._texts[trial.number] = text_of(found)
        for name, value in found.items():
            if name not in trial.params:
                distribution = self._space[name].distribution
                internal = distribution.to_internal_repr(value)
                self.storage.set_trial_param(trial._trial_id, name, internal, distribution)

    def finish(self, told: Trial, sampler: BaseSampler) -> None:
        """Store a finished trial, unless it is finished; carry it along to a successor."""
        trial = self.trial(told.number)
        done = told.state == "done"
        state = TrialState.COMPLETE if done else TrialState.PRUNED
        values = [told.value] if done else None
        with suppress(UpdateFinishedTrialError):
            self._mark(trial, result=told.attributes()["result"])
            if told.state == "pruned" and told.curve:
                resource, last = told.curve[-1]
                last = told.value if math.isfinite(told.value) else last
                self.storage.set_trial_intermediate_value(trial._trial_id, int(resource), last)
                values = None if math.isnan(last) else [last]
            sampler.after_trial(self.study(sampler), trial, state, values)
            self.storage.set_trial_state_values(trial._trial_id, state, values)
        if self.follow() and any(t.number == told.number for t in self.trials()):
            self.finish(told, sampler)

    def copy_to(self, storage: BaseStorage) -> None:
        """Copy the study into another storage, where it is the first of its name."""
        name = self.storage.get_study_name_from_id(self.id)
        optuna.copy_study(
            from_study_name=name,
            from_storage=self.storage,
            to_storage=storage,
            to_study_name=self.name,
        )

    def take_over(self, other: Ledger) -> None:
        """Become the copy of another ledger, in memory."""
        storage = opened(None)
        other.follow()
        other.copy_to(storage)
        self.storage = storage
        self._go(storage.get_study_id_from_name(self.name))

    def put_back(self, trial: FrozenTrial, tries: int = 0) -> None:
        """Let a trial wait until it is wanted; as if it had not begun, if nobody died at it."""
        with suppress(UpdateFinishedTrialError):
            self._mark(trial, tries=tries, worker="")
            self._move(trial, TrialState.WAITING)

    def reclaim(self) -> None:
        """Let the trials wait whose worker is dead, or has never put its name on them."""
        if self.shared and time.time() - self._said > BEAT:
            self.give_sign()
        signs = self.attributes()
        for seen in self.trials():
            if _orphaned(seen, signs):
                trial = self.storage.get_trial(seen._trial_id)  # others may have been faster
                if _orphaned(trial, signs):
                    self.put_back(trial, trial.user_attrs.get("tries", 0) + 1)

    def hold(self, number: int) -> None:
        """Give signs of life as long as trials are in hand."""
        with self._lock:
            self._held.add(number)
            if self.shared and not self._signing:
                self._signing = True
                threading.Thread(target=_give_signs, args=(ref(self),), daemon=True).start()

    def give_sign(self) -> bool:
        """Say that this process lives; whether it has a trial in hand and will say so again."""
        with suppress(Exception):  # the storage is away: the next sign may find it again
            self.storage.set_study_user_attr(self.id, f"alive {me()}", time.time())
            self._said = time.time()
        with self._lock:
            self._signing = bool(self._signing and self._held)
            return self._signing

    def drop(self, number: int) -> None:
        """The trial is no longer in hand."""
        self._held.discard(number)

    def _go(self, study: int) -> None:
        self.id = study
        self._texts = {}
        self._study = None

    def _mark(self, trial: FrozenTrial, **attributes: Any) -> None:
        for name, value in attributes.items():
            self.storage.set_trial_user_attr(trial._trial_id, name, value)

    def _move(self, trial: FrozenTrial, state: TrialState) -> bool:
        try:
            return self.storage.set_trial_state_values(trial._trial_id, state)
        except UpdateFinishedTrialError:
            return False

    def _succeed(self) -> None:
        """Copy the trials into a study with this space, and point to it from the old one."""
        old, storage = self.id, self.storage
        digest = hashlib.sha256(json.dumps(self._shape).encode()).hexdigest()[:8]
        name = f"{storage.get_study_name_from_id(old)}+{digest}"
        try:
            new = storage.create_new_study(storage.get_study_directions(old), name)
        except DuplicatedStudyError:  # another process is at it, or died at it
            time.sleep(1.0)
            half = storage.get_study_id_from_name(name)
            maker = storage.get_study_user_attrs(half).get("maker")
            if not self.follow() and not (maker and alive(maker, {})):
                storage.delete_study(half)
            return
        storage.set_study_user_attr(new, "maker", me())
        for trial in storage.get_all_trials(old, deepcopy=False):
            storage.create_new_trial(new, self._copied(trial))
        storage.set_study_user_attr(new, "space", self._shape)
        storage.set_study_user_attr(old, "successor", name)
        self._go(new)

    def _copied(self, trial: FrozenTrial) -> FrozenTrial:
        """The trial in this space; an empty failure if it does not fit, to keep the numbers."""
        found = setting_of(trial) or {}
        if not all(n in self._space and fits(self._space[n].distribution, found[n]) for n in found):
            return create_trial(state=TrialState.FAIL)
        made = template(self._space, found, trial.state, trial.user_attrs, trial.value)
        made.system_attrs.update(trial.system_attrs)
        made.intermediate_values = dict(trial.intermediate_values)
        made.datetime_start = trial.datetime_start
        made.datetime_complete = trial.datetime_complete
        return made


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial has begun; imports, and what a change of the space left out, do not count."""
    left = trial.state == TrialState.FAIL or trial.user_attrs.get("imported")
    return not left and (trial.state != TrialState.WAITING or bool(trial.user_attrs.get("tries")))


def ahead(trial: FrozenTrial, trials: list[FrozenTrial]) -> int:
    """How many trials that count have a smaller number."""
    return sum(counts(other) for other in trials if other.number < trial.number)


def _give_signs(ledger: ReferenceType[Ledger]) -> None:
    while (book := ledger()) is not None and book.give_sign():
        del book
        time.sleep(BEAT)


def _orphaned(trial: FrozenTrial, signs: Mapping[str, Any]) -> bool:
    worker = trial.user_attrs.get("worker")
    running = trial.state == TrialState.RUNNING
    return running and not (alive(worker, signs) if worker else _young(trial))


def _young(trial: FrozenTrial) -> bool:
    begun = trial.datetime_start
    return begun is not None and (datetime.now() - begun).total_seconds() < BEAT
