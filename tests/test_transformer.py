"""The Transformer against PyTorch's, causal, indifferent to where it stands, and able to learn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minimand import randomness
from minimand.errors import ArgumentError
from minimand.losses import CrossEntropy
from minimand.networks import Transformer, continued
from minimand.networks.transformer import turned
from minimand.optimizers import Adam
from minimand.training import Recipe, train

KEY = randomness.key(0)
SMALL = Transformer(outputs=7, size=16, depth=2, heads=2)
SYMBOLS = np.random.default_rng(0).integers(0, 7, size=(3, 9)).astype(np.int32)


def rotated(x: torch.Tensor) -> torch.Tensor:
    """[n, heads, T, d] as complex numbers, turned (Su et al. 2021, eq. 14)."""
    d = x.shape[-1]
    angle = torch.outer(torch.arange(x.shape[-2]), 10_000.0 ** (-torch.arange(0, d, 2) / d))
    turn = torch.polar(torch.ones_like(angle), angle)
    z = torch.complex(x[..., : d // 2].contiguous(), x[..., d // 2 :].contiguous()) * turn
    return torch.cat([z.real, z.imag], dim=-1)


def test_it_is_the_network_of_the_paper_by_pytorch() -> None:
    params, state = SMALL.init(KEY, SYMBOLS)
    scores, _ = SMALL.apply(params, state, SYMBOLS, key=KEY, train=False)
    own = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), params)

    def norm(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (16,), p["scale"], p["bias"], eps=1e-6)

    x = own["embedding"]["embedding"][torch.tensor(SYMBOLS).long()]
    for p in own["blocks"].values():
        mixed = norm(p["attention_norm"], x) @ p["attention"]["kernel"]
        q, k, v = (part.reshape(3, 9, 2, 8).transpose(1, 2) for part in mixed.split(16, dim=-1))
        seen = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        x = x + seen.transpose(1, 2).reshape(3, 9, 16) @ p["mixture"]["kernel"]
        hidden = norm(p["norm"], x) @ p["wide"]["kernel"] + p["wide"]["bias"]
        x = x + F.gelu(hidden, approximate="tanh") @ p["narrow"]["kernel"] + p["narrow"]["bias"]
    expected = norm(own["norm"], x) @ own["output"]["kernel"] + own["output"]["bias"]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_no_place_sees_what_comes_after_it() -> None:
    params, state = SMALL.init(KEY, SYMBOLS)
    later = SYMBOLS.copy()
    later[:, 5:] = (later[:, 5:] + 1) % 7
    one, other = (SMALL.apply(params, state, x, key=KEY, train=False)[0] for x in (SYMBOLS, later))
    np.testing.assert_allclose(one[:, :5], other[:, :5], rtol=1e-5, atol=1e-6)
    assert not np.allclose(one[:, 5:], other[:, 5:])


def test_turning_keeps_lengths() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 8)).astype(np.float32)
    np.testing.assert_allclose(
        np.linalg.norm(turned(jnp.asarray(x)), axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5
    )


def test_it_learns_a_rule_of_two_symbols_back_and_goes_on_by_it() -> None:
    """x[t] = x[t-1] + x[t-2] mod 5: what follows is certain once two symbols are known."""
    rng = np.random.default_rng(0)
    lines = list(rng.integers(0, 5, size=(2, 800)))
    for _ in range(15):
        lines.append((lines[-1] + lines[-2]) % 5)
    text = np.stack(lines, axis=1)
    network = Transformer(outputs=5, size=32, depth=2, heads=2)
    recipe = Recipe(network, CrossEntropy(), Adam(learning_rate=0.005), batch_size=32, epochs=25)
    fitted = train(recipe, text[:, :-1], text[:, 1:])
    said = np.argmax(fitted.scores(text[:, :-1]), axis=-1)
    assert np.mean(said[:, 1:] == text[:, 2:]) > 0.97
    follows = continued(fitted.function(), np.array([1, 2]), 6, context=16, temperature=0.1)
    assert follows.tolist() == [1, 2, 3, 0, 3, 3, 1, 4]


def test_size_must_fit_the_heads() -> None:
    with pytest.raises(ArgumentError, match="multiple of 2 · heads"):
        Transformer(outputs=5, size=12, heads=4)
