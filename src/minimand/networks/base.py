"""What a network is: pure `init` and `apply` over plain nested dictionaries of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import jax
import numpy as np
from flax import nnx

from minimand.arrays import Array
from minimand.component import Component
from minimand.errors import ArgumentError, ShapeError, unknown

Tree = dict[str, Any]
"""Nested dictionaries of arrays, keyed by layer and parameter name."""


class Network(Component):
    """A differentiable map from inputs to `outputs` scores: None if only inputs can tell."""

    kind = "network"
    outputs: int | None
    tokens: ClassVar[bool] = False
    """Whether the inputs are whole numbers that stand for symbols."""
    precise: ClassVar[bool] = True
    """Whether it computes in the precision of what it is given."""
    codes: tuple[int, ...] = ()
    """The columns that hold codes of categories, which nobody should standardise."""

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Fresh (params, state) for inputs shaped like `example` [batch, ...]."""
        raise NotImplementedError

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, outputs], new state); `key` decides what is random while training."""
        raise NotImplementedError

    def observed(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree, Tree]:
        """(scores, new state, activities): what hidden layers put out, as "activity" [batch, ...].

        The activities are nested by layer, like the parameters; a network may report none.
        """
        return *self.apply(params, state, x, key=key, train=train), {}

    def width(self, example: Array) -> int:
        """How many scores it gives for each row of inputs shaped like `example` [batch, ...]."""
        assert self.outputs is not None
        return self.outputs

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """`params` such that training starts from the best constant scores, if that can be had."""
        return params

    def module(self, params: Tree, state: Tree) -> Any:
        """The model that was adapted, with these parameters and this state.

        Raises:
            ArgumentError: the network is none of another library.
        """
        raise ArgumentError(
            f"{self} was not made from a module of another library; use function() instead"
        )


class LayeredNetwork(Network):
    """A network of Flax NNX layers, split once into structure, parameters and state."""

    def layers(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
        """The NNX module for examples of a shape: (columns,), or (height, width, channels)."""
        raise NotImplementedError

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(scores, activities) of the module that `layers` made."""
        return module(x), {}

    def init(self, key: Array, example: Array) -> tuple[Tree, Tree]:
        """Fresh (params, state) for inputs shaped like `example` [batch, ...]."""
        module = self.layers(example.shape[1:], nnx.Rngs(key))
        params, state = nnx.state(module, nnx.Param, nnx.Not(nnx.Param))
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def apply(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree]:
        """(scores [batch, outputs], new state)."""
        return self.observed(params, state, x, key=key, train=train)[:2]

    def observed(
        self, params: Tree, state: Tree, x: Array, *, key: Array, train: bool
    ) -> tuple[Array, Tree, Tree]:
        """(scores, new state, activities)."""
        module = self.holding(params, state, x.shape[1:])
        score, activities = self.run(module, x, key=key, train=train)
        return score, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param))), activities

    def holding(self, params: Tree, state: Tree, shape: tuple[int, ...]) -> Any:
        """The module that `layers` makes for examples of a shape, holding these arrays."""
        return nnx.merge(_structure(jax.tree.structure(self), shape), params, state)

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """`params` with the best constant scores as the bias of the output layer."""
        return output_bias(params, constant)


class Dropping(LayeredNetwork):
    """A network with dropout: whether there is any is structure, how much is a number."""

    dropout: float
    drops: ClassVar[bool] = False
    _derived = ("drops",)

    def __post_init__(self) -> None:
        super().__post_init__()
        off = isinstance(self.dropout, float) and self.dropout == 0
        object.__setattr__(self, "drops", not off)

    def rate(self, train: bool) -> Array | None:
        """The share to drop, or None where nothing is."""
        return self.dropout if train and self.drops else None


@lru_cache
def _structure(network: Any, shape: tuple[int, ...]) -> Any:
    """What is left of the module without its arrays, for a network without its numbers."""
    one = jax.tree.unflatten(network, [0.0] * network.num_leaves)
    return nnx.graphdef(nnx.eval_shape(lambda: one.layers(shape, nnx.Rngs(0))))


def output_bias(params: Tree, value: Array) -> Tree:
    """`params` with the bias of the last layer set, so that training starts from the baseline."""
    return params | {"output": params["output"] | {"bias": value}}


def merged(fresh: Tree, given: Mapping[str, Any], where: str = "") -> Tree:
    """`fresh` parameters, replaced by those `given` of the same names.

    Raises:
        UnknownNameError: a name that `fresh` does not have.
        ShapeError: an array of another shape.

    >>> merged({"a": {"bias": np.zeros(1)}, "b": np.zeros(2)}, {"a": {"bias": np.ones(1)}})
    {'a': {'bias': array([1.])}, 'b': array([0., 0.])}
    """
    for name, child in given.items():
        if name not in fresh:
            raise unknown("layer or parameter", f"{where}{name}", map(f"{where}{{}}".format, fresh))
        if isinstance(child, Mapping):
            fresh = fresh | {name: merged(fresh[name], child, f"{where}{name}.")}
        elif np.shape(child) != np.shape(fresh[name]):
            raise ShapeError(
                f"{where}{name} has shape {np.shape(child)}; this network needs "
                f"{np.shape(fresh[name])}"
            )
        else:
            fresh = fresh | {name: child}
    return fresh


def count(params: Tree) -> int:
    """How many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def named_leaves(tree: Any) -> dict[tuple[str, ...], Array]:
    """The arrays of a tree by the names on the way to them; of a bare array it is "value".

    >>> named_leaves({"layers": [{"bias": 1}, {"bias": 2}]})
    {('layers', '0', 'bias'): 1, ('layers', '1', 'bias'): 2}
    """
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {tuple(map(_name, path)) or ("value",): leaf for path, leaf in found}


def nested(leaves: Mapping[tuple[str, ...], Any]) -> Tree:
    """Nested dictionaries of the arrays that `named_leaves` took out.

    >>> nested({("output", "kernel"): 1, ("output", "bias"): 2})
    {'output': {'kernel': 1, 'bias': 2}}
    """
    tree: Tree = {}
    for path, leaf in leaves.items():
        inner = tree
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = leaf
    return tree


def _name(part: Any) -> str:
    """What a step on the way to a leaf is called, or its number."""
    return str(next(getattr(part, a) for a in ("key", "name", "idx") if hasattr(part, a)))
