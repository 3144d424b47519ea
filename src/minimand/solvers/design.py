"""The rows of numbers that a solver reads: dense or sparse, in blocks, never copied whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Self

import numpy as np
from scipy.linalg.blas import dger

from minimand.arrays import Array
from minimand.errors import DataError, ShapeError

Visit = Callable[[slice, Array], Array]
"""(rows, scores of those rows [m, K]) ↦ slopes [m, K]."""

BLOCK, LITTLE = 1 << 17, 1 << 16
"""Numbers in a block: few enough to stay in the cache between a product and its transpose; numbers
of which a copy costs less than the calls that it saves."""
PIECE = 1 << 18
"""Numbers that are gathered or multiplied by their bends at a time."""
WIDE = 1 << 22
"""Numbers of some columns whose inner products are taken at a time."""
SCATTERED = 0.7
"""The share of the rows up to which they are gathered rather than all rows read in turn."""
SHIFTS = 1e-14


class Design:
    """X [n, p] seen as Z = [X - 1 centreᵀ, 1]: columns near 0, and one for the intercept.

    The centre is taken off in the products, not in X; it serves conditioning alone, so it need not
    be exact. Without an intercept it is 0 and so is the last column. Columns without a slope are
    skipped when they are all but one of a `few`.

    A point θ is [p + 1, K]: the rows of W, then b. `size` [p + 1] is the root mean square of every
    column of Z; a `constant` column counts as 0. `readings` counts how often X was read.
    """

    few = 8
    centre: Array
    size: Array
    constant: Array

    def __init__(self, X: Any, intercept: bool):
        self.X, self.intercept = X, intercept
        self.rows, self.columns = X.shape
        self.origin = np.zeros(self.columns)
        self.readings = 0

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """(rows, X[rows]) one after another, in double precision."""
        raise NotImplementedError

    def slabs(self) -> Iterator[tuple[slice, Any]]:
        """The same with enough rows for products of all columns with each other."""
        return self.blocks()

    def pieces(self) -> Iterator[tuple[slice, slice, Any]]:
        """(rows, columns, X[rows, columns]) one after another, as they lie in memory."""
        raise NotImplementedError

    def dense(self, rows: Any) -> Array:
        """Those rows of Z, dense: [m, p + 1]."""
        chosen = _dense(self.X[rows])
        Z = np.empty((len(chosen), self.columns + 1))
        np.subtract(chosen, self.centre, out=Z[:, :-1])
        Z[:, -1] = self.intercept
        Z[:, np.flatnonzero(self.constant)] *= 0.0  # but NaN stays
        return Z

    def take(self, rows: Array) -> Self:
        """Those rows, about the same centre."""
        part = copy(self)
        part.X = self.X[rows]
        part.rows = part.X.shape[0]
        return part

    def pick(self, columns: Array) -> Self:
        """Those columns, in order, about the same centre."""
        if len(columns) == self.columns:
            return self
        part = copy(self)
        part.X = self.X[:, columns]
        part._narrow(columns)
        return part

    def some(self, columns: Array) -> Design:
        """The same for a few products, without a copy of much data."""
        return self.pick(columns)

    def square(self, block: Any, bends: Array, dtype: Any) -> Array:
        """blockᵀ diag(bends) block, dense."""
        low, high = bends.min(), bends.max()
        if low == high:
            block = block.astype(dtype, copy=False)
            return low * _dense(block.T @ block)
        scaled = self.scaled(block, np.sqrt(np.abs(bends))[:, None], dtype)
        if low < 0 < high:
            return _dense(self.scaled(scaled, np.sign(bends)[:, None], dtype).T @ scaled)
        square = _dense(scaled.T @ scaled)
        return square if high > 0 else -square

    def scaled(self, block: Any, by: Array, dtype: Any) -> Any:
        """The rows of a block times numbers [m, 1]."""
        raise NotImplementedError

    def reach(self) -> Array:
        """The largest size of an entry in each column of X - 1 centreᵀ."""
        ends = [np.ravel(_dense(end)) for end in (self.X.min(axis=0), self.X.max(axis=0))]
        reach: Array = np.abs(ends - self.centre).max(axis=0)
        return reach

    def check_finite(self) -> None:
        """Raise `DataError`, naming row and column, if a number is NaN or infinite."""
        raise NotImplementedError

    def push(self, theta: Array) -> Array:
        """The scores Z θ, [n, K]."""
        scores, used = np.empty((self.rows, theta.shape[1])), self._used(theta)
        for rows, block in self.blocks():
            scores[rows] = _product(block, theta[:-1], used)
        return scores + self._base(theta)

    def pull(self, slopes: Array) -> Array:
        """Zᵀ slopes, [p + 1, K]."""
        sums = np.zeros((self.columns, slopes.shape[1]))
        for rows, block in self.blocks():
            sums += block.T @ slopes[rows]
        return self._pulled(sums, slopes.sum(axis=0))

    def sweep(self, theta: Array, visit: Visit) -> Array:
        """Zᵀ visit(rows, Z[rows] θ) over all rows, [p + 1, K]: X is read once."""
        base, used = self._base(theta), self._used(theta)
        sums, totals = np.zeros((self.columns, theta.shape[1])), np.zeros(theta.shape[1])
        for rows, block in self.blocks():
            slopes = visit(rows, _product(block, theta[:-1], used) + base)
            sums += block.T @ slopes
            totals += slopes.sum(axis=0)
        return self._pulled(sums, totals)

    def gram(self, bends: Array, dtype: Any = np.float64) -> Array:
        """Zᵀ diag(bends) Z, [p + 1, p + 1], of bends [n]; products in `dtype`."""
        return self.moments(bends, bends[:, None], dtype)[0]

    def moments(self, bends: Array, slopes: Array, dtype: Any = np.float64) -> tuple[Array, Array]:
        """(Zᵀ diag(bends) Z, Zᵀ slopes): X is read once."""
        gram = np.zeros((self.columns + 1, self.columns + 1))
        sums = np.zeros((self.columns, slopes.shape[1]))
        for rows, block in self.slabs():
            gram[:-1, :-1] += self.square(block, bends[rows], dtype)
            gram[-1, :-1] += block.T @ bends[rows]
            sums += block.T @ slopes[rows]
        gram[-1, -1] = bends.sum()
        gram[:-1, -1] = gram[-1, :-1]
        return self.centred(gram), self._pulled(sums, slopes.sum(axis=0))

    def gathered(self, bends: Array) -> Array:
        """The same of bends that are 0 in many rows: those are left out, if they are most."""
        rows = np.flatnonzero(bends)
        if len(rows) > SCATTERED * self.rows:
            return self.gram(bends)
        size = self.columns + 1
        gram, some = np.zeros((size, size)), max(64, PIECE // size)
        for first in range(0, len(rows), some):
            piece = rows[first : first + some]
            gram += self.take(piece).gram(bends[piece])
        return gram

    def grams(self, bends: Array, dtype: Any = np.float64) -> Array:
        """Zᵀ diag(bends[:, a, b]) Z for all a and b of bends [n, K, K], [K, K, p + 1, p + 1].

        Where no row feels a shift of all scores, its bends sum to 0, and so do these matrices.
        """
        k, bends = bends.shape[-1], np.ascontiguousarray(np.moveaxis(bends, 0, -1))
        shifts = bool(np.max(np.abs(bends.sum(axis=0))) <= SHIFTS * np.max(np.abs(bends)))
        a, b = np.array([(a, b) for a in range(k) for b in range(a + 1 - shifts)]).T
        grams = np.zeros((k, k, self.columns + 1, self.columns + 1))
        grams[a, b] = grams[b, a] = self.several(bends[a, b], dtype)
        if shifts:
            np.einsum("aaij->aij", grams)[...] = -grams.sum(axis=1)
        return grams

    def several(self, bends: Array, dtype: Any) -> Array:
        """Zᵀ diag(h) Z for every row h of bends [m, n], [m, p + 1, p + 1]: X is read once."""
        grams = np.zeros((len(bends), self.columns + 1, self.columns + 1))
        for rows, block in self.slabs():
            for gram, by in zip(grams, bends[:, rows], strict=True):
                some = np.flatnonzero(by)
                bent = slice(None) if len(some) > SCATTERED * len(by) else some
                if len(some):
                    gram[:-1, :-1] += self.square(block[bent], by[bent], dtype)
                    gram[-1, :-1] += block[bent].T @ by[bent]
        grams[:, -1, -1] = bends.sum(axis=1)
        grams[:, :-1, -1] = grams[:, -1, :-1]
        return self.centred(grams)

    def outer(self) -> Array:
        """(X - 1 centreᵀ)(X - 1 centreᵀ)ᵀ, [n, n]."""
        self.readings += 1
        both, inner = np.zeros((self.rows, self.rows)), np.zeros(self.rows)
        for start in range(0, self.columns, step := max(1, WIDE // self.rows)):
            some = slice(start, start + step)
            piece = self.X[:, some].astype(np.float64, copy=False)
            both += _dense(piece @ piece.T)
            inner += piece @ self.centre[some]
        return both - inner - inner[:, None] + self.centre @ self.centre

    def centred(self, gram: Array) -> Array:
        """Zᵀ H Z of [X 1]ᵀ H [X 1], [..., p + 1, p + 1], in place."""
        centre = np.append(self.centre, 0.0)
        for one in gram.reshape(-1, *gram.shape[-2:]):
            dger(-1.0, one[-1], centre, a=one.T, overwrite_a=True)
            dger(-1.0, centre, one[:, -1], a=one.T, overwrite_a=True)
        gram[..., :-1, :][..., self.constant, :] = 0.0
        gram[..., :-1][..., self.constant] = 0.0
        if not self.intercept:
            gram[..., -1, :], gram[..., -1] = 0.0, 0.0
        return gram

    def affine(self, theta: Array) -> tuple[Array, Array]:
        """(W, b) of the scores X W + b."""
        return theta[:-1].copy(), theta[-1] - (self.origin + self.centre) @ theta[:-1]

    def point(self, kernel: Array, bias: Array) -> Array:
        """θ of the scores X W + b."""
        return np.vstack([kernel, bias + (self.origin + self.centre) @ kernel])

    def _narrow(self, columns: Array) -> None:
        """Describe those columns alone."""
        self.columns = len(columns)
        self.origin, self.centre = self.origin[columns], self.centre[columns]
        self.constant = self.constant[columns]

    def _used(self, theta: Array) -> Array | None:
        """The columns with a slope, when they are few."""
        used = np.flatnonzero(theta[:-1].any(axis=1))
        return used if self.few * len(used) < self.columns else None

    def _base(self, theta: Array) -> Array:
        """What every score has besides X W."""
        base: Array = theta[-1] - self.centre @ theta[:-1]
        return base

    def _pulled(self, sums: Array, totals: Array) -> Array:
        """Zᵀ s of Xᵀ s and Σ s."""
        pulled = np.empty((self.columns + 1, len(totals)))
        np.subtract(sums, self.centre[:, None] * totals, out=pulled[:-1])
        pulled[:-1][self.constant] = 0.0
        pulled[-1] = totals * self.intercept
        return pulled


class Pieced(Design):
    """A design that is read in pieces, which may be some of the columns."""

    def push(self, theta: Array) -> Array:
        scores = np.zeros((self.rows, theta.shape[1]))
        for rows, columns, piece in self.pieces():
            scores[rows] += piece @ theta[:-1][columns]
        return scores + self._base(theta)

    def pull(self, slopes: Array) -> Array:
        sums = np.zeros((self.columns, slopes.shape[1]))
        for rows, columns, piece in self.pieces():
            sums[columns] += piece.T @ slopes[rows]
        return self._pulled(sums, slopes.sum(axis=0))


def _product(block: Any, kernel: Array, used: Array | None) -> Array:
    return block @ kernel if used is None else block[:, used] @ kernel[used]


def _dense(product: Any) -> Array:
    return product.toarray() if hasattr(product, "nnz") else product


def matrix(X: Any) -> Any:
    """X as a NumPy array of float32 or float64, or as a scipy.sparse matrix by rows or columns.

    Arrays of JAX and PyTorch on this machine are not copied.
    """
    if hasattr(X, "nnz"):
        return X if X.format in ("csr", "csc") else X.tocsr()
    X = np.asarray(X)
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def shares(weight: Any, rows: int) -> tuple[Array, Array | None]:
    """(weights that sum to 1, the rows that have one; None: all)."""
    if weight is None:
        return np.full(rows, 1 / rows), None
    weight = column(weight, "weight", rows)
    total = weight.sum()
    if not np.all(weight >= 0) or not 0 < total < np.inf:
        raise DataError(
            f"weight must be finite, not negative and not all zero; it has minimum "
            f"{weight.min()} and sum {total}"
        )
    kept = weight > 0
    return weight / total, None if kept.all() else kept


def column(values: Any, name: str, rows: int) -> Array:
    """One number for each row, in double precision."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (rows,):
        raise ShapeError(
            f"{name} has shape {values.shape}; it needs one number for each row, ({rows},)"
        )
    for row in np.flatnonzero(~np.isfinite(values))[:1]:
        raise DataError(f"{name} must be finite, and holds {values[row]} in row {row + 1}")
    return values
