"""The conditional gradient method: the loss under a limit on ‖W‖₁ instead of a penalty."""

from __future__ import annotations

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.solvers.base import History, Run, Solution, Solver
from minimand.solvers.certificate import gap_certificate
from minimand.solvers.linear_algebra import one_thread
from minimand.solvers.problem import Objective, Point, Problem, Shape


@component
class FrankWolfe(Solver):
    """The minimum of a smooth convex objective over ‖W‖₁ ≤ radius, by steps towards its corners.

    The limit belongs to the solver, not to the objective; the intercept is free. The certificate is
    the gap to the best point within the limit. A plain reference: it needs many steps.

    >>> from minimand.losses import Squared
    >>> X, y = np.array([[-1.0, 0.1], [0.0, -0.2], [1.0, 0.1]]), np.array([1.0, 3.0, 5.0])
    >>> solution = FrankWolfe(radius=1.5).minimise(Objective(Squared()), X, y)
    >>> solution.params["output"]["kernel"].round(6).ravel().tolist()
    [1.5, 0.0]
    """

    radius: Positive = 1.0
    tolerance: Positive = 1e-4
    max_iterations: Count = 10000
    card = Card(
        formula="W ← (1 - t) W + t s, s = -radius sign(gⱼ) at the largest |gⱼ|",
        source="Frank and Wolfe (1956), An algorithm for quadratic programming; Jaggi (2013), "
        "Revisiting Frank-Wolfe: projection-free sparse convex optimization, eq. 2",
        use="seeing how a limit on the parameters works; one column a step",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must be smooth and convex, the penalty smooth."""
        curved = objective.smooth and objective.loss.card.convex and objective.penalty.smooth
        return "smooth and convex under a limit on the sum of |w|" if curved else ""

    def solve(self, problem: Problem, why: str, budget: Budget) -> Solution:
        """Minimise, and measure the gap within the limit from the data."""
        with one_thread():
            run = self.run(problem, budget)
            point = problem.at(run.theta)
        gap = self._step(problem, point)[1]
        certificate = gap_certificate(gap, point.value)
        params, history = problem.params(run.theta), run.history.lines
        return Solution(
            point.value, params, certificate, run.status, run.converged, history, str(self), why
        )

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Go towards the best corner, as far as pays."""
        theta = problem.start.copy()
        size = float(np.abs(theta[:-1]).sum())
        theta[:-1] *= min(1.0, self.radius / size) if size else 1.0
        point, history, share = problem.at(theta), History(problem, "gap"), 0.0
        if not np.all(np.isfinite(point.gradient)):
            problem.design.check_finite()
        for iteration in range(self.max_iterations + 1):
            step, gap = self._step(problem, point)
            history.add(point.value, gap, share)
            if gap <= self.tolerance * abs(point.value):
                return Run(point.theta, f"converged in {iteration} steps", True, history)
            if iteration == self.max_iterations or budget.spent():
                break
            ahead = problem.at(point.theta + step)
            share = _best_share(problem, point, ahead)
            point = problem.between(point, ahead, share)
        why = budget.reason or f"the limit of {self.max_iterations} steps"
        return Run(point.theta, f"ended by {why}; gap {gap:.1e}", False, history)

    def _step(self, problem: Problem, point: Point) -> tuple[Array, float]:
        """(the way to the best corner, with a Newton step of the intercept; the gap)."""
        kernel, gradient = point.theta[:-1], point.gradient[:-1]
        best = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
        step = np.zeros_like(point.theta)
        step[:-1] = -kernel
        step[:-1][best] -= self.radius * np.sign(gradient[best])
        gap = -float(np.sum(gradient * step[:-1]))
        if problem.objective.intercept:
            bends = problem.bends(problem.columns(point.scores)).sum(axis=0)
            step[-1] = -np.linalg.lstsq(bends, point.gradient[-1])[0]
            gap -= 0.5 * float(point.gradient[-1] @ step[-1])
        return step, max(gap, 0.0)


def _best_share(problem: Problem, point: Point, ahead: Point) -> float:
    """The share of the step where the objective is lowest."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda share: problem.value_between(point, ahead, share),
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    best: float = found.x
    return 1.0 if ahead.value <= found.fun else best
