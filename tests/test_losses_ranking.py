"""Losses of ranked lists against scikit-learn's NDCG, their papers and a real ranking task."""

from __future__ import annotations

import gzip
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sklearn.datasets import load_svmlight_file
from sklearn.metrics import ndcg_score

from minimand.errors import ShapeError, TargetError
from minimand.losses import LambdaRank, ListMLE, ListNet, Loss, RankNet
from minimand.losses.ranking import pad_groups

Array = Any
LOSSES = [RankNet(), LambdaRank(), ListNet(), ListMLE()]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
LIBRARIES = {
    "jax": jnp.asarray,
    "torch": torch.tensor,
    "array_api_strict": array_api_strict.asarray,
}


def lists(seed: int = 0, queries: int = 4, items: int = 6) -> tuple[Array, Array]:
    """Scores and grades 0 to 3, with ties among the grades."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(queries, items)), rng.integers(0, 4, (queries, items)).astype(float)


# --- each definition, by hand or by a peer --------------------------------------------------------


def by_ranknet(z: Array, y: Array) -> float:
    """Torch's logistic loss of every pair of unequal relevance, one pair after another."""
    pairs = [(i, j) for i, j in itertools.permutations(range(len(z)), 2) if y[i] > y[j]]
    margins = torch.tensor([z[i] - z[j] for i, j in pairs])
    return float(torch.nn.functional.soft_margin_loss(margins, torch.ones_like(margins)))


def by_lambdarank(z: Array, y: Array) -> float:
    """Burges (2010), section 4; the change of the NDCG is measured by scikit-learn."""
    total = 0.0
    gain = 2**y - 1
    for i, j in itertools.permutations(range(len(z)), 2):
        if y[i] > y[j]:
            swapped = z.copy()
            swapped[[i, j]] = z[[j, i]]
            change = ndcg_score([gain], [z]) - ndcg_score([gain], [swapped])
            total += abs(change) * math.log1p(math.exp(z[j] - z[i]))
    return total


def by_listnet(z: Array, y: Array) -> float:
    """Torch's cross-entropy with the softmax of the relevance as soft target."""
    return float(
        torch.nn.functional.cross_entropy(torch.tensor(z), torch.softmax(torch.tensor(y), 0))
    )


PEERS = [(RankNet(), by_ranknet), (LambdaRank(), by_lambdarank), (ListNet(), by_listnet)]


@pytest.mark.parametrize(("loss", "peer"), PEERS, ids=lambda x: str(x)[:12])
def test_values_equal_the_peers(loss: Loss, peer: Callable[[Array, Array], float]) -> None:
    score, target = lists()
    each = [peer(z, y) for z, y in zip(score, target, strict=True)]
    np.testing.assert_allclose(loss(score, target, reduction="none"), each, rtol=1e-12)


def test_listmle_is_the_chance_of_drawing_the_list_in_order() -> None:
    """Plackett (1975): P(order) = Π exp(zᵢ) / Σ exp(z of those left), multiplied out."""
    z, y = np.array([[0.3, -1.0, 2.0, 0.0]]), np.array([[1, 3, 0, 2]])
    drawn = np.exp(z[0, np.argsort(-y[0])])
    chance = math.prod(drawn[i] / drawn[i:].sum() for i in range(4))
    assert ListMLE()(z, y) == pytest.approx(-math.log(chance), rel=1e-13)


def test_the_chances_of_all_orders_add_up_to_one() -> None:
    z = np.array([0.5, -1.0, 2.0])
    orders = np.array(list(itertools.permutations(range(3))))
    cost = ListMLE()(np.tile(z, (6, 1)), orders, reduction="none")
    assert np.exp(-cost).sum() == pytest.approx(1.0, rel=1e-13)


def by_torch(loss: Loss, score: Array, target: Array, **options: Any) -> Array:
    """The gradient by PyTorch."""
    z = torch.tensor(score, requires_grad=True)
    loss(z, torch.tensor(target), **options).backward()
    return z.grad.numpy()


# --- what every ranking loss must do ------------------------------------------------------------


@each_loss
def test_closed_gradients_equal_autodiff(loss: Loss) -> None:
    score, target = lists()
    ours = loss.gradient(score, target)
    with jax.enable_x64(True):
        by_jax = jax.jit(jax.grad(lambda s: loss(s, jnp.asarray(target), reduction="sum")))
        np.testing.assert_allclose(ours, by_jax(jnp.asarray(score)), rtol=1e-11, atol=1e-14)
    theirs = by_torch(loss, score, target, reduction="sum")
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("library", LIBRARIES)
@each_loss
def test_same_answer_on_every_array_library(loss: Loss, library: str) -> None:
    score, target = lists()
    mask = np.arange(6) < np.array([[6], [4], [2], [0]])
    with jax.enable_x64(True):
        z, y, m = map(LIBRARIES[library], (score, target.astype(int), mask))
        run = jax.jit if library == "jax" else lambda function: function
        for theirs, ours in [
            (run(lambda z: loss(z, y, mask=m))(z), loss(score, target, mask=mask)),
            (run(loss.gradient)(z, y), loss.gradient(score, target)),
        ]:
            assert isinstance(theirs, type(z))
            np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-12, atol=1e-15)


@each_loss
def test_torch_compile_makes_one_graph(loss: Loss) -> None:
    z, y = map(torch.tensor, lists())
    compiled = torch.compile(loss.value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z, y), loss.value(z, y))


@each_loss
def test_padding_changes_nothing_even_when_it_is_nan(loss: Loss) -> None:
    score, target = lists()
    alone = [loss(score[:1, :4], target[:1, :4]), loss(score[1:2], target[1:2])]
    mask = np.arange(6) < np.array([[4], [6]])
    padded = np.where(mask, score[:2], np.nan)
    assert loss(padded, target[:2], mask=mask) == pytest.approx(np.mean(alone), rel=1e-12)
    slope = by_torch(loss, padded, target[:2], mask=torch.tensor(mask))
    expected = loss.gradient(score[:1, :4], target[:1, :4]) / 2
    np.testing.assert_allclose(slope[0, :4], expected[0], rtol=1e-11)
    assert not slope[0, 4:].any()


@each_loss
def test_a_query_that_is_all_padding_does_not_count(loss: Loss) -> None:
    score, target = lists(queries=2)
    mask = np.array([[True] * 6, [False] * 6])
    assert loss(score, target, mask=mask) == pytest.approx(loss(score[:1], target[:1]), rel=1e-13)
    total, count = loss.total(score, target, mask=mask)
    assert count == 1 and total == pytest.approx(loss(score[:1], target[:1]), rel=1e-13)
    nothing = np.zeros((2, 6), dtype=bool)
    assert loss(score * np.nan, target, mask=nothing) == 0
    assert not by_torch(loss, score * np.nan, target, mask=torch.tensor(nothing)).any()


@each_loss
def test_the_order_of_items_and_a_common_shift_do_not_matter(loss: Loss) -> None:
    score, target = lists()
    order = np.random.default_rng(1).permutation(6)
    value = loss(score, target)
    assert loss(score[:, order], target[:, order]) == pytest.approx(value, rel=1e-12)
    assert loss(score + 1000.0, target) == pytest.approx(value, rel=1e-12)


@each_loss
def test_following_the_gradient_ranks_by_relevance(loss: Loss) -> None:
    """From equal scores, where every rank is tied."""
    _, target = lists()
    score = np.zeros_like(target)
    for _ in range(300):
        score -= loss.gradient(score, target)
    assert ndcg_score(2**target - 1, score) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("loss", [RankNet(), LambdaRank(), ListMLE()], ids=str)
def test_equal_relevance_costs_nothing(loss: Loss) -> None:
    score, _ = lists()
    same = np.full_like(score, 2.0)
    assert loss(score, same) == 0 and not loss.gradient(score, same).any()


def test_listnet_asks_equal_relevance_for_equal_scores() -> None:
    assert np.allclose(ListNet().gradient(np.zeros((1, 3)), np.ones((1, 3))), 0, atol=1e-16)
    assert ListNet().gradient(np.array([[1.0, 0.0]]), np.ones((1, 2)))[0, 0] > 0


@each_loss
def test_extreme_scores_keep_value_and_gradient_finite(loss: Loss) -> None:
    target = np.array([[3.0, 0.0, 1.0, 1.0]])
    for extreme in ([800.0, -800.0, 30.0, 1e-8], [-800.0, 800.0, -30.0, -1e-8]):
        score = np.array([extreme])
        assert np.isfinite(loss(score, target))
        assert np.all(np.isfinite(loss.gradient(score, target)))
        half = torch.tensor(score, dtype=torch.bfloat16, requires_grad=True)
        loss(half, torch.tensor(target)).backward()
        assert torch.all(torch.isfinite(half.grad))


def test_a_list_that_is_right_by_far_costs_its_tiny_inversions_exactly() -> None:
    """log(1 + exp(-30)) = exp(-30) - exp(-60)/2 + ..., which a naive spelling rounds."""
    score, target = np.array([[30.0, 0.0]]), np.array([[1, 0]])
    tiny = math.exp(-30) - math.exp(-60) / 2
    assert RankNet()(score, target) == pytest.approx(tiny, rel=1e-13)
    assert ListMLE()(score, target) == pytest.approx(tiny, rel=1e-13)


@pytest.mark.parametrize("loss", [x for x in LOSSES if x.card.convex], ids=str)
def test_claimed_convexity_holds(loss: Loss) -> None:
    rng = np.random.default_rng(3)
    _, target = lists(queries=200)
    a, b = rng.normal(scale=5.0, size=(2, 200, 6))
    share = rng.random((200, 1))
    mixed = loss.value(share * a + (1 - share) * b, target)
    chord = share[:, 0] * loss.value(a, target) + (1 - share[:, 0]) * loss.value(b, target)
    assert np.all(mixed <= chord + 1e-12)


def test_lambdarank_is_not_convex_and_jumps_where_scores_meet() -> None:
    z = np.linspace(-1, 1, 4001)
    score = np.stack((z, np.zeros_like(z), np.full_like(z, 0.5)), axis=1)
    value = LambdaRank().value(score, np.tile([2.0, 1.0, 0.0], (4001, 1)))
    assert np.abs(np.diff(value)).max() > 100 * np.median(np.abs(np.diff(value)))


# --- weights, groups, bad input -------------------------------------------------------------------


@each_loss
def test_only_relative_weights_within_a_list_matter(loss: Loss) -> None:
    score, target = lists()
    weight = np.random.default_rng(2).random((4, 6)) + 0.1
    value = loss(score, target, weight=weight)
    assert loss(score, target, weight=7.0 * weight) == pytest.approx(value, rel=1e-12)
    assert loss(score, target, weight=np.full((4, 6), 3.0)) == pytest.approx(loss(score, target))


@each_loss
def test_larger_weight_makes_a_misplaced_item_dearer(loss: Loss) -> None:
    score, target = np.array([[-2.0, 1.0, 0.0, -1.0]]), np.array([[3, 2, 1, 0]])
    costs = [loss(score, target, weight=np.array([[w, 1, 1, 1.0]])) for w in (0.5, 1.0, 3.0)]
    assert costs == sorted(costs) and costs[0] < costs[2]


def test_pad_groups_and_derivatives_through_it() -> None:
    values = np.arange(10.0).reshape(5, 2)
    padded, mask = pad_groups(values, [2, 0, 3])
    assert padded.shape == (3, 3, 2) and mask.sum(axis=1).tolist() == [2, 0, 3]
    np.testing.assert_array_equal(padded[mask], values)
    assert not padded[~mask].any()
    slope = jax.grad(lambda v: (pad_groups(v, [2, 3])[0] ** 2).sum())(jnp.arange(1.0, 6.0))
    np.testing.assert_allclose(slope, 2 * np.arange(1.0, 6.0))


def test_groups_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ShapeError, match="add up to 4, but values have 5 rows"):
        pad_groups(np.zeros(5), [1, 3])


@each_loss
def test_a_bad_relevance_is_refused_by_row_and_value(loss: Loss) -> None:
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(TargetError, match=rf"target row 3 is {bad}"):
            loss.check_target(np.array([0.0, 1.0, bad]))
    loss.check_target(np.array([[0.0, 4.0]]))


def test_a_constant_ranks_nothing() -> None:
    assert RankNet().constant(np.array([[1.0, 0.0]])) == 0


@each_loss
def test_a_linear_model_learns_to_rank_lightgbms_example(
    loss: Loss, shared_data: Callable[[str], Path]
) -> None:
    """50 steps of gradient descent lift the NDCG on the 50 held-out queries well above chance."""

    def read(part: str) -> tuple[Array, Array, Array]:
        with gzip.open(shared_data(f"ranking/rank.{part}.gz"), "rb") as file:
            X, y = load_svmlight_file(file, n_features=301, zero_based=True)
        sizes = np.loadtxt(shared_data(f"ranking/rank.{part}.query"), dtype=int)
        return X.toarray(), y, sizes

    def held_out(coefficients: Array) -> float:
        groups = np.split(np.arange(len(y_test)), np.cumsum(sizes_test)[:-1])
        scored = X_test @ coefficients
        return float(
            np.mean([ndcg_score([2 ** y_test[g] - 1], [scored[g]]) for g in groups if len(g) > 1])
        )

    X, y, sizes = read("train")
    X_test, y_test, sizes_test = read("test")
    relevance, mask = pad_groups(y, sizes)
    relevance, mask = jnp.asarray(relevance), jnp.asarray(mask)
    rows = jnp.asarray(X, jnp.float32)

    @jax.jit
    def slope(coefficients: Array) -> Array:
        return jax.grad(lambda c: loss(pad_groups(rows @ c, sizes)[0], relevance, mask=mask))(
            coefficients
        )

    coefficients = jnp.zeros(301)
    before = held_out(np.random.default_rng(0).normal(size=301))
    for _ in range(50):
        step = slope(coefficients)
        coefficients -= 0.2 * step / jnp.linalg.norm(step)
    assert held_out(np.asarray(coefficients)) > before + 0.05
