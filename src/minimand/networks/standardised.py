"""Networks that standardise their inputs by themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from minimand.arrays import Array
from minimand.component import Card, Positive, Real, component
from minimand.errors import ArgumentError, ShapeError
from minimand.networks.base import Network, Tree
from minimand.networks.heads import MultiHead
from minimand.networks.mlp import MLP


@component
class Standardised(Network):
    """A network whose inputs are first brought to mean 0 and spread 1.

    `mean` and `spread` are numbers, or arrays with an entry for each channel, of inputs as networks
    get them: bytes count as fractions of 255. So images can stay bytes in memory, and what is
    trained takes them as they come.

    Raises:
        ArgumentError: the network reads symbols.

    >>> import jax
    >>> import numpy as np
    >>> network, x = Standardised(MLP(hidden=(4,)), mean=0.5, spread=0.25), np.ones((2, 3))
    >>> params, state = network.init(jax.random.key(0), x)
    >>> one, _ = network.apply(params, state, x, key=jax.random.key(0), train=False)
    >>> two, _ = network.network.apply(params, state, 2 * x, key=jax.random.key(0), train=False)
    >>> bool(np.all(one == two))
    True
    """

    network: Network = MLP()
    mean: Real = 0.0
    spread: Positive = 1.0
    card = Card(
        formula="f((x - mean) / spread)",
        source="LeCun, Bottou, Orr and Müller (1998), Efficient backprop, section 4.3",
        use="images, whose bytes are standardised as a batch is read",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network.tokens:
            raise ArgumentError(
                f"Standardised: {self.network} reads symbols, which have no mean and no spread; "
                f"use it as it is"
            )

    @property
    def outputs(self) -> int | None:  # type: ignore[override]
        """That of the network."""
        return self.network.outputs

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Those of the network."""
        return self.network.init(key, example)

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, outputs], new state)."""
        return self.network.apply(params, state, self._scaled(x), key=key, train=train)

    def observed(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree, Tree]:
        """(scores, new state, activities)."""
        return self.network.observed(params, state, self._scaled(x), key=key, train=train)

    def width(self, example: Array) -> int:
        """That of the network."""
        return self.network.width(example)

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """As the network starts."""
        return self.network.starting_at(params, constant)

    def module(self, params: Tree, state: Tree) -> Any:
        """The network's module, which takes standardised inputs."""
        return self.network.module(params, state)

    def _scaled(self, x: Array) -> Array:
        x = jnp.asarray(x)
        mean, spread = (jnp.asarray(v, x.dtype) for v in (self.mean, self.spread))
        return (x - mean) / spread


def with_outputs(network: Network, outputs: int) -> Network:
    """The network, or the one inside it, with so many outputs, if it lets them be set.

    Raises:
        ShapeError: a `MultiHead` network whose heads give another number of scores.

    >>> with_outputs(Standardised(MLP(hidden=(8,))), 3).outputs
    3
    """
    changed: Any = network
    if isinstance(network, MultiHead):
        if network.outputs != outputs:
            raise ShapeError(
                f"the heads of a MultiHead network give {network.outputs} scores, and {outputs} "
                f"are needed; change the outputs of its heads"
            )
        return network
    if "outputs" in network._hints:
        return dataclasses.replace(changed, outputs=outputs)  # type: ignore[no-any-return]
    for name in network._hints:
        if isinstance(inner := getattr(network, name), Network):
            changed = dataclasses.replace(changed, **{name: with_outputs(inner, outputs)})
    return changed  # type: ignore[no-any-return]
