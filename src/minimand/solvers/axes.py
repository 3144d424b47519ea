"""Columns that nearly depend on one another, seen along axes that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Self

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.solvers.dense import Dense
from minimand.solvers.design import Design
from minimand.solvers.linear_algebra import scaled, smallest_pivot
from minimand.solvers.problem import Problem

WEAK, FLAT = 1e-5, 1e-20
"""Curvatures along scaled columns: below the first, rounding and a lift may hide what is left to
gain; below the second there is none."""

SHOWN, PER_COLUMN = 500, 5
"""Rows that tell whether columns may depend: so many, or so many a column."""


class Turned(Dense):
    """Z T for the columns of a design and axes T [p, r]: blocks are turned as they are read."""

    def __init__(self, whole: Design, axes: Array):
        self.whole, self.axes = whole, axes
        self.X, self.intercept = whole.X, whole.intercept
        self.rows, self.columns = whole.rows, axes.shape[1]
        self.origin = self.centre = np.zeros(self.columns)
        self.size, self.constant = np.ones(self.columns + 1), np.zeros(self.columns, dtype=bool)

    @property
    def readings(self) -> int:  # type: ignore[override]
        """How often X was read."""
        return self.whole.readings

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        for rows, block in self.whole.blocks():
            yield rows, product(self.whole, block, self.axes)

    slabs = blocks

    def dense(self, rows: Any) -> Array:
        chosen = self.whole.dense(rows)
        return np.column_stack([chosen[:, :-1] @ self.axes, chosen[:, -1]])

    def take(self, rows: Array) -> Self:
        return type(self)(self.whole.take(rows), self.axes)

    def pick(self, columns: Array) -> Self:
        return type(self)(self.whole, self.axes[:, columns])

    def check_finite(self) -> None:
        self.whole.check_finite()


def independent(problem: Problem) -> tuple[Problem, Callable[[Array], Array]]:
    """(the problem, or one along axes that do not depend; θ of that ↦ θ), if nothing is penalised.

    Of the parameters that give the same scores, those of no slope along the axes left out.
    """
    axes = even_axes(problem)
    if axes is None:
        return problem, lambda theta: theta
    turned = copy(problem)
    turned.design = Turned(problem.design, axes)
    kernel, bias = problem.start[:-1], problem.start[-1:]
    turned.start = np.vstack([np.linalg.lstsq(axes, kernel)[0], bias])
    return turned, lambda theta: np.vstack([axes @ theta[:-1], theta[-1:]])


def even_axes(problem: Problem) -> Array | None:
    """T [p, r] such that the columns of Z T have mean square 1 and mean products 0.

    None if the columns are independent enough, or if a penalty says which parameters are meant.
    """
    design = problem.design
    if not problem.penalty.smooth or problem.penalty.bend() > 0:
        return None
    enough = max(SHOWN, PER_COLUMN * design.columns)
    some = design.dense(slice(None, None, max(1, design.rows // enough)))[:, :-1]
    if smallest_pivot(some.T @ some) > WEAK:
        return None
    matrix, scale = scaled(design.gram(problem.weight)[:-1, :-1])
    levels, axes = scipy.linalg.eigh(matrix)
    axes = np.where(design.constant[:, None], 0.0, scale[:, None] * axes)
    count = int(np.sum(levels < WEAK))
    weak, strong = axes[:, :count], axes[:, count:] / np.sqrt(levels[count:])
    found, turn = scipy.linalg.eigh(bent(design, problem.weight[:, None, None], weak))
    kept = found > FLAT
    return np.hstack([strong, weak @ (turn[:, kept] / np.sqrt(found[kept]))])


def bent(design: Design, bends: Array, axes: Array) -> Array:
    """axesᵀ H axes [m, m] at bends [n, K, K] of the scores that axes [p K or more, m] move.

    A sum of squares has lost a curvature below 1e-16, of which the scores still know the root. The
    axes hold no intercepts, or those of all K outputs at their end.
    """
    outputs, count = bends.shape[-1], axes.shape[1]
    theta = axes.reshape(len(axes) // outputs, outputs * count)
    kernel, bias = theta[: design.columns], theta[design.columns :].sum(axis=0)
    found = np.zeros((count, count))
    for rows, block in design.blocks():
        moved = product(design, block, kernel) + bias
        moved = moved.reshape(len(moved), outputs, count)
        found += np.einsum("nai,nab,nbj->ij", moved, bends[rows], moved, optimize=True)
    return found


def product(design: Design, block: Any, kernel: Array) -> Array:
    """What the kernel makes of a block of X, centred."""
    if hasattr(block, "nnz"):
        return block @ kernel - design.centre @ kernel
    return (block - design.centre) @ kernel
