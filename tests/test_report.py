"""The report: says the verdict right, loads nothing, stays small, shows hostile text as text."""

from __future__ import annotations

import copy
import re
import time
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from minimand.errors import ArgumentError, ShapeError
from minimand.report import charts, render, text, verdict

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "\"quotes\" & 'more' &lt; ]]>",
    "{{7*7}}{% raw %}",
    "=HYPERLINK('http://example.org')",
    "שלום עולם",
    "long" * 5000,
]
UNPRINTABLE = ["\x00", "\x07", "\x1b[31m", "\x85", "\ud800", "\ufffe", "\uffff", "\u202etxt.exe"]


class Page(HTMLParser):
    """What a browser would make of a page: its tags, its attributes and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def candidate(name: str, mean: float | None, versus: dict[str, Any] | None) -> dict[str, Any]:
    loss, model = name.split(", ")
    low, high = (None, None) if mean is None else (mean - 3, mean + 3)
    return {
        "name": name, "loss": loss, "model": model, "method": "Newton", "why": "smooth and convex",
        "settings": {"penalty": "L2(strength=0.01)"}, "mean": mean, "low": low, "high": high,
        "scores": [] if mean is None else [mean] * 5, "versus_winner": versus, "seconds": 0.1,
        "status": "left out" if mean is None else "scored",
        "reason": "the target is not a count" if mean is None else "",
    }  # fmt: skip


def regression() -> dict[str, Any]:
    tie = {"difference": 0.2, "low": -0.4, "high": 0.8, "tied": True}
    return {
        "format": 1, "minimand": "0.1.0", "created": "2026-11-20T12:00:00+00:00",
        "command": "minimand fit diabetes --metric mae", "seed": 0, "seconds": 12.3,
        "data": {
            "name": "diabetes", "rows": 442, "columns": 10, "target": "progression",
            "fingerprint": "3fa9c0d1", "task": "regression", "why_task": "214 different numbers.",
            "classes": None, "notes": ["2 rows were dropped."], "rows_train": 353, "rows_test": 89,
            "features": 10,
        },
        "metric": {"name": "MAE", "greater_is_better": False},
        "baseline": {"name": "median", "scores": [65.0] * 5, "mean": 65.4, "low": 62.0,
                     "high": 68.8, "test": {"value": 65.0, "low": 58.0, "high": 72.0}},
        "candidates": [
            candidate("Huber, linear", 43.2, None),
            candidate("Absolute, linear", 43.4, tie),
            candidate("Squared, mlp", 50.0, tie | {"difference": 6.8, "low": 4.0, "tied": False}),
            candidate("Poisson, linear", None, None),
        ],
        "winner": "Huber, linear", "runner_up": "Absolute, linear", "tied": ["Absolute, linear"],
        "test": {"value": 43.1, "low": 40.2, "high": 46.0, "rows": 89},
        "certificate": {"kind": "duality gap", "value": 1e-9, "sentence": "Nothing is lower."},
        "coefficients": [{"feature": f"feature {k}", "value": k / 7, "per_unit": None}
                         for k in range(40)],
        "findings": [{"what": "Outliers.", "evidence": "Huber wins.", "advice": "Look at them."}],
        "stopped": "", "recipe": {"loss": {"type": "Huber"}}, "versions": {"numpy": "2.3.1"},
    }  # fmt: skip


def classification(classes: list[Any]) -> dict[str, Any]:
    run = regression()
    run["data"] |= {"task": "binary" if len(classes) == 2 else "multiclass", "classes": classes}
    run["metric"] = {"name": "accuracy", "greater_is_better": True}
    return run


def numbers(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"actual": rng.normal(size=n), "predicted": rng.normal(size=n)}


def labels(classes: list[Any], n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, len(classes), (2, n))
    actual, predicted = np.array(classes, dtype=object)[codes]
    probability = rng.dirichlet(np.ones(len(classes)), n)
    return {"actual": actual, "predicted": predicted, "probability": probability}


SOLVER = {"iteration": [0, 1, 2], "value": [3.0, 1.0, 0.9], "gradient_norm": [1.0, 0.1, 1e-9]}
NETWORK = {"epoch": [1, 2, 3], "train": [3.0, 2.0, 1.0], "validation": [3.0, 2.5, 2.6]}


def test_verdict_is_the_sentence_a_person_would_write() -> None:
    assert verdict(regression()) == (
        "Huber, linear wins: MAE 43.1 [40.2, 46.0] on 89 test rows; "
        "always predicting the median would give 65.0; "
        "the runner-up Absolute, linear is statistically tied with it."
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"runner_up": None}, "no other candidate was scored."),
        ({"tied": []}, "in cross-validation it beats the runner-up Absolute, linear."),
    ],
)
def test_verdict_without_a_tie(change: dict[str, Any], says: str) -> None:
    assert verdict(regression() | change).endswith(says)


@pytest.mark.parametrize(
    ("greater_is_better", "baseline", "doubt"),
    [
        (False, 65.0, None),
        (False, 43.0, "no better"),
        (False, 45.0, "uncertain"),
        (True, 20.0, None),
        (True, 65.0, "no better"),
        (True, 41.0, "uncertain"),
    ],
)
def test_verdict_doubts_a_gain_that_the_test_part_does_not_show(
    greater_is_better: bool, baseline: float, doubt: str | None
) -> None:
    run = regression()
    run["metric"]["greater_is_better"] = greater_is_better
    run["baseline"]["test"]["value"] = baseline
    found = [word for word in ("no better", "uncertain") if word in verdict(run)]
    assert found == ([doubt] if doubt else [])


def test_page_shows_every_part_of_the_evidence() -> None:
    page = Page(render(regression() | {"stopped": "Ctrl-C"}, SOLVER, numbers(89)))
    for part in (
        "Huber, linear wins: MAE 43.1 [40.2, 46.0] on 89 test rows",
        "12.3 s", "353 train + 89 test",
        "43.4 [40.4, 46.4]", "0.2 [−0.4, 0.8]", "tied", "smooth and convex", "L2(strength=0.01)",
        "Poisson, linear, left out: the target is not a count", "ended early (Ctrl-C)",
        "Nothing is lower.", "Outliers.", "Look at them.", "2 rows were dropped.",
        "214 different numbers.", "minimand fit diabetes --metric mae", '"type": "Huber"',
        "numpy 2.3.1", "3fa9c0d1", "Objective by iteration", "Predicted against actual",
    ):  # fmt: skip
        assert part in page.text
    assert "The 30 largest of 40" in page.text
    assert "feature 39" in page.text
    assert "feature 9" not in page.text


def test_page_draws_only_the_figures_it_has_evidence_for() -> None:
    def titles(html: str) -> list[str]:
        return re.findall(r"<figure[^>]*><h2>(.*?)</h2>", html)

    classes = ["no", "yes"]
    certain = labels(classes, 50)
    uncertain = {k: certain[k] for k in ("actual", "predicted")}
    assert titles(render(regression(), {}, numbers(20))) == ["Scores", "Predicted against actual"]
    run = classification(classes)
    assert titles(render(run, {}, uncertain)) == ["Scores", "Confusion matrix"]
    assert titles(render(run, NETWORK, certain)) == [
        "Scores", "Confusion matrix", "Reliability", "Loss by epoch"
    ]  # fmt: skip


def test_page_loads_nothing_and_runs_nothing() -> None:
    html = render(classification(["no", "yes"]), NETWORK, labels(["no", "yes"], 100))
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    loading = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}
    assert not [a for a in page.attributes if a[0] in loading or a[0].startswith("on")]
    assert "url(" not in html
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\"' ]+", html)) == {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
    }  # fmt: skip
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_page_can_be_used_with_a_screen_reader() -> None:
    html = render(regression(), SOLVER, numbers(89))
    page = Page(html)
    assert ("lang", "en") in page.attributes
    headings = [t for t in page.tags if re.fullmatch(r"h[1-6]", t)]
    assert headings.count("h1") == 1
    assert headings[0] == "h1"
    assert html.count("<th ") == html.count('<th scope="')
    drawings = re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        svg = ElementTree.fromstring(drawing)
        assert svg.get("role") == "img"
        assert svg.get("aria-label") == svg[0].text
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_charts_follow_the_theme_of_the_page() -> None:
    html = render(classification(["no", "yes"]), NETWORK, labels(["no", "yes"], 100))
    used = set(re.findall(r'="var\(--(\w+)\)"', html))
    assert used == set(charts.COLOURS)
    for name in used:
        assert len(re.findall(rf"--{name}: *#", html)) == 3  # light, dark, print
    drawings = "".join(re.findall(r"<svg .*?</svg>", html, re.DOTALL))
    assert set(re.findall(r'(?:fill|stroke)="(.*?)"', drawings)) <= {
        "none", "transparent", *(f"var(--{name})" for name in used)
    }  # fmt: skip


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_text_is_shown_as_text(word: str) -> None:
    plain, dull = render_with(word), render_with("dull")
    page = Page(plain)
    assert page.tags == Page(dull).tags
    assert [name for name, _ in page.attributes] == [name for name, _ in Page(dull).attributes]
    assert page.text.count(word[:30]) >= 8
    ElementTree.fromstring(max(re.findall(r"<svg .*?</svg>", plain, re.DOTALL), key=len))


@pytest.mark.parametrize("word", UNPRINTABLE, ids=ascii)
def test_unprintable_text_cannot_stop_or_disguise_the_page(word: str) -> None:
    html = render_with(word)
    assert "\ufffd" in html
    for character in word:
        assert character.isprintable() or character not in html
    html.encode("utf-8")


@pytest.mark.parametrize("word", [w for w in HOSTILE if len(w) < 100])
def test_a_drawing_is_labelled_with_the_text_itself(word: str) -> None:
    svg = ElementTree.fromstring(charts.to_svg(charts.learning_curves(NETWORK), word))
    assert (svg.get("aria-label"), svg[0].text) == (word, word)


def render_with(word: str) -> str:
    """A page in which everything that can come from the data is `word`."""
    classes = [word, word + "2"]
    run = classification(classes)
    run["data"] |= {"name": word, "target": word, "why_task": word, "notes": [word]}
    run["baseline"]["name"] = word
    run["command"] = word
    run["findings"] = [{"what": word, "evidence": word, "advice": word}]
    run["coefficients"] = [{"feature": word, "value": 1.0, "per_unit": 2.0}]
    run["candidates"][3]["reason"] = word
    run["recipe"] = {"columns": [word]}
    return render(run, NETWORK, labels(classes, 40))


def test_page_stays_small_and_quick_whatever_the_data() -> None:
    long = "<&>" * 1000
    run = regression()
    run["data"]["target"] = long
    run["data"]["notes"] = [f"{k}{long}" for k in range(5000)]
    run["coefficients"] = [{"feature": long, "value": 1.0, "per_unit": 2.0}] * 5000
    run["recipe"] = {"columns": [long] * 1000}
    run["candidates"] += [copy.deepcopy(run["candidates"][2]) for _ in range(1000)]
    epochs = np.arange(100_000)
    history = {"epoch": epochs, "train": 1 / (1.0 + epochs), "validation": np.ones(100_000)}
    started = time.process_time()
    html = render(run, history, numbers(200_000))
    assert time.process_time() - started < 20
    assert len(html.encode()) < 1_500_000
    assert "1,000 of the 200,000 test rows" in html
    assert "803 more are in run.json" in html

    classes = [f"{k}{long}" for k in range(500)]
    run["data"] |= {"task": "multiclass", "classes": classes}
    assert len(render(run, history, labels(classes, 20_000)).encode()) < 1_500_000


def test_same_run_gives_the_same_page() -> None:
    assert render(regression(), SOLVER, numbers(89)) == render(regression(), SOLVER, numbers(89))


def test_confusion_counts_as_scikit_learn_does() -> None:
    classes = ["c", "a", "b"]
    data = labels(classes, 300)
    rows = charts.confusion(data["actual"], data["predicted"], classes).to_dict()["data"]["values"]
    expected = confusion_matrix(data["actual"], data["predicted"], labels=classes)
    assert [r["rows"] for r in rows] == expected.ravel().tolist()


def test_confusion_pools_the_rarest_of_many_classes() -> None:
    actual = np.concatenate([np.repeat(np.arange(19), 3), np.arange(19, 50)])
    rows = charts.confusion(actual, actual, list(range(50))).to_dict()["data"]["values"]
    assert len(rows) == 20 * 20
    assert [r["rows"] for r in rows if r["actual"] == r["predicted"]] == [3] * 19 + [31]
    assert rows[-1]["actual"] == "(31 rarer classes)"


def test_labels_that_look_alike_when_cut_stay_apart() -> None:
    classes = ["x" * 100 + "1", "x" * 100 + "2", "\x01", "\x02", ""]
    data = labels(classes, 100)
    rows = charts.confusion(data["actual"], data["predicted"], classes).to_dict()["data"]["values"]
    assert len({r["actual"] for r in rows}) == 5


def test_a_label_that_is_no_class_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"the label 'maybe' is not among the classes"):
        charts.confusion(np.array(["maybe"]), np.array(["yes"]), ["no", "yes"])


def test_reliability_bins_as_scikit_learn_and_brackets_as_scipy() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(1000)
    y = (rng.random(1000) < p**2).astype(int)
    chart = charts.reliability(y, np.column_stack([1 - p, p]), [0, 1])
    rows = chart.to_dict()["layer"][1]["data"]["values"]
    observed, predicted = calibration_curve(y, p, n_bins=10, strategy="quantile")
    assert [r["observed"] for r in rows] == pytest.approx(observed)
    assert [r["predicted"] for r in rows] == pytest.approx(predicted)
    for row in rows:
        peer = binomtest(round(100 * row["observed"]), 100).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((peer.low, peer.high), abs=1e-5)


def test_reliability_of_many_classes_is_that_of_the_predicted_one() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    chart = charts.reliability(np.array(["a", "b", "c"]), p, ["a", "b", "c"])
    rows = chart.to_dict()["layer"][1]["data"]["values"]
    assert [(r["predicted"], r["observed"]) for r in rows] == [
        (pytest.approx(0.7), 0.5), (pytest.approx(0.8), 1.0)
    ]  # fmt: skip


def test_scatter_is_thinned_evenly_and_ignores_what_is_not_finite() -> None:
    actual = np.arange(5001.0)
    actual[7] = np.nan
    chart = charts.predicted_against_actual(actual, 2 * actual, "y").to_dict()
    drawn = [row["x"] for row in chart["layer"][1]["data"]["values"]]
    assert len(drawn) == 1000
    assert (drawn[0], drawn[-1]) == (0.0, 5000.0)
    assert set(np.diff(drawn)) <= {5.0, 6.0}


def test_a_scatter_of_nothing_is_refused_in_a_sentence() -> None:
    with pytest.raises(ShapeError, match="cannot draw 2 values against 3"):
        charts.predicted_against_actual(np.zeros(3), np.zeros(2), "y")
    with pytest.raises(ArgumentError, match="no row where both are finite"):
        charts.predicted_against_actual(np.array([1.0, np.nan]), np.array([np.inf, 2.0]), "y")


def test_learning_curves_mark_the_best_validation_epoch() -> None:
    rule = charts.learning_curves(NETWORK).to_dict()["layer"][0]
    assert rule["mark"]["type"] == "rule"
    assert rule["data"]["values"] == [{"epoch": 2.0}]


def test_epochs_are_counted_in_whole_numbers() -> None:
    svg = ElementTree.fromstring(charts.to_svg(charts.learning_curves(NETWORK), "loss"))
    words = [e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert [w for w in words if w in ("1", "2", "3")] == ["1", "2", "3"]


def test_a_baseline_far_away_does_not_squeeze_the_candidates() -> None:
    def marks(baseline: float) -> list[str]:
        chart = charts.scores(regression()["candidates"], "MAE", baseline).to_dict()
        return [layer["mark"]["type"] for layer in chart["layer"]]

    assert marks(60.0) == ["point", "rule", "rule"]
    assert marks(6000.0) == ["point", "rule"]
    assert marks(float("nan")) == ["point", "rule"]


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        ({"value": 214530.4, "low": 208000.0, "high": 221000.0}, "214,530 [208,000, 221,000]"),
        ({"value": -0.00001, "low": -0.02, "high": 0.02}, "0.000 [−0.020, 0.020]"),
        ({"value": 0.5, "low": 0.5, "high": 0.5}, "0.5 [0.5, 0.5]"),
        ({"value": 3.0, "low": None, "high": None}, "3"),
        ({"value": float("nan"), "low": float("nan"), "high": float("nan")}, "– [–, –]"),
        ({"value": float("inf"), "low": 1.0, "high": float("inf")}, "∞ [1, ∞]"),
    ],
)
def test_scores_have_the_digits_that_their_interval_deserves(
    score: dict[str, Any], shown: str
) -> None:
    assert text.interval(score) == shown
