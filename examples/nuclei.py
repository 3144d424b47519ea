"""What the Dice loss adds to cross-entropy: nuclei found by a small U-shaped network.

    python examples/nuclei.py [dsb2018_256.zip]

334 images of 256 × 256 pixels at half their height and width, four fifths to train on and the rest,
always the same, to be judged by: the Dice index of the nuclei, of each image, mean over the images.
The two networks of a seed differ by their loss alone. `nuclei.md` says what came out.
"""

from __future__ import annotations

import datetime
import io
import platform
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import stats

from minimand.data.augmentation import Chain, Flip
from minimand.losses import Loss, PixelCrossEntropy, Sum
from minimand.networks import UNet
from minimand.optimizers import AdamW
from minimand.schedules import OneCycle
from minimand.training import Recipe, train

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "nuclei" / "dsb2018_256.zip"
SEEDS, EPOCHS, BATCH = 3, 15, 8
LOSSES = {"cross-entropy": PixelCrossEntropy(), "Dice + cross-entropy": Sum()}


def read(archive: Path) -> tuple[np.ndarray, np.ndarray]:
    """(images [n, 128, 128], masks [n, 128, 128]) in the order of their names."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.startswith("images/"))

        def picture(name: str) -> Image.Image:
            return Image.open(io.BytesIO(files.read(name)))

        images = [np.asarray(picture(name).convert("L").reduce(2)) for name in names]
        labels = [np.asarray(picture(name.replace("images", "labels")))[::2, ::2] for name in names]
    return np.stack(images), (np.stack(labels) > 0).astype(np.int32)


def recipe(loss: Loss, rows: int) -> Recipe:
    """The same for both losses; images are turned over both ways."""
    return Recipe(
        UNet(channels=(8, 16, 32)),
        loss,
        AdamW(learning_rate=0.005),
        schedule=OneCycle(steps=EPOCHS * -(-rows // BATCH)),
        augmentation=Chain((Flip(), Flip(direction="vertical"))),
        batch_size=BATCH,
        epochs=EPOCHS,
    )


def dice(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The index 2 |A ∩ B| / (|A| + |B|) of each image; every one has nuclei."""
    both = np.sum(found * true, axis=(1, 2))
    return 2 * both / np.sum(found + true, axis=(1, 2))


def interval(values: np.ndarray) -> str:
    """The mean and its 95 % interval by Student's t."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{np.mean(values):+.4f} ± {half:.4f}"


def main(archive: Path) -> None:
    """The table."""
    X, y = read(archive)
    order = np.random.default_rng(0).permutation(len(X))
    held, kept = np.split(order, [len(X) // 5])
    begun = time.process_time()
    found = {
        name: [
            train(recipe(loss, len(kept)), X[kept], y[kept], validation=0.0, seed=seed)
            for seed in range(SEEDS)
        ]
        for name, loss in LOSSES.items()
    }
    index = {
        name: np.array([dice(np.argmax(fit.scores(X[held]), axis=-1), y[held]) for fit in fits])
        for name, fits in found.items()
    }
    seconds = time.process_time() - begun
    print(f"{datetime.date.today()}, {platform.machine()}, {len(kept)} images to train on, "
          f"{len(held)} to be judged by, {seconds / 60:.0f} CPU minutes\n")  # fmt: skip
    print("| loss | " + " | ".join(f"seed {seed}" for seed in range(SEEDS)) + " | mean |")
    print("| --- |" + " --- |" * (SEEDS + 1))
    for name, values in index.items():
        means = " | ".join(f"{value:.4f}" for value in values.mean(axis=1))
        print(f"| {name} | {means} | {values.mean():.4f} |")
    gain = index["Dice + cross-entropy"] - index["cross-entropy"]
    print(f"\nGain, over the images (seeds averaged): {interval(gain.mean(axis=0))}")
    print(f"Gain, over the seeds (images averaged): {interval(gain.mean(axis=1))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE)
