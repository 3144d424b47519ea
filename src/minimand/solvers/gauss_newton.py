"""Nonlinear least squares by damped Gauss-Newton steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Component, Count, Positive, component
from minimand.solvers.nonlinear import Point, Residuals
from minimand.solvers.nonlinear_fit import NonlinearFit
from minimand.solvers.tangent import Tangent
from minimand.solvers.variable_projection import Separated

LONGEST_BEND = 0.375  # of the step; a longer one leads to another valley


def least_squares(
    residual: Callable[..., Array],
    start: Any,
    *data: Array,
    jac: Callable[..., Array] | None = None,
    bounds: tuple[Any, Any] | None = None,
    weight: Array | None = None,
    linear: Iterable[str | int] = (),
    tolerance: float = 1e-9,
    max_iterations: int = 1000,
    budget: Budget | None = None,
) -> NonlinearFit:
    """Parameters that make the weighted sum of squared residuals least.

    Σ weight · residual(params, data ...)²

    Args:
        residual: residual(params, data ...) -> [n], written with `jax.numpy` or plain operators;
            one that is jitted already is compiled once for all calls.
        start: the first parameters: an array, a dictionary of named numbers or arrays, or nested
            dictionaries; `residual` gets the same form.
        data: arrays [n] or [n, ...], or single numbers.
        jac: jac(params, data ...) -> [n, p], or a dictionary of [n, ...] like `start`. With it
            `residual` may be any function of NumPy; without it JAX derives the Jacobian.
        bounds: (low, high), each a number, an array or a dictionary that may leave some out; equal
            bounds fix a parameter.
        weight: [n], 1 / variance of a row up to a common factor; a row of weight 0 is left out.
        linear: names (or positions) of parameters that the residuals are linear in. They need no
            good start: each step solves for them exactly (variable projection).
        tolerance: how small the relative offset of Bates and Watts must be.
        max_iterations: when to give up, by steps.
        budget: when to give up, by time.

    Raises:
        ArgumentError, ShapeError, DataError: what was given cannot be used; the text says where.

    Source: Bates and Watts (1988), Nonlinear Regression Analysis and Its Applications, chapter 2.

    >>> import jax.numpy as jnp
    >>> hours, grams = np.array([0.0, 1.0, 2.0, 4.0]), np.array([8.1, 4.9, 3.1, 1.0])
    >>> def decay(params, hours, grams):
    ...     return grams - params["first"] * jnp.exp(-params["rate"] * hours)
    >>> fit = least_squares(decay, {"first": 1.0, "rate": 1.0}, hours, grams, linear=["first"])
    >>> for line in fit.summary().splitlines()[-3:]:
    ...     print(line)
    parameter  estimate  standard error          95% interval
    first       8.10603           0.103    7.66483 to 8.54724
    rate       0.497547          0.0142  0.436573 to 0.558521
    """
    solver = GaussNewton(tolerance=tolerance, max_iterations=max_iterations)
    return solver.minimise(
        residual,
        start,
        *data,
        jac=jac,
        bounds=bounds,
        weight=weight,
        linear=linear,
        budget=budget,
    )


class Problem(Protocol):
    """What the steps need to know of a problem."""

    start: Array
    low: Array
    high: Array
    freedom: int

    def at(self, theta: Array) -> Point:
        """The residuals and their Jacobian at θ."""


@component
class GaussNewton(Component):
    """Gauss-Newton steps, damped (Levenberg, Marquardt) where they leave the trust region.

    The region is a ball in parameters scaled by the largest column norms of the Jacobian so far;
    its first radius is `radius` times the size of the start. The curvature that a step meets bends
    it, if that goes lower. Bounds hold in every step.

    >>> fit = GaussNewton(radius=1.0).minimise(lambda b, y: y - b**2, 1.0, np.array([3.9, 4.1]))
    >>> round(float(fit.params), 6)
    2.0
    """

    kind = "solver"
    tolerance: Positive = 1e-9
    max_iterations: Count = 1000
    radius: Positive = 10.0
    card = Card(
        formula="θ ← θ - (JᵀJ + λ D²)⁻¹ Jᵀ r",
        source="Levenberg (1944); Marquardt (1963); Moré (1978), The Levenberg-Marquardt "
        "algorithm: implementation and theory; Golub and Pereyra (1973); Kaufman (1975); "
        "Transtrum and Sethna (2012), Improvements to the Levenberg-Marquardt algorithm",
        use="sums of squared residuals of any smooth model, with or without bounds",
    )

    def minimise(
        self,
        residual: Callable[..., Array],
        start: Any,
        *data: Array,
        jac: Callable[..., Array] | None = None,
        bounds: tuple[Any, Any] | None = None,
        weight: Array | None = None,
        linear: Iterable[str | int] = (),
        budget: Budget | None = None,
    ) -> NonlinearFit:
        """What `least_squares` does, by this solver."""
        whole = Residuals(residual, start, data, jac, bounds, weight)
        chosen = whole.layout.positions(linear)
        problem = Separated(whole, chosen) if chosen.any() else whole
        full, status, converged, history = self.run(problem, budget or Budget())
        return NonlinearFit.of(whole, full, status, converged, history)

    def run(
        self, problem: Problem, budget: Budget
    ) -> tuple[Array, str, bool, dict[str, list[float]]]:
        """(all the parameters, status, converged, history) of a problem that has been checked."""
        region = _Region(problem, self.radius)
        names = ("iteration", "value", "gradient_norm", "step", "damping")
        history: dict[str, list[float]] = {name: [] for name in names}
        for iteration in range(self.max_iterations + 1):
            tangent = region.tangent
            line = (iteration, tangent.value, tangent.gradient_norm, region.length, region.damping)
            for name, entry in zip(names, line, strict=True):
                history[name].append(float(entry))
            converged = region.settled(self.tolerance)
            if converged:
                status = f"converged in {iteration} steps"
                break
            offset = region.tangent.offset
            if iteration == self.max_iterations or budget.spent():
                why = budget.reason or f"the limit of {self.max_iterations} steps"
                status = f"ended by {why} with relative offset {offset:.1e}"
                break
            if not region.advance():
                converged = offset <= np.sqrt(self.tolerance)
                status = f"no step lowers the sum of squares further; relative offset {offset:.1e}"
                break
        return region.tangent.point.full, status, converged, history


class _Region:
    """A point, and the ball around it in which its tangent is trusted."""

    def __init__(self, problem: Problem, radius: float):
        self.problem = problem
        point = problem.at(problem.start)
        self.scale = np.linalg.norm(point.jacobian, axis=0)
        self.scale[self.scale == 0] = 1.0
        self.tangent = self.touch(point)
        self.radius = radius * float(np.linalg.norm(self.scale * point.theta) or 1.0)
        self.length = self.damping = 0.0

    def touch(self, point: Point) -> Tangent:
        """The tangent at a point."""
        problem = self.problem
        return Tangent(point, problem.low, problem.high, self.scale, problem.freedom)

    def settled(self, tolerance: float) -> bool:
        """Whether nothing is left to gain, by parameters as large as they are felt here."""
        if not self.tangent.settled(tolerance):
            return False
        if self.tangent.singular:
            norms = np.linalg.norm(self.tangent.point.jacobian, axis=0)
            self.scale = np.where(norms > 0, norms, self.scale)
            self.tangent = self.touch(self.tangent.point)
        return self.tangent.settled(tolerance)

    def advance(self) -> bool:
        """Go on to a better point; False if there is none within the precision of the numbers."""
        tangent, first = self.tangent, self.tangent.point
        while True:
            step, self.damping = tangent.step(self.radius)
            self.length = float(np.linalg.norm(step * self.scale))
            trial = self._farther(step)
            promised = tangent.promised(step)
            if promised <= tangent.rounding:
                better = trial.finite and self.touch(trial).offset < 0.9 * tangent.offset
                if not better:
                    return False
                break
            earned = first.value - trial.value if trial.finite else -np.inf
            if earned <= 0.25 * promised:
                shrink = 0.5 * promised / (promised - min(earned, 0.0))
                self.radius = min(self.radius, self.length) * max(shrink, 0.1)
            elif earned >= 0.75 * promised or self.damping == 0:
                self.radius = 2 * self.length
            if earned > 1e-4 * promised:
                break
        self.scale = np.maximum(self.scale, np.linalg.norm(trial.jacobian, axis=0))
        self.tangent = self.touch(trial)
        return True

    def _farther(self, step: Array) -> Point:
        """The end of the step, or of the step bent by the curvature met on it, if that is lower."""
        tangent, first = self.tangent, self.tangent.point
        straight = self._at(first.theta + step)
        if not straight.finite:
            return straight
        missed = straight.residuals - first.residuals - first.jacobian @ step
        bend = tangent.solve(missed, self.damping)
        if np.linalg.norm(bend * self.scale) > LONGEST_BEND * self.length:
            return straight
        bent = self._at(first.theta + step + bend)
        return bent if bent.finite and bent.value < straight.value else straight

    def _at(self, theta: Array) -> Point:
        return self.problem.at(np.clip(theta, self.problem.low, self.problem.high))
