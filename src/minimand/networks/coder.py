"""Networks that learn a code of their inputs, and what they owe to those that go on with it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from minimand import randomness
from minimand.arrays import Array
from minimand.constraints import ACTIVITY
from minimand.losses import Reconstruction
from minimand.networks.base import LayeredNetwork, Network, Tree, output_bias

if TYPE_CHECKING:
    from minimand.losses.base import PointwiseLoss


class Coder(Network):
    """A network with a code for its inputs."""

    def encode(self, params: Tree, state: Tree, x: Array) -> Array:
        """The codes [n, k] of inputs [n, ...]."""
        raise NotImplementedError

    def decode(self, params: Tree, state: Tree, code: Array, shape: tuple[int, ...]) -> Array:
        """The scores [n, d] of codes [n, k]; `shape` is that of one input."""
        raise NotImplementedError

    def encoder(self, params: Tree) -> list[Tree]:
        """The fully connected layers up to the code, each {"kernel": [p, k], "bias": [k]}."""
        raise NotImplementedError

    def target(self, rows: Array) -> Array:
        """What a run on these rows [n, p] has for its target: without labels, the rows."""
        return rows

    def start(self, rows: Array) -> Tree:
        """The parameters that a run on these rows [n, p] should begin with, others being fresh."""
        return {}


class Autoencoding(Coder, LayeredNetwork):
    """A network that rebuilds its input, of a module with `encode` and `decode`."""

    code: int
    outputs = None

    def reconstruction(self, loss: PointwiseLoss) -> Reconstruction:
        """The loss of rebuilt inputs, where `loss` judges one feature."""
        return Reconstruction(loss)

    def width(self, example: Array) -> int:
        """As many scores as inputs."""
        return math.prod(example.shape[1:])

    def starting_at(self, params: Tree, constant: Array) -> Tree:
        """`params` with the best constant of each feature as the bias of the output layer."""
        size = params["output"]["bias"].shape
        return output_bias(params, jnp.broadcast_to(constant[: size[0]], size))

    def run(self, module: Any, x: Array, *, key: Array, train: bool) -> tuple[Array, Tree]:
        """(the rebuilt inputs [n, d], activities of the encoder and of the code)."""
        code, activities = module.encode(x)
        return module.decode(code), activities

    @jax.jit
    def encode(self, params: Tree, state: Tree, x: Array) -> Array:
        """The codes [n, k] of inputs [n, ...]."""
        seen = self.observed(params, state, x, key=randomness.key(0), train=False)[2]
        return seen["code"][ACTIVITY]

    @partial(jax.jit, static_argnames="shape")
    def decode(self, params: Tree, state: Tree, code: Array, shape: tuple[int, ...]) -> Array:
        """The rebuilt inputs [n, d] of codes [n, k]; `shape` is that of one input."""
        return self.holding(params, state, shape).decode(code)
