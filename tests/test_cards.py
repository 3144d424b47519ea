"""What the cards claim of every registered loss, sampled; a claim that fails fails the build.

The losses are read from the registry. `target_of` says what a loss judges, `TRUTHS` where a proper
loss must be least; `test_losses.py` adds that the bounds of pointwise losses are attained exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.special import logit

from minimand.component import catalogue
from minimand.losses import (
    CTC,
    ArcFace,
    Beta,
    BinaryCrossEntropy,
    BinaryFocal,
    Boundary,
    CrossEntropy,
    Distillation,
    EnergyScore,
    Loss,
    LovaszHinge,
    PPOClip,
    QuantileTD,
    SinkhornDivergence,
    TDError,
    sequence_target,
    signed_distance,
)
from minimand.losses.base import JointLoss

Array = Any


def variants() -> Iterator[Loss]:
    """Every registered loss with its defaults and with the ends of its search ranges."""
    for made in catalogue("loss").values():
        if made.__module__.startswith("minimand."):  # other tests register losses of their own
            quick = {"iterations": 9} if made is SinkhornDivergence else {}
            yield made(**quick)
            for name, values in made.card.search.items():
                yield from (made(**{name: v}) for v in values.grid(2))
    yield from (BinaryCrossEntropy(pos_weight=3.0), BinaryFocal(alpha=0.5))


LOSSES: list[Loss] = list(variants())
CLASSES = ("sign", "class", "image", "fraction")


def target_of(loss: Loss) -> Array:
    """A few targets from the whole domain of the loss, in sets if its examples act together."""
    rng = np.random.default_rng(0)
    match loss:
        case TDError():
            return np.array([[0, 1.0, 0.5, 2.0], [1, -1.0, 0.0, 0.0], [2, 0.0, 1.0, 1.0]])
        case QuantileTD():
            return np.array([[0.0, 1.0], [-1.0, 5.0]])
        case PPOClip():
            return np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, -1.0]])
        case Distillation():
            return np.array([[0, 0.0, 1.0, -1.0], [2, 5.0, -5.0, 0.0]])
        case EnergyScore() | SinkhornDivergence():
            return rng.integers(-2, 3, (2, 2) if isinstance(loss, EnergyScore) else (2, 4, 2)) + 0.0
        case ArcFace():
            return np.array([0, 1, 2])
        case Boundary():
            return signed_distance(np.array([[0, 1, 1, 2], [2, 2, 0, 1]]), 3)
        case LovaszHinge():
            return np.array([[0, 1, 1, 0], [1, 0, 0, 0]])
        case Beta():
            return np.array([0.01, 0.3, 0.9])
    strict = isinstance(loss, JointLoss) and loss.card.target == "fraction"
    return {
        "real": np.array([-30.0, -1.0, 0.0, 1.0, 800.0]),
        "count": np.array([0.0, 1.0, 3.0, 1000.0]),
        "positive": np.array([0.1, 1.0, 3.0, 800.0]),
        "fraction": np.array([0.1, 0.5]) if strict else np.array([0.0, 0.3, 1.0]),
        "angle": np.array([0.0, 1.0, -math.pi]),
        "sign": np.array([-1.0, 1.0]),
        "class": np.array([0, 1, 2]),
        "soft": np.array([[1, 1, 1], [1, 2, 0], [0, 0, 3]]) / 3,
        "features": np.array([[0.0, 1.0], [0.5, 0.25]]),
        "embedding": np.array([0, 0, 1, 1, 2, 2]),
        "distribution": np.array([-30.0, 0.0, 1.0]),
        "image": np.array([[0, 1, 1, 2], [2, 2, 0, 1]]),
        "relevance": np.array([[0.0, 1.0, 3.0, 1.0], [2.0, 1.0, 0.0, 0.0]]),
        "survival": np.array([[0.1, 1], [1.0, 0], [1.0, 1], [3.0, 1], [3.0, 1], [80.0, 0]]),
        "action": np.array([-2.0, 0.0, 1.0]),
        "none": np.zeros(3),
        "sequence": sequence_target([[1], [2, 1]], [3, 4]),
    }[loss.card.target]


def shape_of(loss: Loss, target: Array) -> tuple[int, ...]:
    """The shape of the scores of these targets."""
    examples = target.shape[: target.ndim - loss.target_axes]
    wide = loss.target_axes and not isinstance(loss, (TDError, QuantileTD, Distillation, CTC))
    width = len(loss.scores) or len(getattr(loss, "levels", ())) or 3
    more = {"ELBO": 4, "UncertainTasks": 2}.get(type(loss).__name__, 0)
    width = target.shape[-1] + more if wide else width
    return (*examples, *(4, width)[2 - loss.score_axes :])


def scores(loss: Loss, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    end = 1.0 if isinstance(loss, ArcFace) else 20.0
    numbers = st.floats(-end, end, width=32)
    return arrays(np.float64, shape, elements=numbers, fill=st.nothing())


def length(difference: Array, value: Array) -> Array:
    """The Euclidean length of the scores that one value depends on."""
    return np.linalg.norm(difference.reshape(*value.shape, -1), axis=-1)


def claiming(fact: str, *claims: Any) -> list[Loss]:
    """The losses that make one of these claims."""
    return [loss for loss in LOSSES if loss.fact(fact) in claims]


def bounded(fact: str) -> list[Loss]:
    return [loss for loss in LOSSES if loss.fact(fact) is not None]


# --- convexity and the bounds ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", claiming("convex", True), ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_a_convex_loss_lies_below_its_chords(loss: Loss, data: st.DataObject) -> None:
    target = target_of(loss)
    draw = scores(loss, shape_of(loss, target))
    one, other, share = data.draw(draw), data.draw(draw), data.draw(st.floats(0, 1))
    left, right = loss.value(one, target), loss.value(other, target)
    between = loss.value(share * one + (1 - share) * other, target)
    slack = 1e-10 * (1 + np.abs(left) + np.abs(right))
    assert np.all(between <= share * left + (1 - share) * right + slack)


def crosses_a_chord(loss: Loss) -> bool:
    """Whether the loss lies above one of several hundred chords, short and long."""
    rng, target = np.random.default_rng(0), target_of(loss)
    shape = shape_of(loss, target)
    for _, scale in itertools.product(range(100), (0.03, 0.3, 1.0, 5.0)):
        middle, step = scale * rng.normal(size=(2, *shape))
        if isinstance(loss, ArcFace):
            middle, step = np.tanh(middle) / 2, np.tanh(step) / 2
        if loss.card.target == "real" and len(shape) == 1:
            middle = middle + target
        ends = loss.value(middle - step, target) + loss.value(middle + step, target)
        if np.any(2 * loss.value(middle, target) > ends + 1e-6 * (1 + np.abs(ends))):
            return True
    return False


@pytest.mark.parametrize("loss", claiming("convex", True, False), ids=str)
def test_a_loss_crosses_a_chord_unless_it_is_convex(loss: Loss) -> None:
    assert crosses_a_chord(loss) != loss.card.convex


@pytest.mark.parametrize("loss", bounded("lipschitz"), ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_no_chord_is_steeper_than_the_lipschitz_constant(loss: Loss, data: st.DataObject) -> None:
    target = target_of(loss)
    draw = scores(loss, shape_of(loss, target))
    one, other = data.draw(draw), data.draw(draw)
    left, right = loss.value(one, target), loss.value(other, target)
    slack = 1e-10 * (1 + np.abs(left) + np.abs(right))
    most = loss.fact("lipschitz") * length(one - other, left)
    assert np.all(np.abs(left - right) <= most + slack)


@pytest.mark.parametrize("loss", bounded("curvature"), ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_no_chord_lies_higher_than_the_curvature_allows(loss: Loss, data: st.DataObject) -> None:
    target = target_of(loss)
    draw = scores(loss, shape_of(loss, target))
    middle, step = data.draw(draw), data.draw(draw)
    value = loss.value(middle, target)
    ends = loss.value(middle - step, target) + loss.value(middle + step, target)
    most = loss.fact("curvature") * length(step, value) ** 2
    assert np.all(ends - 2 * value <= most + 1e-10 * (1 + np.abs(ends) + np.abs(value)))


REACHES = [(loss, f) for f in ("lipschitz", "curvature") for loss in bounded(f)]


@pytest.mark.parametrize(("loss", "fact"), REACHES, ids=str)
def test_a_claimed_bound_is_approached_and_not_passed(loss: Loss, fact: str) -> None:
    """By short chords; pointwise losses attain theirs in test_losses.py."""
    rng, target = np.random.default_rng(0), target_of(loss)
    most = 0.0
    for scale in (0.1, 1.0, 10.0, 100.0):
        for _ in range(150):
            middle, step = rng.normal(size=(2, *shape_of(loss, target)))
            middle, step = scale * middle, 1e-2 * step + np.copysign(1e-3, step)
            low, here, high = (loss.value(middle + s * step, target) for s in (-1, 0, 1))
            size = length(step, here)
            rise = high - here if fact == "lipschitz" else (high - 2 * here + low) / size
            most = max(most, float(np.max(rise / size)))
    assert 0.5 * loss.fact(fact) < most <= 1.001 * loss.fact(fact)


# --- kinks ----------------------------------------------------------------------------------------


def special_scores(loss: Loss, tries: int) -> Iterator[tuple[Array, Array, Array]]:
    """(score, direction, target) at whole and half numbers and where a field may put a kink."""
    rng, target = np.random.default_rng(0), target_of(loss)
    fields = [v for n in loss._dynamic if isinstance(v := getattr(loss, n), float) and v < 5]
    turns = [t for v in fields for t in (v, -v, 1 - v, 1 + v, -math.cos(v))]
    turns += [math.log1p(v) for f in fields for v in (f, -f) if v > -1]
    points = np.array([0.0, 0.0, 1.0, -1.0, 0.5, 2.0, 3.0, *turns])
    if isinstance(loss, ArcFace):
        points = points[np.abs(points) < 1]
    shape = shape_of(loss, target)
    starts = [np.zeros(shape)]
    if loss.card.target == "real" and target.shape == shape:
        starts.append(target)
    for score in (*starts, *(rng.choice(points, shape) for _ in range(tries))):
        yield score, rng.normal(size=shape), target


def kinked(function: Callable[[Array], Array], score: Array, direction: Array) -> bool:
    """Whether right and left slope differ by as much for a narrow step as for a wide one."""
    here = function(score)
    wide, narrow = (
        np.abs(function(score + h * direction) - 2 * here + function(score - h * direction)) / h
        for h in (1e-4, 1e-6)
    )
    return bool(np.any((narrow > 0.5 * wide) & (narrow > 1e-5 * (1 + np.abs(here)))))


def only_bends(loss: Loss) -> bool:
    """Whether the card says that only the second derivative jumps."""
    return "''" in loss.card.kinks or "curvature" in loss.card.kinks


SMOOTH = [loss for loss in LOSSES if not loss.card.kinks or only_bends(loss)]
KINKED = {type(loss) for loss in LOSSES if loss.card.kinks}


@pytest.mark.parametrize("loss", SMOOTH, ids=str)
def test_where_no_kink_is_claimed_the_two_slopes_agree(loss: Loss) -> None:
    for score, direction, target in special_scores(loss, 60):
        where = f"a kink at score {score.tolist()}, target {target.tolist()}"
        assert not kinked(partial(loss.value, target=target), score, direction), where


@pytest.mark.parametrize("made", sorted(KINKED, key=str), ids=lambda made: made.__name__)
def test_a_claimed_kink_is_found(made: type[Loss]) -> None:
    """In the value, or in the gradient where only the second derivative jumps."""
    assert any(
        kinked(partial(loss.gradient if only_bends(loss) else loss.value, target=y), z, direction)
        for loss in LOSSES
        if type(loss) is made
        for z, direction, y in special_scores(loss, 300)
    )


# --- influence and symmetry -----------------------------------------------------------------------

INFLUENCE = bounded("bounded_influence")


def cost_of_being_wrong(loss: Loss, distance: float) -> float:
    """The largest value for scores that far out."""
    rng, target = np.random.default_rng(0), target_of(loss)
    rays = rng.choice([-1.0, 0.0, 1.0], (50, *shape_of(loss, target)))
    return max(float(np.max(loss.value(distance * ray, target))) for ray in rays)


def constant_with_outlier(loss: Loss, far: float) -> Array:
    """The best constant of a hundred ordinary targets and one that runs to an end."""
    start = 0.25 if isinstance(loss, Beta) else 0.5
    targets = np.append(np.round(np.linspace(start, 3 * start, 100), 3), far)
    if loss.card.target == "count":
        targets = np.append(np.arange(100.0) % 4, far)
    if loss.target_axes:
        targets = np.stack([targets, np.ones(101)], axis=-1)
    return np.asarray(loss.constant(targets))


@pytest.mark.parametrize("loss", INFLUENCE, ids=str)
def test_one_bad_example_does_as_much_harm_as_the_card_says(loss: Loss) -> None:
    if isinstance(loss, Beta):
        near, far = (constant_with_outlier(loss, end) for end in (1e-8, 1e-16))
    elif loss.card.target in CLASSES:
        near, far = (cost_of_being_wrong(loss, distance) for distance in (30.0, 300.0))
    else:
        near, far = (constant_with_outlier(loss, end) for end in (1e8, 1e12))
    assert np.allclose(near, far, atol=0.05) == loss.card.bounded_influence


SYMMETRY = bounded("symmetric")


def mirrored(loss: Loss, score: Array) -> tuple[Array, Array]:
    """The value at the scores, and where the residual, or the class, is the opposite one."""
    target = target_of(loss)
    if loss.card.target in ("real", "angle"):
        return loss.value(target + score, target), loss.value(target - score, target)
    other = -target if loss.card.target == "sign" else 1 - target
    return loss.value(score, target), loss.value(-score, other)


@pytest.mark.parametrize("loss", SYMMETRY, ids=str)
@settings(max_examples=25)
@given(size=st.floats(0.125, 20, width=32))
def test_symmetry_is_as_the_card_says(loss: Loss, size: float) -> None:
    here, there = mirrored(loss, np.full(target_of(loss).shape, size))
    assert np.allclose(here, there, rtol=1e-10, atol=1e-10) == loss.fact("symmetric")


# --- properness -----------------------------------------------------------------------------------


def chances(count: int = 2001) -> Array:
    return (np.arange(count) + 0.5) / count


SKEWED = np.random.default_rng(0).gamma(2.0, size=201)
SIGNS, SHARE = np.repeat([1.0, -1.0], [7, 3]), 0.7
INDEX, SHARES = np.repeat([0, 1, 2], [6, 3, 1]), np.array([0.6, 0.3, 0.1])
SOFT = np.random.default_rng(0).dirichlet(np.ones(3), size=9)
TENTHS = np.arange(1, 10) / 10
COUNTS = stats.poisson(2.0).ppf(chances())
INFLATED = np.append(COUNTS, np.zeros(len(COUNTS)))  # a share of one half never counts


def log_mean(y: Array) -> Array:
    return np.log(y.mean())


def lowered(y: Array) -> Array:
    """The median of y with weights 1 / y."""
    y = np.sort(y)
    share = np.cumsum(1 / y) / np.sum(1 / y)
    return y[np.searchsorted(share, 0.5)]


def happened(times: Array) -> Array:
    return np.stack([times, np.ones_like(times)], axis=-1)


def truth(loss: Any) -> tuple[Array, Array]:
    """Targets as the world deals them out, and the score that tells the truth about them."""
    y = SKEWED
    match type(loss).__name__:
        case "Squared" | "HalfSquared" | "RootMeanSquared":
            return y, y.mean()
        case "Absolute":
            return y, np.median(y)
        case "Quantile":
            return y, np.quantile(y, loss.level, method="inverted_cdf")
        case "Quantiles" | "CRPSQuantile":
            return y, np.quantile(y, loss.levels, method="inverted_cdf")
        case "Expectile":
            return y, stats.expectile(y, loss.level)
        case "MSLE":
            return y, np.log1p(y).mean()
        case "MAPE":
            return y, lowered(y)
        case "Poisson" | "Gamma" | "InverseGaussian" | "Tweedie" | "NegativeBinomial":
            return y, log_mean(y)
        case "SquaredHinge" | "ModifiedHuber":
            return SIGNS, 2 * SHARE - 1
        case "Logistic":
            return SIGNS, logit(SHARE)
        case "Exponential":
            return SIGNS, logit(SHARE) / 2
        case "BinaryCrossEntropy" | "BinaryFocal":
            return (SIGNS + 1) / 2, logit(SHARE) + math.log(getattr(loss, "pos_weight", 1.0))
        case "Hinge" | "Ramp":  # their response is the score itself
            return SIGNS, SHARE
        case "Sparsemax":
            return INDEX, SHARES
        case "Ordinal":
            odds = logit(np.cumsum(SHARES)[:2])
            return INDEX, np.array([0.0, odds[0], math.log(odds[1] - odds[0])])
        case "KL":
            return SOFT, np.log(SOFT.mean(axis=0))
        case "GaussianNLL":
            return y, np.array([y.mean(), np.log(y.var())])
        case "LaplaceNLL":
            spread = np.abs(y - np.median(y)).mean()
            return y, np.array([np.median(y), math.log(spread)])
        case "StudentT":
            return 1 + 3 * stats.t(loss.df).ppf(chances()), np.array([1.0, 2 * math.log(3)])
        case "VonMises":
            return y, np.angle(np.exp(1j * y).mean())
        case "CRPSGaussian":
            return 1 + 3 * stats.norm.ppf(chances()), np.array([1.0, 2 * math.log(3)])
        case "CRPSEnsemble":
            return y[:5], y[:5]
        case "EnergyScore":
            return y[:10].reshape(5, 2), y[:10].reshape(5, 2)
        case "Beta":
            return stats.beta(2, 3).ppf(chances()), np.array([logit(0.4), math.log(5)])
        case "ZeroInflatedPoisson":
            return INFLATED, np.array([math.log(2), 0.0])
        case "WeibullAFT":
            times = stats.weibull_min(1 / loss.scale).ppf(chances())
            return happened(times), np.float64(0.0)
        case "LogNormalAFT":
            return happened(stats.lognorm(loss.scale).ppf(chances())), np.float64(0.0)
    if loss.card.target == "image" and not isinstance(loss, CrossEntropy):
        images = np.array([*itertools.product([1, 1, 1, 0], repeat=3)])  # foreground with p = 3/4
        if isinstance(loss, LovaszHinge):
            return images, np.full(3, 0.75)
        maps = signed_distance(images, 2) if isinstance(loss, Boundary) else images
        return maps, np.tile(np.log([0.25, 0.75]), (3, 1))
    return INDEX, np.log(SHARES)


def expected(loss: Loss, score: Array, sample: Array) -> float:
    """The mean loss of one score for all targets of the sample."""
    return float(loss(np.broadcast_to(score, (len(sample), *np.shape(score))), sample))


@pytest.mark.parametrize("loss", claiming("proper", True), ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_the_expectation_of_a_proper_loss_is_least_at_the_truth(
    loss: Loss, data: st.DataObject
) -> None:
    sample, score = truth(loss)
    step = data.draw(arrays(np.float64, np.shape(score), elements=st.floats(-2, 2, width=32)))
    least = expected(loss, score, sample)
    assert least <= expected(loss, score + step, sample) + 1e-5 * (1 + abs(least))


@pytest.mark.parametrize("loss", claiming("proper", False), ids=str)
def test_an_improper_loss_is_lower_elsewhere_than_at_the_truth(loss: Loss) -> None:
    sample, score = truth(loss)
    others = [expected(loss, c * score, sample) for c in np.geomspace(0.1, 10, 41)]
    assert min(others) < expected(loss, score, sample) - 1e-3


# --- all of them ----------------------------------------------------------------------------------

TESTED = {
    "convex": claiming("convex", True, False),
    "lipschitz": bounded("lipschitz"),
    "curvature": bounded("curvature"),
    "kinks": LOSSES,
    "bounded_influence": INFLUENCE,
    "proper": claiming("proper", True, False),
    "symmetric": SYMMETRY,
}


@pytest.mark.parametrize("fact", TESTED)
def test_every_fact_that_is_claimed_is_tested(fact: str) -> None:
    claimed = {
        name
        for name, made in catalogue("loss").items()
        if made.__module__.startswith("minimand.") and getattr(made.card, fact) is not None
    }
    assert claimed == {type(loss).__name__ for loss in TESTED[fact]}


DEFAULTS = list({type(loss): loss for loss in reversed(LOSSES)}.values())[::-1]
HALVES = {
    "torch.float16": lambda z: torch.tensor(z, dtype=torch.float16),
    "torch.bfloat16": lambda z: torch.tensor(z, dtype=torch.bfloat16),
    "jax.bfloat16": lambda z: jnp.asarray(z, dtype=jnp.bfloat16),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("loss", DEFAULTS, ids=str)
def test_half_precision_is_finite_wherever_the_exact_value_fits(loss: Loss, half: str) -> None:
    rng, target, jitted = np.random.default_rng(0), target_of(loss), jax.jit(loss)
    for size in (1.0, 30.0, 800.0):
        score = size * rng.uniform(-1, 1, shape_of(loss, target))
        if isinstance(loss, ArcFace):
            score = score / size
        with np.errstate(over="ignore"):
            exact = np.abs(loss(score, target))
        if exact < 1e37:
            call, asarray = (loss, torch.tensor) if "torch" in half else (jitted, jnp.asarray)
            assert math.isfinite(call(HALVES[half](score), asarray(target))), f"scores of {size}"


ADDITIVE = [loss for loss in DEFAULTS if not isinstance(loss, JointLoss)]


@pytest.mark.parametrize("loss", ADDITIVE, ids=str)
def test_micro_batches_add_up_to_the_full_mean(loss: Loss) -> None:
    rng, target = np.random.default_rng(0), target_of(loss)
    target = np.concatenate([target] * 3)
    score = rng.uniform(-0.9, 0.9, shape_of(loss, target))
    weight = rng.uniform(0, 2, target.shape[: target.ndim - loss.target_axes])
    whole = loss(score, target, weight=weight)
    parts = [loss.total(score[i], target[i], weight=weight[i]) for i in np.split(*_cut(target))]
    assert sum(p[0] for p in parts) / sum(p[1] for p in parts) == pytest.approx(whole, rel=1e-12)


def _cut(target: Array) -> tuple[Array, list[int]]:
    """Row numbers, and where to cut them into batches of unequal size."""
    return np.arange(len(target)), [1, len(target) // 2]
