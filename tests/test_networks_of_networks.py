"""Embedded columns and several heads are what their parts are, put together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn import datasets

from minimand import NetworkRegressor, randomness
from minimand.errors import ArgumentError, ShapeError
from minimand.losses import CrossEntropy, HalfSquared, MultiTask, Squared, UncertainTasks
from minimand.networks import (
    MLP,
    Embedded,
    Linear,
    MultiHead,
    Standardised,
    Transformer,
    with_outputs,
)
from minimand.optimizers import Adam
from minimand.training import Recipe, train

KEY = randomness.key(0)
RNG = np.random.default_rng(0)


def test_an_embedded_linear_model_has_an_effect_for_each_category() -> None:
    """With one number a category it is the linear model on dummy columns."""
    network = Embedded(levels=(0, 3), body=Linear(), size=1)
    x = np.array([[0.5, 0], [0.5, 1], [2.0, 2], [2.0, 7], [1.0, -1], [1.0, 0.5]], np.float32)
    params, state = network.init(KEY, x)
    table = params["embeddings"]["column1"]["embedding"][:, 0]
    slope, effect = params["body"]["output"]["kernel"][:, 0]
    vector = np.array([*table, 0, 0, 0])
    scores, _ = network.apply(params, state, x, key=KEY, train=False)
    np.testing.assert_allclose(scores[:, 0], slope * x[:, 0] + effect * vector, rtol=1e-6)


def test_embeddings_learn_what_no_order_of_codes_tells() -> None:
    effects = RNG.permutation(np.linspace(-3, 3, 40))
    codes = RNG.integers(0, 40, size=2000)
    y = effects[codes]
    X = np.stack([RNG.normal(size=2000), codes], axis=1)
    recipe = Recipe(
        Embedded(levels=(0, 40), body=Linear()), Squared(), Adam(learning_rate=0.02), epochs=30
    )
    left = {}
    for name, network in {"embedded": recipe.network, "codes": Linear()}.items():
        fitted = train(dataclasses.replace(recipe, network=network), X, y)
        left[name] = np.mean((fitted.predict(X) - y) ** 2)
    assert left["embedded"] < 0.01 < np.var(y) / 2 < left["codes"]


@pytest.mark.parametrize("levels", [(0, 0), (-1, 3)])
def test_levels_must_name_a_category(levels: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="number of categories of each column"):
        Embedded(levels=levels)


def test_levels_must_fit_the_columns() -> None:
    with pytest.raises(ShapeError, match="levels names 2 columns"):
        Embedded(levels=(0, 3)).init(KEY, np.zeros((1, 3), np.float32))


def test_heads_stand_side_by_side_on_the_trunk() -> None:
    heads = (Linear(outputs=2), MLP(hidden=(4,), outputs=3))
    network = MultiHead(MLP(hidden=(6,), outputs=5), heads, activation="tanh")
    x = RNG.normal(size=(7, 3)).astype(np.float32)
    params, state = network.init(KEY, x)
    shared = network.trunk.apply(params["trunk"], state, x, key=KEY, train=False)[0]
    alone = [
        head.apply(params["heads"][f"head{i}"], state, np.tanh(shared), key=KEY, train=False)[0]
        for i, head in enumerate(heads)
    ]
    scores, _ = network.apply(params, state, x, key=KEY, train=False)
    assert network.outputs == 5
    np.testing.assert_allclose(scores, np.concatenate(alone, axis=1), rtol=1e-5, atol=1e-6)


def test_two_tasks_share_a_trunk_and_their_noise_is_learnt() -> None:
    """Kendall et al. (2018): the noise variance tends to the mean of the squared residuals."""
    X = RNG.normal(size=(4000, 2))
    wave = np.sin(2 * X[:, 0]) + X[:, 1]
    noise = np.array([0.1, 1.0])
    y = wave[:, None] * [1.0, -1.0] + noise * RNG.normal(size=(4000, 2))
    tasks = UncertainTasks((HalfSquared(), HalfSquared()), widths=(1, 1))
    network = MultiHead(MLP(hidden=(32,), outputs=32), uncertain=True)
    fitted = train(Recipe(network, tasks, Adam(learning_rate=0.01), epochs=40), X, y)
    deviation = np.exp(fitted.params["log_variance"] / 2)
    np.testing.assert_allclose(deviation, noise, rtol=0.25)


def test_a_class_and_a_number_with_missing_targets() -> None:
    X, species = datasets.load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    length = X[:, 2].copy()
    y = np.stack([species, length], axis=1)
    y[::3, 0], y[1::3, 1] = np.nan, np.nan
    loss = MultiTask((CrossEntropy(), HalfSquared()), widths=(3, 1))
    network = MultiHead(MLP(outputs=16), (Linear(outputs=3), Linear()))
    fitted = train(Recipe(network, loss, Adam(learning_rate=0.01), epochs=100), X[:, :2], y)
    said = fitted.predict(X[:, :2])
    assert np.mean(np.argmax(said[:, :3], axis=1) == species) > 0.7
    assert np.corrcoef(said[:, 3], length)[0, 1] > 0.9


def test_an_estimator_leaves_codes_as_they_are() -> None:
    effects = RNG.permutation(np.linspace(-3, 3, 40))
    codes = RNG.integers(0, 40, size=2000)
    y = effects[codes]
    X = np.stack([RNG.normal(5.0, 2.0, size=2000), codes], axis=1)
    network = Embedded(levels=(0, 40), body=Linear())
    fitted = NetworkRegressor(network=network, learning_rate=0.02, max_iter=30, random_state=0)
    assert fitted.fit(X, y).score(X, y) > 0.98
    assert fitted.mean_[1] == 0 and fitted.spread_[1] == 1 and abs(fitted.mean_[0] - 5) < 0.5


def test_outputs_are_those_of_the_heads() -> None:
    network = Standardised(MultiHead(MLP(outputs=8), (Linear(outputs=2), Linear())))
    assert with_outputs(network, 3) == network
    with pytest.raises(ShapeError, match="give 3 scores, and 4 are needed"):
        with_outputs(network, 4)


def test_symbols_are_not_standardised() -> None:
    with pytest.raises(ArgumentError, match="reads symbols, which have no mean"):
        Standardised(Transformer())
