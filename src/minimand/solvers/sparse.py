"""Sparse data as a design, and the design that suits the data."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse

from minimand.arrays import Array
from minimand.errors import DataError
from minimand.solvers.dense import FAR, Dense, Small
from minimand.solvers.design import LITTLE, PIECE, Design, Pieced, Visit

LOST, FLAT = 1e-4, 1e-13
"""Spreads against the mean: below the first they are measured anew; below the second they are 0."""


class Sparse(Design):
    """A scipy.sparse matrix of float32 or float64 by rows; no product makes it dense."""

    def __init__(self, X: Any, intercept: bool):
        if X.dtype != np.float32:
            X = X.astype(np.float64, copy=False)
        if not X.has_canonical_format:  # entries of one place would be squared one by one
            X = X.copy()
            X.sum_duplicates()
        super().__init__(X, intercept)
        self.centre = np.zeros(self.columns)
        if intercept:
            share = np.full(self.rows, 1 / self.rows)
            for rows, columns, piece in self.pieces():
                self.centre[columns] += piece.T @ share[rows]
        self.constant = self._filled()
        if self.constant.any():
            filled, mean = self.constant, np.abs(self.centre)
            self.constant = filled & ~(self.spread > FLAT * mean)
            if np.any(far := filled & ~self.constant & (mean > FAR * self.spread)):
                self._shift(far)
        self.readings = 0

    @cached_property
    def spread(self) -> Array:
        """The standard deviation of every column."""
        mean = self.centre
        spread = np.sqrt(np.maximum(self._squares() / self.rows - mean**2, 0.0))
        near = (mean != 0) & ~(spread > LOST * np.abs(mean))
        return np.where(near, self._apart(near), spread) if near.any() else spread

    @cached_property
    def size(self) -> Array:
        """The same, and 1 where it is rounding alone and for the intercept; not all solvers ask."""
        rounding = FLAT * np.abs(self.centre)
        return np.append(np.where(self.spread > rounding, self.spread, 1.0), 1.0)

    def take(self, rows: Array) -> Self:
        part = super().take(rows)
        part.size = self.size
        return part

    def _squares(self) -> Array:
        """The sum of the squares in every column."""
        squares = np.zeros(self.columns)
        for rows, _, piece in self.pieces():
            square = copy(piece)
            square.data = piece.data**2
            squares += square.T @ np.ones(self.rows)[rows]
        return squares

    def _filled(self) -> Array:
        """The columns that may be constant, or far from zero."""
        return np.ones(self.columns, dtype=bool)

    def _narrow(self, columns: Array) -> None:
        super()._narrow(columns)
        for name in ("spread", "size"):
            vars(self).pop(name, None)

    def _apart(self, near: Array) -> Array:
        """The spread of columns whose squares hide it, by what their entries lie off the mean."""
        column, mean = self.X.tocoo().col, self.centre
        apart = np.where(near[column], self.X.data - mean[column], 0.0)
        unseen = 1 - np.bincount(column, minlength=self.columns) / self.rows
        off = np.bincount(column, apart, self.columns) / self.rows - unseen * mean
        squares = np.bincount(column, apart**2, self.columns) / self.rows + unseen * mean**2
        return np.sqrt(np.maximum(squares - off**2, 0.0))

    def _shift(self, far: Array) -> None:
        """Centre a copy of columns without zeros, of which products would lose most digits."""
        column = self.X.tocoo().col
        far = far & (np.bincount(column, minlength=self.columns) == self.rows)
        self.origin = np.where(far, self.centre, 0.0)
        self.X = self.X.astype(np.float64)
        self.X.data = self.X.data - self.origin[column]
        self.centre = self.centre - self.origin

    def pieces(self) -> Iterator[tuple[slice, slice, Any]]:
        for rows, block in self.blocks():
            yield rows, slice(None), block

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        self.readings += 1
        for rows in self._parts(self.rows):
            yield rows, self.X[rows].astype(np.float64, copy=False)

    def _parts(self, length: int) -> Iterator[slice]:
        """Parts of so many rows or columns that hold few numbers."""
        step = max(1, PIECE * length // max(1, self.X.nnz))
        for start in range(0, length, step):
            yield slice(start, min(start + step, length))

    def scaled(self, block: Any, by: Array, dtype: Any) -> Any:
        return block.multiply(by).tocsr().astype(dtype, copy=False)

    def check_finite(self) -> None:
        entries = self.X.tocoo()
        for i in np.flatnonzero(~np.isfinite(entries.data))[:1]:
            raise DataError(
                f"X holds {entries.data[i]} in row {entries.row[i] + 1}, "
                f"column {entries.col[i] + 1}; drop or repair that row"
            )


class ByColumns(Pieced, Sparse):
    """The same by columns, of which products with vectors read a few at a time."""

    few = 3

    def pieces(self) -> Iterator[tuple[slice, slice, Any]]:
        self.readings += 1
        if self.X.dtype == np.float64:
            yield slice(None), slice(None), self.X
            return
        for columns in self._parts(self.columns):
            ends = self.X.indptr[columns.start : columns.stop + 1]
            some = slice(ends[0], ends[-1])
            parts = (self.X.data[some].astype(np.float64), self.X.indices[some], ends - ends[0])
            shape = (self.rows, columns.stop - columns.start)
            yield slice(None), columns, scipy.sparse.csc_array(parts, shape)

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        self.readings += 1
        yield slice(None), self.X.astype(np.float64, copy=False)

    def _squares(self) -> Array:
        from sklearn.utils.extmath import row_norms

        parts = [row_norms(piece.T, squared=True) for _, _, piece in self.pieces()]
        return np.concatenate(parts)

    def _filled(self) -> Array:
        """Those without a gap: the others leave their mean."""
        return np.diff(self.X.indptr) == self.rows

    def push(self, theta: Array) -> Array:
        if (used := self._used(theta)) is not None:
            return self.pick(used).push(theta[np.append(used, -1)])
        return super().push(theta)

    def sweep(self, theta: Array, visit: Visit) -> Array:
        return self.pull(visit(slice(None), self.push(theta)))


def design(X: Any, intercept: bool = True) -> Design:
    """The design of what `matrix` gives."""
    if hasattr(X, "nnz"):
        return Sparse(X, intercept) if X.format == "csr" else ByColumns(X, intercept)
    return Small(X, intercept) if X.size <= LITTLE else Dense(X, intercept)
