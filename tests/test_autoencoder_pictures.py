"""Pictures of autoencoders: what stands where, read back from the charts."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import minimand
from minimand.data.augmentation import MaskingNoise
from minimand.errors import ArgumentError
from minimand.losses import ELBO, Reconstruction
from minimand.networks import (
    MLP,
    Autoencoder,
    ConvolutionalAutoencoder,
    VariationalAutoencoder,
)
from minimand.report.autoencoder_charts import filters, manifold, reconstructions
from minimand.training import Recipe, train

X = np.random.default_rng(0).random((20, 4)).astype(np.float32)


def tiles(chart: Any) -> np.ndarray:
    """The images of a chart [tiles, 2, 2], by the corners of each tile."""
    shown = []
    for value in chart.to_dict()["data"]["values"]:
        packed = base64.b64decode(value["url"].partition(",")[2])
        pixels = np.asarray(Image.open(io.BytesIO(packed))) / 255
        shown.append(pixels[:: len(pixels) - 1, :: len(pixels) - 1])
    return np.stack(shown)


@pytest.fixture(scope="module")
def fitted() -> Any:
    recipe = Recipe(Autoencoder(code=20), Reconstruction(), epochs=1)
    return train(recipe, X, X, validation=0)


def test_inputs_stand_over_what_is_made_of_them(fitted: Any) -> None:
    shown = tiles(reconstructions(fitted, X, (2, 2)))
    rebuilt = np.clip(fitted.predict(X[:10]), 0, 1)
    expected = np.concatenate([X[:10], rebuilt]).reshape(20, 2, 2)
    np.testing.assert_allclose(shown, expected, atol=0.5 / 255 + 1e-6)
    noisy = replace(fitted, recipe=replace(fitted.recipe, augmentation=MaskingNoise(share=0.5)))
    lines = tiles(reconstructions(noisy, X, (2, 2))).reshape(3, 40)
    assert 5 < np.sum(lines[1] == 0) < 35 and np.all((lines[1] == 0) | (lines[1] == lines[0]))


def test_an_estimator_rebuilds_in_the_units_of_its_inputs() -> None:
    raw = 5 + 100 * X
    coder = minimand.Autoencoder((3,), code_activation="identity", max_iter=5, random_state=0)
    shown = tiles(reconstructions(coder.fit(raw), raw, (2, 2)))
    low, high = raw[:10].min(), raw[:10].max()
    rebuilt = coder.inverse_transform(coder.transform(raw[:10]))
    expected = (np.concatenate([raw[:10], rebuilt]) - low) / (high - low)
    np.testing.assert_allclose(shown.reshape(20, 4), np.clip(expected, 0, 1), atol=0.01)


def test_filters_are_the_largest_weights(fitted: Any) -> None:
    kernel = fitted.params["code"]["kernel"]
    first = kernel[:, np.argmax(np.linalg.norm(kernel, axis=0))]
    expected = 0.5 + 0.5 * first.reshape(2, 2) / np.abs(first).max()
    shown = tiles(filters(fitted, (2, 2), rows=1))
    assert len(shown) == 10
    np.testing.assert_allclose(shown[0], expected, atol=0.5 / 255 + 1e-6)


def test_a_row_that_is_not_full_is_filled_up_with_grey(fitted: Any) -> None:
    network = Autoencoder(code=13)
    few = replace(
        fitted,
        recipe=replace(fitted.recipe, network=network),
        params=network.init(jax.random.key(0), X)[0],
    )
    shown = tiles(filters(few, (2, 2)))
    assert len(shown) == 20
    assert np.ptp(shown[:13], axis=(1, 2)).min() > 0.1
    np.testing.assert_allclose(shown[13:], 128 / 255)


def test_filters_of_convolutions_are_their_kernels(fitted: Any) -> None:
    network = ConvolutionalAutoencoder(channels=(4,), code=2, kernel_size=2)
    params, _ = network.init(jax.random.key(0), np.zeros((1, 4, 4, 3)))
    kernel = params["encoder"]["layer0"]["kernel"]
    first = kernel[..., np.argmax(np.linalg.norm(kernel.reshape(-1, 4), axis=0))]
    own = replace(fitted, recipe=replace(fitted.recipe, network=network), params=params)
    shown = tiles(filters(own, (4, 4, 3)))
    assert shown.shape == (10, 2, 2, 3)
    np.testing.assert_allclose(shown[0], 0.5 + 0.5 * first / np.abs(first).max(), atol=0.5 / 255)


def test_a_manifold_needs_codes_of_two_numbers(fitted: Any) -> None:
    with pytest.raises(ArgumentError, match="must have 2 numbers"):
        manifold(fitted, (2, 2))
    with pytest.raises(ArgumentError, match="of trained autoencoders"):
        manifold(replace(fitted, recipe=replace(fitted.recipe, network=MLP())), (2, 2))
    network = VariationalAutoencoder(hidden=(4,), code=2)
    params, state = network.init(jax.random.key(0), X)
    recipe = replace(fitted.recipe, network=network, loss=ELBO(latent=2))
    drawn = tiles(manifold(replace(fitted, recipe=recipe, params=params), (2, 2), side=3))
    middle = network.decode(params, state, np.zeros((1, 2), np.float32), (2, 2))
    np.testing.assert_allclose(drawn[4].ravel(), np.clip(middle[0], 0, 1), atol=0.01)
