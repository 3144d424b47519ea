"""Schedules shown: pictures for a terminal and as charts, and the command."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from minimand import cli
from minimand.component import catalogue
from minimand.drawing import written
from minimand.schedules import (
    Constant,
    Cosine,
    Linear,
    OneCycle,
    Piecewise,
    ReduceOnPlateau,
    Restarts,
    Schedule,
    Warmup,
)
from minimand.schedules.base import curve, reach

SCHEDULES = [made() for made in catalogue("schedule").values()]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


@each_schedule
def test_every_schedule_plots_itself(schedule: Schedule) -> None:
    what, x, y = curve(schedule)
    assert np.all(np.isfinite(y)) and np.all(np.diff(x) > 0) and y.max() > 0.98
    assert isinstance(schedule, Constant) == (y.min() == y.max())
    lines = schedule.sketch().splitlines()
    assert max(map(len, lines)) <= 80 and lines[-1] == f"over the {what}"
    drawn = schedule.plot().to_dict()
    assert drawn["title"] == str(schedule)
    assert [row["y"] for row in drawn["data"]["values"]] == y.tolist()


def test_a_picture_ends_where_the_schedule_does() -> None:
    assert reach(Warmup(Linear(decay_steps=70), steps=30)) == 100
    assert reach(OneCycle(steps=50)) == 50
    assert reach(Cosine(decay_steps=10, end=0.5)) == 10
    assert reach(Piecewise((10, 30), (1.0, 0.5, 0.25))) == 30
    assert reach(Restarts(Cosine(decay_steps=10), steps=10, growth=2)) < 100
    assert curve(Constant(), steps=7)[1][-1] == 7


def test_a_memory_is_drawn_over_epochs_without_progress() -> None:
    """The first epoch is the best one so far; every `patience` epochs from there halve."""
    what, x, y = curve(ReduceOnPlateau(decay_rate=0.5, patience=3), steps=8)
    assert what == "epoch without progress" and x.tolist() == list(range(1, 9))
    assert y.tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert curve(Warmup(ReduceOnPlateau()))[0] == what


def test_a_chart_is_written() -> None:
    assert written(Cosine().plot, "png").startswith(b"\x89PNG")


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["minimand", "schedules", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(monkeypatch, capsys)
    assert (status, err) == (0, "")
    for name in catalogue("schedule"):
        assert f"\n{name} " in out


def test_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(
        monkeypatch, capsys, "show", "warmup(schedule=cosine, steps=50)", "--steps", "200"
    )
    assert (status, err) == (0, "")
    for part in (Warmup.card.source.split(",")[0], "50.0 (in (0, inf))", "multiplier, ", "200"):
        assert part in out
    status, out, _ = run(monkeypatch, capsys, "show", "cosine", "--chart", "cosine.SVG")
    assert status == 0 and "Chart: cosine.SVG" in out
    assert Path("cosine.SVG").read_bytes().startswith(b"<svg")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "cosin"], "unknown schedule 'cosin'; did you mean 'Cosine'?"),
        (["show", "cosine(end=2)"], "it must lie in [0, 1]"),
        (["show", "cosine", "--chart", "cosine.pdf"], "unknown form of a chart 'pdf'"),
        (["show", "cosine", "--chart", "nowhere/cosine.svg"], "cannot write 'nowhere/cosine.svg'"),
        (["show", "cosine", "--steps", "0"], "Invalid value for '--steps'"),
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
