"""Inputs and targets of any shape: images, masks, sequences of symbols; given parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from minimand.errors import DataError, ShapeError, UnknownNameError
from minimand.losses import CrossEntropy, Dice, PixelCrossEntropy, Squared
from minimand.networks import MLP, Linear, adapt
from minimand.optimizers import SGD
from minimand.training import Recipe, train

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, size=(40, 6, 5, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 4, size=40)
DARK = (BYTES < 128).sum(axis=-1)


def same(one: Any, other: Any) -> bool:
    return bool(jax.tree.all(jax.tree.map(np.array_equal, one, other)))


def pixelwise(outputs: int) -> Any:
    """A network that scores each pixel by its own channels."""

    def init(key: Any, x: Any) -> Any:
        return {"output": {"kernel": jnp.zeros((x.shape[-1], outputs)), "bias": jnp.zeros(outputs)}}

    def apply(params: Any, x: Any) -> Any:
        return x @ params["output"]["kernel"] + params["output"]["bias"]

    return adapt((init, apply))


def test_bytes_are_fractions_of_255_and_images_are_rows_to_a_perceptron() -> None:
    recipe = Recipe(MLP(hidden=(7,), outputs=4), CrossEntropy(), epochs=3)
    fractions = (BYTES.astype(np.float32) / np.float32(255)).reshape(40, -1)
    images, rows = train(recipe, BYTES, LABELS), train(recipe, fractions, LABELS)
    np.testing.assert_allclose(images.scores(BYTES), rows.scores(fractions), rtol=1e-4, atol=1e-5)


def test_a_mask_is_a_target_and_every_pixel_an_example() -> None:
    """The same pixels as rows of a table, in one batch, give the same steps."""
    recipe = Recipe(
        pixelwise(4), PixelCrossEntropy(), SGD(learning_rate=0.5), batch_size=40, epochs=5
    )
    pixels, classes = BYTES.reshape(-1, 3) / np.float32(255), DARK.ravel()
    table = dataclasses.replace(
        recipe, network=pixelwise(4), loss=CrossEntropy(), batch_size=len(pixels)
    )
    images = train(recipe, BYTES, DARK, validation=0.0)
    rows = train(table, pixels, classes, validation=0.0)
    np.testing.assert_allclose(
        images.params["output"]["kernel"], rows.params["output"]["kernel"], rtol=1e-4
    )
    assert images.predict(BYTES).shape == DARK.shape


def test_an_image_of_no_weight_has_no_part() -> None:
    from minimand.data.splits import Fold
    from minimand.training import train_members

    recipe = Recipe(pixelwise(2), Dice(), SGD(learning_rate=0.5), batch_size=40, epochs=2)
    spoilt = DARK.clip(max=1).copy()
    spoilt[7] = 1 - spoilt[7]
    weight = np.ones(40)
    weight[7] = 0
    fold = Fold(np.arange(40), np.arange(0))
    given = [
        train_members([recipe], BYTES, y, [fold], [0], weight=weight)[0].params
        for y in (DARK.clip(max=1), spoilt)
    ]
    assert same(*given)


def test_symbols_must_be_whole_numbers() -> None:
    @jax.tree_util.register_static
    class Counts(type(pixelwise(2))):
        tokens = True

    def init(key: Any, x: Any) -> Any:
        return {"kernel": jnp.zeros((5, 2))}

    network = Counts(init, lambda params, x: jnp.sum(params["kernel"][x], axis=1))
    recipe = Recipe(network, CrossEntropy(), epochs=2)
    symbols = RNG.integers(0, 5, size=(40, 3))
    assert train(recipe, symbols, LABELS % 2).scores(symbols).shape == (40, 2)
    for bad in (symbols.astype(float), symbols - 1):
        with pytest.raises(DataError, match="whole numbers"):
            train(recipe, bad, LABELS % 2)


def test_a_number_that_is_not_finite_is_placed() -> None:
    images = BYTES.astype(np.float32)
    images[3, 1, 2, 0] = np.nan
    with pytest.raises(DataError, match=r"X holds nan in row 4, place \[1, 2, 0\]"):
        train(Recipe(Linear(outputs=4), CrossEntropy()), images, LABELS)


def test_a_run_begins_from_given_parameters() -> None:
    X, y = RNG.normal(size=(30, 3)), RNG.normal(size=30)
    recipe = Recipe(MLP(hidden=(4,)), Squared(), SGD(learning_rate=1e-30), epochs=1)
    kernel = RNG.normal(size=(3, 4)).astype(np.float32)
    given = train(recipe, X, y, start={"hidden": {"layer0": {"kernel": kernel}}})
    np.testing.assert_array_equal(given.params["hidden"]["layer0"]["kernel"], kernel)
    fresh = train(recipe, X, y)
    assert same(given.params["output"], fresh.params["output"])
    with pytest.raises(ShapeError, match=r"hidden\.layer0\.kernel has shape"):
        train(recipe, X, y, start={"hidden": {"layer0": {"kernel": kernel.T}}})
    with pytest.raises(UnknownNameError, match=r"hidden\.layer1"):
        train(recipe, X, y, start={"hidden": {"layer1": {"kernel": kernel}}})
