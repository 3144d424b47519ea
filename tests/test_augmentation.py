"""Augmentations: shares that can be read off, losses that are mixed exactly, and peers."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from minimand import randomness
from minimand.component import catalogue
from minimand.data.augmentation import (
    Augmentation,
    Chain,
    CutMix,
    GaussianNoise,
    MixUp,
    Unchanged,
)
from minimand.errors import ShapeError
from minimand.losses import CrossEntropy, Hinge, Huber, Loss, Poisson, Squared

KEY = randomness.key(5)
N = 64
ROWS = jnp.eye(N)
"""Inputs of which a mixture shows who is in it, and how much."""
EACH = [made() for made in catalogue("augmentation").values()]


compiled = jax.jit(lambda one, *rest: one(*rest))


def call(one: Augmentation, x: Any, y: Any, w: Any, key: Any = KEY) -> Any:
    return compiled(one, key, x, y, w)


def test_every_row_is_its_own_share_of_itself_and_another() -> None:
    weight = jnp.linspace(1.0, 2.0, N)
    x, y, w = call(MixUp(alpha=1.0), ROWS, jnp.arange(N), weight)
    np.testing.assert_allclose(x.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(y[0], np.arange(N))
    assert sorted(np.asarray(y[1])) == list(range(N))
    own = np.diag(x)
    fixed = np.asarray(y[1]) == np.arange(N)
    np.testing.assert_allclose(w[0][~fixed], (own * weight)[~fixed], rtol=1e-6)
    other = np.asarray(x)[np.arange(N), y[1]]
    np.testing.assert_allclose(w[1][~fixed], (other * weight[y[1]])[~fixed], rtol=1e-5, atol=1e-6)


def test_shares_are_drawn_from_a_beta_distribution() -> None:
    for alpha in (0.2, 0.5, 1.0, 4.0):
        _, _, w = call(MixUp(alpha=alpha), jnp.zeros((2000, 1)), jnp.zeros(2000), jnp.ones(2000))
        found = stats.kstest(np.asarray(w[0]), stats.beta(alpha, alpha).cdf)
        assert found.pvalue > 0.01


def test_a_larger_alpha_mixes_more_evenly() -> None:
    far = [
        float(jnp.abs(call(MixUp(alpha=a), ROWS, jnp.zeros(N), jnp.ones(N))[2][0] - 0.5).mean())
        for a in (0.1, 1.0, 10.0)
    ]
    assert far[0] > far[1] > far[2]


def cost(loss: Loss, score: Any, y: Any, w: Any) -> Any:
    """The mean loss of a batch as the engine takes it: one score, several targets."""
    score = jnp.broadcast_to(score, w.shape + score.shape[1:])
    total, used = loss.total(score, y, weight=w)
    return total / used


def test_the_cost_of_mixed_classes_is_that_of_soft_targets() -> None:
    score = jax.random.normal(KEY, (N, 3))
    y = jnp.arange(N) % 3
    _, targets, w = call(MixUp(alpha=1.0), ROWS, y, jnp.ones(N))
    soft = (jax.nn.one_hot(targets, 3) * w[..., None]).sum(axis=0)
    ours = cost(CrossEntropy(), score, targets, w)
    assert ours == pytest.approx(float(CrossEntropy()(score, soft)), rel=1e-5)
    _, shares, v = call(MixUp(alpha=1.0), ROWS, jax.nn.one_hot(y, 3), jnp.ones(N))
    assert cost(CrossEntropy(), score, shares, v) == pytest.approx(float(ours), rel=1e-5)


@pytest.mark.parametrize("loss", [Huber(), Poisson(), Hinge()], ids=str)
def test_the_cost_is_the_shares_of_both_losses(loss: Loss) -> None:
    score = np.linspace(-1, 1, N)
    y = np.where(np.arange(N) % 2 == 1, 1.0, -1.0 if isinstance(loss, Hinge) else 0.0)
    _, targets, w = call(MixUp(alpha=1.0), ROWS, jnp.asarray(y), jnp.ones(N))
    first, second, share = y, np.asarray(targets[1]), np.asarray(w[0])
    by_hand = np.mean(share * loss.value(score, first) + (1 - share) * loss.value(score, second))
    assert cost(loss, jnp.asarray(score), targets, w) == pytest.approx(by_hand, rel=1e-5)


def test_squared_errors_are_followed_as_if_targets_were_mixed() -> None:
    score, y = jnp.linspace(-1, 1, N), jnp.arange(N) / N
    _, targets, w = call(MixUp(alpha=1.0), ROWS, y, jnp.ones(N))
    mixed = (w * targets).sum(axis=0)
    ours = jax.grad(lambda z: cost(Squared(), z, targets, w))(score)
    theirs = jax.grad(lambda z: Squared()(z, mixed))(score)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_mixtures_are_those_of_keras() -> None:
    """Given the same partners and shares."""
    os.environ["KERAS_BACKEND"] = "jax"
    keras = pytest.importorskip("keras")
    x = jax.random.normal(KEY, (8, 4, 4, 3))
    y = jnp.arange(8)
    mixed, targets, w = call(MixUp(alpha=1.0), x, y, jnp.ones(8))
    made = {"mix_weight": w[0], "permutation_order": targets[1]}
    layer = keras.layers.MixUp()
    np.testing.assert_allclose(mixed, layer.transform_images(x, made), rtol=1e-5, atol=1e-6)
    soft = (jax.nn.one_hot(targets, 8) * w[..., None]).sum(axis=0)
    theirs = layer.transform_labels(jax.nn.one_hot(y, 8), made)
    np.testing.assert_allclose(soft, theirs, rtol=1e-5, atol=1e-6)


def test_a_box_holds_the_other_image_and_the_shares_are_areas() -> None:
    x = jnp.broadcast_to(jnp.arange(float(N))[:, None, None, None], (N, 12, 10, 2))
    mixed, y, w = call(CutMix(), x, jnp.arange(N), jnp.ones(N))
    cut = 0
    for i, image in enumerate(np.asarray(mixed)):
        assert set(np.unique(image)) <= {i, int(y[1, i])}
        np.testing.assert_array_equal(image[..., 0], image[..., 1])
        other = image[..., 0] != i
        rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
        assert other.sum() == len(rows) * len(columns)  # a box
        if y[1, i] != i:
            assert w[0, i] == pytest.approx(1 - other.mean(), abs=1e-6)
            cut += other.any()
    np.testing.assert_allclose(w.sum(axis=0), 1.0, rtol=1e-6)
    assert cut > N / 2


def test_boxes_are_as_large_as_in_the_paper() -> None:
    """The mean share of algorithm A1 (centre uniform, clipped at the border), by simulation."""
    draw = np.random.default_rng(0)
    share = np.sqrt(1 - draw.beta(1.0, 1.0, 100_000))
    areas = np.ones(100_000)
    for _ in range(2):
        centre = draw.uniform(0, 1, 100_000)
        areas *= np.minimum(centre + share / 2, 1) - np.maximum(centre - share / 2, 0)
    weight = call(CutMix(), jnp.zeros((1000, 60, 60)), jnp.arange(1000), jnp.ones(1000))[2]
    assert float(weight[1].mean()) == pytest.approx(areas.mean(), abs=0.02)


@pytest.mark.parametrize("one", [MixUp(alpha=1.0), CutMix(), Chain((GaussianNoise(), MixUp()))])
def test_rows_of_no_weight_touch_nothing(one: Augmentation) -> None:
    absent = np.arange(N) % 4 == 0
    x = jnp.where(absent[:, None, None], jnp.nan, jnp.ones((N, 6, 6)))
    y = jnp.where(absent, jnp.nan, 1.0)
    x, y, w = call(one, x, y, jnp.where(absent, 0.0, 1.0))
    assert np.all(np.isfinite(x[~absent])) and not np.any(w[:, absent])
    assert np.all(np.isfinite(y[w > 0]))
    loss = cost(Squared(), x.mean(axis=(1, 2)), y, w)
    assert np.isfinite(loss)


def test_noise_has_its_standard_deviation() -> None:
    x, y, w = call(GaussianNoise(stddev=0.3), jnp.ones((500, 40)), jnp.arange(500), jnp.ones(500))
    assert float((x - 1).std()) == pytest.approx(0.3, rel=0.02)
    assert float(x.mean()) == pytest.approx(1, abs=0.01)
    half = GaussianNoise()(KEY, jnp.ones((5, 4), jnp.bfloat16), y, w)[0]
    assert half.dtype == jnp.bfloat16


def test_two_mixtures_give_four_targets() -> None:
    x, y, w = call(Chain((MixUp(alpha=1.0), MixUp(alpha=1.0))), ROWS, jnp.arange(N), jnp.ones(N))
    assert y.shape == w.shape == (2, 2, N)
    shares = (jax.nn.one_hot(y, N) * w[..., None]).sum(axis=(0, 1))
    np.testing.assert_allclose(shares.sum(axis=1), x.sum(axis=1), rtol=0.7)
    assert float(w.sum()) == pytest.approx(N, rel=1e-5)


@pytest.mark.parametrize("one", EACH, ids=str)
def test_the_key_decides_and_settings_can_be_mapped(one: Augmentation) -> None:
    x, y, w = jax.random.normal(KEY, (8, 9, 9)), jnp.arange(8.0), jnp.ones(8)
    first, again = (call(one, x, y, w) for _ in range(2))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    other = call(one, x, y, w, randomness.key(6))[0]
    assert jnp.array_equal(first[0], other) == isinstance(one, Unchanged)
    if jax.tree.leaves(one):
        many = jax.tree.map(lambda leaf: jnp.full(2, leaf), one)
        mapped = jax.jit(jax.vmap(lambda one: one(KEY, x, y, w)[0]))(many)
        np.testing.assert_allclose(mapped[1], first[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("one", EACH, ids=str)
def test_an_augmentation_survives_json_and_text(one: Augmentation) -> None:
    assert Augmentation.from_json(one.to_json()) == one
    assert Augmentation.parse(str(one)) == one


def test_cutmix_needs_images() -> None:
    with pytest.raises(ShapeError, match="it needs images"):
        CutMix()(KEY, ROWS, jnp.arange(N), jnp.ones(N))
