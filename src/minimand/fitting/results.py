"""What `compare` and `fit` give back: the record of the run, and the model."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError, FileError
from minimand.fitting.directory import claim, write_whole
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
            lines.append(f"{mark}{candidate['name']:32} {candidate['mean']:10.4g}  {span:^22}  {versus}")
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
            X: a frame or array with the columns of training, or the path of a file.

        Raises:
            DataError: a column is absent or cannot be read.
        """
        return self.model.predict(_frame(X))[0]

    def predict_proba(self, X: Any) -> Array:
        """Probabilities [n, K] of the classes, in the order of `run["data"]["classes"]`.

        Raises:
            ArgumentError: the chosen loss gives no probabilities.
        """
        probability = self.model.predict(_frame(X))[1]
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

        return render(self.run, self.history, self.predictions)

    def _write(self, folder: Path) -> None:
        import polars as pl

        (folder / "model").mkdir()
        self.model.save(folder / "model")
        pl.DataFrame(dict(self.history)).write_parquet(folder / "history.parquet")
        arrays = {k: v for k, v in self.predictions.items() if v.ndim == 1}
        pl.DataFrame(arrays).write_parquet(folder / "test_predictions.parquet")
        record = json.dumps(self.run, indent=1, ensure_ascii=False, default=_plain)
        (folder / "run.json").write_text(record, encoding="utf-8")
        (folder / "report.html").write_text(self.report(), encoding="utf-8")


def load(folder: str | os.PathLike[str]) -> Model:
    """The model of a run directory, ready to predict.

    Raises:
        FileError: there is no run in that directory, or it is damaged.
    """
    if not (Path(folder) / "run.json").is_file():
        raise FileError(f"'{folder}' is not a run directory: it holds no run.json")
    return Model.load(Path(folder) / "model")


def _frame(X: Any) -> Any:
    from minimand.data import from_arrays, read_table

    if isinstance(X, (str, os.PathLike)):
        return read_table(X, need_target=False).frame
    return from_arrays(X).frame


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
