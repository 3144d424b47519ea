"""Likelihoods of several parameters, of angles and of censored times: definitions, peers, claims.

The likelihoods of one score are swept with the others in `test_losses.py`.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from functools import partial
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
from scipy import optimize, stats
from sklearn.linear_model import PoissonRegressor

from minimand.component import catalogue
from minimand.errors import ShapeError, TargetError
from minimand.losses import (
    Beta,
    BetaNLL,
    Gamma,
    GaussianNLL,
    InverseGaussian,
    LaplaceNLL,
    LogNormalAFT,
    Loss,
    NegativeBinomial,
    Poisson,
    StudentT,
    Tweedie,
    VonMises,
    WeibullAFT,
    ZeroInflatedPoisson,
)
from minimand.losses.base import JointLoss

Array = Any

LOSSES: list[Loss] = [
    GaussianNLL(),
    BetaNLL(),
    LaplaceNLL(),
    StudentT(),
    Beta(),
    ZeroInflatedPoisson(),
    VonMises(),
    WeibullAFT(scale=0.7),
    LogNormalAFT(scale=0.7),
]
TARGETS: dict[str, Any] = {
    "real": [-30.0, -1.0, 0.0, 1e-8, 1.0, 800.0],
    "count": [0.0, 1.0, 3.0, 1000.0],
    "fraction": [1e-8, 0.3, 0.5, 1 - 1e-8],
    "angle": [-3.0, 0.0, 1.0, 3.0],
    "survival": [(t, e) for t in (1e-3, 1.0, 40.0) for e in (0.0, 1.0)],
}
WILD = [-800.0, -30.0, -1.0, -1e-8, 1e-8, 1.0, 30.0, 800.0]
PLAIN = [-2.1, -0.4, 0.0, 0.7, 1.9]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)


def pairs(loss: Loss, scores: Any) -> tuple[Array, Array]:
    """Scores made of the numbers given, each with every target of the domain."""
    axes = max(1, len(loss.scores))
    each = itertools.product(itertools.product(scores, repeat=axes), TARGETS[loss.card.target])
    score, target = map(np.array, zip(*each, strict=True))
    return (score if loss.scores else score[:, 0]), target


def plain_pairs(loss: Loss) -> tuple[Array, Array]:
    """Pairs of ordinary size, away from the kink of the Laplace likelihood."""
    score, target = pairs(loss, PLAIN)
    return score, (np.remainder(target, 2.0) + 0.123 if loss.card.target == "real" else target)


def test_every_likelihood_is_tested_here_or_swept() -> None:
    here = {type(loss) for loss in LOSSES}
    files = ("likelihood", "scale", "proportion", "survival")
    for made in catalogue("loss").values():
        if made.__module__.rpartition(".")[2] in files and not issubclass(made, JointLoss):
            assert (made in here) != (made.card.target in ("count", "positive") and not made.scores)


# --- the definition, at 400 digits ----------------------------------------------------------------


def gaussian(loss: Any, y: Any, m: Any, s: Any) -> Any:
    """Minus the log of the density, without ½ log(2π)."""
    return (s + (y - m) ** 2 / mpmath.exp(s)) / 2


def student(loss: Any, y: Any, m: Any, s: Any) -> Any:
    nu = mpf(loss.df)
    return s / 2 + (nu + 1) / 2 * mpmath.log(1 + (y - m) ** 2 / mpmath.exp(s) / nu)


def beta(loss: Any, y: Any, z: Any, s: Any) -> Any:
    mean, phi = 1 / (1 + mpmath.exp(-z)), mpmath.exp(s)
    a, b = mean * phi, phi / (1 + mpmath.exp(z))
    gammas = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(phi)
    return gammas - a * mpmath.log(y) - b * mpmath.log(1 - y)


def inflated(loss: Any, y: Any, z: Any, g: Any) -> Any:
    zero, mean = 1 / (1 + mpmath.exp(-g)), mpmath.exp(z)
    if y == 0:
        return -mpmath.log(zero + mpmath.exp(-mean) / (1 + mpmath.exp(g)))
    return mean - y * z + mpmath.log(1 + mpmath.exp(g))


def weibull(loss: Any, y: Any, z: Any) -> Any:
    time, event = y
    e = (mpmath.log(time) - z) / mpf(loss.scale)
    return mpmath.exp(e) - event * (e - mpmath.log(mpf(loss.scale)))


def log_normal(loss: Any, y: Any, z: Any) -> Any:
    time, event = y
    e = (mpmath.log(time) - z) / mpf(loss.scale)
    if event:
        return e * e / 2 + mpmath.log(mpf(loss.scale))
    return -mpmath.log(mpmath.erfc(e / mpmath.sqrt(2)) / 2)


DEFINITIONS: dict[type[Loss], Callable[..., Any]] = {
    GaussianNLL: gaussian,
    LaplaceNLL: lambda loss, y, m, s: s + abs(y - m) / mpmath.exp(s),
    StudentT: student,
    Beta: beta,
    ZeroInflatedPoisson: inflated,
    VonMises: lambda loss, y, z: mpf(loss.concentration) * (1 - mpmath.cos(z - y)),
    WeibullAFT: weibull,
    LogNormalAFT: log_normal,
}
DEFINED = [made() for made in DEFINITIONS]
DIGITS = {LaplaceNLL: 800, Beta: 100}  # log Γ is slow at 400


def assert_exact(ours: float, f: Callable[..., Any], at: Any, y: Any) -> None:
    """Within 1e-13 of the true value."""
    true = f(y, *at)
    if abs(true) > mpf(sys.float_info.max):
        return
    allowed = max(mpf("1e-300"), abs(true) * mpf("1e-13"))
    assert math.isfinite(ours) and abs(mpf(float(ours)) - true) <= allowed, (
        f"at {at} and target {y}: {ours} is not {float(true)}"
    )


def wild_pairs(loss: Loss) -> tuple[Array, Array]:
    """Scores out to ±800; precisions of a beta and squared scales stay where floats do."""
    score, target = pairs(loss, WILD)
    if isinstance(loss, Beta):
        kept = np.abs(score[:, 1]) < 100
    elif isinstance(loss, LaplaceNLL):
        kept = target != score[:, 0]
    else:
        kept = np.ones(len(target), dtype=bool)
    return score[kept], target[kept]


@pytest.mark.parametrize("loss", DEFINED, ids=str)
def test_values_and_derivatives_are_exact_in_the_tails(loss: Loss) -> None:
    score, target = wild_pairs(loss)
    with np.errstate(over="ignore", invalid="ignore"):
        value, gradient = loss.value(score, target), loss.gradient(score, target)
        curvature = loss.curvature(score, target)
    axes = max(1, len(loss.scores))
    gradient, curvature = gradient.reshape(-1, axes), curvature.reshape(-1, axes, axes)
    unit, step = np.eye(axes, dtype=int), {LogNormalAFT: 6, Beta: 29}
    define = partial(DEFINITIONS[type(loss)], loss)

    def derivative(orders: Array) -> Callable[..., Any]:
        return lambda y, *at: mpmath.diff(partial(define, y), at, tuple(orders.tolist()))

    with mpmath.workdps(DIGITS.get(type(loss), 400)):
        for i in range(0, len(target), step.get(type(loss), 5 if axes > 1 else 1)):
            at = tuple(map(mpf, np.atleast_1d(score[i]).tolist()))
            y = target[i].tolist()
            y = tuple(map(mpf, y)) if loss.targets else mpf(y)
            assert_exact(value[i], define, at, y)
            for j in range(axes):
                assert_exact(gradient[i, j], derivative(unit[j]), at, y)
                for k in range(j, axes):
                    assert_exact(curvature[i, j, k], derivative(unit[j] + unit[k]), at, y)
                    np.testing.assert_array_equal(curvature[i, j, k], curvature[i, k, j])


def beta_slopes(y: Any, z: Any, s: Any) -> list[Any]:
    """By the logit and the log precision, once and twice: Ferrari and Cribari-Neto (2004), 6-9."""
    mu, nu, phi = 1 / (1 + mpmath.exp(-z)), 1 / (1 + mpmath.exp(z)), mpmath.exp(s)
    a, b, spread = mu * phi, nu * phi, mu * nu * phi
    (psi_a, tri_a), (psi_b, tri_b), (psi, tri) = (
        (mpmath.digamma(x), mpmath.psi(1, x)) for x in (a, b, phi)
    )
    pull_a, pull_b = psi_a - mpmath.log(y), psi_b - mpmath.log(1 - y)
    lift = a * pull_a + b * pull_b - phi * psi
    return [
        spread * (pull_a - pull_b),
        lift,
        spread * ((nu - mu) * (pull_a - pull_b) + spread * (tri_a + tri_b)),
        spread * (pull_a - pull_b + a * tri_a - b * tri_b),
        lift + a * a * tri_a + b * b * tri_b - phi * phi * tri,
    ]


def test_derivatives_of_beta_are_exact_for_equal_parameters_and_tiny_ones() -> None:
    score, target = pairs(Beta(), [-30.0, -1.0, -1e-8, 1e-8, 1.0, 30.0])
    gradient, curvature = Beta().gradient(score, target), Beta().curvature(score, target)
    blocks = np.concatenate([gradient, curvature.reshape(-1, 4)[:, [0, 1, 3]]], axis=1)
    with mpmath.workdps(120):
        for (z, s), y, ours in zip(score, target, blocks, strict=True):
            for one, true in zip(ours, beta_slopes(mpf(y), mpf(z), mpf(s)), strict=True):
                assert abs(mpf(one) - true) <= abs(true) * mpf("1e-13")


# --- autodiff, array libraries, reduction ---------------------------------------------------------

LIBRARIES = {
    "jax": jnp.asarray,
    "torch": torch.tensor,
    "array_api_strict": array_api_strict.asarray,
}


@each_loss
def test_closed_gradients_equal_jax_autodiff(loss: Loss) -> None:
    """BetaNLL, too: its weight is stopped."""
    with jax.enable_x64(True):
        score, target = map(jnp.asarray, plain_pairs(loss))
        gradient = jax.jit(jax.vmap(jax.grad(loss.value)))(score, target)
        np.testing.assert_allclose(loss.gradient(score, target), gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
@each_loss
def test_same_answer_on_every_array_library(loss: Loss, library: str) -> None:
    score, target = plain_pairs(loss)
    weight = np.linspace(0, 2, len(target))
    with jax.enable_x64(True):
        s, y, w = map(LIBRARIES[library], (score, target, weight))
        for theirs, ours in (
            (loss(s, y, weight=w, mask=w > 1), loss(score, target, weight=weight, mask=weight > 1)),
            (loss.gradient(s, y), loss.gradient(score, target)),
            (loss.curvature(s, y), loss.curvature(score, target)),
            (loss.response(s), loss.response(score)),
        ):
            assert isinstance(theirs, type(s)) and theirs.shape == np.shape(ours)
            np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-11, atol=1e-13)


@each_loss
def test_torch_autograd_and_compile(loss: Loss) -> None:
    score, target = map(torch.tensor, plain_pairs(loss))
    compiled = torch.compile(loss.value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(score, target), loss.value(score, target))
    score.requires_grad_()
    loss(score, target, reduction="sum").backward()
    closed = loss.gradient(score.detach(), target)
    np.testing.assert_allclose(closed, score.grad, rtol=1e-10, atol=1e-12)


@each_loss
def test_absent_rows_touch_neither_value_nor_gradient(loss: Loss) -> None:
    score, target = plain_pairs(loss)
    kept = np.arange(len(target)) % 3 > 0
    clean = np.zeros_like(score)
    clean[kept] = loss.gradient(score[kept], target[kept]) / kept.sum()
    expected = loss(score[kept], target[kept])
    score[~kept], target[~kept] = np.nan, np.nan
    for out in ({"mask": kept}, {"weight": 2.0 * kept}):
        assert loss(score, target, **out) == pytest.approx(expected, rel=1e-13)
    with jax.enable_x64(True):
        slope = jax.grad(lambda s: loss(s, jnp.asarray(target), mask=kept))(jnp.asarray(score))
        nothing = jax.grad(lambda s: loss(s, jnp.asarray(target), mask=0 * kept))(slope)
    np.testing.assert_allclose(slope, clean, rtol=1e-9, atol=1e-12)
    assert not np.any(nothing)
    assert loss(score, target, mask=0 * kept) == 0


@each_loss
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_is_finite_and_in_float32(loss: Loss, half: str) -> None:
    score, target = plain_pairs(loss)
    if loss.card.target == "fraction":
        target = np.clip(target, 0.01, 0.99)
    low, y = torch.tensor(score).to(getattr(torch, half)).requires_grad_(), torch.tensor(target)
    value = loss(low, y)
    value.backward()
    assert value.dtype == torch.float32 and torch.isfinite(low.grad).all()
    exact = loss(low.detach().double(), y)
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss._dynamic], ids=str)
def test_hyperparameters_can_be_mapped_and_differentiated(loss: Loss) -> None:
    (name,), (score, target) = loss._dynamic, plain_pairs(loss)
    base = getattr(loss, name)
    with jax.enable_x64(True):
        values = np.array([0.8 * base, base])
        mapped = jax.jit(jax.vmap(lambda one: one(score, target)))(type(loss)(**{name: values}))
        alone = [type(loss)(**{name: v})(score, target) for v in values]
        np.testing.assert_allclose(mapped, alone, rtol=1e-12)
        step = 1e-6 * base
        low, high = (type(loss)(**{name: base + s})(score, target) for s in (-step, step))
        slope = getattr(jax.grad(lambda one: one(score, target))(loss), name)
    assert slope == pytest.approx((high - low) / (2 * step), rel=1e-5)


# --- peers ----------------------------------------------------------------------------------------


def inflated_logpmf(score: Array, y: Array) -> Array:
    """Lambert (1992), eq. 1, from scipy's Poisson mass."""
    mean, zero = np.exp(score[:, 0]), 1 / (1 + np.exp(-score[:, 1]))
    return np.log(zero * (y == 0) + (1 - zero) * stats.poisson.pmf(y, mean))


def beta_logpdf(score: Array, y: Array) -> Array:
    mean, phi = 1 / (1 + np.exp(-score[:, 0])), np.exp(score[:, 1])
    return stats.beta.logpdf(y, mean * phi, (1 - mean) * phi)


def by_survival(made: Callable[..., Any]) -> Callable[..., Array]:
    """The log of the density for an event, of the survival function for a censored row."""

    def peer(score: Array, target: Array) -> Array:
        law, (time, event) = made(score), target.T
        return np.where(event == 1, law.logpdf(time), law.logsf(time))

    return peer


SCIPY: list[tuple[Any, Callable[..., Array]]] = [
    (Poisson(), lambda z, y: stats.poisson.logpmf(y, np.exp(z))),
    (
        NegativeBinomial(dispersion=0.7),
        lambda z, y: stats.nbinom.logpmf(y, 1 / 0.7, 1 / (1 + 0.7 * np.exp(z))),
    ),
    (GaussianNLL(), lambda s, y: stats.norm.logpdf(y, s[:, 0], np.exp(0.5 * s[:, 1]))),
    (LaplaceNLL(), lambda s, y: stats.laplace.logpdf(y, s[:, 0], np.exp(s[:, 1]))),
    (StudentT(df=3.0), lambda s, y: stats.t.logpdf(y, 3.0, s[:, 0], np.exp(0.5 * s[:, 1]))),
    (Beta(), beta_logpdf),
    (ZeroInflatedPoisson(), inflated_logpmf),
    (VonMises(concentration=4.0), lambda z, y: stats.vonmises.logpdf(y, 4.0, z)),
    (
        WeibullAFT(scale=0.5),
        by_survival(lambda z: stats.weibull_min(2.0, scale=np.exp(z))),
    ),
    (LogNormalAFT(scale=0.5), by_survival(lambda z: stats.lognorm(0.5, scale=np.exp(z)))),
]


@pytest.mark.parametrize(("loss", "logpdf"), SCIPY, ids=lambda x: str(x)[:20])
def test_value_and_dropped_terms_make_the_density_of_scipy(loss: Any, logpdf: Any) -> None:
    score, target = plain_pairs(loss)
    if loss.card.target == "count":
        score, target = score[target < 1000], target[target < 1000]
    full = loss.value(score, target) + loss.dropped(target)
    np.testing.assert_allclose(full, -logpdf(score, target), rtol=1e-9, atol=1e-9)


def test_values_equal_torch() -> None:
    score, target = map(torch.tensor, plain_pairs(GaussianNLL()))
    mean, variance = score[:, 0], torch.exp(score[:, 1])
    torch.testing.assert_close(
        GaussianNLL().value(score, target),
        F.gaussian_nll_loss(mean, target, variance, reduction="none", eps=0.0),
    )
    student = torch.distributions.StudentT(4.0, mean, variance.sqrt())
    torch.testing.assert_close(
        StudentT().value(score, target) + StudentT().dropped(target), -student.log_prob(target)
    )


def test_gamma_and_inverse_gaussian_are_scipys_up_to_the_shape() -> None:
    """Differences over scores, times the shape k or λ, where the other terms cancel."""
    y, one, other, shape = np.array([0.2, 1.0, 9.0]), np.full(3, 0.3), np.full(3, 1.1), 2.5

    def gamma(z: Array) -> Array:
        return -stats.gamma.logpdf(y, shape, scale=np.exp(z) / shape)

    def inverse(z: Array) -> Array:
        return -stats.invgauss.logpdf(y, np.exp(z) / shape, scale=shape)

    for loss, peer in ((Gamma(), gamma), (InverseGaussian(), inverse)):
        ours = shape * (loss.value(one, y) - loss.value(other, y))
        np.testing.assert_allclose(ours, peer(one) - peer(other), rtol=1e-12)


def minimised(cost: Callable[[Array], tuple[Any, Array]], size: int) -> Array:
    return optimize.minimize(cost, np.zeros(size), jac=True, tol=1e-12).x


def counts() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(300), rng.normal(size=300)])
    exposure = rng.uniform(0.1, 5.0, 300)
    return x, exposure, rng.poisson(exposure * np.exp(x @ [0.3, -0.7])).astype(float)


def offset_fit(loss: Loss, x: Array, exposure: Array, y: Array) -> Array:
    def cost(b: Array) -> tuple[Any, Array]:
        score = x @ b + np.log(exposure)
        return loss(score, y), x.T @ loss.gradient(score, y) / len(y)

    return minimised(cost, 2)


def test_an_exposure_enters_as_an_offset_like_sklearns_weighted_rate() -> None:
    """A Poisson fit with offset log t is the fit of the rate y / t with weight t."""
    x, exposure, y = counts()
    peer = PoissonRegressor(alpha=0.0, tol=1e-10, max_iter=1000)
    peer.fit(x[:, 1:], y / exposure, sample_weight=exposure)
    ours = offset_fit(Poisson(), x, exposure, y)
    np.testing.assert_allclose(ours, [peer.intercept_, *peer.coef_], rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "family"),
    [
        (Poisson(), lambda f: f.Poisson()),
        (NegativeBinomial(dispersion=0.7), lambda f: f.NegativeBinomial(alpha=0.7)),
        (Tweedie(power=1.4), lambda f: f.Tweedie(var_power=1.4)),
        (Gamma(), lambda f: f.Gamma(f.links.Log())),
        (InverseGaussian(), lambda f: f.InverseGaussian(f.links.Log())),
    ],
    ids=lambda x: str(x)[:20],
)
def test_fits_with_an_offset_equal_statsmodels(loss: Loss, family: Any) -> None:
    api = pytest.importorskip("statsmodels.api")
    x, exposure, y = counts()
    y = y if loss.card.target == "count" else y + 0.5
    peer = api.GLM(y, x, family(api.families), offset=np.log(exposure)).fit(tol=1e-12)
    np.testing.assert_allclose(offset_fit(loss, x, exposure, y), peer.params, rtol=1e-4)


def test_pain_17_variances_of_any_shape_and_exact_factorials() -> None:
    """A variance for each channel, and log(2!) where Stirling's formula gives 1.652."""
    rng = np.random.default_rng(0)
    score, target = rng.normal(size=(4, 5, 3, 2)), rng.normal(size=(4, 5, 3))
    expected = -stats.norm.logpdf(target, score[..., 0], np.exp(0.5 * score[..., 1]))
    ours = GaussianNLL().value(score, target) + GaussianNLL().dropped(target)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    with pytest.raises(ShapeError, match="mean, log_variance"):
        GaussianNLL()(np.zeros((4, 3)), np.zeros(4))
    two = np.array([2.0])
    assert Poisson().value(0 * two, two) + Poisson().dropped(two) == pytest.approx(1.693, abs=1e-3)


# --- claims, constants, targets -------------------------------------------------------------------


@each_loss
def test_claimed_convexity_and_curvature(loss: Loss) -> None:
    curvature = loss.curvature(*plain_pairs(loss))
    lowest = (np.linalg.eigvalsh(curvature) if loss.scores else curvature).min()
    assert (lowest >= -1e-12) == loss.card.convex
    if loss.card.curvature is not None:
        assert curvature.max() == pytest.approx(loss.fact("curvature"), rel=0.02)
        assert curvature.max() <= loss.fact("curvature") * (1 + 1e-12)


def test_the_pull_of_an_outlier_is_bounded_where_the_card_says_so() -> None:
    for loss in LOSSES:
        if loss.card.target == "real":
            score, far = np.zeros((2, 2)), np.array([1e6, 1e9])
            pull = np.abs(loss.gradient(score, far)).max(axis=-1)
            assert bool(pull[1] <= 10 * max(pull[0], 1.0)) == loss.card.bounded_influence


def test_von_mises_slope_is_at_most_the_concentration() -> None:
    pull = np.abs(VonMises(concentration=3.0).gradient(np.linspace(-9, 9, 2001), np.zeros(2001)))
    assert pull.max() == pytest.approx(VonMises(concentration=3.0).fact("lipschitz"), rel=1e-5)


SAMPLES = {
    "real": np.array([-3.0, 0.5, 0.6, 2.0, 2.5, 40.0]),
    "count": np.array([0.0, 0.0, 1.0, 0.0, 7.0, 2.0]),
    "fraction": np.array([0.1, 0.4, 0.45, 0.8, 0.3, 0.95]),
    "angle": np.array([3.0, -3.1, 2.8, -2.9, 3.1, 2.0]),
    "survival": np.array([[1.0, 1], [2.0, 0], [0.5, 1], [4.0, 1], [3.0, 0], [0.1, 1]]),
}
WEIGHT = np.array([1.0, 2.0, 3.0, 1.0, 0.5, 1.0])


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
@each_loss
def test_the_mean_gradient_vanishes_at_the_constant(loss: Loss, weight: Array) -> None:
    target = SAMPLES[loss.card.target]
    score = np.tile(loss.constant(target, weight), (len(target), 1))
    score = score if loss.scores else score[:, 0]
    slope = np.average(loss.gradient(score, target), axis=0, weights=weight)
    if isinstance(loss, LaplaceNLL):  # the median is a kink, and only the scale is stationary
        slope = slope[1]
        assert score[0, 0] == pytest.approx(1.3 if weight is None else 0.6)
    np.testing.assert_allclose(slope, 0, atol=1e-5)


@each_loss
def test_the_constant_is_finite_when_every_target_is_the_same(loss: Loss) -> None:
    for target in TARGETS[loss.card.target]:
        assert np.all(np.isfinite(loss.constant(np.array([target] * 5))))


def test_likelihoods_tell_the_parameters_that_made_the_sample() -> None:
    rng = np.random.default_rng(0)
    for loss, sample, truth in (
        (GaussianNLL(), rng.normal(2.0, 3.0, 20_000), [2.0, math.log(9.0)]),
        (LaplaceNLL(), rng.laplace(2.0, 3.0, 20_000), [2.0, math.log(3.0)]),
        (StudentT(df=3.0), 2 + 3 * rng.standard_t(3.0, 20_000), [2.0, math.log(9.0)]),
        (Beta(), rng.beta(2.0, 6.0, 20_000), [math.log(1 / 3), math.log(8.0)]),
        (
            ZeroInflatedPoisson(),
            rng.poisson(3.0, 20_000) * (rng.random(20_000) < 0.6),
            [math.log(3.0), math.log(0.4 / 0.6)],
        ),
    ):
        np.testing.assert_allclose(loss.constant(sample), truth, atol=0.06)


BAD = {
    "real": [math.nan, math.inf],
    "count": [-1.0, math.nan, math.inf],
    "fraction": [0.0, 1.0, -0.1, math.nan],
    "angle": [math.nan, math.inf],
    "survival": [(0.0, 1), (-1.0, 0), (math.nan, 1), (math.inf, 1), (1.0, 2), (1.0, math.nan)],
}


@each_loss
def test_a_bad_target_is_refused_by_row_and_value(loss: Loss) -> None:
    good = SAMPLES[loss.card.target]
    loss.check_target(good)
    for bad in BAD[loss.card.target]:
        target = good.copy()
        target[2:4] = bad
        with pytest.raises(TargetError) as caught:
            loss.check_target(target)
        wrong = float(next(x for x in np.atleast_1d(bad) if x != 1 or not loss.targets))
        start = f"{type(loss).__name__}: target row 3 (and 1 more) is {wrong}"
        assert str(caught.value).startswith(start)


# --- what each argument does, and where one loss turns into another -------------------------------


def test_larger_power_forgives_a_large_target_more_between_poisson_and_gamma() -> None:
    score, target = np.full(1, 2.0), np.array([50.0])
    pulls = [-Tweedie(power=p).gradient(score, target)[0] for p in (1.001, 1.5, 1.999)]
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[0] == pytest.approx(-Poisson().gradient(score, target)[0], rel=0.01)
    assert pulls[2] == pytest.approx(-Gamma().gradient(score, target)[0], rel=0.01)


def test_larger_dispersion_lets_large_counts_pull_less_and_none_is_poisson() -> None:
    score, target = np.array([1.0]), np.array([50.0])
    pulls = [-NegativeBinomial(dispersion=a).gradient(score, target)[0] for a in (1e-9, 0.5, 5)]
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[0] == pytest.approx(-Poisson().gradient(score, target)[0])


def test_larger_df_trusts_an_outlier_more_and_infinity_is_gaussian() -> None:
    score, target = np.zeros((1, 2)), np.array([20.0])
    pulls = [-StudentT(df=v).gradient(score, target)[0, 0] for v in (1.0, 5.0, 1e12)]
    assert pulls == sorted(pulls)
    assert pulls[-1] == pytest.approx(-GaussianNLL().gradient(score, target)[0, 0])


def test_larger_beta_lets_noisy_examples_pull_harder_from_gaussian_to_squared() -> None:
    score, target = np.array([[0.0, 3.0]]), np.array([2.0])
    pulls = [-BetaNLL(beta=b).gradient(score, target)[0, 0] for b in (0.0, 0.5, 1.0)]
    assert pulls == sorted(pulls)
    assert pulls[0] == -GaussianNLL().gradient(score, target)[0, 0]
    assert pulls[-1] == pytest.approx(2.0)


def test_larger_concentration_makes_a_wrong_direction_dearer_and_turns_do_not_matter() -> None:
    one, zero = np.ones(1), np.zeros(1)
    assert VonMises(concentration=5.0).value(one, zero) > VonMises().value(one, zero)
    turned = VonMises().value(one + 2 * np.pi, zero)
    np.testing.assert_allclose(turned, VonMises().value(one, zero))
    np.testing.assert_allclose(VonMises().response(one + 2 * np.pi), one)


def test_smaller_scale_makes_a_time_far_from_the_score_dearer() -> None:
    score, target = np.zeros(1), np.array([[20.0, 1.0]])
    for made in (WeibullAFT, LogNormalAFT):
        assert made(scale=0.2).value(score, target) > made(scale=1.0).value(score, target)


def test_a_surer_zero_makes_a_positive_count_dearer_and_a_zero_cheaper() -> None:
    low, high = (np.array([[1.0, logit]] * 2) for logit in (-2.0, 2.0))
    target = np.array([0, 3])
    zero, count = ZeroInflatedPoisson().value(high, target) - ZeroInflatedPoisson().value(
        low, target
    )
    assert zero < 0 < count


def test_responses_are_means_and_median_times() -> None:
    assert ZeroInflatedPoisson().response(np.array([np.log(4.0), 0.0])) == pytest.approx(2.0)
    assert Beta().response(np.array([0.0, 3.0])) == 0.5
    for loss, law in (
        (WeibullAFT(scale=0.5), stats.weibull_min(2.0, scale=np.exp(1.2))),
        (LogNormalAFT(scale=0.5), stats.lognorm(0.5, scale=np.exp(1.2))),
    ):
        assert loss.response(np.array(1.2)) == pytest.approx(law.median())
