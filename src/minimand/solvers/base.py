"""What a solver is: a deterministic full-batch method for an objective, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Component
from minimand.errors import ArgumentError
from minimand.solvers.certificate import Certificate, certify
from minimand.solvers.linear_algebra import one_thread
from minimand.solvers.problem import Objective, Problem, Shape


@dataclass(frozen=True)
class Solution:
    """Parameters {"output": {"kernel": [p, K], "bias": [K]}}, with the evidence for them.

    `history` holds, line by line, the iteration, the value of the objective, the size of the
    gradient (or the gap), the step and the readings of the data so far.
    """

    value: float
    params: dict[str, Any]
    certificate: Certificate
    status: str
    converged: bool
    history: dict[str, list[float]] = field(repr=False)
    solver: str = ""
    why: str = ""

    def scores(self, X: Any, offset: Array | None = None) -> np.ndarray:
        """X W + b (+ offset) for rows X [n, p]: [n], or [n, K] for a loss over K classes."""
        layer = self.params["output"]
        scores: np.ndarray = X @ layer["kernel"] + layer["bias"]
        if offset is not None:
            scores = scores + np.asarray(offset)[:, None]
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def summary(self) -> str:
        """What was minimised, how it ended and what proves it, in sentences."""
        return (
            f"objective {self.value:.9g}; {self.status}; {self.certificate.sentence}; "
            f"by {self.solver}: {self.why}"
        )


@dataclass
class Run:
    """What a solver hands back: a point θ, how it ended and its history.

    `duals` [n, J] are slopes of the weighted loss, which the certificate checks against the data.
    `ahead` is where one more step would lead: taken, unless the objective is higher there.
    """

    theta: Array
    status: str
    converged: bool
    history: History
    duals: Array | None = None
    ahead: Array | None = None


class History:
    """The lines of a run: iteration, value, gradient_norm (or gap), step, passes."""

    def __init__(self, problem: Problem, measure: str = "gradient_norm"):
        self.problem, self.measure = problem, measure
        names = ("iteration", "value", measure, "step", "passes")
        self.lines: dict[str, list[float]] = {name: [] for name in names}

    def add(self, value: float, size: float, step: float = 1.0) -> None:
        """Append a line."""
        line = (len(self.lines["value"]), value, size, step, self.problem.design.readings)
        for name, entry in zip(self.lines, line, strict=True):
            self.lines[name].append(float(entry))


class Solver(Component):
    """A deterministic method for an `Objective`."""

    kind = "solver"

    def suits(self, objective: Objective, shape: Shape) -> str:
        """Why this solver is right for such a problem; empty if it cannot solve it."""
        raise NotImplementedError

    def pays(self, shape: Shape) -> bool:
        """Whether it is worth choosing for a problem of that size."""
        return True

    def minimise(
        self,
        objective: Objective,
        X: Any,
        y: Any,
        weight: Any = None,
        *,
        offset: Any = None,
        start: dict[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> Solution:
        """Minimise the objective on X [n, p], y [n], weights [n] and offsets of the score [n].

        X is an array of float32 or float64 in any order, or a scipy.sparse matrix; it is not
        copied. `start` are the parameters of an earlier solution.

        Raises:
            ArgumentError: the solver cannot handle the objective.
            ShapeError, DataError: the arrays do not fit together or hold what they must not.
        """
        problem = Problem(objective, X, y, weight, offset, start)
        why = self.suits(objective, problem.shape)
        if not why:
            raise ArgumentError(
                f"{type(self).__name__} cannot minimise {objective.loss} with {objective.penalty} "
                f"and {problem.shape.columns} columns; let select() choose a solver"
            )
        return self.solve(problem, why, budget or Budget())

    def solve(self, problem: Problem, why: str, budget: Budget) -> Solution:
        """Minimise a problem that has been checked, and certify what comes out."""
        with one_thread():
            run = self.run(problem, budget)
            theta = run.theta if run.ahead is None else run.ahead
            value, certificate = certify(problem, theta, run.duals)
            if theta is not run.theta and not value <= run.history.lines["value"][-1]:
                theta = run.theta
                value, certificate = certify(problem, theta, run.duals)
        status, converged = run.status, run.converged
        if converged and not certificate.near(value):
            status, converged = f"{status}, which its certificate does not bear out", False
        return Solution(
            value,
            problem.params(theta),
            certificate,
            status,
            converged,
            run.history.lines,
            str(self),
            why,
        )

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Minimise a problem that has been checked."""
        raise NotImplementedError
