"""One epoch over a Parquet file that need not fit in memory, beside the same rows in memory.

    python benchmarks/streaming.py [rows]

Writes rows x 20 float32 columns and a target to a temporary file (10,000,000 rows: 0.8 GB), and
trains a linear model and an MLP 20-64-32-1 with batches of 1,024 by Adam for one epoch, without
validation. Every row of the table is a process of its own, in which the run is made twice:

cold, epoch    wall seconds of the epoch in the first run, compiling included, and in the second;
               the clock starts when the engine does, with the rows in memory if they are to be
CPU            seconds that all threads worked during the second
peak           the largest resident memory of the process (ru_maxrss)
speed          the epoch in memory / the epoch of the stream, in wall and in CPU seconds
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from minimand.budget import Budget

COLUMNS = 20
BATCH = 1024
MODELS = {"linear": (), "MLP 64-32": (64, 32)}
KINDS = ("stream", "memory")


def write(path: str, rows: int) -> None:
    """A noisy nonlinear target of normal columns, in row groups of 2^18 rows (polars' default)."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    slopes = random.standard_normal(COLUMNS, dtype=np.float32)
    pieces = Path(path).with_name("pieces")
    pieces.mkdir()
    for k, begin in enumerate(range(0, rows, 2**20)):
        X = random.standard_normal((min(2**20, rows - begin), COLUMNS), dtype=np.float32)
        y = X @ slopes + np.sin(3 * X[:, 0]) + random.standard_normal(len(X), dtype=np.float32)
        columns = {f"x{i}": X[:, i] for i in range(COLUMNS)} | {"y": y}
        pl.DataFrame(columns).write_parquet(pieces / f"{k:04d}.parquet")
    pl.scan_parquet(pieces / "*.parquet").sink_parquet(path, row_group_size=2**18)


class Clock(Budget):
    """No limit, but the time since the engine first asked."""

    def spent(self) -> bool:
        """Never; the first question starts the clock."""
        if not hasattr(self, "begun"):
            self.begun = time.perf_counter(), time.process_time()
        return False

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds."""
        return time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]


def train(kind: str, model: str, path: str) -> dict[str, float]:
    """One epoch, twice: what they took, and the memory of this process."""
    import resource

    from minimand.data import Fold, ParquetBlocks
    from minimand.losses import Squared
    from minimand.networks import MLP, Linear
    from minimand.optimizers import Adam
    from minimand.training import Recipe, Trained, train_members, train_stream

    hidden = MODELS[model]
    network = MLP(hidden=hidden) if hidden else Linear()
    recipe = Recipe(network, Squared(), Adam(), batch_size=BATCH, epochs=1)
    if kind == "stream":
        source = ParquetBlocks(path, target="y")

        def once(clock: Clock) -> Trained:
            return train_stream(recipe, source, validation=0.0, budget=clock)
    else:
        import numpy as np
        import polars as pl

        frame = pl.read_parquet(path)
        y = frame["y"].to_numpy()
        X = frame.drop("y").to_numpy(order="c")
        everything = Fold(np.arange(len(y)), np.arange(0))

        def once(clock: Clock) -> Trained:
            return train_members([recipe], X, y, [everything], [0], budget=clock)[0]

    seconds = []
    for clock in (Clock(), Clock()):
        fitted = once(clock)
        seconds.append(clock.read())
    (cold, _), (epoch, cpu) = seconds
    return {
        "cold": cold,
        "epoch": epoch,
        "CPU": cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "loss": fitted.history["train"][-1],
    }


def child(*arguments: str) -> Any:
    """What another process of this file prints; the memory of this one stays small."""
    command = [sys.executable, __file__, *arguments]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout or "null")


def main(rows: int) -> None:
    """All runs, and the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/rows.parquet"
        child("write", path, str(rows))
        found = {
            (kind, model): child("train", kind, model, path) for model in MODELS for kind in KINDS
        }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{datetime.date.today()}, {rows:,} rows, {cores} cores ({platform.machine()})\n")
    print("| model | rows in | cold s | epoch s | CPU s | peak GB | loss | speed, wall | CPU |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (kind, model), one in found.items():
        inside = found["memory", model]
        speed = [f"{inside[of] / one[of]:.2f}" for of in ("epoch", "CPU")]
        cells = [f"{one[of]:.1f}" for of in ("cold", "epoch", "CPU")]
        cells += [f"{one['peak']:.2f}", f"{one['loss']:.4f}", *speed]
        print(f"| {model} | {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", path, rows]:
            write(path, int(rows))
        case ["train", kind, model, path]:
            print(json.dumps(train(kind, model, path)))
        case given:
            main(int(given[0]) if given else 10_000_000)
