"""Rows as indices, in random order, cut into batches; and the examples that they stand for."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from minimand.arrays import Array
from minimand.losses import Loss


class Rows(NamedTuple):
    """Rows of the shared data as indices; rows of weight 0 are padding."""

    index: Array
    weight: Array


def shuffled(rows: Rows, batch_size: int, key: Array, count: Array | None = None) -> Rows:
    """The rows in random order, cut into batches; the last one is filled up with rows of weight 0.

    With a `count` only the first `count` rows are shuffled, and the others stay behind them.
    """
    n = rows.index.shape[0]
    bits = jax.random.bits(key, (n,))
    if count is not None:
        bits = jnp.where(jnp.arange(n) < count, bits, ~jnp.zeros_like(bits))
    size = min(batch_size, n)
    order = jnp.argsort(bits)
    index = rows.index[jnp.concatenate([order, order[: -n % size]])]
    return Rows(index.reshape(-1, size), cut(rows.weight[order], size))


def cut(values: Array, size: int) -> Array:
    """[n] as [parts, size], filled up with 0."""
    return jnp.pad(values, (0, -values.shape[0] % size)).reshape(-1, size)


def inputs(x: Array) -> Array:
    """Inputs as networks take them: bytes become fractions of 255."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def of_examples(loss: Loss, score: Array, weight: Array) -> Array:
    """The weights of rows as those of all their examples: an image has one for every pixel."""
    examples = score.shape[: score.ndim - loss.score_axes]
    ones = (1,) * (len(examples) - weight.ndim)
    return jnp.broadcast_to(weight.reshape(*weight.shape, *ones), examples)
