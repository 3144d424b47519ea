"""Losses of distributions and forecasts against SciPy, PyTorch and their definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
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
from scipy import integrate, optimize, stats
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax

from minimand.errors import ShapeError, TargetError
from minimand.losses import (
    KL,
    CrossEntropy,
    CRPSEnsemble,
    CRPSGaussian,
    CRPSQuantile,
    Distillation,
    EnergyScore,
    JensenShannon,
    Loss,
    Quantile,
    ReverseKL,
    SinkhornDivergence,
    Wasserstein1,
)

Array = Any
rng = np.random.default_rng(0)
SCORE, P = rng.normal(size=(7, 4)), rng.dirichlet(np.ones(4), size=7)
REAL = rng.normal(size=7)
SOFT = [KL(), ReverseKL(), JensenShannon(), Wasserstein1(spacing=0.5)]
TAUGHT = np.column_stack((np.arange(7) % 4, 3 * rng.normal(size=(7, 4))))
CASES: list[tuple[Loss, Array, Array]] = [
    *((loss, SCORE, P) for loss in SOFT),
    (Distillation(temperature=3.0, alpha=0.3), SCORE, TAUGHT),
    (CRPSGaussian(), SCORE[:, :2], REAL),
    (CRPSEnsemble(), SCORE, REAL),
    (CRPSEnsemble(fair=True), SCORE, REAL),
    (CRPSQuantile(levels=(0.1, 0.5, 0.6, 0.9)), SCORE, REAL),
    (EnergyScore(), rng.normal(size=(7, 5, 3)), rng.normal(size=(7, 3))),
]
CLOUDS = (SinkhornDivergence(epsilon=0.5, iterations=5), *rng.normal(size=(2, 3, 5, 2)))
each_case = pytest.mark.parametrize(("loss", "score", "target"), CASES, ids=lambda x: str(x)[:22])
each_soft = pytest.mark.parametrize("loss", SOFT, ids=str)
LIBRARIES = {
    "jax": jnp.asarray,
    "torch": torch.tensor,
    "array_api_strict": array_api_strict.asarray,
}


# --- peers and definitions ------------------------------------------------------------------------


def by_distillation(score: Array, target: Array) -> Array:
    """Hinton's loss in PyTorch's own words, T = 3 and α = 0.3."""
    z, teacher = torch.tensor(score), torch.tensor(target[:, 1:])
    soft = F.kl_div(F.log_softmax(z / 3, 1), F.softmax(teacher / 3, 1), reduction="none").sum(1)
    hard = F.cross_entropy(z, torch.tensor(target[:, 0]).long(), reduction="none")
    return (0.3 * 9 * soft + 0.7 * hard).numpy()


def by_integral(score: Array, target: Array) -> Array:
    """∫ (Φ(x) - 1[x ≥ y])² dx, Gneiting and Raftery (2007), eq. 20."""

    def one(mean: float, log_variance: float, y: float) -> float:
        cdf = stats.norm(mean, math.exp(log_variance / 2)).cdf
        low = integrate.quad(lambda x: cdf(x) ** 2, -60, y, epsabs=1e-12, limit=200)[0]
        high = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, 60, epsabs=1e-12, limit=200)[0]
        return low + high

    return [one(*s, y) for s, y in zip(score, target, strict=True)]


def by_energy(score: Array, target: Array) -> Array:
    """SciPy's energy distance, squared and halved, between the members and one point."""
    pairs = zip(score, target, strict=True)
    return [0.5 * stats.energy_distance(x, [y]) ** 2 for x, y in pairs]


def by_pairs(score: Array, target: Array) -> Array:
    """Ferro (2014), eq. 1 with every pair of different members."""
    apart = [np.mean([abs(a - b) for a, b in itertools.permutations(x, 2)]) for x in score]
    return np.abs(score - target[:, None]).mean(axis=1) - 0.5 * np.array(apart)


def by_torch_norms(score: Array, target: Array) -> Array:
    x, y = torch.tensor(score), torch.tensor(target)
    return (x - y[:, None]).norm(dim=2).mean(1) - 0.5 * torch.cdist(x, x).mean((1, 2))


PEERS: list[tuple[Loss, Callable[[Array, Array], Array], float]] = [
    (KL(), lambda z, p: rel_entr(p, softmax(z, axis=1)).sum(axis=1), 1e-12),
    (
        KL(),
        lambda z, p: F.kl_div(
            F.log_softmax(torch.tensor(z), 1), torch.tensor(p), reduction="none"
        ).sum(1),
        1e-12,
    ),
    (ReverseKL(), lambda z, p: rel_entr(softmax(z, axis=1), p).sum(axis=1), 1e-12),
    (JensenShannon(), lambda z, p: jensenshannon(softmax(z, axis=1), p, axis=1) ** 2, 1e-12),
    (
        Wasserstein1(spacing=0.5),
        lambda z, p: [
            stats.wasserstein_distance(np.arange(4) / 2, np.arange(4) / 2, q, r)
            for q, r in zip(softmax(z, axis=1), p, strict=True)
        ],
        1e-12,
    ),
    (Distillation(temperature=3.0, alpha=0.3), by_distillation, 1e-12),
    (CRPSGaussian(), by_integral, 1e-9),
    (CRPSEnsemble(), by_energy, 1e-12),
    (CRPSEnsemble(fair=True), by_pairs, 1e-12),
    (
        CRPSQuantile(levels=(0.1, 0.5, 0.6, 0.9)),
        lambda z, y: (
            2
            * np.mean(
                [
                    Quantile(level)(z[:, i], y, reduction="none")
                    for i, level in enumerate((0.1, 0.5, 0.6, 0.9))
                ],
                axis=0,
            )
        ),
        1e-12,
    ),
    (EnergyScore(), by_torch_norms, 1e-6),
]


@pytest.mark.parametrize(("loss", "peer", "tolerance"), PEERS, ids=lambda x: str(x)[:22])
def test_values_equal_the_peers(
    loss: Loss, peer: Callable[[Array, Array], Array], tolerance: float
) -> None:
    score, target = next((s, y) for other, s, y in CASES if other == loss)
    theirs = np.asarray(peer(score, target))
    np.testing.assert_allclose(loss.value(score, target), theirs, rtol=tolerance)


def test_crps_of_a_standard_normal_at_its_mean() -> None:
    """(√2 - 1) / √π = 0.23369..., Gneiting et al. (2005), eq. 5 at ω = 0."""
    value = CRPSGaussian().value(np.array([[0.0, 0.0]]), np.array([0.0]))
    assert value[0] == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi), rel=1e-14)


def test_energy_score_of_numbers_is_the_crps_of_an_ensemble() -> None:
    energy = EnergyScore()(SCORE[..., None], REAL[:, None])
    assert energy == pytest.approx(float(CRPSEnsemble()(SCORE, REAL)), rel=1e-13)


def test_an_ensemble_in_order_is_its_quantiles_at_midpoints() -> None:
    """Laio and Tamea (2007): level (i - ½) / M for the i-th of M members."""
    levels = tuple((i + 0.5) / 4 for i in range(4))
    by_quantiles = CRPSQuantile(levels=levels)(np.sort(SCORE, axis=1), REAL)
    assert by_quantiles == pytest.approx(float(CRPSEnsemble()(SCORE, REAL)), rel=1e-13)


# --- many digits ----------------------------------------------------------------------------------


def true_kl(p: list[Any], q: list[Any]) -> Any:
    return sum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def true_wasserstein(p: list[Any], q: list[Any]) -> Any:
    return sum(abs(sum(q[:k]) - sum(p[:k])) for k in range(1, len(p)))


TRUE = {
    "KL": true_kl,
    "ReverseKL": lambda p, q: true_kl(q, p),
    "JensenShannon": lambda p, q: (
        (true_kl(p, m := [(a + b) / 2 for a, b in zip(p, q, strict=True)]) + true_kl(q, m)) / 2
    ),
    "Wasserstein1": lambda p, q: true_wasserstein(p, q) / 2,
}
ROWS = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.125, 0, 0.875]]


@each_soft
def test_divergences_are_exact_in_the_tails(loss: Loss) -> None:
    """Near equality the last digits of log p itself are missing: absolute 1e-23 there."""
    for p in ROWS:
        if isinstance(loss, ReverseKL) and 0 in p:
            continue
        for z in itertools.product([-800.0, -1e-8, 1.0, 30.0], repeat=3):
            ours = float(loss.value(np.array([z]), np.array([p]))[0])
            with mpmath.workdps(400):
                e = [mpmath.exp(mpf(x)) for x in z]
                q = [x / sum(e) for x in e]
                true = TRUE[type(loss).__name__](list(map(mpf, p)), q)
                error = abs(mpf(ours) - true)
            assert error <= max(abs(true) * mpf("1e-13"), mpf("1e-23")), f"{z}, {p}: {ours}"
            assert ours >= 0


def test_the_gradient_of_kl_is_exact_in_the_tails() -> None:
    """softmax(z) - p, also where both are next to 0 or 1; absolute 2e-16 where both are near ½."""
    for p in ROWS:
        allowed = 1e-24 if 1 in p else 2e-16
        for z in itertools.product([-800.0, -1e-8, 1.0, 30.0], repeat=3):
            ours = KL().gradient(np.array([z]), np.array([p]))[0]
            with mpmath.workdps(400):
                e = [mpmath.exp(mpf(x)) for x in z]
                true = [float(a / sum(e) - mpf(b)) for a, b in zip(e, p, strict=True)]
            assert ours.tolist() == pytest.approx(true, rel=1e-13, abs=allowed), f"{z}, {p}"


def test_a_divergence_is_never_negative_however_close_the_two_are() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(5), size=2000)
    for loss in (KL(), ReverseKL(), JensenShannon()):
        value = loss.value(np.log(p), p)
        assert np.all(value >= 0) and value.max() < 1e-28


def test_crps_gaussian_is_exact_in_the_tails() -> None:
    for mean, log_variance, y in itertools.product(
        [-800.0, -1e-8, 1e-8, 30.0], [-800.0, -1.0, 1e-8, 30.0, 800.0], [-30.0, 0.0, 1e-8, 800.0]
    ):
        score = np.array([[mean, log_variance]])
        with mpmath.workdps(80):
            sigma = mpmath.exp(mpf(log_variance) / 2)
            w = (mpf(y) - mpf(mean)) / sigma
            density = mpmath.exp(-w * w / 2) / mpmath.sqrt(2 * mpmath.pi)
            sure = mpmath.erf(w / mpmath.sqrt(2))
            value = sigma * (w * sure + 2 * density - 1 / mpmath.sqrt(mpmath.pi))
            wider = sigma * (density - 1 / (2 * mpmath.sqrt(mpmath.pi)))
            true = [float(value), float(-sure), float(wider)]
        ours = [CRPSGaussian().value(score, np.array([y]))[0]]
        ours += CRPSGaussian().gradient(score, np.array([y]))[0].tolist()
        assert ours == pytest.approx(true, rel=1e-13, abs=0)
        assert np.all(np.isfinite(CRPSGaussian().curvature(score, np.array([y]))))


# --- derivatives, libraries, reduction ------------------------------------------------------------


@each_case
def test_closed_forms_equal_autodiff(loss: Loss, score: Array, target: Array) -> None:
    with jax.enable_x64(True):
        one = jax.jit(jax.vmap(jax.grad(loss.value)))
        slope = one(jnp.asarray(score), jnp.asarray(target))
        np.testing.assert_allclose(loss.gradient(score, target), slope, rtol=1e-11, atol=1e-14)
    z = torch.tensor(score, requires_grad=True)
    loss(z, torch.tensor(target), reduction="sum").backward()
    np.testing.assert_allclose(loss.gradient(score, target), z.grad, rtol=1e-11, atol=1e-14)


CURVED = [c for c in CASES if type(c[0]).curvature is not Loss.curvature]


@pytest.mark.parametrize(("loss", "score", "target"), CURVED, ids=lambda x: str(x)[:22])
def test_closed_curvatures_equal_autodiff(loss: Loss, score: Array, target: Array) -> None:
    with jax.enable_x64(True):
        block = jax.jit(jax.vmap(jax.hessian(loss.value)))(jnp.asarray(score), jnp.asarray(target))
    np.testing.assert_allclose(loss.curvature(score, target), block, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("loss", "score", "target"), [*CASES, CLOUDS], ids=lambda x: str(x)[:22])
def test_same_answer_on_every_array_library(
    loss: Loss, score: Array, target: Array, library: str
) -> None:
    examples = (3, 5) if isinstance(loss, SinkhornDivergence) else (7,)
    weight = np.linspace(0, 2, math.prod(examples)).reshape(examples)
    with jax.enable_x64(True):
        z, y, w = map(LIBRARIES[library], (score, target, weight))
        run = jax.jit if library == "jax" else lambda function: function
        same = [(run(lambda z: loss(z, y, weight=w))(z), loss(score, target, weight=weight))]
        if not isinstance(loss, SinkhornDivergence):
            same.append((run(loss.gradient)(z, y), loss.gradient(score, target)))
        for theirs, ours in same:
            assert isinstance(theirs, type(z))
            np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("loss", "score", "target"), [*CASES, CLOUDS], ids=lambda x: str(x)[:22])
def test_torch_compile_makes_one_graph(loss: Loss, score: Array, target: Array) -> None:
    z, y = torch.tensor(score), torch.tensor(target)
    compiled = torch.compile(loss.value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z, y), loss.value(z, y))


@each_case
def test_masked_nan_never_touches_value_or_gradient(
    loss: Loss, score: Array, target: Array
) -> None:
    kept = np.arange(7) < 4
    expected = loss(score[:4], target[:4])
    score, target = score.copy(), target.copy()
    clean = loss.gradient(score[:4], target[:4]) / 4
    score[4:], target[4:] = np.nan, np.nan
    assert loss(score, target, mask=kept) == pytest.approx(expected, rel=1e-13)
    z = torch.tensor(score, requires_grad=True)
    loss(z, torch.tensor(target), mask=torch.tensor(kept)).backward()
    np.testing.assert_allclose(z.grad[:4], clean, rtol=1e-11, atol=1e-14)
    assert not z.grad[4:].any()


@each_case
def test_half_precision_is_finite_at_extreme_scores(
    loss: Loss, score: Array, target: Array
) -> None:
    for scale in (0.0, 30.0, 80.0):
        z = torch.tensor(scale * np.sign(score), dtype=torch.bfloat16, requires_grad=True)
        value = loss(z, torch.tensor(target))
        value.backward()
        assert value.dtype == torch.float32 and math.isfinite(value.item())
        assert torch.all(torch.isfinite(z.grad))


MAPPED = [(SOFT[3], "spacing"), (CASES[4][0], "temperature"), (CASES[4][0], "alpha")]


@pytest.mark.parametrize(("loss", "name"), MAPPED, ids=str)
def test_hyperparameters_can_be_mapped(loss: Loss, name: str) -> None:
    score, target = next((s, y) for other, s, y in CASES if other == loss)
    fields = {n: getattr(loss, n) for n in loss._hints}
    values = np.array([0.2, 0.5, 0.9])
    alone = [type(loss)(**{**fields, name: v})(score, target) for v in values]
    with jax.enable_x64(True):
        together = type(loss)(
            **{**fields, **{n: np.full(3, fields[n]) for n in loss._dynamic}, name: values}
        )
        mapped = jax.jit(jax.vmap(lambda one: one(score, target)))(together)
    np.testing.assert_allclose(mapped, alone, rtol=1e-12)


# --- the claims of the cards ----------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "score", "target"), CASES, ids=lambda x: str(x)[:22])
def test_claimed_convexity_is_true_or_refuted(loss: Loss, score: Array, target: Array) -> None:
    rng = np.random.default_rng(4)
    y = np.repeat(target, 300, axis=0)
    a, b = rng.normal(scale=4.0, size=(2, len(y), *score.shape[1:]))
    gap = loss.value((a + b) / 2, y) - (loss.value(a, y) + loss.value(b, y)) / 2
    assert bool(np.all(gap <= 1e-9)) == loss.card.convex


@pytest.mark.parametrize(
    ("loss", "score", "target"),
    [c for c in CASES if c[0].card.lipschitz],
    ids=lambda x: str(x)[:22],
)
def test_claimed_lipschitz_constants_hold(loss: Loss, score: Array, target: Array) -> None:
    steepest = 0.0
    for scale in (1.0, 100.0):
        slope = loss.gradient(scale * score, target)
        steepest = max(steepest, np.linalg.norm(slope, axis=-1).max())
    assert steepest <= loss.fact("lipschitz") * (1 + 1e-12)
    if isinstance(loss, KL):
        extreme = loss.gradient(np.array([[800.0, 0.0]]), np.array([[0.0, 1.0]]))
        assert np.linalg.norm(extreme) == pytest.approx(loss.fact("lipschitz"))


@pytest.mark.parametrize("loss", [KL(), ReverseKL(), JensenShannon(), Wasserstein1()], ids=str)
def test_a_divergence_is_zero_and_flat_at_the_truth(loss: Loss) -> None:
    assert loss(np.log(P) + 3.0, P) == pytest.approx(0.0, abs=1e-15)
    other = np.log(np.roll(P, 1, axis=1))
    assert np.all(loss.value(other, P) > 1e-3)
    if not isinstance(loss, Wasserstein1):
        np.testing.assert_allclose(loss.gradient(np.log(P), P), 0, atol=1e-15)


def test_crps_gaussian_is_least_at_the_truth() -> None:
    """In expectation over 200 quantiles of N(2, 3²)."""
    sample = stats.norm(2, 3).ppf((np.arange(2000) + 0.5) / 2000)
    best = CRPSGaussian().constant(sample)
    np.testing.assert_allclose([best[0], math.exp(best[1] / 2)], [2, 3], rtol=2e-3)


def test_a_fair_ensemble_is_judged_as_its_distribution() -> None:
    """The mean score of two draws is E|X - y| - ½ E|X - X'|, for X uniform on 0, 1, 2."""
    draws = np.array(list(itertools.product([0.0, 1.0, 2.0], repeat=2)))
    truth = CRPSEnsemble()(np.array([[0.0, 1.0, 2.0]]), np.array([0.7]))
    fair = CRPSEnsemble(fair=True)(draws, np.full(9, 0.7))
    assert fair == pytest.approx(float(truth), rel=1e-13)
    assert CRPSEnsemble()(draws, np.full(9, 0.7)) > truth


@pytest.mark.parametrize(
    "loss",
    [*SOFT, CRPSGaussian(), Distillation()],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_constant_minimises_the_weighted_mean_loss(loss: Loss, weighted: bool) -> None:
    target = next(y for other, _, y in CASES if type(other) is type(loss))
    size = 2 if isinstance(loss, CRPSGaussian) else 4
    weight = np.arange(1.0, 8.0) if weighted else None

    def cost(constant: Array) -> float:
        return float(loss(np.broadcast_to(constant, (7, size)), target, weight=weight))

    best = loss.constant(target, weight)
    found = optimize.minimize(cost, best + 0.1, method="Nelder-Mead", options={"xatol": 1e-9})
    assert cost(best) <= found.fun + 1e-8


def test_the_constant_of_quantiles_is_the_quantiles() -> None:
    constant = CRPSQuantile().constant(np.arange(1.0, 100.0))
    np.testing.assert_allclose(constant, np.arange(10, 100, 10), atol=1e-9)


def test_the_constant_of_equal_targets_is_finite() -> None:
    assert np.all(np.isfinite(CRPSGaussian().constant(np.full(5, 3.0))))
    assert np.all(np.isfinite(KL().constant(np.eye(3)[[0, 0, 0]])))
    assert np.all(np.isfinite(Wasserstein1().constant(np.eye(3)[[0, 0, 0]])))


# --- pains, and what each argument does -----------------------------------------------------------


def test_pain_08_the_mean_of_kl_is_kl() -> None:
    """PyTorch's "mean" divides by the number of classes as well; its "batchmean" is the KL."""
    log_q = F.log_softmax(torch.tensor(SCORE), 1)
    theirs = F.kl_div(log_q, torch.tensor(P), reduction="batchmean")
    assert KL()(SCORE, P) == pytest.approx(float(theirs), rel=1e-13)
    assert KL()(np.zeros((1, 4)), np.eye(4)[:1]) == pytest.approx(math.log(4))


def test_kl_covers_and_reverse_kl_chooses() -> None:
    """Two separate modes: forward KL prefers a broad q, reverse KL one of the modes."""
    p = np.array([[0.495, 0.01, 0.495]])
    broad, one_mode = np.zeros((1, 3)), np.array([[6.0, 0.0, 0.0]])
    assert KL()(broad, p) < KL()(one_mode, p)
    assert ReverseKL()(broad, p) > ReverseKL()(one_mode, p)


def test_jensen_shannon_is_at_most_log_2_and_symmetric() -> None:
    assert np.all(JensenShannon().value(40 * SCORE, P) < math.log(2))
    forth = JensenShannon()(np.log(P[:3]), P[3:6])
    assert forth == pytest.approx(float(JensenShannon()(np.log(P[3:6]), P[:3])), rel=1e-12)


def test_larger_spacing_makes_a_far_miss_dearer_in_proportion() -> None:
    assert Wasserstein1(spacing=3.0)(SCORE, P) == pytest.approx(3 * float(Wasserstein1()(SCORE, P)))
    near, far = np.array([[9.0, 0, 0, 0]]), np.array([[0, 0, 9.0, 0]])
    assert Wasserstein1()(near, np.eye(4)[:1]) < Wasserstein1()(far, np.eye(4)[:1])


def test_larger_alpha_listens_more_to_the_teacher() -> None:
    agrees = np.array([[0.0, 4.0]])  # with the teacher, not with the label
    target = np.array([[0.0, 0.0, 4.0]])
    costs = [float(Distillation(alpha=a)(agrees, target)) for a in (0.0, 0.5, 1.0)]
    assert costs == sorted(costs, reverse=True) and costs[-1] == pytest.approx(0, abs=1e-15)
    assert costs[0] == pytest.approx(float(CrossEntropy()(agrees, np.array([0]))))


def test_larger_temperature_teaches_the_unlikely_classes() -> None:
    """Only the unlikely classes 1 and 2 are mistaken: their share of the pull grows with T."""
    target, student = np.array([[0.0, 9.0, 2.0, -2.0]]), np.array([[9.0, -2.0, 2.0]])
    pull = [
        np.abs(Distillation(temperature=t, alpha=1.0).gradient(student, target)[0, 1:]).max()
        for t in (1.0, 2.0, 4.0)
    ]
    assert pull == sorted(pull) and pull[2] > 10 * pull[0]


def test_a_higher_level_wants_a_higher_column() -> None:
    sample = np.random.default_rng(5).normal(size=500)
    low, high = CRPSQuantile(levels=(0.2, 0.7)).constant(sample)
    assert np.mean(sample < low) == pytest.approx(0.2, abs=0.01)
    assert np.mean(sample < high) == pytest.approx(0.7, abs=0.01)


# --- Sinkhorn -------------------------------------------------------------------------------------


def test_sinkhorn_tends_to_half_the_squared_wasserstein_distance() -> None:
    """On a line the best plan pairs the sorted points; SciPy's assignment agrees in the plane."""
    x, y = np.array([[0.0], [1.0], [3.0]]), np.array([[5.0], [0.5], [2.0]])
    exact = 0.5 * np.mean((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2)
    assert SinkhornDivergence(epsilon=0.01, iterations=500)(x, y) == pytest.approx(exact, rel=1e-3)
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 6, 2))
    cost = 0.5 * np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    rows, columns = optimize.linear_sum_assignment(cost)
    close = SinkhornDivergence(epsilon=0.005, iterations=2000)(x, y)
    assert close == pytest.approx(cost[rows, columns].mean(), rel=1e-2)


def test_larger_epsilon_compares_only_the_means() -> None:
    x, y = np.random.default_rng(7).normal(size=(2, 6, 2))
    apart = 0.5 * np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    assert SinkhornDivergence(epsilon=1e6)(x, y) == pytest.approx(apart, rel=1e-5)
    assert SinkhornDivergence(epsilon=0.1)(x, y) > 1.1 * apart


def test_more_iterations_approach_the_limit() -> None:
    x, y = np.random.default_rng(8).normal(size=(2, 6, 2))
    limit = SinkhornDivergence(epsilon=0.05, iterations=3000)(x, y)
    errors = [
        abs(SinkhornDivergence(epsilon=0.05, iterations=i)(x, y) - limit) for i in (2, 20, 200)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-3


def test_sinkhorn_is_zero_for_the_same_cloud_and_gives_way_to_masks() -> None:
    x, y = np.random.default_rng(9).normal(size=(2, 6, 2))
    order = np.random.default_rng(9).permutation(6)
    loss = SinkhornDivergence(epsilon=0.5)
    assert loss(x, x) == pytest.approx(0.0, abs=1e-15)
    assert loss(x[order], x) == pytest.approx(0.0, abs=1e-6)
    kept = np.arange(6) < 4
    poisoned = np.where(kept[:, None], x, np.nan)
    assert loss(poisoned, y, mask=kept) == pytest.approx(loss(x[:4], y[:4]), rel=1e-10)
    doubled = np.repeat(np.arange(6), np.where(kept, 2, 1))
    weighted = loss(x, y, weight=np.where(kept, 2.0, 1.0))
    assert weighted == pytest.approx(float(loss(x[doubled], y[doubled])), rel=1e-9)


def test_following_sinkhorns_gradient_moves_one_cloud_onto_the_other() -> None:
    y = np.random.default_rng(10).normal(size=(8, 2))
    loss = SinkhornDivergence(epsilon=0.1, iterations=10)
    step = jax.jit(jax.grad(lambda x: loss(x, jnp.asarray(y))))
    x = jnp.asarray(np.random.default_rng(11).normal(loc=4.0, size=(8, 2)))
    for _ in range(60):
        x -= 4.0 * step(x)
    assert loss(np.asarray(x), y) < 0.01 and np.linalg.norm(x.mean(axis=0) - y.mean(axis=0)) < 0.1


# --- bad input ------------------------------------------------------------------------------------


@each_soft
def test_rows_that_are_no_distributions_are_refused(loss: Loss) -> None:
    loss.check_target(P)
    for bad, named in (([0.5, 0.6], "1.1"), ([-0.5, 1.5], "-0.5"), ([math.nan, 1.0], "nan")):
        with pytest.raises(TargetError, match=rf"target row 2 is {named}"):
            loss.check_target(np.array([[0.5, 0.5], bad]))


def test_reverse_kl_refuses_what_the_target_excludes() -> None:
    with pytest.raises(TargetError, match=r"row 2 is 0.0.*infinite"):
        ReverseKL().check_target(np.array([[0.5, 0.5], [0.0, 1.0]]))


def test_scores_that_do_not_fit_are_refused_with_both_sizes() -> None:
    for loss, score, target, words in [
        (KL(), np.zeros((2, 3)), np.full((2, 4), 0.25), "3 scores and 4 probabilities"),
        (Distillation(), np.zeros((2, 3)), np.zeros((2, 3)), "3 scores and 3 target columns"),
        (CRPSGaussian(), np.zeros((2, 3)), np.zeros(2), "mean, log_variance; it has 3"),
        (CRPSQuantile(), np.zeros((2, 3)), np.zeros(2), "3 scores a row for 9 levels"),
        (CRPSEnsemble(fair=True), np.zeros((2, 1)), np.zeros(2), "needs 2 or more"),
        (EnergyScore(), np.zeros((2, 5, 3)), np.zeros((2, 2)), "points of 3 .* of 2 numbers"),
        (SinkhornDivergence(), np.zeros((5, 3)), np.zeros((5, 2)), "points of 3 .* of 2 numbers"),
        (EnergyScore(), np.zeros((2, 3)), np.zeros((2, 3)), r"\[n, M, K\]"),
    ]:
        with pytest.raises(ShapeError, match=words):
            loss(score, target)


def test_bad_targets_are_refused_by_row_and_value() -> None:
    for loss, target, words in [
        (Distillation(), np.array([[1.0, 0, 0], [2.0, 0, 0]]), "row 2 is 2.0, not a class index"),
        (Distillation(), np.array([[1.0, 0, 0], [0.0, 0, math.inf]]), "row 2 is inf"),
        (CRPSGaussian(), np.array([0.0, math.nan]), "row 2 is nan"),
        (EnergyScore(), np.array([[0.0, 0.0], [1.0, math.inf]]), "row 2 is inf"),
    ]:
        with pytest.raises(TargetError, match=words):
            loss.check_target(target)
