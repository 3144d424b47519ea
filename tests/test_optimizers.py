"""Update rules: trajectories against torch.optim, and numbers that may be traced."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from minimand.component import Range, catalogue
from minimand.optimizers import SGD, Adam, Optimizer

A = np.array([[3.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.1]])
START = np.array([1.0, -2.0, 3.0])


def ours(rule: Optimizer, steps: int) -> np.ndarray:
    """The trajectory on ½ θᵀ A θ, in float64."""
    with jax.enable_x64(True):
        transform = rule.transform()
        theta = jnp.asarray(START)

        def step(carry: tuple, _: None) -> tuple:
            theta, state = carry
            updates, state = transform.update(jnp.asarray(A) @ theta, state, theta)
            theta = optax.apply_updates(theta, updates)
            return (theta, state), theta

        return np.asarray(jax.lax.scan(step, (theta, transform.init(theta)), length=steps)[1])


def theirs(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer], steps: int) -> np.ndarray:
    theta = torch.tensor(START, requires_grad=True)
    rule = make([theta])
    path = []
    for _ in range(steps):
        rule.zero_grad()
        (theta @ torch.tensor(A) @ theta / 2).backward()
        rule.step()
        path.append(theta.detach().numpy().copy())
    return np.array(path)


PEERS = [
    (SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    (SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    (SGD(0.05, 0.8, True), lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True)),
    (Adam(), lambda p: torch.optim.Adam(p)),
    (Adam(0.1, 0.8, 0.95, 1e-3), lambda p: torch.optim.Adam(p, 0.1, (0.8, 0.95), 1e-3)),
]


@pytest.mark.parametrize(("rule", "peer"), PEERS, ids=lambda x: str(x)[:40])
def test_a_hundred_steps_equal_torch(rule: Optimizer, peer: Callable) -> None:
    np.testing.assert_allclose(ours(rule, 100), theirs(peer, 100), rtol=1e-10, atol=1e-13)


def test_every_rule_has_a_peer() -> None:
    assert {type(rule).__name__ for rule, _ in PEERS} == set(catalogue("optimizer"))


RULES = [made() for made in catalogue("optimizer").values()]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_search_ranges_name_fields_and_allowed_values(rule: Optimizer) -> None:
    assert "learning_rate" in rule.card.search
    for name, values in rule.card.search.items():
        assert isinstance(values, Range) and values.low < values.high
        for end in values.grid(2):
            assert getattr(type(rule)(**{name: end}), name) == end


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_learning_rates_can_be_mapped_and_scale_the_first_step(rule: Optimizer) -> None:
    def first(one: Optimizer) -> jax.Array:
        transform = one.transform()
        return transform.update(jnp.asarray(START), transform.init(jnp.asarray(START)))[0]

    rates = jnp.array([0.1, 0.2])
    many = jax.tree.map(lambda leaf: jnp.full(2, leaf), rule)
    object.__setattr__(many, "learning_rate", rates)
    small, large = jax.jit(jax.vmap(first))(many)
    np.testing.assert_allclose(2 * small, large, rtol=1e-6)
    assert np.all(np.sign(small) == -np.sign(START))


def test_momentum_goes_further_along_a_steady_gradient() -> None:
    """After many steps the speed is learning_rate / (1 - momentum), by the geometric series."""
    transform = SGD(learning_rate=0.1, momentum=0.9).transform()
    state = transform.init(jnp.zeros(1))
    for _ in range(200):
        updates, state = transform.update(jnp.ones(1), state)
    assert float(updates[0]) == pytest.approx(-1.0, rel=1e-4)
