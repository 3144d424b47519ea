"""Every registered loss against its definition, its peers and every claim of its card.

A new loss needs one row of DEFINITIONS and one of PEERS; the rest is read from the registry.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
import sklearn._loss as sk
import sklearn.linear_model._sgd_fast as sgd
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy import integrate, optimize, special, stats
from scipy.spatial import distance
from sklearn.metrics import mean_squared_log_error

from minimand.component import catalogue
from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses import (
    MAPE,
    MSLE,
    SMAPE,
    Absolute,
    BinaryCrossEntropy,
    BinaryFocal,
    Brier,
    Cauchy,
    CrammerSinger,
    CrossEntropy,
    EpsilonInsensitive,
    Expectile,
    Exponential,
    Focal,
    Gamma,
    HalfSquared,
    Hinge,
    Huber,
    InverseGaussian,
    LogCosh,
    Logistic,
    LogitAdjusted,
    Loss,
    ModifiedHuber,
    NegativeBinomial,
    Ordinal,
    Perceptron,
    Poisson,
    Poly,
    Quantile,
    Quantiles,
    Ramp,
    Sparsemax,
    Squared,
    SquaredEpsilonInsensitive,
    SquaredHinge,
    TukeyBiweight,
    Tweedie,
    Welsch,
    WestonWatkins,
    ZeroOne,
)
from minimand.losses.base import JointLoss

Array = Any


TARGETS = {
    "real": [-30.0, -1.0, 0.0, 1e-8, 1.0, 800.0],
    "count": [0.0, 1.0, 3.0, 1000.0],
    "positive": [1e-5, 1.0, 3.0, 800.0],
    "fraction": [0.0, 0.3, 1.0],
    "sign": [-1.0, 1.0],
    "class": [0, 1, 2],
}
# Losses of images, lists and batches, and of several parameters, have their own files of tests.
SWEPT = {
    name: made
    for name, made in catalogue("loss").items()
    if made.card.target in TARGETS
    and (made is Quantiles or not made.scores)
    and not issubclass(made, JointLoss)
    and made.curvature is not Loss.curvature
    and made is not Ordinal
}


def variants() -> Iterator[Loss]:
    """Every swept loss with its defaults and with the ends of its search ranges."""
    for made in SWEPT.values():
        yield made()
        for name, values in made.card.search.items():
            yield from (made(**{name: v}) for v in values.grid(2))


LOSSES = list(variants())
DESCENDED = [loss for loss in LOSSES if not isinstance(loss, ZeroOne)]
PLAIN_SCORES = [0.0, *np.linspace(-3.1, 3.3, 12)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
each_descended = pytest.mark.parametrize("loss", DESCENDED, ids=str)


def pairs(loss: Loss, scores: Any) -> tuple[Array, Array]:
    """Scores [n] or [n, 3] made of the numbers given, each with every target of the domain."""
    axes = 3 if loss.score_axes else 1
    made = list(
        itertools.product(itertools.product(scores, repeat=axes), TARGETS[loss.card.target])
    )
    score = np.array([s for s, _ in made])
    return (score if loss.score_axes else score[:, 0]), np.array([y for _, y in made])


def plain_pairs(loss: Loss) -> tuple[Array, Array]:
    """Pairs of ordinary size; targets lie where no kink meets a score, except for margins at 0."""
    score, target = pairs(loss, PLAIN_SCORES[:5] if loss.score_axes else PLAIN_SCORES)
    if loss.score_axes:
        score = score + 0.01 * np.arange(score.shape[-1])  # so that no two scores tie
    return score, (np.remainder(target, 2.0) + 0.123 if loss.card.target == "real" else target)


# --- the definition, at 400 digits ------------------------------------------------------------


def softmax(z: tuple[Any, ...]) -> list[Any]:
    total = sum(map(mpmath.exp, z))
    return [mpmath.exp(zj) / total for zj in z]


def faded(loss: Any, p: Any) -> Any:
    return -((1 - p) ** mpf(loss.gamma)) * mpmath.log(p)


def threshold(z: tuple[Any, ...]) -> Any:
    """Martins and Astudillo (2016), algorithm 1."""
    ordered = sorted(z, reverse=True)
    support = [k for k in range(1, len(z) + 1) if 1 + k * ordered[k - 1] > sum(ordered[:k])]
    return (sum(ordered[: support[-1]]) - 1) / mpf(support[-1])


DEFINITIONS: dict[str, Callable[..., Any]] = {
    # The textbook spelling of each card's formula, which only many digits make safe.
    "Squared": lambda loss, y, z: (z - y) ** 2,  # Legendre (1805)
    "Absolute": lambda loss, y, z: abs(z - y),  # Laplace (1789)
    "Huber": lambda loss, y, z: (  # Huber (1964), eq. 4.1
        (z - y) ** 2 / 2
        if abs(z - y) <= mpf(loss.delta)
        else mpf(loss.delta) * (abs(z - y) - mpf(loss.delta) / 2)
    ),
    "Quantile": lambda loss, y, z: (  # Koenker and Bassett (1978), eq. 3.1, with u = y - z
        (y - z) * (mpf(loss.level) - (1 if y - z < 0 else 0))
    ),
    "HalfSquared": lambda loss, y, z: (z - y) ** 2 / 2,
    "LogCosh": lambda loss, y, z: mpmath.log(mpmath.cosh(z - y)),  # Green (1990)
    "EpsilonInsensitive": lambda loss, y, z: max(mpf(0), abs(z - y) - mpf(loss.epsilon)),
    "SquaredEpsilonInsensitive": lambda loss, y, z: (
        max(mpf(0), abs(z - y) - mpf(loss.epsilon)) ** 2
    ),
    "Quantiles": lambda loss, y, *z: (  # Koenker and Bassett (1978), eq. 3.1, summed
        sum((y - q) * (mpf(t) - (1 if y < q else 0)) for q, t in zip(z, loss.levels, strict=True))
    ),
    "Expectile": lambda loss, y, z: (  # Newey and Powell (1987), |τ - 1(u < 0)| u², u = y - z
        abs(mpf(loss.level) - (1 if y - z < 0 else 0)) * (y - z) ** 2
    ),
    "Cauchy": lambda loss, y, z: (  # Holland and Welsch (1977): ψ(r) = r / (1 + (r/c)²)
        mpf(loss.scale) ** 2 / 2 * mpmath.log(1 + ((z - y) / mpf(loss.scale)) ** 2)
    ),
    "Welsch": lambda loss, y, z: 1 - mpmath.exp(-((z - y) ** 2) / (2 * mpf(loss.scale) ** 2)),
    "TukeyBiweight": lambda loss, y, z: (  # Beaton and Tukey (1974)
        mpf(loss.scale) ** 2 / 6 * (1 - max(mpf(0), 1 - ((z - y) / mpf(loss.scale)) ** 2) ** 3)
    ),
    "MSLE": lambda loss, y, z: (z - mpmath.log(1 + y)) ** 2,
    "MAPE": lambda loss, y, z: abs((y - z) / y),
    "SMAPE": lambda loss, y, z: 2 * abs(z - y) / (abs(z) + y),  # Makridakis (1993)
    "ModifiedHuber": lambda loss, y, z: (  # Zhang (2004)
        max(mpf(0), 1 - y * z) ** 2 if y * z >= -1 else -4 * y * z
    ),
    "Ramp": lambda loss, y, z: min(mpf(loss.cap), max(mpf(0), 1 - y * z)),
    "CrammerSinger": lambda loss, y, *z: (  # Crammer and Singer (2001): max over r of z_r + 1 - δ
        max(zj + (0 if j == int(y) else 1) for j, zj in enumerate(z)) - z[int(y)]
    ),
    "WestonWatkins": lambda loss, y, *z: sum(  # Weston and Watkins (1999), with margin 1
        max(mpf(0), 1 + zj - z[int(y)]) for j, zj in enumerate(z) if j != int(y)
    ),
    "ZeroOne": lambda loss, y, z: mpf(1 if y * z <= 0 else 0),
    "Perceptron": lambda loss, y, z: max(mpf(0), -y * z),  # Rosenblatt (1958)
    "Hinge": lambda loss, y, z: max(mpf(0), 1 - y * z),  # Cortes and Vapnik (1995)
    "SquaredHinge": lambda loss, y, z: max(mpf(0), 1 - y * z) ** 2,  # Zhang (2004), table 1
    "Logistic": lambda loss, y, z: mpmath.log(1 + mpmath.exp(-y * z)),  # Cox (1958)
    "Exponential": lambda loss, y, z: mpmath.exp(-y * z),  # Friedman et al. (2000), eq. 12
    "CrossEntropy": lambda loss, y, *z: (  # Bridle (1990): -log softmax(z)[y]
        mpmath.log(sum(map(mpmath.exp, z))) - z[int(y)]
    ),
    "BinaryCrossEntropy": lambda loss, y, z: (  # Good (1952), class 1 weighing `pos_weight`
        mpf(loss.pos_weight) * y * mpmath.log(1 + mpmath.exp(-z))
        + (1 - y) * mpmath.log(1 + mpmath.exp(z))
    ),
    "BinaryFocal": lambda loss, y, z: (  # Lin et al. (2017), eq. 5
        y * mpf(loss.alpha) * faded(loss, 1 / (1 + mpmath.exp(-z)))
        + (1 - y) * (1 - mpf(loss.alpha)) * faded(loss, 1 / (1 + mpmath.exp(z)))
    ),
    "Focal": lambda loss, y, *z: faded(loss, softmax(z)[int(y)]),  # Lin et al. (2017), eq. 4
    "Poly": lambda loss, y, *z: (  # Leng et al. (2022), eq. 5
        mpf(loss.epsilon) * (1 - softmax(z)[int(y)]) - mpmath.log(softmax(z)[int(y)])
    ),
    "LogitAdjusted": lambda loss, y, *z: (  # Menon et al. (2021), eq. 10, with equal priors
        -mpmath.log(softmax(z)[int(y)])
    ),
    "Brier": lambda loss, y, *z: sum(  # Brier (1950), eq. 2
        (p - (1 if j == int(y) else 0)) ** 2 for j, p in enumerate(softmax(z))
    ),
    "Sparsemax": lambda loss, y, *z: (  # Martins and Astudillo (2016), eq. 17
        sum(zj**2 - threshold(z) ** 2 for zj in z if zj > threshold(z)) / 2 + mpf("0.5") - z[int(y)]
    ),
    "Poisson": lambda loss, y, z: (  # -log(μ^y exp(-μ)) with μ = exp(z), log(y!) dropped
        mpmath.exp(z) - y * z
    ),
    "Gamma": lambda loss, y, z: z + y / mpmath.exp(z),  # -log(exp(-y / μ) / μ)
    "InverseGaussian": lambda loss, y, z: (  # (y - μ)² / (2 μ² y), 1 / (2 y) dropped
        ((y - mpmath.exp(z)) / mpmath.exp(z)) ** 2 / (2 * y) - 1 / (2 * y)
    ),
    "Tweedie": lambda loss, y, z: (  # -y μ^(1-p) / (1-p) + μ^(2-p) / (2-p), Jørgensen (1987)
        mpmath.exp(z) ** (2 - mpf(loss.power)) / (2 - mpf(loss.power))
        - y * mpmath.exp(z) ** (1 - mpf(loss.power)) / (1 - mpf(loss.power))
    ),
    "NegativeBinomial": lambda loss, y, z: (  # -log of the odds' powers in Hilbe (2011), eq. 8.9
        y * mpmath.log(1 + 1 / (mpf(loss.dispersion) * mpmath.exp(z)))
        + mpmath.log(1 + mpf(loss.dispersion) * mpmath.exp(z)) / mpf(loss.dispersion)
    ),
}
EXTREME = [-800.0, -30.0, -1.0, -1e-8, 1e-8, 1.0, 30.0, 800.0]


def assert_exact(ours: float, true: Any, where: str) -> None:
    """Within 1e-13 of the true value; values beyond float64's range may be anything."""
    if abs(true) > mpf(sys.float_info.max):
        return
    allowed = max(mpf("1e-300"), abs(true) * mpf("1e-13"))
    assert math.isfinite(ours) and abs(mpf(ours) - true) <= allowed, (
        f"{where}: {ours} is not {true}"
    )


def derivative(definition: Any, at: tuple[Any, ...], orders: tuple[int, ...], kinked: bool) -> Any:
    """The derivative at 400 digits, or None where the two sides differ."""
    right = mpmath.diff(definition, at, orders, direction=1)
    if kinked and right != pytest.approx(mpmath.diff(definition, at, orders, direction=-1), abs=0):
        return None
    return right


@each_loss
def test_value_and_derivatives_are_exact_in_the_tails(loss: Loss) -> None:
    define, kinked = DEFINITIONS[type(loss).__name__], bool(loss.card.kinks)
    score, target = pairs(loss, [-800.0, 1e-8, 30.0] if loss.score_axes else EXTREME)
    with np.errstate(over="ignore"):
        value = loss.value(score, target)
        slopes = loss in DESCENDED
        gradient = loss.gradient(score, target).reshape(len(value), -1) if slopes else None
        curvature = loss.curvature(score, target) if slopes else None
    with mpmath.workdps(400):
        for i in range(0, len(target), 5 if loss.score_axes else 1):
            y = target[i]
            z = tuple(map(mpf, np.atleast_1d(score[i])))
            where = f"score {score[i]}, target {y}"
            at = partial(define, loss, mpf(float(y)))
            assert_exact(value[i], at(*z), f"value at {where}")
            if not slopes:
                continue
            unit = np.eye(len(z), dtype=int)
            block = curvature[i].reshape(len(z), len(z))
            np.testing.assert_array_equal(block, block.T)
            for j in range(len(z)):
                first = derivative(at, z, tuple(unit[j]), kinked)
                if first is None:
                    continue
                assert_exact(gradient[i, j], first, f"gradient {j} at {where}")
                for k in range(j, len(z)):
                    second = derivative(at, z, tuple(unit[j] + unit[k]), kinked)
                    if second is not None:
                        assert_exact(block[j, k], second, f"curvature {j}, {k} at {where}")


# --- autodiff and array libraries -------------------------------------------------------------


@each_descended
def test_closed_forms_equal_jax_autodiff(loss: Loss) -> None:
    with jax.enable_x64(True):
        score, target = map(jnp.asarray, plain_pairs(loss))
        gradient = jax.jit(jax.vmap(jax.grad(loss.value)))(score, target)
        curvature = jax.jit(jax.vmap(jax.hessian(loss.value)))(score, target)
        np.testing.assert_allclose(loss.gradient(score, target), gradient, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(loss.curvature(score, target), curvature, rtol=1e-12, atol=1e-14)


@each_descended
def test_closed_gradient_equals_torch_autograd(loss: Loss) -> None:
    score, target = map(torch.tensor, plain_pairs(loss))
    score.requires_grad_()
    loss(score, target, reduction="sum").backward()
    np.testing.assert_allclose(
        loss.gradient(score.detach(), target), score.grad, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("loss", [Logistic(), CrossEntropy()], ids=str)
def test_autodiff_descends_from_scores_of_exactly_zero(loss: Loss) -> None:
    """Zero-initialised parameters are the commonest start; -0.5 is the closed form."""
    score = jnp.zeros((2, 2) if loss.score_axes else 2)
    slope = jax.grad(lambda s: loss(s, jnp.asarray([1, 1]), reduction="sum"))(score)
    np.testing.assert_allclose(slope[..., 1], -0.5)


LIBRARIES = {
    "jax": jnp.asarray,
    "torch": torch.tensor,
    "array_api_strict": array_api_strict.asarray,
}


@pytest.mark.parametrize("library", LIBRARIES)
@each_loss
def test_same_answer_on_every_array_library(loss: Loss, library: str) -> None:
    asarray = LIBRARIES[library]
    score, target = plain_pairs(loss)
    weight = np.linspace(0, 2, len(target))
    integers = np.ceil(target).astype(np.int64)
    with jax.enable_x64(True):
        s, y, w, i = map(asarray, (score, target, weight, integers))
        same = [
            (loss(s, y), loss(score, target)),
            (loss(s, y, weight=w, mask=w > 1), loss(score, target, weight=weight, mask=weight > 1)),
            (loss(s, i, reduction="none"), loss(score, integers, reduction="none")),
            (loss.response(s), loss.response(score)),
        ]
        if loss in DESCENDED:
            same.append((loss.gradient(s, i), loss.gradient(score, integers)))
            same.append((loss.curvature(s, y), loss.curvature(score, target)))
        if loss.card.target in ("sign", "class"):
            same.append((loss.decide(s), loss.decide(score)))
        for theirs, ours in same:
            assert isinstance(theirs, type(s)) and theirs.shape == np.shape(ours)
            np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-13, atol=1e-15)


@each_descended
def test_torch_compile_makes_one_graph(loss: Loss) -> None:
    torch.compiler.reset()  # it gives up on a function that it has met with many losses
    score, target = map(torch.tensor, plain_pairs(loss))
    compiled = torch.compile(loss.value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(score, target), loss.value(score, target))


def test_losses_load_no_array_library_but_numpy() -> None:
    code = (
        "import sys, minimand.losses; print(*{'jax', 'torch', 'scipy', 'sklearn'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.parametrize(("loss", "name"), [(x, n) for x in DESCENDED for n in x._dynamic], ids=str)
def test_hyperparameters_can_be_mapped_and_differentiated(loss: Loss, name: str) -> None:
    with jax.enable_x64(True):
        score, target = plain_pairs(loss)
        base = getattr(loss, name) or 0.5
        made = partial(dataclasses.replace, loss)
        values = [0.9 * base, base, 1.01 * base]
        alone = [made(**{name: v})(score, target) for v in values]
        mapped = jax.jit(jax.vmap(lambda v: made(**{name: v})(score, target)))(np.array(values))
        np.testing.assert_allclose(mapped, alone, rtol=1e-12)
        step = 1e-6 * base
        ends = [made(**{name: base + s})(score, target) for s in (-step, step)]
        slope = jax.grad(lambda v: made(**{name: v})(score, target))(base)
        assert slope == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-8)


# --- peers --------------------------------------------------------------------------------------


def by_torch(function: Callable[..., Any], **options: Any) -> Callable[..., Array]:
    def peer(score: Array, target: Array) -> Array:
        return function(torch.tensor(score), torch.tensor(target), reduction="none", **options)

    return peer


def by_margin_ranking(margin: float) -> Callable[..., Array]:
    """torch's margin ranking loss max(0, -y (a - b) + margin), with b = 0."""

    def peer(score: Array, target: Array) -> Array:
        a, y = torch.tensor(score), torch.tensor(target)
        return F.margin_ranking_loss(a, torch.zeros_like(a), y, margin=margin, reduction="none")

    return peer


def by_optax(function: Callable[..., Any], **options: Any) -> Callable[..., Array]:
    return lambda score, target: function(jnp.asarray(score), jnp.asarray(target), **options)


def by_sklearn(made: Any, classes: Any = lambda y: y) -> Callable[..., Array]:
    return lambda score, target: made.loss(
        classes(target).astype(float), np.ascontiguousarray(score)
    )


def by_nbinom(dispersion: float) -> Callable[..., Array]:
    """scipy's negative binomial, less the terms that depend on the count alone."""

    def peer(score: Array, target: Array) -> Array:
        n = 1 / dispersion
        alone = special.gammaln(target + n) - special.gammaln(n) - special.gammaln(target + 1)
        return alone - stats.nbinom.logpmf(target, n, 1 / (1 + dispersion * np.exp(score)))

    return peer


def by_sgd(made: Any) -> Callable[..., Array]:
    """A loss of scikit-learn's SGDRegressor or SGDClassifier."""
    return lambda score, target: np.array(
        [made.py_loss(float(z), float(y)) for z, y in zip(score, target, strict=True)]
    )


def by_pinballs(levels: tuple[float, ...]) -> Callable[..., Array]:
    peers = [by_sklearn(sk.PinballLoss(quantile=level)) for level in levels]
    return lambda score, target: sum(peer(score[:, i], target) for i, peer in enumerate(peers))


def by_influence(psi: Callable[[float], float], reach: float = 1e3) -> Callable[..., Array]:
    """The integral of the published influence function, 0 beyond `reach`, up to each residual."""
    return lambda score, target: np.array(
        [integrate.quad(psi, 0, r, epsabs=1e-13)[0] for r in np.clip(score - target, -reach, reach)]
    )


EACH = {"multioutput": "raw_values"}  # scikit-learn's metric for each column, not their mean


def zero_one(target: Array) -> Array:
    return (target + 1) / 2


def by_mixture(peer: Callable[..., Array]) -> Callable[..., Array]:
    """A peer for targets 0 and 1, averaged over the two for a soft target."""
    return lambda z, t: t * peer(z, np.ones_like(t)) + (1 - t) * peer(z, np.zeros_like(t))


def by_one_hot(function: Callable[..., Any], **options: Any) -> Callable[..., Array]:
    return lambda score, target: by_optax(function, **options)(score, np.eye(3)[target])


def by_faded_torch(gamma: float) -> Callable[..., Array]:
    """The usual spelling: F.cross_entropy, then p = exp(-ce)."""

    def peer(score: Array, target: Array) -> Array:
        ce = F.cross_entropy(torch.tensor(score), torch.tensor(target), reduction="none")
        return (1 - torch.exp(-ce)) ** gamma * ce

    return peer


def by_projection(score: Array, target: Array) -> Array:
    """½ ‖q - z‖² - ½ ‖p - z‖², p being optax's projection on the simplex."""
    z = jnp.asarray(score)
    p = jax.vmap(optax.projections.projection_simplex)(z)
    q = jnp.eye(3)[target]
    return (jnp.sum((q - z) ** 2, axis=-1) - jnp.sum((p - z) ** 2, axis=-1)) / 2


PEERS = [
    (Squared(), 1, by_torch(F.mse_loss)),
    (Squared(), 0.5, by_sklearn(sk.HalfSquaredError())),  # scikit-learn's carries a factor ½
    (Squared(), 0.5, by_optax(optax.losses.l2_loss)),  # so does optax's
    (Absolute(), 1, by_torch(F.l1_loss)),
    (Absolute(), 1, by_sklearn(sk.AbsoluteError())),
    (Huber(delta=0.7), 1, by_torch(F.huber_loss, delta=0.7)),
    (Huber(delta=0.7), 1, by_optax(optax.losses.huber_loss, delta=0.7)),
    (Quantile(level=0.8), 1, by_sklearn(sk.PinballLoss(quantile=0.8))),
    (HalfSquared(), 1, by_sklearn(sk.HalfSquaredError())),
    (HalfSquared(), 1, by_optax(optax.losses.l2_loss)),
    (LogCosh(), 1, by_optax(optax.losses.log_cosh)),
    (EpsilonInsensitive(epsilon=0.7), 1, by_sgd(sgd.EpsilonInsensitive(0.7))),
    (SquaredEpsilonInsensitive(epsilon=0.7), 1, by_sgd(sgd.SquaredEpsilonInsensitive(0.7))),
    (Quantiles(levels=(0.1, 0.4, 0.8)), 1, by_pinballs((0.1, 0.4, 0.8))),
    (Expectile(level=0.8), 1, lambda z, y: np.where(y > z, 0.8, 0.2) * (y - z) ** 2),
    (Cauchy(scale=1.5), 1, by_influence(lambda r: r / (1 + (r / 1.5) ** 2))),
    (Welsch(scale=1.5), 1.5**2, by_influence(lambda r: r * math.exp(-(r**2) / 4.5))),
    (TukeyBiweight(scale=1.5), 1, by_influence(lambda r: r * max(1 - (r / 1.5) ** 2, 0) ** 2, 1.5)),
    (MSLE(), 1, lambda z, y: mean_squared_log_error(y[None], np.expm1(z)[None], **EACH)),
    (MAPE(), 1, lambda z, y: by_torch(F.l1_loss)(z, y) / torch.tensor(y)),
    (SMAPE(), 0.5, lambda z, y: distance.cdist(z[:, None], y[:, None], "canberra").diagonal()),
    (ModifiedHuber(), 1, by_sgd(sgd.ModifiedHuber())),
    (Ramp(cap=2.5), 1, lambda z, y: by_margin_ranking(1.0)(z, y) - by_margin_ranking(-1.5)(z, y)),
    (CrammerSinger(), 1, by_optax(optax.losses.multiclass_hinge_loss)),
    (WestonWatkins(), 1 / 3, by_torch(F.multi_margin_loss)),  # PyTorch divides by K
    (ZeroOne(), 1, lambda z, y: np.heaviside(-y * z, 1)),  # a score of 0 is a mistake
    (Perceptron(), 1, by_margin_ranking(0.0)),
    (Perceptron(), 1, by_optax(optax.losses.perceptron_loss)),
    (Hinge(), 1, by_margin_ranking(1.0)),
    (Hinge(), 1, by_optax(optax.losses.hinge_loss)),
    (SquaredHinge(), 1, lambda z, y: by_margin_ranking(1.0)(z, y) ** 2),
    (Logistic(), 1, by_torch(F.soft_margin_loss)),
    (Logistic(), 1, by_sklearn(sk.HalfBinomialLoss(), zero_one)),
    (Exponential(), 1, by_sklearn(sk.loss.ExponentialLoss(), zero_one)),
    (CrossEntropy(), 1, by_torch(F.cross_entropy)),
    (CrossEntropy(), 1, by_sklearn(sk.HalfMultinomialLoss(n_classes=3))),
    (CrossEntropy(), 1, by_optax(optax.losses.softmax_cross_entropy_with_integer_labels)),
    (BinaryCrossEntropy(), 1, by_torch(F.binary_cross_entropy_with_logits)),
    (BinaryCrossEntropy(), 1, by_optax(optax.losses.sigmoid_binary_cross_entropy)),
    (
        BinaryCrossEntropy(pos_weight=3.0),
        1,
        by_torch(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(3.0)),
    ),
    (BinaryFocal(), 1, by_mixture(by_optax(optax.losses.sigmoid_focal_loss, alpha=0.25))),
    (
        BinaryFocal(gamma=0.5, alpha=0.9),
        1,
        by_mixture(by_optax(optax.losses.sigmoid_focal_loss, alpha=0.9, gamma=0.5)),
    ),
    (Focal(gamma=1.5), 1, by_faded_torch(1.5)),
    (Poly(epsilon=-0.5), 1, by_one_hot(optax.losses.poly_loss_cross_entropy, epsilon=-0.5)),
    (
        LogitAdjusted(prior=np.array([0.7, 0.2, 0.1]), tau=0.5),
        1,
        lambda z, y: by_torch(F.cross_entropy)(z + 0.5 * np.log([0.7, 0.2, 0.1]), y),
    ),
    (Brier(), 1, lambda z, y: by_torch(F.mse_loss)(special.softmax(z, -1), np.eye(3)[y]).sum(-1)),
    (Sparsemax(), 1, by_projection),
    (Poisson(), 1, by_torch(F.poisson_nll_loss, log_input=True, full=False)),
    (Poisson(), 1, by_sklearn(sk.HalfPoissonLoss())),
    (Gamma(), 1, by_sklearn(sk.HalfGammaLoss())),
    (InverseGaussian(), 1, by_sklearn(sk.HalfTweedieLoss(power=3))),
    (Tweedie(power=1.3), 1, by_sklearn(sk.HalfTweedieLoss(power=1.3))),
    (NegativeBinomial(dispersion=0.7), 1, by_nbinom(0.7)),
]


@pytest.mark.parametrize(("loss", "factor", "peer"), PEERS, ids=lambda x: str(x)[:20])
def test_values_equal_the_peers(loss: Loss, factor: float, peer: Callable[..., Array]) -> None:
    score, target = plain_pairs(loss)
    with jax.enable_x64(True):
        theirs = np.asarray(peer(score, target))
    np.testing.assert_allclose(factor * loss.value(score, target), theirs, rtol=1e-12, atol=1e-12)


def test_every_loss_has_a_definition_and_a_peer() -> None:
    assert set(DEFINITIONS) == {type(loss).__name__ for loss, *_ in PEERS} == set(SWEPT)


def test_mean_squared_error_of_the_textbook() -> None:
    """Squares 0.25, 0.25, 0 and 1, by hand."""
    assert Squared()(np.array([2.5, 0, 2, 8]), np.array([3, -0.5, 2, 7])) == 0.375


# --- the claims of the cards ----------------------------------------------------------------------

moderate = st.floats(-40, 40)
triples = st.tuples(moderate, moderate, moderate)


def norm(loss: Loss, x: Array) -> Array:
    return np.linalg.norm(x, axis=-1) if loss.score_axes else np.abs(x)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.card.convex], ids=str)
@given(a=triples, b=triples, share=st.floats(0, 1))
def test_claimed_convexity_and_lipschitz_constant_hold(
    loss: Loss, a: tuple[float, ...], b: tuple[float, ...], share: float
) -> None:
    target = np.array(TARGETS[loss.card.target])
    one, other = (np.array(s if loss.score_axes else s[0]) + 0 * target[:, None] for s in (a, b))
    one, other = (s if loss.score_axes else s[:, 0] for s in (one, other))
    left, right = loss.value(one, target), loss.value(other, target)
    between = loss.value(share * one + (1 - share) * other, target)
    scale = 1e-12 * (1 + np.abs(left) + np.abs(right))
    assert np.all(between <= share * left + (1 - share) * right + scale)
    if loss.card.lipschitz is not None:
        assert np.all(
            np.abs(left - right) <= loss.fact("lipschitz") * norm(loss, one - other) + scale
        )


NOT_CONVEX = [x for x in LOSSES if x.card.convex is False and not x.score_axes]


@pytest.mark.parametrize("loss", NOT_CONVEX, ids=str)
def test_a_loss_that_claims_not_to_be_convex_is_not(loss: Loss) -> None:
    score, target = pairs(loss, np.linspace(-10, 10, 81))
    beyond = 2.0 + 0 * score
    left, middle, right = (loss.value(score + s, target) for s in (-beyond, 0, beyond))
    assert np.any(middle > (left + right) / 2 + 1e-9)


@each_descended
def test_claimed_bounds_on_slope_and_curvature_are_attained_and_never_passed(loss: Loss) -> None:
    fine = [] if loss.score_axes else [2e-8, *np.linspace(-10, 10, 2001)]
    score, target = pairs(loss, [-100.0, -1.0, 0.0, 5.0, 100.0, *fine])
    steepest = norm(loss, loss.gradient(score, target)).max()
    curved = loss.curvature(score, target)
    most = (np.linalg.eigvalsh(curved) if loss.score_axes else curved).max()
    lipschitz, bound = loss.fact("lipschitz"), loss.fact("curvature")
    if lipschitz is None:
        # A bound may depend on the number of scores, and that of SMAPE, 4 / y, on the target.
        assert steepest > 100 or loss.score_axes or isinstance(loss, (BinaryFocal, SMAPE))
    else:
        assert steepest == pytest.approx(lipschitz, rel=1e-3)
        assert steepest <= lipschitz * (1 + 1e-12)
    if bound is None:
        assert loss.card.kinks or most > 100 or isinstance(loss, (BinaryFocal, Brier, Focal, Poly))
    else:
        assert most == pytest.approx(bound, rel=1e-3)
        assert np.all(curved <= bound * (1 + 1e-12))


@pytest.mark.parametrize("loss", [x for x in LOSSES if x.card.target == "real"], ids=str)
def test_bounded_influence_means_that_an_outlier_pulls_no_harder(loss: Loss) -> None:
    score = np.zeros((2, 3) if loss.score_axes else 2)
    near, far = norm(loss, loss.gradient(score, np.array([1e3, 1e9])))
    assert bool(far <= near) == loss.card.bounded_influence


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("loss", [x for x in DESCENDED if x.card.target == "sign"], ids=str)
def test_the_best_score_of_a_proper_loss_tells_the_probability(loss: Loss, p: float) -> None:
    def expected(z: float) -> float:
        return p * loss.value(np.float64(z), np.float64(1)) + (1 - p) * loss.value(
            np.float64(z), np.float64(-1)
        )

    best = optimize.minimize_scalar(expected, bounds=(-30, 30), options={"xatol": 1e-12}).x
    tells = loss.response(np.float64(best)) == pytest.approx(p, abs=1e-6)
    assert tells or not loss.card.proper


IMPROPER = [x for x in LOSSES if x.card.proper is False and x.card.target == "sign"]


@pytest.mark.parametrize("loss", IMPROPER, ids=str)
def test_an_improper_loss_has_one_best_score_for_many_probabilities(loss: Loss) -> None:
    grid = np.linspace(-3, 3, 601)
    up, down = loss.value(grid, np.ones(601)), loss.value(grid, -np.ones(601))
    best = {float(grid[np.argmin(p * up + (1 - p) * down)]) for p in (0.6, 0.8, 0.95)}
    assert len(best) == 1


def test_the_best_scores_of_cross_entropy_tell_the_probabilities() -> None:
    p = np.array([0.7, 0.2, 0.1])
    z = np.log(p) + 5.0
    expected = p @ CrossEntropy().gradient(np.tile(z, (3, 1)), np.arange(3))
    np.testing.assert_allclose(expected, 0, atol=1e-15)
    np.testing.assert_allclose(CrossEntropy().response(z), p, rtol=1e-14)


def test_the_best_score_of_poisson_tells_the_mean() -> None:
    counts = np.arange(60)
    share = stats.poisson(4.2).pmf(counts)
    best = optimize.minimize_scalar(
        lambda z: share @ Poisson().value(np.full(60, z), counts), bounds=(-5, 5)
    ).x
    assert Poisson().response(np.float64(best)) == pytest.approx(4.2, rel=1e-5)


ELICITS = {
    "Squared": lambda loss, y: np.mean(y),
    "HalfSquared": lambda loss, y: np.mean(y),
    "Expectile": lambda loss, y: stats.expectile(y, loss.level),
    "Quantiles": lambda loss, y: np.quantile(y, loss.levels, method="inverted_cdf"),
    "Absolute": lambda loss, y: np.median(y),
    "Quantile": lambda loss, y: np.quantile(y, loss.level, method="inverted_cdf"),
}
REAL_AND_PROPER = [x for x in LOSSES if x.card.target == "real" and x.card.proper]


@pytest.mark.parametrize("loss", REAL_AND_PROPER, ids=str)
def test_what_a_proper_regression_loss_elicits(loss: Loss) -> None:
    sample = np.random.default_rng(0).lognormal(size=1001)
    expected = ELICITS[type(loss).__name__](loss, sample)
    assert loss.constant(sample) == pytest.approx(expected, rel=1e-12)


@each_loss
def test_zero_is_optimal_exactly_where_the_card_says_so(loss: Loss) -> None:
    score, target = plain_pairs(loss)
    here = loss.value(np.zeros_like(score), target)
    assert bool(np.all(here <= loss.value(score, target))) == loss.card.zero_is_optimal


@pytest.mark.parametrize("loss", [x for x in LOSSES if hasattr(x, "pieces")], ids=str)
def test_pieces_reproduce_the_value(loss: Any) -> None:
    score, target = pairs(loss, np.linspace(-4, 4, 33))
    kink, low, high = (part.reshape(len(score), -1) for part in loss.pieces(target))
    beyond = score[:, None] - kink
    pieces = np.where(beyond < 0, low * beyond, high * beyond).sum(axis=1)
    np.testing.assert_allclose(pieces, loss.value(score, target), atol=1e-12)
    assert loss.card.kinks


# --- the constant, classes and targets ------------------------------------------------------------

SAMPLES = {
    "real": np.array([-3.0, 0.5, 0.5, 2.0, 2.5, 40.0]),
    "count": np.array([0.0, 0.0, 1.0, 0.0, 7.0, 2.0]),
    "positive": np.array([0.3, 0.3, 1.0, 0.8, 7.0, 2.0]),
    "sign": np.array([-1.0, 1.0, -1.0, -1.0, 1.0, -1.0]),
    "fraction": np.array([0.0, 0.2, 1.0, 1.0, 0.7, 0.0]),
    "class": np.array([0, 2, 1, 1, 0, 1]),
}
WEIGHTS = {
    "none": None,
    "integers": np.array([1, 2, 3, 1, 4, 1]),
    "tiny": np.array([1.0, 1e-3, 1.0, 1.0, 1e-4, 1.0]),  # a share far below one row's
}


@pytest.mark.parametrize("weights", WEIGHTS)
@each_loss
def test_the_constant_minimises_the_weighted_mean_loss(loss: Loss, weights: str) -> None:
    target, weight = SAMPLES[loss.card.target], WEIGHTS[weights]

    def cost(constant: Array) -> float:
        shape = (len(target), 3) if loss.score_axes else target.shape
        return float(loss(np.broadcast_to(constant, shape).astype(float), target, weight=weight))

    if loss.score_axes:
        best = optimize.minimize(cost, np.zeros(3), tol=1e-12).fun
    else:
        grid = np.linspace(-20, 45, 6501)
        start = grid[np.argmin([cost(c) for c in grid[::25]]) * 25]
        best = optimize.minimize_scalar(
            cost, bounds=(start - 0.5, start + 0.5), options={"xatol": 1e-10}
        ).fun
    assert cost(loss.constant(target, weight)) <= best + 1e-9 * max(1.0, abs(best))


def test_the_constant_of_small_rates_is_the_log_of_their_mean() -> None:
    rates = np.array([0.0, 0.0, 0.003])
    assert Poisson().constant(rates) == pytest.approx(math.log(0.001))


@each_loss
def test_the_constant_is_finite_when_every_target_is_the_same(loss: Loss) -> None:
    for target in TARGETS[loss.card.target]:
        constant = loss.constant(np.full(5, target))
        assert np.all(np.isfinite(constant))


@pytest.mark.parametrize("loss", [x for x in LOSSES if x.card.target in ("sign", "class")], ids=str)
def test_decisions_and_classes_agree(loss: Loss) -> None:
    """A score that favours the true class decides for it, and costs less than one against it."""
    classes = np.array([0, 1, 1, 0])
    target = loss.from_classes(classes)
    loss.check_target(target)
    score = 3.0 * np.eye(2)[classes] if loss.score_axes else 3.0 * np.where(classes == 1, 1, -1)
    assert loss.decide(score).tolist() == classes.tolist()
    assert np.all(loss.value(score, target) < loss.value(-score, target))


BAD = {
    "real": [math.nan, math.inf, -math.inf],
    "count": [-1.0, math.nan, math.inf],
    "positive": [0.0, -1.0, math.nan, math.inf],
    "fraction": [-0.1, 1.5, math.nan],
    "sign": [0.0, 2.0, math.nan],
    "class": [-1.0, 0.5, math.nan, math.inf],
}


@each_loss
def test_a_bad_target_is_refused_by_row_and_value(loss: Loss) -> None:
    good = np.ones(4)
    loss.check_target(good)
    for bad in BAD[loss.card.target]:
        target = good.copy()
        target[2:] = bad
        with pytest.raises(TargetError) as caught:
            loss.check_target(target)
        assert f"{type(loss).__name__}: target row 3 (and 1 more) is {bad}" in str(caught.value)


def test_zero_one_refuses_to_be_minimised_and_names_its_surrogates() -> None:
    one = np.ones(1)
    for refused in (
        ZeroOne().check_minimisable,
        lambda: ZeroOne().gradient(one, one),
        lambda: ZeroOne().curvature(one, one),
    ):
        with pytest.raises(ArgumentError) as caught:
            refused()
        for surrogate in ("Perceptron", "Hinge", "SquaredHinge", "Logistic", "Exponential"):
            assert surrogate in str(caught.value)


def test_cross_entropy_of_one_score_is_refused() -> None:
    with pytest.raises(ShapeError, match="2 or more classes"):
        CrossEntropy()(np.zeros((4, 1)), np.zeros(4, dtype=int))


# --- what each argument does ----------------------------------------------------------------------


def test_larger_delta_lets_an_outlier_pull_harder_and_leaves_small_residuals_alone() -> None:
    small, large = Huber(delta=1.0), Huber(delta=5.0)
    r, zero = np.array([0.5, 100.0]), np.zeros(2)
    assert small.value(r, zero)[0] == large.value(r, zero)[0]
    assert small.gradient(r, zero).tolist() == [0.5, 1.0]
    assert large.gradient(r, zero).tolist() == [0.5, 5.0]


def test_larger_level_makes_low_predictions_dearer_and_raises_the_constant() -> None:
    low, high = Quantile(level=0.2), Quantile(level=0.9)
    prediction, target = np.array([-1.0, 1.0]), np.zeros(2)
    assert high.value(prediction, target)[0] > low.value(prediction, target)[0]
    assert high.value(prediction, target)[1] < low.value(prediction, target)[1]
    sample = np.arange(100.0)
    assert low.constant(sample) < high.constant(sample)
