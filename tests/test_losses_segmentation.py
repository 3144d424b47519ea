"""Losses of images against hand counts, peers' formulas, their cards and real masks."""

from __future__ import annotations

import itertools
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score

from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses import (
    Boundary,
    CrossEntropy,
    Dice,
    FocalTversky,
    GeneralisedDice,
    Jaccard,
    Loss,
    LovaszHinge,
    LovaszSoftmax,
    PixelCrossEntropy,
    Sum,
    Tversky,
    signed_distance,
)

Array = Any
REGIONS = (Dice, Jaccard, Tversky, FocalTversky, GeneralisedDice, LovaszSoftmax)
LOSSES: list[Loss] = [
    made(per=per)
    for made in (PixelCrossEntropy, Boundary, *REGIONS, LovaszHinge)
    for per in ("image", "batch")
]
LOSSES += [Sum(), Sum((Dice(per="batch"), PixelCrossEntropy(), Jaccard()), np.array([1, 0.5, 2.0]))]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
each_region = pytest.mark.parametrize("made", REGIONS)


def images(loss: Loss, n: int = 3, shape: tuple[int, ...] = (4, 5)) -> tuple[Array, Array, Array]:
    """Random scores, targets and weights (some of them 0) that suit the loss."""
    rng = np.random.default_rng(n)
    score = rng.normal(size=(n, *shape, 3))
    target = rng.integers(0, 3, (n, *shape))
    weight = rng.integers(0, 3, (n, *shape)).astype(float)
    if isinstance(loss, LovaszHinge):
        return score[..., 0], (target > 0).astype(int), weight
    return score, signed_distance(target, 3) if isinstance(loss, Boundary) else target, weight


def slope_of(loss: Loss, score: Array, target: Array, **options: Array) -> Array:
    """∂ mean loss / ∂ score by PyTorch's autograd."""
    tensor = torch.as_tensor(score).clone().requires_grad_()
    torches = {name: torch.as_tensor(option) for name, option in options.items()}
    loss(tensor, torch.as_tensor(target), **torches).backward()
    assert tensor.grad is not None and tensor.grad.dtype == tensor.dtype
    return tensor.grad.double().numpy()


def hard(target: Array, classes: int = 2) -> Array:
    """Scores whose probabilities are 0 and 1."""
    return 1000.0 * np.eye(classes)[target]


# --- definitions and peers ----------------------------------------------------------------------

TRUTH = np.array([[[0, 0, 0], [0, 1, 1]], [[2, 2, 0], [0, 0, 0]]])
CLAIM = np.array([[[0, 1, 1], [0, 1, 0]], [[2, 1, 0], [0, 0, 0]]])


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    ("made", "peer"), [(Dice, f1_score), (Jaccard, jaccard_score), (LovaszSoftmax, jaccard_score)]
)
def test_of_certain_pixels_the_index_is_that_of_scikit_learn(
    made: Callable[..., Loss], peer: Callable[..., Any], background: bool
) -> None:
    for per, absent in itertools.product(("image", "batch"), ("skip", "count")):
        found = made(per=per, background=background, absent=absent)(hard(CLAIM, 3), TRUTH)
        sets = [(TRUTH, CLAIM)] if per == "batch" else list(zip(TRUTH, CLAIM, strict=True))
        expected = []
        for truth, claim in sets:
            shown = np.unique(truth) if absent == "skip" else np.arange(3)
            labels = [k for k in shown if k > 0 or background]
            index = peer(
                truth.ravel(), claim.ravel(), labels=labels, average="macro", zero_division=1
            )
            expected.append(1 - index)
        if absent == "count" and made is not LovaszSoftmax and per == "image":
            continue  # 0 / 0 is a matter of the smoothing, see below
        assert found == pytest.approx(np.mean(expected), abs=1e-12)


def test_the_tversky_family_by_hand() -> None:
    """Class 1 of image 1: TP 1, FP 2, FN 1; the background: TP 2, FP 1, FN 2."""
    score, target = hard(CLAIM[:1]), TRUTH[:1]
    tversky = Tversky(alpha=0.3, beta=0.7)(score, target)
    ones = 1 - 1 / (1 + 0.3 * 2 + 0.7 * 1)
    zeros = 1 - 2 / (2 + 0.3 * 1 + 0.7 * 2)
    assert tversky == pytest.approx((ones + zeros) / 2)
    focal = FocalTversky(alpha=0.3, beta=0.7, gamma=2.0)(score, target)
    assert focal == pytest.approx((ones**0.5 + zeros**0.5) / 2)
    generalised = 1 - 2 * (1 / 4 + 2 / 16) / ((2 + 3) / 4 + (4 + 3) / 16)  # areas 2 and 4
    assert GeneralisedDice()(score, target) == pytest.approx(generalised)
    smooth = Dice(smooth=1.0, background=False)(score, target)
    assert smooth == pytest.approx(1 - (2 * 1 + 1) / (3 + 2 + 1))


def test_half_and_half_is_dice_and_one_and_one_is_jaccard() -> None:
    score, target, weight = images(Dice())
    for one, other in [
        (Tversky(alpha=0.5, beta=0.5, smooth=1.0), Dice(smooth=2.0)),
        (Tversky(alpha=1.0, beta=1.0, smooth=1.0), Jaccard(smooth=1.0)),
        (FocalTversky(gamma=1.0), Tversky()),
    ]:
        assert one(score, target, weight=weight) == pytest.approx(
            other(score, target, weight=weight)
        )


def by_monai(score: Array, target: Array) -> float:
    """MONAI's DiceLoss(softmax=True, to_onehot_y=True, smooth_nr=smooth_dr=1e-5), spelled out."""
    p = torch.softmax(torch.tensor(score), -1)
    g = F.one_hot(torch.tensor(target), score.shape[-1])
    both = (p * g).sum((1, 2))
    return float((1 - (2 * both + 1e-5) / (p.sum((1, 2)) + g.sum((1, 2)) + 1e-5)).mean())


def test_dice_equals_monai() -> None:
    score, target, _ = images(Dice())
    found = Dice(smooth=1e-5, absent="count")(score, target)
    assert found == pytest.approx(by_monai(score, target), rel=1e-12)


def algorithm_1(error: Array, truth: Array) -> float:
    """Berman et al. (2018), algorithm 1, as in the authors' lovasz_losses.py."""
    order = np.argsort(-error)
    truth = truth[order].astype(float)
    union = truth.sum() + np.cumsum(1 - truth)
    jaccard = 1 - (truth.sum() - np.cumsum(truth)) / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return float(error[order] @ jaccard)


@pytest.mark.parametrize("absent", [False, True])
def test_lovasz_equals_the_authors_algorithm(absent: bool) -> None:
    score, target, _ = images(Dice(), n=1)
    p = np.exp(score) / np.exp(score).sum(-1, keepdims=True)
    target = np.minimum(target, 1) if absent else target
    each = [
        algorithm_1(np.abs((target == k) - p[..., k]).ravel(), target.ravel() == k)
        for k in range(3)
    ]
    assert LovaszSoftmax(absent="count")(score, target) == pytest.approx(np.mean(each), rel=1e-12)
    assert LovaszSoftmax()(score, target) == pytest.approx(np.mean(each[: 3 - absent]), rel=1e-12)

    y = np.zeros_like(target) if absent else (target == 1).astype(int)
    error = np.maximum(0, 1 - (2 * y - 1) * score[..., 0]).ravel()
    hinge = LovaszHinge()(score[..., 0], y)
    assert hinge == pytest.approx(algorithm_1(error, y.ravel() == 1), rel=1e-12)
    if absent:
        assert hinge == pytest.approx(error.max())


def test_pixel_cross_entropy_equals_torch() -> None:
    score, target, _ = images(Dice())
    planes = torch.tensor(score).permute(0, 3, 1, 2)
    options = {"label_smoothing": 0.1, "weight": torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)}
    theirs = F.cross_entropy(planes, torch.tensor(target), **options)
    class_weight = np.array([1.0, 2.0, 0.5])
    ours = PixelCrossEntropy(label_smoothing=0.1, class_weight=class_weight)
    plain = PixelCrossEntropy(class_weight=class_weight)(score, target)
    options.pop("label_smoothing")
    assert plain == pytest.approx(float(F.cross_entropy(planes, torch.tensor(target), **options)))
    assert ours(score, target) == pytest.approx(
        CrossEntropy(label_smoothing=0.1, class_weight=class_weight)(
            score.reshape(-1, 3), target.ravel()
        )
    )
    assert float(theirs) > 0
    shares = np.eye(3)[target]
    assert plain == pytest.approx(PixelCrossEntropy(class_weight=class_weight)(score, shares))


def test_boundary_by_hand_and_its_derivatives() -> None:
    """φ = (-1, 1) and (2, -2), p = ¼, ¾: ½ and -1."""
    score = np.log(np.array([[[1.0, 3.0], [1.0, 3.0]]]))
    target = np.array([[[-1.0, 1.0], [2.0, -2.0]]])
    assert Boundary().value(score, target).tolist() == [[pytest.approx(0.5), pytest.approx(-1.0)]]
    score, target, _ = images(Boundary())
    with jax.enable_x64(True):
        s, y = jnp.asarray(score).reshape(-1, 3), jnp.asarray(target).reshape(-1, 3)
        gradient = jax.jit(jax.vmap(jax.grad(Boundary().value)))(s, y)
        curvature = jax.jit(jax.vmap(jax.hessian(Boundary().value)))(s, y)
    np.testing.assert_allclose(Boundary().gradient(score, target).reshape(-1, 3), gradient, 1e-11)
    ours = Boundary().curvature(score, target).reshape(-1, 3, 3)
    np.testing.assert_allclose(ours, curvature, rtol=1e-9, atol=1e-14)


def test_signed_distance_by_hand() -> None:
    """A 3-4-5 triangle, and signs that swap with the mask."""
    target = np.zeros((1, 5, 6), dtype=int)
    target[0, 0, 0] = 1
    found = signed_distance(target, 3)
    assert found[0, 3, 4, 1] == 5.0 and found[0, 0, 0, 1] == -1.0
    np.testing.assert_array_equal(found[..., 0], -found[..., 1])
    assert not found[..., 2].any()
    assert signed_distance(target, 3, spacing=(2.0, 0.5))[0, 3, 4, 1] == pytest.approx(40**0.5)


# --- every array library, autodiff, shapes ------------------------------------------------------


@each_loss
def test_same_answer_and_slope_on_every_array_library(loss: Loss) -> None:
    score, target, weight = images(loss)
    ours = loss(score, target, weight=weight)
    with jax.enable_x64(True):
        for asarray in (torch.tensor, array_api_strict.asarray):
            s, y, w = map(asarray, (score, target, weight))
            theirs = loss(s, y, weight=w)
            assert isinstance(theirs, type(s))
            np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-12)
        by_jax = jax.jit(
            jax.value_and_grad(lambda s: loss(s, jnp.asarray(target), weight=jnp.asarray(weight)))
        )
        value, by_jax = map(np.asarray, by_jax(jnp.asarray(score)))
    np.testing.assert_allclose(value, ours, rtol=1e-12)
    slope = slope_of(loss, score, target, weight=weight)
    np.testing.assert_allclose(slope, by_jax, rtol=1e-10, atol=1e-15)
    step = np.random.default_rng(1).normal(size=score.shape) * 1e-6
    up, down = (loss(score + s, target, weight=weight) for s in (step, -step))
    assert np.sum(slope * 2 * step) == pytest.approx(up - down, rel=1e-5)


@each_loss
def test_torch_compile_makes_one_graph(loss: Loss) -> None:
    score, target, _ = images(loss)
    torch.compiler.reset()
    compiled = torch.compile(loss.value, fullgraph=True, backend="eager")
    score, target = torch.tensor(score), torch.tensor(target)
    torch.testing.assert_close(compiled(score, target), loss.value(score, target))


@pytest.mark.parametrize("shape", [(20,), (4, 5), (2, 2, 5)])
@each_loss
def test_lines_pictures_and_volumes_of_the_same_pixels_cost_the_same(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    score, target, weight = images(loss)
    lines = [a.reshape(3, *shape, *a.shape[3:]) for a in (score, target, weight)]
    found = loss(*lines[:2], weight=lines[2])
    assert found == pytest.approx(loss(score, target, weight=weight), rel=1e-12)


@each_loss
def test_a_weight_is_an_area_and_nothing_absent_is_touched(loss: Loss) -> None:
    """An image whose pixels repeat as often as they weigh costs the same."""
    score, target, weight = images(loss, n=1, shape=(12,))
    weight[0, :2] = 0, 2
    pixels = np.repeat(np.arange(12), weight[0].astype(int))
    expected = loss(score[:, pixels], target[:, pixels])
    poisoned = score.copy()
    poisoned[weight == 0] = np.nan
    assert loss(poisoned, target, weight=weight) == pytest.approx(expected, rel=1e-12)
    slope = slope_of(loss, poisoned, target, weight=weight)
    assert np.all(np.isfinite(slope)) and not np.any(slope[weight == 0])


@each_loss
def test_an_all_masked_batch_gives_zero_with_zero_gradient(loss: Loss) -> None:
    score, target, _ = images(loss)
    nothing = np.zeros((3, 4, 5), dtype=bool)
    poisoned = np.full(score.shape, np.nan)
    assert loss(poisoned, target, mask=nothing) == 0
    assert not np.any(slope_of(loss, poisoned, target, mask=nothing))


@each_loss
def test_half_precision_and_extreme_scores_are_finite(loss: Loss) -> None:
    score, target, _ = images(loss)
    for s in (20 * score, 1e4 * np.sign(score), 0 * score):
        exact = float(loss(s, target))
        for dtype in (torch.float16, torch.bfloat16):
            low = torch.as_tensor(s).to(dtype)
            value = float(loss(low, torch.as_tensor(target)))
            assert value == pytest.approx(exact, rel=2e-2, abs=1e-2)
            assert np.all(np.isfinite(slope_of(loss, low, target)))


@each_loss
def test_wrong_shapes_and_targets_are_refused(loss: Loss) -> None:
    score, target, _ = images(loss)
    with pytest.raises(ShapeError, match=r"\(3, 4, 4"):
        loss(score[:, :, :4], target)
    loss.check_target(target)
    bad = target.astype(float) if isinstance(loss, Boundary) else target
    bad.ravel()[7] = np.nan if isinstance(loss, Boundary) else -1
    with pytest.raises(TargetError, match="nan" if isinstance(loss, Boundary) else "-1"):
        loss.check_target(bad)


def test_a_bad_pixel_is_named() -> None:
    target = np.zeros((2, 3, 4), dtype=int)
    target[1, 2, 3] = target[1, 2, 2] = -1
    with pytest.raises(TargetError, match=r"image 2, pixel \(2, 2\) \(and 1 more\) is -1"):
        Dice().check_target(target)
    with pytest.raises(TargetError, match="not 0 or 1"):
        LovaszHinge().check_target(target)
    with pytest.raises(ShapeError, match="one distance map for each class"):
        Boundary()(np.zeros((1, 3, 2)), np.zeros((1, 3, 3)))
    with pytest.raises(ShapeError, match="2 or more classes"):
        Dice()(np.zeros((1, 3, 1)), np.zeros((1, 3)))


@each_region
def test_an_index_that_is_no_class_is_never_counted_in_silence(made: Callable[..., Loss]) -> None:
    score, target, _ = images(Dice())
    odd = target.copy()
    odd[:, 0, 0] = 255
    assert np.isnan(made()(score, odd))
    masked = made()(score, odd, mask=odd != 255)
    assert masked == made()(score, target, mask=odd != 255) > 0


# --- the pains of the field, and what each argument does ----------------------------------------


@pytest.mark.parametrize(
    "loss",
    [x for x in LOSSES if getattr(x, "per", "image") == "image" and x != LOSSES[-1]],
    ids=str,
)
def test_pain_11_dice_depends_on_batch(loss: Loss) -> None:
    """Per image, the loss of a batch is the mean of its images' losses, however it is cut."""
    score, target, weight = images(loss, n=5)
    alone = [loss(score[i : i + 1], target[i : i + 1], weight=weight[i : i + 1]) for i in range(5)]
    assert loss(score, target, weight=weight) == pytest.approx(np.mean(alone), rel=1e-12)
    parts = [loss.total(score[r], target[r], weight=weight[r]) for r in (slice(2), slice(2, 5))]
    value, number = np.sum(parts, axis=0)
    assert number == pytest.approx(5)
    assert value / number == pytest.approx(loss(score, target, weight=weight), rel=1e-12)


@each_region
def test_per_batch_takes_all_images_for_one(made: Callable[..., Loss]) -> None:
    score, target, weight = images(Dice())
    wide = (score.reshape(1, 12, 5, 3), target.reshape(1, 12, 5))
    found = made(per="batch")(score, target, weight=weight)
    assert found == pytest.approx(made()(*wide, weight=weight.reshape(1, 12, 5)), rel=1e-12)
    assert found != pytest.approx(made()(score, target, weight=weight), rel=1e-3)


@pytest.mark.parametrize("made", [PixelCrossEntropy, Boundary])
def test_per_image_lets_a_small_image_count_like_a_large_one(made: Callable[..., Loss]) -> None:
    score, target, _ = images(made())
    mask = np.ones((3, 4, 5), dtype=bool)
    mask[0, 1:] = False
    each = [made()(score[i], target[i], mask=mask[i]) for i in range(3)]
    assert made(per="image")(score, target, mask=mask) == pytest.approx(np.mean(each))
    assert made(per="batch")(score, target, mask=mask) == pytest.approx(
        np.average(each, weights=[5, 20, 20])
    )


@each_region
def test_leaving_the_background_out_looks_at_the_others_alone(made: Callable[..., Loss]) -> None:
    """Pain 11, MONAI 7729: a background that is left out takes its share of the mean with it."""
    truth = np.array([[0, 0, 0, 1]])
    assert made(background=False)(hard(np.array([[0, 0, 0, 0]])), truth) == pytest.approx(1)
    assert 0 < made(background=True)(hard(np.array([[0, 0, 0, 0]])), truth) < 1


@pytest.mark.parametrize("made", [Dice, Jaccard, Tversky, FocalTversky, LovaszSoftmax])
def test_absent_classes_are_skipped_or_counted(made: Callable[..., Loss]) -> None:
    truth, claim = np.zeros((1, 6), dtype=int), np.array([[0, 0, 0, 0, 1, 1]])
    assert made(background=False)(hard(claim), truth) == 0
    assert made(background=False, absent="count")(hard(claim), truth) == pytest.approx(1)
    assert made(background=False, absent="count")(hard(truth), truth) == 0


@each_region
def test_perfect_certainty_costs_nothing_with_a_finite_slope(made: Callable[..., Loss]) -> None:
    score = hard(TRUTH, 3)
    assert made()(score, TRUTH) == 0 and np.all(np.isfinite(slope_of(made(), score, TRUTH)))


def test_larger_smooth_forgives_more() -> None:
    score, target, _ = images(Dice())
    for made in (Dice, Jaccard, Tversky, FocalTversky):
        costs = [made(smooth=s)(score, target) for s in (0.0, 1.0, 10.0)]
        assert costs[0] > costs[1] > costs[2]


@pytest.mark.parametrize("made", [Tversky, FocalTversky])
def test_larger_alpha_punishes_false_positives_more_and_beta_false_negatives(
    made: Callable[..., Loss],
) -> None:
    truth = np.array([[0, 0, 1, 1]])
    claimed, missed = hard(np.array([[0, 1, 1, 1]])), hard(np.array([[0, 0, 0, 1]]))

    def cost(score: Array, **options: float) -> float:
        return float(made(background=False, **options)(score, truth))

    assert cost(claimed, alpha=0.9) > cost(claimed, alpha=0.1)
    assert cost(missed, alpha=0.9) == cost(missed, alpha=0.1)
    assert cost(missed, beta=0.9) > cost(missed, beta=0.1)
    assert cost(claimed, beta=0.9) == cost(claimed, beta=0.1)


def test_larger_gamma_makes_small_errors_weigh_more_beside_large_ones() -> None:
    truth = np.array([[0, 0, 0, 1, 1, 1]])
    small, large = hard(np.array([[0, 0, 0, 0, 1, 1]])), hard(np.array([[1, 0, 0, 0, 0, 1]]))
    share = [
        FocalTversky(gamma=g)(small, truth) / FocalTversky(gamma=g)(large, truth)
        for g in (1.0, 2.0, 3.0)
    ]
    assert share[0] < share[1] < share[2] < 1


# --- the claims of the cards --------------------------------------------------------------------


@pytest.mark.parametrize("loss", [PixelCrossEntropy(), LovaszHinge()], ids=str)
def test_claimed_convexity_holds(loss: Loss) -> None:
    _, target, weight = images(loss)
    rng = np.random.default_rng(2)
    assert loss.card.convex
    for _ in range(50):
        a, b = 3 * rng.normal(size=(2, *images(loss)[0].shape))
        ends = loss(a, target, weight=weight), loss(b, target, weight=weight)
        assert loss((a + b) / 2, target, weight=weight) <= sum(ends) / 2 + 1e-12


@pytest.mark.parametrize("made", [*REGIONS, Boundary])
def test_claimed_non_convexity_is_met(made: Callable[..., Loss]) -> None:
    """On the way from right to wrong the cost rises ever more slowly."""
    truth = np.array([[0, 1, 1]])
    target = signed_distance(truth, 2) if made is Boundary else truth
    wrong = 5 * np.eye(2)[1 - truth]
    costs = [made()(t * wrong, target) for t in (0.0, 0.5, 1.0)]
    assert made.card.convex is False and costs[1] > (costs[0] + costs[2]) / 2


def test_claimed_lipschitz_constant_of_the_lovasz_hinge_is_attained_and_never_passed() -> None:
    rng = np.random.default_rng(3)
    loss, target = LovaszHinge(), np.array([[0, 1, 0, 1]])
    scores = 3 * rng.normal(size=(100, 1, 4))
    steepest = [np.linalg.norm(slope_of(loss, s, target)) for s in scores]
    assert max(steepest) <= loss.card.lipschitz + 1e-12
    one = slope_of(loss, np.zeros((1, 1)), np.ones((1, 1)))
    assert np.linalg.norm(one) == pytest.approx(loss.card.lipschitz)


@pytest.mark.parametrize(
    "loss", [*(made(background=False) for made in REGIONS), LovaszHinge()], ids=str
)
def test_improper_losses_do_not_tell_the_probability(loss: Loss) -> None:
    """Three pixels in one image, one certain, the others foreground with the same chance."""
    grid = np.linspace(-8, 8, 161)

    def expected(z: float, chance: float) -> float:
        cost = 0.0
        for a, b in itertools.product((0, 1), repeat=2):
            row = np.array([[9.0, z, z]])
            score = row if isinstance(loss, LovaszHinge) else np.stack([0 * row, row], axis=-1)
            share = chance ** (a + b) * (1 - chance) ** (2 - a - b)
            cost += share * float(loss(score, np.array([[1, a, b]])))
        return cost

    def miss(chance: float) -> float:
        best = grid[np.argmin([expected(z, chance) for z in grid])]
        return float(abs(1 / (1 + np.exp(-best)) - chance))

    assert loss.card.proper is False and max(miss(0.3), miss(0.1)) > 0.1


@pytest.mark.parametrize("made", [Dice, Tversky, FocalTversky])
def test_hyper_parameters_can_be_mapped(made: Callable[..., Loss]) -> None:
    score, target, _ = images(Dice())
    base = {name: getattr(made(smooth=1.0), name) for name in made(smooth=1.0)._dynamic}
    alone = [made(**{n: f * v for n, v in base.items()})(score, target) for f in (1.0, 1.3)]
    together = made(**{n: np.array([v, 1.3 * v]) for n, v in base.items()})
    mapped = jax.jit(jax.vmap(lambda one: one(score, target)))(together)
    np.testing.assert_allclose(mapped, alone, rtol=1e-5)


# --- the constant, and real masks ----------------------------------------------------------------


def test_the_constant_gives_the_shares_of_the_classes() -> None:
    target = np.array([[[0, 0], [0, 1]]])
    for loss in (Dice(), PixelCrossEntropy()):
        p = loss.response(loss.constant(target))
        np.testing.assert_allclose(p, [0.75, 0.25])
    costs = {
        z: float(Dice()(np.tile([0.0, z], (1, 2, 2, 1)), target)) for z in np.arange(-4, 4, 0.1)
    }
    best = min(costs, key=lambda z: costs[z])
    assert best == pytest.approx(np.log(1 / 3), abs=0.06)  # Dice is least at the shares, too
    assert (
        LovaszHinge().constant(target) == 0 and Boundary().constant(np.zeros((1, 2, 3))).size == 3
    )


def test_real_masks_of_nuclei(shared_data: Callable[[str], Path]) -> None:
    """A blurred mask of nuclei: training on either loss brings back the mask itself."""
    with zipfile.ZipFile(shared_data("nuclei/dsb2018_256.zip")) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("labels/"))[:2]
        masks = [read_labels(archive.read(n)) > 0 for n in names]
    target = np.stack([m[:96, :96] for m in masks]).astype(int)
    assert 0 < target.mean() < 1
    blurred = np.stack([ndimage.gaussian_filter(m.astype(float), 3) for m in target])
    score = np.stack([0 * blurred, 8 * (blurred - 0.7)], axis=-1)
    for loss in (Dice(background=False), LovaszSoftmax(), PixelCrossEntropy()):
        z = score
        for _ in range(15):
            slope = slope_of(loss, z, target)
            z = z - 2.0 * slope / np.max(np.abs(slope))
        assert loss(z, target) < 0.6 * loss(score, target)
        assert np.mean(loss.decide(z) == target) > np.mean(loss.decide(score) == target)


def read_labels(png: bytes) -> Array:
    """A 16-bit grey PNG by the format's own rules: no image library is among the dependencies."""
    width, height = struct.unpack(">II", png[16:24])
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 2 * width)
    found = np.zeros((height + 1, 2 + 2 * width), dtype=int)
    for y, (kind, *line) in enumerate(lines.tolist(), start=1):
        for x, byte in enumerate(line, start=2):
            left, up, corner = found[y, x - 2], found[y - 1, x], found[y - 1, x - 2]
            near = min((left, up, corner), key=lambda c, t=left + up - corner: abs(t - c))
            guess = (0, left, up, (left + up) // 2, near)[kind]
            found[y, x] = (byte + guess) % 256
    return 256 * found[1:, 2::2] + found[1:, 3::2]


# --- sums ---------------------------------------------------------------------------------------


def test_a_sum_adds_what_its_losses_say_of_whole_images() -> None:
    """Images of one size count alike in both, so the mean is the sum of the means."""
    score, target, _ = images(Dice())
    loss = Sum((Dice(), PixelCrossEntropy()), weights=np.array([2.0, 0.5]))
    expected = 2 * Dice()(score, target) + 0.5 * PixelCrossEntropy()(score, target)
    assert loss(score, target) == pytest.approx(expected)
    total, count = loss.total(score, target)
    assert total / count == pytest.approx(expected) and count == len(target)


def test_a_sum_leaves_absent_images_and_pixels_out() -> None:
    score, target, _ = images(Dice())
    weight = np.ones(target.shape)
    weight[0], weight[1, :2] = 0, 0
    score[0] = np.nan
    each = Sum()(score, target, weight=weight, reduction="none")
    pixels = PixelCrossEntropy()(score[1:2], target[1:2], weight=weight[1:2])
    regions = Dice()(score[1:2], target[1:2], weight=weight[1:2])
    assert each[0] == 0 and each[1] == pytest.approx(pixels + regions)


def test_a_sum_of_a_loss_of_the_batch_is_of_the_batch() -> None:
    score, target, _ = images(Dice())
    whole = Dice(per="batch")
    expected = whole(score, target) + PixelCrossEntropy()(score, target)
    assert Sum((whole, PixelCrossEntropy()))(score, target) == pytest.approx(expected)


def test_losses_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ArgumentError, match="losses is empty"):
        Sum(())
    with pytest.raises(ArgumentError, match="LovaszHinge cannot stand beside Dice"):
        Sum((Dice(), LovaszHinge()))
    with pytest.raises(ArgumentError, match="must be of images"):
        Sum((CrossEntropy(),))
    with pytest.raises(ArgumentError, match="one for each of the 2 losses"):
        Sum(weights=np.ones(3))
