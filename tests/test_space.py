"""Spaces: what can be sampled, when it exists, and what it does to a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from minimand.data import Fold
from minimand.data.augmentation import Chain, Flip, GaussianNoise, Rotation
from minimand.errors import MinimandError
from minimand.losses import CrossEntropy, Huber
from minimand.networks import MLP
from minimand.optimizers import Adam, ClipByNorm, Momentum
from minimand.penalties import L2
from minimand.training import Recipe, train_members
from minimand.tuning.space import (
    Choice,
    Float,
    Int,
    Space,
    applied,
    default_space,
    grid,
    groups,
    label,
    ordered,
    suggested,
    value_at,
)
from minimand.tuning.study import Study

RECIPE = Recipe(
    MLP(hidden=(8,), outputs=3, dropout=0.6),
    CrossEntropy(),
    optimizer=ClipByNorm(Adam(learning_rate=0.5)),
    penalty=L2(strength=0.0),
)
NESTED: Space = {
    "steps": Int(1, 2).when("kind", "b"),
    "rate": Float(0.0, 1.0).when("steps", 2),
    "kind": Choice("a", "b"),
}


def settings_of(space: Space, sampler: str, trials: int) -> list[dict[str, Any]]:
    study = Study(space, sampler=sampler)
    study.run(lambda settings: [0.0] * len(settings), trials)
    return [dict(trial.setting) for trial in study.trials]


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_logarithmic_range_is_uniform_in_the_logarithm(sampler: str) -> None:
    space = {"rate": Float(1e-5, 1e-1, log=True), "width": Int(1, 4), "kind": Choice(*"abcde")}
    drawn = settings_of(space, sampler, 200)
    logs = np.log10([setting["rate"] for setting in drawn])
    assert stats.kstest(logs, stats.uniform(-5, 4).cdf).pvalue > 0.05
    for name, options in (("width", 4), ("kind", 5)):
        counts = np.unique([setting[name] for setting in drawn], return_counts=True)[1]
        assert len(counts) == options
        assert stats.chisquare(counts).pvalue > 0.05


def test_sobol_points_are_those_of_scipy() -> None:
    drawn = settings_of({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}, "sobol", 8)
    points = stats.qmc.Sobol(2, rng=np.random.default_rng(0)).random(8)
    np.testing.assert_allclose([[s["x"], s["y"]] for s in drawn], points)


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe", "grid"])
def test_what_a_condition_rules_out_is_absent(sampler: str) -> None:
    seen = {tuple(sorted(setting)): setting for setting in settings_of(NESTED, sampler, 40)}
    assert set(seen) == {("kind",), ("kind", "steps"), ("kind", "rate", "steps")}
    assert seen["kind",] == {"kind": "a"}
    assert seen["kind", "steps"] == {"kind": "b", "steps": 1}


def test_optuna_suggests_the_same_space() -> None:
    trial = optuna.trial.FixedTrial({"kind": "b", "steps": 2, "rate": 0.25})
    assert suggested(trial, NESTED) == {"kind": "b", "steps": 2, "rate": 0.25}
    assert suggested(optuna.trial.FixedTrial({"kind": "a"}), NESTED) == {"kind": "a"}


def test_a_class_in_a_condition_stands_for_its_instances() -> None:
    momentum = Float(0.0, 0.99).when("optimizer", Momentum)
    assert momentum.exists({"optimizer": Momentum(learning_rate=0.3)})
    assert not momentum.exists({"optimizer": Adam()})
    assert not momentum.exists({})


def test_grid_points() -> None:
    space = {"rate": Float(0.01, 1.0, log=True), "n": Int(1, 2), "kind": Choice("a", "b")}
    points = grid(space)
    assert len(points) == 3 * 2 * 2
    assert {p["rate"] for p in points} == {0.01, 0.1, 1.0}
    assert len(grid(NESTED)) == 1 + 1 + 3


def test_options_come_back_as_they_were_given() -> None:
    options = (Adam(learning_rate=0.1), Momentum(), (64, 32), None, 3, 0.5, "none", np.mean)
    choice = Choice(*options)
    for option in options:
        assert choice.read(choice.stored(option)) is option
    assert Adam.parse(label(Adam(learning_rate=0.1))) == Adam(learning_rate=0.1)


def test_applied_replaces_outer_parts_first() -> None:
    setting = {
        "optimizer.optimizer.learning_rate": 0.2,
        "optimizer": ClipByNorm(Momentum()),
        "network.hidden": (4, 4),
        "batch_size": 7,
    }
    recipe = applied(RECIPE, setting)
    assert recipe.optimizer == ClipByNorm(Momentum(learning_rate=0.2))
    assert (recipe.network.hidden, recipe.network.dropout) == ((4, 4), 0.6)
    assert recipe.batch_size == 7
    assert RECIPE.batch == 32


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("optimizer.learnin_rate", 0.1, "field of ClipByNorm 'learnin_rate'"),
        ("optimizer.optimizer.learnin_rate", 0.1, "did you mean 'learning_rate'"),
        ("batch_sise", 8, "did you mean 'batch_size'"),
        ("epochs.log", 8, "unknown field of int 'log'"),
        ("network.dropout", 1.5, "must lie in"),
    ],
)
def test_a_path_or_value_that_cannot_be_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(MinimandError, match=message):
        applied(RECIPE, {path: value})


def test_the_default_space_is_what_the_cards_say() -> None:
    assert default_space(RECIPE) == {
        "network.dropout": Float(0.1, 0.6),  # stretched to hold its own value
        "optimizer.max_norm": Float(0.1, 10.0, log=True),
        "optimizer.optimizer.learning_rate": Float(1e-3, 0.5, log=True),
    }  # the penalty is off, and stays so
    huber = Recipe(MLP(hidden=(8,)), Huber(), penalty=L2(strength=1e-3))
    assert set(default_space(huber)) == {"optimizer.learning_rate", "penalty.strength"}


CHAINED = Recipe(
    MLP(hidden=(3,), outputs=2),
    CrossEntropy(),
    augmentation=Chain((Rotation(degrees=5.0), Flip(), GaussianNoise())),
    epochs=2,
)


def test_the_default_space_enters_tuples() -> None:
    chain = "augmentation.augmentations"
    assert default_space(CHAINED) == {
        f"{chain}.0.degrees": Float(0.0, 30.0),
        f"{chain}.1.probability": Float(0.0, 0.5),
        f"{chain}.2.stddev": Float(0.01, 0.5, log=True),
        "optimizer.learning_rate": Float(1e-3, 1e-2, log=True),
    }
    with pytest.raises(MinimandError, match="field of tuple '3'"):
        applied(CHAINED, {f"{chain}.3.alpha": 0.1})


def test_strengths_of_a_chain_are_searched_in_one_program() -> None:
    path = "augmentation.augmentations.0.degrees"
    recipes = [applied(CHAINED, setting) for setting in grid({path: Float(0.0, 30.0)})]
    assert [value_at(recipe, path) for recipe in recipes] == [0.0, 15.0, 30.0]
    assert groups(recipes) == [[0, 1, 2]]
    X = np.random.default_rng(0).normal(size=(40, 6, 6))
    y, fold = np.arange(40) % 2, Fold(np.arange(40), np.arange(0))
    together = train_members(recipes, X, y, [fold] * 3, [0] * 3)
    kernels = [fitted.params["output"]["kernel"] for fitted in together]
    for recipe, kernel in zip(recipes, kernels, strict=True):
        (alone,) = train_members([recipe], X, y, [fold], [0])
        np.testing.assert_allclose(kernel, alone.params["output"]["kernel"], rtol=1e-5)
    assert not np.allclose(kernels[0], kernels[1]) and not np.allclose(kernels[1], kernels[2])


def test_recipes_of_one_structure_are_one_group() -> None:
    settings = [
        {"network.dropout": 0.1},
        {"batch_size": 64},
        {"network.dropout": 0.2, "optimizer.max_norm": 2.0},
        {"network.dropout": 0.0},
        {"batch_size": 64, "penalty.strength": 1.0},
    ]
    assert groups([applied(RECIPE, s) for s in settings]) == [[0, 2], [1, 4], [3]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(2.0, 1.0), "low must not be above high"),
        (lambda: Float(0.0, float("nan")), "must be finite"),
        (lambda: Float(0.0, 1.0, log=True), "must begin above 0"),
        (lambda: Int(0.5, 2), "whole numbers"),
        (lambda: Choice(), "needs options"),
        (lambda: Choice("1", 1), "that differ"),
        (lambda: Choice(object()), "no text that lasts"),
        (lambda: Float(0.0, 1.0).when("kind"), "needs the values"),
        (lambda: ordered({}), "empty"),
        (lambda: ordered({"x": [1, 2]}), "must be Float"),
        (lambda: ordered({"x": Int(1, 2).when("kin", 1), "kind": Int(1, 2)}), "mean 'kind'"),
        (lambda: ordered({"x": Int(1, 2).when("y", 1), "y": Int(1, 2).when("x", 1)}), "each other"),
    ],
)
def test_an_impossible_space_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(MinimandError, match=message):
        make()
