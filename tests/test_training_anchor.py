"""Memory handed on from step to step, and the way back to where numbers were finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import SolverError
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import SGD
from minimand.schedules import Piecewise
from minimand.training import Recipe, anchor, train, train_stream
from minimand.training.members import InMemory

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 4)).astype(np.float32)
Y = X @ np.float32([1.0, -2.0, 0.5, 0.0])
BLOCKS = [(X[i : i + 32], Y[i : i + 32]) for i in range(0, 96, 32)]
BREAK = 61
RECIPE = Recipe(
    MLP(hidden=(8,)), Squared(), SGD(1e3), batch_size=16, epochs=20,
    schedule=Piecewise((BREAK - 1,), (5e-5, 1e38)),
)  # fmt: skip
"""After 60 steps with finite losses, one of epoch 11 makes infinite parameters."""


@pytest.mark.parametrize("worth", [0, 1e9], ids=["each chunk", "the first state only"])
@pytest.mark.parametrize(
    "trained",
    [
        lambda **more: train(RECIPE, X, Y, validation=0.0, **more),
        lambda **more: train_stream(RECIPE, BLOCKS, validation=0.0, **more),
    ],
    ids=["in memory", "streamed"],
)
def test_the_step_that_breaks_is_found_from_any_earlier_state(
    monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Any], worth: float
) -> None:
    expected = trained(budget=Budget(steps=BREAK - 1)).last["params"]
    monkeypatch.setattr(anchor, "WORTH", worth)
    with pytest.raises(
        SolverError, match=r"after their update stopped .* epoch 11, step 61;"
    ) as end:
        trained()
    jax.tree.map(np.testing.assert_array_equal, end.value.trained.last["params"], expected)


def test_steps_take_over_the_memory_of_the_state_before() -> None:
    everything = Fold(np.arange(96), np.arange(0))
    rows = InMemory([RECIPE], X, Y, [everything], [0])
    before = rows.advance(rows.begin(), 0, 1)
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(before.params)]
    after = rows.advance(before, 1, 3)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(after.params)] == places
