"""What a step of a member takes when so many run side by side on a core, network by network.

    python benchmarks/widths.py

Processor time, the least of three turns; `search.md` holds the table, from which `usual_width` is.
"""

from __future__ import annotations

import time

import numpy as np

from minimand.data.splits import Fold
from minimand.losses import CrossEntropy
from minimand.networks import CNN, MLP, Linear, Network
from minimand.optimizers import Adam
from minimand.training import Recipe
from minimand.training.members import InMemory

WIDTHS, MEMBERS, TURNS = (1, 4, 8, 16), 16, 3
CASES: list[tuple[str, Network, tuple[int, ...], int, int]] = [
    ("64-10", Linear(outputs=10), (64,), 32, 450),
    ("20-32-10", MLP(hidden=(32,), outputs=10), (20,), 32, 450),
    ("64-128-10", MLP(hidden=(128,), outputs=10), (64,), 32, 450),
    ("64-128-10, dropout", MLP(hidden=(128,), outputs=10, dropout=0.1), (64,), 32, 450),
    ("64-128-10, batch 128", MLP(hidden=(128,), outputs=10), (64,), 128, 112),
    ("64-3 × 128-10, batch norm", MLP((128,) * 3, outputs=10, norm="batch"), (64,), 32, 225),
    ("64-512-10", MLP(hidden=(512,), outputs=10), (64,), 32, 180),
    ("784-256-10", MLP(hidden=(256,), outputs=10), (784,), 32, 90),
    ("784-512-512-10", MLP(hidden=(512, 512), outputs=10), (784,), 32, 45),
    ("CNN of 8 channels, 8 × 8", CNN(channels=(8,), outputs=10), (8, 8, 1), 32, 90),
    ("CNN of 16 and 32, 28 × 28", CNN(channels=(16, 32), outputs=10), (28, 28, 1), 32, 15),
]
"""(name, network, shape of an example, rows of a batch, steps of a turn)."""


def microseconds(network: Network, shape: tuple[int, ...], batch: int, steps: int) -> list[float]:
    """A step of a member by each width."""
    random = np.random.default_rng(0)
    X = random.standard_normal((1440, *shape), dtype=np.float32)
    y = random.integers(0, 10, len(X)).astype(np.int32)
    recipe = Recipe(network, CrossEntropy(), Adam(1e-4), batch_size=batch, epochs=100_000)
    fold = Fold(np.arange(len(X)), np.arange(0))
    found = []
    for width in WIDTHS:
        rows = InMemory(
            [recipe] * MEMBERS, X, y, [fold] * MEMBERS, range(MEMBERS), jobs=1, width=width
        )
        state, took = rows.advance(rows.begin(), 0, steps), []
        for turn in range(1, 1 + TURNS):
            begun = time.process_time()
            state = rows.advance(state, turn * steps, (turn + 1) * steps)
            took.append(time.process_time() - begun)
        found.append(1e6 * min(took) / MEMBERS / steps)
    return found


if __name__ == "__main__":
    print("| µs a member-step, side by side |", *(f"{width} |" for width in WIDTHS))
    print("| --- |" + " ---: |" * len(WIDTHS))
    for name, network, shape, batch, steps in CASES:
        found = microseconds(network, shape, batch, steps)
        print(f"| {name} |", *(f"{took:.1f} |" for took in found), flush=True)
