"""Members in one program: to the bit as alone, on any number of cores, whatever the others do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from minimand.data.splits import Fold
from minimand.errors import ArgumentError, ShapeError
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import SGD, Adam
from minimand.training import Population, Recipe, Trained, members, train_members

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
FOLDS = [Fold(np.flatnonzero(np.arange(90) % 3 != k), np.arange(k, 90, 3)) for k in range(3)]
BASE = Recipe(MLP(hidden=(8,), dropout=0.2), Squared(), Adam(), batch_size=16, epochs=8, patience=8)
RECIPES = [
    replace(BASE, optimizer=Adam(learning_rate=rate), network=replace(BASE.network, dropout=drop))
    for rate, drop in [(1e-3, 0.1), (1e-2, 0.3), (3e-3, 0.5), (1e-1, 0.2), (1e-2, 0.9)]
]
SEEDS = [3, 1, 4, 1, 5]
WATCHED = [FOLDS[k % 3] for k in range(5)]


def population(recipes: list[Recipe] = RECIPES, jobs: int | None = 2) -> Population:
    count = len(recipes)
    return Population(recipes, X, Y, WATCHED[:count], SEEDS[:count], jobs=jobs)


def assert_same(one: Trained, other: Trained) -> None:
    assert one.history == other.history
    assert one.status == other.status
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_members_equal_runs_alone_to_the_bit_on_any_number_of_cores(jobs: int) -> None:
    together = train_members(RECIPES, X, Y, WATCHED, SEEDS, jobs=jobs)
    for k, fitted in enumerate(together):
        (alone,) = train_members(RECIPES[k : k + 1], X, Y, WATCHED[k : k + 1], SEEDS[k : k + 1])
        assert_same(fitted, alone)


@pytest.mark.parametrize("width", [2, 8])
def test_members_side_by_side_equal_runs_alone_but_for_rounding(width: int) -> None:
    """After 60 steps, whatever the hand is filled up with."""
    recipes = [replace(recipe, epochs=15) for recipe in RECIPES]
    together = train_members(recipes, X, Y, WATCHED, SEEDS, jobs=2, width=width)
    for k, fitted in enumerate(together):
        (alone,) = train_members(recipes[k : k + 1], X, Y, WATCHED[k : k + 1], SEEDS[k : k + 1])
        np.testing.assert_allclose(fitted.history["train"], alone.history["train"], rtol=1e-6)


@pytest.mark.parametrize("width", [1, 4])
def test_a_member_that_goes_to_nan_side_by_side_touches_no_other(width: int) -> None:
    """The same places with a healthy one in the place of the one whose learning rate is 1e6."""
    plain = replace(BASE, network=MLP(hidden=(8,)))
    first, second = (
        train_members(
            [replace(plain, optimizer=SGD(learning_rate=r)) for r in (1e-3, 1e-2, rate, 3e-2)],
            X,
            Y,
            FOLDS[:1] * 4,
            [0] * 4,
            jobs=1,
            width=width,
        )
        for rate in (1e6, 1e-3)
    )
    assert not first[2].finite and second[2].finite
    for k in (0, 1, 3):
        assert_same(first[k], second[k])


def test_as_many_run_side_by_side_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tried = members.advance, []

    def small(group: Any, *arguments: Any) -> Any:
        tried.append(len(group.seed))
        if len(group.seed) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return whole(group, *arguments)

    expected = train_members(RECIPES, X, Y, WATCHED, SEEDS, jobs=1, width=2)
    monkeypatch.setattr(members, "advance", small)
    found = train_members(RECIPES, X, Y, WATCHED, SEEDS, jobs=1, width=5)
    assert sorted({*tried}) == [2, 4, 8]
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_members_that_stopped_leave_for_powers_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of eight stop after three epochs; what is left runs on as it would alone."""
    monkeypatch.setattr(members, "COMPILING", 0.0)
    monkeypatch.setattr(members, "FEW", 1)
    whole, sizes = members.advance, []

    def seen(group: Any, *arguments: Any) -> Any:
        sizes.append(len(group.seed))
        return whole(group, *arguments)

    monkeypatch.setattr(members, "advance", seen)
    monkeypatch.setattr("minimand.training.loop.next_chunk", lambda *_: 4)
    still = Recipe(MLP(hidden=(8,)), Squared(), Adam(1e-12), batch_size=16, epochs=30, patience=2)
    recipes = [replace(still, optimizer=Adam(1e-3)), *[still] * 7]
    found = train_members(recipes, X, Y, FOLDS[:1] * 8, range(8), jobs=1, width=8)
    assert [len(one.history["train"]) for one in found] == [30] + [3] * 7
    assert list(dict.fromkeys(sizes)) == [8, 1]
    (alone,) = train_members(recipes[:1], X, Y, FOLDS[:1], [0])
    np.testing.assert_allclose(found[0].history["train"], alone.history["train"], rtol=1e-5)


@pytest.mark.parametrize(("jobs", "width"), [(2, 1), (1, 8)])
def test_a_member_that_goes_to_nan_leaves_the_others_bits_alone(jobs: int, width: int) -> None:
    """The same members with and without one whose learning rate is 1e6."""
    rates = [1e-3, 1e-2, 1e6, 3e-2, 3e-3, 1e-4]
    plain = replace(BASE, network=MLP(hidden=(8,)))
    recipes = [replace(plain, optimizer=SGD(learning_rate=rate)) for rate in rates]
    fitted = train_members(recipes, X, Y, FOLDS[:1] * 6, [0] * 6, jobs=jobs, width=width)
    broken = fitted.pop(2)
    del recipes[2]
    without = train_members(recipes, X, Y, FOLDS[:1] * 5, [0] * 5, jobs=jobs, width=width)
    assert not broken.finite
    for one, other in zip(fitted, without, strict=True):
        assert_same(one, other)


def test_a_population_stopped_between_epochs_goes_on_to_the_same_bits() -> None:
    parts = population()
    for epochs in (1, 4, 8):
        parts.advance(epochs)
        assert parts.epoch == epochs
        assert np.isfinite(parts.history[:, :epochs]).all()
        assert np.isnan(parts.history[:, epochs:]).all()
    for one, other in zip(
        parts.trained(), train_members(RECIPES, X, Y, WATCHED, SEEDS), strict=True
    ):
        assert_same(one, other)


def test_selected_members_go_on_as_they_would_have() -> None:
    """Twice the fourth and once the first, out of five."""
    chosen = population()
    chosen.advance(3)
    before = chosen.values
    chosen.select([3, 0, 3])
    np.testing.assert_array_equal(chosen.values, before[[3, 0, 3]])
    chosen.advance(8)
    whole = train_members(RECIPES, X, Y, WATCHED, SEEDS)
    for fitted, k in zip(chosen.trained(), [3, 0, 3], strict=True):
        assert_same(fitted, whole[k])


def test_replaced_numbers_hold_from_then_on() -> None:
    """A learning rate of almost 0 keeps the parameters where they are."""
    some = population(RECIPES[:2])
    some.advance(4)
    reached = [fitted.last["params"] for fitted in some.trained()]
    some.replace([replace(r, optimizer=Adam(learning_rate=1e-12)) for r in RECIPES[:2]])
    some.advance(8)
    for before, fitted in zip(reached, some.trained(), strict=True):
        assert fitted.recipe.optimizer == Adam(learning_rate=1e-12)
        for a, b in zip(
            jax.tree.leaves(before), jax.tree.leaves(fitted.last["params"]), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-9)


def test_values_are_the_last_watched_losses_and_infinite_for_the_broken() -> None:
    broken = replace(BASE, optimizer=SGD(learning_rate=1e25))
    healthy = replace(BASE, optimizer=SGD(learning_rate=1e-3))
    both = population([broken, healthy])
    both.advance(8)
    assert both.values[0] == np.inf
    assert both.values[1] == both.history[1, 7, 1]
    assert list(both.alive) == [False, True]


def test_recipes_that_do_not_fit_are_refused() -> None:
    some = population(RECIPES[:2])
    with pytest.raises(ShapeError, match="1 recipes for 2 members"):
        some.replace(RECIPES[:1])
    with pytest.raises(ArgumentError, match="differ in numbers only"):
        some.replace([RECIPES[0], replace(RECIPES[1], network=MLP(hidden=(4,)))])
