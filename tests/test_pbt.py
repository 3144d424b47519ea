"""A population copies its best members, changes their numbers, and can say where each came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sklearn import datasets

from minimand.data.splits import Fold
from minimand.errors import ArgumentError, ArgumentTypeError
from minimand.losses import CrossEntropy, Squared
from minimand.networks import MLP, Linear
from minimand.optimizers import SGD
from minimand.penalties import L2
from minimand.training import Recipe
from minimand.training.population import Population
from minimand.tuning.pbt import Evolved, exploited, population_based_training
from minimand.tuning.space import Choice, Float

A, B = "optimizer.learning_rate", "penalty.strength"
SPACE = {A: Float(1e-3, 1.0), B: Float(1e-3, 1.0)}


def recipe(a: float, b: float, epochs: int = 200) -> Recipe:
    return Recipe(Linear(), Squared(), SGD(learning_rate=a), L2(strength=b), epochs=epochs)


class Toy:
    """The toy of Jaderberg et al. (2017), section 4.1, with one step an epoch.

    A member climbs 1.2 - h₀ θ₀² - h₁ θ₁² from (0.9, 0.9) and is worth 1.2 - θ₀² - θ₁², here with
    the opposite sign; h is its learning rate and its penalty's strength.
    """

    def __init__(self, recipes: Sequence[Recipe], broken: Sequence[int] = ()) -> None:
        self.recipes = list(recipes)
        self.theta = np.full((len(recipes), 2), 0.9)
        self.theta[list(broken)] = np.nan
        self.epoch = 0
        self.copied: list[list[int]] = []

    def advance(self, epochs: int) -> None:
        h = np.array([[r.optimizer.learning_rate, r.penalty.strength] for r in self.recipes])
        self.theta *= (1 - 0.02 * h) ** (epochs - self.epoch)
        self.epoch = epochs

    @property
    def values(self) -> np.ndarray:
        values = np.sum(self.theta**2, axis=1) - 1.2
        return np.where(np.isnan(values), math.inf, values)

    def select(self, index: Sequence[int]) -> None:
        self.theta = self.theta[list(index)]
        self.recipes = [self.recipes[k] for k in index]
        self.copied.append(list(index))

    def replace(self, recipes: Sequence[Recipe]) -> None:
        self.recipes = list(recipes)


def evolved(seed: int = 0, members: int = 8, **options: float) -> tuple[Toy, Evolved]:
    toy = Toy([recipe(1.0, 1e-3), recipe(1e-3, 1.0)] * (members // 2))
    return toy, population_based_training(toy, SPACE, every=10, seed=seed, **options)


def test_it_finds_what_no_fixed_setting_of_the_toy_can() -> None:
    fixed = Toy([recipe(1.0, 1e-3), recipe(1e-3, 1.0)])
    fixed.advance(200)
    assert fixed.values.min() > -0.45
    toy, _ = evolved()
    assert toy.values.min() < -1.15


def test_the_schedule_explains_the_weights() -> None:
    toy, result = evolved()
    best = result.best
    assert best == np.argmin(toy.values)
    theta, before = np.array([0.9, 0.9]), 0
    for epoch, setting in result.schedule(best):
        theta *= (1 - 0.02 * np.array([setting[A], setting[B]])) ** (epoch - before)
        before = epoch
    assert before == 200
    np.testing.assert_allclose(theta, toy.theta[best], rtol=1e-12)


def test_members_that_were_not_copied_keep_their_setting() -> None:
    toy, result = evolved()
    for before, after, copied in zip(
        result.generations, result.generations[1:], toy.copied, strict=False
    ):
        assert after.parents.tolist() == copied
        for k, parent in enumerate(after.parents):
            if parent == k:
                assert after.settings[k] == before.settings[k]


def test_a_quarter_is_replaced_by_the_best_quarter() -> None:
    values = np.array([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0])
    assert exploited(values).tolist() == [3, 1, 1, 3, 4, 5, 6, 7]


def test_numbers_move_by_a_fifth_within_the_space() -> None:
    _, result = evolved(resample=0.0)
    moved = 0
    for before, after in zip(result.generations, result.generations[1:], strict=False):
        for k, parent in enumerate(after.parents):
            for path in SPACE if parent != k else ():
                old, new = before.settings[parent][path], after.settings[k][path]
                assert any(
                    new == pytest.approx(np.clip(old * factor, 1e-3, 1.0)) for factor in (0.8, 1.2)
                )
                moved += new != old
    assert moved


def test_broken_members_are_all_replaced() -> None:
    toy = Toy([recipe(0.5, 0.5)] * 8, broken=[0, 1, 2, 3, 4])
    population_based_training(toy, SPACE, every=100)
    assert toy.copied == [[5, 6, 5, 6, 5, 5, 6, 7]]
    assert np.isfinite(toy.values).all()


def test_it_ends_when_all_have_broken() -> None:
    toy = Toy([recipe(0.5, 0.5)] * 4, broken=range(4))
    result = population_based_training(toy, SPACE, every=10)
    assert [generation.epoch for generation in result.generations] == [10]


def test_the_same_seed_gives_the_same_run() -> None:
    one, other, third = (evolved(seed)[1] for seed in (3, 3, 4))
    assert one.schedule(one.best) == other.schedule(other.best)
    assert one.generations[-1].settings != third.generations[-1].settings


@pytest.mark.parametrize("every", [0, 200])
def test_exchanges_must_fit_into_the_epochs(every: int) -> None:
    with pytest.raises(ArgumentError, match=f"every is {every}"):
        population_based_training(Toy([recipe(1.0, 1.0)] * 2), SPACE, every=every)


def test_a_share_above_a_half_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"share is 0\.6"):
        population_based_training(Toy([recipe(1.0, 1.0)] * 2), SPACE, every=10, share=0.6)


def test_structure_cannot_change_on_the_way() -> None:
    space = SPACE | {"batch_size": Choice(16, 32)}
    with pytest.raises(ArgumentTypeError, match=r"batch_size is .*give a Float"):
        population_based_training(Toy([recipe(1.0, 1.0)] * 2), space, every=10)


def test_networks_learn_by_it() -> None:
    """Rates far too small for digits grow, and the weights of the best go on."""
    X, y = datasets.load_digits(return_X_y=True)
    fold = Fold(np.arange(400), np.arange(400, 600))
    start = Recipe(MLP(hidden=(16,), outputs=10), CrossEntropy(), epochs=8, patience=8)
    recipes = [replace(start, optimizer=SGD(learning_rate=0.003 * (k + 1))) for k in range(4)]
    population, plain = (Population(recipes, X / 16, y, [fold] * 4, range(4)) for _ in range(2))
    plain.advance(8)
    space = {A: Float(1e-3, 0.5, log=True)}
    result = population_based_training(population, space, every=1, seed=0)
    assert population.recipes[result.best].optimizer.learning_rate > 0.012
    last = result.generations[-1].values
    assert last.min() < plain.values.min()
    assert population.trained()[result.best].history["validation"][-1] == pytest.approx(last.min())
