"""What a solver is: a deterministic full-batch method, its problem, its one loop, its solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Component, component
from minimand.errors import ArgumentError, DataError, ShapeError
from minimand.losses import Loss
from minimand.penalties import L2, Penalty


@component
class Objective(Component):
    """The weighted mean loss of an affine score X W + b, plus a penalty of W (never of b)."""

    kind = "objective"
    loss: Loss
    penalty: Penalty = L2(strength=0.0)

    @property
    def smooth(self) -> bool:
        """Whether the loss has a gradient everywhere."""
        return not self.loss.card.kinks or self.loss.card.curvature is not None


@dataclass(frozen=True)
class Certificate:
    """How near to the optimum the parameters are, measured from the data after the solver ended."""

    kind: str
    value: float
    sentence: str


@dataclass(frozen=True)
class Solution:
    """Parameters {"output": {"kernel": [p, K], "bias": [K]}}, with the evidence for them."""

    value: float
    params: dict[str, Any]
    certificate: Certificate
    status: str
    converged: bool
    history: dict[str, list[float]] = field(repr=False)

    def scores(self, X: Array) -> np.ndarray:
        """X W + b for rows X [n, p]: [n], or [n, K] for a loss over K classes."""
        layer = self.params["output"]
        scores: np.ndarray = np.asarray(X, dtype=float) @ layer["kernel"] + layer["bias"]
        return scores[:, 0] if scores.shape[1] == 1 else scores


class Problem:
    """An objective on centred columns. A point θ is [p + 1, K]: the rows of W, then b.

    Rows of weight 0 are left out. Centring changes b alone, and makes every method more exact.
    """

    def __init__(self, objective: Objective, X: Array, y: Array, weight: Array | None = None):
        self.loss, self.penalty = objective.loss, objective.penalty
        X, y = np.asarray(X, dtype=float), np.asarray(y)
        if X.ndim != 2 or y.shape != (len(X),) or not X.size:
            raise ShapeError(f"X has shape {X.shape} and y {y.shape}; expected [n, p] and [n]")
        share = _shares(weight, y)
        kept = share > 0
        for row, column in np.argwhere(~np.isfinite(X) & kept[:, None])[:1]:
            raise DataError(
                f"X holds {X[row, column]} in row {row + 1}, column {column + 1}; "
                f"drop or repair that row"
            )
        self.loss.check_minimisable()
        self.loss.check_target(np.where(kept, y, y[kept][0]))
        self.y, self.weight = y[kept], share[kept]
        self.outputs = 1
        if self.loss.score_axes:
            self.y = self.y.astype(np.int64)
            self.outputs = int(self.y.max()) + 1
        self.Z = np.ones((len(self.y), X.shape[1] + 1))
        self.X = self.Z[:, :-1]
        first = X[kept][0]
        self.X[:] = X[kept] - first
        shift = self.weight @ self.X
        self.X -= shift
        self.centre = first + shift

    def scores(self, theta: Array) -> Array:
        """The score of every row, as the loss expects it."""
        scores = self.X @ theta[:-1] + theta[-1]
        return scores if self.loss.score_axes else scores[:, 0]

    def cost(self, theta: Array) -> float:
        """The weighted mean loss at θ."""
        with np.errstate(over="ignore"):
            return float(self.weight @ self.loss.value(self.scores(theta), self.y))

    def value(self, theta: Array) -> float:
        """The objective at θ."""
        return self.cost(theta) + float(self.penalty.value(theta[:-1]))

    def cost_gradient(self, theta: Array) -> Array:
        """The gradient of the cost alone, [p + 1, K]."""
        slopes = self.weighted(self.loss.gradient(self.scores(theta), self.y))
        slopes = slopes.reshape(len(self.X), self.outputs)
        return np.vstack([self.X.T @ slopes, slopes.sum(axis=0)])

    def gradient(self, theta: Array) -> Array:
        """The gradient of the smooth part of the objective, [p + 1, K]."""
        gradient = self.cost_gradient(theta)
        gradient[:-1] += self.penalty.slope(theta[:-1])
        return gradient

    def hessian(self, theta: Array) -> Array:
        """The Hessian of the smooth part, [(p + 1) K, (p + 1) K], in the order of θ.ravel()."""
        bends = self.weighted(self.loss.curvature(self.scores(theta), self.y))
        bends = bends.reshape(len(self.X), self.outputs, self.outputs)
        size, k = self.Z.shape[1], self.outputs
        hessian = np.empty((size, k, size, k))
        for a in range(k):
            root = self.Z * np.sqrt(bends[:, a, a, None])
            hessian[:, a, :, a] = root.T @ root
            np.einsum("ii->i", hessian[:-1, a, :-1, a])[...] += self.penalty.bend()
            before = self.Z[:, None, :] * bends[:, a, :a, None]
            blocks = (self.Z.T @ before.reshape(len(before), a * size)).reshape(size, a, size)
            hessian[:, a, :, :a] = blocks.transpose(0, 2, 1)
            hessian[:, :a, :, a] = blocks.transpose(0, 1, 2)
        return hessian.reshape(size * k, size * k)

    def weighted(self, values: Array) -> Array:
        """Per-example values times the example's share of the weight."""
        return self.weight.reshape(-1, *[1] * (values.ndim - 1)) * values

    def initial(self) -> Array:
        """θ with no slopes and the best constant score."""
        theta = np.zeros((self.X.shape[1] + 1, self.outputs))
        theta[-1] = self.loss.constant(self.y, self.weight)
        return theta

    @cached_property
    def scale(self) -> Array:
        """The size of a gradient entry that counts as 1: column size times typical slope.

        The slope is taken a little beside the best constant, where it may be rounding alone.
        """
        beside = self.initial()
        beside[-1] += 1e-6 * np.sqrt(self.weight @ np.square(self.y, dtype=float))
        slopes = self.loss.gradient(self.scores(beside), self.y)
        typical = np.sqrt(self.weight @ np.square(slopes).reshape(len(self.X), -1))
        columns = np.append(np.sqrt(self.weight @ np.square(self.X)), 1.0)
        scale = columns[:, None] * typical
        return np.where(scale > 0, scale, 1.0)

    def stationarity(self, theta: Array) -> float:
        """The largest scaled entry of the (proximal) gradient: 0 exactly at the optimum."""
        if self.penalty.smooth:
            return self.size(self.gradient(theta))
        gradient = self.cost_gradient(theta)
        gradient[:-1] = theta[:-1] - self.penalty.prox(theta[:-1] - gradient[:-1], 1.0)
        return self.size(gradient)

    def size(self, gradient: Array) -> float:
        """The largest scaled entry of a gradient."""
        return float(np.max(np.abs(gradient) / self.scale))

    def solution(
        self,
        theta: Array,
        status: str,
        converged: bool,
        history: dict[str, list[float]],
        certificate: Certificate | None = None,
    ) -> Solution:
        """What a solver returns: θ as named parameters, certified from the data."""
        kernel, bias = theta[:-1].copy(), theta[-1] - self.centre @ theta[:-1]
        params = {"output": {"kernel": kernel, "bias": bias}}
        certificate = certificate or stationarity_certificate(self.stationarity(theta))
        return Solution(self.value(theta), params, certificate, status, converged, history)


class Solver(Component):
    """A deterministic method for an `Objective`."""

    kind = "solver"

    def suits(self, objective: Objective, columns: int, outputs: int) -> str:
        """Why this solver is right for such a problem; empty if it cannot solve it."""
        raise NotImplementedError

    def minimise(
        self,
        objective: Objective,
        X: Array,
        y: Array,
        weight: Array | None = None,
        *,
        budget: Budget | None = None,
    ) -> Solution:
        """Minimise the objective on X [n, p], y [n] and weights [n].

        Raises:
            ArgumentError: the solver cannot handle the objective.
            ShapeError, DataError: the arrays do not fit together or hold what they must not.
        """
        if not objective.loss.by_row:
            raise ArgumentError(f"{objective.loss} is no loss of one row and its score")
        problem = Problem(objective, X, y, weight)
        if not self.suits(objective, problem.X.shape[1], problem.outputs):
            raise ArgumentError(
                f"{type(self).__name__} cannot minimise {objective.loss} with {objective.penalty} "
                f"and {problem.X.shape[1]} columns; let select() choose a solver"
            )
        with _blas().limit(limits=1, user_api="blas"):
            return self.run(problem, budget or Budget())

    def run(self, problem: Problem, budget: Budget) -> Solution:
        """Minimise a problem that has been checked."""
        raise NotImplementedError


def descend(
    problem: Problem,
    direction: Callable[[Array, Array], Array],
    *,
    tolerance: float,
    max_iterations: int,
    budget: Budget,
) -> tuple[Array, str, bool, dict[str, list[float]]]:
    """Go along `direction(θ, gradient)` by Armijo steps until the scaled gradient is small.

    Returns what `Problem.solution` takes: (θ, status, converged, history).
    """
    theta = problem.initial()
    value, gradient = problem.value(theta), problem.gradient(theta)
    history: dict[str, list[float]] = {"iteration": [], "value": [], "gradient_norm": []}
    step = 1.0
    for iteration in range(max_iterations + 1):
        norm = problem.size(gradient)
        record(history, iteration, value, norm)
        if norm <= tolerance:
            return theta, f"converged in {iteration} steps", True, history
        if iteration == max_iterations or budget.spent():
            why = budget.reason or f"the limit of {max_iterations} steps"
            status = f"ended by {why} with scaled gradient {norm:.1e}"
            return theta, status, False, history
        toward = direction(theta, gradient)
        step = armijo(problem, theta, value, gradient, toward, min(1.0, 4 * step))
        if step == 0.0:
            status = f"no step lowers the objective further; scaled gradient {norm:.1e}"
            return theta, status, bool(norm <= np.sqrt(tolerance)), history
        theta = theta + step * toward
        value, gradient = problem.value(theta), problem.gradient(theta)
    raise AssertionError("unreachable")


def armijo(
    problem: Problem, theta: Array, value: float, gradient: Array, toward: Array, step: float
) -> float:
    """The first step, halving from `step`, that earns a fair share of the promised decrease."""
    promised = float(np.sum(gradient * toward))
    rounding = 4 * np.finfo(float).eps * abs(value)
    while step > 1e-20:
        if problem.value(theta + step * toward) <= value + 1e-4 * step * promised + rounding:
            return step
        step /= 2
    return 0.0


def factorise(matrix: Array, lift: float) -> Callable[[Array], Array]:
    """b ↦ matrix⁻¹ b for a positive semi-definite matrix, its diagonal scaled to 1 + `lift`."""
    scale = np.sqrt(np.diag(matrix))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = matrix / np.outer(scale, scale)
    np.einsum("ii->i", scaled)[...] += lift
    factor = scipy.linalg.cho_factor(scaled)

    def solve(b: Array) -> Array:
        return scipy.linalg.cho_solve(factor, b / scale) / scale

    def refined(b: Array) -> Array:
        x = solve(b)
        return x + solve(b - matrix @ x)

    return refined


def record(history: dict[str, list[float]], iteration: int, value: float, norm: float) -> None:
    """Append one line to a history."""
    for name, entry in zip(history, (iteration, value, norm), strict=True):
        history[name].append(entry)


def stationarity_certificate(value: float) -> Certificate:
    """The certificate of a smooth problem: how far from zero its scaled gradient is."""
    sentence = f"the largest scaled entry of the gradient is {value:.1e} (0 at the optimum)"
    return Certificate("gradient norm", value, sentence)


@cache
def _blas() -> ThreadpoolController:
    """The loaded linear algebra; threads that fight over busy cores cost more than they bring."""
    return ThreadpoolController()


def _shares(weight: Array | None, y: Array) -> Array:
    """Weights that sum to 1."""
    if weight is None:
        return np.full(len(y), 1 / len(y))
    weight = np.asarray(weight, dtype=float)
    if weight.shape != y.shape or not np.all(weight >= 0) or not 0 < weight.sum() < np.inf:
        raise DataError(
            f"weight must be [n] = {y.shape}, finite, not negative and not all zero; "
            f"it has shape {weight.shape}, minimum {weight.min()}, sum {weight.sum()}"
        )
    return weight / weight.sum()
