"""Several tasks: weightings of losses and combinations of gradients, against formulas and peers."""

from __future__ import annotations

from typing import Any

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import optimize

from minimand.component import Component, find
from minimand.errors import ArgumentError, ShapeError
from minimand.losses import (
    MGDA,
    CAGrad,
    FixedWeights,
    GradNorm,
    HalfSquared,
    PCGrad,
    UncertaintyWeighting,
)

Array = Any
COMBINATIONS: list[Any] = [FixedWeights(), GradNorm(), PCGrad(), MGDA(), CAGrad()]
each_combination = pytest.mark.parametrize("tasks", COMBINATIONS, ids=str)


def gradients(count: int, size: int = 30) -> Array:
    """Gradients of unequal length, about half of whose pairs conflict."""
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, size)) * np.geomspace(0.3, 3, count)[:, None]


def best_on_simplex(cost: Any, count: int) -> float:
    """The least value over the simplex, by scipy's SLSQP."""
    found = optimize.minimize(
        cost,
        np.full(count, 1 / count),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(found.fun)


# --- all of them ----------------------------------------------------------------------------------


@each_combination
def test_same_direction_on_every_array_library_and_under_jit(tasks: Any) -> None:
    g = gradients(3)
    expected = tasks.combine(g)
    with jax.enable_x64(True):
        made = [
            jax.jit(lambda one, x: one.combine(x))(tasks, jnp.asarray(g)),
            tasks.combine(torch.tensor(g)),
            tasks.combine(array_api_strict.asarray(g)),
        ]
    for theirs in made:
        np.testing.assert_allclose(np.asarray(theirs), expected, rtol=1e-9, atol=1e-12)


@each_combination
def test_a_pytree_gives_what_its_flat_array_gives(tasks: Any) -> None:
    g = gradients(3)
    tree = {"kernel": g[:, :24].reshape(3, 4, 6), "bias": g[:, 24:]}
    with jax.enable_x64(True):
        combined = tasks.combine(tree)
    assert combined["kernel"].shape == (4, 6)
    flat = np.concatenate([combined["kernel"].ravel(), combined["bias"]])
    np.testing.assert_allclose(flat, tasks.combine(g), rtol=1e-9, atol=1e-12)


@each_combination
def test_gradients_of_zero_give_zero(tasks: Any) -> None:
    assert not tasks.combine(np.zeros((3, 4))).any()


@each_combination
def test_pain_15_half_precision_neither_overflows_nor_vanishes(tasks: Any) -> None:
    for scale in (1e-4, 3e4):  # their squares are beyond float16's range
        g = np.array([[1.0, 0.0], [0.5, 1.0]]) * scale
        low = tasks.combine(torch.tensor(g, dtype=torch.float16))
        assert low.dtype == torch.float16
        np.testing.assert_allclose(low.float() / scale, tasks.combine(g / scale), rtol=0.01)


@each_combination
def test_one_task_is_followed_as_it_is(tasks: Any) -> None:
    g = gradients(1)
    direction = tasks.combine(g)
    np.testing.assert_allclose(direction, g[0] * (1.5 if isinstance(tasks, CAGrad) else 1))


def test_gradients_that_count_different_tasks_are_refused() -> None:
    with pytest.raises(ShapeError, match="first axis of each array must count the tasks"):
        MGDA().combine({"a": np.ones((2, 3)), "b": np.ones((3, 3))})
    with pytest.raises(ShapeError, match=r"shape \(3,\) for 2 tasks"):
        FixedWeights(weights=np.ones(3)).combine(np.ones((2, 5)))
    with pytest.raises(ArgumentError, match=r"weights is -1.0; it must lie in \[0, inf\)"):
        FixedWeights(weights=-1.0)
    assert issubclass(find("combination", "cagrad"), Component)


@each_combination
def test_two_tasks_are_learnt(tasks: Any) -> None:
    """A line fitted to two targets, one ten times larger: both losses fall, to a common optimum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    truth = x @ np.array([1.0, -2.0])
    targets = np.stack([truth, 10 * truth])
    outputs = np.array([1.0, 10.0])  # task t predicts outputs[t] * (x @ w)

    def losses_and_gradients(w: Array) -> tuple[Array, Array]:
        score = outputs[:, None] * (x @ w)
        losses = np.array([HalfSquared()(s, y) for s, y in zip(score, targets, strict=True)])
        slopes = (score - targets) * outputs[:, None]
        return losses, slopes @ x / len(x)

    w, tasks_now = np.zeros(2), tasks
    start, _ = losses_and_gradients(w)
    for _ in range(60):
        losses, g = losses_and_gradients(w)
        if isinstance(tasks_now, GradNorm):
            tasks_now = tasks_now.update(g, losses / start)
        direction = tasks_now.combine(g)
        w = w - 0.009 * direction if not isinstance(tasks, MGDA) else w - 0.5 * direction
    losses, _ = losses_and_gradients(w)
    assert np.all(losses < 1e-2 * start)


# --- weightings -----------------------------------------------------------------------------------


def test_larger_weight_draws_towards_its_task() -> None:
    g = np.array([[1.0, 0.0], [0.0, 1.0]])
    tasks = FixedWeights(weights=np.array([1.0, 3.0]))
    assert tasks(np.array([2.0, 5.0])) == 17
    assert tasks.combine(g).tolist() == [1, 3]
    slope = jax.grad(lambda one: one(jnp.asarray([2.0, 5.0])))(tasks)
    assert slope.weights.tolist() == [2, 5]


def test_uncertainty_weighting_is_the_likelihood_with_learnt_noise() -> None:
    """Kendall et al. (2018), eq. 7: the best σ² of a Gaussian task is its mean squared error."""
    residuals = np.random.default_rng(0).normal(size=(2, 50)) * np.array([[0.5], [3.0]])
    losses = np.array([HalfSquared()(r, np.zeros(50)) for r in residuals])
    theirs = [
        optimize.minimize_scalar(
            lambda v, r=r: -np.mean(-(r**2) / (2 * v) - np.log(v) / 2), bounds=(0.01, 20)
        )
        for r in residuals
    ]
    best = np.log([found.x for found in theirs])
    np.testing.assert_allclose(best, np.log(2 * losses), atol=1e-4)
    tasks = UncertaintyWeighting(log_variance=best)
    assert tasks(losses) == pytest.approx(sum(found.fun for found in theirs))
    with jax.enable_x64(True):
        slope = jax.grad(lambda one: one(jnp.asarray(losses)))(tasks)
    np.testing.assert_allclose(slope.log_variance, 0, atol=1e-4)


def test_uncertainty_weighting_trains_by_torch() -> None:
    s = torch.zeros(2, requires_grad=True)
    losses = torch.tensor([0.5, 2.0])
    descent = torch.optim.SGD([s], lr=0.5)
    for _ in range(100):
        descent.zero_grad()
        UncertaintyWeighting(log_variance=s)(losses).backward()  # type: ignore[arg-type]
        descent.step()
    np.testing.assert_allclose(s.detach(), np.log([1.0, 4.0]), atol=1e-4)


def test_uncertainty_weighting_is_convex_in_the_log_variance() -> None:
    losses = np.array([0.3, 4.0])
    a, b = np.random.default_rng(0).normal(size=(2, 200, 2)) * 3

    def cost(s: Array) -> float:
        return float(UncertaintyWeighting(log_variance=s)(losses))

    for left, right in zip(a, b, strict=True):
        assert cost((left + right) / 2) <= (cost(left) + cost(right)) / 2 + 1e-9


def test_larger_log_variance_makes_its_task_count_less() -> None:
    quiet, loud = (UncertaintyWeighting(log_variance=np.array([0.0, s])) for s in (0.0, 2.0))
    losses, worse = np.array([1.0, 1.0]), np.array([1.0, 2.0])
    assert loud(worse) - loud(losses) < quiet(worse) - quiet(losses)


def test_gradnorm_steps_as_torch_differentiates_its_objective() -> None:
    """Chen et al. (2018), eq. 2: the L1 distance to the target norms, which are held fixed."""
    g, progress = gradients(3), np.array([0.9, 0.5, 0.2])
    w = torch.tensor([1.2, 0.7, 1.1], dtype=torch.float64, requires_grad=True)
    norms = torch.stack([torch.linalg.norm(w[t] * torch.tensor(g[t])) for t in range(3)])
    rate = torch.tensor(progress / progress.mean())
    (norms - (norms.mean() * rate**1.5).detach()).abs().sum().backward()
    expected = w.detach() - 0.01 * w.grad
    expected = 3 * expected / expected.sum()
    tasks = GradNorm(weights=w.detach().numpy(), learning_rate=0.01)
    np.testing.assert_allclose(tasks.update(g, progress).weights, expected, rtol=1e-12)
    jitted = jax.jit(lambda one, x, p: one.update(x, p))(tasks, g, progress)
    np.testing.assert_allclose(jitted.weights, expected, rtol=1e-5)


def test_gradnorm_makes_the_weighted_gradients_equally_long() -> None:
    g, tasks = gradients(3), GradNorm(alpha=0.0, learning_rate=0.001)
    for _ in range(600):
        tasks = tasks.update(g, np.ones(3))
    lengths = tasks.weights * np.linalg.norm(g, axis=1)
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=0.05)
    assert tasks.weights.sum() == pytest.approx(3)


def test_larger_alpha_pulls_harder_for_the_task_that_lags() -> None:
    g, progress = np.eye(2), np.array([0.9, 0.3])
    gentle, firm = GradNorm(alpha=0.2), GradNorm(alpha=3.0)
    for _ in range(200):
        gentle, firm = gentle.update(g, progress), firm.update(g, progress)
    assert 1 < gentle.weights[0] < firm.weights[0]


def test_larger_learning_rate_moves_the_weights_further_and_never_below_zero() -> None:
    g, progress = np.array([[3.0, 0.0], [0.0, 1.0]]), np.ones(2)
    moved = [GradNorm(learning_rate=r).update(g, progress).weights[1] for r in (0.01, 0.1, 10.0)]
    assert 1 < moved[0] < moved[1] < moved[2] < 2


# --- combinations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5])
def test_pcgrad_is_algorithm_1(count: int) -> None:
    """Yu et al. (2020), in loops on the vectors themselves, tasks in cyclic order."""
    g = gradients(count, size=4)
    freed = g.copy()
    for i in range(count):
        for j in [*range(i + 1, count), *range(i)]:
            if freed[i] @ g[j] < 0:
                freed[i] -= freed[i] @ g[j] / (g[j] @ g[j]) * g[j]
    np.testing.assert_allclose(PCGrad().combine(g), freed.sum(axis=0), atol=1e-12)


def test_pcgrad_leaves_gradients_that_agree_alone() -> None:
    g = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert PCGrad().combine(g).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("other", "share"), [([0.0, 2.0], 0.8), ([3.0, 1.0], 1.0), ([-1.0, 0.0], 0.5)]
)
def test_mgda_of_two_tasks_is_the_closed_form(other: list[float], share: float) -> None:
    """Sener and Koltun (2018), eq. 4: share of the first = clip((g2 - g1)·g2 / ‖g1 - g2‖²)."""
    g = np.array([[1.0, 0.0], other])
    gap = g[1] - g[0]
    assert np.clip(gap @ g[1] / (gap @ gap), 0, 1) == pytest.approx(share)
    np.testing.assert_allclose(
        MGDA().combine(g), share * g[0] + (1 - share) * g[1], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("count", [3, 6])
def test_mgda_is_the_shortest_mixture_and_descends_every_task(count: int) -> None:
    g = gradients(count)
    shortest = MGDA().combine(g)
    peer = best_on_simplex(lambda w: np.linalg.norm(w @ g), count)
    assert np.linalg.norm(shortest) == pytest.approx(peer, rel=1e-6)
    assert np.all(g @ shortest >= (1 - 1e-6) * shortest @ shortest)


def test_mgda_stops_where_no_task_can_gain_alone() -> None:
    assert np.abs(MGDA().combine(np.array([[1.0, 2.0], [-2.0, -4.0]]))).max() < 1e-12


@pytest.mark.parametrize("count", [2, 3, 6])
def test_cagrad_has_the_best_worst_improvement_within_its_radius(count: int) -> None:
    """Liu et al. (2021), eq. 2: max over ‖d - g₀‖ ≤ c ‖g₀‖ of min_t g_t·d, by its dual (SLSQP)."""
    g, radius = gradients(count), 0.6
    mean = g.mean(axis=0)
    reach = radius * np.linalg.norm(mean)
    dual = best_on_simplex(lambda w: w @ g @ mean + reach * np.linalg.norm(w @ g), count)
    direction = CAGrad(radius=radius).combine(g)
    assert np.linalg.norm(direction - mean) <= reach * (1 + 1e-9)
    assert (g @ direction).min() == pytest.approx(dual, rel=1e-5)
    assert (g @ direction).min() > (g @ mean).min()


def test_cagrad_stands_still_where_the_mean_gradient_is_zero() -> None:
    g = gradients(3)
    g[0] = -g[1] - g[2]
    np.testing.assert_allclose(CAGrad().combine(g), 0, atol=1e-6)


def test_larger_radius_departs_further_from_the_mean() -> None:
    g = gradients(3)
    away = [np.linalg.norm(CAGrad(radius=c).combine(g) - g.mean(axis=0)) for c in (0, 0.2, 0.8)]
    assert away[0] < 1e-14 and away[1] == pytest.approx(away[2] / 4)
