"""What networks are put together from: activations, first weights, norms, dropout."""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from minimand.arrays import Array

Activation = Literal[
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "tanh",
    "sigmoid",
    "soft_sign",
    "hard_tanh",
    "hard_sigmoid",
    "hard_swish",
    "selu",
    "identity",
]
Norm = Literal[None, "batch", "layer", "group"]

ACTIVATIONS: dict[str, Any] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "tanh": jax.numpy.tanh,
    "sigmoid": jax.nn.sigmoid,
    "soft_sign": jax.nn.soft_sign,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish": jax.nn.hard_swish,
    "selu": jax.nn.selu,
    "identity": jax.nn.identity,
}
KEEPING = ("tanh", "sigmoid", "soft_sign", "hard_tanh", "hard_sigmoid", "selu", "identity")
"""Activations that keep the variance, up to a factor; the others pass about half of it on."""
GROUPS = 8


def initial(activation: str, share: float = 1.0) -> Any:
    """How the kernel before an activation begins: normal, cut at two standard deviations.

    Its variance is `share` times 2 / inputs where the activation lets half of the variance pass (He
    et al. 2015, Delving deep into rectifiers, eq. 10), else times 1 / inputs (LeCun et al. 1998,
    Efficient backprop, section 4.6).
    """
    gain = 1.0 if activation in KEEPING else 2.0
    return jax.nn.initializers.variance_scaling(share * gain, "fan_in", "truncated_normal")


def normed(norm: str, width: int, rngs: nnx.Rngs) -> nnx.Module:
    """The layer of a norm, with PyTorch's ε and momentum."""
    same: dict[str, Any] = {"epsilon": 1e-5, "use_fast_variance": False, "rngs": rngs}
    if norm == "batch":
        return nnx.BatchNorm(width, momentum=0.9, **same)
    if norm == "layer":
        return nnx.LayerNorm(width, **same)
    return nnx.GroupNorm(width, math.gcd(width, GROUPS), **same)


def normalised(norm: Any, x: Array, train: bool) -> Array:
    """x by its norm: of the batch while training, of the run when not."""
    if isinstance(norm, nnx.BatchNorm):
        return norm(x, use_running_average=not train)
    return norm(x)


def dropped(x: Array, key: Array, rate: Array | None) -> Array:
    """x with a share set to 0 and the rest divided by the share that is kept; x itself for None."""
    if rate is None:
        return x
    kept = jax.random.bits(key, x.shape, "uint32") >> 8 >= rate * 2**24
    return jax.numpy.where(kept, x / jax.numpy.asarray(1 - rate, x.dtype), 0)


def flat(x: Array) -> Array:
    """Examples of any shape as rows, [n, p]."""
    return x.reshape(len(x), -1)


def rows(X: Array) -> Array:
    """Inputs of any shape as rows of numbers [n, p]; bytes are fractions of 255."""
    X = np.asarray(X)
    return flat(X.astype(np.float32) / 255 if X.dtype == np.uint8 else X)
