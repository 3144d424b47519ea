"""What depth does to gradients: plain, normalised, residual and clipped networks, trained alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.data.splits import Fold, holdout
from minimand.errors import ArgumentError
from minimand.losses import CrossEntropy
from minimand.networks import MLP
from minimand.networks.base import Tree
from minimand.networks.layers import Activation
from minimand.optimizers import ClipByNorm, Momentum
from minimand.training import Recipe, train_members
from minimand.training.batches import Rows
from minimand.training.passes import objective

CLIPPED, UNCLIPPED = 1.0, 1e30


@dataclass(frozen=True)
class DeepNetwork:
    """One network: the norm of the gradient at every layer, and how well it learnt.

    `start` and `end` hold the norms at the kernels, from the first hidden layer to the output, of
    the mean loss of the training rows before and after training. `loss` and `accuracy` are those of
    the rows set aside; `status` says how the training ended.
    """

    kind: str
    depth: int
    start: tuple[float, ...]
    end: tuple[float, ...]
    loss: float
    accuracy: float
    status: str


def deep_networks(
    X: Array,
    y: Array,
    *,
    depths: Sequence[int] = (2, 8, 32, 64),
    activation: Activation = "sigmoid",
    gain: float = 1.0,
    width: int = 32,
    epochs: int = 20,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> list[DeepNetwork]:
    """Train networks of every depth, plain and with each remedy, and look at their gradients.

    The remedies are batch normalisation, skip connections (`MLP(residual=True)`) and gradients
    clipped to norm 1. All begin alike and descend by momentum, which takes gradients as they are.

    Args:
        X: [n, p] inputs, standardised.
        y: [n] classes 0, 1, 2 ...
        depths: how many hidden layers.
        activation: of the hidden layers.
        gain: multiplies the kernels of the hidden layers at the start; 1 is what suits the
            activation, and more makes gradients explode.
        width: units of a hidden layer.
        epochs: passes over the training rows, four fifths of all.
        learning_rate: of the momentum method.
        seed: decides the first weights, the order of the rows and those set aside.

    Raises:
        ArgumentError: a depth below 1.

    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> [one.kind for one in deep_networks(X, y, depths=[1], width=4, epochs=1)]
    ['plain', 'clipped', 'batch norm', 'residual']
    """
    if min(depths, default=0) < 1:
        raise ArgumentError(f"depths are {tuple(depths)}; give one or more, each at least 1")
    X, y = np.asarray(X, np.float32), np.asarray(y)
    fold = holdout(y, "multiclass", seed=seed)
    found = []
    for depth in depths:
        plain = MLP(hidden=(width,) * depth, outputs=int(y.max()) + 1, activation=activation)
        for network, limits in (
            (plain, {"plain": UNCLIPPED, "clipped": CLIPPED}),
            (replace(plain, norm="batch"), {"batch norm": UNCLIPPED}),
            (replace(plain, residual=True), {"residual": UNCLIPPED}),
        ):
            rules = [ClipByNorm(Momentum(learning_rate), limit) for limit in limits.values()]
            recipes = [
                Recipe(network, CrossEntropy(), r, batch_size=64, epochs=epochs) for r in rules
            ]
            found += _trained(dict(zip(limits, recipes, strict=True)), X, y, fold, gain, seed)
    return found


def gradient_norms(recipe: Recipe, params: Tree, state: Tree, X: Array, y: Array) -> list[float]:
    """The norm of the gradient of the mean loss of all rows at each kernel, the output's last."""
    gradient = _gradient(recipe, params, state, jnp.asarray(X), jnp.asarray(y))
    hidden = [gradient["hidden"][f"layer{i}"] for i in range(len(gradient["hidden"]))]
    kernels = (np.asarray(one["kernel"], float) for one in [*hidden, gradient["output"]])
    return [float(np.linalg.norm(kernel)) for kernel in kernels]


def _trained(
    recipes: Mapping[str, Recipe], X: Array, y: Array, fold: Fold, gain: float, seed: int
) -> list[DeepNetwork]:
    """The networks of recipes of one structure, by kind, from the same first weights."""
    network = next(iter(recipes.values())).network
    params, state = network.init(randomness.key(seed), X[:1])
    params["hidden"] = jax.tree.map(lambda w: gain * w if w.ndim == 2 else w, params["hidden"])
    same = len(recipes)
    rows = Fold(fold.train, fold.test[:0])
    trained = train_members([*recipes.values()], X, y, [rows] * same, [seed] * same,
                            starts=[params] * same, progress=False)  # fmt: skip
    known, held = (X[fold.train], y[fold.train]), (X[fold.test], y[fold.test])
    return [
        DeepNetwork(
            kind,
            len(params["hidden"]),
            tuple(gradient_norms(one.recipe, params, state, *known)),
            tuple(gradient_norms(one.recipe, one.params, one.network_state, *known)),
            float(CrossEntropy()(one.scores(held[0]), held[1])),
            float(np.mean(one.predict(held[0]) == held[1])),
            one.status,
        )
        for kind, one in zip(recipes, trained, strict=True)
    ]


@jax.jit
def _gradient(recipe: Recipe, params: Tree, state: Tree, X: Array, y: Array) -> Tree:
    rows = Rows(jnp.arange(len(X)), jnp.ones(len(X)))
    key = randomness.key(0)
    slope = jax.grad(lambda at: objective(recipe, at, state, X, y, rows, key)[0])
    gradient: Tree = slope(params)
    return gradient
