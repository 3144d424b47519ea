"""Charts and the page of a study say what the trials say, and load nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from minimand.errors import ArgumentError, UnknownNameError
from minimand.report import importance as shares
from minimand.report import tuning_charts as charts
from minimand.report.charts import to_svg
from minimand.report.study_page import study_page
from minimand.tuning.selection import select
from minimand.tuning.space import Choice, Float, Int
from minimand.tuning.study import Study

HOSTILE = "<script>alert('x')</script>\x00"


def made(direction: str = "minimize", trials: int = 24) -> Study:
    """A study whose value is that of x alone; every third trial was pruned early."""
    space = {
        "x": Float(1e-4, 1.0, log=True),
        "units": Int(1, 9),
        HOSTILE: Choice("a", (1, 2)),
        "y": Float(0.0, 1.0).when(HOSTILE, "a"),
    }
    study = Study(space, sampler="random", direction=direction, seed=3)  # type: ignore[arg-type]
    for one in study.ask(trials):
        level = np.log10(one.setting["x"])
        curve = [(epoch, float(level + 5 + 1 / epoch)) for epoch in range(1, 6)]
        if one.number % 3 == 2:
            study.tell(one, (), curve[:2], "pruned", "left at the first rung")
        else:
            study.tell(one, [level - 0.1, level + 0.1], curve)
    return study


def data(chart: Any) -> list[dict[str, Any]]:
    """All rows that a chart shows, of all its layers and panels."""
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(node.get("data", {}).get("values", []))
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(chart.to_dict())
    return found


@pytest.fixture(scope="module")
def study() -> Study:
    return made()


@pytest.mark.parametrize(
    "draw",
    [
        charts.history, charts.parallel, charts.slices, charts.contour, shares.importance,
        charts.learning_curves, charts.timeline,
    ],
)  # fmt: skip
def test_every_chart_is_drawn(study: Study, draw: Callable[[Study], Any]) -> None:
    assert to_svg(draw(study), "title").startswith("<svg")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_so_far_is_that_of_the_trials_before(direction: str) -> None:
    study = made(direction)
    best: list[float] = []
    for trial in study.trials:
        if trial.state == "done":
            both = [*best[-1:], trial.value]
            best.append(max(both) if direction == "maximize" else min(both))
    assert [row["best"] for row in data(charts.history(study)) if "best" in row] == best


def test_pruned_trials_have_no_value_and_do_not_enter_the_history(study: Study) -> None:
    shown = {row["trial"] for row in data(charts.history(study))}
    assert shown <= {trial.number for trial in study.trials if trial.state == "done"}


def test_values_beyond_all_others_do_not_flatten_the_chart_and_are_counted() -> None:
    study = Study({"x": Float(0.0, 1.0)}, sampler="random")
    for one in study.ask(12):
        study.tell(one, 1e9 if one.number == 4 else one.setting["x"])
    chart = charts.history(study, "loss").to_dict()
    assert chart["layer"][0]["encoding"]["y"]["title"] == "loss (1 worse outside the chart)"
    assert max(row["value"] for row in chart["layer"][1]["data"]["values"]) <= 1


def test_parallel_coordinates_put_a_logarithmic_middle_in_the_middle() -> None:
    study = Study({"x": Float(1e-4, 1.0, log=True), "c": Choice("a", "b", "c")}, sampler="grid")
    study.run(lambda settings: [np.log(s["x"]) for s in settings], trials=100)
    at = {(row["axis"], row["trial"]): row["at"] for row in data(charts.parallel(study))
          if "trial" in row}  # fmt: skip
    for trial in study.trials:
        assert at["x", trial.number] == pytest.approx(
            {1e-4: 0.0, 1e-2: 0.5, 1.0: 1.0}[trial.setting["x"]]
        )
        assert at["c", trial.number] == {"a": 0.0, "b": 0.5, "c": 1.0}[trial.setting["c"]]


def test_importance_finds_the_parameter_that_makes_the_value(study: Study) -> None:
    found = shares.importances(study)
    assert next(iter(found)) == "x" and found["x"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert "y" not in found  # it is not in every trial


def test_importance_names_the_number_of_trials(study: Study) -> None:
    done = sum(trial.state == "done" for trial in study.trials)
    parts = {row["part"] for row in data(shares.importance(study))}
    assert parts == {f"all {done} trials", f"the better {(done + 1) // 2}"}


def test_a_range_that_bad_trials_dominate_is_told() -> None:
    assert shares.warning(made()) == ""
    study = Study({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, sampler="sobol")
    study.run(lambda all_: [100.0 * (s["x"] > 0.7) + s["y"] for s in all_], trials=32)
    assert shares.warning(study).startswith("Bad trials make 99 % of the variance")
    assert next(iter(shares.importances(study))) == "x"
    assert next(iter(shares.importances(study, better=True))) == "y"


def test_too_few_or_equal_trials_have_no_importance() -> None:
    study = Study({"x": Float(0.0, 1.0)}, sampler="random")
    study.run(lambda settings: [1.0 for _ in settings], trials=10)
    assert shares.importances(study) == {}
    with pytest.raises(ArgumentError, match="unequal"):
        shares.importance(study)


def test_pruned_learning_curves_are_faded(study: Study) -> None:
    chart = charts.learning_curves(study).to_dict()
    assert (
        chart["encoding"]["opacity"]["condition"]["value"] > chart["encoding"]["opacity"]["value"]
    )
    lengths: dict[str, set[int]] = {}
    for trial in study.trials:
        rows = [row for row in chart["data"]["values"] if row["trial"] == trial.number]
        lengths.setdefault(trial.state, set()).add(len(rows))
    assert lengths == {"done": {5}, "pruned": {2}}


def test_the_timeline_has_every_trial(study: Study) -> None:
    rows = data(charts.timeline(study))
    assert [row["trial"] for row in rows] == [trial.number for trial in study.trials]
    assert min(row["from"] for row in rows) == 0
    assert all(row["to"] >= row["from"] for row in rows)


def test_a_contour_knows_its_parameters(study: Study) -> None:
    with pytest.raises(UnknownNameError, match="x"):
        charts.contour(study, "xx")
    layer = charts.contour(study, "units", "x").to_dict()["layer"][1]
    assert layer["encoding"]["x"]["title"].startswith("units (1 to 9)")
    one = Study({"x": Float(0.0, 1.0)})
    with pytest.raises(ArgumentError, match="two parameters"):
        charts.contour(one)


class Page(HTMLParser):
    """Tags with their attributes, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.lasttag == "script" and data.strip():
            self.scripts.append(data)


def test_the_page_says_first_what_was_chosen_and_holds_every_trial(study: Study) -> None:
    selected = select(study.trials)
    html = study_page(study, selected, metric="loss", title=HOSTILE, seconds=2.0, stopped="Ctrl-C")
    head = re.search(r"<h1><bdi>(.*?)</bdi></h1>", html)
    assert head and head[1].startswith(f"loss {selected.score} by trial {selected.trial.number}")
    assert "Ctrl-C" in html
    page = Page(html)
    rows = [dict(a)["data-value"] for t, a in page.tags if t == "th" and a.get("scope") == "row"]
    assert sorted(map(int, filter(None, rows))) == [trial.number for trial in study.trials]
    assert rows[0] == str(selected.trial.number)
    assert sum(tag == "svg" for tag, _ in page.tags) == 7


def test_the_page_runs_its_own_script_and_no_other(study: Study) -> None:
    html = study_page(study, select(study.trials), title=HOSTILE, command=HOSTILE)
    page = Page(html)
    assert "\x00" not in html
    assert "alert" not in "".join(page.scripts)
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not [a for _, a in page.tags if "src" in a or (a.get("href") or "#")[0] != "#"]
    assert len(html) < 500_000
