"""Every loss of the catalogue meets the solvers: solved, or refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

import minimand.losses  # fills the catalogue
from minimand.component import catalogue
from minimand.errors import ArgumentError
from minimand.losses import Loss
from minimand.penalties import L2
from minimand.solvers import Objective, Shape, select

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3))
MEAN = X @ [1.0, -0.5, 0.3] + 0.2
NOISE = RANDOM.normal(size=120)
TARGETS = {
    "real": MEAN + NOISE,
    "count": RANDOM.poisson(np.exp(0.5 * MEAN)).astype(float),
    "positive": np.exp(0.3 * MEAN) * RANDOM.gamma(2, 0.5, 120),
    "fraction": 1 / (1 + np.exp(-MEAN - NOISE)),
    "angle": np.arctan2(np.sin(MEAN), np.cos(MEAN)),
    "sign": np.where(MEAN + NOISE > 0, 1.0, -1.0),
    "class": np.digitize(MEAN + NOISE, [-0.5, 0.5]),
}
LOSSES = [cls() for cls in catalogue("loss").values()]
SERVED = [loss for loss in LOSSES if loss.by_row and loss.card.target in TARGETS]
OTHERS = [loss for loss in LOSSES if not Objective(loss).solvable]


@pytest.mark.parametrize("loss", SERVED, ids=str)
def test_what_a_solver_calls_converged_cannot_be_improved_nearby(loss: Loss) -> None:
    objective, y = Objective(loss, L2(0.01)), TARGETS[loss.card.target]
    try:
        solver, _ = select(objective, Shape(120, 3, 3 if loss.score_axes else 1))
    except ArgumentError as refusal:
        named = ("no solver handles", "cannot be descended", "minimised by the score 0")
        assert any(text in str(refusal) for text in named)
        return
    solution = solver.minimise(objective, X, y)
    assert np.isfinite(solution.value)
    if not solution.converged:
        assert "limit" in solution.status
        return
    layer = solution.params["output"]
    random = np.random.default_rng(1)
    for size in (1e-1, 1e-2, 1e-3):
        kernel = layer["kernel"] + size * random.normal(size=layer["kernel"].shape)
        bias = layer["bias"] + size * random.normal(size=layer["bias"].shape)
        score = X @ kernel + bias
        moved = loss(score if loss.score_axes else score[:, 0], y) + objective.penalty.value(kernel)
        assert moved >= solution.value - 1e-9 * abs(solution.value)


@pytest.mark.parametrize("loss", OTHERS, ids=str)
def test_losses_of_more_than_one_score_or_row_are_refused(loss: Loss) -> None:
    with pytest.raises(ArgumentError, match="train it by a recipe"):
        select(Objective(loss), Shape(120, 3))


def test_the_catalogue_is_served() -> None:
    solved = {type(loss).__name__ for loss in SERVED}
    assert {"LogCosh", "Gamma", "Expectile", "Sparsemax", "Welsch", "MAPE"} <= solved
    assert len(minimand.losses.__all__) > 60
