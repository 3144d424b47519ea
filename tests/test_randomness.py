"""The generator against what randomness must look like, and against SciPy's distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from minimand.arrays import hashed
from minimand.randomness import key

Array = Any
MANY = 20_000
KEYS = jax.random.split(key(1), 100)
ONE, TWO = np.uint32(0x12345678), np.uint32(0x9ABCDEF0)

WORDS: dict[str, Callable[[Array], Array]] = {
    "a place": lambda x: hashed(x, ONE, TWO),
    "the first number": lambda x: hashed(np.full_like(x, 7), x, TWO),
    "the second number": lambda x: hashed(np.full_like(x, 7), ONE, x),
    "a seed": lambda x: jax.vmap(lambda s: jax.random.key_data(key(s)))(x),
    "a number folded in": lambda x: jax.vmap(
        lambda n: jax.random.key_data(jax.random.fold_in(key(0), n))
    )(x),
}


@pytest.mark.parametrize("said", WORDS)
def test_every_bit_of_what_goes_in_turns_half_of_the_bits_that_come_out(said: str) -> None:
    """The strict avalanche criterion (Webster and Tavares 1986), to five standard deviations."""
    given = np.random.default_rng(0).integers(2**32, size=MANY, dtype=np.uint32)
    places, words = np.arange(32, dtype=np.uint32), WORDS[said]
    before = np.asarray(words(given))
    for bit in places:
        turned = np.asarray(words(given ^ (np.uint32(1) << bit))) ^ before
        share = (turned.reshape(MANY, -1, 1) >> places & 1).mean(axis=0)
        np.testing.assert_allclose(share, 0.5, atol=5 * 0.5 / MANY**0.5)


def test_keys_differ_by_seed_number_and_half() -> None:
    seeds = [jax.random.key_data(key(seed)).tolist() for seed in (0, 1, 2**31, 2**32 - 1)]
    numbers = jax.vmap(lambda n: jax.random.key_data(jax.random.fold_in(key(0), n)))(
        np.array([0, 1, 2**31, 2**32 - 1], dtype=np.uint32)
    )
    halves = jax.random.key_data(jax.random.split(key(0), (2, 2))).reshape(-1, 2)
    assert len({tuple(words) for words in [*seeds, *numbers.tolist(), *halves.tolist()]}) == 12


def test_large_seeds_differ_under_64_bits() -> None:
    with jax.enable_x64(True):
        data = [jax.random.key_data(key(seed)).tolist() for seed in (5, 5 + 2**32)]
    assert data[0] != data[1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bits_of_any_width_are_uniform(dtype: str) -> None:
    """Pearson's test of bytes and of neighbours' halves: its p is uniform over a hundred keys."""
    with jax.enable_x64(True):
        drawn = np.asarray(jax.vmap(lambda own: jax.random.bits(own, (MANY,), dtype))(KEYS))
    for shift in {0, 8 * drawn.itemsize - 8}:
        byte = (drawn >> shift & 255).astype(int)
        pairs = byte[:, ::2] // 16 * 16 + byte[:, 1::2] // 16
        for values in (byte, pairs):
            counts = [np.bincount(row, minlength=256) for row in values]
            assert stats.kstest(stats.chisquare(counts, axis=1).pvalue, "uniform").pvalue > 1e-3


def test_draws_are_those_of_the_distributions_and_independent() -> None:
    uniform = np.asarray(jax.random.uniform(key(2), (50, MANY)))
    assert stats.kstest(uniform.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(np.asarray(jax.random.normal(key(3), (MANY,))), "norm").pvalue > 1e-3
    together = np.corrcoef(uniform) - np.eye(50)
    assert np.abs(together).max() < 5 / MANY**0.5
    for lag in (1, 2, 32, 128):
        assert abs(np.corrcoef(uniform[0, lag:], uniform[0, :-lag])[0, 1]) < 4 / MANY**0.5


def test_draws_of_neighbouring_keys_are_independent() -> None:
    steps = jax.vmap(lambda n: jax.random.uniform(jax.random.fold_in(key(4), n), (20,)))
    drawn = np.asarray(steps(jnp.arange(MANY)))
    assert np.abs(np.corrcoef(drawn.T) - np.eye(20)).max() < 5 / MANY**0.5
    assert np.abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 4 / MANY**0.5


def test_a_mapped_key_draws_what_it_draws_alone() -> None:
    keys = jax.random.split(key(5), 3)
    together = jax.vmap(lambda own: jax.random.normal(own, (4,)))(keys)
    alone = [jax.random.normal(own, (4,)) for own in keys]
    np.testing.assert_array_equal(together, np.stack(alone))
