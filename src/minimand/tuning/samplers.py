"""Which setting to try next: Optuna's samplers, and plans that are known beforehand.

What a trial is offered depends on the seed, on its number and on the trials before it, never on
which process asks. So a study that was killed goes on as if nothing had happened, and workers that
share a seed do not all try the same.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from minimand.errors import ArgumentError, ArgumentTypeError, unknown
from minimand.tuning.space import Dimension, Space, grid

Stored = Mapping[str, Any]
"""A setting as Optuna stores it: each choice by its label."""
DRAWS = 10
NEEDED = {"cma-es": "cmaes", "gp": "torch"}


class Proposer:
    """Proposes the settings of a study.

    Raises:
        UnknownNameError: a sampler of another name.
        ArgumentError: the sampler needs a package that is not installed.
    """

    def __init__(self, sampler: Any, space: dict[str, Dimension], seed: int) -> None:
        if not isinstance(sampler, (str, BaseSampler)) and not callable(sampler):
            raise ArgumentTypeError(f"sampler must be a name or one of Optuna's, not {sampler!r}")
        if isinstance(sampler, str) and sampler not in (known := {*PLANS, *SAMPLERS}):
            raise unknown("sampler", sampler, known)
        needed = NEEDED.get(sampler) if isinstance(sampler, str) else None
        if needed and importlib.util.find_spec(needed) is None:
            raise ArgumentError(
                f"sampler '{sampler}' needs the package {needed}; install it, or choose 'tpe'"
            )
        self._sampler, self._space, self._seed = sampler, space, seed
        self._plan: Plan | None = sampler if callable(sampler) else None
        if isinstance(sampler, str) and sampler in PLANS:
            self._plan = PLANS[sampler](space, seed)
        self._last: tuple[tuple[int, int], BaseSampler] | None = None

    def sampler(self, number: int, draw: int = 0) -> BaseSampler:
        """The sampler for trial `number`."""
        if isinstance(self._sampler, BaseSampler):
            return self._sampler
        if self._last is None or self._last[0] != (number, draw):
            seeds = np.random.SeedSequence([self._seed, number, draw])
            make = _random if self._plan else SAMPLERS[self._sampler]
            made = make(int(seeds.generate_state(1)[0]))
            self._last = (number, draw), made
        return self._last[1]

    def propose(
        self, study: optuna.Study, trial: FrozenTrial, tried: set[str], ahead: int
    ) -> Stored | None:
        """The setting for a trial, new if there is a new one; None when the plan is at its end.

        `tried` holds the settings of other trials as texts; `ahead` trials before this one have
        not got theirs yet.
        """
        if self._plan is not None:
            return self._plan(study, trial.number, tried, ahead)
        proposal: Stored = {}
        for draw in range(DRAWS):
            proposal = drawn(self.sampler(trial.number, draw), study, trial, self._space)
            if text_of(proposal) not in tried:
                break
        return proposal


def drawn(
    sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, Dimension]
) -> Stored:
    """What an Optuna sampler suggests, without a word of it in the storage."""
    sampler.before_trial(study, trial)
    joint = sampler.infer_relative_search_space(study, trial)
    relative = sampler.sample_relative(study, trial, joint)
    stored: dict[str, Any] = {}
    setting: dict[str, Any] = {}
    for name, dimension in space.items():
        if not dimension.exists(setting):
            continue
        distribution = dimension.distribution
        if distribution.single():
            value = dimension.grid(1)[0]
        elif name in relative and joint[name] == distribution:
            value = relative[name]
        else:
            value = sampler.sample_independent(study, trial, name, distribution)
        stored[name] = dimension.stored(value)
        setting[name] = dimension.read(stored[name])
    return stored


def setting_of(trial: FrozenTrial) -> Stored | None:
    """The setting of a trial as it is stored; None for one that has not got one yet."""
    return trial.user_attrs.get("setting") or trial.params or None


def text_of(stored: Stored) -> str:
    """A text that is equal for equal settings."""
    return json.dumps(stored, sort_keys=True)


Plan = Callable[[optuna.Study, int, set[str], int], Stored | None]
"""The study, the number of a trial, what is tried, and how many are ahead; the setting comes out.

None means that there is no more for now.
"""


def _grid(space: Space, seed: int) -> Plan:
    """The points that no trial has; those ahead are left the first of these."""
    points = [_stored(space, setting) for setting in grid(space)]

    def plan(study: optuna.Study, number: int, tried: set[str], ahead: int) -> Stored | None:
        free = [point for point in points if text_of(point) not in tried]
        return free[ahead] if ahead < len(free) else None

    return plan


def _sobol(space: Space, seed: int) -> Plan:
    """Point `number` of Sobol's sequence, scrambled by the seed."""
    from scipy.stats.qmc import Sobol

    def plan(study: optuna.Study, number: int, tried: set[str], ahead: int) -> Stored | None:
        sequence = Sobol(len(space), rng=np.random.default_rng(seed))
        if number:
            sequence.fast_forward(number)
        setting: dict[str, Any] = {}
        for (name, dimension), share in zip(space.items(), sequence.random(1)[0], strict=True):
            if dimension.exists(setting):
                setting[name] = dimension.at(float(share))
        return _stored(space, setting)

    return plan


def _stored(space: Space, setting: Mapping[str, Any]) -> Stored:
    return {name: space[name].stored(value) for name, value in setting.items()}


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _tpe(seed: int) -> BaseSampler:
    """Multivariate, and in groups, so that conditions do not undo it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(multivariate=True, group=True, seed=seed)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed)


def _cma(seed: int) -> BaseSampler:
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


PLANS: Mapping[str, Callable[[Space, int], Plan]] = {"grid": _grid, "sobol": _sobol}
SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "random": _random,
    "tpe": _tpe,
    "gp": _gp,
    "cma-es": _cma,
}
