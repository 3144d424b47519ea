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
from minimand.training import Recipe, train_members
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


@pytest.mark.parametrize(
    ("network", "shorter"), [*((one, 0) for one in NETWORKS), (NETWORKS[0], 1)], ids=str
)
def test_members_with_batch_statistics_do_not_leak(network: Network, shorter: int) -> None:
    """Together as alone; and one member's rows, made a hundred times larger, move no other."""
    random = np.random.default_rng(0)
    X = random.normal(size=(2 * ROWS, 8, 8)).astype(np.float32)
    y = (X[:, 0, 0] > 0).astype(np.int32)
    if isinstance(network, UNet):
        y = (X > 0).astype(np.int32)
    none = np.array([], dtype=int)
    folds = [Fold(np.arange(ROWS), none), Fold(np.arange(ROWS, 2 * ROWS - shorter), none)]
    together = trained(network, X, y, folds, [1, 2])
    for k in range(2):
        alone = trained(network, X, y, folds[k : k + 1], [1 + k])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[k], b[0], rtol=1e-3, atol=1e-4)
    for own in range(2):
        larger = X.copy()
        larger[folds[own].train] *= 100
        moved = trained(network, larger, y, folds, [1, 2])
        pairs = list(zip(*map(jax.tree.leaves, (together, moved)), strict=True))
        for a, b in pairs:
            np.testing.assert_array_equal(a[1 - own], b[1 - own])
        assert any(np.any(a[own] != b[own]) for a, b in pairs)


def arrays(network: Network, X: Array, folds: Sequence[Fold], seeds: list[int], **more: Any) -> Any:
    """All arrays of members after 51 steps or more, by momentum, on the cores."""
    optimizer = SGD(learning_rate=0.1, momentum=0.9)
    recipe = Recipe(network, CrossEntropy(), optimizer, batch_size=8, epochs=17)
    y = (X[:, 0] > 0).astype(np.int32)
    fitted = train_members([recipe] * len(seeds), X, y, folds, seeds, **more)
    return [jax.tree.leaves((one.params, one.network_state)) for one in fitted]


@pytest.mark.parametrize("rows", [(24, 23), (17, 16)])
def test_a_shorter_fold_is_trained_as_alone(rows: tuple[int, int]) -> None:
    """To the bit, also where the longer one has a batch more."""
    X = np.random.default_rng(0).normal(size=(sum(rows), 5))
    network = MLP(hidden=(5,), outputs=2, norm="batch", dropout=0.2)
    none = np.array([], dtype=int)
    folds = [Fold(np.arange(rows[0]), none), Fold(np.arange(rows[0], sum(rows)), none)]
    together = arrays(network, X, folds, [1, 2])
    for k in range(2):
        (alone,) = arrays(network, X, folds[k : k + 1], [1 + k])
        assert all(map(np.array_equal, together[k], alone))


def test_rows_of_weight_0_are_no_part_of_batch_statistics() -> None:
    X = np.random.default_rng(0).normal(size=(32, 5))
    network, none = MLP(hidden=(5,), outputs=2, norm="batch"), np.array([], dtype=int)
    weight = (np.arange(32) % 4 > 0).astype(float)
    (blank,) = arrays(network, X, [Fold(np.arange(32), none)], [0], weight=weight)
    (absent,) = arrays(network, X, [Fold(np.flatnonzero(weight), none)], [0])
    assert all(map(np.array_equal, blank, absent))
