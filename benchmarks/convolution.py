"""A training step of a net of two convolutions: minimand, and PyTorch in both memory formats.

    pip install -r benchmarks/training-requirements.txt
    python benchmarks/convolution.py [rounds]

All train the same net in one process, which is pinned to one core, by turns. `convolution.md` says
what is measured and holds the table.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROWS, BATCH, SIDE, CLASSES, RATE = 2560, 128, 28, 10, 0.001
CHANNELS = (32, 64)


def minimand(X: np.ndarray, y: np.ndarray, norm: Any) -> Callable[[], None]:
    """An epoch of `train`, as a user calls it."""
    from minimand.losses import CrossEntropy
    from minimand.networks import CNN
    from minimand.optimizers import Adam
    from minimand.training import Recipe, train

    network = CNN(channels=CHANNELS, outputs=CLASSES, norm=norm)
    rule = Adam(learning_rate=RATE)
    recipe = Recipe(network, CrossEntropy(), rule, batch_size=BATCH, epochs=1)
    return lambda: [train(recipe, X, y, validation=0.0, progress=False), None][1]


def pytorch(X: np.ndarray, y: np.ndarray, norm: Any, channels_last: bool) -> Callable[[], None]:
    """A loop that slices tensors, with the fused Adam."""
    import torch

    layers: list[Any] = []
    for inputs, outputs in ((1, CHANNELS[0]), CHANNELS):
        layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1)]
        layers += [torch.nn.BatchNorm2d(outputs)] if norm else []
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    width = CHANNELS[-1] * (SIDE // 4) ** 2
    form = torch.channels_last if channels_last else torch.contiguous_format
    module = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(width, CLASSES))
    module = module.to(memory_format=form)
    data, target = torch.from_numpy(X)[:, None].to(memory_format=form), torch.from_numpy(y).long()
    rule = torch.optim.Adam(module.parameters(), lr=RATE, fused=True)

    def epoch() -> None:
        for batch in torch.randperm(len(data)).split(BATCH):
            rule.zero_grad()
            torch.nn.functional.cross_entropy(module(data[batch]), target[batch]).backward()
            rule.step()

    return epoch


def table(norm: Any, rounds: int) -> None:
    """Milliseconds a step, the least of all rounds."""
    random = np.random.default_rng(0)
    X = random.random((ROWS, SIDE, SIDE), dtype=np.float32)
    y = random.integers(0, CLASSES, ROWS)
    engines = {
        "minimand": minimand(X, y, norm),
        "PyTorch": pytorch(X, y, norm, channels_last=False),
        "PyTorch, channels last": pytorch(X, y, norm, channels_last=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(1 + rounds):
        for name, epoch in engines.items():
            begun = time.perf_counter(), time.process_time()
            epoch()
            wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
            if number == 0:
                print(f"{name}: first epoch {wall:.2f} s", flush=True)
            else:
                seconds[name].append(cpu)
    steps = -(-ROWS // BATCH)
    best = {name: min(found) / steps * 1e3 for name, found in seconds.items()}
    print(f"\n{'batch norm' if norm else 'no norm'}\n")
    print("| engine | CPU ms a step | / PyTorch |")
    print("| --- | --- | --- |")
    for name, one in best.items():
        print(f"| {name} | {one:.1f} | {one / best['PyTorch']:.2f} |", flush=True)


def main(rounds: int) -> None:
    """Both tables."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    import torch

    torch.set_num_threads(1)
    print(f"{datetime.date.today()}, {platform.machine()}, PyTorch {torch.__version__}\n")
    for norm in (None, "batch"):
        table(norm, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
