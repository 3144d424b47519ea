"""Solving with positive semi-definite matrices, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotrs
from threadpoolctl import ThreadpoolController

from minimand.arrays import Array

Solve = Callable[[Array], Array]

LIBRARIES = ThreadpoolController().select(user_api="blas").lib_controllers
"""Those of NumPy and SciPy: both are loaded by now."""

HIGHEST = 1e100
"""A matrix that is not definite with so much added to its diagonal holds numbers without sense."""


@contextmanager
def one_thread() -> Iterator[None]:
    """A context of one thread; threads that fight over busy cores cost more than they bring."""
    before = [library.num_threads for library in LIBRARIES]
    for library in LIBRARIES:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in zip(LIBRARIES, before, strict=True):
            library.set_num_threads(threads)


def factorise(matrix: Array, lift: float) -> Solve:
    """b ↦ matrix⁻¹ b for a positive semi-definite matrix, its diagonal scaled to 1 + `lift`.

    Raises:
        scipy.linalg.LinAlgError: the matrix so lifted is not positive definite.
    """
    solve = once(matrix, lift)

    def refined(b: Array) -> Array:
        x = solve(b)
        return x + solve(b - matrix @ x)

    return refined


def once(matrix: Array, lift: float) -> Solve:
    """The same, without a second look at what is left of b."""
    even, inverse = scaled(matrix)
    np.einsum("ii->i", even)[...] += lift
    factor, failed = dpotrf(even.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise LinAlgError(f"the matrix is not positive definite with {lift} on its diagonal")

    def solve(b: Array) -> Array:
        x: Array = inverse * dpotrs(factor, inverse * b, lower=1, overwrite_b=1)[0]
        return x

    return solve


def scaled(matrix: Array) -> tuple[Array, Array]:
    """(D matrix D with ones on its diagonal, the diagonal D)."""
    diagonal = matrix.diagonal()
    inverse = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    even = matrix * inverse
    even *= inverse[:, None]
    return even, inverse


def smallest_pivot(matrix: Array) -> float:
    """That of a symmetric matrix, its diagonal scaled to 1; 0 if it is not positive definite."""
    factor, failed = dpotrf(scaled(matrix)[0].T, lower=1, clean=0, overwrite_a=1)
    return 0.0 if failed else float(np.square(factor.diagonal()).min(initial=1.0))


def lifted(matrix: Array, lift: float, by: Callable[[Array, float], Solve] = factorise) -> Solve:
    """b ↦ matrix⁻¹ b, with as small a lift of the diagonal as makes the matrix definite."""
    while True:
        try:
            return by(matrix, lift)
        except LinAlgError:
            lift *= 100
            if lift > HIGHEST:
                raise
