"""The textbook's two first exercises: a mean squared error by hand, and one line fitted five ways.

Run it with `python examples/textbook.py`: it prints a table and draws runs/textbook.svg.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from minimand.losses import Squared
from minimand.networks import Linear
from minimand.optimizers import SGD
from minimand.schedules import InverseTime
from minimand.solvers import GradientDescent, Newton, NormalEquations, Objective
from minimand.training import Recipe, train

EXACT = {
    "normal equations": NormalEquations(),
    "Newton": Newton(),
    "batch gradient descent": GradientDescent(),
}
BATCHED = {"mini-batch gradient descent": 16, "stochastic gradient descent": 1}
PICTURE = Path("runs/textbook.svg")


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x, with the mean squared error after each pass over the data."""

    intercept: float
    slope: float
    passes: list[float]
    errors: list[float]

    def distance(self, other: Line) -> float:
        """The larger of the differences in intercept and slope."""
        return max(abs(self.intercept - other.intercept), abs(self.slope - other.slope))


def mean_squared_error() -> float:
    """The mean squared error of four predictions for four targets."""
    prediction = np.array([2.5, 0.0, 2.0, 8.0])
    target = np.array([3.0, -0.5, 2.0, 7.0])
    return float(Squared()(prediction, target))


def points() -> tuple[np.ndarray, np.ndarray]:
    """100 points of y = 4 + 3 x + noise: x [100, 1] uniform in [0, 2), noise standard normal.

    They are drawn as in Géron, Hands-On Machine Learning (2019), chapter 4, but with seed 0.
    """
    random = np.random.RandomState(0)
    x = 2 * random.rand(100, 1)
    y = 4 + 3 * x + random.randn(100, 1)
    return x, y[:, 0]


def fit_all(x: np.ndarray, y: np.ndarray) -> dict[str, Line]:
    """The line of least squares by every method: exact solvers, then random batches."""
    objective = Objective(Squared())
    lines = {}
    for name, solver in EXACT.items():
        solved = solver.minimise(objective, x, y)
        history = solved.history
        lines[name] = line(solved.params, history["iteration"], history["value"])
    for name, batch_size in BATCHED.items():
        recipe = Recipe(
            Linear(),
            Squared(),
            SGD(learning_rate=0.1),
            schedule=InverseTime(decay_steps=100),
            batch_size=batch_size,
            epochs=200,
        )
        trained = train(recipe, x, y, validation=0.0)
        history = trained.history
        lines[name] = line(trained.params, history["epoch"], history["train"])
    return lines


def line(params: dict[str, Any], passes: list[float], errors: list[float]) -> Line:
    """The line that a solver or a training run has found."""
    layer = params["output"]
    return Line(layer["bias"].item(), layer["kernel"].item(), passes, errors)


def table(lines: dict[str, Line]) -> str:
    """One row a method: its line, and how far that is from the normal equations."""
    best = lines["normal equations"]
    rows = [f"{'method':30}{'intercept':>10}{'slope':>10}{'passes':>8}{'off by':>10}"]
    for name, found in lines.items():
        rows.append(
            f"{name:30}{found.intercept:10.6f}{found.slope:10.6f}"
            f"{found.passes[-1]:8.0f}{found.distance(best):10.1e}"
        )
    return "\n".join(rows)


def picture(x: np.ndarray, y: np.ndarray, lines: dict[str, Line]) -> alt.HConcatChart:
    """The points with the fitted line, and the error of every method pass by pass."""
    best = lines["normal equations"]
    seen = alt.Data(values=[{"x": a, "y": b} for a, b in zip(x[:, 0], y, strict=True)])
    ends = alt.Data(values=[{"x": a, "y": best.intercept + best.slope * a} for a in (0.0, 2.0)])
    fitted = alt.layer(
        alt.Chart(seen).mark_point(filled=True, color="#68707a").encode(x="x:Q", y="y:Q"),
        alt.Chart(ends).mark_line(color="#c2571a", strokeWidth=2.5).encode(x="x:Q", y="y:Q"),
    )
    curves = [
        {"pass": number, "error": error, "method": name}
        for name, found in lines.items()
        for number, error in zip(found.passes, found.errors, strict=True)
        if number <= 20
    ]
    legend = alt.Legend(orient="top-right", title=None, fillColor="white", padding=6)
    dashes = alt.Scale(domain=list(lines), range=[[], [6, 4], [], [], []])
    errors = (
        alt.Chart(alt.Data(values=curves))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("pass:Q", title="passes over the data"),
            y=alt.Y("error:Q", title="mean squared error", scale=alt.Scale(zero=False)),
            color=alt.Color("method:N", sort=list(lines), legend=legend),
            strokeDash=alt.StrokeDash("method:N", scale=dashes, legend=None),
        )
    )
    panels = [panel.properties(width=300, height=300) for panel in (fitted, errors)]
    return alt.hconcat(*panels).resolve_scale(color="independent")


def main() -> None:
    """Print both results and draw the picture."""
    print(f"mean squared error by hand: {mean_squared_error()}\n")
    x, y = points()
    lines = fit_all(x, y)
    print(table(lines))
    best = lines["normal equations"]
    assert all(lines[name].distance(best) < 1e-6 for name in EXACT)
    assert all(lines[name].distance(best) < 0.1 for name in BATCHED)
    PICTURE.parent.mkdir(exist_ok=True)
    picture(x, y, lines).save(PICTURE)
    print(f"\nThe picture is {PICTURE}")


if __name__ == "__main__":
    main()
