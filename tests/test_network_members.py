"""Members that train side by side in one program, as on an accelerator, do not see one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest

from minimand.data.splits import Fold
from minimand.losses import CrossEntropy, PixelCrossEntropy
from minimand.networks import CNN, MLP, Network, ResNet, UNet
from minimand.optimizers import SGD
from minimand.training import Recipe
from minimand.training.inputs import best_constant, stacked
from minimand.training.program import advance, begin

Array = Any
ROWS, STEPS = 24, 6
NETWORKS = [
    MLP(hidden=(5,), outputs=2, norm="batch"),
    CNN(channels=(3,), outputs=2, norm="batch", dropout=0.3),
    ResNet(depth=8, channels=2, outputs=2),
    UNet(channels=(2, 3), outputs=2),
]


def trained(network: Network, X: Array, y: Array, folds: Sequence[Fold], seeds: list[int]) -> Any:
    """(parameters, batch statistics) of all members after two epochs, side by side."""
    loss = PixelCrossEntropy() if y.ndim > 1 else CrossEntropy()
    recipe = Recipe(network, loss, SGD(learning_rate=0.1), batch_size=8, epochs=2)
    weight = np.ones(len(X))
    members = stacked([recipe] * len(seeds), folds, seeds, weight)
    bias = [best_constant(recipe, y, weight, fold) for fold in folds]
    state = begin(members, X, np.asarray(bias, np.float32))
    after = advance(members, X, y, state, 0, STEPS)
    return after.params, after.network


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_members_with_batch_statistics_do_not_leak(network: Network) -> None:
    """Together as alone; and one member's rows, made a hundred times larger, move no other."""
    random = np.random.default_rng(0)
    X = random.normal(size=(2 * ROWS, 8, 8)).astype(np.float32)
    y = (X[:, 0, 0] > 0).astype(np.int32)
    if isinstance(network, UNet):
        y = (X > 0).astype(np.int32)
    none = np.array([], dtype=int)
    folds = [Fold(np.arange(ROWS), none), Fold(np.arange(ROWS, 2 * ROWS), none)]
    together = trained(network, X, y, folds, [1, 2])
    for k in range(2):
        alone = trained(network, X, y, folds[k : k + 1], [1 + k])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[k], b[0], rtol=1e-3, atol=1e-4)
    X[ROWS:] *= 100
    moved = trained(network, X, y, folds, [1, 2])
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    assert any(
        np.any(a[1] != b[1]) for a, b in zip(*map(jax.tree.leaves, (together, moved)), strict=True)
    )
