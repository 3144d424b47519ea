"""Small pictures on a page: images with what they are and what they were taken for."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

SIDE = 96


class Tile(NamedTuple):
    """A picture as a `data:` address, and the words under it."""

    address: Markup
    actual: str
    predicted: str


def tiles(mistakes: Mapping[str, np.ndarray], predictions: Mapping[str, np.ndarray]) -> list[Tile]:
    """A tile for each of `images`, which are the rows `places` of the predictions."""
    if not mistakes:
        return []
    words = [predictions[name][mistakes["places"]].tolist() for name in ("actual", "predicted")]
    addresses = map(_address, mistakes["images"])
    return [Tile(a, str(y), str(z)) for a, y, z in zip(addresses, *words, strict=True)]


def _address(image: np.ndarray) -> Markup:
    """An image [height, width, channels] as PNG, at most 96 pixels wide and high."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture.thumbnail((SIDE, SIDE))
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    return Markup("data:image/png;base64,") + base64.b64encode(packed.getvalue()).decode()
