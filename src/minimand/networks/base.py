"""What a network is: pure `init` and `apply` over plain nested dictionaries of arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
from flax import nnx

from minimand.arrays import Array
from minimand.component import Component

Tree = dict[str, Any]
"""Nested dictionaries of arrays, keyed by layer and parameter name."""


class Network(Component):
    """A differentiable map from inputs to `outputs` scores."""

    kind = "network"
    outputs: int

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Fresh (params, state) for inputs shaped like `example` [batch, ...]."""
        raise NotImplementedError

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, outputs], new state)."""
        raise NotImplementedError


class LayeredNetwork(Network):
    """A network of Flax NNX layers, split once into structure, parameters and state."""

    def layers(self, features: int, rngs: nnx.Rngs) -> nnx.Module:
        """The NNX module for inputs of `features` columns."""
        raise NotImplementedError

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Fresh (params, state) for inputs shaped like `example` [batch, ...]."""
        module = self.layers(example.shape[-1], nnx.Rngs(key))
        params, state = nnx.state(module, nnx.Param, nnx.Not(nnx.Param))
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, outputs], new state)."""
        module = nnx.merge(_structure(self, x.shape[-1]), params, state)
        score = module(x)
        return score, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))


@lru_cache
def _structure(network: LayeredNetwork, features: int) -> Any:
    """What is left of the module without its arrays."""
    return nnx.graphdef(nnx.eval_shape(lambda: network.layers(features, nnx.Rngs(0))))


def output_bias(params: Tree, value: Array) -> Tree:
    """`params` with the bias of the last layer set, so that training starts from the baseline."""
    return params | {"output": params["output"] | {"bias": value}}


def count(params: Tree) -> int:
    """How many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
