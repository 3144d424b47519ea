"""`minimize`: the least value of any function of named arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minimand.budget import Budget
from minimand.tuning.executors import Listener
from minimand.tuning.ledger import Direction
from minimand.tuning.space import Setting, Space
from minimand.tuning.storage import Place
from minimand.tuning.study import Study
from minimand.tuning.trial import Trial


@dataclass(frozen=True)
class Found:
    """The best setting, its value (the mean of its scores), and the study with all trials."""

    setting: Setting
    value: float
    study: Study

    @property
    def trials(self) -> list[Trial]:
        """Every finished trial, by number."""
        return self.study.trials


def minimize(
    fn: Callable[..., Any],
    space: Space,
    trials: int = 100,
    *,
    sampler: Any = "tpe",
    direction: Direction = "minimize",
    seed: int = 0,
    storage: Place = None,
    name: str = "study",
    jobs: int = 1,
    executor: str | None = None,
    budget: Budget | None = None,
    queue: Sequence[Setting] = (),
    listeners: Sequence[Listener] = (),
) -> Found:
    """The setting of the least (or greatest) value of a function, by `trials` trials in all.

    `fn` is called with the names of the space as keywords if it takes them, as `fn(x=1, y=2)`,
    and else with one dictionary, as hyperopt does. It returns a number, or several whose mean
    counts (over seeds, say). A NaN or an exception is a failed trial; the rest goes on. Settings
    in `queue` are tried first. More than one job means processes, unless `executor` is "ray". For
    `storage` and `sampler` see `Study`: a study that is stored goes on where it stopped.

    >>> from minimand.tuning.space import Float
    >>> found = minimize(lambda x: (x - 0.25) ** 2, {"x": Float(-1.0, 1.0)}, trials=40)
    >>> abs(found.setting["x"] - 0.25) < 0.1
    True

    Raises:
        SolverError: no trial is done; the reason of the first is given.
    """
    study = Study(
        space, storage=storage, name=name, sampler=sampler, direction=direction, seed=seed
    )
    if not study.trials:
        study.queue(queue)
    study.run(
        Each(fn, tuple(space)),
        trials,
        budget=budget,
        executor=executor or ("here" if jobs == 1 else "processes"),
        jobs=jobs,
        listeners=listeners,
    )
    best = study.best
    return Found(best.setting, best.value, study)


class Each:
    """Calls a function with each setting of a batch."""

    def __init__(self, fn: Callable[..., Any], names: tuple[str, ...]) -> None:
        self.fn = fn
        try:
            inspect.signature(fn).bind(**dict.fromkeys(names))
            self.keywords = True
        except (TypeError, ValueError):
            self.keywords = False

    def __call__(self, settings: Sequence[Setting]) -> list[Any]:
        return [self.fn(**s) if self.keywords else self.fn(dict(s)) for s in settings]
