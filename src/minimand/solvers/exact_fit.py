"""A scale of 0: what counts are the absolute residuals of the rows that are not fitted exactly."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, cast

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.losses import Absolute
from minimand.solvers.base import Run
from minimand.solvers.interior_point import InteriorPoint
from minimand.solvers.problem import Objective, Problem

TINY, BESIDE = 1e-7, 1e-6
"""Parameters that count as 0, against the largest; what slopes of rows off the fit may lack."""

EASED = (1e6, 1e3, 1.0)
"""What a least scale is multiplied by, one time after the other."""

NO_SCALE = "{}; the scale of the residuals is 0, because enough rows are fitted exactly"


def with_scale(
    problem: Problem,
    start: Array,
    solve: Callable[[Problem, Array], tuple[Run, bool]],
    budget: Budget,
) -> Run:
    """The run of a problem with a scale for all rows; a scale that goes to 0 is 0, if it can be.

    Else it is held above smaller and smaller ones. `solve` gives (the run of a problem from a
    start, whether the scale is free there).
    """
    for held in EASED:
        run, free = solve(problem.eased(held), start)
        if free:
            return run
        exact = exact_fit(problem, budget) if held == EASED[0] else None
        if exact is not None and (value := problem.value(exact)) <= problem.value(run.theta):
            run.history.add(value, 0.0)
            return Run(exact, NO_SCALE.format("converged"), True, run.history)
        start = run.theta
    return replace(run, status=NO_SCALE.format(run.status))


def exact_fit(problem: Problem, budget: Budget) -> Array | None:
    """The optimal θ of a problem with a scale for all rows, if that is 0 there, else None.

    Then the loss is 2 ε mean |r|. Slopes u that prove its optimum prove the other's, too, where the
    mean of u² is at most 4. The residuals of rows that are fitted exactly are not quite 0, but such
    as have these slopes under the least scale.
    """
    loss, weight = cast(Any, problem.loss), problem.weight
    plain = _plain(problem, 2 * loss.epsilon)
    if plain is None or not InteriorPoint().suits(plain.objective, plain.shape):
        return None
    run = InteriorPoint().run(plain, budget)
    if run.duals is None or not run.converged:
        return None
    slopes = 2 * loss.epsilon * run.duals[:, 0] / weight
    if weight @ slopes**2 > 4:
        return None
    theta, design = run.theta.copy(), problem.design
    rows = np.flatnonzero(np.abs(slopes) < 2 * loss.epsilon * (1 - BESIDE))
    size = np.abs(theta[:-1, 0]) * design.size[:-1]
    theta[:-1][size <= TINY * size.max(initial=0.0)] = 0.0
    used = np.append(theta[:-1, 0] != 0, problem.objective.intercept)
    missed = problem.y[rows] + 0.5 * loss.least * slopes[rows] - problem.at(theta).scores[rows]
    theta[used, 0] += np.linalg.lstsq(design.dense(rows)[:, used], missed)[0]
    return theta


def _plain(problem: Problem, factor: float) -> Problem | None:
    """The problem of the absolute residuals, divided by a factor."""
    given = cast(Any, problem.objective.loss)
    if given.least > 0 or not hasattr(problem.penalty, "strength"):
        return None
    plain, penalty = copy(problem), cast(Any, problem.penalty)
    plain.loss, plain.penalty = Absolute(), replace(penalty, strength=penalty.strength / factor)
    plain.objective = Objective(plain.loss, plain.penalty, problem.objective.intercept)
    return plain
