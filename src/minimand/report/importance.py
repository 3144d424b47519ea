"""Which parameters of a study matter, on how many trials that rests, and when it misleads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt
import numpy as np

from minimand.drawing import COLOURS
from minimand.errors import ArgumentError
from minimand.report.charts import Chart, _labels

if TYPE_CHECKING:
    from minimand.tuning.study import Study
    from minimand.tuning.trial import Trial

FEWEST_FOR_IMPORTANCE = 8
UNEVEN = 0.1
"""A better half with less than this share of the variance says that bad trials make the rest."""


def importances(study: Study, better: bool = False) -> dict[str, float]:
    """The share of the variance of the values that each parameter explains, greatest first.

    By fANOVA (Hutter, Hoos and Leyton-Brown, 2014), as Optuna computes it, from all trials that are
    done or from the better half of them. Parameters under a condition are left out. Empty if there
    are fewer than 8 trials, or if all values are equal.

    >>> from minimand.tuning import Float
    >>> from minimand.tuning.study import Study
    >>> study = Study({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, sampler="sobol")
    >>> study.run(lambda settings: [s["x"] for s in settings], trials=32)
    >>> importances(study)["x"] > 0.9
    True
    """
    from optuna import create_study
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    from minimand.tuning.trial import stored, template

    trials = better_half(study) if better else valued(study)
    names = [n for n, d in study.space.items() if all(n in t.setting for t in trials)]
    names = [n for n in names if not study.space[n].distribution.single()]
    values = [trial.value for trial in trials]
    if len(trials) < FEWEST_FOR_IMPORTANCE or not names or np.ptp(values) == 0:
        return {}
    space = {name: study.space[name] for name in names}
    copy = create_study()
    for trial in trials:
        found = stored(space, {name: trial.setting[name] for name in names})
        copy.add_trial(template(space, found, TrialState.COMPLETE, {}, trial.value))
    shares = get_param_importances(copy, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()}


def warning(study: Study) -> str:
    """A sentence if importance says most about how to avoid bad trials, else nothing."""
    trials = valued(study)
    if len(trials) < FEWEST_FOR_IMPORTANCE:
        return ""
    whole = np.var([trial.value for trial in trials])
    inner = np.var([trial.value for trial in better_half(study)])
    if not inner < UNEVEN * whole:
        return ""
    return (
        f"Bad trials make {int(100 - 100 * inner / whole)} % of the variance: over all trials "
        f"importance says what to avoid, in the better half what to choose; narrow the ranges"
    )


def importance(study: Study) -> Chart:
    """How much of the variance each parameter explains, over all trials and in the better half.

    Raises `ArgumentError` if there are too few trials to say.
    """
    parts = {
        f"all {len(valued(study))} trials": importances(study),
        f"the better {len(better_half(study))}": importances(study, better=True),
    }
    parts = {name: shares for name, shares in parts.items() if shares}
    if not parts:
        raise ArgumentError(f"importance needs {FEWEST_FOR_IMPORTANCE} trials of unequal value")
    order = list(next(iter(parts.values())))
    labels = dict(zip(order, _labels(order), strict=True))
    rows = [
        {"name": labels[name], "share": share, "part": part}
        for part, shares in parts.items()
        for name, share in shares.items()
        if name in labels
    ]
    colours = alt.Scale(domain=list(parts), range=[COLOURS["accent"], COLOURS["second"]])
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(height={"band": 0.8})
    chart: Chart = bars.encode(
        x=alt.X("share:Q", title="share of the variance", axis=alt.Axis(format="%", tickCount=5)),
        y=alt.Y("name:N", sort=list(labels.values()), title=None, axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("part:N", sort=list(parts)),
        color=alt.Color("part:N", scale=colours),
    ).properties(width=360, height=alt.Step(16))
    return chart


def valued(study: Study) -> list[Trial]:
    """The trials that are done, by number."""
    return [t for t in study.trials if t.state == "done" and math.isfinite(t.value)]


def better_half(study: Study) -> list[Trial]:
    """The better half of them, best first."""
    sign = -1 if study.direction == "maximize" else 1
    ranked = sorted(valued(study), key=lambda trial: sign * trial.value)
    return ranked[: (len(ranked) + 1) // 2]
