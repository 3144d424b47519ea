"""CTC against PyTorch, against enumerated alignments, and its second derivatives."""

from __future__ import annotations

import itertools
import math
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import softmax

from minimand.errors import ArgumentError, ArgumentTypeError, TargetError
from minimand.losses import CTC, sequence_target

Array = Any
LABELS = [[1, 2, 2], [3], [], [1, 1]]
FRAMES = [7, 5, 6, 4]
SCORE = np.random.default_rng(0).normal(size=(4, 7, 5))
TARGET = sequence_target(LABELS, FRAMES)


def by_torch(score: Array, blank: int = 0, **options: Any) -> Any:
    return F.ctc_loss(
        F.log_softmax(torch.as_tensor(score), dim=-1).transpose(0, 1),
        torch.tensor([*itertools.chain(*LABELS)]),
        torch.tensor(FRAMES),
        torch.tensor([*map(len, LABELS)]),
        blank=blank,
        reduction="none",
        **options,
    )


@pytest.mark.parametrize("blank", [0, 4])
def test_values_equal_torch(blank: int) -> None:
    ours = CTC(blank=blank)(SCORE, TARGET, reduction="none")
    np.testing.assert_allclose(ours, by_torch(SCORE, blank), rtol=1e-12)


def test_the_value_is_the_sum_over_all_alignments() -> None:
    """Graves et al. (2006), eq. 3: every path of 4 frames that collapses to the labels."""
    score, labels = SCORE[:1, :4, :3], [2, 1]
    p = softmax(score[0], axis=-1)
    chance = 0.0
    for path in itertools.product(range(3), repeat=4):
        collapsed = [c for c, _ in itertools.groupby(path) if c != 0]
        if collapsed == labels:
            chance += math.prod(p[t, c] for t, c in enumerate(path))
    ours = CTC()(score, sequence_target([labels], [4]))
    assert ours == pytest.approx(-math.log(chance), rel=1e-13)


def test_the_gradient_equals_torchs() -> None:
    z = torch.tensor(SCORE, requires_grad=True)
    by_torch(z).sum().backward()
    own = torch.tensor(SCORE, requires_grad=True)
    CTC()(own, torch.tensor(TARGET), reduction="sum").backward()
    np.testing.assert_allclose(own.grad, z.grad, rtol=1e-9, atol=1e-13)
    assert not own.grad[1, 5:].any()  # frames beyond the sequence


def test_pain_18_ctc_has_second_derivatives() -> None:
    """PyTorch has none; ours agree with differences of the gradient, under JAX and PyTorch."""
    start, target = SCORE[:2, :4], sequence_target([[2, 2], [3]], [4, 3])
    direction = np.random.default_rng(1).normal(size=start.shape)
    step = 1e-5 * direction

    def slope(score: Array) -> Array:
        z = torch.tensor(score, requires_grad=True)
        CTC()(z, torch.tensor(target), reduction="sum").backward()
        return z.grad.numpy()

    expected = (slope(start + step) - slope(start - step)) / 2e-5
    z = torch.tensor(start, requires_grad=True)
    total = CTC()(z, torch.tensor(target), reduction="sum")
    (first,) = torch.autograd.grad(total, z, create_graph=True)
    (second,) = torch.autograd.grad(first, z, grad_outputs=torch.tensor(direction))
    np.testing.assert_allclose(second, expected, atol=1e-8)
    with jax.enable_x64(True):
        by_jax = jax.jit(
            lambda s, d: jax.jvp(
                jax.grad(lambda x: CTC()(x, jnp.asarray(target), reduction="sum")), (s,), (d,)
            )[1]
        )
        np.testing.assert_allclose(by_jax(jnp.asarray(start), direction), expected, atol=1e-8)


def test_same_answer_on_every_array_library() -> None:
    score, target = SCORE[1:, :4], sequence_target([[1, 2], [3], []], [4, 2, 3])
    expected = CTC()(score, target)
    strict = CTC()(array_api_strict.asarray(score), array_api_strict.asarray(target))
    assert float(strict) == pytest.approx(float(expected), rel=1e-13)
    with jax.enable_x64(True):
        by_jax = jax.jit(CTC())(jnp.asarray(score), jnp.asarray(target))
    assert float(by_jax) == pytest.approx(float(expected), rel=1e-13)
    compiled = torch.compile(CTC().value, fullgraph=True, backend="eager")
    each = compiled(torch.tensor(score), torch.tensor(target))
    np.testing.assert_allclose(each, CTC().value(score, target), rtol=1e-13)


def test_labels_that_do_not_fit_cost_infinity_with_zero_gradient() -> None:
    """As PyTorch's with zero_infinity: 1 1 needs three frames, for the blank between."""
    z = torch.tensor(SCORE[:1, :3], requires_grad=True)
    cost = CTC()(z, torch.tensor(sequence_target([[1, 1]], [2])))
    cost.backward()
    assert cost == math.inf and not z.grad.any()
    assert CTC()(SCORE[:1, :3], sequence_target([[1, 1]], [3])) < math.inf


@pytest.mark.parametrize("blank", [0, 4])
def test_masked_sequences_never_touch_value_or_gradient(blank: int) -> None:
    kept = np.array([True, False, True, False])
    poisoned = np.where(kept[:, None, None], SCORE, np.nan)
    loss = CTC(blank=blank)
    expected = loss(SCORE[[0, 2]], TARGET[[0, 2]])
    z = torch.tensor(poisoned, requires_grad=True)
    cost = loss(z, torch.tensor(TARGET), mask=torch.tensor(kept))
    cost.backward()
    assert cost.item() == pytest.approx(float(expected), rel=1e-13)
    assert not z.grad[[1, 3]].any() and torch.all(torch.isfinite(z.grad))


def test_a_label_that_is_no_class_costs_nan_and_only_its_row() -> None:
    target = sequence_target([[1, 5], [3, 1]], [7, 5])
    each = CTC()(SCORE[:2], target, reduction="none")
    assert math.isnan(each[0]) and np.isfinite(each[1])


def test_extreme_scores_and_half_precision_stay_finite() -> None:
    """A path of certain frames costs nothing, one against them 1600 a frame."""
    sure = np.full((1, 3, 3), -800.0)
    sure[0, [0, 1, 2], [1, 0, 2]] = 800.0
    assert CTC()(sure, sequence_target([[1, 2]], [3])) == 0
    assert CTC()(sure, sequence_target([[2, 1]], [3])) == pytest.approx(3200.0)
    z = torch.tensor(sure, dtype=torch.bfloat16, requires_grad=True)
    cost = CTC()(z, torch.tensor(sequence_target([[2, 1]], [3])))
    cost.backward()
    assert cost.dtype == torch.float32 and torch.all(torch.isfinite(z.grad))


def test_blank_is_the_class_that_separates_labels() -> None:
    """Renaming the classes together with the blank changes nothing; the blank alone does."""
    rolled = np.roll(SCORE, 1, axis=-1)
    renamed = sequence_target([[label + 1 for label in row] for row in LABELS], FRAMES)
    assert CTC(blank=1)(rolled, renamed) == pytest.approx(float(CTC()(SCORE, TARGET)), rel=1e-13)
    assert abs(CTC(blank=4)(SCORE, TARGET) - CTC()(SCORE, TARGET)) > 0.1


def test_more_frames_than_the_count_are_ignored() -> None:
    longer = np.concatenate((SCORE, 100 * SCORE[:, :2]), axis=1)
    assert CTC()(longer, TARGET) == pytest.approx(float(CTC()(SCORE, TARGET)), rel=1e-14)


def test_nan_beyond_the_count_touches_neither_value_nor_gradient() -> None:
    poisoned = np.where(np.arange(7)[:, None] < np.array(FRAMES)[:, None, None], SCORE, np.nan)
    z = torch.tensor(poisoned, requires_grad=True)
    cost = CTC()(z, torch.tensor(TARGET))
    cost.backward()
    assert cost.item() == CTC()(SCORE, TARGET)
    assert torch.all(torch.isfinite(z.grad))


@pytest.mark.parametrize("library", [np.asarray, torch.asarray, array_api_strict.asarray])
def test_no_labels_cost_the_blanks_alone(library: Any) -> None:
    each = CTC().value(library(SCORE), library(sequence_target([[]] * 4, FRAMES)))
    blanks = -np.log(softmax(SCORE, axis=-1)[..., 0])
    expected = [blanks[i, :count].sum() for i, count in enumerate(FRAMES)]
    np.testing.assert_allclose(np.asarray(each), expected, rtol=1e-13)


def test_the_program_does_not_grow_with_the_frames() -> None:
    """A thousand frames must not compile for minutes."""

    def operations(frames: int) -> int:
        score = jax.ShapeDtypeStruct((2, frames, 5), np.float32)
        target = jax.ShapeDtypeStruct((2, 4), np.int32)
        return len(jax.make_jaxpr(jax.grad(CTC()))(score, target).eqns)

    assert operations(1000) == operations(10)


def test_forward_mode_agrees_with_the_gradient() -> None:
    target = jnp.asarray(TARGET)
    slope, forward = jax.jit(
        lambda z, d: (jax.grad(CTC())(z, target), jax.jvp(lambda z: CTC()(z, target), (z,), (d,)))
    )(SCORE, np.cos(SCORE))
    np.testing.assert_allclose(forward[1], np.sum(slope * np.cos(SCORE)), rtol=1e-4)


def test_sequences_stand_in_any_number_of_axes_and_under_vmap() -> None:
    each = CTC().value(SCORE, TARGET)
    paired = CTC().value(SCORE.reshape(2, 2, 7, 5), TARGET.reshape(2, 2, -1))
    np.testing.assert_allclose(paired.ravel(), each, rtol=1e-13)
    mapped = jax.jit(jax.vmap(CTC().value))(SCORE, TARGET)
    np.testing.assert_allclose(mapped, each, rtol=1e-5)


def test_bad_targets_are_refused_by_row_and_value() -> None:
    CTC().check_target(TARGET)
    for rows, words in [
        ([[4, 1, 2], [4, 0, 2]], "row 2 is 0, not a label"),
        ([[4, 1, 2], [4, -1, 2]], "row 2 is 2, not a label"),
        ([[4, 1, 2], [1, 1, 2]], "row 2 is 1, the number of frames"),
        ([[4, 1, 2], [2, 3, 3]], "row 2 is 2, the number of frames"),
    ]:
        with pytest.raises(TargetError, match=words):
            CTC().check_target(np.array(rows))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ArgumentError, match="2 label sequences and 1 frame counts"):
        sequence_target([[1], [2]], [3])
    with pytest.raises(ArgumentError, match="blank is -1"):
        CTC(blank=-1)
    with pytest.raises(ArgumentTypeError, match="blank must be an integer"):
        CTC(blank=0.5)  # type: ignore[arg-type]
