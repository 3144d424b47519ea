"""Greedy layer-wise training: each layer learns from the codes of the one below it.

`pretrain` gives the stack of what was trained. `beginning` and `unrolled` are the parameters that a
deeper network starts from, as `train(..., start=...)` takes them: a perceptron on top of the code,
or the whole stack as one autoencoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError, ArgumentTypeError
from minimand.networks import Coder
from minimand.networks.base import Tree
from minimand.networks.layers import rows
from minimand.training.batches import inputs
from minimand.training.loop import train
from minimand.training.recipe import Recipe
from minimand.training.result import Trained
from minimand.training.scoring import in_blocks


def pretrain(
    recipes: Sequence[Recipe], X: Array, *, validation: float = 0.0, seed: int = 0, **options: Any
) -> list[Trained]:
    """Train one layer after another, each on the codes of the one before; labels play no part.

    Args:
        recipes: of networks with a code, such as `Autoencoder` or `RBM`, the lowest first.
        X: [n, ...] inputs; bytes are read as fractions of 255.
        validation: the share of rows for early stopping, as in `train`.
        seed: decides all that is random.
        options: further arguments of `train`.

    Raises:
        ArgumentTypeError: a network without a code.

    Source: Hinton, Osindero and Teh (2006), A fast learning algorithm for deep belief nets, section
    4; Bengio et al. (2007), Greedy layer-wise training of deep networks.

    >>> from minimand.losses import Reconstruction
    >>> from minimand.networks import Autoencoder
    >>> X = np.random.default_rng(0).random((64, 6))
    >>> stack = pretrain([Recipe(Autoencoder(code=4), Reconstruction(), epochs=2)], X)
    >>> codes(stack, X).shape, beginning(stack)["hidden"]["layer0"]["kernel"].shape
    ((64, 4), (6, 4))
    """
    below, stack = rows(X), []
    for recipe, network in zip(recipes, map(_coder, recipes), strict=True):
        given = options | {"validation": validation, "seed": seed, "start": network.start(below)}
        stack.append(train(recipe, below, network.target(below), **given))
        below = codes(stack[-1:], below)
    return stack


def codes(stack: Sequence[Trained], X: Array) -> np.ndarray:
    """The codes [n, k] that the layers of a stack, one after another, make of inputs [n, ...]."""
    for fitted in stack:
        encode = partial(_encode, fitted.recipe.network, fitted.params, fitted.network_state)
        X = in_blocks(encode, X)
    return np.asarray(X)


def layers(stack: Sequence[Trained]) -> list[Tree]:
    """The fully connected layers up to the code of a stack, {"kernel", "bias"} each."""
    return [one for fitted in stack for one in _coder(fitted.recipe).encoder(fitted.params)]


def beginning(stack: Sequence[Trained]) -> Tree:
    """The hidden layers of an `MLP` whose units are those of the stack; its output starts fresh."""
    return {"hidden": _numbered(layers(stack))}


def unrolled(stack: Sequence[Trained]) -> Tree:
    """The parameters of one `Autoencoder`, tied or not as all in the stack, as deep as the stack.

    Raises:
        ArgumentError: the stack holds something else than autoencoders of one layer each.
    """
    if any(fitted.params.keys() != {"code", "output"} for fitted in stack):
        raise ArgumentError("only a stack of autoencoders without hidden layers can be unrolled")
    *hidden, code = (fitted.params["code"] for fitted in stack)
    output, *back = (fitted.params["output"] for fitted in stack)
    inner = {"encoder": _numbered(hidden), "decoder": _numbered(back[::-1])} if hidden else {}
    return inner | {"code": code, "output": output}


def _numbered(layers: Sequence[Tree]) -> Tree:
    return {f"layer{i}": layer for i, layer in enumerate(layers)}


def _coder(recipe: Recipe) -> Coder:
    if not isinstance(recipe.network, Coder):
        raise ArgumentTypeError(
            f"{recipe.network} has no code for the next layer to learn from; use one that has, "
            f"such as Autoencoder"
        )
    return recipe.network


@jax.jit
def _encode(network: Coder, params: Tree, state: Tree, X: Array) -> Array:
    return network.encode(params, state, inputs(X))
