"""A primal-dual interior point method for losses made of two lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.linear_algebra import factorise
from minimand.solvers.problem import Objective, Problem, Shape

Solve = Callable[[Array], Array]


@component
class InteriorPoint(Solver):
    """Predictor-corrector steps on the optimality conditions of a piecewise linear loss.

    Each example's loss is max over d in [low, high] of d (score - kink). The dual variables d are
    kept inside their boxes while the complementarity is driven to zero.

    >>> from minimand.losses import Absolute
    >>> X, y = np.arange(5.0)[:, None], np.array([1.0, 3.0, 5.0, 7.0, 100.0])
    >>> solution = InteriorPoint().minimise(Objective(Absolute()), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [2.0]
    """

    tolerance: Positive = 1e-9
    max_iterations: Count = 100
    card = Card(
        formula="min_w max_{low ≤ d ≤ high} dᵀ(X w - kink) + ½ λ ‖w‖²",
        source="Portnoy and Koenker (1997), The Gaussian hare and the Laplacian tortoise; "
        "Mehrotra (1992), On the implementation of a primal-dual interior point method",
        use="absolute, quantile and hinge losses, exactly",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must consist of two lines, with a minimum that says something."""
        fits = hasattr(objective.loss, "pieces") and objective.penalty.smooth
        useful = fits and not objective.loss.card.zero_is_optimal
        return "made of straight pieces: exact steps, and a duality gap as proof" * useful

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Iterate until the duality gap is small against the objective."""
        state = _Point(problem)
        history = History(problem, "gap")
        for iteration in range(self.max_iterations + 1):
            value = problem.value(state.theta)
            gap = state.gap()
            history.add(value, gap)
            if gap <= self.tolerance * max(abs(value), state.size):
                status = f"converged in {iteration} steps"
                return Run(state.theta, status, True, history, state.d[:, None])
            if iteration == self.max_iterations or budget.spent() or not state.advance():
                break
        why = budget.reason or "numerical limits"
        if iteration == self.max_iterations:
            why = f"the limit of {iteration} steps"
        status = f"ended by {why} with duality gap {gap:.1e}"
        return Run(state.theta, status, False, history, state.d[:, None])


class _Point:
    """Scores' slacks u, v ≥ 0 (score - kink = v - u) and duals low < d < high, with one step."""

    def __init__(self, problem: Problem):
        y = problem.y.astype(float)
        kink, low, high = problem.loss.pieces(y)  # type: ignore[attr-defined]
        share = problem.weight
        self.columns = problem.design.size
        self.Z = problem.design.dense(np.arange(problem.design.rows))
        self.kink, self.low, self.high = kink, share * low, share * high
        self.ridge = np.append(np.full(problem.design.columns, float(problem.penalty.bend())), 0.0)
        self.theta = problem.start.copy()
        self.d = (self.low + self.high) / 2
        t = self.Z @ self.theta[:, 0] - self.kink
        self.size = float(share @ np.abs(t)) or 1.0
        self.v = np.maximum(t, 0) + self.size
        self.u = self.v - t

    def complementarity(self) -> float:
        """Σ s u + r v, which every step drives to zero."""
        return float((self.d - self.low) @ self.u + (self.high - self.d) @ self.v)

    def gap(self) -> float:
        """The complementarity, and what rounding left of Zᵀ d + λ w: no less than the distance."""
        theta = self.theta[:, 0]
        return self.complementarity() + float(np.abs(self.balance()) @ np.abs(theta))

    def balance(self) -> Array:
        """Zᵀ d + λ w: zero when the duals agree with the parameters."""
        return self.Z.T @ self.d + self.ridge * self.theta[:, 0]

    def advance(self) -> bool:
        """One predictor-corrector step; False when rounding leaves no room for one."""
        s, r = self.d - self.low, self.high - self.d
        if min(s.min(), r.min(), self.u.min(), self.v.min()) <= 0:
            return False
        pull = 1 / (self.u / s + self.v / r)
        root = self.Z * np.sqrt(pull[:, None])
        matrix = root.T @ root + np.diag(self.ridge)
        try:
            solve = factorise(matrix, 1e-13, self.columns)
        except (scipy.linalg.LinAlgError, ValueError):
            return False
        mu = self.complementarity() / (2 * len(self.d))
        guess = self._direction(solve, pull, s, r, 0.0, 0.0, 0.0)
        a = self._longest(guess, s, r)
        dd, du, dv = guess[1:]
        after = (s + a * dd) @ (self.u + a * du) + (r - a * dd) @ (self.v + a * dv)
        target = mu * (after / (2 * len(self.d) * mu)) ** 3
        move = self._direction(solve, pull, s, r, target, dd * du, -dd * dv)
        a = min(1.0, 0.9995 * self._longest(move, s, r))
        self.theta = self.theta + a * move[0][:, None]
        self.d, self.u, self.v = self.d + a * move[1], self.u + a * move[2], self.v + a * move[3]
        return a > 1e-10

    def _direction(
        self, solve: Solve, pull: Array, s: Array, r: Array, mu: float, su: Array, rv: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Solve the linearised conditions s u = μ - su, r v = μ - rv for (θ, d, u, v)."""
        t = self.Z @ self.theta[:, 0] - self.kink
        force = t - (mu - rv) / r + (mu - su) / s
        d_theta = -solve(self.balance() + self.Z.T @ (pull * force))
        dd = pull * (self.Z @ d_theta + force)
        du = (mu - su) / s - self.u - self.u / s * dd
        dv = (mu - rv) / r - self.v + self.v / r * dd
        return d_theta, dd, du, dv

    def _longest(self, move: tuple[Array, Array, Array, Array], s: Array, r: Array) -> float:
        """The longest step, at most 1, that keeps everything positive."""
        _, dd, du, dv = move
        pairs = ((s, dd), (r, -dd), (self.u, du), (self.v, dv))
        bounds = [np.min(-x[dx < 0] / dx[dx < 0], initial=1.0) for x, dx in pairs]
        return float(min(bounds))
