"""Passes through a network: the scores of some rows, their loss, and the objective of a batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.networks.base import Tree
from minimand.training.batches import Rows, inputs, of_examples
from minimand.training.recipe import Recipe
from minimand.training.trees import cast


def objective(
    recipe: Recipe, params: Tree, network: Tree, X: Array, y: Array, rows: Rows, key: Array
) -> tuple[Array, tuple[Tree, tuple[Array, Array]]]:
    """(mean loss of a batch plus penalty, (network state, (Σ w ℓ, Σ w)))."""
    x, target, weight = recipe.augmentation(
        jax.random.fold_in(key, 1), inputs(X[rows.index]), y[rows.index], rows.weight
    )
    score, network, activities = forward(recipe, params, network, x, key, train=True)
    score = jnp.broadcast_to(score, weight.shape[:-1] + score.shape)
    loss = recipe.loss.total(score, target, weight=of_examples(recipe.loss, score, weight))
    penalty = recipe.penalty.value(params)
    if recipe.penalty.on_activities:
        penalty += recipe.penalty.of_activities(activities, rows.weight)
    return ratio(*loss) + penalty, (network, loss)


def batch_loss(
    recipe: Recipe, params: Tree, network: Tree, X: Array, y: Array, rows: Rows, key: Array
) -> tuple[Array, Array]:
    """(Σ w ℓ, Σ w) of some rows, as they are judged."""
    score, _, _ = forward(recipe, params, network, inputs(X[rows.index]), key, train=False)
    weight = of_examples(recipe.loss, score, rows.weight)
    loss: tuple[Array, Array] = recipe.loss.total(score, y[rows.index], weight=weight)
    return loss


def forward(
    recipe: Recipe, params: Tree, network: Tree, x: Array, key: Array, *, train: bool
) -> tuple[Array, Tree, Tree]:
    """(scores as the loss takes them, network state, activities)."""
    if recipe.precision != "float32":
        params, x = cast((params, x), recipe.precision)
    seen = recipe.network.observed(params, network, x, key=key, train=train)
    if recipe.precision != "float32":
        seen = cast(seen, "float32")
    score, network, activities = seen
    return (score if recipe.loss.score_axes else score[..., 0]), network, activities


def ratio(total: Array, weight: Array) -> Array:
    """total / weight, and the total where nothing has a weight."""
    return total / jnp.where(weight > 0, weight, 1.0)
