"""What tests and doctests alike need: losses made by users' functions leave the catalogue again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from minimand.component import _registry, catalogue
from minimand.losses.custom import CustomLoss


@pytest.fixture(autouse=True)
def _same_catalogue() -> Iterator[None]:
    yield
    for name, cls in catalogue("loss").items():
        if issubclass(cls, CustomLoss):
            del _registry["loss"][name]
