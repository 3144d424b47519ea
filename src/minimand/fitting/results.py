"""What `compare` and `fit` give back: the record of the run, and the model."""

from __future__ import annotations

import html
import io
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError, FileError
from minimand.files import write_whole
from minimand.fitting.directory import claim
from minimand.fitting.model import Model


@dataclass(frozen=True)
class Comparison:
    """Every candidate, scored on the same folds; `run` is the record, as plain JSON."""

    run: Mapping[str, Any]

    def summary(self) -> str:
        """The table of candidates, best first."""
        metric = self.run["metric"]["name"]
        lines = [f"{'':2}{'candidate':32} {metric:>10}  {'95 % interval':^22}  difference"]
        for candidate in self.run["candidates"]:
            if candidate["status"] != "scored":
                continue
            span = f"[{candidate['low']:.4g}, {candidate['high']:.4g}]"
            mark, versus = "  ", "winner"
            if difference := candidate["versus_winner"]:
                mark = "= " if difference["tied"] else "  "
                versus = (
                    f"{difference['difference']:+.4g} "
                    f"[{difference['low']:+.4g}, {difference['high']:+.4g}]"
                )
            lines.append(
                f"{mark}{candidate['name']:32} {candidate['mean']:10.4g}  {span:^22}  {versus}"
            )
        base = self.run["baseline"]
        lines.append(f"  {'constant: ' + base['name']:32.32} {base['mean']:10.4g}")
        lines.append("  = marks candidates that are statistically tied with the winner")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"


@dataclass(frozen=True)
class Fit(Comparison):
    """The winner, refitted, with its test score and everything that led to it."""

    model: Model
    history: Mapping[str, Sequence[float]]
    predictions: Mapping[str, Array]
    mistakes: Mapping[str, Array] = field(default_factory=dict)
    """Of images: those of the test that are wrong with most confidence, and their places in it."""

    def summary(self) -> str:
        """The verdict, then the table of candidates."""
        return f"{self.verdict()}\n{super().summary()}"

    def verdict(self) -> str:
        """The outcome in one sentence."""
        from minimand.report import verdict

        return verdict(self.run)

    def predict(self, X: Any) -> Array:
        """Predictions for new rows, in the user's terms.

        Args:
            X: a frame or array with the columns of training, or images, or the path of either.
                What is odd about it, such as categories never seen before, is a warning.

        Raises:
            DataError: a column is absent or cannot be read.
        """
        return self._predict(X)[0]

    def predict_proba(self, X: Any) -> Array:
        """Probabilities [n, K] of the classes, in the order of `run["data"]["classes"]`.

        Raises:
            ArgumentError: the chosen loss gives no probabilities.
        """
        probability = self._predict(X)[1]
        if probability is None:
            raise ArgumentError(
                f"{self.run['winner']} gives no probabilities; fit with metric='logloss' to "
                f"choose among losses that do"
            )
        return probability

    def save(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write the run directory: run.json, history.parquet, model/ and report.html.

        Raises:
            FileError: the directory is not empty or cannot be written; no trace is left.
        """
        folder = claim(out, self.run["data"]["name"])
        write_whole(folder, self._write)
        return folder

    def report(self) -> str:
        """The report: one HTML page that needs neither network nor JavaScript."""
        from minimand.report import render

        return render(self.run, self.history, self.predictions, self.mistakes)

    def _predict(self, X: Any) -> tuple[Array, Array | None]:
        value, probability, notes = self.model.predict(self.model.read(X))
        for note in notes:
            warnings.warn(note, stacklevel=3)
        return value, probability

    def _write(self, folder: Path) -> None:
        (folder / "model").mkdir()
        self.model.save(folder / "model")
        _write_parquet(folder / "history.parquet", self.history)
        said = dict(self.predictions)
        for k, column in enumerate(said.pop("probability", np.zeros((0, 0))).T):
            said[f"probability {k}"] = column
        _write_parquet(folder / "test_predictions.parquet", said)
        record = json.dumps(_plain(self.run), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "run.json").write_text(record, encoding="utf-8", errors="backslashreplace")
        if self.mistakes:
            from safetensors.numpy import save

            (folder / "mistakes.safetensors").write_bytes(save(dict(self.mistakes)))
        (folder / "report.html").write_text(self.report(), encoding="utf-8")


def load(folder: str | os.PathLike[str]) -> Fit:
    """The fit that `Fit.save` or the command line wrote into a run directory.

    Raises:
        FileError: there is no run in that directory, or it is damaged.
    """
    import polars as pl

    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileError(f"'{folder}' is not a run directory: it holds no run.json")
    model = Model.of_run(folder)
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        history = pl.read_parquet(folder / "history.parquet").to_dict(as_series=False)
        said = pl.read_parquet(folder / "test_predictions.parquet")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise FileError(f"cannot read the run in '{folder}' ({error})") from None
    predictions = {name: said[name].to_numpy() for name in ("actual", "predicted")}
    if len(said.columns) > len(predictions):
        predictions["probability"] = said.drop("actual", "predicted").to_numpy()
    mistakes: dict[str, Array] = {}
    if (folder / "mistakes.safetensors").is_file():
        from safetensors.numpy import load_file

        mistakes = load_file(folder / "mistakes.safetensors")
    return Fit(run, model, history, predictions, mistakes)


def _write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    import polars as pl

    packed = io.BytesIO()
    pl.DataFrame(dict(columns)).write_parquet(packed)
    path.write_bytes(packed.getvalue())


def _plain(value: Any) -> Any:
    """`value` as strict JSON can hold it: a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
