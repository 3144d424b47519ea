"""The quadratic inside a proximal Newton step: ½ Σ h (Z d + c + s / h)² plus the penalty of v + d.

Z [n, m] are the chosen columns, s [n] the slopes and h [n] the bends of the loss, v [m] the present
parameters. An L1 penalty goes to scikit-learn's compiled coordinate descent: on the Gram matrix of
few columns, on the columns themselves of many; dense ones in single precision where the wanted gap
allows it.
"""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from minimand.arrays import Array
from minimand.penalties import Penalty
from minimand.solvers.design import Design
from minimand.solvers.linear_algebra import lifted

FEW_DENSE, FEW_SPARSE = 256, 100
"""Up to so many columns a Gram matrix pays."""

TINY, EXACT = 64, 1e-6
"""Up to so many columns the quadratic is solved to a much smaller gap, which costs nothing."""

ROUNDS, ROUNDING = 20, 1e-8
"""Guesses at which parameters are not zero; what is forgiven in the last."""

SINGLE = 1e-5
"""The share of the energy of the target that single precision resolves with ease."""

SWEEPS, SPARSE_SWEEPS = 200, 30
"""At most; where sparse columns need more, Newton's method on what is not zero is faster."""

LIFT = 1e3
"""How much larger than the rest the column is that stands for the intercept of sparse data."""


@dataclass(frozen=True)
class Quadratic:
    """The quadratic of one output: slopes s [n] and bends h [n] > 0, parameters v [m]."""

    part: Design
    slopes: Array
    bends: Array
    start: Array
    penalty: Penalty

    def minimise(self, gap: float) -> tuple[Array, float, float]:
        """(d, c, about what is left to gain): the step to a duality gap, or as near as is cheap."""
        if not self.penalty.separable:
            return self._gram(gap)
        if few(self.part):
            exact = self.exactly() if self.penalty.entrywise else None
            return exact or self._gram(gap)
        return self._sparse(gap) if hasattr(self.part.X, "nnz") else self._dense(gap)

    @cached_property
    def condensed(self) -> tuple[Array, Array, Callable[[Array], float]]:
        """(A, b, d ↦ c): the quadratic is ½ vᵀ A v - bᵀ v with the best c, but for a constant."""
        gram, gradients = self.part.moments(self.bends, self.slopes[:, None])
        gradient, across, total = gradients[:, 0], gram[:-1, -1], gram[-1, -1]
        intercept = self.part.intercept  # not by `self`: a cycle would hold the data
        share = across / total if intercept else 0 * across
        matrix = gram[:-1, :-1] - share[:, None] * across
        linear = matrix @ self.start - gradient[:-1] + share * gradient[-1]

        def last(step: Array) -> float:
            return -float(gradient[-1] + across @ step) / total if intercept else 0.0

        return matrix, linear, last

    def exactly(self) -> tuple[Array, float, float] | None:
        """The step that minimises the quadratic of few columns, if it is easily found."""
        matrix, linear, last = self.condensed
        found = pivoted(matrix, linear, self.penalty, self.start)
        if found is None:
            return None
        step = found - self.start
        return step, last(step), 0.0

    def _gram(self, gap: float) -> tuple[Array, float, float]:
        gap *= EXACT if self.part.columns <= TINY else 1.0
        matrix, linear, last = self.condensed
        if self.penalty.separable:
            energy = self._energy() + self.start @ (2 * linear - matrix @ self.start)
            target = np.sqrt(np.array([max(energy, 0.0)]))
            step, left = self._descend(
                np.empty((1, len(matrix))), target, gap, precompute=matrix, Xy=linear
            )
        else:
            step, left = accelerated(matrix, linear, self.penalty, self.start, gap), gap
            step -= self.start
        return step, last(step), left

    def _dense(self, gap: float) -> tuple[Array, float, float]:
        part, residual = self.part, -self.slopes / self.bends
        root, share = np.sqrt(self.bends)[:, None], part.intercept / self.bends.sum()
        level = share * float(self.bends @ residual)
        mean = share * part.pull(self.bends[:, None])[:-1, 0]
        linear = part.push(np.append(self.start, -mean @ self.start)[:, None])[:, 0]
        target = root[:, 0] * (residual - level + linear)
        dtype = np.float32 if gap > SINGLE * (target @ target) else np.float64
        columns, beside = lent((part.rows, part.columns), dtype), part.centre + mean
        for rows, some, piece in part.pieces():
            scaled = columns[rows, some]
            np.subtract(piece, beside[some], out=scaled, casting="same_kind")
            scaled *= root[rows].astype(dtype)
        step, left = self._descend(columns, target.astype(dtype), gap)
        return step, float(level - mean @ step), left

    def _sparse(self, gap: float) -> tuple[Array, float, float]:
        residual = -self.slopes / self.bends
        X = _compiled(self.part.X)
        start = self.start
        if self.part.intercept:
            column = scipy.sparse.csc_array(np.full((self.part.rows, 1), LIFT))
            X, start = scipy.sparse.hstack([X, column], format="csc"), np.append(start, 0.0)
        target = residual + X @ start
        energy = self.bends @ np.square(target)
        level = self.bends[0] if np.ptp(self.bends) == 0 else 1.0  # weights slow descent down
        weight = None if level != 1 else np.ascontiguousarray(self.bends)
        step, left = self._descend(X, target, gap, start, energy, level, sample_weight=weight)
        shift = LIFT * step[-1] if self.part.intercept else 0.0
        step = step[: self.part.columns]
        return step, float(shift + self.part.centre @ step), left

    def _energy(self) -> float:
        """Σ h (s / h - mean)²."""
        residual = self.slopes / self.bends
        level = self.slopes.sum() / self.bends.sum() if self.part.intercept else 0.0
        return float(self.bends @ np.square(residual - level))

    def _descend(
        self,
        columns: Any,
        target: Array,
        gap: float,
        start: Array | None = None,
        energy: float | None = None,
        level: float = 1.0,
        **more: Any,
    ) -> tuple[Array, float]:
        """(step, gap) of coordinate descent, where all bends are `level` times the weights."""
        from sklearn import config_context
        from sklearn.linear_model import enet_path

        start = self.start if start is None else start
        energy = float(target @ target) if energy is None else energy
        l1, l2 = float(self.penalty.corner), float(self.penalty.bend())
        with config_context(skip_parameter_validation=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, found, gaps = enet_path(
                columns,
                target,
                alphas=[(l1 + l2) / (level * columns.shape[0])],
                l1_ratio=l1 / (l1 + l2),
                coef_init=start.copy(),  # it is overwritten
                tol=gap / energy if energy > 0 else 1.0,
                max_iter=SPARSE_SWEEPS if hasattr(columns, "nnz") else SWEEPS,
                check_input=False,
                **({"precompute": False} | more),
            )
        return found[:, 0] - start, level * columns.shape[0] * float(gaps[0])


def _compiled(X: Any) -> Any:
    """X as the compiled descent takes it: by columns, numbers of 64 bits, indices of 32."""
    X = X.tocsc()
    indices, ends = (index.astype(np.int32, copy=False) for index in (X.indices, X.indptr))
    return scipy.sparse.csc_array((X.data.astype(float, copy=False), indices, ends), X.shape)


def lent(shape: tuple[int, int], dtype: Any) -> Array:
    """An array by columns that Linux has back when it is dropped; the heap would keep it."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype, order="F")
    size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    room = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without large pages
        room.madvise(mmap.MADV_HUGEPAGE)
    return np.ndarray(shape, dtype, room, order="F")


def few(design: Design) -> bool:
    """Whether a Gram matrix of the columns pays."""
    return bool(design.columns <= (FEW_SPARSE if hasattr(design.X, "nnz") else FEW_DENSE))


def pivoted(gram: Array, linear: Array, penalty: Penalty, start: Array) -> Array | None:
    """argmin over w of ½ wᵀ gram w - linearᵀ w + penalty(w) for L1 and elastic net, if found.

    A proximal step says which entries are not zero, and their signs; the equations that follow say
    whether it was right (Hintermüller, Ito and Kunisch, 2002, The primal-dual active set strategy
    as a semismooth Newton method). It mostly is after a few rounds; it may go in circles.
    """
    l1, l2 = penalty.corner, penalty.bend()
    gram = gram + l2 * np.eye(len(gram))
    size, w, pull = gram.diagonal(), start, linear - gram @ start
    free, signs = np.arange(0), np.full(len(w), np.nan)
    for _ in range(ROUNDS):
        before, ahead = signs, size * w + pull
        signs = np.sign(ahead) * (np.abs(ahead) > l1)
        if (signs == before).all():
            exact = np.abs(pull[free] - l1 * signs[free]) <= ROUNDING * l1
            return w if np.all(exact) else None
        free, w = np.flatnonzero(signs), np.zeros(len(w))
        if len(free):
            solve = lifted(gram[free[:, None], free], 1e-12)
            w[free] = solve(linear[free] - l1 * signs[free])
        pull = linear - gram @ w
    return None


def accelerated(
    gram: Array, linear: Array, penalty: Penalty, start: Array, gap: float, limit: int = 300
) -> Array:
    """argmin over w of ½ wᵀ gram w - linearᵀ w + penalty(w), by accelerated proximal steps.

    Ends where a step promises next to nothing (Beck and Teboulle, 2009).
    """
    size = np.maximum(np.diag(gram), np.finfo(float).tiny)
    for rows in {tuple(penalty.together(np.array([i]))) for i in range(len(size))}:
        size[list(rows)] = size[list(rows)].max()
    root = np.sqrt(size)
    top = np.linalg.eigvalsh(gram / np.outer(root, root))[-1]
    rate = 1 / (top * size)
    w = ahead = start
    momentum = 1.0
    for _ in range(limit):
        moved = penalty.shrink(ahead - rate * (gram @ ahead - linear), rate)
        change = ahead - moved
        if np.sum(change * change / rate) <= 1e-10 * gap:
            return moved
        if np.sum(change * (moved - w) / rate) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * (moved - w)
        w, momentum = moved, following
    return w
