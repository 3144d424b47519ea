"""Cheaper Hessians: of fewer rows, in fewer digits, or as a product of two matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.solvers.linear_algebra import lifted
from minimand.solvers.problem import Point, Problem, Shape

FEWEST, PER_COLUMN, WORTH = 8000, 40, 5
"""The rows of a sample: at least so many, and so many a column, of so many times more rows."""

SEEN = 0.1
"""The least share of a column's mean square that rows may show of it."""
LEAST = 1e-10
FLAT = 1e-3
FEW = 0.05
BIG = 1e7


def sample_size(shape: Shape) -> int:
    """How many rows show the curvature well enough; all of them where that saves little."""
    enough = max(FEWEST, PER_COLUMN * shape.columns)
    return enough if shape.rows >= WORTH * enough else shape.rows


def precision(problem: Problem) -> Any:
    """In what to multiply for a Hessian: single where that saves time and does no harm."""
    size, off = problem.design.size[:-1], np.abs(problem.design.centre)
    safe = np.all((size > 1e-9) & (size < 1e9) & (off < 100 * size))
    return np.float32 if safe and problem.shape.work > BIG else np.float64


class Curvature:
    """g ↦ (C ⊗ S + Λ)⁻¹ g at a point: C [K, K] of the scores, S of the columns, Λ of the penalty.

    C = Σ h and S = Σ tr(h) z zᵀ / Σ tr(h) for the weighted curvatures h [K, K] of the rows z; with
    one score it is the Hessian. The axes of C part it into K exact systems of p + 1 unknowns.
    Columns that these rows hardly show keep a tenth of the scale that they have in all rows.
    """

    def __init__(self, problem: Problem, point: Point):
        self.axes, levels, bends = curvature(problem, point)
        size = problem.design.size
        S = problem.design.gram(bends, precision(problem))
        diagonal = np.einsum("ii->i", S)
        self.shown = diagonal / size**2
        diagonal[...] = np.maximum(diagonal, SEEN * size**2)
        self.gram, self.design = S / np.outer(np.sqrt(diagonal), np.sqrt(diagonal)), problem.design
        bend = np.diag(np.append(np.full(len(size) - 1, float(problem.penalty.bend())), 0.0))
        self.solves = [lifted(level * S + bend, 1e-10) for level in levels]

    def __call__(self, gradient: Array) -> Array:
        """The step [p + 1, K] that a gradient asks for, reversed."""
        turned = gradient @ self.axes
        return np.column_stack([f(turned[:, k]) for k, f in enumerate(self.solves)]) @ self.axes.T

    def determined(self) -> bool:
        """Whether no column, nor a sum of them, is flat or hangs on a few of these rows.

        Otherwise an optimum at infinity may hide there.
        """
        design = self.design
        share = np.square(design.reach() / design.size[:-1]) / design.rows
        spread = np.all(self.shown[:-1] > SEEN) and np.all(share < FEW)
        return bool(spread and np.linalg.eigvalsh(self.gram)[0] > FLAT)


class Diagonal:
    """The same with the mean squares of the columns in place of S, for very many columns."""

    def __init__(self, problem: Problem, point: Point):
        self.axes, levels, _ = curvature(problem, point)
        self.scale = np.square(problem.design.size)[:, None] * levels
        self.scale[:-1] += problem.penalty.bend()

    def __call__(self, gradient: Array) -> Array:
        """The step [p + 1, K] that a gradient asks for, reversed."""
        return (gradient @ self.axes / self.scale) @ self.axes.T

    def determined(self) -> bool:
        """Nobody looked."""
        return False


def curvature(problem: Problem, point: Point) -> tuple[Array, Array, Array]:
    """(axes [K, K] and levels [K] of C, the weights [n] of the rows in S).

    Where the loss is not convex, its curvatures count with the absolute values of their levels.
    """
    h = problem.bends(problem.columns(point.scores))
    if not problem.loss.card.convex:
        h = _absolute(h)
    traces = np.einsum("nkk->n", h)
    total = float(traces.sum())
    if not 0 < total < np.inf:
        return np.eye(problem.outputs), np.ones(problem.outputs), problem.weight
    levels, axes = np.linalg.eigh(h.sum(axis=0))
    return axes, np.maximum(levels, LEAST * levels[-1]), traces / total


def _absolute(h: Array) -> Array:
    if h.shape[-1] == 1:
        return np.abs(h)
    levels, axes = np.linalg.eigh(h)
    return (axes * np.abs(levels)[:, None, :]) @ axes.swapaxes(-1, -2)
