"""Variable projection: parameters that enter linearly are solved for, not searched."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError
from minimand.solvers.nonlinear import Point, Residuals


class Separated:
    """The residuals as a function of the other parameters α alone, the linear ones at their best.

    r(α) = min over c of ‖r₀(α) + Φ(α) c‖, with Kaufman's Jacobian (I - Φ Φ⁺) ∂r/∂α.

    Source: Golub and Pereyra (1973), The differentiation of pseudo-inverses and nonlinear least
    squares problems whose variables separate; Kaufman (1975), A variable projection method.
    """

    def __init__(self, whole: Residuals, linear: Array):
        self.whole, self.linear = whole, linear
        self.freedom = whole.freedom
        self.start = whole.start[~linear]
        self.low, self.high = whole.low[~linear], whole.high[~linear]
        names = np.array(whole.layout.names)
        for name in names[linear & ((whole.low > -np.inf) | (whole.high < np.inf))][:1]:
            raise ArgumentError(f"{name} has bounds; take it out of linear, or drop its bounds")
        phi = whole.at(whole.start).jacobian[:, linear]
        moved = self.at(self.start)
        if not moved.finite:
            raise ArgumentError(
                "the residuals are not finite where the linear parameters are 0 or at their best; "
                "choose another start, or leave linear out"
            )
        change = np.abs(whole.at(moved.full).jacobian[:, linear] - phi).max(axis=0)
        if np.any(change > 1e-6 * np.abs(phi).max(axis=0)):
            together = ", ".join(names[linear])
            raise ArgumentError(
                f"the residuals are not linear in {together} together; leave one out"
            )

    def at(self, theta: Array) -> Point:
        """The point α [k], its residuals at the best linear parameters."""
        full = np.zeros(len(self.linear))
        full[~self.linear] = theta
        base = self.whole.at(full)
        if not base.finite:
            return Point(theta, base.residuals, base.jacobian[:, ~self.linear], full, base.size)
        phi = base.jacobian[:, self.linear]
        scale = np.linalg.norm(phi, axis=0)
        scale[scale == 0] = 1.0
        left, values, right = np.linalg.svd(phi / scale, full_matrices=False)
        rank = int(np.sum(values > len(phi) * np.finfo(float).eps * values[0]))
        left, values, right = left[:, :rank], values[:rank], right[:rank]
        with np.errstate(over="ignore"):
            full[self.linear] = -((left.T @ base.residuals) / values @ right) / scale
        best = self.whole.at(full)
        jacobian = best.jacobian[:, ~self.linear]
        across = jacobian - left @ (left.T @ jacobian)
        return Point(theta, best.residuals, across, full, best.size)
