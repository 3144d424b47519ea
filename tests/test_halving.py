"""Who goes on at each rung is what the papers say, and the networks are those of a run alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
import pytest

from minimand.data.splits import Fold
from minimand.errors import ArgumentError
from minimand.losses import Squared
from minimand.networks import Linear
from minimand.optimizers import SGD
from minimand.training import Recipe, train_members
from minimand.training.population import Population
from minimand.tuning.halving import (
    Bracket,
    ByEpochs,
    ByRows,
    Curve,
    brackets,
    hyperband,
    promotable,
    reached,
    successive_halving,
)


class Known:
    """A population whose member k is worth `value(k, epoch)`, and counts the epochs it ran."""

    def __init__(self, table: np.ndarray) -> None:
        self.table, self.epoch, self.spent = table, 0, 0
        self.sizes = [len(table)]

    def advance(self, epochs: int) -> None:
        self.spent += int(np.sum(~np.isnan(self.table[:, self.epoch : epochs])))
        self.epoch = epochs

    @property
    def history(self) -> np.ndarray:
        seen = np.arange(self.table.shape[1]) < self.epoch
        lines = np.where(seen & np.isfinite(self.table), self.table, np.nan)
        return np.stack([lines, lines], axis=2)

    @property
    def values(self) -> np.ndarray:
        """Infinite for one that broke, which the table writes as ∞; NaN is an early end."""
        part = self.table[:, : max(self.epoch, 1)]
        last = np.array([line[~np.isnan(line)][-1] for line in part])
        return np.where(np.isinf(part).any(axis=1), math.inf, last)

    def select(self, index: Sequence[int]) -> None:
        self.table = self.table[list(index)]
        self.sizes.append(len(index))


def falling(floors: Sequence[float], epochs: int = 9) -> np.ndarray:
    return np.array(floors)[:, None] + 1 / np.arange(1, epochs + 1)


def curves(**values: Sequence[float]) -> dict[int, Curve]:
    return {int(k[1:]): tuple(zip((1, 3, 9), v, strict=False)) for k, v in values.items()}


def test_half_go_on_at_every_rung_and_the_best_wins() -> None:
    floors = np.random.default_rng(0).permutation(16).astype(float)
    known = Known(falling(floors))
    halved = successive_halving(ByEpochs(known), [1, 2, 4, 8], eta=2)
    assert known.sizes == [16, 8, 4, 2]
    assert known.spent == 16 * 1 + 8 * 1 + 4 * 2 + 2 * 4
    assert halved.finishers == tuple(np.argsort(floors)[:2])
    assert halved.best == np.argmin(floors)


def test_those_that_leave_keep_their_curve() -> None:
    known = Known(falling(range(8)))
    halved = successive_halving(ByEpochs(known), [2, 4], eta=4)
    assert [len(curve) for curve in halved.curves] == [4, 4, 2, 2, 2, 2, 2, 2]
    assert halved.curves[7] == ((1, 8.0), (2, 7.5))


def test_sizes_are_powers_of_two_filled_with_the_next_best() -> None:
    known = Known(falling([8, 7, 6, 5, 4, 3, 2, 1, 0]))
    successive_halving(ByEpochs(known), [1, 3, 9], eta=3)
    assert known.sizes == [9, 4, 2]
    np.testing.assert_array_equal(known.table[:, 0], falling([1, 0])[:, 0])


def test_a_broken_member_never_wins_and_its_curve_says_so() -> None:
    table = falling([0, 1, 2, 3])
    table[0, 1:] = math.inf
    halved = successive_halving(ByEpochs(Known(table)), [1, 2, 4], eta=2)
    assert halved.best == 1
    assert halved.curves[0][0] == (1, 1.0)
    assert math.isnan(halved.curves[0][1][1])


def test_nobody_wins_if_all_break() -> None:
    halved = successive_halving(ByEpochs(Known(np.full((4, 9), math.inf))), [1, 9])
    assert halved.best is None


def test_a_member_that_stopped_early_keeps_its_value() -> None:
    table = falling([0.0, 0.5, 0.9, 2.0])
    table[0, 1:] = np.nan  # it ended at 1.0 after one epoch
    table[0, 0] = 0.1
    halved = successive_halving(ByEpochs(Known(table)), [1, 3, 9], eta=2)
    assert halved.finishers[0] == 0
    assert halved.curves[0] == ((1, 0.1),)


def test_everybody_who_leaves_is_heard_of_at_once() -> None:
    heard: list[tuple[int, int, bool]] = []
    successive_halving(
        ByEpochs(Known(falling(range(4)))),
        [1, 2],
        eta=2,
        heard=lambda member, curve, goes_on: heard.append((member, len(curve), goes_on)),
    )
    first, last = heard[:4], heard[4:]
    assert first == [(0, 1, True), (1, 1, True), (2, 1, False), (3, 1, False)]
    assert last == [(0, 2, False), (1, 2, False)]


def test_a_worker_does_not_wait_and_counts_what_others_have_seen() -> None:
    """ASHA: 4 own and 8 better ones of others make the best half the others' alone, but for two."""
    everyone = [((1, value),) for value in (1.2, 1.4, 1.6, 1.8, 5.5, 5.6, 5.7, 5.8)]
    known = Known(falling([0.0, 0.9, 3.0, 4.0]))  # at epoch 1: 1.0, 1.9, 4.0, 5.0
    halved = successive_halving(
        ByEpochs(known), [1, 9], eta=2, others=lambda rung: reached(everyone, rung)
    )
    assert halved.finishers == (0, 1)
    beaten = [((1, value),) for value in np.linspace(0, 0.5, 40)]
    halved = successive_halving(
        ByEpochs(Known(falling([0.0, 1.0]))), [1, 9], others=lambda rung: reached(beaten, rung)
    )
    assert halved.best is None


def test_promotion_takes_the_highest_rung_first() -> None:
    """Li et al. (2020), algorithm 2 with η = 3."""
    below = curves(t0=[0.6], t1=[0.2], t2=[0.9])
    assert promotable(below, [1, 3, 9]) == (1, 3)
    assert promotable(below, [1, 3, 9], busy=[1]) is None
    assert promotable(curves(t0=[0.6], t1=[0.2, 0.1], t2=[0.9]), [1, 3, 9]) is None
    top = curves(t0=[0.6, 0.5], t1=[0.5, 0.3], t2=[0.4, 0.4], t3=[0.1], t4=[0.9], t5=[0.8])
    assert promotable(top, [1, 3, 9]) == (1, 9)


def test_promotion_passes_over_failures() -> None:
    failed = curves(t0=[math.nan], t1=[0.4], t2=[math.nan])
    assert promotable(failed, [1, 3]) == (1, 3)
    assert promotable(curves(t0=[math.nan], t1=[math.nan], t2=[math.nan]), [1, 3]) is None


def test_brackets_are_those_of_the_paper() -> None:
    """R = 81, η = 3: n = ⌈5 · 3^s / (s + 1)⌉ members start with 81 / 3^s epochs."""
    assert [(b.members, b.rungs[0]) for b in brackets(81)] == [
        (81, 1), (34, 3), (15, 9), (8, 27), (5, 81),
    ]  # fmt: skip
    assert brackets(81)[0].rungs == (1, 3, 9, 27, 81)
    assert brackets(100, least=30, eta=3) == (Bracket(3, (33, 100)), Bracket(2, (100,)))


def test_hyperband_runs_every_bracket() -> None:
    random = np.random.default_rng(0)
    made: list[Known] = []

    def start(members: int) -> ByEpochs:
        made.append(Known(falling(random.random(members))))
        return ByEpochs(made[-1])

    found = hyperband(start, most=9)
    assert [len(halved.curves) for halved in found] == [9, 5, 3]
    assert all(halved.curves[halved.best or 0][-1][0] == 9 for halved in found)


@pytest.mark.parametrize(
    ("rungs", "eta", "said"),
    [
        ([], 3, "must rise from 1"),
        ([3, 3], 3, "must rise from 1"),
        ([0, 3], 3, "must rise from 1"),
        ([1, 3], 1.5, "eta is 1.5"),
        ([1, 3], math.nan, "eta is nan"),
    ],
)
def test_bad_rungs_are_refused(rungs: list[int], eta: float, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        successive_halving(ByEpochs(Known(falling([1.0]))), rungs, eta)


def test_bad_resources_are_refused() -> None:
    with pytest.raises(ArgumentError, match="least is 9 and most is 3"):
        brackets(3, least=9)


# --- Real networks ---

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RANDOM.normal(size=60)
FOLD = Fold(np.arange(40), np.arange(40, 60))
RECIPES = [
    Recipe(Linear(), Squared(), SGD(learning_rate=rate), batch_size=8, epochs=8, patience=8)
    for rate in (1e-4, 1e-3, 0.01, 0.05, 0.1, 1e6)
]


def test_the_winner_is_the_network_of_a_run_alone() -> None:
    runs = ByEpochs(Population(RECIPES, X, Y, [FOLD] * 6, [0] * 6))
    halved = successive_halving(runs, [2, 4, 8], eta=2)
    assert halved.best in (3, 4)
    (alone,) = train_members([RECIPES[halved.best]], X, Y, [FOLD], [0])
    kept = runs.trained()[halved.best]
    for one, other in zip(*map(jax.tree.leaves, (kept.params, alone.params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    seen = [value for _, value in halved.curves[halved.best]]
    np.testing.assert_allclose(seen, alone.history["validation"], rtol=1e-6)
    assert math.isnan(halved.curves[5][-1][1])


def test_rows_are_a_resource_too() -> None:
    recipes = [replace(recipe, epochs=20) for recipe in RECIPES[1:]]
    runs = ByRows(recipes, X, Y, [FOLD] * 5, [0] * 5)
    halved = successive_halving(runs, [10, 40], eta=2)
    assert [[rows for rows, _ in curve] for curve in halved.curves].count([10, 40]) == 4
    assert halved.best in (2, 3)
    assert np.isnan(halved.curves[4][0][1])
    (alone,) = train_members([recipes[halved.best]], X, Y, [FOLD], [0])
    assert halved.curves[halved.best][-1][1] == pytest.approx(min(alone.history["validation"]))
