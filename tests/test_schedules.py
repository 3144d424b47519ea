"""Schedules: values by hand, peers over 200 steps, traced steps, and schedules with a memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from minimand.component import Range, catalogue
from minimand.errors import ArgumentError
from minimand.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Joined,
    Linear,
    OneCycle,
    Piecewise,
    Polynomial,
    ReduceOnPlateau,
    Restarts,
    Schedule,
    Step,
    Warmup,
    WarmupStableDecay,
)

SCHEDULES = [made() for made in catalogue("schedule").values()]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
RISING = (Warmup, OneCycle, WarmupStableDecay, Restarts)
STEPS = 200


def short(value: object) -> str:
    """The id of a test."""
    return getattr(value, "__name__", str(value))[:40]


@pytest.mark.parametrize(
    ("schedule", "step", "value"),
    [
        (Constant(), 12345, 1.0),
        (Step(decay_rate=0.5, decay_steps=10), 29, 1 / 4),
        (Piecewise(boundaries=(5, 9), multipliers=(1.0, 0.3, 0.7)), 9, 0.7),
        (Exponential(decay_rate=0.5, decay_steps=10), 5, 2**-0.5),
        (Exponential(decay_rate=0.5, decay_steps=10), 30, 1 / 8),
        (InverseTime(decay_rate=2.0, decay_steps=10), 20, 1 / 5),
        (InverseSqrt(decay_steps=100), 300, 1 / 2),
        (InverseSqrt(decay_steps=100), 9900, 1 / 10),
        (Polynomial(decay_steps=10, power=3, end=0.5), 5, 0.5 + 0.5 / 8),
        (Linear(decay_steps=10, end=0.2), 5, 0.6),
        (Cosine(decay_steps=12), 4, 0.75),
        (OneCycle(steps=100, rise=0.5, start=0.2), 25, 0.6),
        (WarmupStableDecay(10, 30, 20, start=0.5, end=0.25), 5, 0.75),
        (WarmupStableDecay(10, 30, 20, start=0.5, end=0.25), 25, 1.0),
        (WarmupStableDecay(10, 30, 20, start=0.5, end=0.25), 50, 0.625),
        (Warmup(Linear(decay_steps=20), steps=10, start=0.5), 5, 0.75),
        (Warmup(Linear(decay_steps=20), steps=10, start=0.5), 20, 0.5),
        (Joined(Step(decay_steps=10), Linear(decay_steps=10), boundary=20), 19, 0.1),
        (Joined(Step(decay_steps=10), Linear(decay_steps=10), boundary=20), 25, 0.5),
        (Restarts(Linear(decay_steps=10), steps=10, decay_rate=0.5), 25, 0.125),
        (Restarts(Linear(decay_steps=10), steps=10, growth=3), 25, 0.5),
        (ReduceOnPlateau(), 12345, 1.0),
    ],
    ids=str,
)
def test_values_by_hand(schedule: Schedule, step: int, value: float) -> None:
    assert schedule(step) == pytest.approx(value, rel=1e-14)


def torch_steps(make: Callable) -> list[float]:
    rule = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = make(rule)
    found = []
    for _ in range(STEPS):
        found.append(rule.param_groups[0]["lr"])
        rule.step()
        peer.step()
    return found


torches = torch.optim.lr_scheduler
OPTAX = [
    (Constant(), optax.constant_schedule(1.0)),
    (Step(0.9, 30), optax.exponential_decay(1.0, 30, 0.9, staircase=True)),
    (
        Piecewise((50, 120), (1.0, 0.5, 0.05)),
        optax.piecewise_constant_schedule(1.0, {50: 0.5, 120: 0.1}),
    ),
    (Exponential(0.9, 50), optax.exponential_decay(1.0, 50, 0.9)),
    (Polynomial(150, 2.0, 0.1), optax.polynomial_schedule(1.0, 0.1, 2.0, 150)),
    (Linear(150, 0.1), optax.linear_schedule(1.0, 0.1, 150)),
    (Cosine(150, 0.1), optax.cosine_decay_schedule(1.0, 150, 0.1)),
    (OneCycle(180), optax.cosine_onecycle_schedule(180, 1.0)),
    (
        Warmup(Cosine(150, 0.1), 40, 0.2),
        optax.warmup_cosine_decay_schedule(0.2, 1.0, 40, 190, 0.1),
    ),
    (
        Warmup(Exponential(0.9, 50), 40),
        optax.warmup_exponential_decay_schedule(0.0, 1.0, 40, 50, 0.9),
    ),
    (
        WarmupStableDecay(20, 100, 60, end=0.1),
        optax.join_schedules(
            [
                optax.linear_schedule(0.0, 1.0, 20),
                optax.constant_schedule(1.0),
                optax.linear_schedule(1.0, 0.1, 60),
            ],
            [20, 120],
        ),
    ),
    (
        Joined(Joined(Linear(30), Cosine(40), 60), Exponential(0.9, 7), 130),
        optax.join_schedules(
            [
                optax.linear_schedule(1.0, 0.0, 30),
                optax.cosine_decay_schedule(1.0, 40),
                optax.exponential_decay(1.0, 7, 0.9),
            ],
            [60, 130],
        ),
    ),
    (
        Restarts(Warmup(Cosine(40), 20), 60),
        optax.sgdr_schedule(
            [
                {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 20, "decay_steps": 60}
                for _ in range(4)
            ]
        ),
    ),
]
TORCH = [
    (Constant(), lambda o: torches.ConstantLR(o, factor=1.0)),
    (Step(0.7, 30), lambda o: torches.StepLR(o, 30, 0.7)),
    (Piecewise((50, 120), (1.0, 0.5, 0.25)), lambda o: torches.MultiStepLR(o, [50, 120], 0.5)),
    (Exponential(0.99, 1), lambda o: torches.ExponentialLR(o, 0.99)),
    (
        InverseSqrt(10),
        lambda o: torches.LambdaLR(o, lambda t: 1 / math.sqrt((t + 10) / 10)),
    ),
    (Polynomial(150, 3.0), lambda o: torches.PolynomialLR(o, 150, 3.0)),
    (Linear(150, 0.1), lambda o: torches.LinearLR(o, 1.0, 0.1, 150)),
    (Warmup(Constant(), 150, 0.1), lambda o: torches.LinearLR(o, 0.1, 1.0, 150)),
    (
        Restarts(Cosine(20, 0.1), 20, growth=2),
        lambda o: torches.CosineAnnealingWarmRestarts(o, 20, 2, 0.1),
    ),
    (Restarts(Cosine(30), 30), lambda o: torches.CosineAnnealingWarmRestarts(o, 30)),
    # PyTorch counts the first and the last step of each part.
    (
        OneCycle(199, rise=(0.3 * 200 - 1) / 199),
        lambda o: torches.OneCycleLR(o, 1.0, 200, cycle_momentum=False),
    ),
]
# Keras' boundary is the last step of its piece, ours the first of the next.
KERAS = [
    (Step(0.9, 30), ("ExponentialDecay", 1.0, 30, 0.9, True)),
    (
        Piecewise((50, 120), (1.0, 0.5, 0.05)),
        ("PiecewiseConstantDecay", [49, 119], [1.0, 0.5, 0.05]),
    ),
    (Exponential(0.9, 50), ("ExponentialDecay", 1.0, 50, 0.9)),
    (InverseTime(2.0, 50), ("InverseTimeDecay", 1.0, 50, 2.0)),
    (Polynomial(150, 2.0, 0.1), ("PolynomialDecay", 1.0, 150, 0.1, 2.0)),
    (Linear(150, 0.1), ("PolynomialDecay", 1.0, 150, 0.1)),
    (Cosine(150, 0.1), ("CosineDecay", 1.0, 150, 0.1)),
    (Warmup(Cosine(150, 0.1), 40, 0.2), ("CosineDecay", 0.2, 150, 0.1, "", 1.0, 40)),
    (
        Restarts(Cosine(20), 20, growth=2, decay_rate=0.8),
        ("CosineDecayRestarts", 1.0, 20, 2.0, 0.8),
    ),
]


@pytest.mark.parametrize(("schedule", "peer"), OPTAX, ids=short)
def test_same_as_optax(schedule: Schedule, peer: optax.Schedule) -> None:
    with jax.enable_x64(True):
        steps = jnp.arange(STEPS)
        theirs = [float(peer(t)) for t in steps[::3]]
        np.testing.assert_allclose(schedule(steps)[::3], theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("schedule", "peer"), TORCH, ids=short)
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_same_as_torch(schedule: Schedule, peer: Callable) -> None:
    np.testing.assert_allclose(
        schedule(np.arange(STEPS)), torch_steps(peer), rtol=1e-12, atol=1e-14
    )


@pytest.fixture(scope="module")
def keras_schedules() -> Any:
    os.environ["KERAS_BACKEND"] = "jax"
    return pytest.importorskip("keras").optimizers.schedules


@pytest.mark.parametrize(("schedule", "peer"), KERAS, ids=short)
def test_same_as_keras(schedule: Schedule, peer: tuple, keras_schedules: Any) -> None:
    """Keras computes in float32."""
    name, *arguments = peer
    steps = jnp.arange(STEPS)
    theirs = jax.jit(jax.vmap(getattr(keras_schedules, name)(*arguments)))(steps)
    np.testing.assert_allclose(schedule(np.arange(STEPS)), theirs, rtol=2e-6, atol=2e-7)


def test_every_schedule_has_a_peer() -> None:
    compared = {type(schedule).__name__ for schedule, _ in OPTAX + TORCH + KERAS}
    assert compared | {"ReduceOnPlateau"} == set(catalogue("schedule"))


@each_schedule
def test_is_one_at_its_peak_and_falls_unless_it_says_otherwise(schedule: Schedule) -> None:
    values = schedule(np.arange(0.0, 5000.0, 4.0))
    assert values.max() == 1 and values.min() >= 0
    if isinstance(schedule, Joined):
        schedule = schedule.then
    if not isinstance(schedule, RISING):
        assert values[0] == 1 and np.all(np.diff(values) <= 0)


@each_schedule
def test_steps_and_numbers_can_be_traced(schedule: Schedule) -> None:
    steps = jnp.arange(0, 3000, 500)
    traced = jax.jit(lambda one, t: one(t))(schedule, steps)
    np.testing.assert_allclose(traced, schedule(np.asarray(steps)), rtol=1e-5, atol=1e-6)
    many = jax.tree.map(lambda leaf: jnp.full(2, leaf), schedule)
    if jax.tree.leaves(schedule):
        mapped = jax.vmap(lambda one: one(500))(many)  # a plain step, traced numbers
        np.testing.assert_allclose(mapped, schedule(500), rtol=1e-5, atol=1e-6)


@each_schedule
def test_a_schedule_survives_json_and_text(schedule: Schedule) -> None:
    assert Schedule.from_json(schedule.to_json()) == schedule
    assert Schedule.parse(str(schedule)) == schedule


@each_schedule
def test_search_ranges_name_fields_and_allowed_values(schedule: Schedule) -> None:
    for name, values in schedule.card.search.items():
        assert isinstance(values, Range) and values.low < values.high
        for end in values.grid(2):
            assert getattr(type(schedule)(**{name: end}), name) == end


def test_bad_pieces_are_refused() -> None:
    with pytest.raises(ArgumentError, match="they must rise"):
        Piecewise(boundaries=(5, 5), multipliers=(1.0, 0.5, 0.1))
    with pytest.raises(ArgumentError, match="need one multiplier more"):
        Piecewise(boundaries=(5,), multipliers=(1.0,))


# --- what the arguments do ------------------------------------------------------------------------


def test_inverse_sqrt_decays_more_slowly_than_exponential() -> None:
    """It is ahead late in the run, and the ratio keeps growing."""
    slow, fast = InverseSqrt(decay_steps=1000), Exponential(decay_rate=0.5, decay_steps=1000)
    ratio = [slow(t) / fast(t) for t in (2_000, 5_000, 20_000)]
    assert 1 < ratio[0] < ratio[1] < ratio[2]


@pytest.mark.parametrize(
    "made", [Step, Exponential, InverseTime, InverseSqrt, Polynomial, Linear, Cosine]
)
def test_more_decay_steps_decay_more_slowly(made: type[Schedule]) -> None:
    assert made(decay_steps=10.0)(100) < made(decay_steps=1000.0)(100)


def test_decay_rates_mean_what_they_say() -> None:
    assert Exponential(decay_rate=0.5)(1000) < Exponential(decay_rate=0.9)(1000)
    assert InverseTime(decay_rate=2.0)(1000) < InverseTime(decay_rate=0.5)(1000)


def test_a_larger_power_falls_sooner() -> None:
    assert Polynomial(power=3)(100) < Polynomial(power=1.5)(100)


def test_a_larger_rise_comes_to_its_peak_later() -> None:
    peaks = [np.argmax(OneCycle(steps=100, rise=r)(np.arange(100))) for r in (0.2, 0.7)]
    assert peaks == [20, 70]


def test_cycles_begin_exactly_where_they_should_however_many_there_are() -> None:
    """The starts of cycles of 7, 7 · 3, 7 · 9 ... steps, in float32."""
    for growth, starts in ((1, 7 * np.arange(50)), (3, 7 * (3 ** np.arange(12) - 1) // 2)):
        schedule = Restarts(Linear(decay_steps=7), steps=7, growth=growth)
        values = jax.jit(schedule)(jnp.asarray(starts))
        np.testing.assert_array_equal(values, 1.0)
        before = jax.jit(schedule)(jnp.asarray(starts[1:] - 1))
        assert np.all(before <= 1 / 7 + 1e-6)


# --- schedules with a memory ----------------------------------------------------------------------

rng = np.random.default_rng(0)
WATCHED = [float(v) for v in np.float32(2 ** -np.arange(60 / 4).repeat(4) + rng.normal(0, 0.1, 60))]


def factors(schedule: Schedule, values: list[float]) -> list[float]:
    """The factor after each epoch."""
    memory, found = schedule.memory(), []
    for value in values:
        memory = schedule.watched(memory, value)
        found.append(float(schedule.factor(memory)))
    return found


@pytest.mark.parametrize("cooldown", [0, 3])
@pytest.mark.parametrize("patience", [1, 4])
def test_plateaus_are_those_of_torch(patience: int, cooldown: int) -> None:
    """PyTorch's patience is the last epoch that it bears, ours the first that it does not."""
    rule = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = torches.ReduceLROnPlateau(
        rule,
        factor=0.5,
        patience=patience - 1,
        threshold=0.01,
        threshold_mode="abs",
        cooldown=cooldown,
        min_lr=0.05,
        eps=0,
    )
    theirs = []
    for value in WATCHED:
        peer.step(value)
        theirs.append(rule.param_groups[0]["lr"])
    ours = factors(ReduceOnPlateau(0.5, patience, 0.01, cooldown, 0.05), WATCHED)
    assert 0.05 in theirs and len(set(theirs)) > 4
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_plateaus_are_those_of_optax() -> None:
    peer = optax.contrib.reduce_on_plateau(factor=0.5, patience=3, rtol=0.0, atol=0.01)
    params = jnp.zeros(1)
    state, theirs = peer.init(params), []
    update = jax.jit(peer.update)
    for value in WATCHED:
        _, state = update(params, state, value=value)
        theirs.append(float(state.scale))
    assert factors(ReduceOnPlateau(0.5, 3, 0.01), WATCHED) == theirs


def test_a_plateau_can_be_traced_mapped_and_wrapped() -> None:
    """In a compiled loop, over members with rates of their own, and inside other schedules."""
    values = jnp.asarray(WATCHED)
    plain = ReduceOnPlateau(patience=2)
    mapped = jax.tree.map(lambda leaf: jnp.full(2, leaf), plain)
    object.__setattr__(mapped, "decay_rate", jnp.array([0.5, 0.25]))

    def last(schedule: Schedule) -> jax.Array:
        epoch = lambda memory, value: (schedule.watched(memory, value), None)  # noqa: E731
        return schedule.factor(jax.lax.scan(epoch, schedule.memory(), values)[0])

    ours = jax.jit(jax.vmap(last))(mapped)
    found = [factors(ReduceOnPlateau(rate, patience=2), WATCHED)[-1] for rate in (0.5, 0.25)]
    np.testing.assert_allclose(ours, found, rtol=1e-6)
    for wrapper in (Warmup(plain), Restarts(plain), Joined(plain, Constant()), Joined(then=plain)):
        assert jax.jit(last)(wrapper) == found[0]


@each_schedule
def test_without_a_memory_nothing_is_multiplied(schedule: Schedule) -> None:
    if not jax.tree.leaves(schedule.memory()):
        assert schedule.factor(schedule.watched(schedule.memory(), 1.0)) == 1


def test_a_value_that_is_not_finite_is_no_progress() -> None:
    assert factors(ReduceOnPlateau(0.5, patience=2), [1.0, math.nan, math.inf])[-1] == 0.5
