"""Array-API helpers: which library an array belongs to, and functions stable in the tails."""

from __future__ import annotations

from typing import Any

import numpy as np

from minimand.errors import ArgumentTypeError

Array = Any
"""An array of NumPy, JAX, PyTorch, CuPy or any library that follows the Python array API."""


def namespace(*arrays: Array) -> Any:
    """The array-API namespace that the arrays share; plain numbers belong to every one.

    >>> namespace(np.ones(3), 2.0).__name__
    'numpy'
    """
    for array in arrays:
        if not isinstance(array, (int, float, np.ndarray, np.generic)):
            return _foreign_namespace(array)
    return np


def _foreign_namespace(array: Array) -> Any:
    for cls in type(array).__mro__:
        match cls.__module__.partition(".")[0]:
            case "jax" | "jaxlib":
                import jax.numpy

                return jax.numpy
            case "torch":
                import array_api_compat.torch

                return array_api_compat.torch
            case "cupy":
                import array_api_compat.cupy

                return array_api_compat.cupy
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    raise ArgumentTypeError(
        f"expected arrays (NumPy, JAX, PyTorch, CuPy ...), got {type(array).__name__}; "
        f"wrap lists in numpy.asarray"
    )


def is_half(array: Array) -> bool:
    """Whether the array is float16 or bfloat16."""
    return str(array.dtype).rpartition(".")[2] in ("float16", "bfloat16")


def is_float(array: Array) -> bool:
    """Whether the array holds floating-point numbers of any precision."""
    return "float" in str(array.dtype)


def to_float(array: Array, like: Array) -> Array:
    """`array` in the floating dtype of `like` (targets often come as integers or booleans)."""
    if array.dtype == like.dtype or not is_float(like):
        return array
    return namespace(like).astype(array, like.dtype)


def positive_part(z: Array) -> Array:
    """max(z, 0), with slope 0 at 0."""
    xp = namespace(z)
    return xp.where(z > 0, z, xp.zeros_like(z))


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)) without overflow, with full relative precision as z → -∞."""
    xp = namespace(z)
    e = xp.exp(xp.where(z >= 0, -z, z))  # -abs(z) would have the wrong slope at 0 under autodiff
    return xp.where(z >= 0, xp.ones_like(z), e) / (1 + e)


def log1pexp(z: Array) -> Array:
    """log(1 + exp(z)) without overflow."""
    xp = namespace(z)
    return positive_part(z) + xp.log1p(xp.exp(xp.where(z > 0, -z, z)))


def logsumexp(z: Array) -> Array:
    """log Σ exp(z) over the last axis, without overflow."""
    xp = namespace(z)
    top = xp.max(z, axis=-1, keepdims=True)
    return xp.squeeze(top, axis=-1) + xp.log(xp.sum(xp.exp(z - top), axis=-1))


def softmax(z: Array) -> Array:
    """exp(z) / Σ exp(z) over the last axis, without overflow."""
    xp = namespace(z)
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def xlogy(x: Array, y: Array) -> Array:
    """x log y, and 0 where x = 0 whatever y is."""
    xp = namespace(x, y)
    zero = x == 0
    return xp.where(zero, xp.zeros_like(x), x * xp.log(xp.where(zero, xp.ones_like(y), y)))
