"""Hypergradients: how the validation loss after a short run changes with a recipe's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError
from minimand.training import Recipe, program
from minimand.training.inputs import best_constant, checked_rows, stacked
from minimand.tuning.short import first_steps, set_aside
from minimand.tuning.space import Setting, applied, value_at

FIRST_MOVE = 0.5


@dataclass(frozen=True)
class Hypergradient:
    """The validation loss after a short run, and its derivative by each number."""

    value: float
    slope: dict[str, float]


@dataclass(frozen=True)
class TunedByGradient:
    """The recipe with the numbers found, and every setting on the way with its validation loss."""

    recipe: Recipe
    settings: tuple[Setting, ...]
    values: tuple[float, ...]


def hypergradient(
    recipe: Recipe,
    X: Array,
    y: Array,
    paths: Sequence[str],
    *,
    unrolled: int = 100,
    fold: Fold | None = None,
    seed: int = 0,
    weight: Array | None = None,
) -> Hypergradient:
    """The derivative of the validation loss after a short run, on batches that stay the same.

    The initial parameters stay the same, too. The derivative is carried forward through every step,
    at the cost of one more run for each number and little memory. A run so long, or a learning rate
    so large, that the steps are chaotic has a derivative that is true and of no use.

    Args:
        recipe: where to take the derivative.
        X: [n, p] inputs.
        y: [n] targets, as the recipe's loss expects them.
        paths: numbers on which training depends smoothly, such as "optimizer.learning_rate",
            "penalty.strength" or "loss.delta".
        unrolled: how many steps the run has.
        fold: `train` rows to descend on and `test` rows to judge by; None sets a fifth aside.
        seed: decides the initial parameters, the batches and the rows set aside.
        weight: [n], not negative.

    Raises:
        ArgumentError: a path that leads to no real number.

    Source: Franceschi et al. (2017), Forward and reverse gradient-based hyperparameter
    optimization, section 3.2.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> slow = Recipe(Linear(), Squared(), SGD(learning_rate=0.01))
    >>> found = hypergradient(slow, X, 3 * X[:, 0], ["optimizer.learning_rate"])
    >>> found.slope["optimizer.learning_rate"] < 0
    True
    """
    slope_at, numbers = _differentiated(recipe, X, y, paths, unrolled, fold, seed, weight)
    return slope_at(numbers)


def tuned_by_gradient(
    recipe: Recipe,
    X: Array,
    y: Array,
    paths: Sequence[str],
    *,
    steps: int = 10,
    unrolled: int = 100,
    fold: Fold | None = None,
    seed: int = 0,
    weight: Array | None = None,
) -> TunedByGradient:
    """Lower the validation loss after a short run, by descent on the logarithms of some numbers.

    A move that does not lower it is taken back, and the next one is a quarter as long. `steps` is
    how many moves are tried; the other arguments are those of `hypergradient`.

    Raises:
        ArgumentError: a path that leads to no number above 0.
    """
    slope_at, numbers = _differentiated(recipe, X, y, paths, unrolled, fold, seed, weight)
    for path, number in numbers.items():
        if not number > 0:
            raise ArgumentError(f"{path} is {number}; start from a number above 0")
    at = slope_at(numbers)
    settings, values, size = [numbers], [at.value], FIRST_MOVE
    for _ in range(steps):
        downhill = {path: -number * at.slope[path] for path, number in numbers.items()}
        length = math.hypot(*downhill.values())
        if not 0 < length < math.inf:
            break
        tried = {
            path: number * math.exp(size * downhill[path] / length)
            for path, number in numbers.items()
        }
        found = slope_at(tried) if _allowed(recipe, tried) else None
        if found is None or not found.value < at.value:
            size /= 4
            continue
        numbers, at, size = tried, found, 1.5 * size
        settings.append(numbers)
        values.append(at.value)
    return TunedByGradient(applied(recipe, numbers), tuple(settings), tuple(values))


def _differentiated(
    recipe: Recipe,
    X: Array,
    y: Array,
    paths: Sequence[str],
    unrolled: int,
    fold: Fold | None,
    seed: int,
    weight: Array | None,
) -> tuple[Callable[[Setting], Hypergradient], dict[str, float]]:
    """(the hypergradient as a function of the numbers, the recipe's own)."""
    numbers = {path: _number(recipe, path) for path in paths}
    short, fold = first_steps(recipe, fold or set_aside(len(X), seed), unrolled, seed)
    if not len(fold.test):
        raise DataError("a hypergradient needs rows to judge by; give a fold with `test` rows")
    X, y, weight = checked_rows(recipe, X, y, weight)
    members = stacked([short], [fold], [seed], weight)
    constant = best_constant(recipe, y, weight, fold)[None].astype(np.float32)
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    X, y = jnp.asarray(X, dtype), jnp.asarray(y)

    def real(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    def loss(numbers: dict[str, Array]) -> tuple[Array, Array]:
        own = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype)[None], applied(short, numbers))
        run = members._replace(recipe=own)
        begun = jax.tree.map(real, program.begin(run, X, constant))
        ended = program.advance(run, X, y, begun, 0, unrolled)
        member, state = jax.tree.map(lambda leaf: leaf[0], (run, ended))
        total, size = program.validated(
            member, state, X, y, member.validation, randomness.key(seed)
        )
        return total / size, total / size

    differentiated = jax.jit(jax.jacfwd(loss, has_aux=True))

    def slope_at(numbers: Setting) -> Hypergradient:
        slope, value = differentiated({path: np.asarray(of, dtype) for path, of in numbers.items()})
        return Hypergradient(float(value), {path: float(of) for path, of in slope.items()})

    return slope_at, numbers


def _number(recipe: Recipe, path: str) -> float:
    """The number at a path."""
    value = value_at(recipe, path)
    if not isinstance(value, float) or path.endswith("dropout"):
        raise ArgumentError(
            f"{path} is {value!r}; a hypergradient needs a real number on which training depends "
            f"smoothly"
        )
    return value


def _allowed(recipe: Recipe, setting: Setting) -> bool:
    try:
        applied(recipe, setting)
    except ArgumentError:
        return False
    return True
