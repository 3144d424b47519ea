"""What comes out of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.networks.base import Tree
from minimand.training.program import EARLY, NON_FINITE, scores
from minimand.training.recipe import Recipe

LASTING = ("params", "network", "optimizer", "memory", "rate")


@dataclass(frozen=True)
class Trained:
    """A fitted network: parameters of the best epoch, history and how the run ended.

    `last` is what another run needs to go on from the last step.
    """

    recipe: Recipe
    params: Tree
    network_state: Tree
    history: dict[str, list[float]]
    best_epoch: int
    status: str
    finite: bool
    last: dict[str, Any] = field(repr=False, compare=False)

    def scores(self, X: Array) -> np.ndarray:
        """The network's scores for the rows of X [n, ...]."""
        return np.asarray(self.function()(np.asarray(X, dtype=np.float32)), dtype=float)

    def function(self) -> Callable[[Array], Array]:
        """The network as a plain JAX function of its inputs, parameters and all."""
        return lambda X: scores(self.recipe, self.params, self.network_state, X)

    @classmethod
    def of(cls, recipe: Recipe, state: Any, reason: str, finding: str = "") -> Trained:
        """The result of one member, of its last state and the reason why the loop ended.

        `finding` names what stopped being finite.
        """
        ran, best = int(state.epoch), int(state.best_epoch)
        finite = int(state.status) != NON_FINITE
        if not finite:
            status = (
                f"{finding or 'the loss stopped being finite'} in epoch {ran + 1}, step "
                f"{int(state.step) + 1}; lower the learning rate of {recipe.optimizer} or scale "
                f"the inputs"
            )
        elif int(state.status) == EARLY:
            status = f"stopped early after {ran} epochs; the best was epoch {best}"
        elif ran < recipe.epochs:
            status = f"ended after {ran} of {recipe.epochs} epochs ({reason})"
        else:
            status = f"ran all {ran} epochs; the best was epoch {best}"
        history = state.history[:ran].astype(float)
        lines = {
            "epoch": list(range(1, ran + 1)),
            "train": history[:, 0].tolist(),
            "validation": history[:, 1].tolist(),
        }
        last = {name: getattr(state, name) for name in LASTING}
        return cls(recipe, state.best_params, state.best_network, lines, best, status, finite, last)
