"""A sparse autoencoder on Fashion-MNIST, and how much a linear classifier reads off its code.

    python examples/fashion_autoencoder.py [folder]

The folder holds the four gzipped files of the data set; `fashion_autoencoder.md` has the results.
"""

from __future__ import annotations

import datetime
import platform
import sys
import time
from pathlib import Path

import numpy as np

from minimand.data.images import read_images
from minimand.losses import BinaryCrossEntropy, CrossEntropy, Reconstruction
from minimand.networks import Autoencoder, Linear
from minimand.networks.layers import rows
from minimand.optimizers import Adam
from minimand.penalties import Sparsity
from minimand.schedules import Cosine
from minimand.training import Recipe, train
from minimand.training.layerwise import codes, pretrain

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion_mnist"
RATE, CODE, BATCH, SEEDS = 0.1, 1000, 256, 3


def coder(images: int, epochs: int = 8) -> Recipe:
    """An autoencoder of one sigmoid layer whose units should be active at `RATE`."""
    return Recipe(
        Autoencoder(code=CODE),
        Reconstruction(BinaryCrossEntropy()),
        Adam(learning_rate=0.003),
        Sparsity(rate=RATE, strength=5.0),
        Cosine(decay_steps=epochs * -(-images // BATCH)),
        batch_size=BATCH,
        epochs=epochs,
    )


def classifier(images: int, epochs: int = 15) -> Recipe:
    """Ten scores that are affine in the code."""
    return Recipe(
        Linear(outputs=10),
        CrossEntropy(),
        Adam(learning_rate=0.01),
        schedule=Cosine(decay_steps=epochs * -(-images // BATCH)),
        batch_size=BATCH,
        epochs=epochs,
    )


def main(folder: Path) -> None:
    """The table."""
    images = read_images(folder)
    assert images.target is not None and images.test is not None
    label = images.target.cast(int).to_numpy()
    learnt = np.setdiff1d(np.arange(len(label)), images.test)
    X, y = rows(images.X[learnt]), label[learnt]
    unseen, target = rows(images.X[images.test]), label[images.test]
    print(f"{datetime.date.today()}, {platform.machine()}\n")
    print("| seed | mean activity | units within 10 % | test accuracy | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    found = []
    for seed in range(SEEDS):
        begun = time.process_time()
        stack = pretrain([coder(len(X))], X, seed=seed, progress=False)
        recipe = classifier(len(X))
        fitted = train(recipe, codes(stack, X), y, validation=0, seed=seed, progress=False)
        code = codes(stack, unseen)
        found.append(np.mean(fitted.predict(code) == target))
        near = np.mean(np.abs(code.mean(axis=0) / RATE - 1) <= 0.1)
        seconds = time.process_time() - begun
        print(f"| {seed} | {code.mean():.4f} | {near:.0%} | {found[-1]:.4f} | {seconds:.0f} |",
              flush=True)  # fmt: skip
    print(f"| mean | | | {np.mean(found):.4f} ± {np.std(found, ddof=1):.4f} | |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
