"""A learning rate without a search: many of them tried at once for a few hundred steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.component import Range
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, SolverError
from minimand.optimizers import Optimizer
from minimand.schedules import Constant
from minimand.training import Recipe, program
from minimand.training.inputs import best_constant, checked_rows
from minimand.training.members import InMemory
from minimand.training.program import EARLY, Member, State
from minimand.tuning.short import first_steps, set_aside
from minimand.tuning.space import applied

RATES = 32
WIDER = 100.0
"""How far beyond the range on the optimiser's card the first rates reach, either way."""
CLEARLY = 0.01
"""A network has learnt if its loss lies so much, relatively, below that of a constant."""
MARGIN = 2.0
"""The chosen rate is so many times smaller than the one that did best in the short run."""


@dataclass(frozen=True)
class RangeTest:
    """The rates that were tried, the held-out loss each ended at, and the one chosen.

    A loss is infinite where the run broke. `recipe` is the one that was given, with the rate
    chosen; no weights are kept.
    """

    rates: np.ndarray
    losses: np.ndarray
    chosen: float
    reason: str
    recipe: Recipe


def range_test(
    recipe: Recipe,
    X: Array,
    y: Array,
    *,
    weight: Array | None = None,
    steps: int = 256,
    seed: int = 0,
) -> RangeTest:
    """Try 32 learning rates from the same initial weights, on the same batches, and choose one.

    Each is trained for some steps on four fifths of the rows and judged on the other fifth, where
    the loss is averaged with that of the two rates beside it, so that a lucky one does not win, nor
    one next to those that break. Half of the rate that did best is chosen: what is best for a short
    run is too large for a long one. The rates span the range on the optimiser's card, a hundredfold
    wider each way; 32 more are tried beyond an end where the best one lies, and lower down if none
    does better than a constant. The schedule is left out.

    Args:
        recipe: its own learning rate does not matter.
        X: [n, p] inputs.
        y: [n] targets, as the recipe's loss expects them.
        weight: [n], not negative.
        steps: how long each rate is tried.
        seed: decides the initial parameters, the batches and the rows set aside.

    Raises:
        ArgumentError: the optimiser has no learning rate.
        SolverError: the loss is not finite at any rate.

    Source: Smith (2017), Cyclical learning rates for training neural networks, section 3.3, with
    a run for every rate.

    >>> from minimand.losses import Squared
    >>> from minimand.networks import Linear
    >>> from minimand.optimizers import SGD
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> test = range_test(Recipe(Linear(), Squared(), SGD()), 5000 * X, 3 * X[:, 0], steps=50)
    >>> test.chosen < 1e-7, test.recipe.optimizer.learning_rate == test.chosen
    (True, True)
    """
    path, optimizer = _rated(recipe)
    fold = set_aside(len(X), seed)
    if not len(fold.test):
        fold = Fold(fold.train, fold.train)
    short, fold = first_steps(recipe, fold, steps, seed)
    short = replace(short, schedule=Constant(), on_non_finite="stop")

    def tried(rates: np.ndarray) -> np.ndarray:
        recipes = [applied(short, {path: float(rate)}) for rate in rates]
        return _held_out(recipes, X, y, fold, weight, steps, seed)

    baseline = _constant_loss(short, X, y, fold, weight)
    rates = _first_rates(optimizer)
    losses = tried(rates)
    if way := _way_on(losses, baseline):
        more = rates * (rates[-1] / rates[0] * rates[1] / rates[0]) ** way
        parts = [(more, tried(more)), (rates, losses)][::-way]
        rates, losses = (np.concatenate(part) for part in zip(*parts, strict=True))
    chosen, reason = _choice(rates, losses, baseline, optimizer.learning_rate, steps)
    return RangeTest(rates, losses, chosen, reason, applied(recipe, {path: chosen}))


def resolved(
    recipe: Recipe, X: Array, y: Array, *, weight: Array | None = None, seed: int = 0
) -> Recipe:
    """The recipe with the learning rate that `range_test` chooses."""
    return range_test(recipe, X, y, weight=weight, seed=seed).recipe


def _rated(recipe: Recipe) -> tuple[str, Optimizer]:
    """(the path of the learning rate, the rule that has it), inside any wrappers."""
    path, rule = "optimizer", recipe.optimizer
    while "learning_rate" not in rule._hints:
        if "optimizer" not in rule._hints:
            raise ArgumentError(f"{rule} has no learning rate to choose; give it a fixed one")
        path, rule = f"{path}.optimizer", rule.optimizer  # type: ignore[attr-defined]
    return f"{path}.learning_rate", rule


def _first_rates(optimizer: Optimizer) -> np.ndarray:
    """Those of the card, and a hundredfold beyond."""
    own = optimizer.learning_rate
    span = optimizer.card.search.get("learning_rate", Range(own / 10, own * 10, log=True))
    return np.geomspace(span.low / WIDER, span.high * WIDER, RATES)


def _way_on(losses: np.ndarray, baseline: float) -> int:
    """Where better rates may lie: 1 above those tried, -1 below them, 0 among them."""
    best = _best(losses)
    if best == 0 or not _learnt(losses[best], baseline):
        return -1
    return int(best == len(losses) - 1)


def _learnt(loss: float, baseline: float) -> bool:
    """Whether a loss is clearly below that of the best constant."""
    return loss < baseline - CLEARLY * abs(baseline)


def _choice(
    rates: np.ndarray, losses: np.ndarray, baseline: float, own: float, steps: int
) -> tuple[float, str]:
    """(the rate, why); the optimiser's `own` rate if there is nothing to go by.

    Raises:
        SolverError: no loss is finite.
    """
    best = _best(losses)
    span = f"{rates[0]:.2g} to {rates[-1]:.2g}"
    if not np.isfinite(losses[best]):
        raise SolverError(
            f"the loss is not finite at any learning rate from {span}; scale the inputs"
        )
    if _learnt(losses[best], baseline):
        chosen = float(f"{rates[best] / MARGIN:.3g}")
        return chosen, (
            f"of {len(rates)} learning rates from {span}, {rates[best]:.2g} had the lowest "
            f"held-out loss after {steps} steps ({losses[best]:.4g}); {chosen:.2g}, half of it, "
            f"leaves room for a longer run"
        )
    near = losses[np.argmin(np.abs(np.log(rates / own)))]
    chosen = own if np.isfinite(near) else float(f"{rates[best]:.3g}")
    return chosen, (
        f"none of {len(rates)} learning rates from {span} came below the held-out loss of the "
        f"best constant in {steps} steps ({baseline:.4g}), so {chosen:.2g} is a guess; scale the "
        f"inputs, or take more steps"
    )


def _best(losses: np.ndarray) -> int:
    """Where the loss is lowest together with its neighbours; by itself, if none has two."""
    padded = np.pad(losses, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return int(np.argmin(smooth if np.isfinite(smooth).any() else losses))


def _constant_loss(recipe: Recipe, X: Array, y: Array, fold: Fold, weight: Array | None) -> float:
    """The held-out loss of the best constant scores; infinite if there are none."""
    X, y, weight = checked_rows(recipe, X, y, weight)
    if recipe.network.outputs is None:
        return math.inf
    constant = best_constant(recipe, y, weight, fold)
    scores = np.tile(constant, (len(fold.test), 1))
    scores = scores if recipe.loss.score_axes else scores[:, 0]
    return float(recipe.loss(scores, y[fold.test], weight=weight[fold.test]))


def _held_out(
    recipes: list[Recipe],
    X: Array,
    y: Array,
    fold: Fold,
    weight: Array | None,
    steps: int,
    seed: int,
) -> np.ndarray:
    """The held-out loss of each recipe after the steps; infinite where it broke."""
    size = len(recipes)
    rows = InMemory(recipes, X, y, [fold] * size, [seed] * size, weight)
    state = rows.advance(rows.begin(), 0, steps)
    losses = np.asarray(_judged(rows.members, state, *rows.data[:2]))
    broke = np.asarray(state.status) > EARLY
    return np.where(broke | np.isnan(losses), math.inf, losses)


@jax.jit
def _judged(members: Member, state: State, X: Array, y: Array) -> Array:
    def loss(one: tuple[Member, State]) -> Array:
        member, state = one
        key = randomness.key(member.seed)
        total, size = program.validated(member, state, X, y, member.validation, key)
        return total / size

    return jax.lax.map(loss, (members, state))
