"""A table, searched: what `minimand tune` does."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import polars as pl

from minimand.budget import Budget
from minimand.data import FeatureEncoder, Table, TargetEncoder, Task, infer_task
from minimand.errors import ArgumentError
from minimand.files import write_whole
from minimand.fitting.model import Fitted, Model
from minimand.fitting.study import Say
from minimand.metrics import DEFAULT, Metric
from minimand.networks.base import Tree
from minimand.report.study_page import study_page
from minimand.tuning import Study, Tuned, tune
from minimand.tuning.evaluate import Scale
from minimand.tuning.space import label

UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def seconds(text: str) -> float:
    """A time span as people write it.

    >>> seconds("90"), seconds("60s"), seconds("1.5 min"), seconds("2h")
    (90.0, 60.0, 90.0, 7200.0)

    Raises:
        ArgumentError: it is none.
    """
    unit = text.strip().lstrip("0123456789.")
    try:
        return float(text.strip().removesuffix(unit)) * UNITS[unit.strip()]
    except (ValueError, KeyError):
        raise ArgumentError(f"budget is '{text}'; write it as 90, 60s, 5m or 1h") from None


def width(text: str | None) -> int | Literal["probe"] | None:
    """A width as it is typed.

    >>> width("8"), width("probe")
    (8, 'probe')

    Raises:
        ArgumentError: it is none.
    """
    if text is None:
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text == "probe":
        return "probe"
    raise ArgumentError(f"width is '{text}'; give a number from 1 upwards, or probe")


def search(
    table: Table,
    metric: str | None,
    watch: Budget,
    say: Say,
    *,
    folds: int,
    trials: int,
    **options: Any,
) -> tuple[Tuned, Model]:
    """Encode a table, search the settings of the default recipe, and keep what predicts.

    `options` go to `tune`.

    Raises:
        MinimandError: the data or an option cannot be used.
    """
    assert table.target is not None
    target, chosen = table.target, None if metric is None else Metric.parse(metric)
    allowed = cast("list[Task]", list(chosen.card.tasks)) if chosen else None
    for name, value, least in (("folds", folds, 2), ("trials", trials, 1)):
        if value < least:
            raise ArgumentError(f"{name} is {value}; it must be at least {least}")
    task, why = infer_task(target, None, allowed)
    chosen = chosen or DEFAULT[task]
    for note in table.notes:
        say(note)
    say(f"Read '{table.name}': {len(target):,} rows. Target '{target.name}': {task}, {why}")
    features = FeatureEncoder.fit(table.frame)
    X = features.transform(table.frame)
    for note in features.notes:
        say(note)
    say(f"Searching by {chosen.name} on {folds} folds, {X.shape[1]} encoded columns.")
    found = tune(
        X,
        np.asarray(target.to_list()),
        metric=chosen,
        cv=folds,
        trials=trials,
        budget=watch,
        progress=True,
        **options,
    )
    labels = TargetEncoder.fit(target, task)
    if not labels.classes:
        labels = replace(labels, center=found.scale.middle, scale=found.scale.width)
    params = unscaled(found.trained.params, found.scale)
    state = found.trained.network_state
    fitted = Fitted(found.recipe.loss, labels, params, found.recipe, state)
    return found, Model(features, fitted, target.name)


def unscaled(params: Tree, scale: Scale) -> Tree:
    """The parameters of a perceptron that takes columns as they come, not yet scaled."""
    first = params["hidden"]["layer0"]
    kernel = np.asarray(first["kernel"], dtype=float) / scale.spread[:, None]
    bias = np.asarray(first["bias"], dtype=float) - scale.centre @ kernel
    layer = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    return params | {"hidden": params["hidden"] | {"layer0": layer}}


def save(found: Tuned, model: Model, folder: Path, name: str, watch: Budget, command: str) -> Path:
    """Write the page, the trials as a table, and the model; the path of the page comes back."""
    notes = [found.nested.summary().splitlines()[0]] if found.nested else []
    page = study_page(
        found.study,
        found.selected,
        metric=found.metric.name,
        title=name,
        seconds=watch.elapsed(),
        stopped=watch.reason,
        command=command,
        notes=notes + ([found.width.summary()] if found.width else []),
        about={"Python": platform.python_version(), "Recipe": str(found.recipe)},
    )

    def write(partial: Path) -> None:
        (partial / "study.html").write_text(page, encoding="utf-8")
        trials_table(found.study).write_csv(partial / "trials.csv")
        (partial / "model").mkdir()
        model.save(partial / "model")

    write_whole(folder, write)
    return folder / "study.html"


def trials_table(study: Study) -> pl.DataFrame:
    """A row for each trial: number, state, value, every parameter and every score."""
    rows = []
    for trial in study.trials:
        row: dict[str, Any] = {"trial": trial.number, "state": trial.state, "value": trial.value}
        for name in study.space:
            value = trial.setting.get(name)
            row[name] = value if isinstance(value, int | float | None) else label(value)
        row |= {f"score {k}": float(score) for k, score in enumerate(trial.scores, 1)}
        rows.append(row | {"seconds": trial.seconds, "reason": trial.reason})
    return pl.from_dicts(rows, infer_schema_length=None)
