"""Charts of a study: what was tried, what came of it, and what mattered.

Each takes a `minimand.tuning.Study` and returns an Altair chart that a notebook shows as it is.
`metric` is the word for a trial's value. Values far worse than most are left out, and counted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from minimand.drawing import COLOURS
from minimand.errors import ArgumentError, unknown
from minimand.report.charts import Chart, _fall, _labels, _thinned
from minimand.report.importance import importances, valued
from minimand.report.text import clip, number, printable

if TYPE_CHECKING:
    from minimand.tuning.space import Dimension
    from minimand.tuning.study import Study

MOST_TRIALS = 1000
MOST_LINES = 200
MOST_CURVES = 100
MOST_POINTS = 60
GRID = 20
BEYOND = (-0.06, 1.06)
"""Where the ends of an axis of parallel coordinates are named."""
KINDS = {"done": COLOURS["accent"], "pruned": COLOURS["muted"], "failed": COLOURS["second"]}


def history(study: Study, metric: str = "value") -> Chart:
    """The value of every trial by number, and the best so far as a line.

    >>> from minimand.tuning import Float
    >>> from minimand.tuning.study import Study
    >>> study = Study({"x": Float(0.0, 1.0)}, sampler="grid")
    >>> study.run(lambda settings: [s["x"] for s in settings], trials=3)
    >>> [row["best"] for row in history(study).to_dict()["layer"][0]["data"]["values"]]
    [0.0, 0.0, 0.0]
    """
    trials = valued(study)
    values = [trial.value for trial in trials]
    low, high, outside = _window(values, study)
    best = (np.maximum if study.direction == "maximize" else np.minimum).accumulate(values)
    line = _thinned([trial.number for trial in trials], best)
    rows = [
        {"trial": trial.number, "value": trial.value}
        for trial in trials[-MOST_TRIALS:]
        if low <= trial.value <= high
    ]
    x = alt.X("trial:Q", title="trial", axis=alt.Axis(format=",d", grid=False, tickMinStep=1))
    title = metric + _left_out(outside)
    y = alt.Scale(zero=False, domain=_padded(low, high))
    steps = alt.Chart(alt.Data(values=[{"trial": n, "best": v} for n, v in line]))
    dots = alt.Chart(alt.Data(values=rows))
    return alt.layer(
        steps.mark_line(interpolate="step-after", strokeWidth=2, color=COLOURS["accent"]).encode(
            x=x, y=alt.Y("best:Q", title=title, scale=y)
        ),
        dots.mark_point(filled=True, size=36, color=COLOURS["muted"], opacity=0.6).encode(
            x=x, y=alt.Y("value:Q", title=title, scale=y)
        ),
    ).properties(width=400, height=260)


def parallel(study: Study, metric: str = "value") -> Chart:
    """A line for each trial across the parameters and the value; the best tenth stands out."""
    low, high, _ = _window([t.value for t in valued(study)], study)
    trials = [t for t in valued(study) if low <= t.value <= high]
    ranked = sorted(trials, key=lambda t: t.value, reverse=study.direction == "maximize")
    ranked = ranked[:MOST_LINES]
    leaders = {t.number for t in ranked[: math.ceil(len(ranked) / 10)]}
    axes = dict(zip(study.space, _labels(list(study.space)), strict=True))
    order = [*axes.values(), clip(printable(metric), 40)]
    rows: list[dict[str, Any]] = []
    for trial in reversed(ranked):
        kind = "best tenth" if trial.number in leaders else "other"
        marks = [
            (axes[name], _position(dimension, trial.setting[name]))
            for name, dimension in study.space.items()
            if name in trial.setting
        ]
        share = (trial.value - low) / (high - low) if high > low else 0.5
        rows += [
            {"axis": axis, "at": at, "trial": trial.number, "kind": kind}
            for axis, at in [*marks, (order[-1], share)]
        ]
    ends = [
        {"axis": axes[name], "at": at, "text": text}
        for name, dimension in study.space.items()
        for at, text in zip(BEYOND, _ends(dimension), strict=True)
    ]
    ends += [
        {"axis": order[-1], "at": at, "text": number(v)}
        for at, v in zip(BEYOND, (low, high), strict=True)
    ]
    x = alt.X("axis:N", sort=order, title=None, axis=alt.Axis(labelAngle=-20, grid=True))
    y = alt.Y("at:Q", title=None, axis=None, scale=alt.Scale(domain=[-0.1, 1.1]))
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(
            domain=["best tenth", "other"], range=[COLOURS["accent"], COLOURS["muted"]]
        ),
    )
    opacity = alt.condition("datum.kind === 'other'", alt.value(0.25), alt.value(0.9))
    lines = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=1.5)
    words = alt.Chart(alt.Data(values=ends)).mark_text(color=COLOURS["ink"], fontSize=11)
    return alt.layer(
        lines.encode(x=x, y=y, detail="trial:N", color=colour, opacity=opacity),
        words.encode(x=x, y=y, text="text:N"),
    ).properties(width=max(300, 110 * (len(order) - 1)), height=260)


def slices(study: Study, metric: str = "value", columns: int = 2) -> Chart:
    """The value against each parameter by itself; later trials are darker."""
    trials = valued(study)[-MOST_TRIALS:]
    low, high, outside = _window([t.value for t in trials], study)
    trials = [t for t in trials if low <= t.value <= high]
    title = metric + _left_out(outside)
    panels: list[alt.Chart] = []
    for name, dimension in study.space.items():
        rows = [
            {"x": _shown(dimension, t.setting[name]), "value": t.value, "trial": t.number}
            for t in trials
            if name in t.setting
        ]
        x = _axis("x", dimension, clip(printable(name), 40))
        y = alt.Y("value:Q", title=title if len(panels) % columns == 0 else None,
                  scale=alt.Scale(zero=False, domain=_padded(low, high)),
                  axis=alt.Axis(tickCount=5))  # fmt: skip
        dots = alt.Chart(alt.Data(values=rows)).mark_point(
            filled=True, size=30, color=COLOURS["accent"]
        )
        shade = alt.Opacity("trial:Q", scale=alt.Scale(range=[0.25, 0.9]), legend=None)
        panels.append(dots.encode(x=x, y=y, opacity=shade).properties(width=180, height=160))
    lines = [alt.hconcat(*panels[at : at + columns]) for at in range(0, len(panels), columns)]
    whole: Chart = alt.vconcat(*lines)
    return whole


def contour(
    study: Study, x: str | None = None, y: str | None = None, metric: str = "value"
) -> Chart:
    """The value over two parameters: dots that were tried, on a mean of the trials near by.

    Without names these are the two that matter most. Raises `ArgumentError` if there are not two.
    """
    names = [name for name in (x, y) if name is not None]
    for name in names:
        if name not in study.space:
            raise unknown("parameter", name, study.space)
    names += [name for name in _by_importance(study) if name not in names]
    if len(names) < 2:
        raise ArgumentError("a contour needs a study of two parameters")
    pair = names[:2]
    low, high, outside = _window([t.value for t in valued(study)], study)
    trials = [
        t for t in valued(study) if low <= t.value <= high and all(n in t.setting for n in pair)
    ][-MOST_TRIALS:]
    at = np.array([[_position(study.space[n], t.setting[n]) for n in pair] for t in trials])
    good = np.array([_goodness(t.value, low, high, study) for t in trials])
    middles = (np.arange(GRID) + 0.5) / GRID
    cells = []
    width = 1.5 * max(len(trials), 4) ** -0.5
    for a, b in itertools.product(middles, middles) if len(trials) else ():
        near = np.exp(-((at - (a, b)) ** 2).sum(axis=1) / (2 * width**2)) + 1e-12
        cells.append({"x": a - 0.5 / GRID, "x2": a + 0.5 / GRID, "y": b - 0.5 / GRID,
                      "y2": b + 0.5 / GRID, "good": float(near @ good / near.sum())})  # fmt: skip
    dots = [
        {"x": float(a), "y": float(b), "good": float(g)} for (a, b), g in zip(at, good, strict=True)
    ]
    titles = [clip(printable(name), 40) + " (" + " to ".join(_ends(study.space[name])) + ")"
              for name in pair]  # fmt: skip
    scale, bare = alt.Scale(domain=[0, 1]), alt.Axis(labels=False, grid=False)
    shade = alt.Opacity("good:Q", scale=alt.Scale(domain=[0, 1], range=[0.02, 0.6]), legend=None)
    field = alt.Chart(alt.Data(values=cells)).mark_rect(color=COLOURS["accent"], strokeWidth=0)
    tried = alt.Chart(alt.Data(values=dots)).mark_point(size=36, color=COLOURS["ink"])
    across = alt.X("x:Q", title=titles[0] + _left_out(outside), scale=scale, axis=bare)
    up = alt.Y("y:Q", title=titles[1], scale=scale, axis=bare)
    return alt.layer(
        field.encode(x=across, x2="x2:Q", y=up, y2="y2:Q", opacity=shade),
        tried.encode(x=across, y=up),
    ).properties(width=320, height=320)


def learning_curves(study: Study, resource: str = "epoch") -> Chart:
    """What was watched as training went on, a line for each trial; pruned ones are faded.

    Raises `ArgumentError` if no trial has a curve.
    """
    trials = [t for t in study.trials if any(math.isfinite(value) for _, value in t.curve)]
    if not trials:
        raise ArgumentError("no trial of the study has a learning curve")
    trials = sorted(trials, key=lambda t: (t.state != "done", t.number))[:MOST_CURVES]
    tops = [max(value for _, value in trial.curve if math.isfinite(value)) for trial in trials]
    _, high, outside = _window(tops, None)
    rows: list[dict[str, Any]] = [
        {"at": at, "value": value, "trial": trial.number, "state": trial.state}
        for trial in trials
        for at, value in _thinned(
            [at for at, _ in trial.curve], [value for _, value in trial.curve], MOST_POINTS
        )
        if value <= high
    ]
    y = _fall("value", "what is watched" + _left_out(outside), [r["value"] for r in rows])
    lines = alt.Chart(alt.Data(values=rows)).mark_line(
        strokeWidth=1.5, point=any(len(trial.curve) == 1 for trial in trials)
    )
    axis = alt.Axis(format=",d", grid=False, tickMinStep=1)
    chart: Chart = lines.encode(
        x=alt.X("at:Q", title=resource, axis=axis),
        y=y,
        detail="trial:N",
        color=_coloured(rows),
        opacity=alt.condition("datum.state === 'done'", alt.value(0.9), alt.value(0.35)),
    ).properties(width=400, height=260)
    return chart


def timeline(study: Study) -> Chart:
    """When each trial ran, by worker.

    Raises `ArgumentError` if no trial says when it ran.
    """
    timed = [t for t in study.trials if math.isfinite(t.started) and math.isfinite(t.seconds)]
    if not timed:
        raise ArgumentError("no trial of the study says when it ran")
    timed = timed[-MOST_LINES:]
    begun = min(trial.started for trial in timed)
    names = sorted({trial.worker for trial in timed})
    workers = dict(zip(names, _labels([name or "this process" for name in names]), strict=True))
    rows = [
        {"trial": trial.number, "from": trial.started - begun,
         "to": trial.started - begun + trial.seconds, "state": trial.state,
         "worker": workers[trial.worker]}
        for trial in timed
    ]  # fmt: skip
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(height={"band": 0.8}, opacity=0.8)
    order = [trial.number for trial in timed]
    many = len(order) > 30
    chart: Chart = bars.encode(
        x=alt.X("from:Q", title="seconds since the first trial", axis=alt.Axis(tickCount=6)),
        x2="to:Q",
        y=alt.Y("trial:O", sort=order, title="trial",
                axis=alt.Axis(grid=False, labels=not many)),
        color=_coloured(rows),
    ).properties(width=400, height=alt.Step(max(2, min(14, 420 // len(order)))))  # fmt: skip
    if len(workers) > 1:
        row = alt.Row("worker:N", title=None)
        chart = chart.encode(row=row).resolve_scale(y="independent")
    return chart


def _coloured(rows: Sequence[dict[str, Any]]) -> alt.Color:
    present = [kind for kind in KINDS if any(row["state"] == kind for row in rows)]
    scale = alt.Scale(domain=present, range=[KINDS[kind] for kind in present])
    return alt.Color("state:N", scale=scale)


def _window(values: Sequence[float], study: Study | None) -> tuple[float, float, int]:
    """(low, high, how many are outside): the better half three times over, at least."""
    if not len(values):
        return 0.0, 1.0, 0
    sign = -1.0 if study is not None and study.direction == "maximize" else 1.0
    falling = np.sort(sign * np.asarray(values, dtype=float))
    best, middle = falling[0], float(np.median(falling))
    worst = falling[falling <= middle + 4 * (middle - best)].max()
    low, high = sorted((float(sign * best), float(sign * worst)))
    return low, high, int((falling > worst).sum())


def _padded(low: float, high: float) -> list[float]:
    room = 0.05 * (high - low) or max(abs(low), 1.0) * 0.05
    return [low - room, high + room]


def _left_out(outside: int) -> str:
    return f" ({outside} worse outside the chart)" if outside else ""


def _goodness(value: float, low: float, high: float, study: Study) -> float:
    """1 for the best of a window, 0 for the worst."""
    share = (value - low) / (high - low) if high > low else 0.5
    return share if study.direction == "maximize" else 1 - share


def _by_importance(study: Study) -> list[str]:
    return list(dict.fromkeys([*importances(study), *study.space]))


def _is_range(dimension: Dimension) -> bool:
    return hasattr(dimension, "low")


def _position(dimension: Any, value: Any) -> float:
    """Where a value stands in its range, or an option among the others: in [0, 1]."""
    if _is_range(dimension):
        low, high, at = (
            math.log(v) if dimension.log else float(v)
            for v in (dimension.low, dimension.high, value)
        )
    else:
        labels = [dimension.stored(option) for option in dimension.options]
        low, high, at = 0.0, len(labels) - 1.0, float(labels.index(dimension.stored(value)))
    return (at - low) / (high - low) if high > low else 0.5


def _ends(dimension: Any) -> tuple[str, str]:
    if _is_range(dimension):
        return number(dimension.low), number(dimension.high)
    texts = [clip(printable(dimension.stored(option)), 20) for option in dimension.options]
    return texts[0], texts[-1]


def _shown(dimension: Any, value: Any) -> Any:
    """What an axis shows of a value."""
    return float(value) if _is_range(dimension) else clip(printable(dimension.stored(value)), 20)


def _axis(field: str, dimension: Any, title: str) -> alt.X:
    if not _is_range(dimension):
        options = [_shown(dimension, option) for option in dimension.options]
        short = 7 * sum(map(len, options)) < 160
        axis = alt.Axis(grid=False, labelLimit=100, labelAngle=0 if short else -40)
        return alt.X(f"{field}:N", title=title, sort=options, axis=axis)
    scale = alt.Scale(
        type="log" if dimension.log else "linear",
        domain=[dimension.low, dimension.high],
        nice=False,
        padding=6,
    )
    form = ".0e" if dimension.log and dimension.low < 1e-2 else alt.Undefined
    return alt.X(
        f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4, grid=False, format=form)
    )
