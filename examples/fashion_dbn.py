"""What pre-training is worth: a deep belief network on Fashion-MNIST with 1,000 labels.

    python examples/fashion_dbn.py [folder]

The folder holds the four gzipped files of the data set. The machines learn from all 60,000 training
images without their labels; then the network learns from the first 1,000 with theirs, and is judged
on the 10,000 test images, beside the same network without pre-training. `fashion_dbn.md` says what
came out.
"""

from __future__ import annotations

import datetime
import platform
import sys
import time
from pathlib import Path

from minimand.data.images import read_images
from minimand.losses import ContrastiveDivergence, CrossEntropy
from minimand.networks import MLP, RBM
from minimand.optimizers import Adam, Momentum
from minimand.schedules import Linear
from minimand.training import Recipe
from minimand.tuning import compare_pretraining

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "fashion_mnist"
WIDTHS, LABELLED, SEEDS = (500, 500), 1_000, 3


def machine(hidden: int, rows: int, epochs: int = 5) -> Recipe:
    """A machine by contrastive divergence with one step; the learning rate falls to 0."""
    return Recipe(
        RBM(hidden=hidden),
        ContrastiveDivergence(),
        Momentum(learning_rate=0.05),
        schedule=Linear(decay_steps=epochs * -(-rows // 100)),
        batch_size=100,
        epochs=epochs,
    )


def classifier(epochs: int = 60) -> Recipe:
    """The perceptron that is fine-tuned."""
    return Recipe(
        MLP(hidden=WIDTHS, outputs=10, activation="sigmoid"),
        CrossEntropy(),
        Adam(learning_rate=0.0003),
        batch_size=20,
        epochs=epochs,
    )


def main(folder: Path) -> None:
    """The table."""
    images = read_images(folder)
    X, y, test = images.X, images.target.to_numpy(), images.test
    unlabelled = X[: len(X) - len(test)]
    begun = time.process_time()
    found = compare_pretraining(
        [machine(width, len(unlabelled)) for width in WIDTHS],
        classifier(),
        X[:LABELLED],
        y[:LABELLED],
        (X[test], y[test]),
        unlabelled=unlabelled,
        seeds=range(SEEDS),
        validation=0.0,
        progress=False,
    )
    seconds = time.process_time() - begun
    print(f"{datetime.date.today()}, {platform.machine()}, {seconds:.0f} CPU s\n")
    print("| seed | pre-trained | not pre-trained |")
    print("| --- | --- | --- |")
    for seed, pair in enumerate(zip(found.pretrained, found.plain, strict=True)):
        print(f"| {seed} | {pair[0]:.4f} | {pair[1]:.4f} |")
    print(f"\n{found.summary()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
