"""The report page: one HTML file that opens offline, needs no script and shows the verdict first.

Everything that comes from the data (column names, labels, file names) is hostile text: it is made
printable, clipped, and escaped by the template. The page's own policy forbids loading anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from minimand.report import charts, text
from minimand.report.tiles import tiles

MOST_ROWS = 200
MOST_COEFFICIENTS = 30
_MOST_CHARACTERS = 500
_BRIEF = 80
_MOST_RECIPE = 20_000


def render(
    run: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    predictions: Mapping[str, np.ndarray],
    mistakes: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> str:
    """One self-contained HTML page about a run, under 1.5 MB whatever the data.

    `run` is what `run.json` holds. `history` has `epoch`, `train`, `validation` (a network) or
    `iteration`, `value` and `gradient_norm` or `gap` (a solver), or nothing. `predictions` has
    `actual` [n] and `predicted` [n] on the test part in the user's terms, and for classes also
    `probability` [n, K]. `mistakes` has, of images, `images` [k, height, width, channels] of bytes
    and `places` [k], which rows of the predictions they are.

    Raises `ArgumentError` if a predicted or actual label is not among the run's classes.
    """
    facts = text.printable(run)
    winner = next(c for c in facts["candidates"] if c["name"] == facts["winner"])
    recipe = json.dumps(facts["recipe"], indent=2, ensure_ascii=False)
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            run=facts,
            winner=winner,
            headline=headline(facts),
            context=context(facts),
            scored=[c for c in facts["candidates"] if c["scores"]],
            unscored=[c for c in facts["candidates"] if not c["scores"]],
            most=MOST_ROWS,
            coefficients=_largest(facts.get("coefficients") or ()),
            figures=[Figure(*f) for f in _figures(run, winner, history, predictions)],
            tiles=tiles(mistakes, predictions),
            shape=facts["data"].get("shape"),
            # The whole recipe is in run.json; Markup keeps the general, shorter limit off this one.
            recipe=Markup.escape(text.clip(recipe, _MOST_RECIPE)),
            spread=lambda score, key="value": text.interval(score, key, _decimals(facts)),
        )
    )


def environment() -> jinja2.Environment:
    """Templates that escape what they are given, and clip it."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("minimand", "report"),
        autoescape=True,
        finalize=_short,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": text.number,
        "duration": text.duration,
        "brief": lambda name: text.clip(str(name), _BRIEF),
    }
    return made


def verdict(run: Mapping[str, Any]) -> str:
    """The outcome of a run in one sentence: the winner, its test score, baseline and runner-up.

    >>> verdict({
    ...     "winner": "Huber, linear", "runner_up": None, "tied": [],
    ...     "metric": {"name": "MAE", "greater_is_better": False},
    ...     "test": {"value": 43.1, "low": 40.2, "high": 46.0, "rows": 89},
    ...     "baseline": {"name": "median", "test": {"value": 65.0}},
    ... }).partition("; ")[0]
    'Huber, linear wins: MAE 43.1 [40.2, 46.0] on 89 test rows'
    """
    return f"{headline(run)}; {context(run)}."


def headline(run: Mapping[str, Any]) -> str:
    """The first half of the verdict: who wins, with what score."""
    score = text.interval(run["test"], decimals=_decimals(run))
    rows = run["test"]["rows"]
    return (
        f"{run['winner']} wins: {run['metric']['name']} {score} on {rows:,} test "
        f"row{'s' if rows != 1 else ''}"
    )


def context(run: Mapping[str, Any]) -> str:
    """The second half of the verdict: against the baseline and against the runner-up."""
    baseline = run["baseline"]["test"]["value"]
    sentence = (
        f"always predicting the {text.clip(run['baseline']['name'], _BRIEF)} would give "
        f"{text.number(baseline, _decimals(run))}{_doubt(run, baseline)}"
    )
    second = run["runner_up"]
    if second is None:
        return f"{sentence}; no other candidate was scored"
    if second in run["tied"]:
        return f"{sentence}; the runner-up {second} is statistically tied with it"
    return f"{sentence}; in {judged(run)} it beats the runner-up {second}"


def judged(run: Mapping[str, Any]) -> str:
    """How the candidates were judged: older records, all of tables, do not say."""
    return str(run.get("judged", "cross-validation"))


def _doubt(run: Mapping[str, Any], baseline: float) -> str:
    test = run["test"]
    sign = 1 if run["metric"]["greater_is_better"] else -1
    if not sign * (test["value"] - baseline) > 0:
        return ", so the model is no better than that"
    inside = None not in (test["low"], test["high"]) and test["low"] <= baseline <= test["high"]
    return ", which lies inside the interval: the gain is uncertain" if inside else ""


def _decimals(run: Mapping[str, Any]) -> int | None:
    """The decimals of every score on the page: those that the test interval deserves."""
    return text.digits(run["test"]["low"], run["test"]["high"])


def _largest(coefficients: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(coefficients, key=lambda c: -abs(c["value"]))[:MOST_COEFFICIENTS]


def _short(value: Any) -> Any:
    """What the template prints for `value`: text of bounded length; markup of ours as it is."""
    if isinstance(value, Markup):
        return value
    return text.clip(text.printable(str(value)), _MOST_CHARACTERS)


class Figure:
    """A chart drawn for the page, under its title, with a sentence that says how to read it."""

    def __init__(self, title: str, chart: charts.Chart, caption: str) -> None:
        self.title = title
        self.caption = caption
        self.svg = Markup(charts.to_svg(chart, f"{title}. {caption}"))


def _figures(
    run: Mapping[str, Any],
    winner: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    predictions: Mapping[str, np.ndarray],
) -> Iterator[tuple[str, charts.Chart, str]]:
    """Title, chart and caption of every figure that this run has the evidence for.

    `run` is the run as it came: its classes must equal the labels of the predictions.
    """
    yield (
        "Scores",
        charts.scores(run["candidates"], run["metric"]["name"], run["baseline"]["mean"]),
        f"{run['metric']['name']} in {judged(run)} with its interval; "
        f"{'greater' if run['metric']['greater_is_better'] else 'smaller'} is better.",
    )
    actual, predicted = predictions["actual"], predictions["predicted"]
    if run["data"]["task"] not in ("binary", "multiclass"):
        most = charts.MOST_POINTS
        shown = f"{most:,} of the " if len(actual) > most else ""
        yield (
            "Predicted against actual",
            charts.predicted_against_actual(actual, predicted, run["data"]["target"]),
            f"{shown}{len(actual):,} test rows; on the dashed line both are equal.",
        )
    else:
        classes = run["data"]["classes"]
        yield (
            "Confusion matrix",
            charts.confusion(actual, predicted, classes),
            "Test rows by actual and predicted class; shaded by the share of their actual class.",
        )
        if "probability" in predictions:
            yield (
                "Reliability",
                charts.reliability(actual, predictions["probability"], classes),
                "Test rows in bins of equal size, with 95 % intervals; "
                "on the dashed line probabilities mean what they say.",
            )
    if len(history.get("epoch", ())) > 1:
        yield (
            "Loss by epoch",
            charts.learning_curves(history),
            f"{winner['loss']} loss; the dashed line is the best epoch on validation, "
            "whose parameters are kept.",
        )
    if len(history.get("iteration", ())) > 1:
        yield (
            "Objective by iteration",
            charts.solver_curves(history),
            f"Mean {winner['loss']} loss plus penalty, minimised by {winner['method']}.",
        )
