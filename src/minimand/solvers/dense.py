"""Arrays as designs: any, some columns of one, and one so small that a copy costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from minimand.arrays import Array
from minimand.errors import DataError
from minimand.solvers.design import BLOCK, PIECE, Design, Pieced, Visit

SAMPLE = 1024
FAR = 1e4
SLABS = 20
"""The least number of slabs: a few may be held besides the data."""
SPARE, COPIES = 0.2, 2
"""Columns are copied where so many copies take no more than so large a share of the data and a
matrix of all columns."""


class Dense(Design):
    """An array of float32 or float64 in any order."""

    def __init__(self, X: Array, intercept: bool):
        super().__init__(X, intercept)
        some = min(SAMPLE, max(64, 2 * BLOCK // self.columns))
        sample = np.array(X[:: -(-self.rows // some)], dtype=np.float64)
        self._measure(sample, sample)

    def _measure(self, sample: Array, out: Array) -> None:
        """Find centre and sizes by a sample of the rows; `out` is the sample less the centre."""
        self.centre = np.full(len(sample), self.intercept / len(sample)) @ sample
        sample = np.subtract(sample, self.centre, out=out)
        size = np.sqrt(np.vecdot(sample.T, sample.T) / len(sample))
        flat = 1e-13 * np.abs(self.centre)
        rare = np.flatnonzero(~(size > flat))
        if len(rare) and len(sample) < self.rows:
            part = np.asarray(self.X[:, rare], dtype=np.float64) - self.centre[rare]
            size[rare] = np.sqrt(np.square(part).mean(axis=0))
        self.constant = ~(size > flat)
        self.size = np.append(np.where(self.constant, 1.0, size), 1.0)
        if np.any(np.abs(self.centre) > FAR * self.size[:-1]):  # products would lose most digits
            self.X, self.origin = self.X - self.centre, self.centre
            self.centre = np.zeros(self.columns)

    @property
    def shortest(self) -> int:
        """The rows of a block at least; short pieces of a column are slow to reach."""
        return 2048 if self.X.flags.f_contiguous else 64

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        return self._blocks(1)

    def slabs(self) -> Iterator[tuple[slice, Array]]:
        return self._blocks(min(self.columns // 2, self.rows // SLABS))

    def _blocks(self, least: int) -> Iterator[tuple[slice, Array]]:
        self.readings += 1
        step = max(least, self.shortest, BLOCK // max(1, self.columns))
        for start in range(0, self.rows, step):
            rows = slice(start, start + step)
            yield rows, self._read(rows, slice(None))

    def pieces(self) -> Iterator[tuple[slice, slice, Array]]:
        self.readings += 1
        by_columns = self.X.flags.f_contiguous
        length, width = (self.columns, self.rows) if by_columns else (self.rows, self.columns)
        step = max(1, PIECE // width)
        for start in range(0, length, step):
            some, every = slice(start, start + step), slice(None)
            rows, columns = (every, some) if by_columns else (some, every)
            yield rows, columns, self._read(rows, columns)

    def some(self, columns: Array) -> Design:
        numbers, spare = self.rows * len(columns), self.columns * (SPARE * self.rows + self.columns)
        many = COPIES * numbers > spare and len(columns) < self.columns
        if not many:
            return self.pick(columns)
        return Chosen(self, columns) if self.X.flags.f_contiguous else ChosenByRows(self, columns)

    def _read(self, rows: slice, columns: slice) -> Array:
        return np.asarray(self.X[rows, columns], dtype=np.float64)

    def scaled(self, block: Array, by: Array, dtype: Any) -> Array:
        return np.multiply(block, by, dtype=dtype, casting="same_kind")

    def _narrow(self, columns: Array) -> None:
        super()._narrow(columns)
        self.size = np.append(self.size[columns], self.size[-1])

    def check_finite(self) -> None:
        for rows, block in self.blocks():
            for row, column in np.argwhere(~np.isfinite(block))[:1]:
                raise DataError(
                    f"X holds {block[row, column]} in row {rows.start + row + 1}, "
                    f"column {column + 1}; drop or repair that row"
                )


class Chosen(Pieced, Dense):
    """Some columns of the array X, which are gathered for every product and not held."""

    shortest = 256

    def __init__(self, whole: Dense, columns: Array):
        vars(self).update(vars(whole))
        self.whole, self.chosen = whole, columns
        self._narrow(columns)

    def pick(self, columns: Array) -> Any:
        return self.whole.pick(self.chosen[columns])

    def some(self, columns: Array) -> Design:
        return self.whole.some(self.chosen[columns])

    def _read(self, rows: slice, columns: slice) -> Array:
        return np.asarray(self.X[rows][:, self.chosen[columns]], dtype=np.float64)


class ChosenByRows(Chosen):
    """The same where X lies by rows: to gather takes longer than products with all columns."""

    def push(self, theta: Array) -> Array:
        wide = np.zeros((self.whole.columns + 1, theta.shape[1]))
        wide[np.append(self.chosen, -1)] = theta
        return self.whole.push(wide)

    def pull(self, slopes: Array) -> Array:
        return self.whole.pull(slopes)[np.append(self.chosen, -1)]

    def _read(self, rows: slice, columns: slice) -> Array:
        some = self.X[rows].take(self.chosen[columns], axis=1)
        return np.asarray(some, dtype=np.float64)


class Small(Dense):
    """A little array: Z is held, which makes of every product a single call."""

    held: tuple[Array, Array]
    some = Design.some

    def __init__(self, X: Array, intercept: bool):
        Design.__init__(self, X, intercept)
        Z = np.empty((self.rows, self.columns + 1), order="F")
        Z[:, -1] = intercept
        self._measure(X, Z[:, :-1])
        Z[:, np.flatnonzero(self.constant)] *= 0.0
        self.held = self.X, Z

    @property
    def Z(self) -> Array:
        """Z, of the X that is there now."""
        if self.held[0] is not self.X:
            self.held = self.X, super().dense(slice(None))
        return self.held[1]

    def dense(self, rows: Any) -> Array:
        return self.Z[rows]

    def take(self, rows: Array) -> Self:
        part = super().take(rows)
        part.held = part.X, self.Z[rows]
        return part

    def push(self, theta: Array) -> Array:
        self.readings += 1
        scores: Array = self.Z @ theta
        return scores

    def pull(self, slopes: Array) -> Array:
        self.readings += 1
        sums: Array = self.Z.T @ slopes
        return sums

    def sweep(self, theta: Array, visit: Visit) -> Array:
        self.readings += 1
        sums: Array = self.Z.T @ visit(slice(None), self.Z @ theta)
        return sums

    def gram(self, bends: Array, dtype: Any = np.float64) -> Array:
        self.readings += 1
        return self.square(self.Z, bends, np.float64)

    gathered = gram

    def moments(self, bends: Array, slopes: Array, dtype: Any = np.float64) -> tuple[Array, Array]:
        return self.gram(bends), self.Z.T @ slopes

    def several(self, bends: Array, dtype: Any) -> Array:
        self.readings += 1
        bent = (bends[:, None] * self.Z.T).reshape(-1, self.rows)
        grams: Array = (bent @ self.Z).reshape(len(bends), self.columns + 1, -1)
        return grams
