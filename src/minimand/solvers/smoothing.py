"""Kinks rounded off about the slopes found so far, again and again, until they are exact."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.component import Card, Count, Positive, component
from minimand.losses import Loss
from minimand.penalties import Penalty
from minimand.solvers.axes import independent
from minimand.solvers.base import History, Run, Solver
from minimand.solvers.certificate import balanced, piecewise_gap
from minimand.solvers.descent import Armijo, Decrement, Direction, descend
from minimand.solvers.linear_algebra import lifted
from minimand.solvers.newton import LARGEST_SYSTEM
from minimand.solvers.polish import conjugate_gradient
from minimand.solvers.problem import Objective, Point, Problem, Shape

SHRINK, NARROWEST = 0.2, 1e-6
"""What the width of the smoothing falls by from round to round, and its least share of the room."""

EASY = 1e-3
"""The share of the first objective that the gap is measured against, if less is left of it."""

LIFT = 0.1
"""The largest share of all rows that lifts a Hessian."""

INNER, STEPS = 1e-13, 100
"""The tolerance of Newton's method within a round, and its steps at most."""

FINEST, FORCING, MOST = 1e-19, 1e-4, 600
"""The same of conjugate gradients: the gap hangs on slopes that the objective hardly feels."""


@component
class Smoothing(Solver):
    """The proximal method of multipliers: every round solves a smooth problem from the last.

    Slopes of the loss and of the penalty that differ from the last round's cost ½ τ times their
    squared distance, which rounds the kinks off. As the slopes settle this changes nothing, so τ
    need not go to 0; and they prove how near the optimum is.

    >>> from minimand.losses import CrammerSinger
    >>> from minimand.penalties import L2
    >>> X, y = np.arange(6.0)[:, None], np.array([0, 0, 1, 1, 2, 2])
    >>> solution = Smoothing().minimise(Objective(CrammerSinger(), L2(0.1)), X, y)
    >>> round(solution.value, 6)
    0.388889
    """

    tolerance: Positive = 1e-6
    max_iterations: Count = 30
    card = Card(
        formula="min over w of max over d of ⟨d, v(X w)⟩ - ½ τ ‖d - d₀‖² + p(w), then d₀ ← d",
        source="Rockafellar (1976), Augmented Lagrangians and applications of the proximal point "
        "algorithm in convex programming; Nesterov (2005), Smooth minimization of non-smooth "
        "functions",
        use="kinked losses with a group penalty; hinges of many classes on many columns",
    )

    def suits(self, objective: Objective, shape: Shape) -> str:
        """The loss must have flat pieces, with a minimum that says something."""
        useful = objective.polytope is not None and not objective.loss.card.zero_is_optimal
        reason = "flat pieces that meet in kinks: smooth problems, and a duality gap as proof"
        return reason if useful else ""

    def run(self, problem: Problem, budget: Budget) -> Run:
        """Solve a smooth problem, take its slopes as the next one's centre, until the gap is 0."""
        turned, back = independent(problem)
        run = self._rounds(turned, budget)
        return replace(run, theta=back(run.theta))

    def _rounds(self, problem: Problem, budget: Budget) -> Run:
        history, state = History(problem, "gap"), _first(problem)
        width, unit = state.room, abs(state.point.value)
        best = state
        for iteration in range(self.max_iterations + 1):
            best = min(best, state, key=lambda one: one.gap)
            history.add(state.point.value, state.gap, width)
            left = state.gap / max(abs(state.point.value), EASY * unit, np.finfo(float).tiny)
            if left <= self.tolerance:
                return self._ended(problem, state, f"converged in {iteration} rounds", history)
            if iteration == self.max_iterations or budget.spent():
                break
            ahead = _round(problem, state, width, budget)
            width *= SHRINK if ahead.gap < state.gap else 1 / SHRINK
            width, state = max(width, NARROWEST * ahead.room), ahead
        why = budget.reason or f"the limit of {self.max_iterations} rounds"
        status = f"ended by {why} with duality gap {best.gap:.1e}"
        return replace(self._ended(problem, best, status, history), converged=False)

    def _ended(self, problem: Problem, state: _State, status: str, history: History) -> Run:
        duals = problem.weight[:, None] * state.duals
        return Run(state.point.theta, status, True, history, duals)


class _State(NamedTuple):
    """A point, slopes of the loss's v [n, J] and of the penalty's kinks [p, K], and their gap.

    `room` is how far scores lie from kinks, on average.
    """

    point: Point
    duals: Array
    edges: Array
    gap: float
    room: float


def _state(problem: Problem, theta: Array, duals: Array, edges: Array) -> _State:
    form = problem.objective.polytope
    assert form is not None
    point = problem.at(theta)
    if not np.all(np.isfinite(point.gradient)):
        problem.design.check_finite()
    room = float(np.mean(np.abs(form.apart(problem.columns(point.scores), problem.y)))) or 1.0
    gap = piecewise_gap(problem, point, problem.weight[:, None] * duals)
    return _State(point, duals, edges, gap, room)


def _first(problem: Problem) -> _State:
    """The start, with slopes of 0."""
    form = problem.objective.polytope
    assert form is not None
    apart = form.apart(problem.columns(problem.at(problem.start).scores), problem.y)
    duals = form.nearest(np.zeros_like(apart), problem.y)
    return _state(problem, problem.start, duals, np.zeros_like(problem.start[:-1]))


def _round(problem: Problem, state: _State, width: float, budget: Budget) -> _State:
    """The optimum of the objective smoothed about these slopes, and its slopes."""
    loss = SmoothLoss(problem.loss, problem.y, state.duals, width)
    smooth = copy(problem)
    smooth.objective, smooth.loss = replace(problem.objective, loss=loss), loss
    smooth.y, smooth.start, smooth.warm = np.arange(len(problem.y)), state.point.theta, True
    penalty: Any = SmoothPenalty(problem, state.edges, width)
    smooth.penalty = penalty
    curved = _Dense if problem.shape.parameters <= LARGEST_SYSTEM else _Products
    run = descend(
        smooth,
        curved(smooth, penalty),
        search=Armijo(),
        stop=Decrement(INNER),
        max_iterations=STEPS,
        budget=budget,
    )
    ends = run.theta if run.ahead is None else run.ahead
    reached = smooth.at(ends)
    scores = problem.columns(reached.scores)
    if problem.objective.intercept:
        scores = balanced(smooth, scores, reached.gradient[-1])[0]
    duals = loss.duals(loss.form.apart(scores, problem.y), slice(None))
    theta, kernel = ends.copy(), ends[:-1]
    theta[:-1] = penalty.rounded(kernel)
    return _state(problem, theta, duals, penalty.edges(kernel))


class _Dense(Direction):
    """-H⁻¹ g, with the curvature of the smoothed penalty.

    Few rows may bend, so that H is lifted by what a share of all rows would add to its diagonal: a
    share that goes to 0 with the gradient.
    """

    def __init__(self, problem: Problem, penalty: SmoothPenalty):
        self.problem, self.penalty = problem, penalty
        self.size = np.repeat(problem.design.size[:, None], problem.outputs, axis=1)
        self.most = problem.loss.fact("curvature") * np.square(self.size)

    def __call__(self, point: Point) -> Array:
        """The Newton step."""
        hessian = self.problem.hessian(point)
        inner = len(hessian) - self.problem.outputs
        hessian[:inner, :inner] += self.penalty.at(point.theta[:-1]).matrix()
        np.einsum("ii->i", hessian)[...] += self.lift(point).ravel()
        step: Array = -lifted(hessian, 1e-10)(point.gradient.ravel())
        return step.reshape(point.theta.shape)

    def lift(self, point: Point) -> Array:
        """What is added to the diagonal."""
        return LIFT * min(1.0, self.problem.slope_size(point.gradient)) * self.most


class _Products(_Dense):
    """The same by conjugate gradients, for H with too many entries.

    The part of H that belongs to columns in use is factorised, if it is small enough.
    """

    def __call__(self, point: Point) -> Array:
        """The Newton step."""
        problem, lift = self.problem, self.lift(point)
        bends = problem.bends(problem.columns(point.scores))
        corner = self.penalty.at(point.theta[:-1])
        lift[:-1] += self.penalty.bend()
        diagonal = np.square(problem.design.size)[:, None] * np.einsum("nkk->k", bends) + lift
        diagonal[:-1] += corner.diagonal
        used = np.append(np.flatnonzero(corner.used.any(axis=1)), len(lift) - 1)
        solve = self._solved(point, corner, used, lift[used])

        def times(step: Array) -> Array:
            moved = np.einsum("nab,nb->na", bends, problem.design.push(step))
            product = problem.design.pull(moved) + lift * step
            product[:-1] += corner.times(step[:-1])
            return product

        def precondition(b: Array) -> Array:
            x = b / diagonal
            if solve is not None:
                x[used] = solve(b[used].ravel()).reshape(-1, b.shape[1])
            return x

        least = FINEST * abs(point.value)
        return conjugate_gradient(
            times, -point.gradient, precondition, share=FORCING, least=least, most=MOST
        )[0]

    def _solved(
        self, point: Point, corner: Corner, used: Array, lift: Array
    ) -> Callable[[Array], Array] | None:
        """b ↦ H⁻¹ b for these rows of θ alone; None if they are too many."""
        if lift.size > LARGEST_SYSTEM:
            return None
        part = copy(self.problem)
        part.design = self.problem.design.pick(used[:-1])
        hessian = part.hessian(point)
        inner = lift[:-1].size
        hessian[:inner, :inner] += corner.on(used[:-1]).matrix()
        ridge = np.append(np.full(inner, self.penalty.bend()), np.zeros(len(lift[-1])))
        np.einsum("ii->i", hessian)[...] += lift.ravel() - ridge
        return lifted(hessian, 1e-10)


class SmoothLoss(Loss):
    """max over d of ⟨d, v⟩ - ½ τ ‖d - d₀‖²; its targets are the numbers of the rows.

    `duals` d₀ [n, J] belong to all rows, as do the targets y.
    """

    card = Card(
        formula="max over d of ⟨d, v⟩ - ½ τ ‖d - d₀‖²",
        source="Nesterov (2005), Smooth minimization of non-smooth functions",
        use="rounding off kinks",
        convex=True,
        curvature=lambda loss: 1 / loss.width,
        kinks="a slope reaches the edge of its polytope",
    )

    def __init__(self, loss: Loss, target: Array, centre: Array, width: float):
        form = Objective(loss).polytope
        assert form is not None
        self.loss, self.form = loss, form
        self.target, self.centre, self.width = target, centre, width
        self.score_axes = loss.score_axes  # type: ignore[misc]

    @property
    def by_row(self) -> bool:
        """Each example stands alone."""
        return True

    def duals(self, apart: Array, rows: Any) -> Array:
        """The slopes d of v [n, J] where the maximum is."""
        return self.form.nearest(self._free(apart, rows), self.target[rows])

    def value(self, score: Array, target: Array) -> Array:
        return self.value_and_gradient(score, target)[0]

    def gradient(self, score: Array, target: Array) -> Array:
        return self.value_and_gradient(score, target)[1]

    def value_and_gradient(self, score: Array, target: Array) -> tuple[Array, Array]:
        apart = self._apart(score, target)
        duals = self.duals(apart, target)
        moved = duals - self.centre[target]
        value = np.sum(duals * apart - 0.5 * self.width * moved * moved, axis=1)
        return value, self.form.pulled(duals, self.target[target]).reshape(score.shape)

    def curvature(self, score: Array, target: Array) -> Array:
        y, free = self.target[target], self._free(self._apart(score, target), target)
        half = self.form.pulled(self.form.turned(free, y), y[:, None])
        whole = self.form.pulled(half.swapaxes(-1, -2), y[:, None]) / self.width
        return whole.reshape(score.shape + score.shape[1:])

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        return self.loss.constant(self.target[target], weight)

    def _apart(self, score: Array, target: Array) -> Array:
        return self.form.apart(score.reshape(len(score), -1), self.target[target])

    def _free(self, apart: Array, rows: Any) -> Array:
        """Where the maximum would be without a polytope."""
        return self.centre[rows] + apart / self.width


class SmoothPenalty:
    """max over e of ⟨e, W⟩ - ½ Σ τ (e - e₀)² for the slopes e of the kinks, plus the ridge.

    τ is the width in units of the scores over the squared sizes of the columns.
    """

    smooth = True

    def __init__(self, problem: Problem, centre: Array, width: float):
        self.penalty: Penalty = problem.penalty
        self.centre = centre
        rows = np.arange(len(centre))
        group = rows
        if not self.penalty.separable:
            group = np.array([self.penalty.together(rows[i : i + 1])[0] for i in rows])
        square = np.zeros(len(rows))
        np.maximum.at(square, group, np.square(problem.design.size[:-1]))
        self.width = width / square[group][:, None]
        columns = np.arange(centre.shape[1])
        whole = group[:, None] * len(columns) + columns * self.penalty.entrywise
        self.group = whole.ravel()
        """The number of the group of every entry."""

    def rounded(self, w: Array) -> Array:
        """Parameters that feel the kinks: many are 0. They equal W once the slopes have settled."""
        step = self.width if self.penalty.entrywise else self.width[:, 0]
        shrunk: Array = self.penalty.shrink(w + self.width * self.centre, step)
        return shrunk * (1 + self.width * self.bend())

    def edges(self, w: Array) -> Array:
        """The slopes e where the maximum is."""
        return self.centre + (w - self.rounded(w)) / self.width

    def of(self, w: Array) -> float:
        """The smoothed penalty."""
        u, bend = self.rounded(w), self.bend()
        kinks = self.penalty.of(u) - 0.5 * bend * np.sum(u * u)
        apart = np.sum((w - u) * (self.centre + 0.5 * (w - u) / self.width))
        return float(kinks + apart + 0.5 * bend * np.sum(w * w))

    def slope(self, w: Array) -> Array:
        """Its gradient."""
        return self.edges(w) + self.bend() * w

    def bend(self) -> float:
        """The curvature of the ridge."""
        return float(self.penalty.bend())

    def at(self, w: Array) -> Corner:
        """What the kinks add to the curvature."""
        v, u = (w + self.width * self.centre).ravel(), self.rounded(w).ravel()
        squares = np.bincount(self.group, v * v)[self.group]
        squares = np.where(squares > 0, squares, 1.0)
        kept = np.bincount(self.group, u * v)[self.group] / squares
        along = np.where(kept > 0, v / np.sqrt(squares), 0.0)
        rate = (1 - kept) / np.broadcast_to(self.width, w.shape).ravel()
        return Corner(self.group, along, rate, w.shape)


class Corner(NamedTuple):
    """The curvature of smoothed kinks: rate (I - along alongᵀ) in each group.

    A group v that shrinks to k v ≠ 0 does so by k I + (1 - k) v vᵀ / ‖v‖²; others do not move.
    """

    group: Array
    along: Array
    rate: Array
    shape: tuple[int, ...]

    @property
    def used(self) -> Array:
        """Which entries are not held at 0, [p, K]."""
        return ((self.along != 0) | (self.rate == 0)).reshape(self.shape)

    def on(self, rows: Array) -> Corner:
        """The same for some rows, which hold whole groups."""
        group, along, rate = (part.reshape(self.shape)[rows] for part in self[:3])
        return Corner(group.ravel(), along.ravel(), rate.ravel(), group.shape)

    @property
    def diagonal(self) -> Array:
        """Its diagonal, [p, K]."""
        return (self.rate * (1 - np.square(self.along))).reshape(self.shape)

    def times(self, step: Array) -> Array:
        """Its product with a step [p, K]."""
        flat = step.ravel()
        moved = np.bincount(self.group, self.along * flat)[self.group]
        return (self.rate * (flat - self.along * moved)).reshape(self.shape)

    def matrix(self) -> Array:
        """All of it, [p K, p K]."""
        same = self.group[:, None] == self.group
        whole: Array = np.diag(self.rate) - same * np.outer(self.rate * self.along, self.along)
        return whole
