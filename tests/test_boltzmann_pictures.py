"""Pictures of Boltzmann machines: what is drawn is what the machine holds."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minimand.errors import ArgumentError
from minimand.losses import ContrastiveDivergence
from minimand.networks import RBM, DeepBeliefNetwork, Linear
from minimand.report.boltzmann_charts import chains, fantasies, filters
from minimand.training import Recipe, Trained

Array = Any
PATTERN = np.array([1.0, 0, 0, 1, 1, 0])


def fitted(network: Any, params: Any) -> Trained:
    recipe = Recipe(network, ContrastiveDivergence())
    return Trained(recipe, params, {}, {}, 1, "by hand", True, {})


def sure(kernel: Array) -> Any:
    """Visible biases at which nothing but the pattern ever comes up."""
    bias = {"bias": 60.0 * (2 * PATTERN - 1)}
    return {"hidden": {"kernel": kernel, "bias": np.zeros(kernel.shape[1])}, "visible": bias}


def pixels(chart: Any) -> list[Array]:
    """The images of a chart, 2×3 each, as shades from 0 to 255."""
    urls = [value["url"] for value in chart.to_dict()["data"]["values"]]
    files = [io.BytesIO(base64.b64decode(url.partition(",")[2])) for url in urls]
    images = [np.asarray(Image.open(file)) for file in files]
    return [image[:: len(image) // 2, :: image.shape[1] // 3] for image in images]


def test_filters_are_the_weights_with_the_largest_first() -> None:
    kernel = np.zeros((6, 2))
    kernel[0, 0], kernel[1:3, 1] = 1.0, (2.0, -4.0)
    drawn = pixels(filters(fitted(RBM(hidden=2), sure(kernel)), (2, 3)))
    assert drawn[0].tolist() == [[128, 191, 0], [128, 128, 128]]
    assert drawn[1].tolist() == [[255, 128, 128], [128, 128, 128]]


def test_chains_begin_at_the_images_and_end_at_the_machine() -> None:
    v = np.array([[0, 0, 0, 0, 0, 1.0], [1, 1, 1, 1, 1, 1]])
    chart = chains(fitted(RBM(hidden=2), sure(np.zeros((6, 2)))), v, (2, 3), steps=(0, 1, 5))
    drawn = pixels(chart)
    for image, expected in zip(drawn, [*v, *[PATTERN] * 4], strict=True):
        assert image.ravel().tolist() == (255 * expected).tolist()
    rows = {value["row"] for value in chart.to_dict()["data"]["values"]}
    assert rows == {"step 0", "step 1", "step 5"}


@pytest.mark.parametrize("deep", [False, True])
def test_fantasies_are_what_the_machine_believes_in(deep: bool) -> None:
    machine, params = RBM(hidden=6), sure(np.zeros((6, 6)))
    network = DeepBeliefNetwork((machine, machine)) if deep else machine
    params = network.untied([params, params]) if deep else params
    drawn = pixels(fantasies(fitted(network, params), (2, 3), rows=1, steps=2))
    assert len(drawn) == 10
    assert all(image.ravel().tolist() == (255 * PATTERN).tolist() for image in drawn)


def test_other_networks_have_no_such_pictures() -> None:
    with pytest.raises(ArgumentError, match=r"cannot draw Linear\(outputs=2\); .* trained RBM"):
        filters(fitted(Linear(outputs=2), {}), (2, 3))
