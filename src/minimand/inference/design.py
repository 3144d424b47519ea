"""The rows of a fit, rotated so that inverting an information matrix loses no digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from minimand.arrays import Array
from minimand.errors import DataError

DEPENDENT = 1e-11
"""The smallest singular value, for columns of length 1, that counts as more than rounding."""


class Design:
    """Z = [1, X], or X alone, and a matrix `back` [p, r]: coefficients are `back` times γ.

    The columns of Z `back` are orthonormal. If columns depend on one another, r is less than p and
    `dependent` [p] says which. With `whole` there is no rotation and nothing is left out, which
    suits a penalised fit.

    A dense Z is kept rotated; a sparse one stays as it is, and its products are rotated.
    """

    def __init__(self, X: Array, intercept: bool, whole: bool = False):
        sparse = scipy.sparse.issparse(X)
        ones = np.ones((X.shape[0], int(intercept)))
        Z: Any = scipy.sparse.csr_array(scipy.sparse.hstack([ones, X])) if sparse else None
        Z = np.hstack([ones, np.asarray(X, dtype=float)]) if Z is None else Z.astype(float)
        length = np.sqrt((Z * Z).sum(axis=0))
        length = np.where(length > 0, length, 1.0)
        self.dependent = np.zeros(Z.shape[1], dtype=bool)
        self.back = np.diag(1 / length)
        if not whole:
            coarse = np.sqrt(DEPENDENT * 1e-3) if sparse else DEPENDENT
            single = getattr(X, "dtype", None) == np.float32
            directions, sizes = _directions(Z, length)
            kept = sizes > max(coarse, 1e-6 * single) * sizes.max()
            self.dependent = np.linalg.norm(directions[:, ~kept], axis=1) > 1e-6
            self.back = directions[:, kept] / sizes[kept] / length[:, None]
        self.Z = Z if sparse else Z @ self.back
        self._turn = self.back if sparse else None

    def gram(self, weight: Array) -> Array:
        """Σ weightᵢ bᵢ bᵢᵀ over the rotated rows bᵢ, [r, r]."""
        if self._turn is None:
            return np.asarray(self.Z.T @ (weight[:, None] * self.Z))
        scaled = scipy.sparse.diags_array(weight) @ self.Z
        return np.asarray(self._turn.T @ (self.Z.T @ scaled).toarray() @ self._turn)

    def information(self, bends: Array) -> Array:
        """Σ bendsᵢ ⊗ bᵢ bᵢᵀ of bends [n], or [n, m, m]: one block for each pair of outputs."""
        if bends.ndim == 1:
            return self.gram(bends)
        m = bends.shape[1]
        lower = {(a, b): self.gram(bends[:, a, b]) for a in range(m) for b in range(a + 1)}
        return np.block([[lower[max(a, b), min(a, b)] for b in range(m)] for a in range(m)])

    def pull(self, slopes: Array) -> Array:
        """Σ slopesᵢ bᵢ of slopes [n] or [n, m], one output after another: [m r]."""
        sums = self.Z.T @ slopes
        sums = sums if self._turn is None else self._turn.T @ sums
        return np.asarray(sums.T.ravel())

    def push(self, gamma: Array) -> Array:
        """The change of every score, [n, m], that γ [m r] makes."""
        change = gamma.reshape(-1, self.back.shape[1]).T
        return np.asarray(self.Z @ (change if self._turn is None else self._turn @ change))

    def leverage(self, inverse: Array) -> Array:
        """bᵢᵀ inverse bᵢ for every row, [n]."""
        rows = self.Z if self._turn is None else self.Z @ self._turn
        return np.asarray(np.einsum("nr,rs,ns->n", rows, inverse, rows, optimize=True))

    def spans_constant(self) -> bool:
        """Whether some combination of columns is 1 in every row."""
        n = self.Z.shape[0]
        return bool(np.sum(self.pull(np.ones(n)) ** 2) > n * (1 - 1e-9))


def inverse(matrix: Array) -> Array:
    """The inverse of a positive definite matrix; huge, not garbage, where it is not quite that."""
    if not np.all(np.isfinite(matrix)):
        raise DataError(
            "the curvature of the loss is not finite at these parameters, so they cannot be near "
            "its minimum; minimise again"
        )
    scale = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    values, vectors = scipy.linalg.eigh(matrix / np.outer(scale, scale))
    floor = len(values) * np.finfo(float).eps * max(values[-1], np.finfo(float).tiny)
    half = vectors / np.sqrt(np.maximum(values, floor)) / scale[:, None]
    return np.asarray(half @ half.T)


def _directions(Z: Any, length: Array) -> tuple[Array, Array]:
    """Orthonormal directions [p, p] of the columns of Z scaled to length 1, and their sizes."""
    if scipy.sparse.issparse(Z):
        scaled = Z @ scipy.sparse.diags_array(1 / length)
        squares, directions = scipy.linalg.eigh((scaled.T @ scaled).toarray())
        return directions, np.sqrt(np.maximum(squares, 0.0))
    _, sizes, rows = np.linalg.svd(np.linalg.qr(Z / length, mode="r"))
    return rows.T, np.append(sizes, np.zeros(len(rows) - len(sizes)))
