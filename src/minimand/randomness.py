"""Keys for JAX's random numbers, of a generator that is compiled in a moment.

Every draw is a hash of its place and of the two words of its key. JAX's own generator takes twenty
rounds for a number, and half of the time that a small network waits for its first result goes into
compiling them. Keys of either kind serve wherever one is asked for.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from minimand.arrays import Array, hashed

WORDS = np.array([0x243F6A88, 0x85A308D3], "uint32")
"""The first digits of π, to tell the two words of a key apart."""


def key(seed: Array) -> Array:
    """The key that a seed stands for.

    >>> jax.random.randint(key(0), (3,), 0, 10).tolist()
    [3, 9, 9]
    """
    return jax.random.key(seed, impl=HASHED)


def _seeded(seed: Array) -> Array:
    high = seed >> 32 if seed.dtype.itemsize == 8 else 0
    return _pair(seed.astype("uint32"), jnp.uint32(high), jnp.uint32(0))


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    places = jax.lax.iota("uint32", math.prod(shape)).reshape(shape)
    return _pair(places, key[1], key[0])


def _folded(key: Array, number: Array) -> Array:
    return _pair(number.astype("uint32"), key[1], ~key[0])


def _bits(key: Array, width: int, shape: tuple[int, ...]) -> Array:
    if width == 64:
        high, low = _bits(key, 32, (2, *shape)).astype("uint64")
        return high << 32 | low
    bits = hashed(jax.lax.iota("uint32", math.prod(shape)).reshape(shape), *key)
    return (bits >> np.uint32(32 - width)).astype(f"uint{width}")


def _pair(x: Array, first: Array, second: Array) -> Array:
    """Two words for each x, by hashes that have nothing in common."""
    return hashed(x[..., None], first, second ^ WORDS)


HASHED = define_prng_impl(
    key_shape=(2,),
    seed=_seeded,
    split=_split,
    random_bits=_bits,
    fold_in=_folded,
    name="minimand_hash",
    tag="hash",
)
