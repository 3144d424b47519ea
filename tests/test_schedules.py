"""Schedules: values by hand, peers, and traced steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from minimand.component import catalogue
from minimand.schedules import Constant, Exponential, InverseSqrt, InverseTime, Schedule

SCHEDULES = [made() for made in catalogue("schedule").values()]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


@pytest.mark.parametrize(
    ("schedule", "step", "value"),
    [
        (Constant(), 12345, 1.0),
        (Exponential(decay_rate=0.5, decay_steps=10), 5, 2**-0.5),
        (Exponential(decay_rate=0.5, decay_steps=10), 30, 1 / 8),
        (InverseTime(decay_rate=2.0, decay_steps=10), 20, 1 / 5),
        (InverseSqrt(decay_steps=100), 300, 1 / 2),
        (InverseSqrt(decay_steps=100), 9900, 1 / 10),
    ],
    ids=str,
)
def test_values_by_hand(schedule: Schedule, step: int, value: float) -> None:
    assert schedule(step) == pytest.approx(value, rel=1e-15)


@each_schedule
def test_starts_at_one_and_never_rises(schedule: Schedule) -> None:
    values = schedule(np.arange(0.0, 5000.0, 7.0))
    assert values[0] == 1 and np.all(np.diff(values) <= 0) and values[-1] > 0


@pytest.mark.parametrize(
    ("schedule", "peer"),
    [
        (Exponential(0.9, 50.0), optax.exponential_decay(1.0, 50, 0.9)),
        (Constant(), optax.constant_schedule(1.0)),
    ],
    ids=["Exponential", "Constant"],
)
def test_same_as_optax(schedule: Schedule, peer: optax.Schedule) -> None:
    steps = [0, 1, 49, 500]
    assert [schedule(s) for s in steps] == pytest.approx([float(peer(s)) for s in steps], rel=1e-5)


@each_schedule
def test_steps_and_numbers_can_be_traced(schedule: Schedule) -> None:
    steps = jnp.arange(0, 3000, 500)
    traced = jax.jit(lambda one, t: one(t))(schedule, steps)
    np.testing.assert_allclose(traced, schedule(np.asarray(steps)), rtol=1e-5)
    many = jax.tree.map(lambda leaf: jnp.full(2, leaf), schedule)
    if schedule._dynamic:
        mapped = jax.vmap(lambda one: one(500))(many)  # a plain step, traced numbers
        np.testing.assert_allclose(mapped, schedule(500), rtol=1e-5)


def test_inverse_sqrt_decays_more_slowly_than_exponential() -> None:
    """It is ahead late in the run, and the ratio keeps growing."""
    slow, fast = InverseSqrt(decay_steps=1000), Exponential(decay_rate=0.5, decay_steps=1000)
    ratio = [slow(t) / fast(t) for t in (2_000, 5_000, 20_000)]
    assert 1 < ratio[0] < ratio[1] < ratio[2]


@pytest.mark.parametrize("made", [Exponential, InverseTime, InverseSqrt])
def test_more_decay_steps_decay_more_slowly(made: type[Schedule]) -> None:
    assert made(decay_steps=10.0)(100) < made(decay_steps=1000.0)(100)


def test_decay_rates_mean_what_they_say() -> None:
    assert Exponential(decay_rate=0.5)(1000) < Exponential(decay_rate=0.9)(1000)
    assert InverseTime(decay_rate=2.0)(1000) < InverseTime(decay_rate=0.5)(1000)
