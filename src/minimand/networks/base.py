"""What a network is: pure `init` and `apply` over plain nested dictionaries of arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from minimand.arrays import Array
from minimand.component import Component

Tree = dict[str, Any]
"""Nested dictionaries of arrays, keyed by layer and parameter name."""


class Network(Component):
    """A differentiable map from inputs to scores."""

    kind = "network"

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
        _, params, state = nnx.split(module, nnx.Param, ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, outputs], new state)."""
        structure, param_slots, state_slots = _split(self, x.shape[-1])
        nnx.replace_by_pure_dict(param_slots, params)
        nnx.replace_by_pure_dict(state_slots, state)
        module = nnx.merge(structure, param_slots, state_slots)
        score = module(x)
        return score, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))


@lru_cache
def _split(network: LayeredNetwork, features: int) -> tuple[Any, Any, Any]:
    shape = nnx.eval_shape(lambda: network.layers(features, nnx.Rngs(0)))
    return nnx.split(shape, nnx.Param, ...)


def output_bias(params: Tree, value: Array) -> Tree:
    """`params` with the bias of the last layer set, so that training starts from the baseline."""
    bias = params["output"]["bias"]
    filled = jnp.broadcast_to(jnp.asarray(value, bias.dtype), bias.shape)
    return params | {"output": params["output"] | {"bias": filled}}


def count(params: Tree) -> int:
    """How many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
