"""Image sources: folders of pictures, IDX files, NumPy archives and tables of pixels.

Whatever is done to the images on the way (sizes brought to one, colours added) is said in
`Images.notes`.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from minimand.arrays import Array
from minimand.data.columns import listed, plural
from minimand.data.pictures import Size, is_picture, read_pictures, resized, shown
from minimand.data.pixels import Part, as_bytes, read_idx_pair, read_numpy, read_pixel_table
from minimand.data.scaling import mean_and_spread_of_channels
from minimand.errors import ArgumentError, DataError, FileError, ShapeError


@dataclass(frozen=True)
class Images:
    """Images as bytes X [n, height, width, channels]; `target` are the labels of their classes.

    `target` is None without labels. `test` are the rows that the source itself sets aside for the
    test, or None. `files` are the names of picture files. `notes` are sentences for the user.
    `fingerprint` is a SHA-256 of pixels and labels: the same images give the same print from any
    source.
    """

    name: str
    X: Array
    target: pl.Series | None
    test: Array | None
    files: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of an image."""
        height, width, channels = self.X.shape[1:]
        return height, width, channels

    @property
    def size(self) -> str:
        """How much there is, in words."""
        return f"{len(self.X):,} images of {shown(self.shape)}"

    @property
    def width(self) -> int:
        """How many numbers an image holds."""
        return math.prod(self.shape)

    def rows(self, index: Any) -> Array:
        """Some of the images."""
        return self.X[index]

    @property
    def classes(self) -> tuple[Any, ...]:
        """The different labels, sorted."""
        return () if self.target is None else tuple(self.target.unique().sort())


@dataclass(frozen=True)
class PixelEncoder:
    """Images as they are, if they have the `shape` of training, and the figures to scale them by.

    `mean` and `spread` are those of the channels, of fractions of 255.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, X: Array) -> Self:
        """Learn from images X [n, height, width, channels]."""
        mean, spread = mean_and_spread_of_channels(X)
        return cls(X.shape[1:], tuple(mean.tolist()), tuple(spread.tolist()))

    def transform(self, X: Array) -> Array:
        """The images themselves.

        Raises:
            ShapeError: they do not have the shape of training.
        """
        if X.shape[1:] != self.shape:
            raise ShapeError(
                f"these are images of {shown(X.shape[1:])}; the model was trained on images of "
                f"{shown(self.shape)}"
            )
        return X

    def read(self, source: Any) -> Images:
        """New images, from a path in the shape of training, or of an array."""
        if isinstance(source, (str, os.PathLike)):
            return read_images(source, size=self.shape[:2], channels=self.shape[2])
        return source if isinstance(source, Images) else images_from_arrays(source)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that `from_json` reads."""
        return {"version": 1} | asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The encoder that `to_json` wrote."""
        height, width, channels = data["shape"]
        return cls((height, width, channels), tuple(data["mean"]), tuple(data["spread"]))


def read_images(
    source: str | os.PathLike[str],
    *,
    target: str | None = None,
    size: int | Size | None = None,
    channels: int | None = None,
) -> Images:
    """Read images from a folder, an IDX file, a NumPy archive, a CSV file of pixels, or "digits".

    A folder holds pictures (PNG, JPEG ...) in a folder for each class, maybe within `train` and
    `test`; or pictures alone, which then have no labels; or IDX files by their usual names
    (train-images-idx3-ubyte, t10k-images-idx3-ubyte ..., .gz allowed), the second being the test
    part.

    Images of other sizes than most are scaled until they just cover that size, and cropped around
    their centre. If any is in colour, all have three channels.

    Args:
        source: a path, or the name of the bundled images.
        target: the column of labels of a CSV file.
        size: (height, width) that all images are brought to, or one number for both.
        channels: 1 for grey or 3 for colour; None as they come.

    Raises:
        FileError: a file cannot be read; the text names it.
        DataError: there are no images, or they do not fit together.

    >>> digits = read_images("digits")
    >>> digits.X.shape, digits.classes
    ((1797, 8, 8, 1), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
    """
    path, wanted = Path(source), (_checked_size(size), _checked_channels(channels))
    name = path.name.split(".")[0]
    if target is not None and (holds_images(path) or not path.is_file()):
        raise ArgumentError(
            f"'{source}' has no columns, so '{target}' cannot be its target; labels come with it"
        )
    if not path.exists():
        if str(source) != "digits":
            raise FileError(f"there is no file or folder '{source}', and the bundled images are "
                            f"called 'digits'")  # fmt: skip
        return _of_parts("digits", [_digits()], *wanted)
    if path.is_dir():
        found = [idx for part in ("train", "t10k") for idx in _idx_files(path, part)[:1]]
        if found:
            return _of_parts(name, [read_idx_pair(idx) for idx in found], *wanted)
        return _of_folder(path, *wanted)
    if path.suffix in (".npz", ".npy"):
        return _of_parts(name, read_numpy(path), *wanted)
    if is_idx(path):
        return _of_parts(name, [read_idx_pair(path)], *wanted)
    if is_picture(path):
        X, notes = read_pictures(path.parent, [path], *wanted)
        return _finished(name, X, None, None, notes, (path.name,))
    return _of_parts(name, [read_pixel_table(path, target)], *wanted)


def images_from_arrays(X: Any, y: Any = None, *, name: str = "images") -> Images:
    """Images of an array [n, height, width] or [n, height, width, channels], and labels [n].

    >>> images_from_arrays(np.zeros((4, 8, 8)), ["a", "a", "b", "b"]).classes
    ('a', 'b')
    """
    if y is not None and not isinstance(y, pl.Series):
        y = pl.Series(np.asarray(y))
    return _of_parts(name, [Part(X, None if y is None else y.rename("label"))], None, None)


def holds_images(source: Any) -> bool:
    """Whether a path or an array can only be one of images."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return path.is_dir() or path.suffix in (".npz", ".npy") or is_idx(path) or is_picture(path)
    return isinstance(source, Images) or getattr(source, "ndim", 0) > 2


def is_idx(path: Path) -> bool:
    """Whether a file is called like an IDX file."""
    return "ubyte" in path.name or ".idx" in path.name


def _of_parts(name: str, parts: Sequence[Part], size: Size | None, channels: int | None) -> Images:
    """One array of one or two parts, the second being for the test."""
    for part in parts:
        if part.labels is not None and part.labels.len() != len(part.X):
            raise DataError(
                f"'{name}' has {plural(len(part.X), 'image')} but "
                f"{plural(part.labels.len(), 'label')}; there must be one for each"
            )
    made, said = zip(*(as_bytes(part.X, name) for part in parts), strict=True)
    if made[0].shape[1:] != made[-1].shape[1:]:
        raise ShapeError(
            f"'{name}' has images of {shown(made[0].shape[1:])} to train on and of "
            f"{shown(made[1].shape[1:])} to test on; they must agree"
        )
    X = made[0] if len(made) == 1 else np.concatenate(made)
    notes = list(dict.fromkeys(note for several in said for note in several))
    wanted = (*(size or X.shape[1:3]), channels or X.shape[3])
    if wanted != X.shape[1:]:
        notes.append(f"Images of {shown(X.shape[1:])} were brought to {shown(wanted)}.")
        X = resized(X, wanted)
    labels = [part.labels for part in parts if part.labels is not None]
    target = pl.concat(labels) if len(labels) == len(parts) else None
    return _finished(name, X, target, np.arange(len(made[0]), len(X)), notes, ())


def _of_folder(folder: Path, size: Size | None, channels: int | None) -> Images:
    """Pictures in a folder for each class, the same in `train` and `test`, or pictures alone."""
    inner = {path.name: path for path in _listing(folder) if path.is_dir()}
    if {*inner} == {"train", "test"}:
        parts, notes = zip(*(_by_class(inner[part]) for part in ("train", "test")), strict=True)
    else:
        parts, notes = zip(_by_class(folder), strict=True)
    pairs = [pair for part in parts for pair in part]
    X, done = read_pictures(folder, [path for path, _ in pairs], size, channels)
    labels = [label for _, label in pairs if label is not None]
    target = pl.Series("label", labels) if labels else None
    files = tuple(str(path.relative_to(folder)) for path, _ in pairs)
    tested = np.arange(len(parts[0]), len(pairs))
    said = [note for several in notes for note in several]
    return _finished(folder.resolve().name, X, target, tested, [*said, *done], files)


def _by_class(folder: Path) -> tuple[list[tuple[Path, str | None]], list[str]]:
    """((picture, class) pairs, what was left out); without folders of classes these are None."""
    alone = [path for path in _listing(folder) if is_picture(path)]
    classes = [path for path in _listing(folder) if path.is_dir()]
    if not classes:
        return [(path, None) for path in alone], []
    found = {c.name: [p for p in sorted(c.rglob("*")) if is_picture(p)] for c in classes}
    notes = []
    if alone:
        notes.append(f"Left out {plural(len(alone), 'picture')} beside the folders of the classes.")
    if empty := [name for name, pictures in found.items() if not pictures]:
        notes.append(f"No pictures are in {listed(empty)}.")
    return [(path, name) for name, pictures in found.items() for path in pictures], notes


def _finished(
    name: str,
    X: Array,
    target: pl.Series | None,
    tested: Array | None,
    notes: Sequence[str],
    files: tuple[str, ...],
) -> Images:
    """Take the fingerprint; no rows for the test are None."""
    digest = hashlib.sha256(repr(X.shape).encode())
    digest.update(np.ascontiguousarray(X).data)
    for label in () if target is None else target.cast(pl.String):
        digest.update(f"{label}\0".encode())
    tested = None if tested is None or not len(tested) else tested
    return Images(name, X, target, tested, files, tuple(notes), digest.hexdigest())


def _digits() -> Part:
    from sklearn.datasets import load_digits

    data = load_digits()
    X = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return Part(X, pl.Series("label", data.target))


def _idx_files(folder: Path, part: str) -> list[Path]:
    return [p for p in _listing(folder) if p.name.startswith(f"{part}-images") and is_idx(p)]


def _listing(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _checked_size(size: Any) -> Size | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(s, int | np.integer) and s >= 1 for s in pair):
        raise ArgumentError(f"size is {size}; it must be a number of pixels, or (height, width)")
    return int(pair[0]), int(pair[1])


def _checked_channels(channels: Any) -> int | None:
    if channels is not None and channels not in (1, 3):
        raise ArgumentError(f"channels is {channels}; it must be 1 for grey or 3 for colour")
    return None if channels is None else int(channels)
