"""Losses of classes: the forms of a target, weights, rare classes, ordered classes."""

from __future__ import annotations

import itertools
import math
import operator
from fractions import Fraction
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
import torch
import torch.nn.functional as F
from mpmath import mpf

from minimand.errors import ShapeError, TargetError
from minimand.losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    Brier,
    CrossEntropy,
    Focal,
    LogitAdjusted,
    Loss,
    Ordinal,
    Poly,
    Sparsemax,
)

Array = Any
RNG = np.random.default_rng(7)
SCORE = 3 * RNG.normal(size=(12, 3))
INDEX = RNG.integers(0, 3, 12)
SOFT = RNG.dirichlet(np.ones(3), 12)
CLASS_WEIGHT = np.array([1.0, 2.0, 0.5])
SPLIT = CrossEntropy(class_weight=CLASS_WEIGHT, label_smoothing=0.1)


def one_hot(index: Array, classes: int = 3) -> Array:
    return np.eye(classes)[index]


# --- cross-entropy: indices, one-hot and soft targets, smoothing, weights, ignored rows ---------


def test_pain_02_index_and_one_hot_targets_share_one_denominator() -> None:
    """PyTorch divides by Σ c_y for indices, but by n for shares; Σ c_y is right for both."""
    loss = CrossEntropy(class_weight=CLASS_WEIGHT)
    weight = torch.tensor(CLASS_WEIGHT)
    theirs = F.cross_entropy(torch.tensor(SCORE), torch.tensor(INDEX), weight=weight)
    assert loss(SCORE, INDEX) == pytest.approx(float(theirs), rel=1e-13)
    assert loss(SCORE, one_hot(INDEX)) == pytest.approx(float(theirs), rel=1e-13)
    value, used = loss.total(SCORE, one_hot(INDEX))
    assert used == pytest.approx(CLASS_WEIGHT[INDEX].sum())
    assert value / used == pytest.approx(float(theirs))


@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 12)], ids=["even", "weighted"])
def test_pain_03_smoothing_is_the_same_as_smoothed_targets(weight: Array) -> None:
    smoothed = 0.9 * one_hot(INDEX) + 0.1 / 3
    by_hand = CrossEntropy(class_weight=CLASS_WEIGHT)(SCORE, smoothed, weight=weight)
    for target in (INDEX, one_hot(INDEX)):
        assert SPLIT(SCORE, target, weight=weight) == pytest.approx(by_hand, rel=1e-13)


def test_pain_03_each_value_equals_pytorch_with_smoothing_and_weights() -> None:
    score, weight = torch.tensor(SCORE), torch.tensor(CLASS_WEIGHT)
    for target in (INDEX, one_hot(INDEX), SOFT):
        theirs = F.cross_entropy(
            score, torch.tensor(target), weight=weight, label_smoothing=0.1, reduction="none"
        )
        np.testing.assert_allclose(SPLIT(SCORE, target, reduction="none"), theirs, rtol=1e-12)


def test_soft_targets_equal_optax() -> None:
    with jax.enable_x64(True):
        theirs = optax.losses.softmax_cross_entropy(jnp.asarray(SCORE), jnp.asarray(SOFT))
    np.testing.assert_allclose(CrossEntropy().value(SCORE, SOFT), theirs, rtol=1e-13)


def test_pain_04_a_batch_of_ignored_rows_gives_zero_with_zero_gradient() -> None:
    score = torch.tensor(SCORE, requires_grad=True)
    value = SPLIT(score, torch.full((12,), -100))
    value.backward()
    assert value == 0 and not score.grad.any()


@pytest.mark.parametrize("ignore", [-100, 1])
def test_an_ignored_index_equals_leaving_its_rows_out(ignore: int) -> None:
    target = np.where(np.arange(12) < 5, ignore, 2 * (INDEX > 0))
    kept = target != ignore
    loss = CrossEntropy(class_weight=CLASS_WEIGHT, label_smoothing=0.1, ignore_index=ignore)
    expected = loss(SCORE[kept], target[kept])
    poisoned = np.where(kept[:, None], SCORE, np.nan)
    assert loss(poisoned, target) == pytest.approx(expected, rel=1e-13)
    assert loss(poisoned, target, mask=np.ones(12, bool)) == pytest.approx(expected, rel=1e-13)
    assert not loss.gradient(SCORE, target)[~kept].any() and not loss.value(SCORE, target)[:5].any()
    loss.check_target(target)
    np.testing.assert_allclose(loss.constant(target), loss.constant(target[kept]))


def test_pain_05_a_masked_row_of_nan_shares_never_touches_the_result() -> None:
    soft, kept = SOFT.copy(), np.arange(12) % 3 > 0
    soft[~kept] = np.nan
    expected = SPLIT(SCORE[kept], SOFT[kept])
    assert SPLIT(SCORE, soft, mask=kept) == pytest.approx(expected, rel=1e-13)
    slope = jax.jit(jax.grad(lambda s: SPLIT(s, soft, mask=kept)))(jnp.asarray(SCORE))
    assert np.all(np.isfinite(slope)) and not slope[~kept].any()


def test_an_index_that_is_no_class_is_not_passed_over_in_silence() -> None:
    for loss in (CrossEntropy(), Focal(), Brier(), Sparsemax(), Ordinal()):
        values = loss.value(np.zeros((2, 3)), np.array([1, 3]))
        assert np.isfinite(values[0]) and np.isnan(values[1])


@pytest.mark.parametrize("loss", [CrossEntropy(), Brier(), Sparsemax()], ids=str)
def test_index_and_one_hot_targets_agree_and_soft_ones_lie_between(loss: Loss) -> None:
    for method in (loss.value, loss.gradient, loss):
        np.testing.assert_allclose(method(SCORE, INDEX), method(SCORE, one_hot(INDEX)))
    if isinstance(loss, CrossEntropy):  # linear in the target
        parts = [SOFT[:, k] * loss.value(SCORE, np.full(12, k)) for k in range(3)]
        np.testing.assert_allclose(loss.value(SCORE, SOFT), sum(parts), rtol=1e-13)
    np.testing.assert_allclose(
        loss.gradient(SCORE, SOFT), jax_gradient(loss, SCORE, SOFT), rtol=1e-11, atol=1e-14
    )
    assert loss.gradient(np.log(SOFT), SOFT) == pytest.approx(0, abs=1e-15) or isinstance(
        loss, Sparsemax
    )
    shares = loss.response(loss.constant(SOFT)[None])[0]
    np.testing.assert_allclose(shares, SOFT.mean(axis=0), rtol=1e-9)


def jax_gradient(loss: Loss, score: Array, target: Array) -> Array:
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda s: jnp.sum(loss.value(s, jnp.asarray(target)))))
        return np.asarray(slope(jnp.asarray(score)))


@pytest.mark.parametrize("shape", [(12, 2), (12, 1), (3, 12), (12, 3, 1)])
def test_shares_of_another_shape_are_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        CrossEntropy()(SCORE, np.ones(shape))
    assert "(12, 3)" in str(caught.value) and str(shape) in str(caught.value)


@pytest.mark.parametrize("row", [[0.5, 0.6, 0.0], [1.5, -0.5, 0.0], [math.nan, 1.0, 0.0]])
def test_a_row_of_shares_that_does_not_sum_to_one_is_refused_by_row(row: list[float]) -> None:
    CrossEntropy().check_target(SOFT)
    with pytest.raises(TargetError, match="target row 2"):
        CrossEntropy().check_target(np.array([[1.0, 0.0, 0.0], row]))


def test_class_weights_are_written_and_read_back() -> None:
    loss = CrossEntropy(class_weight=CLASS_WEIGHT)
    assert str(loss) == "CrossEntropy(class_weight=[1.0, 2.0, 0.5])"
    for again in (Loss.parse(str(loss)), Loss.from_json(loss.to_json())):
        assert again(SCORE, INDEX) == loss(SCORE, INDEX)


@pytest.mark.parametrize("asarray", [jnp.asarray, torch.tensor, array_api_strict.asarray])
@pytest.mark.parametrize("target", [INDEX, SOFT], ids=["index", "soft"])
def test_weights_that_are_numpy_arrays_serve_every_library(asarray: Any, target: Array) -> None:
    with jax.enable_x64(True):
        score, y = asarray(SCORE), asarray(target)
        losses = [SPLIT]
        if target is INDEX:
            losses += [Focal(alpha=CLASS_WEIGHT), LogitAdjusted(prior=CLASS_WEIGHT)]
        for loss in losses:
            for method in (loss, loss.value, loss.gradient, loss.curvature):
                theirs, ours = method(score, y), method(SCORE, target)
                assert isinstance(theirs, type(score))
                np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-11, atol=1e-14)


def test_larger_label_smoothing_draws_the_best_scores_together() -> None:
    spreads = [np.ptp(CrossEntropy(label_smoothing=e).constant(INDEX)) for e in (0, 0.2, 0.9)]
    assert spreads == sorted(spreads, reverse=True) and spreads[0] > spreads[2]


def test_a_larger_class_weight_raises_the_probability_of_that_class() -> None:
    plain, heavy = (
        CrossEntropy().response(CrossEntropy(class_weight=np.array(w)).constant(INDEX)[None])[0]
        for w in ([1.0, 1.0, 1.0], [1.0, 4.0, 1.0])
    )
    odds = (heavy[1] / heavy[0]) / (plain[1] / plain[0])
    assert odds == pytest.approx(4)


# --- two classes by one score -----------------------------------------------------------------


def test_pain_07_infinite_logits_and_large_logits_are_exact() -> None:
    """PyTorch caps the cross-entropy of probabilities at 100, and its logits of ∞ give NaN."""
    score = np.array([math.inf, -math.inf, 800.0, math.inf])
    assert BinaryCrossEntropy().value(score, np.array([1, 0, 0, 0])).tolist() == [
        0,
        0,
        800,
        math.inf,
    ]
    torch_score = torch.tensor([800.0, -800.0], requires_grad=True)
    BinaryCrossEntropy()(torch_score, torch.tensor([0.0, 1.0])).backward()
    assert torch_score.grad.tolist() == [0.5, -0.5]


def test_larger_pos_weight_makes_missing_class_one_dearer_but_does_not_enter_the_mean() -> None:
    score, target = np.array([-1.0, -1.0]), np.array([1.0, 0.0])
    ratio = BinaryCrossEntropy(pos_weight=3.0).value(score, target) / BinaryCrossEntropy().value(
        score, target
    )
    np.testing.assert_allclose(ratio, [3, 1])
    theirs = F.binary_cross_entropy_with_logits(
        torch.tensor(score), torch.tensor(target), pos_weight=torch.tensor(3.0)
    )
    assert BinaryCrossEntropy(pos_weight=3.0)(score, target) == pytest.approx(float(theirs))


def test_columns_of_independent_labels_may_have_a_weight_each() -> None:
    target, weight = (SOFT > 0.4).astype(float), np.array([1.0, 2.0, 5.0])
    theirs = F.binary_cross_entropy_with_logits(
        torch.tensor(SCORE), torch.tensor(target), pos_weight=torch.tensor(weight)
    )
    loss = BinaryCrossEntropy(pos_weight=weight)
    assert loss(SCORE, target) == pytest.approx(float(theirs))
    assert loss(torch.tensor(SCORE), torch.tensor(target)) == pytest.approx(float(theirs))
    slope = loss.gradient(np.tile(loss.constant(target), (12, 1)), target).sum(axis=0)
    np.testing.assert_allclose(slope, 0, atol=1e-12)


# --- rare classes and hard examples -----------------------------------------------------------


slope_by_jax = jax.jit(jax.grad(lambda score, loss: loss(score, jnp.asarray([0]))))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("logit", [-800.0, -40.0, 0.0, 40.0, 800.0])
def test_pain_10_focal_gradients_are_finite_for_small_gamma(gamma: float, logit: float) -> None:
    """torchvision's spelling gives NaN at gamma 0.5 and logit 40, where p rounds to 1."""
    score = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    BinaryFocal(gamma=gamma, alpha=1.0)(score, torch.ones(1)).backward()
    pair = torch.tensor([[logit, 0.0]], dtype=torch.float64, requires_grad=True)
    Focal(gamma=gamma)(pair, torch.tensor([0])).backward()
    with mpmath.workdps(900):
        p = lambda z: 1 / (1 + mpmath.exp(-z))  # noqa: E731
        value = lambda z: -((1 - p(z)) ** mpf(gamma)) * mpmath.log(p(z))  # noqa: E731
        true = float(mpmath.diff(value, mpf(logit)))
    assert score.grad.item() == pytest.approx(true, rel=1e-12, abs=1e-300)
    assert pair.grad[0, 0].item() == pytest.approx(true, rel=1e-12, abs=1e-300)
    assert np.all(np.isfinite(slope_by_jax(jnp.asarray([[logit, 0]]), Focal(gamma=gamma))))


def test_focal_of_gamma_zero_and_poly_of_zero_are_the_cross_entropy() -> None:
    plain = CrossEntropy().value(SCORE, INDEX)
    for loss in (Focal(gamma=0.0), Poly(epsilon=0.0), LogitAdjusted(tau=0.0, prior=CLASS_WEIGHT)):
        np.testing.assert_allclose(loss.value(SCORE, INDEX), plain, rtol=1e-14)
        np.testing.assert_allclose(
            loss.curvature(SCORE, INDEX), CrossEntropy().curvature(SCORE, INDEX), rtol=1e-12
        )


def test_two_softmax_scores_are_one_binary_score() -> None:
    z = np.linspace(-5, 5, 11)
    pair = np.stack([np.zeros(11), z], axis=1)
    for target, alpha in ((1, 0.3), (0, 0.7)):
        ours = Focal(gamma=1.5, alpha=alpha).value(pair, np.full(11, target))
        binary = BinaryFocal(gamma=1.5, alpha=0.3).value(z, np.full(11, float(target)))
        np.testing.assert_allclose(ours, binary, rtol=1e-13)


def test_larger_gamma_fades_easy_examples_and_alpha_weighs_class_one() -> None:
    score, ones = np.array([3.0, -3.0]), np.ones(2)
    mild, strong = (BinaryFocal(gamma=g).value(score, ones) for g in (1.0, 3.0))
    assert strong[0] / mild[0] < 0.01 < 0.9 < strong[1] / mild[1]
    low, high = (BinaryFocal(alpha=a) for a in (0.25, 0.75))
    assert np.all(high.value(score, ones) > low.value(score, ones))
    assert np.all(high.value(score, 0 * ones) < low.value(score, 0 * ones))
    values = Focal(alpha=CLASS_WEIGHT).value(SCORE, INDEX) / Focal().value(SCORE, INDEX)
    np.testing.assert_allclose(values, CLASS_WEIGHT[INDEX])


def test_larger_epsilon_raises_the_pull_of_middling_examples_most() -> None:
    score, target = np.array([[-9.0, 0.0], [0.0, 0.0], [9.0, 0.0]]), np.zeros(3, dtype=int)
    more = Poly(epsilon=1.0).gradient(score, target) - Poly(epsilon=0.0).gradient(score, target)
    assert np.abs(more[:, 0]).argmax() == 1


def test_poly_of_minus_one_pulls_by_the_square_of_the_rest() -> None:
    """(1 - p_y) (1 - p_y), by hand, where 1 + ε p_y cancels."""
    z = np.array([-40.0, 0.0, 1.0, 40.0])
    pull = Poly(epsilon=-1.0).gradient(np.stack([z, 0 * z], axis=1), np.zeros(4, dtype=int))
    rest = np.exp(-z) / (1 + np.exp(-z))
    np.testing.assert_allclose(pull, np.stack([-(rest**2), rest**2], axis=1), rtol=1e-13)


def test_larger_tau_asks_for_more_margin_for_the_rare_class_and_balances_decisions() -> None:
    prior, zero = np.array([0.9, 0.1]), np.zeros((1, 2))
    rare = [LogitAdjusted(prior=prior, tau=t).value(zero, np.array([1]))[0] for t in (0, 0.5, 1)]
    assert rare == sorted(rare) and rare[0] < rare[2]
    target = np.repeat([0, 1], [90, 10])
    loss = LogitAdjusted(prior=prior)
    np.testing.assert_allclose(loss.response(loss.constant(target)), [0.5, 0.5])


# --- Brier and Sparsemax ----------------------------------------------------------------------


def test_brier_equals_its_definition_in_the_tails() -> None:
    grid = np.array(np.meshgrid(*[[-800.0, -30.0, -1e-8, 1.0, 30.0]] * 3)).reshape(3, -1).T[::3]
    with mpmath.workdps(900):
        for z in grid:
            e = [mpmath.exp(mpf(x)) for x in z]
            true = sum((x / sum(e) - (k == 1)) ** 2 for k, x in enumerate(e))
            assert abs(mpf(Brier().value(z, np.array(1)).item()) - true) <= max(
                true * mpf("1e-13"), mpf("1e-300")
            )


TAILS = [-800.0, -30.0, -1.0, -1e-8, 1e-8, 1.0, 30.0, 800.0]


@pytest.mark.parametrize("classes", [3, 4])
def test_derivatives_of_brier_are_exact_in_the_tails(classes: int) -> None:
    """Entries of the curvature vanish where three scores are equal and no other is near."""
    score = np.array(list(itertools.product(TAILS, repeat=classes))[:: classes**3 - 26])
    target = np.ones(len(score), dtype=int)
    slopes, blocks = Brier().gradient(score, target), Brier().curvature(score, target)
    with mpmath.workdps(800):
        for z, slope, block in zip(score, slopes, blocks, strict=True):
            e = [mpmath.exp(mpf(x)) for x in z]
            p = [x / sum(e) for x in e]
            error = [x - (k == 1) for k, x in enumerate(p)]
            excess = [x - sum(map(operator.mul, p, error)) for x in error]
            assert_exact(slope, [2 * pk * gk for pk, gk in zip(p, excess, strict=True)])
            squares = sum(pk * pk for pk in p)
            for k, row in enumerate(block):
                true = [-2 * p[k] * p[j] * (excess[k] + excess[j] + p[k] + p[j] - squares)
                        for j in range(classes)]  # fmt: skip
                true[k] += 2 * p[k] * (excess[k] + p[k])
                assert_exact(row, true)


@pytest.mark.parametrize("epsilon", [-1.0, 1.0, 2.0, 3.0])
def test_curvature_of_poly_is_exact_in_the_tails(epsilon: float) -> None:
    """By hand; 1 + ε (2 p_y - 1) vanishes at p_y = ⅓ for ε = 3, a diagonal entry for ε = 2."""
    score = np.array(list(itertools.product(TAILS, repeat=3))[::3])
    blocks = Poly(epsilon=epsilon).curvature(score, np.ones(len(score), dtype=int))
    with mpmath.workdps(800):
        for z, block in zip(score, blocks, strict=True):
            e = [mpmath.exp(mpf(x)) for x in z]
            p = [x / sum(e) for x in e]
            for k, row in enumerate(block):
                true = [-p[k] * p[j] * (1 + mpf(epsilon) * (2 * p[1] - (k == 1) - (j == 1)))
                        for j in range(3)]  # fmt: skip
                true[k] = -sum(x for j, x in enumerate(true) if j != k)
                assert_exact(row, true)


def test_classes_of_score_minus_infinity_are_left_out_of_brier() -> None:
    score, target = np.array([[1.0, 2.0, -math.inf, -math.inf]]), np.array([0])
    for method in (Brier().gradient, Brier().curvature):
        ours, alone = method(score, target)[0], method(score[:, :2], target)[0]
        kept = (slice(2),) * ours.ndim
        np.testing.assert_allclose(ours[kept], alone)
        assert np.abs(ours).sum() == pytest.approx(np.abs(alone).sum())


def test_brier_curvature_of_shares_equals_autodiff() -> None:
    with jax.enable_x64(True):
        theirs = jax.vmap(jax.hessian(Brier().value))(jnp.asarray(SCORE), jnp.asarray(SOFT))
    np.testing.assert_allclose(Brier().curvature(SCORE, SOFT), theirs, rtol=1e-11, atol=1e-15)


def test_brier_of_two_classes_is_twice_that_of_one() -> None:
    """Brier (1950) sums over classes; scikit-learn's binary score takes one of the two."""
    from sklearn.metrics import brier_score_loss

    p = Brier().response(SCORE[:, :2])[:, 1]
    y = INDEX > 0
    assert Brier()(SCORE[:, :2], y.astype(int)) == pytest.approx(2 * brier_score_loss(y, p))


@pytest.mark.parametrize("own", [0, 1, 2])
def test_sparsemax_is_exact_where_shares_are_tiny(own: int) -> None:
    """The share of the second of the scores 1, 1e-8 and -30 is (1 - 1 + 1e-8) / 2."""
    score = np.array(list(itertools.product(TAILS, repeat=3)))
    target = np.full(len(score), own)
    slopes = Sparsemax().gradient(score, target)
    for row, ours, slope in zip(score, Sparsemax().value(score, target), slopes, strict=True):
        z = [Fraction(x) for x in row]
        top = sorted(z, reverse=True)
        size = max(k for k in (1, 2, 3) if 1 + k * top[k - 1] > sum(top[:k]))
        p = [max(x - (sum(top[:size]) - 1) / size, Fraction()) for x in z]
        q = [Fraction(k == own) for k in range(3)]
        true = sum((b - x) ** 2 - (a - x) ** 2 for a, b, x in zip(p, q, z, strict=True)) / 2
        assert abs(Fraction(ours) - true) <= Fraction(1e-13) * true
        for one, a, b in zip(slope, p, q, strict=True):
            assert abs(Fraction(one) - (a - b)) <= Fraction(1e-13) * abs(a - b)


def test_sparsemax_responses_of_the_paper() -> None:
    """Two classes: clip((1 + z) / 2, 0, 1) for the scores (z, 0), Martins and Astudillo, fig. 1."""
    z = np.linspace(-3, 3, 25)
    ours = Sparsemax().response(np.stack([z, 0 * z], axis=1))
    np.testing.assert_allclose(ours[:, 0], np.clip((1 + z) / 2, 0, 1), atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparsemax_takes_scores_that_mask_a_class(dtype: Any) -> None:
    plain, index = np.array([[0.25, 0.5]], dtype=dtype), np.array([0])
    for mask in (-np.inf, np.finfo(dtype).min, -1e30):
        masked = np.append(plain, dtype(mask)).reshape(1, 3)
        ours, alone = (Sparsemax().gradient(z, index) for z in (masked, plain))
        assert ours.tolist() == [[*alone[0].tolist(), 0.0]]


# --- ordered classes --------------------------------------------------------------------------

X = np.array([-2.0, -1.2, -0.7, -0.1, 0.3, 0.8, 1.1, 1.9, 2.4, 0.0, -0.5, 1.5])
STAGE = np.array([0, 0, 1, 0, 1, 2, 1, 2, 2, 1, 0, 1])
# statsmodels 0.15.0: OrderedModel(STAGE, X[:, None], distr="logit"), .loglikeobs([0.8, -0.5, 0.3])
# and .fit(method="bfgs"); its thresholds are θ₁ and the logs of the gaps, as here.
LOG_LIKELIHOODS = [
    -0.28733533, -0.48936722, -1.24220035, -0.92503699, -1.12422414, -0.8035716,
    -1.23286529, -0.41319273, -0.2948762, -1.13011269, -0.74439666, -1.35137938,
]  # fmt: skip
FITTED, FITTED_LOG_LIKELIHOOD = [2.50636454, -0.94784895, 1.47638184], -6.892812980066861


def proportional_odds(slope: float, first: float, log_gap: float) -> Array:
    return np.stack([slope * X, np.full(12, first), np.full(12, log_gap)], axis=1)


def test_ordinal_equals_statsmodels() -> None:
    ours = Ordinal().value(proportional_odds(0.8, -0.5, 0.3), STAGE)
    np.testing.assert_allclose(-ours, LOG_LIKELIHOODS, rtol=1e-7)
    best = proportional_odds(*FITTED)
    assert Ordinal()(best, STAGE, reduction="sum") == pytest.approx(-FITTED_LOG_LIKELIHOOD)
    slope = Ordinal().gradient(best, STAGE)
    np.testing.assert_allclose([slope[:, 0] @ X, *slope[:, 1:].sum(axis=0)], 0, atol=1e-3)


def test_derivatives_of_ordinal_equal_autodiff() -> None:
    score = RNG.normal(size=(20, 5))
    stage = np.arange(20) % 5
    ours = Ordinal().gradient(score, stage)
    np.testing.assert_allclose(ours, jax_gradient(Ordinal(), score, stage), rtol=1e-11, atol=1e-15)
    with jax.enable_x64(True):
        hessian = jax.jit(jax.vmap(jax.hessian(Ordinal().value)))(score, stage)
    np.testing.assert_allclose(Ordinal().curvature(score, stage), hessian, rtol=1e-10, atol=1e-13)
    two = jax_gradient(Ordinal(), score[:, :2], stage % 2)
    np.testing.assert_allclose(Ordinal().gradient(score[:, :2], stage % 2), two, rtol=1e-12)


def test_two_ordered_classes_are_the_logistic_loss() -> None:
    score, target = SCORE[:, :2], INDEX % 2
    logistic = BinaryCrossEntropy().value(score[:, 0] - score[:, 1], target)
    np.testing.assert_allclose(Ordinal().value(score, target), logistic, rtol=1e-14)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_ordinal_gradient_is_exact_in_the_tails(stage: int) -> None:
    """By hand, with a and b the log-odds below and above the class and x = b - a."""
    score = np.array([z for z in itertools.product(TAILS, repeat=3) if z[2] < 10][::5])
    ours = Ordinal().gradient(score, np.full(len(score), stage))
    with mpmath.workdps(1300):
        for z, slope in zip(score, ours, strict=True):
            a, x = mpf(z[1]) - mpf(z[0]), mpmath.exp(mpf(z[2]))
            below, above = 1 / (1 + mpmath.exp(-a)), 1 / (1 + mpmath.exp(a + x))
            first, gap = (
                (below - 1, mpf(0)),
                (below - above, -x * above - x / mpmath.expm1(x)),
                (1 - above, x * (1 - above)),
            )[stage]
            assert_exact(slope, [-first, first, gap])


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_ordinal_curvature_is_exact_in_the_tails(stage: int) -> None:
    """By hand, with the log-odds a and b as in the gradient, and what x e^s adds to each."""
    score = np.array([z for z in itertools.product(TAILS, repeat=4) if max(z[2:]) < 10][::11])
    # Where the second log-odds -1 + exp(1e-8) nearly vanish, rounding the 1 moves all of them.
    score = score[np.abs(score[:, 1] - score[:, 0] + np.exp(score[:, 2])) > 1e-7]
    ours = Ordinal().curvature(score, np.full(len(score), stage))
    with mpmath.workdps(1300):
        for z, block in zip(score, ours, strict=True):
            x = [mpmath.exp(mpf(g)) for g in z[2:]]
            odds = [mpf(z[1]) - mpf(z[0]) + sum(x[:k]) for k in range(3)]
            true = mpmath.zeros(4)
            for end in {max(stage - 1, 0), min(stage, 2)}:  # the thresholds around the class
                below, above = 1 / (1 + mpmath.exp(-odds[end])), 1 / (1 + mpmath.exp(odds[end]))
                moves = mpmath.matrix([-1, 1, *(g if k < end else 0 for k, g in enumerate(x))])
                true += below * above * moves * moves.T
                pull = -above if end == stage else below
                true += pull * mpmath.diag([0, 0, *moves[2:]])
            if stage in (1, 2):
                g = x[stage - 1]
                ratio = g / mpmath.expm1(g)
                true[stage + 1, stage + 1] += ratio * (g + ratio - 1)
            for k in range(4):
                assert_exact(block[k], list(true[k, :]))


def assert_exact(ours: Array, true: list[Any]) -> None:
    for one, other in zip(ours, true, strict=True):
        assert abs(mpf(one) - other) <= max(abs(other) * mpf("1e-13"), mpf("1e-300"))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_ordinal_is_exact_in_the_tails(stage: int) -> None:
    """P(y = k) = (e^b - e^a) / ((1 + e^a) (1 + e^b)) between the log-odds a and b."""
    places = [-800.0, -30.0, -1.0, 1e-8, 30.0, 800.0]
    with mpmath.workdps(1200):
        for eta, first, gap in ((a, b, c) for a in places for b in places for c in places[:5]):
            below = mpf(first) - mpf(eta)
            above = below + mpmath.exp(mpf(gap))
            if above > 10**6:
                continue
            a, b = mpmath.exp(below), mpmath.exp(above)
            true = -mpmath.log([a / (1 + a), (b - a) / (1 + a) / (1 + b), 1 / (1 + b)][stage])
            ours = Ordinal().value(np.array([eta, first, gap]), np.array(stage)).item()
            assert abs(mpf(ours) - true) <= max(abs(true) * mpf("1e-13"), mpf("1e-300"))
    wide = Ordinal().gradient(np.array([[0.0, 0.0, 800.0]]), np.array([stage]))
    assert np.all(np.isfinite(wide)) or stage == 2


def test_ordinal_probabilities_thresholds_and_constant() -> None:
    score = RNG.normal(size=(9, 4))
    p, thresholds = Ordinal().response(score), Ordinal().thresholds(score)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    cumulative = 1 / (1 + np.exp(score[:, :1] - thresholds))
    np.testing.assert_allclose(np.cumsum(p, axis=1)[:, :-1], cumulative, rtol=1e-13)
    constant = Ordinal().constant(STAGE)
    np.testing.assert_allclose(Ordinal().response(constant), np.bincount(STAGE) / 12)
    assert Ordinal().decide(proportional_odds(4.0, -2.0, 1.4)).tolist()[0] == 0


def test_a_higher_location_favours_higher_classes() -> None:
    means = [Ordinal().response(np.array([eta, -1.0, 0.7])) @ np.arange(3) for eta in (-1, 0, 1)]
    assert means == sorted(means) and means[0] < means[2]


@pytest.mark.parametrize("loss", [Ordinal(), Brier()], ids=str)
@pytest.mark.parametrize("asarray", [jnp.asarray, torch.tensor, array_api_strict.asarray])
def test_ordinal_and_brier_on_every_array_library(loss: Loss, asarray: Any) -> None:
    with jax.enable_x64(True):
        score, target = asarray(SCORE), asarray(INDEX)
        for method in (loss.value, loss.gradient, loss.curvature, loss):
            theirs = method(score, target)
            assert isinstance(theirs, type(score))
            np.testing.assert_allclose(np.asarray(theirs), method(SCORE, INDEX), rtol=1e-12)
        np.testing.assert_allclose(
            np.asarray(loss.response(score)), loss.response(SCORE), rtol=1e-13
        )
