"""A run goes on to the same bits after whatever ended it, and outlives a disk that is full."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from minimand.budget import Budget
from minimand.errors import ArgumentError, FileError
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import Adam, Averaged
from minimand.schedules import ReduceOnPlateau
from minimand.training import Recipe, Trained, checkpoint, loop, train

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RANDOM.normal(size=90)
RECIPE = Recipe(MLP(hidden=(8,)), Squared(), Adam(), batch_size=8, epochs=6, patience=6)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few steps, so that runs are cut in mid-epoch."""
    monkeypatch.setattr(loop, "next_chunk", lambda *ignored: 3)


def same(a: Trained, b: Trained) -> None:
    for one, other in zip(jax.tree.leaves(a.last), jax.tree.leaves(b.last), strict=True):
        assert np.array_equal(one, other)
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        assert np.array_equal(one, other)
    np.testing.assert_array_equal(a.history["train"], b.history["train"])
    np.testing.assert_array_equal(a.history["validation"], b.history["validation"])
    assert a.status == b.status


class Stopper(Budget):
    """A budget that is spent after some questions."""

    reason = "stopped"

    def __init__(self, questions: int):
        super().__init__()
        self.questions = questions

    def spent(self) -> bool:
        self.questions -= 1
        return self.questions < 0


@pytest.fixture(scope="module")
def whole() -> Trained:
    return train(RECIPE, X, Y, progress=False)


@pytest.mark.parametrize("questions", [1, 2, 5, 12])
def test_a_run_stopped_in_mid_epoch_goes_on_to_the_same_bits(
    whole: Trained, tmp_path: Path, questions: int
) -> None:
    stopped = train(RECIPE, X, Y, checkpoints=tmp_path, budget=Stopper(questions))
    assert len(stopped.history["epoch"]) < 6
    same(train(RECIPE, X, Y, checkpoints=tmp_path, resume=True), whole)
    same(train(RECIPE, X, Y, checkpoints=tmp_path, resume=True), whole)  # nothing is left to do


@pytest.mark.parametrize(
    ("changed", "ended"),
    [
        ({"patience": 1}, "stopped early after"),
        ({"optimizer": Averaged(Adam(learning_rate=0.1))}, "ran all 12 epochs"),
        ({"schedule": ReduceOnPlateau(patience=1)}, "ran all 12 epochs"),
    ],
    ids=["early stopping", "averaged weights", "reduced on a plateau"],
)
def test_what_a_run_remembers_goes_on_to_the_same_bits(
    tmp_path: Path, changed: dict[str, Any], ended: str
) -> None:
    fast = replace(RECIPE, optimizer=Adam(learning_rate=0.1), epochs=12, patience=12)
    recipe = replace(fast, **changed)
    undisturbed = train(recipe, X, Y, validation=0.3)
    assert undisturbed.status.startswith(ended)
    for steps in (12, 27, 45):  # 8 make an epoch
        train(
            recipe,
            X,
            Y,
            validation=0.3,
            budget=Budget(steps=steps),
            checkpoints=tmp_path,
            resume=True,
        )
    same(train(recipe, X, Y, validation=0.3, checkpoints=tmp_path, resume=True), undisturbed)


def test_checkpoints_change_nothing_and_the_newest_two_stay(whole: Trained, tmp_path: Path) -> None:
    same(train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0), whole)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2 and names[-1] == "step-0000000066.safetensors"


def test_as_many_stay_as_are_asked_for(whole: Trained, tmp_path: Path) -> None:
    same(train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0, keep=4), whole)
    steps = sorted(int(path.stem.split("-")[1]) for path in tmp_path.iterdir())
    assert steps == [59, 62, 65, 66]
    with pytest.raises(ArgumentError, match="keep is 0"):
        train(RECIPE, X, Y, checkpoints=tmp_path, keep=0, resume=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    whole: Trained, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0, budget=Stopper(6))
    newest = max(tmp_path.glob("step-*"))
    damage(newest)
    with pytest.warns(UserWarning, match=rf"{newest.name}' is damaged .* goes on from step 23"):
        same(train(RECIPE, X, Y, checkpoints=tmp_path, resume=True), whole)


def test_checkpoints_that_are_all_damaged_are_told_and_do_not_crowd_out_new_ones(
    whole: Trained, tmp_path: Path
) -> None:
    train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0)
    for path in tmp_path.iterdir():
        flip(path)
    with pytest.warns(UserWarning) as said:
        train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0, resume=True, budget=Stopper(6))
    assert [str(warning.message).partition("; ")[2] for warning in said] == [
        "the run begins anew"
    ] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-0000000023.safetensors",
        "step-0000000026.safetensors",
        "step-0000000065.damaged",
        "step-0000000066.damaged",
    ]
    same(train(RECIPE, X, Y, checkpoints=tmp_path, resume=True), whole)


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_a_bit_flipped_anywhere_is_told_and_the_checkpoint_before_it_used(tmp_path: Path) -> None:
    def begun() -> int:
        """The step from which a run goes on."""
        train(RECIPE, X, Y, checkpoints=tmp_path, resume=True, budget=(budget := Stopper(0)))
        return budget.taken

    train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0, budget=Stopper(6))
    older, newest = sorted(tmp_path.iterdir())
    whole = [path.read_bytes() for path in (older, newest)]
    header = 8 * (8 + int.from_bytes(whole[1][:8], "little"))
    everywhere = RANDOM.permutation(8 * len(whole[1]))[:20]
    assert begun() == 26
    for bit in [*range(0, 64, 5), *RANDOM.permutation(header)[:40], *everywhere]:
        older.write_bytes(whole[0])
        newest.write_bytes(flipped(whole[1], bit))
        with pytest.warns(UserWarning, match=rf"{newest.name}' is damaged"):
            assert begun() == 23
    older.write_bytes(flipped(whole[0], header // 2))
    newest.write_bytes(flipped(whole[1], header // 2))
    with pytest.warns(UserWarning, match="is damaged"):
        assert begun() == 0


def test_a_full_disk_is_told_and_the_run_goes_on(
    whole: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    train(RECIPE, X, Y, checkpoints=tmp_path, budget=Stopper(6))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: used._replace(free=10))
    same(train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0, resume=True), whole)
    assert "no checkpoint after step" in (said := capfd.readouterr().err)
    assert "10 are free" in said and "the run goes on" in said
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_write_that_fails_half_way_leaves_no_trace(
    whole: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(RECIPE, X, Y, checkpoints=tmp_path, budget=Stopper(6))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self: Path, content: bytes) -> int:
        with open(self, "wb") as file:
            file.write(content[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    same(train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0, resume=True), whole)
    monkeypatch.undo()
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_the_last_state_is_tried_again_at_the_end(
    whole: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    used = shutil.disk_usage(tmp_path)
    free = iter([10] * 20)  # the run has 20 chunks
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: used._replace(free=next(free, 10**9)))
    same(train(RECIPE, X, Y, checkpoints=tmp_path, every=0.0), whole)
    assert "no checkpoint after step 66" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000066.safetensors"]


LIMITED = """
import resource, sys
import numpy as np
from minimand.budget import Budget
from minimand.losses import Squared
from minimand.networks import Linear
from minimand.training import Recipe, train

random = np.random.default_rng(0)
X = random.normal(size=(90, 3))
given = Recipe(Linear(), Squared(), batch_size=8, epochs=4), X, X @ [1.0, -2.0, 0.5]
folder, size = sys.argv[1], int(sys.argv[2])
train(*given, checkpoints=folder, budget=Budget(steps=15))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
resumed = train(*given, checkpoints=folder, every=0.0, resume=True)
whole = train(*given)
print(resumed.history == whole.history, resumed.status)
"""


def test_a_disk_that_takes_no_more_is_told_and_the_checkpoint_before_survives(
    tmp_path: Path,
) -> None:
    pytest.importorskip("resource")
    command = [sys.executable, "-c", LIMITED, str(tmp_path), "1000"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("True ran all 4 epochs"), ran.stderr
    assert "no checkpoint after step 44 (cannot write" in ran.stderr
    assert "File too large" in ran.stderr and "the run goes on" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000015.safetensors"]


def test_what_a_killed_process_left_half_written_is_swept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = tmp_path / f".step-0000000003.safetensors.partial-{gone.pid}"
    orphan.write_bytes(b"half")
    train(replace(RECIPE, epochs=1), X, Y, checkpoints=tmp_path)
    assert not orphan.exists()


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    train(RECIPE, X, Y, checkpoints=tmp_path, budget=Stopper(6))
    for recipe, y, seed in (
        (RECIPE, Y + 1, 0),
        (RECIPE, Y, 1),
        (replace(RECIPE, batch_size=16), Y, 0),
    ):
        with pytest.raises(FileError, match="other data, another recipe or another seed"):
            train(recipe, X, y, seed=seed, checkpoints=tmp_path, resume=True)
    with pytest.raises(FileError, match="give resume=True or another folder"):
        train(RECIPE, X, Y, checkpoints=tmp_path)


def test_a_checkpoint_of_another_format_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "FORMAT", 7)
        train(RECIPE, X, Y, checkpoints=tmp_path, budget=Stopper(2))
    (path,) = tmp_path.iterdir()
    with pytest.raises(FileError, match=rf"{path.name}' is of format 7, .* reads format 3; go on"):
        train(RECIPE, X, Y, checkpoints=tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot keep checkpoints in"):
        train(RECIPE, X, Y, checkpoints=tmp_path / "file" / "folder")


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    train(replace(RECIPE, epochs=1), X, Y, checkpoints=tmp_path)
    content = next(tmp_path.iterdir()).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"]["minimand"])
    assert about["format"] == 3 and about["step"] == 11
    assert all(entry["dtype"] for name, entry in header.items() if name != "__metadata__")


KILLED = """
import os, signal, sys, threading
import numpy as np
from minimand.losses import Squared
from minimand.networks import MLP
from minimand.optimizers import Adam
from minimand.training import Recipe, members, train

random = np.random.default_rng(0)
X = random.normal(size=(2000, 3))
Y = X @ [1.0, -2.0, 0.5]
members.CHUNK_SECONDS = 0.001
folder, seconds = sys.argv[1], float(sys.argv[2])

def aim(event):
    if seconds and event.step and not aim.armed:
        aim.armed = True
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

aim.armed = False
recipe = Recipe(MLP(hidden=(8,)), Squared(), Adam(), batch_size=8, epochs=20)
fitted = train(recipe, X, Y, checkpoints=folder, every=0.0, resume=True, listeners=[aim])
print(sorted(fitted.history.items()), [leaf.tobytes().hex() for leaf in
      __import__("jax").tree.leaves(fitted.params)], fitted.status)
"""


def test_kill_minus_nine_at_random_instants(tmp_path: Path) -> None:
    def run(folder: str, seconds: float) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder), str(seconds)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    undisturbed = run("whole", 0)
    assert undisturbed.returncode == 0, undisturbed.stderr
    for seconds in RANDOM.uniform(0.01, 0.3, size=3):
        killed = run("killed", seconds)
        assert killed.returncode in (-9, 0)
    assert run("killed", 0).stdout == undisturbed.stdout
