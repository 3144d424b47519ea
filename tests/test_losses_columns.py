"""Losses whose score or target has several columns: reinforcement learning and autoencoders."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mpmath import mpf
from scipy import optimize, special, stats

from minimand.component import Component
from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses import (
    ELBO,
    Absolute,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    KLSparsity,
    Logistic,
    Loss,
    MultiTask,
    PolicyGradient,
    PPOClip,
    QuantileTD,
    Reconstruction,
    Squared,
    TDError,
    UncertainTasks,
    bellman_target,
    gaussian_kl,
    greedy_value,
    log_probability,
    taken,
)

Array = Any
N = 12


def batch(loss: Loss) -> tuple[Array, Array]:
    """Scores and targets that suit the loss, away from its kinks."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(N, 6))
    match loss:
        case TDError():
            columns = (rng.integers(0, 3, N), normal[:, 3], rng.integers(0, 2, N), normal[:, 4])
            return normal[:, :3], np.stack(columns, axis=-1)
        case QuantileTD():
            return normal[:, :4], 2 * normal[:, 4:]
        case PolicyGradient():
            return -np.abs(normal[:, 0]), normal[:, 1]
        case PPOClip():
            return -np.abs(normal[:, 0]), np.stack([normal[:, 1], -np.abs(normal[:, 2])], axis=-1)
        case KLSparsity():
            return normal[:, :3], rng.random(N)
        case ELBO():
            return normal, rng.random((N, 2))
        case MultiTask():
            targets = (normal[:, 5], rng.integers(0, 3, N), rng.choice([-1.0, 1.0], N))
            target = np.stack(targets, axis=-1)
            target[1::4, 0] = np.nan
            noise = rng.normal(size=(N, 3 * isinstance(loss, UncertainTasks)))
            return np.concatenate([normal[:, :5], noise], axis=1), target
    return normal[:, :4], rng.random((N, 4))


TASKS = (Huber(delta=0.7), CrossEntropy(), Logistic())
LOSSES: list[Loss] = [
    TDError(),
    TDError(loss=Huber(delta=0.7)),
    QuantileTD(),
    QuantileTD(loss=Squared()),
    PolicyGradient(),
    PPOClip(clip=0.3),
    Reconstruction(),
    Reconstruction(loss=BinaryCrossEntropy()),
    ELBO(beta=3.0),
    ELBO(loss=BinaryCrossEntropy()),
    KLSparsity(),
    MultiTask(TASKS, widths=(1, 3, 1), weights=0.5),
    UncertainTasks(TASKS, widths=(1, 3, 1)),
]
ADDITIVE = [loss for loss in LOSSES if not isinstance(loss, KLSparsity)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
each_additive = pytest.mark.parametrize("loss", ADDITIVE, ids=str)


# --- the contract ---------------------------------------------------------------------------------


@each_additive
def test_closed_forms_equal_autodiff(loss: Loss) -> None:
    score, target = batch(loss)
    with jax.enable_x64(True):
        z, y = jnp.asarray(score), jnp.asarray(target)
        gradient = jax.jit(jax.vmap(jax.grad(loss.value)))(z, y)
        curvature = jax.jit(jax.vmap(jax.hessian(loss.value)))(z, y)
    np.testing.assert_allclose(loss.gradient(score, target), gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(loss.curvature(score, target), curvature, rtol=1e-12, atol=1e-14)


@each_loss
def test_same_answer_on_every_array_library(loss: Loss) -> None:
    score, target = batch(loss)
    mask = np.arange(N) % 3 > 0
    weight = np.linspace(0, 2, N)
    expected = loss(score, target, weight=weight, mask=mask)
    with jax.enable_x64(True):
        for asarray in (jnp.asarray, torch.tensor, array_api_strict.asarray):
            s, y, w, m = map(asarray, (score, target, weight, mask))
            call = jax.jit(loss) if asarray is jnp.asarray else loss
            value = call(s, y, weight=w, mask=m)
            assert isinstance(value, type(s)) and float(value) == pytest.approx(expected, rel=1e-12)
            np.testing.assert_allclose(np.asarray(loss.response(s)), loss.response(score))
            slope = jax.jit(loss.gradient) if asarray is jnp.asarray else loss.gradient
            gradient = np.asarray(slope(s, y))
            np.testing.assert_allclose(gradient, loss.gradient(score, target), rtol=1e-12)


@each_loss
def test_torch_descends_the_same_slope_in_one_graph(loss: Loss) -> None:
    score, target = batch(loss)
    z, y = torch.tensor(score, requires_grad=True), torch.tensor(target)
    torch._dynamo.reset()
    torch.compile(loss, fullgraph=True, backend="eager")(z, y, reduction="sum").backward()
    np.testing.assert_allclose(z.grad, loss.gradient(score, target), rtol=1e-12, atol=1e-15)


@each_loss
def test_masked_nan_never_touches_value_or_gradient(loss: Loss) -> None:
    score, target = batch(loss)
    kept = np.arange(N) % 2 == 0
    bad, wrong = score.copy(), target.astype(float)
    bad[~kept], wrong[~kept] = np.nan, np.nan
    assert loss(bad, wrong, mask=kept) == pytest.approx(loss(score[kept], target[kept]))
    slope = jax.jit(jax.grad(lambda s: loss(s, jnp.asarray(wrong), mask=kept)))(bad)
    assert np.all(np.isfinite(slope)) and not np.any(slope[~kept]) and np.any(slope[kept])


@each_loss
def test_an_all_masked_batch_gives_zero_with_zero_gradient(loss: Loss) -> None:
    score, target = (np.full_like(x, np.nan, dtype=float) for x in batch(loss))
    out = np.zeros(N, dtype=bool)
    value, slope = jax.jit(jax.value_and_grad(lambda s: loss(s, target, mask=out)))(score)
    assert value == 0 and not np.any(slope)
    assert loss(score, target, mask=out) == 0


@each_additive
def test_pain_13_micro_batches_add_up_to_the_full_batch(loss: Loss) -> None:
    score, target = batch(loss)
    weight = np.linspace(0, 2, N)
    parts = [
        loss.total(score[r], target[r], weight=weight[r]) for r in (slice(0, 5), slice(5, None))
    ]
    value, used = np.sum(parts, axis=0)
    assert value / used == pytest.approx(loss(score, target, weight=weight), rel=1e-14)


@each_loss
def test_pain_15_half_precision_is_finite(loss: Loss) -> None:
    score, target = batch(loss)
    exact = loss(score, target)
    for dtype in (torch.float16, torch.bfloat16):
        low = torch.tensor(score, dtype=dtype, requires_grad=True)
        value = loss(low, torch.tensor(target))
        assert float(value.detach()) == pytest.approx(exact, rel=0.05)
        value.backward()
        assert low.grad is not None and low.grad.dtype == dtype and low.grad.isfinite().all()
        assert math.isfinite(loss(30 * low.detach(), torch.tensor(target)))


@each_loss
def test_pain_01_shapes_that_merely_broadcast_are_refused(loss: Loss) -> None:
    score, target = batch(loss)
    for wrong in (score[:1], score[:, None]):
        with pytest.raises(ShapeError):
            loss(wrong, target)


@each_additive
def test_the_constant_minimises_the_weighted_mean(loss: Loss) -> None:
    _, target = batch(loss)
    weight = np.linspace(0, 2, N)
    if isinstance(loss, (PolicyGradient, PPOClip)):
        with pytest.raises(ArgumentError, match="has no best constant"):
            loss.constant(target, weight)
        return

    def cost(constant: Array) -> float:
        return float(loss(np.tile(constant, (N, 1)), target, weight=weight))

    constant = loss.constant(target, weight)
    best = optimize.minimize(cost, constant + 0.1, tol=1e-10).fun
    assert cost(constant) <= best + 1e-7


@pytest.mark.parametrize(
    ("made", "name"), [(PPOClip, "clip"), (ELBO, "beta")], ids=lambda x: str(x)
)
def test_hyperparameters_can_be_mapped_and_differentiated(made: Any, name: str) -> None:
    score, target = batch(made())
    values = [0.1, 0.2, 0.4]
    with jax.enable_x64(True):
        together = made(**{name: np.array(values)})
        mapped = jax.jit(jax.vmap(lambda one: one(score, target)))(together)
        slope = getattr(jax.grad(lambda one: one(score, target))(made(**{name: 0.2})), name)
    alone = [made(**{name: v})(score, target) for v in values]
    np.testing.assert_allclose(mapped, alone, rtol=1e-12)
    ends = [made(**{name: 0.2 + s})(score, target) for s in (-1e-6, 1e-6)]
    assert slope == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-4)


@each_loss
def test_components_are_read_back(loss: Loss) -> None:
    assert Component.from_json.__func__(Loss, loss.to_json()) == loss  # type: ignore[attr-defined]
    assert Loss.parse(str(loss)) == loss


# --- temporal differences -------------------------------------------------------------------------


def test_td_error_is_dqn_by_torch() -> None:
    """Mnih et al. (2015): smooth L1 between Q(s, a) and r + γ max Q_target(s', ·)."""
    rng = np.random.default_rng(1)
    q, q_next = rng.normal(size=(2, N, 3))
    action, reward = rng.integers(0, 3, N), rng.normal(size=N)
    discount = 0.9 * rng.integers(0, 2, N)
    wanted = torch.tensor(reward) + torch.tensor(discount) * torch.tensor(q_next).max(1).values
    chosen = torch.tensor(q).gather(1, torch.tensor(action)[:, None])[:, 0]
    steps = np.stack([action, reward, discount, greedy_value(q_next)], axis=-1)
    for ours, theirs in (
        (TDError(), F.mse_loss(chosen, wanted)),
        (TDError(loss="huber(delta=1)"), F.smooth_l1_loss(chosen, wanted)),  # type: ignore[arg-type]
    ):
        assert ours(q, steps) == pytest.approx(float(theirs))


def test_the_target_is_constant_even_if_the_same_network_made_it() -> None:
    """By hand: q = w, target 1 + ½ w; the semi-gradient of (w - 1 - ½ w)² at w = 4 is 2 · 1."""

    def cost(w: Array) -> Array:
        xp = torch if isinstance(w, torch.Tensor) else jnp
        one = xp.ones_like(w)
        steps = xp.stack([0 * one, one, 0.5 * one, w])[None]
        return TDError()(w[None, None], steps)

    assert jax.grad(cost)(jnp.asarray(4.0)) == 2
    w = torch.tensor(4.0, requires_grad=True)
    cost(w).backward()
    assert w.grad == 2


def test_double_q_lets_one_network_choose_and_the_other_judge() -> None:
    """Van Hasselt et al. (2016), eq. 4; noisy estimates of zero make the plain maximum positive."""
    q_target, q_online = np.array([[1.0, 5.0, 2.0]]), np.array([[0.0, 1.0, 3.0]])
    assert greedy_value(q_target) == 5 and greedy_value(q_target, q_online) == 2
    noise = np.random.default_rng(0).normal(size=(2, 10_000, 5))
    assert greedy_value(noise[0]).mean() > 1
    assert abs(greedy_value(noise[0], noise[1]).mean()) < 0.05


def test_a_discount_of_zero_ends_the_episode_whatever_comes_next() -> None:
    wanted = bellman_target(np.ones(2), np.array([0.0, 0.5]), np.array([math.nan, 4.0]))
    assert wanted.tolist() == [1, 3]


def test_td_learning_finds_the_values_of_a_chain() -> None:
    """Three states in a row, reward 1 at the end, γ = ½: values ¼, ½ and 1."""
    reward, discount = np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.0])
    q = np.zeros((3, 1))
    for _ in range(60):
        after = np.append(q[1:, 0], math.nan)
        steps = np.stack([np.zeros(3), reward, discount, after], axis=-1)
        q = q - 0.4 * TDError().gradient(q, steps)
    np.testing.assert_allclose(q[:, 0], [0.25, 0.5, 1.0], rtol=1e-6)


def test_quantile_td_by_the_formula() -> None:
    """Dabney et al. (2018), eq. 10, in loops, with torch's Huber."""
    theta, samples = batch(QuantileTD())
    expected = np.zeros(N)
    for n in range(N):
        for i in range(4):
            tau = (2 * i + 1) / 8
            for t in samples[n]:
                u = t - theta[n, i]
                huber = F.huber_loss(torch.tensor(u), torch.tensor(0.0), delta=1.0)
                expected[n] += abs(tau - (u < 0)) * float(huber) / samples.shape[1]
    np.testing.assert_allclose(QuantileTD().value(theta, samples), expected, rtol=1e-6)


def test_quantile_td_elicits_the_quantiles() -> None:
    sample = np.random.default_rng(0).lognormal(size=(201, 4))
    loss = QuantileTD(loss=Absolute())
    levels = [0.125, 0.375, 0.625, 0.875]
    np.testing.assert_allclose(
        loss.constant(sample), np.quantile(sample, levels), rtol=0.01, atol=0.01
    )


def test_taken_picks_the_quantiles_of_an_action() -> None:
    values = np.arange(12.0).reshape(2, 3, 2)
    assert taken(values, np.array([2, 0])).tolist() == [[4, 5], [6, 7]]
    chosen = greedy_value(values, q_online=values.mean(axis=-1))
    assert chosen.tolist() == [[4, 5], [10, 11]]


# --- policies -------------------------------------------------------------------------------------


def test_policy_gradient_is_that_of_the_expected_return() -> None:
    """A bandit: ∇ Σ π(a) R(a), by torch, is minus the expectation of the surrogate's gradient."""
    logits, reward = np.array([0.3, -1.0, 0.5]), np.array([1.0, 4.0, -2.0])
    z = torch.tensor(logits, requires_grad=True)
    (torch.softmax(z, 0) @ torch.tensor(reward)).backward()
    with jax.enable_x64(True):
        policy = jnp.tile(jnp.asarray(logits), (3, 1))
        slope = jax.jit(
            jax.grad(
                lambda p: PolicyGradient()(
                    log_probability(p, jnp.arange(3)), reward, weight=jax.nn.softmax(policy[0])
                )
            )
        )(policy)
    np.testing.assert_allclose(-np.asarray(slope).sum(axis=0), z.grad, rtol=1e-12)


def test_log_probability_equals_torch() -> None:
    logits, action = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 2, 2, 0])
    theirs = torch.distributions.Categorical(logits=torch.tensor(logits))
    np.testing.assert_allclose(
        log_probability(logits, action), theirs.log_prob(torch.tensor(action)), rtol=1e-12
    )


def test_ppo_is_the_clipped_minimum_by_torch() -> None:
    score, target = batch(PPOClip())
    z, (a, old) = torch.tensor(score, requires_grad=True), torch.tensor(target).T
    ratio = torch.exp(z - old)
    theirs = -torch.minimum(ratio * a, torch.clamp(ratio, 0.8, 1.2) * a)
    np.testing.assert_allclose(PPOClip().value(score, target), theirs.detach(), rtol=1e-12)
    theirs.sum().backward()
    np.testing.assert_allclose(PPOClip().gradient(score, target), z.grad, rtol=1e-12)


def test_ppo_starts_as_the_policy_gradient() -> None:
    score, advantage = batch(PolicyGradient())
    fresh = np.stack([advantage, score], axis=-1)
    np.testing.assert_array_equal(
        PPOClip().gradient(score, fresh), PolicyGradient().gradient(score, advantage)
    )


def test_larger_clip_lets_the_policy_move_further() -> None:
    moved, target = np.log([1.25, 0.75]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert not PPOClip(clip=0.2).gradient(moved, target).any()
    assert PPOClip(clip=0.3).gradient(moved, target).tolist() == pytest.approx([-1.25, 0.75])


def test_ppo_is_not_convex_in_the_log_probability() -> None:
    target = np.array([1.0, 0.0])
    left, middle, right = (PPOClip().value(np.float64(z), target) for z in (-4.0, -2.0, 0.0))
    assert PPOClip.card.convex is False and middle > (left + right) / 2


def test_ppo_never_stops_a_move_in_the_wrong_direction() -> None:
    moved, target = np.log([0.1, 10.0]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert PPOClip().gradient(moved, target) == pytest.approx([-0.1, 10.0])


def test_ppo_is_exact_in_the_tails_and_never_nan() -> None:
    with mpmath.workdps(50):
        for z in (-800.0, -30.0, -1e-8, 1e-8, 30.0):
            for a in (-2.0, 3.0):
                r, e = mpmath.exp(mpf(z)), mpf(0.2)
                true = -min(r * a, min(max(r, 1 - e), 1 + e) * a)
                ours = PPOClip().value(np.array([z]), np.array([[a, 0.0]]))[0]
                assert abs(ours - true) <= max(abs(true) * mpf("1e-13"), mpf("1e-300"))
    high = np.array([[2.0, 0.0], [0.0, 0.0]])  # exp(800) overflows; the clip at 1.2 does not
    assert PPOClip().value(np.full(2, 800.0), high).tolist() == pytest.approx([-2.4, 0])
    slope = jax.grad(lambda s: PPOClip()(s, high))(jnp.full(2, 800.0))
    assert not np.any(slope)


@pytest.mark.parametrize(
    ("loss", "target", "text"),
    [
        (TDError(), [[0, 1, 1, 1], [-1, 1, 1, 1]], "row 2 is -1.0, not an action 0, 1, 2"),
        (TDError(), [[0, 1, math.nan, 1]], "row 1 is nan, not a finite discount"),
        (QuantileTD(), [[0, math.inf]], "row 1 is inf, not a finite sample 2"),
        (PolicyGradient(), [0, math.nan], "row 2 is nan, not a finite advantage"),
        (PPOClip(), [[0, math.nan]], "row 1 is nan, not a finite old_log_probability"),
        (KLSparsity(), [0.5, 1.5], r"row 2 is 1.5, outside \[0, 1\]"),
        (Reconstruction(loss=BinaryCrossEntropy()), [[0.5, 1.5]], "row 1 is 1.5"),
    ],
)
def test_bad_targets_are_named(loss: Loss, target: Any, text: str) -> None:
    with pytest.raises(TargetError, match=text):
        loss.check_target(np.array(target, dtype=float))


# --- autoencoders ---------------------------------------------------------------------------------


def test_reconstruction_is_the_sum_over_features_by_torch() -> None:
    score, target = batch(Reconstruction())
    z, x = torch.tensor(score), torch.tensor(target)
    squares = 0.5 * F.mse_loss(z, x, reduction="sum") / N
    assert Reconstruction()(score, target) == pytest.approx(float(squares))
    bits = F.binary_cross_entropy_with_logits(z, x, reduction="sum") / N
    assert Reconstruction(loss=BinaryCrossEntropy())(score, target) == pytest.approx(float(bits))


def test_gaussian_reconstruction_is_the_likelihood_up_to_its_constant() -> None:
    score, target = batch(Reconstruction())
    theirs = -stats.norm(score, 1).logpdf(target).sum(axis=1)
    dropped = 0.5 * score.shape[1] * math.log(2 * math.pi)
    np.testing.assert_allclose(Reconstruction().value(score, target) + dropped, theirs)


def test_gaussian_kl_equals_torch() -> None:
    mean, log_variance = np.random.default_rng(0).normal(size=(2, 5, 3))
    code = torch.distributions.Normal(torch.tensor(mean), torch.tensor(log_variance).exp().sqrt())
    theirs = torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    np.testing.assert_allclose(gaussian_kl(mean, log_variance), theirs, rtol=1e-12)


@pytest.mark.parametrize("s", [-800.0, -30.0, -1.5, -0.99, -1e-8, 1e-8, 0.99, 1.5, 30.0, 700.0])
def test_gaussian_kl_is_exact_near_zero_and_in_the_tails(s: float) -> None:
    with mpmath.workdps(50):
        true = (mpmath.exp(mpf(s)) - 1 - mpf(s)) / 2
        ours = gaussian_kl(np.zeros(1), np.array([s]))
        assert abs(ours - true) <= abs(true) * mpf("1e-13")


def test_elbo_bounds_the_evidence_of_a_linear_gaussian_model() -> None:
    """x = 2 u + noise: the bound is tight at the true posterior, N(0.4 x, 0.2), and only there."""
    x, nodes = 1.3, np.polynomial.hermite_e.hermegauss(30)

    def bound(mean: float, log_variance: float) -> float:
        u = mean + math.exp(0.5 * log_variance) * nodes[0]
        code = np.tile([mean, log_variance], (30, 1))
        score = np.concatenate([2 * u[:, None], code], axis=1)
        value = ELBO(latent=1)(score, np.full((30, 1), x), weight=nodes[1])
        return float(value) + 0.5 * math.log(2 * math.pi)

    evidence = -stats.norm(0, math.sqrt(5)).logpdf(x)
    assert bound(0.4 * x, math.log(0.2)) == pytest.approx(evidence, rel=1e-12)
    assert bound(0.3 * x, math.log(0.2)) > evidence < bound(0.4 * x, math.log(0.3))


def test_larger_beta_pulls_the_code_to_the_standard_normal() -> None:
    score, target = batch(ELBO())
    code = [ELBO(beta=b).gradient(score, target)[:, 2:] for b in (1.0, 4.0)]
    np.testing.assert_allclose(4 * code[0], code[1])
    assert np.all(ELBO(beta=4.0).value(score, target) > ELBO(beta=1.0).value(score, target))


def test_latent_is_the_width_of_the_code() -> None:
    mean = ELBO(latent=1).split(np.arange(6.0)[None])[1]
    assert mean.tolist() == [[4]]
    with pytest.raises(
        ShapeError, match="score has 7 columns and target 2; with latent=2 score needs 6"
    ):
        ELBO(latent=2)(np.zeros((3, 7)), np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="the shape of what it rebuilds"):
        Reconstruction()(np.zeros((3, 4)), np.zeros((3, 2)))


def test_kl_sparsity_by_hand() -> None:
    """Ng (2011): Σ KL(ρ ‖ mean activation), by scipy's rel_entr, rows weighted."""
    score, _ = batch(KLSparsity())
    weight = np.linspace(0, 1, N)
    mean = np.average(special.expit(score), axis=0, weights=weight)
    rho = 0.05
    expected = special.rel_entr(rho, mean) + special.rel_entr(1 - rho, 1 - mean)
    ours = KLSparsity()(score, np.full(N, rho), weight=weight)
    assert ours == pytest.approx(expected.sum(), rel=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("z", [-800.0, -30.0, 1e-8, 30.0, 800.0])
def test_kl_sparsity_is_exact_where_the_sigmoid_is_flat(z: float, rho: float) -> None:
    with mpmath.workdps(400):
        a, p = 1 / (1 + mpmath.exp(-mpf(z))), mpf(rho)
        true = sum(q * mpmath.log(q / b) for q, b in ((p, a), (1 - p, 1 - a)) if q > 0)
        ours = KLSparsity()(np.full((3, 1), z), np.full(3, rho))
        assert abs(ours - true) <= max(abs(true) * mpf("1e-13"), mpf("1e-300"))


def test_a_smaller_target_makes_the_code_sparser() -> None:
    """The best constant activation is the wanted one, and every unit above it is pushed down."""
    assert special.expit(KLSparsity().constant(np.full(4, 0.05))) == pytest.approx(0.05)
    push = [KLSparsity().gradient(np.zeros((4, 2)), np.full(4, rho)) for rho in (0.05, 0.2)]
    assert np.all(push[0] > push[1]) and np.all(push[1] > 0)


def test_kl_sparsity_is_not_convex() -> None:
    """With ρ = 1 it is -log mean σ(z), and σ is not log-concave under a mean of two rows."""
    loss, wanted = KLSparsity(), np.ones(2)
    far = np.array([[8.0], [-40.0]])
    middle = loss.value((far + far[::-1]) / 2, wanted)
    assert KLSparsity.card.convex is False and middle > loss.value(far, wanted)


# --- several tasks --------------------------------------------------------------------------------


def test_tasks_are_the_losses_of_the_rows_that_have_a_target() -> None:
    """By PyTorch's losses of each task, on the rows without NaN."""
    weights = np.array([1.0, 2.0, 0.5])
    loss = MultiTask(TASKS, widths=(1, 3, 1), weights=weights)
    score, target = batch(loss)
    there = ~np.isnan(target[:, 0])
    z, y = torch.tensor(score), torch.tensor(target)
    parts = (
        F.huber_loss(z[there, 0], y[there, 0], delta=0.7, reduction="sum"),
        F.cross_entropy(z[:, 1:4], y[:, 1].long(), reduction="sum"),
        F.softplus(-z[:, 4] * y[:, 2]).sum(),
    )
    expected = sum(w * float(part) for w, part in zip(weights, parts, strict=True)) / N
    assert float(loss(score, target)) == pytest.approx(expected, rel=1e-12)


def test_a_larger_noise_makes_its_task_count_less() -> None:
    loss = UncertainTasks(TASKS, widths=(1, 3, 1))
    score, target = batch(loss)
    louder = score.copy()
    louder[:, 5] += 1
    quiet, loud = (np.abs(loss.gradient(s, target)[:, 0]).sum() for s in (score, louder))
    assert loud == pytest.approx(quiet / math.e)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (1,)}, "3 losses and 1 widths"),
        ({"widths": (2, 3, 1)}, r"Huber.* cannot be a task of 2 scores"),
        ({"losses": (Reconstruction(),), "widths": (1,)}, "cannot be a task"),
    ],
)
def test_tasks_must_be_losses_of_single_rows(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        MultiTask(**{"losses": TASKS, "widths": (1, 3, 1)} | fields)


def test_a_column_of_targets_is_checked_by_its_task() -> None:
    loss = MultiTask(TASKS, widths=(1, 3, 1))
    _, target = batch(loss)
    loss.check_target(target)
    wrong, empty = target.copy(), target.copy()
    wrong[4, 2], empty[:, 1] = 0.5, np.nan
    with pytest.raises(TargetError, match="Logistic: target row 5"):
        loss.check_target(wrong)
    with pytest.raises(TargetError, match="column 2 is empty"):
        loss.check_target(empty)
    with pytest.raises(ShapeError, match="one column for each"):
        loss.check_target(target[:, :2])
