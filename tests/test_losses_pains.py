"""Users' pains with losses, by the numbers of our survey: those of every loss, and the roll-call.

1 silent broadcasting · 2 weighted means · 3 label smoothing with weights · 4 all ignored · 5 masked
NaN · 6 sample weights · 7 probabilities against logits · 8 the mean of KL · 9 missing losses · 10
focal gradients · 11 Dice by batch · 12 gradients without a reduction · 13 gradient accumulation ·
14 custom boosting objectives · 15 half precision · 16 no events · 17 scale and count likelihoods ·
18 second derivatives. The tests of one family stand in that family's file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from minimand.component import catalogue
from minimand.losses import Loss
from minimand.losses.base import JointLoss
from minimand.losses.margin import ZeroOne

Array = Any
N = 6
TARGETS = {
    "real": np.linspace(-1.1, 2.3, N),
    "count": np.array([0.0, 1.0, 2.0, 0.0, 3.0, 5.0]),
    "positive": np.linspace(0.3, 2.3, N),
    "fraction": np.linspace(0.05, 0.95, N),
    "angle": np.linspace(-3.0, 2.0, N),
    "sign": np.array([-1.0, 1.0, 1.0, -1.0, 1.0, -1.0]),
    "class": np.array([0, 1, 2, 1, 0, 2]),
}
LOSSES: list[Any] = [
    made()
    for made in catalogue("loss").values()
    if made.card.target in TARGETS and not issubclass(made, (JointLoss, ZeroOne))
]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)


def batch(loss: Loss) -> tuple[Array, Array]:
    scores = (len(loss.scores) or 3,) if loss.score_axes else ()
    score = np.random.default_rng(5).normal(size=(N, *scores))
    return np.sort(score, axis=-1) if loss.score_axes else score, TARGETS[loss.card.target]


def test_every_pain_has_a_test_named_after_it() -> None:
    tests = "".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py"))
    named = {int(number) for number in re.findall(r"^def test_pain_(\d\d)_\w", tests, re.MULTILINE)}
    assert named == set(range(1, 19))


@each_loss
def test_pain_12_gradients_without_a_reduction_are_those_of_each_row(loss: Loss) -> None:
    """Fused losses elsewhere scale every row by one number, or give wrong slopes in silence."""
    score, target = batch(loss)
    upstream = np.array([1.0, -2.0, 0.0, 0.5, 3.0, 7.0])
    alone = [loss.gradient(score[i : i + 1], target[i : i + 1])[0] for i in range(N)]
    expected = upstream.reshape(N, *(1,) * loss.score_axes) * np.array(alone)
    with jax.enable_x64(True):
        _, pull = jax.vjp(lambda s: loss(s, jnp.asarray(target), reduction="none"), score)
        np.testing.assert_allclose(pull(upstream)[0], expected, rtol=1e-10, atol=1e-12)
    leaf = torch.tensor(score, requires_grad=True)
    loss(leaf, torch.tensor(target), reduction="none").backward(torch.tensor(upstream))
    np.testing.assert_allclose(leaf.grad, expected, rtol=1e-10, atol=1e-12)


@each_loss
def test_pain_06_a_weight_of_two_is_the_same_row_twice(loss: Loss) -> None:
    score, target = batch(loss)
    weight = np.array([2, 1, 0, 3, 1, 1])
    rows = np.repeat(np.arange(N), weight)
    weighted = loss(score, target, weight=weight.astype(float))
    assert weighted == pytest.approx(loss(score[rows], target[rows]), rel=1e-12)


@each_loss
def test_pain_04_nothing_left_gives_zero_and_not_nan(loss: Loss) -> None:
    score, target = batch(loss)
    left_out = np.zeros(N, dtype=bool)
    assert loss(np.full_like(score, np.nan), target, mask=left_out) == 0.0
    leaf = torch.tensor(score, requires_grad=True)
    loss(leaf, torch.tensor(target), mask=torch.tensor(left_out)).backward()
    assert leaf.grad is not None and not leaf.grad.any()
