"""A small Transformer that reads symbols and says which come next."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from minimand import randomness
from minimand.arrays import Array
from minimand.component import Card, Count, DecayRate, Range, component
from minimand.constraints import ACTIVITY
from minimand.errors import ArgumentError
from minimand.networks.base import Dropping, Tree
from minimand.networks.layers import dropped, initial

WAVELENGTH = 10_000.0


class _Block(nnx.Module):
    """Attention to the symbols so far, then a perceptron for each; both beside a shortcut."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.heads = heads
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.mixture = nnx.Linear(width, width, use_bias=False, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.wide = nnx.Linear(width, 4 * width, kernel_init=initial("gelu"), rngs=rngs)
        self.narrow = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: Array, key: Array, dropout: Array | None) -> tuple[Array, Array]:
        """(x after both, what the perceptron's hidden units put out)."""
        first, second = jax.random.split(key)
        n, length, width = x.shape
        mixed = self.attention(self.attention_norm(x)).reshape(n, length, 3 * self.heads, -1)
        query, key, value = jnp.split(mixed, 3, axis=2)
        seen = attended(turned(query), turned(key), value)
        x = x + dropped(self.mixture(seen.reshape(n, length, width)), first, dropout)
        hidden = jax.nn.gelu(self.wide(self.norm(x)))
        return x + dropped(self.narrow(hidden), second, dropout), hidden


class _Stack(nnx.Module):
    def __init__(self, symbols: int, width: int, depth: int, heads: int, rngs: nnx.Rngs):
        self.embedding = nnx.Embed(symbols, width, rngs=rngs)
        self.blocks = nnx.Dict({f"layer{i}": _Block(width, heads, rngs) for i in range(depth)})
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.output = nnx.Linear(width, symbols, rngs=rngs)


@component
class Transformer(Dropping):
    """A decoder: scores of the next symbol at every place of a sequence, from those so far.

    Inputs are symbols 0 ... `outputs` - 1, whole numbers [n, T]; scores are [n, T, outputs], those
    at a place being for the symbol after it: the targets of `CrossEntropy` are the inputs one place
    on. Each of `depth` blocks has causal attention of `heads` heads and a perceptron of 4 `size`
    units, normalised before (Xiong et al. 2020); places are told by rotation (Su et al. 2021), so a
    network may read sequences longer or shorter than those it was trained on. While training,
    `dropout` acts on what each block adds.

    Raises:
        ArgumentError: `size` is no multiple of twice `heads`.

    >>> Transformer(outputs=65, size=32, heads=4).depth
    2
    """

    outputs: Count = 2
    size: Count = 64
    depth: Count = 2
    heads: Count = 4
    dropout: DecayRate = 0.0
    tokens: ClassVar[bool] = True
    card = Card(
        formula="x ← x + attention(norm x);  x ← x + W₂ gelu(W₁ norm x) for each block;  z = W x",
        source="Vaswani et al. (2017), Attention is all you need, section 3",
        use="sequences of symbols: text by character or byte",
        search=MappingProxyType({"dropout": Range(0.05, 0.5)}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % (2 * self.heads):
            raise ArgumentError(
                f"Transformer: size is {self.size} and heads {self.heads}; size must be a "
                f"multiple of 2 · heads"
            )

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The embedding, the blocks and the output layer."""
        return _Stack(self.outputs, self.size, self.depth, self.heads, rngs)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores [n, T, outputs], activities of the blocks)."""
        x, activities = module.embedding.embedding[x], {}
        for i, (name, block) in enumerate(module.blocks.items()):
            x, hidden = block(x, jax.random.fold_in(key, i), self.rate(train))
            activities[name] = {ACTIVITY: hidden}
        return module.output(module.norm(x)), {"blocks": activities}


def attended(query: Array, key: Array, value: Array) -> Array:
    """At every place the mean of the values so far, weighed by how their keys suit its query.

    softmax(q kᵀ / √d) v over [n, T, heads, d]; in the precision of its inputs, with weights of at
    least 32 bits. (`jax.nn.dot_product_attention` rounds the weights of float64 to float32.)

    >>> x = jnp.arange(4.0).reshape(1, 4, 1, 1)
    >>> attended(jnp.zeros_like(x), x, x).ravel().tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    exact = jnp.promote_types(query.dtype, jnp.float32)
    suits = jnp.einsum("nthd,nshd->nhts", query, key, preferred_element_type=exact)
    suits = jnp.where(
        jnp.tri(len(suits[0, 0]), dtype=bool), suits / query.shape[-1] ** 0.5, -jnp.inf
    )
    weights = jax.nn.softmax(suits).astype(value.dtype)
    return jnp.einsum("nhts,nshd->nthd", weights, value)


def turned(x: Array) -> Array:
    """[n, T, heads, d], each pair of its last axis turned by an angle that grows with the place.

    Entry j and j + d/2 of place t turn by t / 10000^(2j/d); inner products of two places then
    depend on their distance alone.

    >>> a, b = jnp.ones((2, 1, 9, 1, 4))
    >>> dot = jnp.einsum("nthd,nshd->ts", turned(a), turned(b))
    >>> bool(jnp.allclose(dot[2, 1], dot[8, 7], atol=1e-5))
    True
    """
    half = x.shape[-1] // 2
    slow = WAVELENGTH ** (-jnp.arange(half) / half)
    angle = (jnp.arange(x.shape[1])[:, None] * slow)[None, :, None]
    cosine, sine = (wave(angle).astype(x.dtype) for wave in (jnp.cos, jnp.sin))
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)


def continued(
    scores: Any,
    prompt: Array,
    length: int,
    *,
    context: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """`prompt` and `length` more symbols, each drawn as the scores of those before it say.

    Args:
        scores: [1, T] symbols to scores [1, T, K], such as `Trained.function()`.
        prompt: [T] symbols, at least one.
        length: how many symbols to add.
        context: how many of the last symbols are read.
        temperature: scores are divided by it; near 0 the likeliest symbol is taken.
        seed: decides the draws.

    >>> after = lambda x: 50.0 * jax.nn.one_hot((x + 1) % 5, 5)
    >>> continued(after, np.array([3]), 4, context=2).tolist()
    [3, 4, 0, 1, 2]
    """
    if not (len(prompt) and context > 0 and temperature > 0):
        raise ArgumentError(
            f"prompt has {len(prompt)} symbols, context is {context} and temperature "
            f"{temperature}; all must be above 0"
        )
    symbols, key = np.asarray(prompt, dtype=np.int32), randomness.key(seed)
    symbols = np.append(symbols, np.zeros(length, np.int32))
    for place in range(len(prompt), len(symbols)):
        first = max(0, place - context)
        window = symbols[first : first + context]
        window = np.append(window, np.zeros(context - len(window), np.int32))
        said = scores(window[None])[0, place - first - 1]
        symbols[place] = jax.random.categorical(jax.random.fold_in(key, place), said / temperature)
    return symbols
