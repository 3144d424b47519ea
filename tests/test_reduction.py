"""Calling a loss: the one place that reduces, for every registered loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from minimand.component import catalogue
from minimand.errors import ArgumentTypeError, ShapeError, UnknownNameError
from minimand.losses import CrossEntropy, Logistic, Loss, Perceptron, Squared, ZeroOne
from minimand.losses.base import JointLoss

Array = Any
LOSSES = [
    made()
    for made in catalogue("loss").values()
    if made.card.target in ("real", "count", "positive", "fraction", "sign", "class")
    and not made.scores
    and not issubclass(made, JointLoss)
]
DESCENDED = [loss for loss in LOSSES if not isinstance(loss, ZeroOne)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
each_descended = pytest.mark.parametrize("loss", DESCENDED, ids=str)


def batch(loss: Loss, n: int = 24) -> tuple[Array, Array, Array]:
    """Scores, targets and weights (some of them 0) that suit the loss."""
    rng = np.random.default_rng(n)
    score = rng.normal(size=(n, 3) if loss.score_axes else n)
    made = {
        "real": rng.normal(size=n),
        "count": rng.poisson(2.0, n).astype(float),
        "positive": 0.1 + rng.gamma(2.0, size=n),
        "fraction": rng.random(n),
        "sign": np.where(rng.random(n) < 0.5, -1.0, 1.0),
        "class": rng.integers(0, 3, n),
    }
    return score, made[loss.card.target], rng.integers(0, 3, n).astype(float)


def poisoned(score: Array, target: Array, out: Array) -> tuple[Array, Array]:
    """NaN scores where `out`, and NaN targets too where the dtype has NaN."""
    score, target = score.copy(), target.copy()
    score[out] = np.nan
    if target.dtype.kind == "f":
        target[out] = np.nan
    return score, target


@each_loss
def test_weighted_mean_divides_by_the_sum_of_weights(loss: Loss) -> None:
    score, target, weight = batch(loss)
    rows = np.repeat(np.arange(len(weight)), weight.astype(int))
    assert loss(score, target, weight=weight) == pytest.approx(loss(score[rows], target[rows]))
    assert loss(score, target, weight=3 * weight) == pytest.approx(
        loss(score, target, weight=weight)
    )


@each_loss
def test_sum_none_and_mean_agree(loss: Loss) -> None:
    score, target, weight = batch(loss)
    each = loss(score, target, weight=weight, reduction="none")
    assert each.shape == target.shape
    assert loss(score, target, weight=weight, reduction="sum") == pytest.approx(each.sum())
    assert loss(score, target, weight=weight) == pytest.approx(each.sum() / weight.sum())
    np.testing.assert_array_equal(loss(score, target, reduction="none"), loss.value(score, target))


@each_loss
def test_total_over_micro_batches_is_the_full_mean(loss: Loss) -> None:
    score, target, weight = batch(loss)
    parts = [
        loss.total(score[rows], target[rows], weight=weight[rows])
        for rows in (slice(0, 5), slice(5, 6), slice(6, None))
    ]
    value, used = np.sum(parts, axis=0)
    assert value / used == pytest.approx(loss(score, target, weight=weight), rel=1e-14)


@each_loss
def test_masked_and_weightless_nan_never_touch_the_value(loss: Loss) -> None:
    score, target, weight = batch(loss)
    kept = weight > 0
    expected = loss(score[kept], target[kept])
    bad = poisoned(score, target, ~kept)
    assert loss(*bad, mask=kept) == pytest.approx(expected)
    assert loss(*bad, weight=kept * 2.0) == pytest.approx(expected)
    nan_weight = np.where(kept, 1.0, np.nan)
    assert loss(*bad, weight=nan_weight, mask=kept) == pytest.approx(expected)


@each_descended
@pytest.mark.parametrize("out_by", ["mask", "weight"])
def test_masked_and_weightless_nan_never_touch_the_gradient(loss: Loss, out_by: str) -> None:
    score, target, weight = batch(loss)
    kept = weight > 0
    clean = np.zeros_like(score)
    clean[kept] = loss.gradient(score[kept], target[kept]) / kept.sum()
    bad_score, bad_target = poisoned(score, target, ~kept)
    out = kept if out_by == "mask" else kept.astype(float)

    with jax.enable_x64(True):
        by_jax = jax.grad(lambda s: loss(s, jnp.asarray(bad_target), **{out_by: out}))
        np.testing.assert_allclose(by_jax(jnp.asarray(bad_score)), clean, rtol=1e-12, atol=1e-16)

    by_torch = torch.tensor(bad_score, requires_grad=True)
    loss(by_torch, torch.tensor(bad_target), **{out_by: torch.tensor(out)}).backward()
    np.testing.assert_allclose(by_torch.grad, clean, rtol=1e-12, atol=1e-16)


@each_descended
def test_an_all_masked_batch_gives_zero_with_zero_gradient(loss: Loss) -> None:
    score, target, _ = batch(loss)
    score, target = poisoned(score, target, np.ones(len(target), dtype=bool))
    nothing = np.zeros(len(target), dtype=bool)
    assert loss(score, target, mask=nothing) == 0
    value, slope = jax.value_and_grad(lambda s: loss(s, jnp.asarray(target), mask=nothing))(
        jnp.asarray(score)
    )
    assert value == 0 and not np.any(slope)
    by_torch = torch.tensor(score, requires_grad=True)
    loss(by_torch, torch.tensor(target), mask=torch.tensor(nothing)).backward()
    assert not by_torch.grad.any()


@pytest.mark.parametrize(
    ("score", "target"), [((4, 1), (4,)), ((4,), (4, 1)), ((4,), (3,)), ((1,), (4,)), ((), (4,))]
)
def test_shapes_that_merely_broadcast_are_refused_with_both_shapes(
    score: tuple[int, ...], target: tuple[int, ...]
) -> None:
    for loss in LOSSES:
        if not loss.score_axes:
            with pytest.raises(ShapeError) as caught:
                loss(np.zeros(score), np.ones(target))
            assert str(score) in str(caught.value) and str(target) in str(caught.value)


@pytest.mark.parametrize(("score", "target"), [((4,), (4,)), ((4, 3), (3,)), ((4, 3), (4, 1))])
def test_class_scores_need_one_more_axis(score: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        CrossEntropy()(np.zeros(score), np.zeros(target, dtype=int))
    assert str(score) in str(caught.value) and str(target) in str(caught.value)


def test_a_weight_or_mask_of_another_shape_is_refused() -> None:
    score = np.zeros(4)
    with pytest.raises(ShapeError, match=r"weight has shape \(4, 1\) and target \(4,\)"):
        Squared()(score, score, weight=np.ones((4, 1)))
    with pytest.raises(ShapeError, match=r"mask has shape \(1,\) and target \(4,\)"):
        Squared()(score, score, mask=np.ones(1, dtype=bool))


def test_what_is_not_an_array_is_refused_by_name() -> None:
    score = np.zeros(2)
    with pytest.raises(ArgumentTypeError, match="score must be an array, not 1"):
        Squared()(1.0, score)
    with pytest.raises(ArgumentTypeError, match="target must be an array"):
        Squared()(score, [1.0, 2.0])
    with pytest.raises(ArgumentTypeError, match="weight must be an array"):
        Squared()(score, score, weight=[1, 2])
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        Squared()(score, score, reduction="men")  # type: ignore[arg-type]


def test_whole_scores_do_not_round_the_targets() -> None:
    """Squares of 0.5, 0.5, 0 and 1: the textbook's numbers, the other way round."""
    score, target = np.array([3, 0, 2, 7]), np.array([2.5, 0.5, 2.0, 8.0])
    assert Squared()(score, target) == 0.375
    assert Squared()(jnp.asarray(score), jnp.asarray(target)) == 0.375
    assert Squared()(torch.tensor(score), torch.tensor(target)) == 0.375


HALVES = {
    "numpy.float16": lambda x: x.astype(np.float16),
    "jax.float16": lambda x: jnp.asarray(x, jnp.float16),
    "jax.bfloat16": lambda x: jnp.asarray(x, jnp.bfloat16),
    "torch.float16": lambda x: torch.tensor(x, dtype=torch.float16),
    "torch.bfloat16": lambda x: torch.tensor(x, dtype=torch.bfloat16),
}


def to_numpy(x: Array) -> Array:
    return (x.float().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)).astype(np.float64)


@each_loss
@pytest.mark.parametrize("half", HALVES)
def test_half_precision_is_accumulated_in_float32(loss: Loss, half: str) -> None:
    """The sum passes float16's largest number, 65504, and bfloat16 cannot count beyond 256."""
    score, target, _ = batch(loss, 200_000)
    low = HALVES[half](5 * score)
    y = target if half.startswith("numpy") else jnp.asarray(target)
    y = torch.tensor(target) if half.startswith("torch") else y
    total = loss(low, y, reduction="sum")
    assert str(total.dtype).endswith("float32")
    exact = float(loss(to_numpy(low), target, reduction="sum"))
    assert exact > 65504 and float(total) == pytest.approx(exact, rel=1e-5)


@each_descended
def test_half_precision_gradients_are_finite(loss: Loss) -> None:
    score, target, weight = batch(loss)
    low = jnp.asarray(10 * score, jnp.bfloat16)
    slope = jax.grad(lambda s: loss(s, jnp.asarray(target), weight=weight))(low)
    assert slope.dtype == jnp.bfloat16 and np.all(np.isfinite(slope.astype(jnp.float32)))


def test_losses_work_under_jit_with_numpy_data() -> None:
    """Data that stay NumPy arrays, closed over, while the loss itself is traced."""
    for loss in DESCENDED:
        score, target, weight = batch(loss)
        traced = jax.jit(lambda one, s=score, y=target, w=weight: one(s, y, weight=w))(loss)
        assert float(traced) == pytest.approx(float(loss(score, target, weight=weight)), rel=1e-5)


def test_larger_weight_draws_the_mean_towards_its_row() -> None:
    score, target = np.array([0.0, 3.0]), np.zeros(2)
    means = [Squared()(score, target, weight=np.array([1.0, w])) for w in (0.5, 1.0, 4.0)]
    assert means == sorted(means) and means[1] == 4.5


@pytest.mark.parametrize("loss", [Perceptron(), Logistic()], ids=str)
def test_training_can_start_from_zero_scores(loss: Loss) -> None:
    """Under JAX the slope at a score of exactly 0 leads towards the target."""
    slope = jax.grad(lambda s: loss(s, jnp.asarray([1.0, -1.0])))(jnp.zeros(2))
    assert slope[0] < 0 < slope[1]
