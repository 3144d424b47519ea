"""Convolutional networks on Fashion-MNIST, judged once on its 10,000 test images.

    python examples/fashion_mnist.py cnn --seeds 3
    python examples/fashion_mnist.py cnn-augmented --seeds 3

With `--validate` the last 5,000 training images are judged instead, which is how the recipes were
chosen. `fashion_mnist.md` holds the results.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from pathlib import Path

import jax
import numpy as np

from minimand.data.augmentation import Chain, Flip, Shift, Unchanged
from minimand.data.images import read_images
from minimand.losses import CrossEntropy
from minimand.networks import CNN
from minimand.networks.base import count
from minimand.optimizers import AdamW
from minimand.schedules import OneCycle
from minimand.training import Recipe, train

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion_mnist"
HELD, BATCH = 5_000, 128
NETWORKS = {
    "cnn": (CNN(channels=(48, 96), norm="batch", dropout=0.5, outputs=10), Unchanged(), 14),
    "cnn-augmented": (
        CNN(channels=(48, 96), hidden=(256,), norm="batch", dropout=0.3, outputs=10),
        Chain((Flip(), Shift(height=0.04, width=0.04))),
        16,
    ),
}
"""A network, how its images are changed at random, and the epochs."""


def recipe(name: str, rows: int) -> Recipe:
    """AdamW, its learning rate up and down within one cycle; softened labels."""
    network, augmentation, epochs = NETWORKS[name]
    return Recipe(
        network,
        CrossEntropy(label_smoothing=0.05),
        AdamW(learning_rate=0.004, weight_decay=0.05),
        schedule=OneCycle(steps=epochs * -(-rows // BATCH)),
        augmentation=augmentation,
        batch_size=BATCH,
        epochs=epochs,
    )


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--validate", action="store_true")
    given = parser.parse_args()

    images = read_images(given.folder)
    X, y = images.X, images.target.to_numpy()
    train_rows, judged = len(X) - len(images.test), images.test
    if given.validate:
        train_rows -= HELD
        judged = np.arange(train_rows, train_rows + HELD)
    chosen = recipe(given.network, train_rows)
    params, _ = chosen.network.init(jax.random.key(0), X[:1])
    print(f"{datetime.date.today()}, {platform.machine()}: {given.network}, {count(params):,} "
          f"parameters, {train_rows:,} images, {chosen.epochs} epochs\n")  # fmt: skip
    print("| seed | accuracy | training loss | minutes | CPU minutes |")
    print("| --- | --- | --- | --- | --- |")
    found = []
    for seed in range(given.seeds):
        begun = time.perf_counter(), time.process_time()
        fitted = train(chosen, X[:train_rows], y[:train_rows], validation=0.0, seed=seed)
        wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
        found.append(np.mean(fitted.predict(X[judged]) == y[judged]))
        loss = fitted.history["train"][-1]
        print(
            f"| {seed} | {found[-1]:.4f} | {loss:.4f} | {wall / 60:.1f} | {cpu / 60:.1f} |",
            flush=True,
        )
    if given.seeds > 1:
        print(f"| mean | {np.mean(found):.4f} ± {np.std(found, ddof=1):.4f} | | | |")


if __name__ == "__main__":
    main()
