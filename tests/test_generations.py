"""Population-based training as a study: the same generations whoever trains them, killed or not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from minimand.data.splits import Fold
from minimand.errors import ArgumentError
from minimand.losses import Squared
from minimand.networks import Linear
from minimand.optimizers import SGD
from minimand.training import Recipe, train_members
from minimand.tuning import Float, evolve
from minimand.tuning.generations import Raised, Raising
from minimand.tuning.pbt import FACTORS, exploited
from minimand.tuning.space import applied

RATE = "optimizer.learning_rate"
SPACE = {RATE: Float(1e-4, 0.3, log=True)}
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RANDOM.normal(size=60)
FOLD = Fold(np.arange(40), np.arange(40, 60))
RECIPE = Recipe(Linear(), Squared(), SGD(), batch_size=8, epochs=6)


def raised(**options: Any) -> Raised:
    return evolve(RECIPE, X, Y, SPACE, every=2, members=4, fold=FOLD, resample=0.0, **options)


def trials(found: Raised) -> list[Any]:
    return [(t.number, dict(t.setting), t.scores.tolist()) for t in found.study.trials]


def test_the_worst_go_on_as_copies_of_the_best_with_other_numbers() -> None:
    generations = raised().evolved.generations
    assert [generation.epoch for generation in generations] == [2, 4, 6]
    for before, after in pairwise(generations):
        assert after.parents.tolist() == exploited(before.values).tolist()
        for member, parent in enumerate(after.parents):
            old, new = before.settings[parent][RATE], after.settings[member][RATE]
            near = [old] if parent == member else [np.clip(old * f, 1e-4, 0.3) for f in FACTORS]
            assert any(new == pytest.approx(value) for value in near)


def test_children_go_on_from_the_networks_of_their_parents() -> None:
    found = raised(seed=1)
    best = found.evolved.best
    raising = Raising(RECIPE, X, Y, FOLD, None, (2, 4, 6), Path(), 1, None)
    one: list[Any] = []
    lineage = found.evolved.lineage(best)
    schedule = found.evolved.schedule(best)
    for generation, (member, (_, setting)) in enumerate(zip(lineage, schedule, strict=True)):
        recipe = applied(replace(RECIPE, epochs=2, patience=2, restore_best=False), setting)
        seed = raising._seed({"generation": generation, "member": member})
        one = train_members([recipe], X, Y, [FOLD], [seed], starts=one)
    leaves = map(jax.tree.leaves, (found.trained.params, one[0].params))
    for ours, alone in zip(*leaves, strict=True):
        np.testing.assert_array_equal(ours, alone)
    mean = np.mean((found.trained.scores(X[40:]) - Y[40:]) ** 2)
    assert found.evolved.generations[-1].values[best] == pytest.approx(mean, rel=1e-5)


def test_a_study_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL takes the process in the second generation, one network of it being written."""
    whole = raised()
    code = (
        "import os, signal; import test_generations as t; from minimand.training import Trained\n"
        "save, count = Trained.save, [0]\n"
        "def dying(self, folder):\n"
        "    save(self, folder); count[0] += 1\n"
        "    if count[0] == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Trained.save = dying\n"
        f"t.raised(storage={str(tmp_path / 'a.db')!r}, folder={str(tmp_path / 'networks')!r})"
    )
    paths = [str(Path(__file__).parent), *sys.path]
    run = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {paths}\n{code}"])
    assert run.returncode == -9
    assert len(list((tmp_path / "networks").glob("?-?"))) == 6
    again = raised(storage=tmp_path / "a.db", folder=tmp_path / "networks")
    assert trials(again) == trials(whole)


def test_two_processes_raise_what_one_does(tmp_path: Path) -> None:
    options: dict[str, Any] = {"storage": tmp_path / "a.db", "folder": tmp_path / "networks"}
    shared = raised(**options, executor="processes", jobs=2)
    assert trials(shared) == trials(raised())
    with pytest.raises(ArgumentError, match="not got 3 members"):
        evolve(RECIPE, X, Y, SPACE, every=2, members=3, fold=FOLD, **options)


def test_members_that_break_are_replaced() -> None:
    space = {RATE: Float(1e-3, 1e4, log=True)}
    found = evolve(RECIPE, X, Y, space, every=2, members=4, fold=FOLD)
    first, second = found.evolved.generations[:2]
    assert np.isinf(first.values).any()
    assert np.isfinite(first.values[second.parents]).all()
    assert np.isfinite(found.trained.scores(X)).all()


def test_what_cannot_be_raised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="give folder"):
        raised(storage=tmp_path / "a.db")
    with pytest.raises(ArgumentError, match="members is 1"):
        evolve(RECIPE, X, Y, SPACE, every=2, members=1)
    with pytest.raises(ArgumentError, match="every is 6"):
        evolve(RECIPE, X, Y, SPACE, every=6)
