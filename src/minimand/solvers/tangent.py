"""The linearised least-squares problem at a point: steps, optimality and covariance."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from minimand.arrays import Array
from minimand.solvers.nonlinear import Point

EPS = float(np.finfo(float).eps)


class Tangent:
    """r + J s over the steps s of the parameters that no bound holds back.

    Columns of J are divided by `scale` first. `freedom` is the number of rows less the number of
    all parameters, before those at a bound are given back.
    """

    def __init__(self, point: Point, low: Array, high: Array, scale: Array, freedom: int):
        self.point, self.scale = point, scale
        self.low, self.high = low - point.theta, high - point.theta
        self.gradient = point.jacobian.T @ point.residuals
        held = (self.low >= 0) & (self.gradient >= 0) | (self.high <= 0) & (self.gradient <= 0)
        self.free = ~held
        self.freedom = freedom + int(held.sum())
        q, corner = np.linalg.qr(point.jacobian[:, self.free] / scale[self.free])
        left, values, right = np.linalg.svd(corner)
        rank = int(np.sum(values > len(q) * EPS * values[:1].sum()))
        self.left, self.values, self.right = q @ left[:, :rank], values[:rank], right[:rank]
        self.along = self.left.T @ point.residuals

    @property
    def value(self) -> float:
        """The weighted sum of squares."""
        return self.point.value

    @cached_property
    def gain(self) -> float:
        """How much shorter the residuals can become, by the tangent: their length along it."""
        return float(np.linalg.norm(self.along))

    @property
    def exact(self) -> bool:
        """Whether what is left to gain is rounding."""
        return self.gain <= 4 * EPS * self.point.size

    @property
    def singular(self) -> bool:
        """Whether some step changes nothing, to first order."""
        return len(self.values) < int(self.free.sum())

    def settled(self, tolerance: float) -> bool:
        """Whether the relative offset is within the tolerance, or what is left to gain rounding."""
        return self.offset <= tolerance or self.exact

    @property
    def rounding(self) -> float:
        """Differences of sums of squares below this cannot be told from rounding."""
        return 10 * EPS * self.value + 2 * EPS * self.point.size * float(np.sqrt(self.value))

    @cached_property
    def offset(self) -> float:
        """The relative offset: residuals along the tangent over those across it, by their share.

        Source: Bates and Watts (1981), A relative offset orthogonality convergence criterion.
        """
        if not self.gain:
            return 0.0
        across = np.linalg.norm(self.point.residuals - self.left @ self.along)
        share = len(self.values) / max(self.freedom, 1)
        with np.errstate(divide="ignore"):
            return float(np.float64(self.gain) / across / np.sqrt(share))

    @cached_property
    def gradient_norm(self) -> float:
        """The largest cosine between the residuals and a column of the Jacobian."""
        lengths = np.linalg.norm(self.point.jacobian, axis=0) * np.sqrt(self.value)
        cosines = np.abs(self.gradient) / np.where(lengths > 0, lengths, 1.0)
        return float(np.max(cosines[self.free], initial=0.0))

    def solve(self, target: Array, damping: float) -> Array:
        """The step that lowers ‖target + J s‖² + damping ‖scale s‖², of least norm."""
        return self._spread(-(self.values / (self.values**2 + damping)) * (self.left.T @ target))

    def step(self, radius: float) -> tuple[Array, float]:
        """The best step in the ball and within the bounds, and its damping.

        Newton's method on 1/‖s‖ - 1/radius, from no damping on: it rises to the solution.
        Source: Moré (1978), section 5.
        """
        damping = 0.0
        for _ in range(50):
            shares = self.values**2 + damping
            inner = -self.values / shares * self.along
            length = float(np.linalg.norm(inner))
            if length <= 1.1 * radius:
                break
            damping += length**2 / float(inner @ (inner / shares)) * (length - radius) / radius
        step = self._spread(inner)
        if np.any((step < self.low) | (step > self.high)):
            step = self._bounded(damping)
        return step, damping

    def promised(self, step: Array) -> float:
        """How much the step lowers the sum of squares, by the tangent."""
        change = self.point.jacobian @ step
        return -float(change @ (2 * self.point.residuals + change))

    def covariance(self) -> tuple[Array, Array]:
        """(Jᵀ J)⁻¹ [p, p], and which parameters the data determine [p].

        A parameter that is held counts as known; one that is not determined has variance ∞.
        """
        spread = (self.right / self.values[:, None]) / self.scale[self.free]
        free = np.flatnonzero(self.free)
        determined = np.ones(len(self.free), dtype=bool)
        determined[free] = np.sum(self.right**2, axis=0) > 1 - 1e-8
        found = np.zeros((len(self.free), len(self.free)))
        found[np.ix_(free, free)] = spread.T @ spread
        found[~determined], found[:, ~determined] = np.nan, np.nan
        found[~determined, ~determined] = np.inf
        return found, determined

    def _spread(self, inner: Array) -> Array:
        step = np.zeros(len(self.scale))
        step[self.free] = (inner @ self.right) / self.scale[self.free]
        return step

    def _bounded(self, damping: float) -> Array:
        """The damped step where bounds are in its way: a linear problem with the same bounds."""
        from scipy.optimize import lsq_linear

        scale = self.scale[self.free]
        walls = self.low[self.free] * scale, self.high[self.free] * scale
        brake = np.sqrt(damping + EPS) * np.eye(len(scale))
        matrix = np.vstack([self.values[:, None] * self.right, brake])
        target = np.append(-self.along, np.zeros(len(scale)))
        step = np.zeros(len(self.scale))
        step[self.free] = lsq_linear(matrix, target, walls, method="bvls").x / scale
        return step
