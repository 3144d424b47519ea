"""The host side of training: chunks of epochs, progress, time and Ctrl-C, and what comes back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError, ShapeError, SolverError
from minimand.losses import Loss
from minimand.networks.base import Tree
from minimand.training.compilation import collector_paused
from minimand.training.program import EARLY, NON_FINITE, Member, Rows, advance, scores, start
from minimand.training.progress import progress_bar
from minimand.training.recipe import Recipe

CHUNK_SECONDS = 0.5


@dataclass(frozen=True)
class Trained:
    """A fitted network: parameters of the best epoch, history and how the run ended."""

    recipe: Recipe
    params: Tree
    network_state: Tree
    history: dict[str, list[float]]
    best_epoch: int
    status: str
    finite: bool

    def scores(self, X: Array) -> np.ndarray:
        """The network's scores for the rows of X [n, p]."""
        X = np.asarray(X, dtype=np.float32)
        return np.asarray(scores(self.recipe, self.params, self.network_state, X), dtype=float)


def train(
    recipe: Recipe,
    X: Array,
    y: Array,
    *,
    validation: float = 0.1,
    seed: int = 0,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> Trained:
    """Train one network.

    Args:
        recipe: what to train and how.
        X: [n, p] inputs.
        y: [n] targets, as the recipe's loss expects them.
        validation: the share of rows, drawn with the seed, that early stopping watches; 0 turns
            it off.
        seed: decides the initial parameters, the order of the rows and the validation part.
        budget: ends the run early and keeps what there is.
        progress: show a progress bar; None shows it on a terminal.

    Raises:
        SolverError: the loss stopped being finite; the text names the epoch.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1), batch_size=8, epochs=50)
    >>> fitted = train(recipe, X, 4 + 3 * X[:, 0], validation=0.0)
    >>> fitted.scores(np.array([[1.0]])).round(3)
    array([7.])
    """
    if not 0 <= validation < 1:
        raise ArgumentError(f"validation is {validation}; it must lie in [0, 1)")
    _check_seeds([seed])
    order = np.random.default_rng(seed).permutation(len(X))
    held = round(validation * len(X))
    fold = Fold(np.sort(order[held:]), np.sort(order[:held]))
    (fitted,) = train_members([recipe], X, y, [fold], [seed], budget=budget, progress=progress)
    if not fitted.finite:
        raise SolverError(fitted.status)
    return fitted


def train_members(
    recipes: Sequence[Recipe],
    X: Array,
    y: Array,
    folds: Sequence[Fold],
    seeds: Sequence[int],
    *,
    weight: Array | None = None,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> list[Trained]:
    """Train K recipes of one structure as one program: member k has recipe, fold and seed k.

    A fold's `train` rows are descended on and its `test` rows are watched for early stopping. A
    member whose loss stops being finite ends by itself and says so in its status.
    """
    _check_members(recipes, folds, seeds)
    X, y, weight = _checked_rows(recipes[0], X, y, weight)
    members = _stack(recipes, folds, seeds, weight)
    constants = [
        _best_constant(recipe, y, weight, fold) for recipe, fold in zip(recipes, folds, strict=True)
    ]
    X_device, y_device = jax.device_put(X), jax.device_put(y)
    epochs, done = recipes[0].epochs, 0
    obeyed = nullcontext(budget) if budget else Budget()
    with obeyed as budget, collector_paused(), progress_bar(progress, epochs) as show:
        state = start(members, X_device, np.asarray(constants, dtype=np.float32))
        chunk = 1
        while done < epochs and not budget.spent():
            begun = time.perf_counter()
            state = advance(members, X_device, y_device, state, min(epochs, done + chunk))
            status = np.asarray(state.status)
            done = min(epochs, done + chunk)
            chunk = _next_chunk(chunk, time.perf_counter() - begun)
            show(done, np.asarray(state.history)[:, done - 1])
            if np.all(status != 0):
                break
    host = jax.device_get(state)
    return [
        _result(recipe, jax.tree.map(lambda leaf, k=k: leaf[k], host), budget)
        for k, recipe in enumerate(recipes)
    ]


def _check_members(recipes: Sequence[Recipe], folds: Sequence[Fold], seeds: Sequence[int]) -> None:
    if not 0 < len(recipes) == len(folds) == len(seeds):
        raise ShapeError(
            f"{len(recipes)} recipes, {len(folds)} folds and {len(seeds)} seeds; need one each "
            f"for every member"
        )
    if len({jax.tree.structure(recipe) for recipe in recipes}) != 1:
        raise ArgumentError("recipes trained together must differ in numbers only, not structure")
    _check_seeds(seeds)


def _check_seeds(seeds: Sequence[int]) -> None:
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise ArgumentError(f"seed is {seed}; it must lie in [0, 2^32)")


def _checked_rows(
    recipe: Recipe, X: Array, y: Array, weight: Array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets and weights as the program takes them; rows of weight 0 are blank."""
    X, y = np.asarray(X, dtype=np.float32), np.asarray(y)
    weight = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=float)
    if X.ndim != 2 or not X.size or not y.shape[:1] == weight.shape == X.shape[:1]:
        raise ShapeError(
            f"X has shape {X.shape}, y {y.shape} and weight {weight.shape}; "
            f"expected [n, p], [n] and [n], n ≥ 1"
        )
    used = weight > 0
    if not (np.all(weight >= 0) and 0 < weight.sum() < np.inf):
        raise DataError(
            f"weight must be finite, not negative and not all zero; its minimum is "
            f"{weight.min()} and its sum {weight.sum()}"
        )
    if not used.all():
        X, y = X.copy(), y.copy()
        X[~used], y[~used] = 0, y[used][0]
    for row, column in np.argwhere(~np.isfinite(X))[:1]:
        raise DataError(
            f"X holds {X[row, column]} in row {row + 1}, column {column + 1}; "
            f"drop or repair that row"
        )
    recipe.loss.check_target(y)
    wanted, given = _outputs(recipe.loss, y), recipe.network.outputs
    if given < wanted or (given > 1 and not recipe.loss.score_axes):
        raise ShapeError(
            f"{recipe.network} gives {given} scores; {recipe.loss} needs {wanted} for this target"
        )
    return X, y.astype(np.int32 if y.dtype.kind in "iub" else np.float32), weight


def _outputs(loss: Loss, y: np.ndarray) -> int:
    """How many scores the loss takes for a row, at least."""
    if loss.scores:
        return len(loss.scores)
    if loss.card.target == "class":
        return y.shape[1] if y.ndim > 1 else int(y.max()) + 1
    return 1


def _best_constant(recipe: Recipe, y: np.ndarray, weight: np.ndarray, fold: Fold) -> np.ndarray:
    """The best constant scores on a member's training rows, or 0; absent classes get the lowest."""
    own = np.zeros_like(weight)
    own[fold.train] = weight[fold.train]
    if not own.any():
        raise DataError("no rows are left to train on; use less validation, or more rows")
    try:
        constant = np.atleast_1d(recipe.loss.constant(y, own))
    except ArgumentError:
        return np.zeros(recipe.network.outputs)
    return np.pad(constant, (0, recipe.network.outputs - len(constant)), mode="minimum")


def _stack(
    recipes: Sequence[Recipe], folds: Sequence[Fold], seeds: Sequence[int], weight: np.ndarray
) -> Member:
    stacked = jax.tree.map(lambda *leaves: np.asarray(leaves, dtype=np.float32), *recipes)
    return Member(
        stacked,
        np.asarray(seeds, dtype=np.uint32),
        _pad([f.train for f in folds], weight),
        _pad([f.test for f in folds], weight),
    )


def _pad(parts: Sequence[np.ndarray], weights: np.ndarray) -> Rows:
    """Index arrays of nearly equal length as one rectangle; padding weighs nothing."""
    longest = max(1, *(len(p) for p in parts))
    index = np.zeros((len(parts), longest), dtype=np.int32)
    weight = np.zeros((len(parts), longest), dtype=np.float32)
    for k, part in enumerate(parts):
        index[k, : len(part)] = part
        weight[k, : len(part)] = weights[part]
    return Rows(index, weight)


def _next_chunk(chunk: int, seconds: float) -> int:
    return max(1, min(4 * chunk, round(chunk * CHUNK_SECONDS / max(seconds, 1e-9))))


def _result(recipe: Recipe, state: Any, budget: Budget) -> Trained:
    ran, best = int(state.epoch), int(state.best_epoch)
    finite = int(state.status) != NON_FINITE
    if not finite:
        status = (
            f"the loss stopped being finite in epoch {ran}; lower the learning rate of "
            f"{recipe.optimizer} or scale the inputs"
        )
    elif int(state.status) == EARLY:
        status = f"stopped early after {ran} epochs; the best was epoch {best}"
    elif ran < recipe.epochs:
        status = f"ended after {ran} of {recipe.epochs} epochs ({budget.reason})"
    else:
        status = f"ran all {ran} epochs; the best was epoch {best}"
    history = state.history[:ran].astype(float)
    return Trained(
        recipe,
        state.best_params,
        state.best_network,
        {
            "epoch": list(range(1, ran + 1)),
            "train": history[:, 0].tolist(),
            "validation": history[:, 1].tolist(),
        },
        best,
        status,
        finite,
    )
