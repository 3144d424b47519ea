"""The test accuracy of an MLP 256-128-100 on Fashion-MNIST, by three seeds.

    python benchmarks/fashion_mnist.py [folder]

The folder holds the four gzipped files of the data set. `fashion_mnist.md` says how the recipe was
chosen and what came out.
"""

from __future__ import annotations

import datetime
import gzip
import platform
import sys
import time
from pathlib import Path

import numpy as np

from minimand.losses import CrossEntropy
from minimand.networks import MLP
from minimand.optimizers import Adam
from minimand.schedules import Cosine
from minimand.training import Recipe, train

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion_mnist"
EPOCHS, BATCH, SEEDS = 15, 256, 3
MEAN, STDDEV = 0.2860, 0.3530
"""Of the pixels of the training images."""


def recipe(rows: int, epochs: int = EPOCHS) -> Recipe:
    """Batch norm and light dropout; the learning rate falls along a cosine to 0."""
    return Recipe(
        MLP(hidden=(256, 128, 100), outputs=10, norm="batch", dropout=0.2),
        CrossEntropy(),
        Adam(learning_rate=0.003),
        schedule=Cosine(decay_steps=epochs * -(-rows // BATCH)),
        batch_size=BATCH,
        epochs=epochs,
    )


def images(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """(standardised pixels [n, 784], classes [n]) of "train" or "t10k"."""

    def content(name: str, header: int) -> np.ndarray:
        with gzip.open(folder / f"{part}-{name}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    pixels = content("images-idx3", 16).reshape(-1, 784).astype(np.float32)
    return (pixels / 255 - MEAN) / STDDEV, content("labels-idx1", 8).astype(np.int32)


def main(folder: Path) -> None:
    """The table."""
    X, y = images(folder, "train")
    test, target = images(folder, "t10k")
    print(f"{datetime.date.today()}, {platform.machine()}\n")
    print("| seed | test accuracy | training loss | CPU s |")
    print("| --- | --- | --- | --- |")
    found = []
    for seed in range(SEEDS):
        begun = time.process_time()
        fitted = train(recipe(len(X)), X, y, validation=0.0, seed=seed, progress=False)
        seconds = time.process_time() - begun
        found.append(np.mean(fitted.predict(test) == target))
        loss = fitted.history["train"][-1]
        print(f"| {seed} | {found[-1]:.4f} | {loss:.4f} | {seconds:.0f} |", flush=True)
    print(f"| mean | {np.mean(found):.4f} ± {np.std(found, ddof=1):.4f} | | |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
