"""Trees of arrays inside the program of a run."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from minimand.arrays import Array


def all_finite(tree: Any) -> Array:
    """Whether every number of a tree is finite."""
    numbers = (p for p in jax.tree.leaves(tree) if jnp.issubdtype(p.dtype, jnp.inexact))
    return reduce(jnp.logical_and, (jnp.all(jnp.isfinite(p)) for p in numbers), jnp.bool(True))


def copied(tree: Any) -> Any:
    """The same leaves on the host, in memory of their own."""
    return jax.tree.map(
        lambda leaf: jnp.copy(leaf) if is_key(leaf) else np.array(leaf, copy=True), tree
    )


def is_key(leaf: Array) -> bool:
    """Whether a leaf is a key of random numbers."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def cast(tree: Any, dtype: str) -> Any:
    """Floating leaves in another precision."""
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )


def chosen(condition: Array, yes: Any, no: Any) -> Any:
    """`yes` or `no`, leaf by leaf; the primitive, since tracing `where` costs a first run more."""
    return jax.tree.map(
        lambda a, b: jax.lax.select(jnp.broadcast_to(condition, a.shape), a, b), yes, no
    )
