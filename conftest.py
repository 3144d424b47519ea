"""What tests and doctests alike need: they leave nothing behind, in the catalogue or in memory."""

from __future__ import annotations

import sys
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


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs_are_dropped() -> Iterator[None]:
    """Thousands of programs in one process would exceed the memory maps that Linux allows."""
    yield
    if jax := sys.modules.get("jax"):
        jax.clear_caches()
