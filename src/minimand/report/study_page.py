"""The page of a study: one HTML file that opens offline and says first what was chosen."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from minimand.data.columns import plural
from minimand.report import importance as shares
from minimand.report import tuning_charts as charts
from minimand.report.page import Figure, environment
from minimand.report.text import clip, duration, number, printable
from minimand.tuning.space import label
from minimand.tuning.storage import shown

if TYPE_CHECKING:
    from minimand.report.charts import Chart
    from minimand.tuning.selection import Selected
    from minimand.tuning.study import Study
    from minimand.tuning.trial import Trial

MOST_ROWS = 500
MOST_NAMED = 10
SORT = """
"use strict";
const table = document.getElementById("table"), body = table.tBodies[0];
const key = (row, column) => {
  const value = row.cells[column].dataset.value;
  return value === undefined ? row.cells[column].textContent.trim() : Number(value);
};
const order = (a, b) => typeof a === "number" && typeof b === "number"
  ? (Number.isNaN(a) - Number.isNaN(b)) || a - b : String(a).localeCompare(String(b));
table.tHead.querySelectorAll("th").forEach((head, column) => {
  const sort = () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    body.append(...[...body.rows].sort((a, b) => sign * order(key(a, column), key(b, column))));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
});
"""


def study_page(
    study: Study,
    selected: Selected,
    *,
    metric: str = "value",
    title: str = "study",
    seconds: float = math.nan,
    stopped: str = "",
    command: str = "",
    notes: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> str:
    """One self-contained HTML page about a study: the verdict, the charts and all trials.

    Args:
        study: what was tried.
        selected: what was chosen of it, and how good it is.
        metric: what the scores are called.
        title: what the search was about, such as the name of the data.
        seconds: how long it took.
        stopped: why it ended early, if it did.
        command: what was called.
        notes: further sentences for the head of the page, such as a nested score.
        about: further facts for its end, such as versions.

    >>> from minimand.tuning import Float, select
    >>> from minimand.tuning.study import Study
    >>> study = Study({"x": Float(0.0, 1.0)}, sampler="grid")
    >>> study.run(lambda settings: [[s["x"], s["x"] + 0.1] for s in settings], trials=3)
    >>> page = study_page(study, select(study.trials), metric="loss")
    >>> "loss 0.05 ± 0.64 by trial 0 of 3" in page
    True
    """
    trials, chosen = study.trials, selected.trial
    script = SORT.strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    ranked = _ranked(trials, study, chosen)
    names = list(study.space)
    space = [(name, repr(dimension)) for name, dimension in study.space.items()]
    about = printable([*space, *(about or {}).items()])
    page: str = (
        environment()
        .get_template("study.html.jinja")
        .render(
            version=version("minimand"),
            script=Markup(script),
            script_hash=Markup(f"sha256-{digest}"),
            created=datetime.now(UTC).isoformat(),
            title=printable(title),
            headline=f"{metric} {selected.score} by trial {chosen.number} of {len(trials):,}",
            lead=[*_lead(selected), *notes],
            stopped=stopped,
            facts=_facts(study, selected, metric, seconds),
            setting=[(printable(n), _said(v)) for n, v in chosen.setting.items()],
            figures=[Figure(*figure) for figure in _figures(study, metric)],
            hidden=max(len(ranked) - MOST_ROWS, 0),
            columns=["Trial", metric, "Spread", *map(printable, names), "State", "Time", "Why"],
            rows=[_row(trial, names, selected) for trial in ranked[:MOST_ROWS]],
            command=command,
            about=about,
        )
    )
    return page


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number by which it is sorted if there is one."""

    text: str
    sort: float | None = None


def _lead(selected: Selected) -> Iterator[str]:
    """What to think of the score, in sentences without their full stops."""
    if math.isfinite(selected.score.high):
        yield "the interval is a 95 % one, from runs that did not choose the setting"
    if math.isfinite(selected.optimism):
        best = f"the best mean of the search, {number(selected.searched)},"
        yield (
            f"{best} flatters by about {abs(selected.optimism):.2g}; corrected, it is "
            f"{number(selected.corrected)}"
            if abs(selected.optimism) > 1e-3 * abs(selected.searched)
            else f"{best} does not flatter"
        )
    if selected.ties:
        some = ", ".join(str(trial.number) for trial in selected.ties[:MOST_NAMED])
        more = ", ..." if len(selected.ties) > MOST_NAMED else ""
        count = plural(len(selected.ties), "trial")
        yield f"not distinguishable from the choice: {count}, number {some}{more}"
    if selected.simpler is not selected.trial:
        yield f"simpler, and within one standard error: trial {selected.simpler.number}"


def _facts(
    study: Study, selected: Selected, metric: str, seconds: float
) -> Iterator[tuple[str, str, str]]:
    """Name, value and what is to be added, for the head of the page."""
    trials = study.trials
    states = [trial.state for trial in trials]
    parts = [f"{states.count(s)} {s}" for s in ("done", "pruned", "failed") if s in states]
    yield "Trials", f"{len(trials):,}", " + ".join(parts)
    each = max(np.size(trial.scores) for trial in trials)
    again = len(selected.finalists) * len(selected.seeds)
    runs = each * (len(trials) + again)
    if math.isfinite(seconds):
        yield "Time", duration(seconds), f"{runs / max(seconds, 1e-9):.3g} runs per second"
    yield "Runs", f"{runs:,}", f"{each} a trial" + f" + {each * again} again" * bool(again)
    yield "Metric", metric, f"to {study.direction}"
    yield "Sampler", study.sampler if isinstance(study.sampler, str) else "own", ""
    yield "Seed", str(study.seed), ""
    if study.storage is not None:
        yield "Stored in", clip(shown(study.storage), 60), ""


def _figures(study: Study, metric: str) -> Iterator[tuple[str, Chart, str]]:
    """Title, chart and caption of every figure that the study has the evidence for."""
    greater = "greater" if study.direction == "maximize" else "smaller"
    done = [trial for trial in study.trials if trial.state == "done"]
    curved = [trial for trial in study.trials if len(trial.curve)]
    if len(done) > 1:
        yield (
            "History",
            charts.history(study, metric),
            f"A dot for each trial and the best so far; {greater} is better.",
        )
    if shares.importances(study):
        yield "Importance", shares.importance(study), _importance(study)
    if len(done) > 1:
        yield (
            "Parallel coordinates",
            charts.parallel(study, metric),
            "A line for each trial; the ends of every axis are those of its range.",
        )
        yield "Slices", charts.slices(study, metric), "A dot for each trial; later ones are darker."
        if len(study.space) > 1:
            yield (
                "The two that matter most",
                charts.contour(study, metric=metric),
                "Circles were tried; the darker, the better are the trials near by.",
            )
    if curved:
        yield (
            "Learning curves",
            charts.learning_curves(study),
            "A line for each trial; pruned ones are faded.",
        )
    if any(math.isfinite(trial.started) for trial in study.trials):
        yield "Timeline", charts.timeline(study), "When each trial ran, from proposal to score."


def _importance(study: Study) -> str:
    done = sum(trial.state == "done" for trial in study.trials)
    said = f"By fANOVA on {plural(done, 'trial')}"
    few = "; so few say little" if done < 10 * len(study.space) else ""
    warned = shares.warning(study)
    return f"{said}{few}. {warned}{'.' if warned else ''}".strip()


def _ranked(trials: Sequence[Trial], study: Study, chosen: Trial) -> list[Trial]:
    """The choice, those that are done from best to worst, and the others by how far they got."""
    sign = -1 if study.direction == "maximize" else 1

    def rank(trial: Trial) -> tuple[bool, bool, float, float, int]:
        done = trial.state == "done" and math.isfinite(trial.value)
        reached, last = trial.curve[-1] if trial.curve else (0, 0.0)
        value = sign * trial.value if done else last if math.isfinite(last) else math.inf
        return trial.number != chosen.number, not done, -reached * (not done), value, trial.number

    return sorted(trials, key=rank)


def _row(trial: Trial, names: Sequence[str], selected: Selected) -> dict[str, Any]:
    marks = {trial.number: "tied" for trial in selected.ties}
    marks |= {selected.simpler.number: "simpler"} | {selected.trial.number: "chosen"}
    spread = float(np.std(trial.scores, ddof=1)) if np.size(trial.scores) > 1 else math.nan
    cells = [
        _number(trial.value),
        _number(spread),
        *(_cell(trial.setting[n]) if n in trial.setting else Cell("–") for n in names),
        Cell(trial.state),
        Cell(duration(trial.seconds) if math.isfinite(trial.seconds) else "–", trial.seconds),
        Cell(clip(printable(trial.reason), 120)),
    ]
    return {"number": trial.number, "mark": marks.get(trial.number, ""), "cells": cells}


def _cell(value: Any) -> Cell:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return _number(float(value)) if is_number else Cell(_said(value))


def _number(value: float) -> Cell:
    return Cell(number(value), value)


def _said(value: Any) -> str:
    return number(value) if isinstance(value, float) else clip(printable(label(value)), 80)
