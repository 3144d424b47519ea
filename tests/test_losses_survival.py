"""The Cox partial likelihood against published fits, a double loop, statsmodels and real data."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.io import arff

from minimand.errors import ArgumentError, ShapeError, TargetError
from minimand.losses import Cox, LogNormalAFT, WeibullAFT

Array = Any
Ties = Literal["efron", "breslow"]
both_ties = pytest.mark.parametrize("ties", ["efron", "breslow"])


def by_double_loop(score: Array, target: Array, weight: Array, ties: Ties) -> float:
    """Minus the log partial likelihood as Therneau and Grambsch (2000), section 3.3, print it."""
    time, event = target.T
    total = 0.0
    for t in np.unique(time[event == 1]):
        failed = (time == t) & (event == 1) & (weight > 0)
        risk = np.sum((weight * np.exp(score))[time >= t])
        tied = np.sum((weight * np.exp(score))[failed])
        deaths = int(failed.sum())
        total += np.sum((weight * score)[failed])
        for k in range(deaths):
            less = k / deaths * tied if ties == "efron" else 0.0
            total -= np.sum(weight[failed]) / deaths * np.log(risk - less)
    return -total / np.sum(weight * event)


def sample(n: int, seed: int = 0, times: int = 6) -> tuple[Array, Array, Array]:
    """Scores, targets with many ties, weights of which some are 0."""
    rng = np.random.default_rng(seed)
    time = rng.integers(1, times + 1, n).astype(float)
    target = np.column_stack([time, rng.random(n) < 0.6])
    return rng.normal(size=n), target, rng.integers(0, 3, n).astype(float)


# The remission times of Freireich et al. (1963), in weeks, as Cox (1972) prints them; the negative
# ones are censored.
TREATED = [-6, 6, 6, 6, 7, -9, -10, 10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def leukaemia() -> tuple[Array, Array]:
    weeks = np.array(TREATED + PLACEBO, dtype=float)
    return np.repeat([0.0, 1.0], 21), np.column_stack([np.abs(weeks), weeks > 0])


@pytest.mark.parametrize(("ties", "published"), [("efron", 1.572), ("breslow", 1.509)])
def test_the_leukaemia_trial_of_1963(ties: Ties, published: float) -> None:
    """Kalbfleisch and Prentice (2002) give 1.509; R's `coxph`, by Efron's method, 1.572."""
    treatment, target = leukaemia()
    best = optimize.minimize_scalar(
        lambda b: Cox(ties=ties)(b * treatment, target), bounds=(0, 3), method="bounded"
    ).x
    assert best == pytest.approx(published, abs=5e-4)


@both_ties
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 40])
def test_equals_the_printed_formula_with_ties_and_case_weights(ties: Ties, n: int) -> None:
    score, target, weight = sample(n, seed=n)
    target[0, 1], weight[0] = 1.0, 1.0
    ours = Cox(ties=ties)(score, target, weight=weight)
    assert ours == pytest.approx(by_double_loop(score, target, weight, ties), rel=1e-12)


@both_ties
def test_equals_statsmodels(ties: Ties) -> None:
    api = pytest.importorskip("statsmodels.duration.hazard_regression")
    rng = np.random.default_rng(1)
    _, target, _ = sample(200, times=30)
    x, b = rng.normal(size=(200, 3)), np.array([0.5, -1.0, 0.2])
    peer = api.PHReg(target[:, 0], x, status=target[:, 1], ties=ties)
    events = target[:, 1].sum()
    with jax.enable_x64(True):
        cost = jax.jit(jax.value_and_grad(lambda b: Cox(ties=ties)(x @ b, target)))
        value, slope = map(np.asarray, cost(jnp.asarray(b)))
    assert value * events == pytest.approx(-peer.loglike(b), rel=1e-10)
    np.testing.assert_allclose(slope * events, -peer.score(b), rtol=1e-8)


@both_ties
def test_pain_16_no_events_cost_nothing_and_have_no_gradient(ties: Ties) -> None:
    score, target, _ = sample(9)
    target[:, 1] = 0
    assert Cox(ties=ties)(score, target) == 0
    slope = jax.jit(jax.grad(lambda s: Cox(ties=ties)(s, jnp.asarray(target))))(score)
    assert not np.any(slope)
    by_torch = torch.tensor(score, requires_grad=True)
    Cox(ties=ties)(by_torch, torch.tensor(target)).backward()
    assert not by_torch.grad.any()


@both_ties
def test_extreme_scores_are_exact(ties: Ties) -> None:
    """By hand: the first to fail has score z, and the other one 0: log(1 + exp(-z))."""
    target = np.array([[1.0, 1.0], [2.0, 1.0]])
    for z in (-800.0, -30.0, 0.0, 30.0, 800.0):
        expected = 0.5 * np.logaddexp(0, -z)
        ours = Cox(ties=ties).value(np.array([z, 0.0]), target)
        assert ours == pytest.approx(expected, rel=1e-13, abs=1e-13)
    score, target, _ = sample(30)
    shifted = Cox(ties=ties)(score + 1e4, target)
    assert shifted == pytest.approx(Cox(ties=ties)(score, target), rel=1e-10)


@both_ties
def test_absent_rows_are_as_if_they_had_never_been(ties: Ties) -> None:
    score, target, weight = sample(31)
    kept = weight > 0
    loss = Cox(ties=ties)
    expected = loss(score[kept], target[kept])
    score[~kept], target[~kept] = np.nan, np.nan
    assert loss(score, target, mask=kept) == pytest.approx(expected, rel=1e-13)
    assert loss(score, target, weight=1.0 * kept) == pytest.approx(expected, rel=1e-13)
    slope = jax.jit(jax.grad(lambda s: loss(s, jnp.asarray(target), mask=kept)))(score)
    assert np.all(np.isfinite(slope)) and not np.any(slope[~kept])
    assert loss(score, target, mask=np.zeros(31, dtype=bool)) == 0


LIBRARIES: dict[str, Callable[..., Array]] = {
    "jax": jnp.asarray,
    "torch": torch.tensor,
    "array_api_strict": array_api_strict.asarray,
}


@both_ties
@pytest.mark.parametrize("library", LIBRARIES)
def test_same_answer_on_every_array_library(ties: Ties, library: str) -> None:
    score, target, weight = sample(24)
    with jax.enable_x64(True):
        s, y, w = map(LIBRARIES[library], (score, target, weight))
        call = Cox(ties=ties).__call__
        theirs = (jax.jit(call) if library == "jax" else call)(s, y, weight=w)
    assert isinstance(theirs, type(s))
    assert float(theirs) == pytest.approx(float(Cox(ties=ties)(score, target, weight=weight)))


def test_gradients_of_jax_and_torch_agree_and_several_sets_are_averaged() -> None:
    score, target, _ = sample(24)
    one, other = score[:12], score[12:]
    sets = Cox()(score.reshape(2, 12), target.reshape(2, 12, 2))
    alone = [Cox()(one, target[:12]), Cox()(other, target[12:])]
    assert sets == pytest.approx(np.mean(alone))
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(Cox().value))(jnp.asarray(score), jnp.asarray(target))
    by_torch = torch.tensor(score, requires_grad=True)
    compiled = torch.compile(Cox().value, fullgraph=True, backend="eager")
    compiled(by_torch, torch.tensor(target)).backward()
    np.testing.assert_allclose(slope, by_torch.grad, rtol=1e-10, atol=1e-14)
    low = torch.tensor(score).half().requires_grad_()
    Cox()(low, torch.tensor(target)).backward()
    assert torch.isfinite(low.grad).all()


@both_ties
def test_claimed_convexity(ties: Ties) -> None:
    _, target, _ = sample(15)
    rng = np.random.default_rng(2)
    for one, other in rng.normal(scale=5, size=(50, 2, 15)):
        middle = Cox(ties=ties)(0.5 * (one + other), target)
        ends = Cox(ties=ties)(one, target) + Cox(ties=ties)(other, target)
        assert middle <= 0.5 * ends + 1e-12


def test_breslow_costs_more_than_efron_where_events_tie() -> None:
    score, target, _ = sample(24)
    assert Cox(ties="breslow")(score, target) > Cox(ties="efron")(score, target)
    target[:, 0] = np.arange(24) + 1.0
    assert Cox(ties="breslow")(score, target) == pytest.approx(Cox(ties="efron")(score, target))


def test_bad_arguments_are_refused() -> None:
    score, target, _ = sample(4)
    with pytest.raises(ArgumentError, match="exact"):
        Cox(ties="exact")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="time, event"):
        Cox()(score, np.ones((4, 3)))
    target[2] = [1.0, 2.0]
    with pytest.raises(TargetError, match=r"Cox: target row 3 is 2.0, neither 1 .* nor 0"):
        Cox().check_target(target)


def whas500(path: Path) -> tuple[Array, Array]:
    """Age in decades and body-mass index of 500 patients, days and whether they died."""
    text = path.read_text().replace("\t", " ")
    rows, _ = arff.loadarff(io.StringIO(text))
    x = np.column_stack([rows["age"] / 10, rows["bmi"] / 10]).astype(float)
    event = (rows["fstat"] == b"1").astype(float)
    return x - x.mean(axis=0), np.column_stack([rows["lenfol"].astype(float), event])


def test_the_worcester_heart_attack_study(shared_data: Callable[[str], Path]) -> None:
    """A fit of real data with ties equals statsmodels', and age is a risk."""
    x, target = whas500(shared_data("survival/whas500.arff"))
    with jax.enable_x64(True):
        cost = jax.jit(jax.value_and_grad(lambda b: Cox()(x @ b, target)))
        best = optimize.minimize(lambda b: cost(jnp.asarray(b)), np.zeros(2), jac=True, tol=1e-10).x
    assert best[0] > 0.5
    api = pytest.importorskip("statsmodels.duration.hazard_regression")
    peer = api.PHReg(target[:, 0], x, status=target[:, 1], ties="efron").fit()
    np.testing.assert_allclose(best, peer.params, rtol=1e-5)


def test_accelerated_failure_times_of_the_leukaemia_trial() -> None:
    """R's survreg (Weibull), as Kalbfleisch and Prentice print it: treatment 1.267, scale 0.732."""
    treatment, target = leukaemia()

    def cost(p: Array) -> float:
        return float(WeibullAFT(scale=np.exp(p[2]))(p[0] + p[1] * (1 - treatment), target))

    intercept, effect, log_scale = optimize.minimize(cost, np.array([2.0, 1.0, 0.0])).x
    assert effect == pytest.approx(1.267, abs=1e-3)
    assert np.exp(log_scale) == pytest.approx(0.732, abs=1e-3)
    assert intercept == pytest.approx(2.248, abs=1e-3)


def test_a_censored_row_pulls_only_upwards() -> None:
    score, target = np.linspace(-5, 5, 11), np.column_stack([np.ones(11), np.zeros(11)])
    for loss in (WeibullAFT(), LogNormalAFT()):
        assert np.all(loss.gradient(score, target) < 0)
