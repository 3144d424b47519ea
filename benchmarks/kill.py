"""Kill -9 a training run at random instants, let it go on, and compare bits with one undisturbed.

    python benchmarks/kill.py --kills 100

A run of small checkpointed steps is started again and again on the same folder and killed at a
random instant (in steps, validation or while saving) until one is left to end. Its parameters and
its history must equal, bit for bit, those of a run that nobody disturbed; else this exits with 1.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

EPOCHS = 40


def train_here(folder: str, seconds: float) -> None:
    """The run; killed `seconds` after its first chunk of steps, unless that is 0."""
    import jax
    import numpy as np

    from minimand.losses import Squared
    from minimand.networks import MLP
    from minimand.optimizers import Adam
    from minimand.training import Recipe, members, train

    members.CHUNK_SECONDS = 0.002
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 10))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    armed: list[bool] = []

    def aim(event: object) -> None:
        if seconds and not armed:
            armed.append(True)
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    recipe = Recipe(MLP(hidden=(32, 16), dropout=0.1), Squared(), Adam(), batch_size=16,
                    epochs=EPOCHS, patience=EPOCHS)  # fmt: skip
    fitted = train(
        recipe, X, y, checkpoints=folder, every=0.0, resume=True, listeners=[aim], progress=False
    )
    bits = [np.asarray(leaf).tobytes().hex() for leaf in jax.tree.leaves(fitted.params)]
    print(fitted.status, sorted(fitted.history.items()), bits)


def start(folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """One process of the run."""
    command = [sys.executable, __file__, "--folder", str(folder), "--seconds", str(seconds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, -signal.SIGKILL):
        sys.exit(ended.stderr)
    return ended


def main() -> None:
    """Kill, resume, compare, and say how often the bits were equal."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--folder")
    parser.add_argument("--seconds", type=float, default=0.0)
    asked = parser.parse_args()
    if asked.folder:
        train_here(asked.folder, asked.seconds)
        return
    rng, same, killed = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as name:
        whole = start(Path(name) / "whole", 0.0)
        runs = 0
        while killed < asked.kills:
            runs += 1
            folder = Path(name) / f"run{runs}"
            for _ in range(min(10, asked.kills - killed)):
                killed += start(folder, rng.uniform(0.0, 0.4)).returncode == -signal.SIGKILL
            ended = start(folder, 0.0)
            equal = ended.stdout == whole.stdout
            same += equal
            print(f"{killed} kills, {runs} runs, {same} of them bit-equal", flush=True)
    sys.exit(same < runs)


if __name__ == "__main__":
    main()
