"""Pictures of Boltzmann machines and deep belief networks that learnt from images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import jax
import numpy as np

from minimand import randomness
from minimand.arrays import Array
from minimand.errors import ArgumentError
from minimand.networks import RBM, DeepBeliefNetwork
from minimand.report.pictures import ACROSS, grid, laid_out
from minimand.training import Trained


def filters(fitted: Trained, shape: tuple[int, ...], rows: int = 4) -> alt.Chart:
    """What hidden units look for: their weights, the largest first, grey at 0 and white above.

    Args:
        fitted: a trained `RBM`.
        shape: that of an image, (height, width) or with channels.
        rows: how many rows of ten units.
    """
    machine = _network(fitted, RBM)
    strength = np.linalg.norm(fitted.params["hidden"]["kernel"], axis=0)
    chosen = np.argsort(-strength)[: min(rows * ACROSS, machine.hidden)]
    weights = np.asarray(fitted.params["hidden"]["kernel"])[:, chosen].T
    images = 0.5 + 0.5 * weights / np.abs(weights).max(axis=1, keepdims=True)
    return grid(laid_out(images, shape), title="the weights of hidden units, the largest first")


def chains(
    fitted: Trained,
    v: Array,
    shape: tuple[int, ...],
    steps: Sequence[int] = (0, 1, 10, 100, 1000),
    seed: int = 0,
) -> alt.Chart:
    """Gibbs chains of a trained `RBM` that begin at images v [n, p], after so many steps each."""
    machine, key = _network(fitted, RBM), randomness.key(seed)
    seen = [np.asarray(v, np.float32).reshape(len(v), -1)]
    for number, (before, after) in enumerate(pairwise(steps)):
        seen.append(
            machine.gibbs(fitted.params, seen[-1], jax.random.fold_in(key, number), after - before)
        )
    means = seen[:1] + [
        machine.visible_mean(fitted.params, machine.hidden_mean(fitted.params, one))
        for one in seen[1:]
    ]
    images = np.stack(means).reshape(len(steps), len(v), *shape)
    return grid(images, [f"step {step}" for step in steps], title="Gibbs chains")


def fantasies(
    fitted: Trained, shape: tuple[int, ...], rows: int = 2, steps: int = 1000, seed: int = 0
) -> alt.Chart:
    """What a trained `RBM` or `DeepBeliefNetwork` believes in, after so many Gibbs steps."""
    network = _network(fitted, RBM, DeepBeliefNetwork)
    seen = network.fantasies(fitted.params, randomness.key(seed), rows * ACROSS, steps)
    return grid(laid_out(seen, shape), title=f"fantasies after {steps} Gibbs steps")


def _network(fitted: Trained, *kinds: type) -> Any:
    """The network, if it is of one of these kinds."""
    network = fitted.recipe.network
    if not isinstance(network, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ArgumentError(f"cannot draw {network}; this picture is of a trained {names}")
    return network
