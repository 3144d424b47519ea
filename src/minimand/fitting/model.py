"""A fitted model: encoding, parameters and loss, from a table to predictions and to disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from minimand.arrays import Array
from minimand.data import (
    FeatureEncoder,
    Images,
    PixelEncoder,
    TargetEncoder,
    from_arrays,
    read_table,
)
from minimand.errors import FileError
from minimand.fitting.bench import predict
from minimand.losses import Loss
from minimand.metrics import Prediction

FORMAT = 1


@dataclass(frozen=True)
class Fitted:
    """Parameters that score a design matrix; `recipe` is None for an affine score."""

    loss: Loss
    target: TargetEncoder
    params: Mapping[str, Any]
    recipe: Any = None
    state: Mapping[str, Any] | None = None

    def scores(self, X: Array) -> Array:
        """Raw scores of the rows of X: [n], or [n, K] for a loss over K classes."""
        if self.recipe is not None:
            from minimand.training.inputs import readable
            from minimand.training.scoring import scores_in_blocks

            given = self.recipe, dict(self.params), dict(self.state or {})
            return scores_in_blocks(*given, readable(self.recipe, X)).astype(float)
        scores = X @ self.params["output"]["kernel"] + self.params["output"]["bias"]
        return scores if self.loss.score_axes else scores[:, 0]

    def predict(self, X: Array) -> Prediction:
        """What the model says about the rows of X."""
        return predict(self.loss, self.target, self.scores(X))


@dataclass(frozen=True)
class Model:
    """A fitted model with the encoding of its features: what `predict` needs, and nothing else."""

    features: FeatureEncoder | PixelEncoder
    fitted: Fitted
    target_name: str

    def read(self, source: Any, header: bool | None = None) -> pl.DataFrame | Images:
        """New rows, from a path or of arrays, as `predict` takes them."""
        if isinstance(self.features, PixelEncoder):
            return self.features.read(source)
        if isinstance(source, (str, os.PathLike)):
            return read_table(source, header=header, need_target=False).frame
        return from_arrays(source).frame

    def predict(self, data: pl.DataFrame | Images) -> tuple[Array, Array | None, tuple[str, ...]]:
        """(predictions in the user's terms, [n, K] probabilities or None, notes)."""
        if isinstance(self.features, PixelEncoder):
            assert isinstance(data, Images)
            X, notes = self.features.transform(data.X), data.notes
        else:
            assert isinstance(data, pl.DataFrame)
            known = {self.target_name} - {*self.features.columns}
            X, notes = self.features.transform_with_notes(data.drop(known, strict=False))
        said = self.fitted.predict(X)
        classes = self.fitted.target.classes
        value = self.fitted.target.decode(said.value) if classes else said.value
        return value, said.probability, notes

    def save(self, folder: Path) -> None:
        """Write model.safetensors and model.json into `folder`."""
        from safetensors.numpy import save

        fitted = self.fitted
        arrays = _flat("params", fitted.params) | _flat("state", fitted.state or {})
        (folder / "model.safetensors").write_bytes(save(arrays))
        described = {
            "format": FORMAT,
            "loss": fitted.loss.to_json(),
            "recipe": fitted.recipe and fitted.recipe.to_json(),
            "features": self.features.to_json(),
            "target": fitted.target.to_json(),
            "target_name": self.target_name,
        }
        (folder / "model.json").write_text(json.dumps(described, indent=1), encoding="utf-8")

    @classmethod
    def of_run(cls, run: Path) -> Model:
        """The model in the directory that a run wrote.

        Raises:
            FileError: the directory holds none, or one that cannot be read.
        """
        if not (run / "model").is_dir() and not (run / "run.json").is_file():
            raise FileError(f"'{run}' is not a run directory: it holds no model")
        return cls.load(run / "model")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """The model that `save` wrote.

        Raises:
            FileError: the files are missing, damaged, or of a newer format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if described["format"] != FORMAT:
                raise ValueError(f"its format is {described['format']}, not {FORMAT}")
            return cls._restored(described, _nested(load_file(folder / "model.safetensors")))
        except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
            raise FileError(
                f"cannot read the model in '{folder}' ({error}); fit it again with this version"
            ) from None

    @classmethod
    def _restored(cls, described: Mapping[str, Any], tree: Mapping[str, Any]) -> Model:
        recipe = None
        if described["recipe"]:
            from minimand.training import Recipe

            recipe = Recipe.from_json(described["recipe"])
        fitted = Fitted(
            Loss.from_json(described["loss"]),
            TargetEncoder.from_json(described["target"]),
            tree["params"],
            recipe,
            tree.get("state", {}),
        )
        pixels = "shape" in described["features"]
        encoder = PixelEncoder if pixels else FeatureEncoder
        features = encoder.from_json(described["features"])
        return cls(features, fitted, described["target_name"])


def _flat(prefix: str, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for name, child in tree.items():
        path = f"{prefix}.{name}"
        flat |= _flat(path, child) if isinstance(child, Mapping) else {path: np.asarray(child)}
    return flat


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, array in flat.items():
        *parents, name = path.split(".")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = array
    return tree
