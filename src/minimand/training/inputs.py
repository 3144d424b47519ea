"""What goes into a run: recipes, rows, folds and seeds, checked and laid out for the program."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import jax
import numpy as np

from minimand.arrays import Array
from minimand.constraints import called, kernels
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError, ShapeError
from minimand.losses import Loss
from minimand.losses.classification import holds_shares
from minimand.networks.base import Tree, named_leaves
from minimand.training.batches import Rows
from minimand.training.program import Member
from minimand.training.recipe import Recipe


def check_members(recipes: Sequence[Recipe], folds: Sequence[Fold], seeds: Sequence[int]) -> None:
    """Raise if recipes, folds and seeds do not make K members of one program."""
    if not 0 < len(recipes) == len(folds) == len(seeds):
        raise ShapeError(
            f"{len(recipes)} recipes, {len(folds)} folds and {len(seeds)} seeds; need one each "
            f"for every member"
        )
    check_structure(recipes)
    check_seeds(seeds)


def check_structure(recipes: Sequence[Recipe]) -> None:
    """Raise `ArgumentError` if recipes do not make one program."""
    if len({jax.tree.structure(recipe) for recipe in recipes}) != 1:
        raise ArgumentError("recipes trained together must differ in numbers only, not structure")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `ArgumentError` if a seed is no 32-bit number."""
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise ArgumentError(f"seed is {seed}; it must lie in [0, 2^32)")


def checked_rows(
    recipe: Recipe, X: Array, y: Array, weight: Array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets and weights as the program takes them; rows of weight 0 are blank."""
    X, y = readable(recipe, X), np.asarray(y)
    weight = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=float)
    if X.ndim < 2 or not X.size or not y.shape[:1] == weight.shape == X.shape[:1]:
        raise ShapeError(
            f"X has shape {X.shape}, y {y.shape} and weight {weight.shape}; "
            f"expected [n, p] or [n, height, width, channels], [n, ...] and [n], n ≥ 1"
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
    for row, *place in [] if X.dtype.kind in "iu" else np.argwhere(~np.isfinite(X))[:1]:
        where = f"column {place[0] + 1}" if X.ndim == 2 else f"place {[int(i) for i in place]}"
        raise DataError(
            f"X holds {X[row, *place]} in row {row + 1}, {where}; drop or repair that row"
        )
    recipe.loss.check_target(y)
    wanted, given = _outputs(recipe.loss, y), recipe.network.width(X)
    if given < wanted or (given > 1 and not recipe.loss.score_axes):
        raise ShapeError(
            f"{recipe.network} gives {given} scores; {recipe.loss} needs {wanted} for this target"
        )
    return X, y.astype(np.int32 if y.dtype.kind in "iub" else np.float32), weight


def readable(recipe: Recipe, X: Array) -> np.ndarray:
    """Inputs in the type in which the program reads them: bytes stay bytes, symbols integers."""
    if recipe.network.tokens:
        return _symbols(np.asarray(X))
    return np.asarray(X, dtype=None if getattr(X, "dtype", None) == np.uint8 else np.float32)


def _symbols(X: np.ndarray) -> np.ndarray:
    """Whole numbers, at least 0."""
    if X.size and (X.dtype.kind not in "iu" or X.min() < 0):
        raise DataError(
            f"X holds {X.dtype} from {X.min()} on; this network reads symbols: whole numbers 0, 1, "
            f"2, ..."
        )
    return X.astype(np.int32)


def _outputs(loss: Loss, y: np.ndarray) -> int:
    """How many scores the loss takes for a row, at least."""
    if loss.scores:
        return len(loss.scores)
    if loss.card.target in ("class", "image"):
        return y.shape[-1] if holds_shares(y) else int(y.max()) + 1
    return 1


def best_constant(recipe: Recipe, y: np.ndarray, weight: np.ndarray, fold: Fold) -> np.ndarray:
    """The best constant scores on a member's training rows, or 0; absent classes get the lowest."""
    own = np.zeros_like(weight)
    own[fold.train] = weight[fold.train]
    if not own.any():
        raise DataError("no rows are left to train on; use less validation, or more rows")
    outputs = recipe.network.outputs
    try:
        constant = np.atleast_1d(recipe.loss.constant(y, _of_examples(recipe.loss, own, y)))
    except ArgumentError:
        return np.zeros(outputs or 1)
    missing = outputs - len(constant) if outputs else 0
    return np.pad(constant, (0, missing), mode="minimum")


def _of_examples(loss: Loss, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The weight of every example, of those of the rows: an image has many, a row mostly one."""
    examples = y.shape[: max(1, y.ndim - loss.target_axes)]
    return np.broadcast_to(weight.reshape(-1, *(1,) * (len(examples) - 1)), examples)


def check_decay(recipe: Recipe, params: Tree) -> None:
    """Warn if weight decay has no kernel to shrink."""
    numbers = named_leaves(recipe.optimizer).items()
    decays = any(path[-1] == "weight_decay" and np.any(number > 0) for path, number in numbers)
    if decays and not [*kernels(params)]:
        kinds = called(params)
        warnings.warn(
            f"weight decay acts on parameters called kernel alone, and these are called "
            f"{', '.join(kinds)}; rename those that should shrink, or add a penalty such as "
            f"L2(kinds=('{kinds[-1]}',))",
            stacklevel=2,
        )


def stacked(
    recipes: Sequence[Recipe], folds: Sequence[Fold], seeds: Sequence[int], weight: np.ndarray
) -> Member:
    """All members as one, each leaf with a leading member axis."""
    return Member(
        stacked_recipes(recipes),
        np.asarray(seeds, dtype=np.uint32),
        _pad([f.train for f in folds], weight),
        _pad([f.test for f in folds], weight),
    )


def stacked_recipes(recipes: Sequence[Recipe]) -> Recipe:
    """The recipes as one, each number with a leading member axis."""
    stacked: Recipe = jax.tree.map(lambda *leaves: np.asarray(leaves, dtype=np.float32), *recipes)
    return stacked


def _pad(parts: Sequence[np.ndarray], weights: np.ndarray) -> Rows:
    """Index arrays, less rows of weight 0, as one rectangle; padding weighs nothing."""
    parts = [part[weights[part] > 0] for part in parts]
    longest = max(len(part) for part in parts)
    index = np.zeros((len(parts), longest), dtype=np.int32)
    weight = np.zeros((len(parts), longest), dtype=np.float32)
    for k, part in enumerate(parts):
        index[k, : len(part)] = part
        weight[k, : len(part)] = weights[part]
    return Rows(index, weight)
