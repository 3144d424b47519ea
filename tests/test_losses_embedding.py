"""Losses of embeddings against loops spelled out from the papers, peers and their cards."""

from __future__ import annotations

from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minimand.arrays import norm, unit
from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses import ArcFace, Contrastive, Cosine, InfoNCE, Loss, SupCon, Triplet
from minimand.losses.embedding import EmbeddingLoss

Array = Any
BATCHED: list[EmbeddingLoss] = [
    Contrastive(margin=2.0),
    Cosine(margin=0.1),
    Triplet(),
    Triplet(mining="semi-hard"),
    InfoNCE(),
    SupCon(),
]
LOSSES: list[Loss] = [*BATCHED, ArcFace(scale=8.0)]
each_batched = pytest.mark.parametrize("loss", BATCHED, ids=str)
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 3])


def batch(loss: Loss, n: int = 8) -> tuple[Array, Array, Array]:
    """Embeddings (or cosines), labels and weights, some of them 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    return (np.tanh(x) if isinstance(loss, ArcFace) else x), LABELS[:n], rng.integers(0, 3, n) + 0.0


def slope_of(loss: Loss, score: Array, target: Array, **options: Array) -> Array:
    """∂ mean loss / ∂ score by PyTorch's autograd."""
    tensor = torch.as_tensor(score).clone().requires_grad_()
    torches = {name: torch.as_tensor(option) for name, option in options.items()}
    loss(tensor, torch.as_tensor(target), **torches).backward()
    assert tensor.grad is not None and tensor.grad.dtype == tensor.dtype
    return tensor.grad.double().numpy()


# --- definitions and peers ----------------------------------------------------------------------


def pairs(y: Array) -> list[tuple[int, int, bool]]:
    return [(i, j, y[i] == y[j]) for i in range(len(y)) for j in range(i)]


def test_contrastive_equals_hadsell_eq_4() -> None:
    x, y, _ = batch(Contrastive())
    cost = []
    for i, j, same in pairs(y):
        d = float(np.linalg.norm(x[i] - x[j]))
        cost.append(d**2 / 2 if same else max(0.0, 2.0 - d) ** 2 / 2)
    assert Contrastive(margin=2.0)(x, y) == pytest.approx(np.mean(cost), rel=1e-12)


def test_cosine_equals_torch() -> None:
    x, y, _ = batch(Cosine())
    i, j, same = (torch.tensor(column) for column in zip(*pairs(y), strict=True))
    tensor = torch.tensor(x)
    theirs = F.cosine_embedding_loss(tensor[i], tensor[j], 2 * same.long() - 1, margin=0.1)
    assert Cosine(margin=0.1)(x, y) == pytest.approx(float(theirs), rel=1e-12)


def triplets(x: Array, y: Array, a: int) -> tuple[list[float], list[float]]:
    """The anchor's distances to its positives and to its negatives."""
    d = [float(np.linalg.norm(x[a] - other)) for other in x]
    others = [i for i in range(len(y)) if i != a]
    return [d[i] for i in others if y[i] == y[a]], [d[i] for i in others if y[i] != y[a]]


def test_batch_hard_triplets_equal_torch_on_the_mined_ones() -> None:
    x, y, _ = batch(Triplet())
    mined = []
    for a in range(7):  # the last label stands alone
        d = np.linalg.norm(x[a] - x, axis=1)
        far = np.argmax(np.where((y == y[a]) & (np.arange(8) != a), d, -1.0))
        near = np.argmin(np.where(y != y[a], d, np.inf))
        mined.append((a, int(far), int(near)))
    anchor, positive, negative = (torch.tensor(x)[list(c)] for c in zip(*mined, strict=True))
    theirs = F.triplet_margin_loss(anchor, positive, negative, margin=1.0, eps=0.0)
    assert Triplet()(x, y) == pytest.approx(float(theirs), rel=1e-12)


def test_semi_hard_triplets_equal_a_loop() -> None:
    x, y, _ = batch(Triplet())
    each = []
    for a in range(7):
        positive, negative = triplets(x, y, a)
        farther = [[n for n in negative if n > p] for p in positive]
        costs = [
            max(0.0, 1.0 + p - min(n)) if n else 0.0 for p, n in zip(positive, farther, strict=True)
        ]
        each.append(np.mean(costs))
    found = Triplet(mining="semi-hard")(x, y)
    assert found == pytest.approx(np.mean(each), rel=1e-12) and found > 0


def contrasts(x: Array, y: Array, temperature: float, everyone: bool) -> float:
    """Khosla et al. (2020), eq. 2, or with the other positives out of the denominator."""
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    e = np.exp(u @ u.T / temperature)
    each = []
    for a in range(len(y)):
        positive = [p for p in range(len(y)) if p != a and y[p] == y[a]]
        negative = [n for n in range(len(y)) if y[n] != y[a]]
        terms = []
        for p in positive:
            rivals = [*positive, *negative] if everyone else [p, *negative]
            terms.append(-np.log(e[a, p] / e[a, rivals].sum()))
        if positive:
            each.append(np.mean(terms))
    return float(np.mean(each))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_infonce_and_supcon_equal_a_loop(temperature: float) -> None:
    x, y, _ = batch(InfoNCE())
    expected = contrasts(x, y, temperature, everyone=False)
    assert InfoNCE(temperature=temperature)(x, y) == pytest.approx(expected, rel=1e-12)
    expected = contrasts(x, y, temperature, everyone=True)
    assert SupCon(temperature=temperature)(x, y) == pytest.approx(expected, rel=1e-12)


def test_of_two_views_both_are_nt_xent() -> None:
    """Chen et al. (2020), eq. 1: torch's cross-entropy of the cosines, the own one left out."""
    x = np.random.default_rng(1).normal(size=(10, 3))
    y = np.tile(np.arange(5), 2)
    u = F.normalize(torch.tensor(x))
    logits = (u @ u.T / 0.5).fill_diagonal_(-torch.inf)
    theirs = F.cross_entropy(logits, torch.tensor([5, 6, 7, 8, 9, 0, 1, 2, 3, 4]))
    for made in (InfoNCE, SupCon):
        assert made(temperature=0.5)(x, y) == pytest.approx(float(theirs), rel=1e-12)


def test_arcface_equals_its_definition_at_50_digits() -> None:
    """Deng et al. (2019), eq. 3."""
    loss = ArcFace(margin=0.5, scale=64.0)
    with mpmath.workdps(50):
        for cosines in ([0.9, -0.2, 0.3], [-0.8, 0.1, 0.99], [0.0, 1.0, -1.0], [0.999, -1.0, -0.5]):
            angles = [mpmath.acos(mpmath.mpf(c)) for c in cosines]

            def exact(own: Any, rest: list[Any] = angles[1:]) -> Any:
                others = sum(mpmath.exp(64 * (mpmath.cos(r) - mpmath.cos(own + 0.5))) for r in rest)
                return mpmath.log(1 + others)

            score, target = np.array([cosines]), np.array([0])
            assert loss.value(score, target)[0] == pytest.approx(float(exact(angles[0])), rel=1e-12)
            slope = mpmath.diff(lambda c: exact(mpmath.acos(c)), mpmath.mpf(cosines[0]))
            assert loss.gradient(score, target)[0, 0] == pytest.approx(float(slope), rel=1e-10)


def test_arcface_without_a_margin_is_cross_entropy_and_keeps_falling_beyond_pi() -> None:
    score, target, _ = batch(ArcFace())
    theirs = F.cross_entropy(torch.tensor(8 * score), torch.tensor(target))
    assert ArcFace(margin=0.0, scale=8.0)(score, target) == pytest.approx(float(theirs))
    own = np.linspace(-1, 1, 201)
    costs = ArcFace(scale=4.0).value(np.stack([own, 0 * own], axis=-1), np.zeros(201, dtype=int))
    assert np.all(np.diff(costs) < 0)


def test_arcface_gradient_equals_autodiff_and_decides_by_the_largest_cosine() -> None:
    loss = ArcFace(scale=8.0)
    score, target, _ = batch(loss)
    np.testing.assert_allclose(
        loss.gradient(score, target) / 8, slope_of(loss, score, target), rtol=1e-12, atol=1e-16
    )
    assert loss.decide(score).tolist() == np.argmax(score, axis=1).tolist()
    np.testing.assert_allclose(loss.response(score).sum(axis=1), 1)
    assert loss.constant(target).tolist() == [0.0] * 4


# --- every array library, weights, nothing to compare ---------------------------------------------


@each_loss
def test_same_answer_and_slope_on_every_array_library(loss: Loss) -> None:
    score, target, weight = batch(loss)
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
    np.testing.assert_allclose(slope, by_jax, rtol=1e-10, atol=1e-14)
    step = np.random.default_rng(1).normal(size=score.shape) * 1e-6
    up, down = (loss(score + s, target, weight=weight) for s in (step, -step))
    assert np.sum(slope * 2 * step) == pytest.approx(up - down, rel=1e-5)


@each_loss
def test_torch_compile_makes_one_graph(loss: Loss) -> None:
    score, target, _ = batch(loss)
    torch.compiler.reset()
    compiled = torch.compile(loss.value, fullgraph=True, backend="eager")
    score, target = torch.tensor(score), torch.tensor(target)
    torch.testing.assert_close(compiled(score, target), loss.value(score, target))


@each_loss
def test_hyper_parameters_can_be_mapped(loss: Loss) -> None:
    score, target, _ = batch(loss)
    base = {name: getattr(loss, name) for name in loss._dynamic}
    alone = [type(loss)(**{n: f * v for n, v in base.items()})(score, target) for f in (1.0, 1.3)]
    together = type(loss)(**{n: np.array([v, 1.3 * v]) for n, v in base.items()})
    mapped = jax.jit(jax.vmap(lambda one: one(score, target)))(together)
    np.testing.assert_allclose(mapped, alone, rtol=2e-4)


@each_loss
def test_absent_examples_are_as_if_they_were_not_there(loss: Loss) -> None:
    score, target, _ = batch(loss)
    kept = np.array([1, 1, 1, 1, 0, 1, 0, 1], dtype=bool)
    expected = loss(score[kept], target[kept])
    poisoned = np.where(kept[:, None], score, np.nan)
    assert loss(poisoned, target, mask=kept) == pytest.approx(expected, rel=1e-12)
    assert loss(poisoned, target, weight=2.0 * kept) == pytest.approx(expected, rel=1e-12)
    slope = slope_of(loss, poisoned, target, mask=kept)
    assert np.all(np.isfinite(slope)) and not np.any(slope[~kept])


@each_loss
def test_larger_weight_draws_the_mean_towards_its_row(loss: Loss) -> None:
    """By the ratio of two weighted means: an anchor of weight 0.5 counts half."""
    score, target, _ = batch(loss)
    costs = []
    for w in (0.001, 1.0, 1000.0):
        weight = np.ones(8)
        weight[2] = w
        costs.append(float(loss(score, target, weight=weight)))
    assert costs == sorted(costs) or costs == sorted(costs, reverse=True)
    assert len({round(c, 6) for c in costs}) == 3


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
@each_batched
def test_batches_without_positives_or_negatives(loss: EmbeddingLoss, labels: list[int]) -> None:
    """Nothing to compare costs 0 with slope 0; the losses of pairs count the pairs there are."""
    score, target = batch(loss)[0][:4], np.array(labels)
    slope = slope_of(loss, score, target)
    assert np.all(np.isfinite(slope))
    if isinstance(loss, (Contrastive, Cosine)):
        assert loss(score, target) > 0
    else:
        assert loss(score, target) == 0 and not np.any(slope)


@each_batched
def test_one_example_or_none_costs_nothing(loss: EmbeddingLoss) -> None:
    score, target, _ = batch(loss, n=1)
    assert loss(score, target) == 0 and not np.any(slope_of(loss, score, target))
    nothing = np.zeros(1, dtype=bool)
    poisoned = np.full((1, 4), np.nan)
    assert loss(poisoned, target, mask=nothing) == 0
    assert not np.any(slope_of(loss, poisoned, target, mask=nothing))


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@each_loss
def test_pain_15_fp16_overflow(loss: Loss, dtype: torch.dtype, scale: float) -> None:
    """PML 209, lightly 1259: zero vectors, equal vectors and squares beyond 65504."""
    score, target, _ = batch(loss)
    score[3] = score[2]
    score[0] = 0.0
    score = np.clip(scale * score, -1, 1) if isinstance(loss, ArcFace) else scale * score
    low = torch.as_tensor(score).to(dtype)
    value = float(loss(low, torch.as_tensor(target)))
    exact = float(loss(low.double().numpy(), target))
    assert value == pytest.approx(exact, rel=1e-3, abs=1e-5)
    assert np.all(np.isfinite(slope_of(loss, low, target)))


@each_batched
def test_huge_and_tiny_embeddings_are_finite(loss: EmbeddingLoss) -> None:
    score, target, _ = batch(loss)
    for scale in (1e30, 1e-30):
        single = (scale * score).astype(np.float32)
        slope = slope_of(loss, single, target)
        if not isinstance(loss, Contrastive):  # whose squares are beyond float32
            assert np.isfinite(loss(single, target)) and np.all(np.isfinite(slope))


def test_norms_by_hand() -> None:
    x = torch.tensor([[3e200, 4e200], [0.0, 0.0], [3e-200, -4e-200]], dtype=torch.float64)
    x.requires_grad_()
    length = norm(x)
    np.testing.assert_allclose(length.detach(), [5e200, 0, 5e-200], rtol=1e-15)
    length.sum().backward()
    np.testing.assert_allclose(x.grad, [[0.6, 0.8], [0, 0], [0.6, -0.8]], rtol=1e-14)
    np.testing.assert_allclose(unit(x).detach(), [[0.6, 0.8], [0, 0], [0.6, -0.8]], rtol=1e-15)


# --- what each argument does, and what is refused ------------------------------------------------


def test_larger_margin_asks_for_more() -> None:
    x, y, _ = batch(Triplet())
    for made in (Contrastive, Triplet):
        costs = [made(margin=m)(x, y) for m in (0.5, 2.0, 4.0)]
        assert costs[0] < costs[1] < costs[2]
    assert ArcFace(margin=0.5)(np.tanh(x), y) > ArcFace(margin=0.1)(np.tanh(x), y)
    assert Cosine(margin=0.5)(x, y) < Cosine(margin=0.0)(x, y)  # of cosines: what is let through


def test_negatives_beyond_the_margin_are_left_alone() -> None:
    x, y = np.array([[0.0, 1.0], [3.0, 0.0]]), np.array([0, 1])
    assert Contrastive(margin=3.0)(x, y) == 0 and not np.any(slope_of(Contrastive(), x, y))
    assert Contrastive(margin=4.0)(x, y) > 0
    assert Cosine(margin=0.0)(x, y) == 0 and Cosine()(x, np.array([0, 0])) == 1


@pytest.mark.parametrize("made", [InfoNCE, SupCon])
def test_smaller_temperature_looks_more_at_the_most_similar_negative(made: Any) -> None:
    """The share of the slope that goes to the nearer one of an anchor's two negatives."""
    x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-0.6, 0.8]])
    y = np.array([0, 0, 1, 2])
    weight = np.array([1.0, 1e-12, 1e-12, 1e-12])
    shares = []
    for temperature in (2.0, 0.5, 0.1):
        pull = np.linalg.norm(slope_of(made(temperature=temperature), x, y, weight=weight), axis=1)
        shares.append(pull[2] / (pull[2] + pull[3]))
    assert shares == sorted(shares) and shares[-1] > 0.99


def test_larger_scale_makes_probabilities_harder() -> None:
    score = np.array([[0.5, 0.1, -0.3]])
    assert ArcFace(scale=64.0).response(score)[0, 0] > ArcFace(scale=4.0).response(score)[0, 0]


def test_hard_mining_meets_a_nearer_negative_than_semi_hard() -> None:
    """The negative at 0.5 is nearer than the positive at 1: only "hard" takes it."""
    x, y = np.array([[0.0], [1.0], [-0.5], [9.0]]), np.array([0, 0, 1, 1])
    only = np.array([1.0, 1e-12, 1e-12, 1e-12])
    assert Triplet(margin=1.0)(x, y, weight=only) == pytest.approx(1 + 1 - 0.5)
    assert Triplet(margin=1.0, mining="semi-hard")(x, y, weight=only) == pytest.approx(0, abs=1e-9)


@each_batched
def test_descent_brings_labels_together(loss: EmbeddingLoss) -> None:
    x, y = np.random.default_rng(3).normal(size=(12, 3)), np.repeat(np.arange(3), 4)
    same = (y[:, None] == y) & ~np.eye(12, dtype=bool)

    def nearest(x: Array) -> float:
        u = x / np.linalg.norm(x, axis=1, keepdims=True)
        return float(np.mean(y[np.argmax(u @ u.T - 9 * np.eye(12), axis=1)] == y))

    start = loss(x, y)
    for _ in range(100):
        x = x - 0.5 * slope_of(loss, x, y)
    assert same.any() and loss(x, y) < 0.7 * start and nearest(x) > 0.7


@each_loss
def test_what_is_refused(loss: Loss) -> None:
    score, target, _ = batch(loss)
    with pytest.raises(ShapeError, match=r"\(8, 4\)"):
        loss(score, target[:5])
    loss.check_target(target)
    bad = target.astype(float)
    bad[4] = np.nan
    with pytest.raises(TargetError, match="row 5 is nan"):
        loss.check_target(bad)
    if isinstance(loss, EmbeddingLoss):
        with pytest.raises(ArgumentError, match="no best constant"):
            loss.constant(target)


@each_loss
def test_claimed_non_convexity_is_met(loss: Loss) -> None:
    """Random ends and their middle: at least one middle lies above the mean of its ends."""
    rng = np.random.default_rng(5)
    _, y, _ = batch(loss)
    above = []
    for _ in range(300):
        a, b = np.clip(rng.normal(size=(2, 8, 4)), -1, 1)
        above.append(loss((a + b) / 2, y) > (loss(a, y) + loss(b, y)) / 2 + 1e-9)
    assert loss.card.convex is False and any(above)
