"""A trial, and how Optuna's storage holds it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from minimand.errors import ArgumentError
from minimand.tuning.samplers import Stored, setting_of, text_of
from minimand.tuning.space import Setting, Space

State = Literal["done", "pruned", "failed"]
STATES = ("done", "pruned", "failed")
RESULTS = ("scores", "curve", "state", "reason", "seconds")


@dataclass(frozen=True)
class Trial:
    """A setting with its scores on every replicate; NaN marks a replicate that failed.

    `curve` holds (resource, value) pairs, such as (epoch, validation loss). `started` is in
    seconds since 1970, `worker` is host:process, and `reason` says why a trial is not done.

    >>> Trial(0, {"x": 1.0}, np.array([2.0, 4.0])).value
    3.0
    """

    number: int
    setting: Setting
    scores: np.ndarray
    state: State = "done"
    curve: tuple[tuple[float, float], ...] = ()
    seconds: float = math.nan
    started: float = math.nan
    worker: str = ""
    reason: str = ""

    @property
    def value(self) -> float:
        """The mean of the scores; NaN if there are none."""
        return float(np.mean(self.scores)) if np.size(self.scores) else math.nan

    def attributes(self) -> dict[str, Any]:
        """What Optuna's storage has no place of its own for."""
        result = {name: _plain(getattr(self, name)) for name in RESULTS}
        return {"result": result, "started": _plain(self.started), "worker": self.worker}


class Outcome(NamedTuple):
    """What came of a setting, where it is more than scores: see `Trial` for the words."""

    scores: Any = ()
    curve: Iterable[tuple[float, float]] = ()
    state: State = "done"
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """A setting to evaluate, and the number by which to tell its scores."""

    number: int
    setting: Setting


def stored(space: Space, setting: Setting) -> Stored:
    """The setting as Optuna stores it.

    Raises:
        ArgumentError: it is outside the space, or lacks a part of it.
    """
    found: dict[str, Any] = {}
    for name, dimension in space.items():
        if not dimension.exists(setting):
            continue
        if name not in setting:
            raise ArgumentError(f"setting {dict(setting)} lacks '{name}'")
        found[name] = dimension.stored(setting[name])
        if not fits(dimension.distribution, found[name]):
            raise ArgumentError(f"{name} = {setting[name]} is outside {dimension}")
    if surplus := sorted(setting.keys() - found.keys()):
        raise ArgumentError(f"setting {dict(setting)} has {surplus}, which the space rules out")
    return found


def fits(distribution: Any, value: Any) -> bool:
    """Whether a stored value is one of an Optuna distribution's."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return bool(distribution.low <= value <= distribution.high)


def template(
    space: Space, found: Stored, state: TrialState, attributes: Mapping[str, Any], value: Any = None
) -> FrozenTrial:
    """A trial to put into Optuna's storage."""
    return create_trial(
        state=state,
        value=value,
        params=dict(found),
        distributions={name: space[name].distribution for name in found},
        user_attrs={"setting": found, **attributes},
    )


def read(frozen: FrozenTrial, space: Space) -> Trial:
    """The trial in Optuna's storage, also one that Optuna alone has run."""
    attributes = frozen.user_attrs
    result = attributes.get("result", {})
    state: State = "done" if frozen.state == TrialState.COMPLETE else "pruned"
    duration = frozen.duration.total_seconds() if frozen.duration else math.nan
    curve = result.get("curve", sorted(frozen.intermediate_values.items()))
    return Trial(
        frozen.number,
        {name: space[name].read(v) if name in space else v for name, v in _items(frozen)},
        np.array([_number(score) for score in _scores(frozen)]),
        result.get("state", state),
        tuple((_number(at), _number(value)) for at, value in curve),
        _number(result.get("seconds", duration)),
        _number(attributes.get("started")),
        attributes.get("worker", ""),
        result.get("reason", ""),
    )


def identity(frozen: FrozenTrial) -> tuple[str, str]:
    """What makes an imported trial the same as another: its setting and its scores."""
    return text_of(setting_of(frozen) or {}), str(_scores(frozen))


def _scores(frozen: FrozenTrial) -> list[Any]:
    own = [] if frozen.value is None else [frozen.value]
    scores: list[Any] = frozen.user_attrs.get("result", {}).get("scores", own)
    return scores


def _items(frozen: FrozenTrial) -> Any:
    return (setting_of(frozen) or {}).items()


def _plain(value: Any) -> Any:
    """Strict JSON, which has neither NaN nor infinity."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(v) for v in value]
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
