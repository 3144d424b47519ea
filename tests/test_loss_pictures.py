"""Losses shown: words from their cards, pictures for a terminal and as charts, and the command."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimand import cli
from minimand.component import catalogue
from minimand.drawing import braille
from minimand.errors import ArgumentError
from minimand.losses import (
    CrossEntropy,
    Dice,
    Hinge,
    Huber,
    Logistic,
    Loss,
    Poisson,
    PPOClip,
    Squared,
    ZeroOne,
)
from minimand.report.cards import facts, fields, summary
from minimand.report.loss_charts import chart, curves, plain, rendered, undrawable

LOSSES: list[Any] = [made() for made in catalogue("loss").values()]
DRAWN = [loss for loss in LOSSES if not undrawable(loss)]
each_drawn = pytest.mark.parametrize("loss", DRAWN, ids=str)


def drawn(loss: Loss, what: str) -> tuple[Any, Any]:
    (curve,) = [c for c in curves(loss) if c.what == what]
    return curve.x, curve.y


# --- curves -----------------------------------------------------------------------------------


@each_drawn
def test_every_curve_is_finite_and_each_slope_is_that_of_the_curve_before(loss: Loss) -> None:
    """Finite differences of the drawn values, away from kinks, find the drawn gradients."""
    found: dict[float, dict[str, Any]] = {}
    for curve in curves(loss):
        assert np.all(np.isfinite(curve.y)) and np.all(np.diff(curve.x) > 0)
        found.setdefault(curve.target, {"x": curve.x})[curve.what] = curve.y
    for of in found.values():
        for what, slope in (("value", "gradient"), ("gradient", "curvature")):
            if slope in of:
                error = np.abs(np.gradient(of[what], of["x"]) - of[slope])[1:-1]
                assert np.median(error) <= 1e-2 * (1 + np.abs(of[slope]).max())


def test_a_picture_is_as_wide_as_the_loss_asks_for() -> None:
    assert drawn(Huber(delta=10.0), "value")[0][[0, -1]].tolist() == [-20.0, 20.0]
    assert drawn(Squared(), "value")[0][[0, -1]].tolist() == [-4.0, 4.0]
    assert {c.target for c in curves(Poisson())} == {0.0, 1.0, 2.0}


def test_by_hand() -> None:
    x, y = drawn(Squared(), "value")
    np.testing.assert_allclose(y, x**2)
    x, y = drawn(Hinge(), "gradient")
    np.testing.assert_array_equal(y, np.where(x < 1, -1.0, 0.0))
    assert {c.what for c in curves(ZeroOne())} == {"value"}  # it has no slope to draw


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (CrossEntropy(), "several scores for each example"),
        (Dice(), "examples act together"),
        (PPOClip(), "several target columns"),
    ],
    ids=str,
)
def test_what_has_no_picture_says_why(loss: Loss, reason: str) -> None:
    for draw in (chart, plain, lambda loss: rendered(loss, "svg")):
        with pytest.raises(ArgumentError, match=reason):
            draw(loss)


# --- Braille ------------------------------------------------------------------------------------


def dots(lines: list[str]) -> np.ndarray:
    """The dots of Braille characters, as Unicode 15 numbers them (chapter 21.1)."""
    offsets = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    made = np.zeros((4 * len(lines), 2 * len(lines[0])), dtype=bool)
    for i, line in enumerate(lines):
        for j, letter in enumerate(line):
            for bit, (row, column) in enumerate(offsets):
                made[4 * i + row, 2 * j + column] = bool((ord(letter) - 0x2800) >> bit & 1)
    return made


def test_braille_draws_a_line_from_corner_to_corner() -> None:
    found = dots(braille(np.linspace(0, 1, 50), width=4, height=2))
    assert found.shape == (8, 8)
    assert np.all(found[np.arange(8), np.arange(8)[::-1]])
    assert found.any(axis=0).all() and found.any(axis=1).all()


def test_a_jump_is_drawn_without_a_gap_and_a_constant_in_the_middle() -> None:
    assert dots(braille(np.repeat([0.0, 1.0], 120), width=10, height=5)).any(axis=1).all()
    flat = dots(braille(np.ones(9), width=3, height=2))
    assert flat[4].all() and flat.sum() == 6


def test_plain_text_fits_a_terminal_and_tells_the_range() -> None:
    lines = plain(Huber(delta=2.0)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split("   ")[0] == "value, 0 to 6"  # ½ 2² + 2 (4 - 2)
    assert "gradient, -2 to 2" in lines[0] and "curvature, 0 to 1" in lines[0]
    assert lines[-1] == "over the residual r = z - y"
    assert plain(Poisson()).endswith("over the score z, at y = 1")


# --- charts -------------------------------------------------------------------------------------


def test_a_chart_holds_three_panels_and_a_line_for_each_target() -> None:
    panels = chart(Poisson()).to_dict()["hconcat"]
    assert [p["encoding"]["y"]["title"] for p in panels] == ["value", "gradient", "curvature"]
    rows = panels[0]["data"]["values"]
    assert {r["target"] for r in rows} == {"0", "1", "2"}
    for row in rows[:: len(rows) // 7]:
        assert row["y"] == pytest.approx(math.exp(row["x"]) - float(row["target"]) * row["x"])


@pytest.mark.parametrize(("form", "start"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_charts_are_written_in_each_form(form: str, start: bytes) -> None:
    assert rendered(Logistic(), form).startswith(start)


def test_a_page_loads_nothing() -> None:
    class Sources(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not (tag in ("script", "link") and {"src", "href"} & dict(attrs).keys())

    page = rendered(Logistic(), "html").decode()
    Sources().feed(page)
    assert "vega" in page


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_every_loss_can_be_told_in_words(loss: Loss) -> None:
    text = summary(type(loss))
    assert text and ">>>" not in text and "Formula:" not in text and "Source:" not in text
    assert [name for name, _, _ in fields(loss)] == list(loss._hints)
    assert f"target: {loss.card.target}" in list(facts(loss))


def test_facts_follow_the_hyper_parameters() -> None:
    assert "lipschitz: 3" in list(facts(Huber(delta=3.0)))
    assert "bounded influence: no" in list(facts(Squared()))


def test_fields_tell_the_allowed_set() -> None:
    assert next(iter(fields(CrossEntropy()))) == ("label_smoothing", "in [0, 1)", "0.0")
    (per,) = [allowed for name, allowed, _ in fields(Dice()) if name == "per"]
    assert per == "image or batch"


# --- the command ----------------------------------------------------------------------------------


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["minimand", "losses", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(monkeypatch, capsys, "show", "huber(delta=2)")
    assert (status, err) == (0, "")
    for part in (Huber.card.formula, Huber.card.source, Huber.card.use, "lipschitz: 2"):
        assert part in out
    assert "2.0 (in (0, inf))" in out and "value, 0 to 6" in out
    assert "several scores for each" in run(monkeypatch, capsys, "show", "cross_entropy")[1]


@pytest.mark.parametrize("name", ["huber.svg", "huber.PNG", "huber.html"])
def test_show_writes_a_chart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    status, out, _ = run(monkeypatch, capsys, "show", "huber", "--chart", name)
    assert status == 0 and f"Chart: {name}" in out
    assert Path(name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "hubber"], "unknown loss 'hubber'; did you mean 'Huber'?"),
        (["show", "huber(delta=-1)"], "it must lie in (0, inf)"),
        (["show", "huber", "--chart", "huber.pdf"], "unknown form of a chart 'pdf'"),
        (["show", "huber", "--chart", "nowhere/huber.svg"], "cannot write 'nowhere/huber.svg'"),
        (["show", "dice", "--chart", "dice.svg"], "examples act together"),
        (["shw"], "No such command 'shw'"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert status == 2 and sentence in err and err.count("\n") == 1
    assert not out and not list(Path().iterdir())


@pytest.mark.timed
def test_the_list_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from minimand.cli import main; sys.argv = ['minimand', 'losses']\n"
        "try: main()\n"
        "finally: print(*{'jax', 'altair', 'polars', 'sklearn', 'scipy'} & {*sys.modules}, 'end')"
    )
    shares = []
    for _ in range(3):
        before = _children()
        subprocess.run([sys.executable, "-c", "import numpy, rich.table, typer"], check=True)
        libraries = _children() - before
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        shares.append((_children() - before - libraries) / libraries)
        assert ended.stdout.splitlines()[-1].strip() == "end"
        if shares[-1] < 4:
            return
    pytest.fail(f"it took {shares} times what importing its libraries takes; the limit is 4")


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
