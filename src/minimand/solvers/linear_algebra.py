"""Solving with positive semi-definite matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from minimand.arrays import Array


def factorise(matrix: Array, lift: float) -> Callable[[Array], Array]:
    """b ↦ matrix⁻¹ b for a positive semi-definite matrix, its diagonal scaled to 1 + `lift`.

    Raises:
        scipy.linalg.LinAlgError: the matrix so lifted is not positive definite.
    """
    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = matrix / np.outer(scale, scale)
    np.einsum("ii->i", scaled)[...] += lift
    factor = scipy.linalg.cho_factor(scaled)

    def solve(b: Array) -> Array:
        return scipy.linalg.cho_solve(factor, b / scale) / scale

    def refined(b: Array) -> Array:
        x = solve(b)
        return x + solve(b - matrix @ x)

    return refined


def lifted(matrix: Array, lift: float) -> Callable[[Array], Array]:
    """b ↦ matrix⁻¹ b, with as small a lift of the diagonal as makes the matrix definite."""
    while True:
        try:
            return factorise(matrix, lift)
        except scipy.linalg.LinAlgError:
            lift *= 100
