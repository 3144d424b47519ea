"""Solutions for a falling strength of the penalty, each from the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.errors import ArgumentError
from minimand.penalties import Penalty
from minimand.solvers.base import Solution, Solver
from minimand.solvers.problem import Objective, Problem
from minimand.solvers.selection import select

RIDGE = 1e-3
"""The least share of a kink that the first strength is reckoned with: L2 has none at all."""

ENOUGH, PROGRESS = 0.999, 1e-5
"""A path ends when it explains so much, or when a strength explains no more than that share."""


@dataclass(frozen=True)
class Path:
    """Solutions along `strengths`, from strong to weak.

    `explained` is the share of the null model's deviance that each has taken away: of what its loss
    exceeds that of scores which fit every row as well as can be.
    """

    strengths: Array
    solutions: tuple[Solution, ...]
    explained: Array
    status: str

    def __iter__(self) -> Iterator[Solution]:
        return iter(self.solutions)

    def __len__(self) -> int:
        return len(self.solutions)

    def __getitem__(self, index: int) -> Solution:
        return self.solutions[index]

    @property
    def coefs(self) -> Array:
        """The slopes of every solution, [count, p, K]."""
        return np.stack([one.params["output"]["kernel"] for one in self.solutions])

    def summary(self) -> str:
        """A line for each strength: how many parameters are not zero, and what they explain."""
        lines = ["strength    nonzero  explained  evidence"]
        for strength, one, share in zip(
            self.strengths, self.solutions, self.explained, strict=True
        ):
            used = np.count_nonzero(one.params["output"]["kernel"])
            lines.append(f"{strength:<11.4g} {used:7d}  {share:9.4f}  {one.certificate.sentence}")
        return "\n".join([*lines, self.status])


def path(
    objective: Objective,
    X: Any,
    y: Any,
    weight: Any = None,
    *,
    offset: Any = None,
    strengths: Sequence[float] | Array | None = None,
    count: int = 100,
    ratio: float | None = None,
    solver: str | Solver = "auto",
    budget: Budget | None = None,
) -> Path:
    """The objective for many strengths of its penalty, from the least that leaves no slope.

    The penalty's own strength is not used. `strengths` are those to take, in any order; without
    them there are `count`, evenly spaced on a logarithmic scale from the strongest useful one down
    to `ratio` times it (1e-3, or 1e-2 where rows are fewer than columns; 1e-4 of that for L2). The
    data, `solver` and `budget` are as for `minimise`; a spent budget ends the path.

    L2 leaves every slope at any strength; like glmnet, its path begins where a thousandth as much
    L1 would leave none. It ends early when 0.999 of the null model's loss is explained, or when a
    strength explains nearly nothing more.

    Raises:
        ArgumentError: the penalty has no strength, or strengths, count or ratio make no sense.

    Source: Friedman, Hastie and Tibshirani (2010), Regularization paths for generalized linear
    models via coordinate descent, section 2.5.

    >>> from minimand.losses import HalfSquared
    >>> from minimand.penalties import L1
    >>> X, y = np.array([[-1.0, 0.5], [0.0, -1.0], [1.0, 0.5]]), np.array([1.0, 3.0, 5.0])
    >>> found = path(Objective(HalfSquared(), L1()), X, y, strengths=[1.0, 0.1])
    >>> found.coefs[:, 0, 0].round(6).tolist()
    [0.5, 1.85]
    """
    penalty = objective.penalty
    if not hasattr(penalty, "strength"):
        raise ArgumentError(f"{penalty} has no strength to vary; use L1, L2, ElasticNet or Group")
    budget = budget or Budget()
    problem = Problem(objective, X, y, weight, offset)
    null = problem.initial()
    given = strengths is not None
    falling = _given(strengths) if given else _computed(problem, null, count, ratio)
    chosen, why = _solver(objective, penalty, problem, solver, falling)
    solutions: list[Solution] = []
    explained: list[float] = []
    status = f"the whole path of {len(falling)} strengths"
    least = saturated(problem)
    base = problem.at(null).cost - least
    theta = null
    for strength in falling:
        one = _with(problem, _strong(penalty, float(strength)), theta)
        solution = chosen.solve(one, why, budget)
        layer = solution.params["output"]
        theta = problem.design.point(layer["kernel"], layer["bias"])
        cost = solution.value - float(one.penalty.of(layer["kernel"]))
        solutions.append(solution)
        explained.append(1 - (cost - least) / base if base > 0 else 1.0)
        if budget.spent():
            status = f"ended by {budget.reason} at {len(solutions)} of {len(falling)} strengths"
            break
        if not given and _enough(explained):
            status = f"ended at {len(solutions)} of {len(falling)} strengths: little is left"
            break
    return Path(falling[: len(solutions)], tuple(solutions), np.array(explained), status)


def strongest(problem: Problem) -> float:
    """The least strength that leaves no slope; for L2, see `path`."""
    unit = _strong(problem.penalty, 1.0)
    gradient = problem.at(problem.initial()).gradient[:-1]
    if hasattr(unit, "l1_ratio") or unit.smooth:
        return float(np.max(np.abs(gradient)) / max(float(unit.corner), RIDGE))
    return float(unit.dual_norm(gradient))


def saturated(problem: Problem) -> float:
    """The weighted mean loss of scores that fit every row as well as can be, by bisection."""
    if problem.outputs > 1:
        return 0.0
    far = max(50.0, 2 * float(np.max(np.abs(problem.y))))
    low, high = (np.full((len(problem.y), 1), end) for end in (-far, far))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(64):
            middle = 0.5 * (low + high)
            rising = problem.slopes(middle) > 0
            low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return problem.cost(0.5 * (low + high))


def _computed(problem: Problem, null: Array, count: int, ratio: float | None) -> Array:
    if ratio is None:
        ratio = 1e-2 if problem.design.rows < problem.design.columns else 1e-3
        if problem.penalty.smooth:  # the start is as many times further up
            ratio *= 1e-4
    if not (count >= 1 and 0 < ratio < 1):
        raise ArgumentError(f"count is {count} and ratio {ratio}; count ≥ 1 and 0 < ratio < 1")
    top = strongest(problem)
    return np.geomspace(top, ratio * top, count) if top > 0 else np.array([1.0])


def _given(strengths: Any) -> Array:
    falling = np.sort(np.asarray(strengths, dtype=float).ravel())[::-1]
    if not (len(falling) and np.all(falling >= 0) and np.all(np.isfinite(falling))):
        raise ArgumentError(
            f"strengths are {strengths}; they must be numbers that are not negative"
        )
    return falling


def _solver(
    objective: Objective, penalty: Penalty, problem: Problem, solver: str | Solver, falling: Array
) -> tuple[Solver, str]:
    first = replace(objective, penalty=_strong(penalty, float(falling[0])))
    if solver == "auto":
        return select(first, problem.shape)
    chosen = Solver.parse(solver) if isinstance(solver, str) else solver
    why = chosen.suits(first, problem.shape)
    if not why:
        raise ArgumentError(f"{chosen} cannot minimise {objective.loss} with {penalty}")
    return chosen, why


def _strong(penalty: Penalty, strength: float) -> Penalty:
    """The penalty with another strength."""
    return penalty.from_json(penalty.to_json() | {"strength": strength})


def _with(problem: Problem, penalty: Penalty, start: Array) -> Problem:
    """The same data with another penalty and start."""
    other = copy(problem)
    other.penalty, other.start, other.warm = penalty, start, True
    other.objective = replace(problem.objective, penalty=penalty)
    return other


def _enough(explained: list[float]) -> bool:
    if len(explained) < 5:
        return False
    last, before = explained[-1], explained[-2]
    return last > ENOUGH or last - before < PROGRESS * last
