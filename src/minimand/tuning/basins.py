"""Restarts: many starting points at once, for the global optimum and a count of the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from minimand import randomness
from minimand.arrays import Array
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, ShapeError, SolverError
from minimand.networks.base import Tree
from minimand.training import Recipe, Trained, train_members
from minimand.training.inputs import checked_rows
from minimand.training.passes import forward

Found = TypeVar("Found")
FLAT = 1e-9


@dataclass(frozen=True)
class Basin:
    """A minimum that was found: its value, and the starts that ended in it, best first."""

    value: float
    starts: tuple[int, ...]
    share: float


@dataclass(frozen=True)
class Restarted(Generic[Found]):
    """The best of many starts, the value where each ended, and the minima they ended in."""

    best: Found
    values: np.ndarray
    basins: tuple[Basin, ...]

    @property
    def gap(self) -> float:
        """How far the second-best minimum lies above the best; infinite if there is but one."""
        return self.basins[1].value - self.basins[0].value if len(self.basins) > 1 else math.inf

    @property
    def unseen(self) -> float:
        """The share of starts that would end in a minimum not seen yet: its expected value.

        Source: Boender and Rinnooy Kan (1987), Bayesian stopping rules for multistart global
        optimization methods: w (w + 1) / (n (n - 1)) for w minima from n starts.
        """
        minima, starts = len(self.basins), int(np.isfinite(self.values).sum())
        return min(1.0, minima * (minima + 1) / (starts * (starts - 1))) if starts > 1 else 1.0

    def summary(self) -> str:
        """One sentence."""
        best = self.basins[0]
        return (
            f"{len(best.starts)} of {len(self.values)} starts reached the lowest value "
            f"{best.value:.6g}; {len(self.basins)} distinct minima were seen, and another start "
            f"would find a new one with probability {self.unseen:.2g}"
        )


def restarts(
    fn: Callable[[Array], Array], starts: Array, *, steps: int = 500, tolerance: float = 1e-6
) -> Restarted[np.ndarray]:
    """Minimise a smooth function from many starts at once, by L-BFGS in double precision.

    Args:
        fn: from [d] to a number, written with `jax.numpy`.
        starts: [K, d].
        steps: the most steps of each; it ends before when the gradient is nearly 0.
        tolerance: values so near, relative to the larger of 1 and the value, are one minimum.

    Raises:
        ShapeError: starts of another shape.
        SolverError: no start led to a finite value.

    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 7.5.

    >>> starts = np.linspace(-2, 2, 9)[:, None]
    >>> found = restarts(lambda x: (x[0] ** 2 - 1) ** 2 + 0.1 * x[0], starts)
    >>> found.best.round(3), len(found.basins)
    (array([-1.012]), 2)
    """
    points = np.asarray(starts, dtype=float)
    if points.ndim != 2 or not points.size:
        raise ShapeError(f"starts has shape {points.shape}; expected [K, d], both at least 1")
    with jax.enable_x64(True):
        descend = jax.jit(jax.vmap(partial(_descended, fn, steps)))
        x, values = map(np.asarray, descend(points))
    found = basins(values, tolerance)
    return Restarted(x[found[0].starts[0]], values, found)


def train_restarts(
    recipe: Recipe,
    X: Array,
    y: Array,
    *,
    starts: int = 32,
    seed: int = 0,
    weight: Array | None = None,
    tolerance: float = 1e-3,
) -> Restarted[Trained]:
    """Train one recipe from many initial parameters at once; best is the lowest objective.

    The objective is the mean loss of all rows plus the penalty, after the last epoch; no rows are
    watched. Early stopping is off.

    Args:
        recipe: what to train and how.
        X: [n, p] inputs.
        y: [n] targets, as the recipe's loss expects them.
        starts: how many.
        seed: of the first start; those after it count up.
        weight: [n], not negative.
        tolerance: values so near, relative to the larger of 1 and the value, are one minimum.

    Raises:
        ArgumentError: fewer than one start.
        SolverError: no start led to a finite value.
    """
    if starts < 1:
        raise ArgumentError(f"starts is {starts}; it must be at least 1")
    rows = Fold(np.arange(len(X)), np.arange(0))
    seeds = range(seed, seed + starts)
    fitted = train_members([recipe] * starts, X, y, [rows] * starts, seeds, weight=weight)
    X, y, weight = checked_rows(recipe, X, y, weight)
    objective = jax.jit(_objective)
    values = np.array(
        [float(objective(recipe, one.params, one.network_state, X, y, weight)) for one in fitted]
    )
    values[[not one.finite for one in fitted]] = np.nan
    found = basins(values, tolerance)
    return Restarted(fitted[found[0].starts[0]], values, found)


def basins(values: Sequence[float] | np.ndarray, tolerance: float) -> tuple[Basin, ...]:
    """The distinct minima among the values where starts ended, lowest first; NaN is none.

    A value belongs to a minimum if it lies at most tolerance × max(1, |v|) above its lowest v.

    Raises:
        ArgumentError: a negative tolerance.
        SolverError: no value is finite.

    >>> [(basin.value, basin.starts) for basin in basins([2.0, 1.0, 1.0000001], tolerance=1e-6)]
    [(1.0, (1, 2)), (2.0, (0,))]
    """
    values = np.asarray(values, dtype=float)
    if not tolerance >= 0:
        raise ArgumentError(f"tolerance is {tolerance}; it must not be negative")
    order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    if not order:
        raise SolverError(
            f"none of {len(values)} starts ended at a finite value; lower the learning rate, or "
            f"start elsewhere"
        )
    groups: list[list[int]] = []
    for i in order:
        lowest = values[groups[-1][0]] if groups else math.nan
        if values[i] <= lowest + tolerance * max(1.0, abs(lowest)):
            groups[-1].append(i)
        else:
            groups.append([i])
    return tuple(
        Basin(float(values[group[0]]), tuple(group), len(group) / len(order)) for group in groups
    )


def _descended(fn: Callable[[Array], Array], steps: int, start: Array) -> tuple[Array, Array]:
    """(where L-BFGS ends, the value there)."""
    rule, value_and_slope = optax.lbfgs(), optax.value_and_grad_from_state(fn)

    def unfinished(carry: tuple[Array, Any, Array]) -> Array:
        _, _, left = carry
        return left > 0

    def step(carry: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        x, state, left = carry
        value, slope = value_and_slope(x, state=state)
        move, state = rule.update(slope, state, x, value=value, grad=slope, value_fn=fn)
        going = jnp.max(jnp.abs(slope)) > FLAT * jnp.maximum(1.0, jnp.abs(value))
        return optax.apply_updates(x, move), state, jnp.where(going, left - 1, 0)

    x = jax.lax.while_loop(unfinished, step, (start, rule.init(start), jnp.asarray(steps)))[0]
    return x, fn(x)


def _objective(
    recipe: Recipe, params: Tree, network: Tree, X: Array, y: Array, weight: Array
) -> Array:
    score = forward(recipe, params, network, X, randomness.key(0), train=False)[0]
    return recipe.loss(score, y, weight=weight) + recipe.penalty.value(params)
