"""Evidence that a point is optimal, measured from the data and not taken from the solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minimand.arrays import Array
from minimand.solvers.problem import Problem


@dataclass(frozen=True)
class Certificate:
    """How near to the optimum the parameters are."""

    kind: str
    value: float
    sentence: str


def certify(problem: Problem, theta: Array, duals: Array | None) -> tuple[float, Certificate]:
    """(the objective at θ, the evidence for θ), by a reading of the data of its own."""
    point = problem.at(theta)
    if not np.all(np.isfinite(point.gradient)):
        problem.design.check_finite()
    size = problem.stationarity(point)
    sentence = f"the largest scaled entry of the gradient is {size:.1e} (0 at the optimum)"
    return point.value, Certificate("gradient norm", size, sentence)
