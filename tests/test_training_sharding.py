"""Two devices of one machine share every batch, and the run is the same to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minimand.errors import ArgumentError
from minimand.training.sharding import on_devices

TWO_DEVICES = """
import json, sys
import jax, numpy as np
from minimand.data import Fold
from minimand.errors import ArgumentError
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import SGD
from minimand.training import Recipe, train_members, train_stream
from minimand.training.batches import Rows
from minimand.training.sharding import on_devices, shared

random = np.random.default_rng(0)
X = random.normal(size=(80, 4))
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
recipe = Recipe(MLP(hidden=(8,)), Squared(), SGD(learning_rate=0.05), batch_size=16, epochs=10)
FOLD = Fold(np.arange(80), np.arange(0))
blocks = [(X[:48], Y[:48]), (X[48:], Y[48:])]


def memory(devices, recipe=recipe, **more):
    return train_members([recipe], X, Y, [FOLD], [0], devices=devices, **more)[0]


def stream(devices):
    return train_stream(recipe, blocks, validation=blocks[1:], devices=devices)


def furthest(run):
    one, two = (jax.tree.leaves(run(devices).last["params"]) for devices in (1, 2))
    pairs = zip(one, two, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


found = {"devices": len(jax.devices()), "memory": furthest(memory), "stream": furthest(stream)}
kept = sys.argv[1]
memory(2, checkpoints=kept)
found["resumed"] = memory(1, checkpoints=kept, resume=True).status
try:
    memory(2, Recipe(MLP(hidden=(8,)), Squared(), batch_size=15))
except ArgumentError as error:
    found["uneven"] = str(error)
with on_devices(2):
    rows = jax.jit(lambda rows: shared(rows))(Rows(np.zeros((1, 16)), np.zeros((1, 16))))
found["shapes"] = [shard.data.shape for shard in rows.index.addressable_shards]
print(json.dumps(found))
"""


def test_two_devices_give_the_run_of_one_to_rounding(tmp_path: Path) -> None:
    """In a process of its own, for the number of devices is fixed when JAX starts."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tmp_path)],
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["devices"] == 2
    assert 0 <= found["memory"] < 1e-6
    assert 0 <= found["stream"] < 1e-6
    assert found["resumed"].startswith("ran all 10 epochs")
    assert found["shapes"] == [[1, 8], [1, 8]]
    assert found["uneven"] == (
        "2 devices cannot share a batch of 15 rows evenly; take a multiple of 2 as batch_size"
    )


@pytest.mark.parametrize("devices", [0, -1, 1000])
def test_devices_that_are_not_there_are_refused(devices: int) -> None:
    with pytest.raises(ArgumentError, match=f"devices is {devices}; this process sees"):
        on_devices(devices)
