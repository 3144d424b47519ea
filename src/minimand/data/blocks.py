"""Data that do not fit in memory: rows in blocks, read again every epoch.

`ParquetBlocks` reads files; `as_blocks` makes the same of anything that gives blocks of rows.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from minimand.errors import ArgumentError, ArgumentTypeError, DataError, FileError, unknown

BLOCK_BYTES = 2**25


class Block(NamedTuple):
    """X [n, p], y [n] and weight [n] (None: all 1) of some rows, after `before` others."""

    X: Any
    y: Any
    weight: Any
    before: int


class Blocks:
    """Rows in blocks of `sizes` rows; `any_order` says whether they can be read in any order."""

    sizes: Sequence[int]
    any_order: bool = True

    def read(self, numbers: Sequence[int]) -> Iterator[Block]:
        """The blocks of these numbers (from 0), in their order if `any_order`, else in the data's.

        Raises:
            DataError: a block that cannot be read as it was announced.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A digest that tells these data from others."""
        raise NotImplementedError


class ParquetBlocks(Blocks):
    """The rows of Parquet files, in blocks of `rows` rows.

    Args:
        source: a file, a folder of `.parquet` files, or a pattern such as `2024/*.parquet`; files
            follow one another in order of their names.
        target: the column to predict, a number: a class is 0 ... K - 1.
        columns: the columns to predict from, all numbers or truth values; None takes all others.
        weight: the column of weights, if there is one.
        rows: how many rows make a block; None takes a power of two that fills about 32 MB. Files
            written in row groups of as many rows are read fastest.

    Raises:
        FileError: no such file.
        UnknownNameError: no such column.
        DataError: a file is not Parquet, or a column does not hold numbers.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0, 1, 1]})
    ...     frame.write_parquet(f"{folder}/a.parquet")
    ...     blocks = ParquetBlocks(folder, target="y", rows=2)
    ...     blocks.sizes, [block.y.tolist() for block in blocks.read([1, 0])]
    ((2, 1), [[1], [0, 1]])
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        target: str,
        *,
        columns: Sequence[str] | None = None,
        weight: str | None = None,
        rows: int | None = None,
    ):
        if rows is not None and rows < 1:
            raise ArgumentError(f"rows is {rows}; a block needs at least 1")
        self._files = _parquet_files(source)
        with _readable(self._files[0]):
            schema = pl.read_parquet_schema(self._files[0])
        others = (target, weight)
        self._columns = [c for c in schema if c not in others] if columns is None else [*columns]
        self._target, self._weight = target, weight
        for name in (*self._columns, target, *([weight] if weight else ())):
            if name not in schema:
                raise unknown("column", name, schema)
            if not (schema[name].is_numeric() or schema[name] == pl.Boolean):
                raise DataError(
                    f"column '{name}' of '{self._files[0]}' holds {schema[name]}; a stream takes "
                    f"numbers: write it as numbers, or leave it out of columns"
                )
        if not self._columns:
            raise DataError(f"'{source}' has no column to predict from besides the target")
        self._kinds = {name: pl.Float32() for name in self._columns} | {target: schema[target]}
        if weight:
            self._kinds[weight] = pl.Float32()
        counts = [_height(path) for path in self._files]
        self._ends = list(accumulate(counts))
        self._rows = rows or _block_rows(len(self._kinds))
        if not self._ends[-1]:
            raise DataError(f"'{source}' has no rows")
        whole, rest = divmod(self._ends[-1], self._rows)
        self.sizes = (self._rows,) * whole + ((rest,) if rest else ())

    def read(self, numbers: Sequence[int]) -> Iterator[Block]:
        """The blocks of these numbers (from 0), in this order."""
        for number in numbers:
            before = number * self._rows
            frame = pl.concat(self._slices(before, before + self.sizes[number]))
            yield Block(
                frame.select(self._columns).to_numpy(order="c"),
                frame[self._target].to_numpy(),
                frame[self._weight].to_numpy() if self._weight else None,
                before,
            )

    def fingerprint(self) -> str:
        """A digest of the columns' names and the files' footers (row groups, statistics, sizes)."""
        said = (self._columns, self._target, self._weight, self._rows, self._ends)
        digest = hashlib.blake2b(repr(said).encode(), digest_size=16)
        for path in self._files:
            with open(path, "rb") as file:
                file.seek(-8, os.SEEK_END)
                length = int.from_bytes(file.read(4), "little")
                file.seek(-8 - length, os.SEEK_END)
                digest.update(file.read(length))
        return digest.hexdigest()

    def _slices(self, first: int, end: int) -> Iterator[pl.DataFrame]:
        """Rows `first` to `end`, file by file."""
        taken = [pl.col(name).cast(kind) for name, kind in self._kinds.items()]
        for path, begins, ends in zip(self._files, (0, *self._ends), self._ends, strict=False):
            low, high = max(first, begins), min(end, ends)
            if low < high:
                with _readable(path):
                    part = pl.scan_parquet(path).slice(low - begins, high - low)
                    frame = part.select(taken).collect()
                yield frame


def as_blocks(source: Blocks | Iterable[Any]) -> Blocks:
    """Blocks as they are, or made of anything that gives (X, y) or (X, y, weight).

    What has a length and can be indexed, a list for one, is read in any order; anything else, in
    its own: an object whose `__iter__` begins again, or the function that makes a generator. It is
    gone through once to learn how many rows there are. What can be gone through only once, such as
    a generator, is kept in a temporary folder (`TMPDIR` says where) as long as it is in use.

    Raises:
        ArgumentTypeError: it cannot be gone through, or holds something else.
        DataError: blocks to be kept hold something other than numbers.
        FileError: they cannot be kept, because the disk is full for one.

    >>> as_blocks([(np.ones((4, 2)), np.zeros(4)), (np.ones((3, 2)), np.zeros(3))]).sizes
    (4, 3)
    """
    return source if isinstance(source, Blocks) else _GivenBlocks(source)


class _Made:
    """What a function gives, made anew whenever it is gone through."""

    def __init__(self, make: Callable[[], Iterable[Any]]):
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        return iter(self._make())


class _Kept(Sequence[Any]):
    """What can be gone through only once, kept block by block in a temporary folder."""

    def __init__(self, source: Iterator[Any]):
        self._folder = mkdtemp(prefix="minimand-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._parts: list[int] = []
        for number, block in enumerate(source):
            parts = [part for part in _parts(block, number) if part is not None]
            self._parts.append(len(parts))
            for path, part in zip(self._paths(number), parts, strict=True):
                try:
                    np.save(path, np.asarray(part), allow_pickle=False)
                except ValueError:
                    raise DataError(
                        f"block {number + 1} holds objects; a stream takes numbers"
                    ) from None
                except OSError as error:
                    raise FileError(
                        f"cannot keep the blocks in '{self._folder}' ({error.strerror}); name "
                        f"a folder with more space by TMPDIR, or give the function that makes them"
                    ) from None

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: Any) -> Any:
        if number >= len(self):
            raise IndexError(number)
        return tuple(map(np.load, self._paths(number)))

    def _paths(self, number: int) -> list[str]:
        return [f"{self._folder}/{number}-{i}.npy" for i in range(self._parts[number])]


class _GivenBlocks(Blocks):
    """What somebody gives block by block."""

    def __init__(self, source: Any):
        if callable(source) and not hasattr(source, "__iter__"):
            source = _Made(source)
        if not hasattr(source, "__iter__"):
            raise ArgumentTypeError(
                f"{type(source).__name__} cannot be gone through; give a list or a generator of "
                f"(X, y) blocks, or the function that makes it"
            )
        if isinstance(source, Iterator):
            source = _Kept(source)
        self._source = source
        self.any_order = hasattr(source, "__len__") and hasattr(source, "__getitem__")
        self.sizes = tuple(len(_parts(block, k)[1]) for k, block in enumerate(source))
        if not sum(self.sizes):
            raise DataError("there are no blocks, or none has a row")
        self._before = (0, *accumulate(self.sizes))

    def read(self, numbers: Sequence[int]) -> Iterator[Block]:
        if self.any_order:
            found = ((number, self._source[number]) for number in numbers)
        else:
            wanted = set(numbers)
            found = (pair for pair in enumerate(self._source) if pair[0] in wanted)
        for number, block in found:
            X, y, weight = _parts(block, number)
            if len(y) != self.sizes[number]:
                raise DataError(
                    f"block {number + 1} has {len(y)} rows now and had {self.sizes[number]} at "
                    f"first; every epoch must give the same blocks"
                )
            yield Block(X, y, weight, self._before[number])

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for block in self.read(range(len(self.sizes))):
            for values in block[:3]:
                array = np.ascontiguousarray(values)
                digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        return digest.hexdigest()


def _parts(block: Any, number: int) -> tuple[Any, Any, Any]:
    if not isinstance(block, tuple | list) or len(block) not in (2, 3):
        raise ArgumentTypeError(
            f"block {number + 1} is a {type(block).__name__}; expected (X, y) or (X, y, weight)"
        )
    X, y, *weight = block
    return X, y, weight[0] if weight else None


def _parquet_files(source: str | os.PathLike[str]) -> list[str]:
    text = os.fspath(source)
    if os.path.isdir(text):
        found = sorted(map(str, Path(text).glob("*.parquet")))
    else:
        found = [text] if os.path.isfile(text) else sorted(glob.glob(text, recursive=True))
    if not found:
        raise FileError(f"there is no Parquet file '{source}'; give a file, a folder or a pattern")
    return found


def _height(path: str) -> int:
    with _readable(path):
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def _block_rows(columns: int) -> int:
    """The largest power of two whose rows of 4-byte numbers fill at most `BLOCK_BYTES`."""
    fitting: int = max(BLOCK_BYTES // (4 * columns), 1)
    return 1 << (fitting.bit_length() - 1)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """What polars cannot read, said in one sentence."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"'{path}' cannot be read as Parquet with these columns: {str(error).splitlines()[0]}"
        ) from None
