"""The report's charts, one function each, returning an Altair chart that a notebook shows as it is.

Names and labels are shown as text whatever they hold; big data is thinned to what an eye can use.
`to_svg` turns a chart into inline SVG whose colours follow the page's light or dark theme.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from minimand.drawing import COLOURS
from minimand.errors import ArgumentError, ShapeError
from minimand.report.text import clip, number, printable

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart

MOST_POINTS = 1000
MOST_CANDIDATES = 40
MOST_CLASSES = 20
_LABEL = 40

_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": None,
    "padding": {"left": 12, "right": 12, "top": 4, "bottom": 4},
    "view": {"stroke": None},
    "font": "system-ui, sans-serif",
    "axis": {
        "labelColor": COLOURS["ink"],
        "titleColor": COLOURS["muted"],
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titlePadding": 10,
        "labelPadding": 6,
        "labelLimit": 240,
        "labelFlush": False,
        "labelOverlap": True,
        "titleLimit": 420,
        "gridColor": COLOURS["line"],
        "domain": False,
        "ticks": False,
    },
    "legend": {
        "labelColor": COLOURS["ink"],
        "labelFontSize": 12,
        "orient": "top",
        "title": None,
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
        "columnPadding": 26,
        "offset": 8,
    },
}


def scores(
    candidates: Sequence[Mapping[str, Any]], metric: str, baseline: float | None = None
) -> Chart:
    """Cross-validated scores: a dot and an interval per candidate, the baseline as a dashed line.

    `candidates` are those of a run (best first); the ones without a score are left out.

    >>> one = {"name": "Huber, linear", "mean": 2.0, "low": 1.5, "high": 2.5, "versus_winner": None}
    >>> scores([one], "MAE", baseline=4.0).to_dict()["height"]
    {'step': 26}
    """
    scored = [c for c in candidates if c["mean"] is not None][:MOST_CANDIDATES]
    names = _labels([c["name"] for c in scored])
    kinds = ["winner" if c["versus_winner"] is None
             else "tied with the winner" if c["versus_winner"]["tied"] else "other"
             for c in scored]  # fmt: skip
    keys = ("mean", "low", "high")
    rows = [{"name": n, "kind": k} | {key: _finite(c[key]) for key in keys}
            for n, k, c in zip(names, kinds, scored, strict=True)]  # fmt: skip
    shown = [k for k in ("winner", "tied with the winner", "other") if k in kinds]
    colour = {"winner": COLOURS["accent"], "other": COLOURS["muted"]}
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(grid=False)),
        color=alt.Color(
            "kind:N",
            scale=alt.Scale(domain=shown, range=[colour.get(k, COLOURS["second"]) for k in shown]),
        ),
    )
    inside = baseline is not None and _near(baseline, rows)
    title = f"{metric}, mean over the folds"
    if baseline is not None:
        where = "dashed" if inside else "outside the chart"
        title += f" ({where}: the baseline, {number(baseline)})"
    axis = alt.X("mean:Q", title=title, axis=alt.Axis(tickCount=7),
                 scale=alt.Scale(zero=False, padding=12))  # fmt: skip
    layers = [
        base.mark_point(filled=True, size=80, opacity=1).encode(x=axis),
        base.mark_rule(strokeWidth=2, opacity=0.55).encode(x="low:Q", x2="high"),
    ]
    if inside:
        mark = alt.Chart(alt.Data(values=[{"mean": baseline}]))
        rule = mark.mark_rule(strokeDash=[5, 4], color=COLOURS["muted"], strokeWidth=1.5)
        layers.append(rule.encode(x=axis))
    return alt.layer(*layers).properties(width=460, height=alt.Step(26))


def learning_curves(history: Mapping[str, Sequence[float]]) -> Chart:
    """Train and validation loss by epoch; a dashed line marks the best epoch on validation.

    >>> learning_curves({"epoch": [1, 2], "train": [3, 1], "validation": [3, 2]}).to_dict()["width"]
    400
    """
    epochs = history["epoch"]
    parts = [part for part in ("train", "validation") if len(history.get(part, ()))]
    rows: list[dict[str, Any]] = [
        {"epoch": e, "value": v, "part": part}
        for part in parts
        for e, v in _thinned(epochs, history[part])
    ]
    x = _steps("epoch", epochs)
    lines = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2, point=_few(epochs))
        .encode(
            x=x,
            y=_fall("value", "loss", [r["value"] for r in rows]),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=parts, range=[COLOURS["muted"], COLOURS["accent"]]),
            ),
        )
    )
    layers: list[Any] = [lines]
    if "validation" in parts and len(pairs := _pairs(epochs, history["validation"])):
        best = alt.Chart(alt.Data(values=[{"epoch": pairs[pairs[:, 1].argmin(), 0]}]))
        rule = best.mark_rule(strokeDash=[5, 4], color=COLOURS["accent"])
        layers.insert(0, rule.encode(x=x))
    return alt.layer(*layers).properties(width=400, height=260)


def solver_curves(history: Mapping[str, Sequence[float]]) -> Chart:
    """The objective and how far it is from its optimum, by iteration of a solver.

    >>> solver_curves({"iteration": [0, 1], "value": [3.0, 1.0]}).to_dict()["vconcat"][0]["width"]
    400
    """
    titles = {"value": "objective", "gradient_norm": "gradient norm", "gap": "duality gap"}
    panels = {
        title: _thinned(history["iteration"], history[key])
        for key, title in titles.items()
        if len(history.get(key, ()))
    }
    return alt.vconcat(
        *(
            alt.Chart(alt.Data(values=[{"iteration": i, "value": v} for i, v in points]))
            .mark_line(strokeWidth=2, color=COLOURS["accent"], point=_few(points))
            .encode(
                x=_steps("iteration", history["iteration"]),
                y=_fall("value", title, [v for _, v in points]),
            )
            .properties(width=400, height=260 if len(panels) == 1 else 150)
            for title, points in panels.items()
        ),
        spacing=24,
    )


def predicted_against_actual(actual: np.ndarray, predicted: np.ndarray, target: str) -> Chart:
    """Predicted against actual values, at most 1,000 rows, with the line where both are equal.

    Raises `ShapeError` for unequal lengths, `ArgumentError` if no row has two finite numbers.

    >>> chart = predicted_against_actual(np.array([1.0, 2.0]), np.array([1.1, 1.9]), "price")
    >>> len(chart.to_dict()["layer"])
    2
    """
    points = _thinned(actual, predicted, MOST_POINTS)
    if not points:
        raise ArgumentError("predicted and actual values have no row where both are finite numbers")
    low, high = float(np.min(points)), float(np.max(points))
    name = clip(str(target), _LABEL)
    scale = alt.Scale(domain=[low, high], nice=True, zero=False, padding=6)
    x = alt.X("x:Q", scale=scale, title=f"actual {name}")
    y = alt.Y("y:Q", scale=scale, title=f"predicted {name}")
    ends = alt.Data(values=[{"x": low, "y": low}, {"x": high, "y": high}])
    diagonal = alt.Chart(ends).mark_line(strokeDash=[5, 4], color=COLOURS["muted"], strokeWidth=1.5)
    dots = alt.Chart(alt.Data(values=[{"x": a, "y": p} for a, p in points])).mark_point(
        filled=True, size=36, color=COLOURS["accent"], opacity=0.5 if len(points) < 300 else 0.35
    )
    return alt.layer(diagonal.encode(x=x, y=y), dots.encode(x=x, y=y)).properties(
        width=360, height=360
    )


def confusion(actual: np.ndarray, predicted: np.ndarray, classes: Sequence[Any]) -> Chart:
    """How many rows of each actual class were predicted as which; shade is the share of the row.

    Beyond 20 classes the rarest are pooled. Raises `ArgumentError` for a label not in `classes`.

    >>> chart = confusion(np.array(["a", "b"]), np.array(["a", "a"]), ["a", "b"])
    >>> [r["rows"] for r in chart.to_dict()["data"]["values"]]
    [1, 0, 1, 0]
    """
    true, guess = _codes(actual, classes), _codes(predicted, classes)
    names = _labels([str(c) for c in classes])
    if len(names) > MOST_CLASSES:
        frequent = np.argsort(-np.bincount(true, minlength=len(names)), kind="stable")
        kept = np.sort(frequent[: MOST_CLASSES - 1])
        position = np.full(len(names), len(kept))
        position[kept] = np.arange(len(kept))
        true, guess = position[true], position[guess]
        names = [names[k] for k in kept] + [f"({len(names) - len(kept)} rarer classes)"]
    k = len(names)
    table = np.zeros((k, k), int)
    np.add.at(table, (true, guess), 1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    values = [
        {"actual": names[i], "predicted": names[j], "rows": int(table[i, j]),
         "share": float(share[i, j]), "text": f"{table[i, j]:,}" if table[i, j] else "·"}
        for i in range(k) for j in range(k)
    ]  # fmt: skip
    cell = max(26, min(88, 420 // k))
    fits = 8 * max(map(len, names)) < cell
    axis = alt.Axis(grid=False, labelLimit=140, labelAngle=0 if fits else -40, labelOverlap=False)
    rows_axis = alt.Axis(grid=False, labelLimit=140, labelOverlap=False)
    base = alt.Chart().encode(
        x=alt.X("predicted:N", sort=names, title="predicted", axis=axis),
        y=alt.Y("actual:N", sort=names, title="actual", axis=rows_axis),
    )
    # At most half covered: the same ink stays legible on every cell, in both themes.
    shade = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.5]), legend=None)
    return alt.layer(
        base.mark_rect(color=COLOURS["accent"], cornerRadius=2).encode(opacity=shade),
        base.mark_text(color=COLOURS["ink"], fontSize=13 if k <= 10 else 10).encode(text="text:N"),
        data=alt.Data(values=values),
    ).properties(width=alt.Step(cell), height=alt.Step(cell))


def reliability(actual: np.ndarray, probability: np.ndarray, classes: Sequence[Any]) -> Chart:
    """How often what was predicted with a given probability came true, in at most ten bins.

    Two classes: the probability of the second. More: the probability of the predicted class.
    The bars are 95 % Wilson intervals; `probability` is [n, K] in the order of `classes`.

    >>> p = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> values = reliability(np.array([0, 1]), p, [0, 1]).to_dict()["layer"][1]["data"]["values"]
    >>> [(row["predicted"], row["observed"]) for row in values]
    [(0.1, 0.0), (0.8, 1.0)]
    """
    codes = _codes(actual, classes)
    binary = len(classes) == 2
    p = probability[:, 1] if binary else probability.max(axis=1)
    hit = codes == (1 if binary else probability.argmax(axis=1))
    edges = np.unique(np.quantile(p, np.linspace(0, 1, 11)[1:-1]))
    bins = np.digitize(p, edges)
    rows = [_wilson(p[bins == b], hit[bins == b]) for b in np.unique(bins)]
    what = f"“{clip(str(classes[1]), _LABEL)}”" if binary else "the predicted class"
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("predicted:Q", scale=scale, title=f"predicted probability of {what}")
    y = alt.Y("observed:Q", scale=scale, title="share that came true")
    ends = alt.Data(values=[{"predicted": v, "observed": v} for v in (0, 1)])
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    return alt.layer(
        alt.Chart(ends).mark_line(strokeDash=[5, 4], color=COLOURS["muted"], strokeWidth=1.5)
        .encode(x=x, y=y),
        base.mark_rule(color=COLOURS["accent"], strokeWidth=2, opacity=0.55)
        .encode(y=alt.Y("low:Q", scale=scale, title="share that came true"), y2="high"),
        base.mark_point(filled=True, size=70, color=COLOURS["accent"], opacity=1).encode(y=y),
    ).properties(width=320, height=320)  # fmt: skip


def to_svg(chart: Chart, label: str) -> str:
    """Inline SVG for an HTML page: titled for screen readers, coloured by the page's CSS variables.

    >>> svg = to_svg(learning_curves({"epoch": [1, 2], "train": [2.0, 1.0]}), "Loss by <epoch>")
    >>> "<title>Loss by &lt;epoch&gt;</title>" in svg
    True
    """
    import vl_convert

    svg = vl_convert.vegalite_to_svg(printable(chart.to_dict()), config=_CONFIG)
    variables = {f'="{colour}"': f'="var(--{name})"' for name, colour in COLOURS.items()}
    svg = re.sub("|".join(variables), lambda found: variables[found[0]], svg)
    text = html.escape(printable(label))
    head, end, body = svg.partition(">")
    return f'{head} role="img" aria-label="{text}"{end}<title>{text}</title>{body}'


def _near(baseline: float, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a baseline leaves the candidates room to differ visibly on a shared axis."""
    keys = ("mean", "low", "high")
    ends: list[float] = [r[key] for r in rows for key in keys if r[key] is not None]
    if not ends or not np.isfinite(baseline):
        return False
    low, high = min(ends), max(ends)
    return max(low - baseline, baseline - high) <= 3 * (high - low)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _labels(names: Sequence[str]) -> list[str]:
    """Names short enough for an axis, and still different from one another."""
    short = [clip(printable(str(n)), _LABEL) or "(empty)" for n in names]
    taken: Counter[str] = Counter()
    labels = []
    for name in short:
        taken[name] += 1
        labels.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return labels


def _codes(labels: np.ndarray, classes: Sequence[Any]) -> np.ndarray:
    position = {label: i for i, label in enumerate(classes)}
    try:
        return np.array([position[label] for label in np.asarray(labels).tolist()], int)
    except KeyError as error:
        raise ArgumentError(f"the label {error} is not among the classes of the run") from None


def _pairs(x: Any, y: Any) -> np.ndarray:
    """The [n, 2] pairs of which both sides are finite."""
    if len(x) != len(y):
        raise ShapeError(f"cannot draw {len(y)} values against {len(x)}; give as many of each")
    both: np.ndarray = np.column_stack([np.asarray(x, float), np.asarray(y, float)])
    finite: np.ndarray = both[np.isfinite(both).all(axis=1)]
    return finite


def _thinned(x: Any, y: Any, most: int = 400) -> list[list[float]]:
    """At most `most` finite pairs, evenly spread, the first and the last included."""
    pairs = _pairs(x, y)
    keep = np.linspace(0, len(pairs) - 1, min(len(pairs), most)).round().astype(int)
    return pairs[keep].tolist()  # type: ignore[no-any-return]


def _few(x: Sequence[Any]) -> bool:
    return len(x) <= 30


def _steps(name: str, steps: Sequence[float]) -> alt.X:
    """A horizontal axis that counts: never a tick between two steps."""
    few = [float(step) for step in steps] if len(steps) <= 10 else alt.Undefined
    axis = alt.Axis(values=few, format=",d", grid=False)
    return alt.X(f"{name}:Q", title=name, axis=axis, scale=alt.Scale(zero=False, nice=False))


def _fall(field: str, title: str, values: Sequence[float]) -> alt.Y:
    """A vertical axis for something that falls: logarithmic when it falls by much."""
    wide = bool(values) and min(values) > 0 and max(values) > 30 * min(values)
    scale = alt.Scale(type="log") if wide else alt.Scale(zero=False)
    powers = wide and min(values) < 1e-3
    axis = alt.Axis(tickCount=5, format=".0e") if powers else alt.Axis(tickCount=5)
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)


def _wilson(p: np.ndarray, hit: np.ndarray) -> dict[str, float]:
    n, share, z2 = len(hit), float(hit.mean()), 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    return {"predicted": float(p.mean()), "observed": share,
            "low": middle - half, "high": middle + half}  # fmt: skip
