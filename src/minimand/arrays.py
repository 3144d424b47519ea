"""Array-API helpers: which library an array belongs to, and functions stable in the tails."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
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
    if xp is np:  # where() is far slower here, and there is no autodiff to keep exact at 0
        return np.maximum(z, 0)
    return xp.where(z > 0, z, xp.zeros_like(z))


def _minus_abs(z: Array, positive: Array) -> Array:
    """-|z|; under autodiff its slope at 0 is that of the side that `positive` counts 0 to."""
    xp = namespace(z)
    return -np.abs(z) if xp is np else xp.where(positive, -z, z)


def clamp(z: Array, bound: Array) -> Array:
    """z kept within [-bound, bound]; under torch.compile another bound is no other program."""
    xp = namespace(z, bound)
    if xp is np:
        return np.asarray(z).clip(-bound, bound)
    return xp.where(xp.abs(z) <= bound, z, bound * xp.sign(z))


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)) without overflow, with full relative precision as z → -∞."""
    xp = namespace(z)
    return xp.exp(-positive_part(-z)) / (1 + xp.exp(_minus_abs(z, z >= 0)))


def norm(x: Array) -> Array:
    """√(Σ x²) over the last axis without overflow, with slope 0 at a vector of zeros.

    >>> norm(np.array([3e200, 4e200]))
    array(5.e+200)
    """
    xp = namespace(x)
    top = xp.max(xp.where(x < 0, -x, x), axis=-1, keepdims=True)
    zero = top == 0
    squares = (x / xp.where(zero, xp.ones_like(top), top)) ** 2
    total = xp.where(zero, xp.ones_like(top), xp.sum(squares, axis=-1, keepdims=True))
    length = xp.where(zero, xp.zeros_like(top), top * xp.sqrt(total))
    return xp.squeeze(length, axis=-1)


def unit(x: Array) -> Array:
    """x / √(Σ x²) over the last axis; a vector of zeros stays zero, with slope 0."""
    xp = namespace(x)
    length = norm(x)[..., None]
    zero = length == 0
    return xp.where(zero, xp.zeros_like(x), x / xp.where(zero, xp.ones_like(length), length))


def cumulative_sum(x: Array) -> Array:
    """The running sums over the last axis."""
    xp = namespace(x)
    if xp.__name__ == "array_api_compat.torch":
        return x.cumsum(-1)  # the compatible spelling makes torch.compile warn
    if xp is np:
        return np.cumsum(x, axis=-1)  # the other spelling takes five times as long for few numbers
    return xp.cumulative_sum(x, axis=-1)


def log1pexp(z: Array) -> Array:
    """log(1 + exp(z)) without overflow."""
    xp = namespace(z)
    return positive_part(z) + xp.log1p(xp.exp(_minus_abs(z, z > 0)))


def log1pexp_both(z: Array) -> tuple[Array, Array]:
    """(log(1 + exp(z)), log(1 + exp(-z))), which share their logarithm."""
    xp = namespace(z)
    right = z > 0
    shared = xp.log1p(xp.exp(_minus_abs(z, right)))
    left = positive_part(-z) if xp is np else xp.where(right, xp.zeros_like(z), -z)
    return positive_part(z) + shared, left + shared


def logsumexp(z: Array) -> Array:
    """log Σ exp(z) over the last axis, without overflow."""
    xp = namespace(z)
    top = xp.max(z, axis=-1, keepdims=True)
    return xp.squeeze(top, axis=-1) + xp.log(xp.sum(xp.exp(z - top), axis=-1))


def pick(values: Array, index: Array) -> Array:
    """values[..., t, index[..., s]] as [..., T, S], of values [..., T, K] and indices [..., S].

    JAX multiplies by an indicator: the gradient of a gather is a scatter, three times as slow.
    """
    xp = namespace(values)
    if xp.__name__ == "jax.numpy":
        chosen = xp.astype(
            index[..., None, :] == arange(values.shape[-1], index)[:, None], values.dtype
        )
        return xp.matmul(
            xp.maximum(values, xp.finfo(values.dtype).min), chosen, precision="highest"
        )
    shape = (*values.shape[:-1], index.shape[-1])
    return xp.take_along_axis(values, xp.broadcast_to(index[..., None, :], shape), axis=-1)


def log_add(*terms: Array) -> Array:
    """log Σ exp of arrays of one shape, entry by entry, without overflow."""
    xp = namespace(*terms)
    top = stop_gradient(reduce(xp.maximum, terms))
    return top + xp.log(sum(xp.exp(term - top) for term in terms))


def softmax(z: Array) -> Array:
    """exp(z) / Σ exp(z) over the last axis, without overflow."""
    xp = namespace(z)
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def log_softmax(z: Array) -> Array:
    """log softmax(z) over the last axis, with full relative precision where it is nearly 0.

    >>> f"{log_softmax(np.array([40.0, 0.0]))[0]:.6g}"
    '-4.24835e-18'
    """
    below, _, others = from_top(z)
    return below - namespace(z).log1p(others)


def softmax_and_rest(z: Array) -> tuple[Array, Array]:
    """(p, 1 - p) of p = softmax(z) over the last axis, both with full relative precision.

    >>> softmax_and_rest(np.array([800.0, 0.0]))[1].tolist()[1]
    1.0
    """
    _, e, others = from_top(z)
    return e / (1 + others), (others + (1 - e)) / (1 + others)


def from_top(z: Array) -> tuple[Array, Array, Array]:
    """(z - max z, e = its exp, Σ e - 1); the sum leaves out one maximum, so nothing is rounded."""
    xp = namespace(z)
    below = z - stop_gradient(xp.max(z, axis=-1, keepdims=True))
    e = xp.exp(below)
    top = xp.astype(below == 0, e.dtype)
    ties = xp.sum(top, axis=-1, keepdims=True) - 1
    return below, e, xp.sum(e - top, axis=-1, keepdims=True) + ties


def over_expm1(x: Array) -> Array:
    """x / (exp(x) - 1) of x >= 0, and 1 at 0.

    >>> over_expm1(np.array([0.0, 1e-20, 800.0])).tolist()[:2]
    [1.0, 1.0]
    """
    xp = namespace(x)
    tiny = x < 1e-30
    safe = xp.where(tiny, xp.ones_like(x), x)
    less = xp.exp(-safe)  # exp(x) would overflow
    return xp.where(tiny, xp.ones_like(x), safe * less / -xp.expm1(-safe))


def times(x: Array, y: Array) -> Array:
    """x y, and 0 where x = 0 whatever y is (infinite, for one)."""
    xp = namespace(x, y)
    zero = x == 0
    return xp.where(zero, xp.zeros_like(y), x * xp.where(zero, xp.ones_like(y), y))


def hashed(x: Array, first: Array, second: Array) -> Array:
    """Numbers of 32 bits, mixed with two others: random bits for little.

    The multipliers are of Appleby (2011), MurmurHash3, and Wellons (2018), lowbias32. On a CPU, JAX
    can take longer to draw bits than a step of training.

    >>> f"{hashed(np.arange(3, dtype=np.uint32), np.uint32(1), np.uint32(2))[1]:08x}"
    '8dec1d68'
    """
    bits = x * np.uint32(0x9E3779B1) + first
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B) ^ second
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> shift)) * np.uint32(factor)
    return bits ^ (bits >> 16)


def as_like(x: Array, like: Array) -> Array:
    """A number or NumPy array in the library, dtype and device of `like`; other arrays stay."""
    if namespace(x) is not np:
        return x
    xp = namespace(like)
    placed = {} if xp.__name__ == "jax.numpy" else {"device": like.device}
    return xp.asarray(x, dtype=like.dtype, **placed)


def xlogy(x: Array, y: Array) -> Array:
    """x log y, and 0 where x = 0 whatever y is."""
    xp = namespace(x, y)
    zero = x == 0
    return xp.where(zero, xp.zeros_like(x), x * xp.log(xp.where(zero, xp.ones_like(y), y)))


def square_zeros(z: Array) -> Array:
    """Zeros of shape [..., K, K] for z [..., K]: the curvature of what is piecewise linear."""
    return namespace(z).zeros_like(z[..., :, None] + z[..., None, :])


def special(name: str, *arguments: Array) -> Array:
    """The function of `scipy.special` called `name`, of the library of the last argument.

    JAX and PyTorch have most of them under the same name, differentiable; a library that has none
    goes through NumPy.

    >>> float(special("gammaln", np.array(5.0)).round(4))
    3.1781
    """
    xp = namespace(*arguments)
    match xp.__name__:
        case "jax.numpy":
            import jax.scipy.special

            return getattr(jax.scipy.special, name)(*arguments)
        case "array_api_compat.torch":
            import torch

            return getattr(torch.special, name)(*arguments)
        case "array_api_compat.cupy":
            from importlib import import_module

            return getattr(import_module("cupyx.scipy.special"), name)(*arguments)
    import scipy.special

    plain = (a if isinstance(a, int) else np.asarray(a) for a in arguments)
    return xp.asarray(getattr(scipy.special, name)(*plain))


def stop_gradient(array: Array) -> Array:
    """The same numbers, which automatic differentiation takes for constants."""
    match namespace(array).__name__:
        case "jax.numpy":
            import jax

            return jax.lax.stop_gradient(array)
        case "array_api_compat.torch":
            return array.detach()
    return array


def arange(size: int, like: Array) -> Array:
    """0, 1, ..., size - 1 on the device of `like`.

    >>> arange(3, like=np.zeros(1)).tolist()
    [0, 1, 2]
    """
    xp = namespace(like)
    placed = {} if xp.__name__ == "jax.numpy" else {"device": like.device}  # JAX follows its use
    return xp.arange(size, **placed)


def asarray(array: np.ndarray[Any, Any], like: Array) -> Array:
    """A NumPy array as one of the library of `like`, on its device."""
    xp = namespace(like)
    placed = {} if xp.__name__ == "jax.numpy" else {"device": like.device}
    return xp.asarray(array, **placed)


def repeat(step: Callable[[Array], Array], state: Array, times: int) -> Array:
    """step(step(... state)), `times` times; JAX compiles the step once.

    >>> float(repeat(lambda x: 2 * x, np.float64(1.0), times=10))
    1024.0
    """
    if namespace(state).__name__ == "jax.numpy":
        import jax

        return jax.lax.fori_loop(0, times, lambda _, one: step(one), state)
    for _ in range(times):
        state = step(state)
    return state


def scan(step: Callable[..., Any], state: Any, *sequences: Array) -> Any:
    """state = step(state, entries ...) for the entries of the sequences' first axis, in turn.

    The state is an array or a tuple of arrays; JAX compiles the step once.

    >>> float(scan(lambda total, x, y: total + x * y, np.zeros(()), np.arange(4), np.arange(4)))
    14.0
    """
    if namespace(*sequences).__name__ == "jax.numpy":
        import jax

        return jax.lax.scan(lambda held, now: (step(held, *now), None), state, sequences)[0]
    for t in range(sequences[0].shape[0]):
        state = step(state, *(entries[t, ...] for entries in sequences))
    return state
