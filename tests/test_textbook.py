"""examples/textbook.py runs as it stands, and its numbers are those of the textbook."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "textbook.py"


@pytest.fixture(scope="module")
def textbook() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def lines(textbook: dict[str, Any]) -> dict[str, Any]:
    return textbook["fit_all"](*textbook["points"]())


def test_mean_squared_error_by_hand(textbook: dict[str, Any]) -> None:
    # (0.5² + 0.5² + 0² + 1²) / 4
    assert textbook["mean_squared_error"]() == 0.375


def test_points_are_those_of_numpy_seed_0(textbook: dict[str, Any]) -> None:
    np.random.seed(0)
    x = 2 * np.random.rand(100, 1)
    y = 4 + 3 * x + np.random.randn(100, 1)
    np.testing.assert_array_equal(textbook["points"]()[0], x)
    np.testing.assert_array_equal(textbook["points"]()[1], y[:, 0])


@pytest.mark.parametrize("method", ["normal equations", "Newton", "batch gradient descent"])
def test_exact_methods_agree_with_numpy(
    textbook: dict[str, Any], lines: dict[str, Any], method: str
) -> None:
    x, y = textbook["points"]()
    (intercept, slope), *_ = np.linalg.lstsq(np.column_stack([np.ones(100), x]), y, rcond=None)
    # The pair that is printed wherever this exercise is solved with seed 0.
    assert (round(intercept, 6), round(slope, 6)) == (4.222151, 2.968468)
    assert lines[method].intercept == pytest.approx(intercept, abs=1e-6)
    assert lines[method].slope == pytest.approx(slope, abs=1e-6)
    assert lines[method].errors[-1] == pytest.approx(
        np.mean((intercept + slope * x[:, 0] - y) ** 2), rel=1e-9
    )


@pytest.mark.parametrize("method", ["mini-batch gradient descent", "stochastic gradient descent"])
def test_batched_methods_come_near(lines: dict[str, Any], method: str) -> None:
    found = lines[method]
    assert (found.intercept, found.slope) == pytest.approx((4.222151, 2.968468), abs=0.1)
    assert found.errors[-1] < 1.1 < found.errors[0]


def test_it_prints_a_table_and_draws_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "mean squared error by hand: 0.375" in printed
    assert printed.count("4.222151  2.96846") == 3
    picture = Path("runs/textbook.svg").read_text(encoding="utf-8")
    assert picture.count('aria-roledescription="point"') == 100
    assert ElementTree.fromstring(picture).tag.endswith("svg")
