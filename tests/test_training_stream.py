"""A stream of blocks is the run in memory, block by block, whatever cuts it and wherever it is."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

from minimand import randomness
from minimand.budget import Budget
from minimand.data import Fold, ParquetBlocks
from minimand.data.blocks import Block, Blocks, as_blocks
from minimand.errors import (
    ArgumentError,
    ArgumentTypeError,
    DataError,
    FileError,
    SolverError,
    TargetError,
    UnknownNameError,
)
from minimand.losses import CrossEntropy, Squared
from minimand.metrics import MAE
from minimand.networks import MLP, Linear
from minimand.optimizers import SGD, Adam
from minimand.training import Recipe, Trained, loop, stream, train, train_members, train_stream
from minimand.training.batches import Rows, shuffled

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5] + 0.1 * RANDOM.normal(size=90)).astype(np.float32)
RECIPE = Recipe(MLP(hidden=(8,)), Squared(), Adam(), batch_size=8, epochs=5)
CUTS = (0, 20, 40, 60, 75)
BLOCKS = [(X[a:b], Y[a:b]) for a, b in pairwise(CUTS)]
WATCHED = [(X[75:], Y[75:])]
STEPS = 3 + 3 + 3 + 2  # in an epoch


class InOrder:
    """Blocks that can only be gone through from the first to the last."""

    def __init__(self, blocks: list[Any]):
        self.blocks = blocks

    def __iter__(self) -> Iterator[Any]:
        return iter(self.blocks)


class Counted(Blocks):
    """The blocks, and the numbers of those that were read."""

    def __init__(self) -> None:
        self.inner, self.taken = as_blocks(BLOCKS), []
        self.sizes = self.inner.sizes

    def read(self, numbers: Any) -> Iterator[Block]:
        for number in numbers:
            self.taken.append(number)
            yield from self.inner.read([number])

    def fingerprint(self) -> str:
        return "counted"


class Stopper(Budget):
    """A budget that is spent after some questions."""

    reason = "stopped"

    def __init__(self, questions: int):
        super().__init__()
        self.questions = questions

    def spent(self) -> bool:
        self.questions -= 1
        return self.questions < 0


def same(a: Trained, b: Trained) -> None:
    for one, other in zip(
        jax.tree.leaves((a.last, a.params)), jax.tree.leaves((b.last, b.params)), strict=True
    ):
        assert np.array_equal(one, other)
    assert a.history == b.history or np.isnan(a.history["validation"]).all()
    assert a.status == b.status


def in_steps_of(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "next_chunk", lambda *ignored: steps)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Two files of 50 and 40 rows."""
    frame = pl.DataFrame({"y": Y} | {f"x{k}": X[:, k] for k in range(3)})
    frame[:50].write_parquet(tmp_path / "a.parquet", row_group_size=16)
    frame[50:].write_parquet(tmp_path / "b.parquet")
    return tmp_path


# --- What a streamed run equals ---


def test_double_precision_outside_changes_nothing() -> None:
    plain = train_stream(RECIPE, BLOCKS, validation=WATCHED)
    with jax.enable_x64(True):
        same(plain, train_stream(RECIPE, BLOCKS, validation=WATCHED))


def test_a_metric_of_all_watched_blocks_is_watched() -> None:
    recipe = replace(RECIPE, metric=MAE(), patience=50)
    parts = [(X[75:80], Y[75:80]), (X[80:], Y[80:])]
    fitted = train_stream(recipe, BLOCKS, validation=parts, seed=2)
    last = replace(fitted, params=fitted.last["params"])
    wanted = np.abs(last.scores(X[75:]) - Y[75:]).mean()
    assert fitted.history["validation"][-1] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("patience", [2, 50])
def test_one_block_is_the_run_in_memory_bit_for_bit(patience: int) -> None:
    recipe = replace(RECIPE, optimizer=Adam(learning_rate=0.05), epochs=30, patience=patience)
    fold = Fold(np.arange(75), np.arange(75, 90))
    (whole,) = train_members([recipe], X, Y, [fold], [3])
    same(train_stream(recipe, [(X[:75], Y[:75])], validation=WATCHED, seed=3), whole)
    assert ("early" in whole.status) == (patience == 2)


def test_weights_travel_with_their_rows() -> None:
    weight = RANDOM.uniform(0.5, 2.0, size=75)
    weight[::5] = 0
    fold = Fold(np.arange(75), np.arange(0))
    (whole,) = train_members([RECIPE], X[:75], Y[:75], [fold], [0], weight=weight)
    same(train_stream(RECIPE, [(X[:75], Y[:75], weight)], validation=0.0), whole)


def test_filling_up_a_short_block_changes_nothing() -> None:
    """The second of two blocks of 64 and 11 rows is a run on 11 rows in memory, by hand."""
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=0.1), batch_size=64, epochs=1)
    fitted = train_stream(recipe, InOrder([(X[:64], Y[:64]), (X[64:75], Y[64:75])]), validation=0.0)
    kernel = np.asarray(recipe.network.init(randomness.key(0), X[:1])[0]["output"]["kernel"])
    kernel, bias = kernel[:, 0].astype(float), float(Y[:64].mean())
    for rows in (slice(64), slice(64, 75)):
        slope = 2 * (X[rows] @ kernel + bias - Y[rows])
        kernel, bias = kernel - 0.1 * X[rows].T @ slope / len(slope), bias - 0.1 * slope.mean()
    np.testing.assert_allclose(fitted.params["output"]["kernel"][:, 0], kernel, rtol=1e-5)
    np.testing.assert_allclose(fitted.params["output"]["bias"][0], bias, rtol=1e-5)


def test_an_epoch_takes_every_block_once_in_an_order_of_its_own() -> None:
    source = Counted()
    train_stream(RECIPE, source, validation=0.0)
    epochs = [tuple(source.taken[k : k + 4]) for k in range(1, 21, 4)]  # the first is for its shape
    assert {tuple(sorted(epoch)) for epoch in epochs} == {(0, 1, 2, 3)}
    assert len(set(epochs)) > 1
    again = Counted()
    train_stream(RECIPE, again, validation=0.0)
    assert again.taken == source.taken


@pytest.mark.parametrize("count", [1, 11, 20, 32])
def test_rows_are_shuffled_and_what_fills_the_block_up_stays_behind(count: int) -> None:
    key = jax.random.key(3)
    full = Rows(np.arange(32), np.arange(32) < count)
    alone = Rows(np.arange(count), np.ones(count))
    index, weight = (np.asarray(values).ravel() for values in shuffled(full, 8, key, count))
    plain = np.asarray(shuffled(alone, 8, key).index).ravel()[:count]
    assert index[:count].tolist() == plain.tolist()
    assert sorted(plain) == [*range(count)] and (count == 1 or plain.tolist() != [*range(count)])
    assert weight.tolist() == [1] * count + [0] * (32 - count)


def test_blocks_that_cannot_be_indexed_come_in_their_own_order() -> None:
    one = train_stream(RECIPE, InOrder(BLOCKS), validation=WATCHED)
    two = train_stream(RECIPE, InOrder(BLOCKS), validation=WATCHED)
    other = train_stream(RECIPE, BLOCKS, validation=WATCHED)
    same(one, two)
    assert one.history["train"] != other.history["train"]


def test_watched_blocks_add_up_to_the_mean_over_their_rows() -> None:
    cut = [(X[75:85], Y[75:85]), (X[85:], Y[85:])]
    whole = train_stream(RECIPE, BLOCKS, validation=WATCHED)
    parts = train_stream(RECIPE, BLOCKS, validation=cut)
    np.testing.assert_allclose(parts.history["validation"], whole.history["validation"], rtol=1e-6)
    assert parts.history["train"] == whole.history["train"]


def test_many_validation_rows_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from minimand.training import validation

    recipe = replace(RECIPE, batch_size=9)  # a program of its own: the others are compiled already
    whole = train_stream(recipe, BLOCKS, validation=WATCHED)
    monkeypatch.setattr(validation, "ROWS_AT_ONCE", 4)
    parts = train_stream(replace(recipe, patience=11), BLOCKS, validation=WATCHED)
    np.testing.assert_allclose(parts.history["validation"], whole.history["validation"], rtol=1e-6)


def test_a_function_that_makes_a_generator_is_a_source() -> None:
    made = train_stream(RECIPE, lambda: (block for block in BLOCKS), validation=WATCHED)
    listed = train_stream(RECIPE, InOrder(BLOCKS), validation=WATCHED)
    assert made.history == listed.history


def test_a_generator_is_kept_for_later_epochs_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    weighted = [(x, y, np.arange(1.0, 1 + len(y))) for x, y in BLOCKS]
    for blocks in (BLOCKS, weighted):
        once = train_stream(RECIPE, (block for block in blocks), validation=WATCHED)
        same(once, train_stream(RECIPE, blocks, validation=WATCHED))
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_generator_that_no_disk_holds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(FileError, match=r"No space left on device.*TMPDIR"):
        train_stream(RECIPE, iter(BLOCKS), validation=0.0)


def test_a_share_of_blocks_is_held_out() -> None:
    fitted = train_stream(RECIPE, BLOCKS, validation=0.25, seed=1)
    (held,) = np.random.default_rng(1).permutation(4)[:1]
    rows = slice(CUTS[held], CUTS[held + 1])
    expected = np.mean((fitted.scores(X[rows]) - Y[rows]) ** 2)
    assert fitted.history["validation"][fitted.best_epoch - 1] == pytest.approx(expected, rel=1e-5)
    others = [block for k, block in enumerate(BLOCKS) if k != held]
    alone = train_stream(RECIPE, others, validation=[BLOCKS[held]], seed=1)
    same(fitted, alone)


# --- Parquet ---


@pytest.mark.parametrize("rows", [7, 50, 64, 1000])
def test_parquet_gives_the_rows_of_its_files_in_blocks(parquet: Path, rows: int) -> None:
    for source in (parquet, str(parquet / "*.parquet")):
        blocks = ParquetBlocks(source, target="y", rows=rows)
        assert sum(blocks.sizes) == 90 and set(blocks.sizes[:-1]) <= {rows}
        read = list(blocks.read(range(len(blocks.sizes))))
        assert [block.before for block in read] == list(range(0, 90, rows))
        np.testing.assert_array_equal(np.concatenate([block.X for block in read]), X)
        np.testing.assert_array_equal(np.concatenate([block.y for block in read]), Y)


def test_a_parquet_run_equals_the_same_blocks_from_memory(parquet: Path) -> None:
    source = ParquetBlocks(parquet, target="y", rows=30)
    blocks = [(X[k : k + 30], Y[k : k + 30]) for k in (0, 30, 60)]
    same(train_stream(RECIPE, source, validation=0.3), train_stream(RECIPE, blocks, validation=0.3))


def test_columns_weights_and_classes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    frame = pl.DataFrame(
        {"a": [1, 2, 3], "yes": [True, False, True], "w": [1.0, 2.0, 3.0], "k": [0, 1, 2]}
    )
    frame.write_parquet(path)
    (block,) = ParquetBlocks(path, target="k", columns=["yes", "a"], weight="w").read([0])
    assert block.X.tolist() == [[1, 1], [0, 2], [1, 3]] and block.X.dtype == np.float32
    assert block.weight.tolist() == [1, 2, 3] and block.y.tolist() == [0, 1, 2]
    (others,) = ParquetBlocks(path, target="k").read([0])
    assert others.X.shape == (3, 3) and others.weight is None
    recipe = Recipe(Linear(outputs=3), CrossEntropy(), batch_size=3, epochs=1)
    assert train_stream(recipe, ParquetBlocks(path, target="k"), validation=0.0).finite


def test_the_default_block_is_a_power_of_two_of_about_32_megabytes(tmp_path: Path) -> None:
    wide = pl.DataFrame({f"x{k}": [0.0] for k in range(20)}).with_columns(y=pl.lit(1.0))
    pl.concat([wide] * 3).write_parquet(tmp_path / "a.parquet")
    blocks = ParquetBlocks(tmp_path, target="y")
    assert blocks._rows == 2**18 and blocks.sizes == (3,)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"target": "z"}, UnknownNameError, "unknown column 'z'"),
        ({"target": "y", "columns": ["x0", "q"]}, UnknownNameError, "unknown column 'q'"),
        ({"target": "y", "columns": []}, DataError, "no column to predict from"),
        ({"target": "y", "rows": 0}, ArgumentError, "rows is 0"),
    ],
)
def test_wrong_columns_are_named(parquet: Path, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        ParquetBlocks(parquet, **arguments)


def test_files_that_cannot_be_used_are_named(parquet: Path) -> None:
    with pytest.raises(FileError, match="no Parquet file 'nowhere'"):
        ParquetBlocks("nowhere", target="y")
    (parquet / "c.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"c.parquet' cannot be read as Parquet"):
        ParquetBlocks(parquet, target="y")
    pl.DataFrame({"y": [1.0], "x0": ["a"]}).write_parquet(parquet / "c.parquet")
    with pytest.raises(DataError, match=r"column 'x0' of .*c.parquet' holds String"):
        ParquetBlocks(parquet / "c.parquet", target="y")
    blocks = ParquetBlocks(parquet, target="y")  # which the first file describes
    with pytest.raises(DataError, match=r"c.parquet' cannot be read as Parquet with these columns"):
        train_stream(RECIPE, blocks, validation=0.0)


# --- Bad blocks ---


def test_a_bad_row_is_named_with_its_block() -> None:
    bad = [(x.copy(), y) for x, y in BLOCKS]
    bad[2][0][4, 1] = np.nan
    with pytest.raises(DataError, match=r"begins at row 41: X holds nan in row 5, column 2"):
        train_stream(RECIPE, bad, validation=WATCHED)
    classes = Recipe(Linear(outputs=2), CrossEntropy(), batch_size=8)
    with pytest.raises(TargetError, match="begins at row 1:"):
        train_stream(classes, [(X[:20], np.full(20, -1))], validation=0.0)


@pytest.mark.parametrize(
    ("source", "arguments", "error", "text"),
    [
        (5, {}, ArgumentTypeError, "int cannot be gone through"),
        (iter([(np.array([[{}]]), Y[:1])]), {}, DataError, "block 1 holds objects"),
        (3, {}, ArgumentTypeError, "int cannot be gone through"),
        ([X], {}, ArgumentTypeError, "block 1 is a ndarray"),
        ([], {}, DataError, "no blocks"),
        (BLOCKS[:1], {}, ArgumentError, "none of 1 block to train on"),
        (BLOCKS, {"validation": 1.0}, ArgumentError, "validation is 1.0"),
        (BLOCKS, {"validation": float("nan")}, ArgumentError, "validation is nan"),
        (BLOCKS, {"seed": -1}, ArgumentError, "seed is -1"),
        (BLOCKS, {"devices": 9}, ArgumentError, "devices is 9"),
    ],
)
def test_what_is_no_stream_is_refused(source: Any, arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        train_stream(RECIPE, source, **arguments)


def test_batches_larger_than_the_blocks_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"batch_size is 21, but .* has 20 rows"):
        train_stream(replace(RECIPE, batch_size=21), BLOCKS, validation=0.0)


def test_blocks_that_change_are_refused() -> None:
    class Shrinking(InOrder):
        def __iter__(self) -> Iterator[Any]:
            self.blocks, now = [(x[:-1], y[:-1]) for x, y in self.blocks], self.blocks
            return iter(now)

    with pytest.raises(DataError, match="block 1 has 19 rows now and had 20"):
        train_stream(RECIPE, Shrinking(BLOCKS), validation=0.0)


# --- Cuts, stops and checkpoints ---


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("questions", [1, 3, 7, 16])
def test_a_run_stopped_in_mid_epoch_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, questions: int, ordered: bool
) -> None:
    source: Any = InOrder(BLOCKS) if ordered else BLOCKS
    whole = train_stream(RECIPE, source, validation=WATCHED)
    in_steps_of(2, monkeypatch)
    given: Any = {"validation": WATCHED, "checkpoints": tmp_path}
    stopped = train_stream(RECIPE, source, budget=Stopper(questions), **given)
    assert len(stopped.history["epoch"]) < 5 and "stopped" in stopped.status
    same(train_stream(RECIPE, source, resume=True, **given), whole)
    with pytest.raises(FileError, match="belongs to other data"):
        train_stream(RECIPE, source[:3] if not ordered else InOrder(BLOCKS[1:]),
                     resume=True, **given)  # fmt: skip


def test_a_parquet_run_is_resumed_and_other_files_are_not(parquet: Path, tmp_path: Path) -> None:
    source = ParquetBlocks(parquet, target="y", rows=30)
    kept = tmp_path / "kept"
    train_stream(RECIPE, source, checkpoints=kept, budget=Stopper(2))
    same(train_stream(RECIPE, source, checkpoints=kept, resume=True), train_stream(RECIPE, source))
    pl.read_parquet(parquet / "b.parquet").with_columns(pl.col("x0") + 1).write_parquet(
        parquet / "b.parquet"
    )
    with pytest.raises(FileError, match="belongs to other data"):
        train_stream(RECIPE, source, checkpoints=kept, resume=True)


def test_resuming_passes_over_whole_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_steps_of(1, monkeypatch)
    recipe = replace(RECIPE, epochs=1)
    given: Any = {"validation": 0.0, "checkpoints": tmp_path}
    train_stream(recipe, Counted(), budget=Stopper(STEPS - 3), **given)
    source = Counted()
    train_stream(recipe, source, resume=True, **given)
    assert len(source.taken) == 2  # one for its shape, and the last one of the epoch


def test_an_earlier_run_can_be_gone_on_with() -> None:
    first = train_stream(RECIPE, BLOCKS, validation=0.0)
    again = train_stream(RECIPE, BLOCKS, validation=0.0, start=first)
    assert again.history["train"][0] < first.history["train"][-1]


def test_listeners_see_every_block_and_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    train_stream(RECIPE, BLOCKS, validation=0.0, listeners=[events.append])
    assert events[-1].step == events[-1].steps == 5 * STEPS
    assert [line[0] for event in events for line in event.lines] == [1, 2, 3, 4, 5]
    assert len(events) >= 20


# --- Numbers that stop being finite ---


def test_the_row_that_is_not_finite_is_named_in_the_whole_data() -> None:
    """A target of 1e38 overflows when it is squared."""
    y = Y.copy()
    y[52] = 1e38
    blocks = [(X[a:b], y[a:b]) for a, b in pairwise(CUTS)]
    with pytest.raises(SolverError, match="the loss of row 53 stopped being finite in epoch 1"):
        train_stream(RECIPE, blocks, validation=WATCHED)
    skipped = train_stream(
        replace(RECIPE, on_non_finite="skip"), InOrder(blocks), validation=WATCHED
    )
    assert skipped.finite and skipped.history["validation"][-1] < skipped.history["validation"][0]


def test_the_step_size_is_halved_until_the_run_is_finite() -> None:
    """Steps of 1e6 overflow within the first block; some halvings later they do not."""
    recipe = Recipe(Linear(), Squared(), SGD(learning_rate=1e6), batch_size=2, epochs=1)
    blocks = [(X[:20], Y[:20])]
    with pytest.raises(SolverError, match="epoch 1"):
        train_stream(recipe, blocks, validation=0.0)
    halved = train_stream(replace(recipe, on_non_finite="halve"), blocks, validation=0.0)
    assert halved.finite and halved.last["rate"] < 1


# --- Reading ahead ---


def test_one_item_is_made_ahead_and_no_more() -> None:
    made: list[int] = []
    ready = threading.Event()

    def items() -> Iterator[int]:
        for k in range(1, 6):
            made.append(k)
            ready.set()
            yield k

    reader = stream.read_ahead(items())
    assert next(reader) == 1
    for expected in (2, 3):
        while len(made) < expected:
            assert ready.wait(10)
        assert made == [*range(1, expected + 1)]
        assert next(reader) == expected
    reader.close()
    assert max(made) <= 4
    assert list(stream.read_ahead(items())) == [1, 2, 3, 4, 5]


def test_blocks_that_hold_on_to_themselves_are_let_go() -> None:
    """The engine pauses the garbage collector, which must not pause memory's bound."""
    living: list[int] = []

    class Cycle:
        alive = 0

        def __init__(self) -> None:
            self.own = self
            Cycle.alive += 1

        def __del__(self) -> None:
            Cycle.alive -= 1

    class Leaving(Counted):
        def read(self, numbers: Any) -> Iterator[Block]:
            for block in super().read(numbers):
                Cycle()
                living.append(Cycle.alive)
                yield block

    train_stream(RECIPE, Leaving(), validation=0.0)
    assert len(living) == 21 and max(living) <= 4


def test_no_thread_outlives_a_run() -> None:
    before = threading.active_count()
    train_stream(RECIPE, BLOCKS, validation=WATCHED, budget=Stopper(3))
    with pytest.raises(DataError):
        train_stream(RECIPE, [*BLOCKS, (X[:20] * np.nan, Y[:20])], validation=0.0)
    assert threading.active_count() == before


def test_a_stream_learns_as_memory_does() -> None:
    recipe = replace(RECIPE, epochs=40, optimizer=Adam(learning_rate=0.02))
    streamed = train_stream(recipe, BLOCKS, validation=WATCHED)
    inside = train(recipe, X[:75], Y[:75], validation=0.0)
    errors = [np.mean((fitted.scores(X[75:]) - Y[75:]) ** 2) for fitted in (streamed, inside)]
    assert max(errors) < 0.1 * np.var(Y[75:])
