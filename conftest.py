"""What tests and doctests alike need: they leave nothing behind, in the catalogue or in memory."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest

from minimand.component import _registry, catalogue
from minimand.losses.custom import CustomLoss

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
"""XLA's new emitters make faster programs, which take twice as long to compile."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that share the tests must agree on their names."""
    for item in items:
        if " at 0x" in item.name:
            raise pytest.UsageError(f"{item.nodeid} holds an address; give the parameter an id")


def pytest_collection_finish() -> None:
    """Libraries stay, so the garbage collector need not walk through them time and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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
        gc.collect()
