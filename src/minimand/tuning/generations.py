"""Population-based training as a study: generations that a kill does not undo.

Every member of every generation is a trial. What it tries follows from the seed, its number and the
scores of the generation before, so any process may train it, and its network lies in a file, from
which its children go on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, SolverError
from minimand.training import Recipe, Trained, train_members
from minimand.tuning.executors import Listener
from minimand.tuning.pbt import Evolved, Generation, check, exploited, explored
from minimand.tuning.samplers import PLANS, Stored, setting_of
from minimand.tuning.short import set_aside
from minimand.tuning.space import Float, Int, Setting, applied
from minimand.tuning.storage import Place
from minimand.tuning.study import Study
from minimand.tuning.trial import Outcome

OWN = ("generation", "member", "parent")
MOST = 2**20
"""More members or generations than there will be."""


@dataclass(frozen=True)
class Raised:
    """What generations went through, the network that ended best, and the study with all trials."""

    evolved: Evolved
    trained: Trained
    study: Study


def evolve(
    recipe: Recipe,
    X: Array,
    y: Array,
    space: Mapping[str, Float],
    *,
    every: int,
    members: int = 16,
    fold: Fold | None = None,
    weight: Array | None = None,
    share: float = 0.25,
    resample: float = 0.25,
    storage: Place = None,
    name: str = "evolution",
    folder: str | Path | None = None,
    executor: str = "here",
    jobs: int = 1,
    budget: Budget | None = None,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
) -> Raised:
    """Population-based training whose every member and generation is a trial of a study.

    After every `every` epochs the worst go on as copies of the best, with other numbers, as in
    `population_based_training`. A study that is stored goes on where it stopped, or was killed, to
    the same bits, and several processes may share a generation, which all wait for its end. A
    schedule of the recipe begins anew with each generation.

    Args:
        recipe: what to train, for how many epochs in all; it does not stop early.
        X: [n, p] inputs.
        y: [n] targets, as the recipe's loss expects them.
        space: what may change; numbers only. The first generation is spread over it.
        every: how many epochs lie between exchanges.
        members: how many are trained side by side.
        fold: rows to descend on and rows to judge by; by default a fifth is set aside.
        weight: [n] weights of the rows.
        share: of the members, how many are replaced at once, and by how many.
        resample: how often a number is drawn anew.
        storage: None (memory), a file, or the URL of a database; see `Study`.
        name: of the study in the storage.
        folder: where the networks are kept; a stored study needs one that all its workers see.
        executor: "here", "processes" or "ray".
        jobs: how many processes there are.
        budget: when to end with the generations that are complete.
        seed: decides everything that is random.
        listeners: called with the study and every finished trial.

    Raises:
        ArgumentError: fewer than two members, an interval that does not fit into the epochs, a
            stored study without a folder or with another number of members.
        SolverError: no generation is complete, or every member broke.

    Source: Jaderberg et al. (2017), Population based training of neural networks.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> recipe = Recipe(Linear(), Squared(), SGD(), batch_size=16, epochs=6)
    >>> rates = {"optimizer.learning_rate": Float(1e-4, 0.5, log=True)}
    >>> raised = evolve(recipe, X, 4 + 3 * X[:, 0], rates, every=2, members=4)
    >>> len(raised.evolved.generations), len(raised.study.trials)
    (3, 12)
    """
    check(space, recipe.epochs, every, share)
    if members < 2:
        raise ArgumentError(f"members is {members}; a population needs at least 2")
    if storage is not None and folder is None:
        raise ArgumentError("a stored study needs a place for its networks: give folder='nets'")
    ends = [*range(every, recipe.epochs, every), recipe.epochs]
    plan = Heredity(space, members, seed, share, resample)
    with TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        raising = Raising(
            recipe,
            np.asarray(X),
            np.asarray(y),
            fold or set_aside(len(X), seed),
            weight,
            tuple(ends),
            Path(place).absolute(),
            seed,
            None if executor == "here" else 1,
        )
        whole = {**space, **dict.fromkeys(OWN, Int(0, MOST))}
        study = Study(whole, storage=storage, name=name, sampler=plan, seed=seed)
        study.run(
            raising,
            members * len(ends),
            batch=-(-members // jobs),
            budget=budget,
            executor=executor,
            jobs=jobs,
            listeners=listeners,
        )
        evolved = Evolved(_generations(study, members, ends))
        last = evolved.generations[-1] if evolved.generations else None
        if last is None or not np.isfinite(last.values).any():
            raise SolverError("no generation is complete, or all of its members broke")
        network = Trained.load(raising.file(len(evolved.generations) - 1, evolved.best))
    return Raised(evolved, network, study)


@dataclass(frozen=True)
class Heredity:
    """The plan of a study: what a member tries follows from the generation before."""

    space: Mapping[str, Float]
    members: int
    seed: int
    share: float
    resample: float

    def __call__(
        self, study: optuna.Study, number: int, tried: set[str], ahead: int
    ) -> Stored | None:
        """The setting of trial `number`; None as long as the generation before is not complete."""
        generation, member = divmod(number, self.members)
        own = {"generation": generation, "member": member}
        if not generation:
            first = PLANS["sobol"](self.space, self.seed)(study, member, tried, ahead) or {}
            return {**first, **own, "parent": member}
        trials = study.get_trials(deepcopy=False)
        before = trials[number - member - self.members : number - member]
        if not all(trial.state.is_finished() for trial in before):
            return None
        values = np.array([_value(trial) for trial in before])
        if not np.isfinite(values).any():
            return None
        parent = int(exploited(values, self.share)[member])
        settings = [setting_of(trial) or {} for trial in before]
        found = {path: settings[parent][path] for path in self.space}
        if parent != member:
            random = np.random.default_rng([self.seed, number])
            found = explored(found, self.space, random, self.resample)
        return {**found, **own, "parent": parent}


@dataclass(frozen=True)
class Raising:
    """Trains members for the epochs of their generation, from the networks of their parents."""

    recipe: Recipe
    X: np.ndarray
    y: np.ndarray
    fold: Fold
    weight: Array | None
    ends: tuple[int, ...]
    folder: Path
    seed: int
    jobs: int | None

    def __call__(self, settings: Sequence[Setting]) -> list[Outcome]:
        generation = settings[0]["generation"]
        begin, end = (0, *self.ends)[generation : generation + 2]
        parents = [self.file(generation - 1, s["parent"]) for s in settings] if generation else []
        trained = train_members(
            [self._recipe(setting, end - begin) for setting in settings],
            self.X,
            self.y,
            [self.fold] * len(settings),
            [self._seed(setting) for setting in settings],
            weight=self.weight,
            jobs=self.jobs,
            budget=Budget(),
            progress=False,
            starts=[Trained.load(parent) for parent in parents],
        )
        outcomes = []
        for setting, one in zip(settings, trained, strict=True):
            where = self.file(generation, setting["member"])
            if one.finite and not where.exists():
                one.save(where)
            outcomes.append(self._outcome(one, begin))
        return outcomes

    def file(self, generation: int, member: int) -> Path:
        """Where the network of a member is kept."""
        return self.folder / f"{generation}-{member}"

    def _recipe(self, setting: Setting, epochs: int) -> Recipe:
        whole = replace(self.recipe, epochs=epochs, patience=epochs, goal=None, restore_best=False)
        return applied(whole, numbers_of(setting))

    def _seed(self, setting: Setting) -> int:
        """Other orders of the rows for every member and generation."""
        own = self.seed, setting["generation"], setting["member"]
        return int(np.random.SeedSequence(own).generate_state(1)[0] >> 1)

    def _outcome(self, one: Trained, begin: int) -> Outcome:
        sign = -1.0 if one.recipe.rising else 1.0
        line = one.history["validation" if len(self.fold.test) else "train"]
        values = [sign * value for value in line]
        curve = tuple((begin + epoch, value) for epoch, value in enumerate(values, 1))
        return Outcome(values[-1:] if one.finite else [math.nan], curve)


def _value(trial: FrozenTrial) -> float:
    """What a member was worth, less being better."""
    return math.inf if trial.value is None else float(trial.value)


def _generations(study: Study, members: int, ends: Sequence[int]) -> tuple[Generation, ...]:
    """Those that are complete."""
    made, trials = [], {trial.number: trial for trial in study.trials}
    for generation, end in enumerate(ends):
        numbers = range(generation * members, (generation + 1) * members)
        if not all(number in trials for number in numbers):
            break
        own = [trials[number] for number in numbers]
        if [trial.setting["member"] for trial in own] != list(range(members)):
            raise ArgumentError(f"study '{study.name}' has not got {members} members a generation")
        made.append(
            Generation(
                end,
                np.array([trial.setting["parent"] for trial in own]),
                tuple(numbers_of(trial.setting) for trial in own),
                np.array([t.value if t.state == "done" else math.inf for t in own]),
            )
        )
    return tuple(made)


def numbers_of(setting: Setting) -> dict[str, Any]:
    """What may change, without what a setting says of the member beside."""
    return {path: value for path, value in setting.items() if path not in OWN}
