"""Newton's method on the parameters that are not zero, where an L1 penalty is smooth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from minimand.arrays import Array
from minimand.solvers.design import Design
from minimand.solvers.problem import Problem

LARGEST_FACTOR = 2500
"""Up to so many parameters of one output the equations are preconditioned by a factor."""

NEW = 0.1
"""A factor is made anew when it lacks this share of the parameters."""

STEPS, INNER, MANY = 10, 100, 40
"""Newton steps at most; conjugate gradient steps at most; from so many on the factor is old."""

LEAST_SHARE, ROUNDING = 1e-3, 1e-13
FORCING, ENOUGH = 1e-3, 0.5
"""The shares at which a method within ends: of what it promised at first, and of the gap."""

FLAT = 1e-12
"""A direction that bends so much less than the preconditioner says does not bend at all."""

INTERCEPT = -1

Solve = Callable[[Array], Array]


class Polish:
    """Newton steps by preconditioned conjugate gradients; a factor serves as long as it helps."""

    def __init__(self, problem: Problem):
        self.problem, self.penalty = problem, problem.penalty
        self.known: list[tuple[Array, Solve]] = []
        self.inner = 0 if hasattr(problem.design.X, "nnz") else MANY + 1

    def __call__(
        self, names: Array, theta: Array, scores: Array, gap: float
    ) -> tuple[Array, Array]:
        """(θ, scores) lower than before, with the same or more zeros.

        θ [m + 1, K] belongs to the columns whose indices are `names`. Parameters that would change
        their sign become zero. Ends when the slopes of the others are so even that they account for
        less than that duality gap, or when a step promises next to nothing.
        """
        problem, bend, corner = self.problem, self.penalty.bend(), self.penalty.corner
        rows = np.flatnonzero(theta[:-1].any(axis=1))
        if not len(rows):
            return theta, scores
        part, names = problem.design.some(names[rows]), np.append(names[rows], INTERCEPT)
        rows = np.append(rows, len(theta) - 1)
        theta, w = theta.copy(), theta[rows]
        value = problem.cost(scores) + self.penalty.of(w[:-1])
        first = 0.0
        for _ in range(STEPS):
            free = w != 0
            free[-1] = part.intercept
            gradient = part.pull(problem.slopes(scores))
            gradient[:-1] += bend * w[:-1] + corner * np.sign(w[:-1])
            gradient = np.where(free, gradient, 0.0)
            length = float(np.sum(np.abs(w[:-1])))
            if length * np.max(np.abs(gradient)) <= ENOUGH * gap:
                break
            system = System(part, problem.bends(scores), bend, free)
            precondition = self._preconditioner(system, names)
            step, self.inner = conjugate_gradient(
                system.times, -gradient, precondition, share=FORCING, even=ENOUGH * gap / length
            )
            promised = -0.5 * float(np.sum(gradient * step))
            first = max(first, promised)
            share, reached = 1.0, np.inf
            rounding = ROUNDING * abs(value)
            while not reached <= value + rounding and share > LEAST_SHARE:
                moved = w + share * step
                moved[:-1][moved[:-1] * w[:-1] <= 0] = 0.0
                ahead = scores + part.push(moved - w)
                with np.errstate(over="ignore", invalid="ignore"):
                    reached = problem.cost(ahead) + self.penalty.of(moved[:-1])
                share /= 2
            if not reached <= value + rounding:
                break
            w, scores, value = moved, ahead, reached
            if promised <= FORCING * first:
                break
        theta[rows] = w
        return theta, scores

    def _preconditioner(self, system: System, names: Array) -> Solve:
        """b ↦ about H⁻¹ b, one output at a time."""
        if self.inner > MANY or any(
            len(np.setdiff1d(names[free], known)) > NEW * np.sum(free)
            for (known, _), free in zip(self.known, system.free.T, strict=False)
        ):
            self.known = [
                (names[free], system.factor(k, free))
                for k, free in enumerate(system.free.T)
                if 0 < np.sum(free) <= LARGEST_FACTOR
            ]
        diagonal, parts = system.diagonal, []
        for known, one in self.known if len(self.known) == system.free.shape[1] else []:
            parts.append((*np.intersect1d(names, known, return_indices=True)[1:], len(known), one))

        def solve(b: Array) -> Array:
            x = b / diagonal
            for k, (here, there, size, one) in enumerate(parts):
                whole = np.zeros(size)
                whole[there] = b[here, k]
                x[here, k] = one(whole)[there]
            return np.where(system.free, x, 0.0)

        return solve


class System:
    """The Hessian of the `free` parameters [m + 1, K] at bends [n, K, K]."""

    def __init__(self, part: Design, bends: Array, bend: float, free: Array):
        self.part, self.bends, self.bend, self.free = part, bends, bend, free

    def times(self, step: Array) -> Array:
        """The Hessian times a step."""
        pushed = self.part.push(step)
        pulled = self.part.pull(np.einsum("nab,nb->na", self.bends, pushed))
        pulled[:-1] += self.bend * step[:-1]
        return np.where(self.free, pulled, 0.0)

    @property
    def diagonal(self) -> Array:
        """About the diagonal."""
        total = np.einsum("nkk->k", self.bends)
        diagonal = np.square(self.part.size)[:, None] * total
        diagonal[:-1] += self.bend
        return np.where(diagonal > 0, diagonal, 1.0)

    def factor(self, k: int, free: Array) -> Solve:
        """b ↦ about H⁻¹ b for the free parameters of one output, in single precision."""
        columns = np.flatnonzero(free[:-1])
        gram = self.part.some(columns).gram(self.bends[:, k, k], np.float32)
        np.einsum("ii->i", gram)[:-1] += self.bend
        gram = gram if free[-1] else gram[:-1, :-1]
        least = np.finfo(np.float32).eps * np.diag(gram).max()
        scale = np.sqrt(np.maximum(np.diag(gram), least or 1.0))
        gram /= scale
        gram /= scale[:, None]
        lift = 1e-6
        while True:
            try:
                lifted = gram.astype(np.float32)
                np.einsum("ii->i", lifted)[...] += lift
                lower = scipy.linalg.cho_factor(lifted.T, overwrite_a=True, check_finite=False)
                break
            except scipy.linalg.LinAlgError:
                lift *= 100

        def solve(b: Array) -> Array:
            b = b / scale
            top = np.max(np.abs(b)) or 1.0
            x = scipy.linalg.cho_solve(lower, (b / top).astype(np.float32), check_finite=False)
            solution: Array = top * x / scale
            return solution

        return solve


def conjugate_gradient(
    times: Solve,
    b: Array,
    precondition: Solve,
    *,
    share: float,
    least: float = 0.0,
    even: float = 0.0,
    most: int = INNER,
) -> tuple[Array, int]:
    """(x, steps): A x is about b, for a positive semi-definite A.

    Ends when a step gains the least that counts, or a share of what the first one gained, or when
    no entry of b - A x is larger than `even`.
    """
    x, r = np.zeros(b.shape), b
    p = z = precondition(r)
    left = first = float(np.sum(r * z))
    for step in range(most):
        if left <= max(least, share * first) or np.max(np.abs(r)) <= even:
            return x, step
        ap = times(p)
        bent = float(np.sum(p * ap))
        if not bent > FLAT * left:
            return x, step
        x = x + left / bent * p
        r = r - left / bent * ap
        z = precondition(r)
        before, left = left, float(np.sum(r * z))
        p = z + left / before * p
    return x, most
