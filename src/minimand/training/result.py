"""What comes out of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from minimand.arrays import Array
from minimand.errors import FileError
from minimand.files import write_file, write_whole
from minimand.networks.base import Tree, named_leaves, nested
from minimand.training.inputs import readable
from minimand.training.program import EARLY, NON_FINITE, rule, scores
from minimand.training.recipe import Recipe
from minimand.training.scoring import scores_in_blocks

FORMAT = 1
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
        X = readable(self.recipe, X)
        return scores_in_blocks(self.recipe, self.params, self.network_state, X).astype(float)

    def function(self) -> Callable[[Array], Array]:
        """The network as a plain JAX function of its inputs, parameters and all."""
        return lambda X: scores(self.recipe, self.params, self.network_state, X)

    def predict(self, X: Array) -> np.ndarray:
        """Targets for the rows of X: classes as the loss numbers them, else its response."""
        loss, found = self.recipe.loss, self.scores(X)
        if loss.card.target in ("class", "sign", "image"):
            return np.asarray(loss.from_classes(loss.decide(found)))
        return np.asarray(loss.response(found))

    def module(self) -> Any:
        """The NNX, Equinox or Keras model that was trained, with the fitted parameters.

        Of NNX and Equinox it is a copy; a Keras model holds its variables, so it is the one given.

        Raises:
            ArgumentError: the network is none of another library.
        """
        return self.recipe.network.module(self.params, self.network_state)

    def save_parameters(self, path: str | Path) -> None:
        """Write parameters and network state, by their names, into one file of safetensors.

        Raises:
            FileError: the file cannot be written.
        """
        from safetensors.numpy import save

        trees = {"params": self.params, "state": self.network_state}
        arrays = {".".join(path): np.asarray(leaf) for path, leaf in named_leaves(trees).items()}
        write_file(Path(path), save(arrays))

    def save(self, folder: str | Path) -> None:
        """Write network.safetensors and network.json into a new folder.

        Raises:
            ArgumentError: network, loss or optimiser is the user's own code, which no file holds.
            FileError: the folder holds something already, or cannot be written.
        """
        from safetensors.numpy import save

        about = {name: getattr(self, name) for name in ("best_epoch", "status", "finite")}
        about |= {"format": FORMAT, "recipe": self.recipe.to_json()}
        trees = {
            "params": self.params,
            "state": self.network_state,
            "history": {name: np.asarray(line) for name, line in self.history.items()},
            "last": {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(self.last))},
        }
        arrays = {".".join(path): np.asarray(leaf) for path, leaf in named_leaves(trees).items()}

        def write(partial: Path) -> None:
            (partial / "network.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            (partial / "network.safetensors").write_bytes(save(arrays))

        write_whole(Path(folder), write)

    @classmethod
    def load(cls, folder: str | Path) -> Trained:
        """What `save` wrote; it can also be trained on.

        Raises:
            FileError: the files are missing, damaged, or of a newer format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            about = json.loads((Path(folder) / "network.json").read_text(encoding="utf-8"))
            if about.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            flat = load_file(Path(folder) / "network.safetensors")
            trees = nested({tuple(name.split(".")): leaf for name, leaf in flat.items()})
            recipe = Recipe.from_json(about.pop("recipe"))
            params, state = trees["params"], trees.get("state", {})
            history = {name: line.tolist() for name, line in trees["history"].items()}
            structure = jax.tree.structure(jax.eval_shape(_lasting, recipe, params, state))
            last = jax.tree.unflatten(structure, [v for _, v in sorted(trees["last"].items())])
            return cls(recipe, params, state, history, last=last, **about)
        except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
            raise FileError(
                f"cannot read the network in '{folder}' ({error}); train it again with this version"
            ) from None

    @classmethod
    def of(cls, recipe: Recipe, state: Any, reason: str, finding: str = "") -> Trained:
        """The result of one member, of its last state and the reason why the loop ended.

        `finding` names what stopped being finite.
        """
        ran, best = int(state.epoch), int(state.best_epoch)
        finite = int(state.status) != NON_FINITE
        found = f"the best was epoch {best}" if best else "what was watched was never finite"
        if not finite:
            status = (
                f"{finding or 'the loss stopped being finite'} in epoch {ran + 1}, step "
                f"{int(state.step) + 1}; lower the learning rate of {recipe.optimizer} or scale "
                f"the inputs"
            )
        elif int(state.status) == EARLY and recipe.goal is not None and best == ran:
            status = f"reached the goal of {recipe.goal} in epoch {ran}"
        elif int(state.status) == EARLY:
            status = f"stopped early after {ran} epochs; {found}"
        elif ran < recipe.epochs:
            status = f"ended after {ran} of {recipe.epochs} epochs ({reason})"
        else:
            status = f"ran all {ran} epochs; {found}"
        if skipped := int(state.skipped):
            status += f"; batches passed over: {skipped}"
        history = as_watched(recipe, state.history[:ran].astype(float))
        lines = {
            "epoch": list(range(1, ran + 1)),
            "train": history[:, 0].tolist(),
            "validation": history[:, 1].tolist(),
        }
        last = {name: getattr(state, name) for name in LASTING}
        return cls(recipe, state.best_params, state.best_network, lines, best, status, finite, last)


def as_watched(recipe: Recipe, history: Array) -> np.ndarray:
    """[..., 2]: training loss and what is watched, which the program lets fall, as it is."""
    return np.asarray(history) * ((1, -1) if recipe.rising else (1, 1))


def _lasting(recipe: Recipe, params: Tree, network: Tree) -> dict[str, Any]:
    """What `last` looks like."""
    parts = params, network, rule(recipe).init(params), recipe.schedule.memory(), 1.0
    return dict(zip(LASTING, parts, strict=True))
