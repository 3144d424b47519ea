"""Networks of networks: embeddings of categorical columns, and several heads on one trunk."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from minimand.arrays import Array
from minimand.component import Card, Count, component
from minimand.constraints import ACTIVITY
from minimand.errors import ArgumentError, ShapeError
from minimand.networks.base import LayeredNetwork, Tree
from minimand.networks.layers import ACTIVATIONS, Activation
from minimand.networks.mlp import MLP, Linear

COLUMN = "column"


@component
class Embedded(LayeredNetwork):
    """Categorical columns as learnt vectors, beside the numeric columns, into a network `body`.

    `levels` has an entry for every column: 0 for a numeric one, else how many categories it has.
    Such a column holds codes 0, 1, ...; every other number, or one beyond the last code, is taken
    for a category that was never seen, whose vector stays 0. A column of k categories gets
    min(50, ⌈(k + 1) / 2⌉) numbers unless `size` says otherwise.

    Raises:
        ArgumentError: no column is categorical.
        ShapeError: `levels` does not have one entry for every column.

    >>> Embedded(levels=(0, 12), body=MLP(hidden=(32,), outputs=3)).outputs
    3
    """

    levels: tuple[int, ...] = (2,)
    body: LayeredNetwork = MLP()
    size: Count | None = None
    card = Card(
        formula="z = body([numeric columns, E₁[code₁], E₂[code₂], ...])",
        source="Guo and Berkhahn (2016), Entity embeddings of categorical variables",
        use="tables whose columns have many categories",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(level > 0 for level in self.levels) or min(self.levels) < 0:
            raise ArgumentError(
                f"Embedded: levels is {self.levels}; it needs the number of categories of each "
                f"column, 0 for a numeric one, and one above 0"
            )

    @property
    def outputs(self) -> int | None:  # type: ignore[override]
        """Those of the body."""
        return self.body.outputs

    @property
    def codes(self) -> tuple[int, ...]:  # type: ignore[override]
        """The categorical columns."""
        return tuple(i for i, level in enumerate(self.levels) if level)

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """One table of vectors for each categorical column, and the body."""
        if shape != (len(self.levels),):
            raise ShapeError(
                f"Embedded: an example has shape {shape}; levels names {len(self.levels)} columns"
            )
        return _Tables(self, rngs)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities of the body)."""
        numeric = x[:, np.flatnonzero(np.equal(self.levels, 0))]
        vectors = [
            _vector(table, x[:, int(name[len(COLUMN) :])])
            for name, table in module.embeddings.items()
        ]
        wide = jnp.concatenate([numeric, *vectors], axis=-1)
        found: tuple[Array, Tree] = self.body.run(module.body, wide, key=key, train=train)
        return found

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """`params` with the constant scores in the output layer of the body."""
        return params | {"body": self.body.starting_at(params["body"], constant)}


class _Tables(nnx.Module):
    """The embeddings of an `Embedded` network and its body."""

    def __init__(self, network: Embedded, rngs: nnx.Rngs):
        sizes = {i: network.size or min(50, k // 2 + 1) for i, k in enumerate(network.levels) if k}
        self.embeddings = nnx.Dict(
            {f"{COLUMN}{i}": nnx.Embed(network.levels[i], n, rngs=rngs) for i, n in sizes.items()}
        )
        width = network.levels.count(0) + sum(sizes.values())
        self.body = network.body.layers((width,), rngs)


def _vector(table: nnx.Embed, code: Array) -> Array:
    """[n, size]: the vectors of codes; 0 for what is none."""
    known = (code >= 0) & (code < table.num_embeddings) & (code == jnp.floor(code))
    index = jnp.where(known, code, 0).astype(jnp.int32)
    return jnp.where(known[:, None], table(index), 0)


@component
class MultiHead(LayeredNetwork):
    """Several networks, the `heads`, on the activated outputs of one, the `trunk`.

    The scores of the heads stand side by side, as `MultiTask` takes them. If `uncertain`, one more
    score for each head follows, the same for all examples: the logarithm of its task's noise
    variance, for `UncertainTasks`.

    >>> MultiHead(trunk=MLP(outputs=32), heads=(Linear(outputs=10), Linear(outputs=1))).outputs
    11
    """

    trunk: LayeredNetwork = MLP(outputs=64)
    heads: tuple[LayeredNetwork, ...] = (Linear(), Linear())
    activation: Activation = "relu"
    uncertain: bool = False
    card = Card(
        formula="h = a(trunk(x));  z = [head₁(h), head₂(h), ...]",
        source="Caruana (1997), Multitask learning",
        use="several targets that depend on the same features",
    )

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """Those of all heads."""
        return sum(head.outputs or 0 for head in self.heads) + self.uncertain * len(self.heads)

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The trunk and the heads."""
        return _Heads(self, shape, rngs)

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities)."""
        first, *keys = jax.random.split(key, 1 + len(self.heads))
        h, activities = self.trunk.run(module.trunk, x, key=first, train=train)
        h, scores, activities = ACTIVATIONS[self.activation](h), [], {"trunk": activities}
        activities["trunk"] = activities["trunk"] | {ACTIVITY: h}
        for head, key, (name, own) in zip(self.heads, keys, module.heads.items(), strict=True):
            score, activities[name] = head.run(own, h, key=key, train=train)
            scores.append(score)
        if self.uncertain:
            scores.append(jnp.broadcast_to(module.log_variance[...], (len(x), len(self.heads))))
        return jnp.concatenate(scores, axis=-1), activities

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """`params` with the constant scores in the output layers of the heads."""
        ends = np.cumsum([head.outputs for head in self.heads])
        parts = jnp.split(jnp.asarray(constant), ends)
        heads = params["heads"]
        started = {
            name: head.starting_at(heads[name], part)
            for head, name, part in zip(self.heads, heads, parts, strict=False)
        }
        return params | {"heads": started}


class _Heads(nnx.Module):
    """The trunk and the heads of a `MultiHead` network, and the noise of its tasks."""

    def __init__(self, network: MultiHead, shape: tuple[int, ...], rngs: nnx.Rngs):
        self.trunk = network.trunk.layers(shape, rngs)
        self.heads = nnx.Dict(
            {
                f"head{i}": head.layers((network.trunk.outputs or 1,), rngs)
                for i, head in enumerate(network.heads)
            }
        )
        if network.uncertain:
            self.log_variance = nnx.Param(jnp.zeros(len(network.heads)))
