"""Files of numbers that are images: IDX, NumPy archives, tables with a column for each pixel."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from minimand.arrays import Array
from minimand.data.columns import listed
from minimand.data.files import read_bytes
from minimand.errors import DataError, FileError, ShapeError

PAIRS = (
    ("x_train", "y_train"),
    ("train_images", "train_labels"),
    ("x", "y"),
    ("images", "labels"),
    ("images", "target"),
    ("data", "labels"),
    ("data", "target"),
)
"""What NumPy archives call images and labels; those of a test part have "test" for "train"."""
LABELS = ("label", "labels", "class", "target", "y")
BYTES = 0x08
"""IDX files name the type of their numbers; this one is unsigned bytes."""


class Part(NamedTuple):
    """Images [n, ...] with their labels, or None."""

    X: Array
    labels: pl.Series | None


def read_idx(path: Path) -> Array:
    """The array of bytes in an IDX file, gzipped or not.

    Source: LeCun, Cortes and Burges, The MNIST database: the IDX file format.

    Raises:
        FileError: it cannot be read.
        DataError: it is no IDX file of bytes, or is cut short.
    """
    raw = read_bytes(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or not 1 <= raw[3] <= 4:
        raise DataError(
            f"'{path}' is no IDX file: it begins with {raw[:4].hex(' ') or 'nothing'}, not with "
            f"00 00, a type and 1 to 4 axes"
        )
    if raw[2] != BYTES:
        raise DataError(
            f"'{path}' holds numbers of the IDX type 0x{raw[2]:02x}; images and labels are "
            f"unsigned bytes, type 0x08"
        )
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], ">u4").tolist() if len(raw) >= start else [math.inf]
    if len(raw) - start != math.prod(shape):
        raise DataError(
            f"'{path}' has {len(raw) - start:,} bytes of data where its header announces "
            f"{' × '.join(map(str, shape))}; it was cut short or damaged, so fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def idx_labels(images: Path) -> Path | None:
    """The file of labels beside a file of images, by its usual name.

    >>> idx_labels(Path("nowhere/train-images-idx3-ubyte.gz")) is None
    True
    """
    name = images.name.removesuffix(".gz").replace("images", "labels")
    for ndim in "34":
        name = name.replace(f"idx{ndim}", "idx1")
    beside = (images.with_name(name), images.with_name(f"{name}.gz"))
    return next((path for path in beside if path != images and path.is_file()), None)


def read_idx_pair(images: Path) -> Part:
    """The images of an IDX file with the labels of the file beside it, if there is one."""
    path = idx_labels(images)
    return Part(read_idx(images), None if path is None else _series(read_idx(path), path))


def read_numpy(path: Path) -> list[Part]:
    """The images of a single array (.npy) or an archive (.npz), and those of its test part.

    Raises:
        FileError: it cannot be read, or holds Python objects.
        DataError: its arrays have names that say nothing.
    """
    try:
        held = np.load(path, allow_pickle=False)
        if isinstance(held, np.ndarray):
            return [Part(held, None)]
        with held:
            arrays = {name.casefold(): held[name] for name in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(f"cannot read '{path}' as NumPy's arrays: {error}") from None
    if len(arrays) == 1:
        return [Part(next(iter(arrays.values())), None)]
    for pair in PAIRS:
        if arrays.keys() >= {*pair}:
            tests = [name.replace("train", "test") for name in pair if "train" in name]
            pairs = [pair, tests] if tests and arrays.keys() >= {*tests} else [pair]
            return [Part(arrays[X], _series(arrays[y], path)) for X, y in pairs]
    raise DataError(
        f"'{path}' holds the arrays {listed(arrays)}; call the images X and the labels y, or "
        f"x_train, y_train, x_test and y_test"
    )


def read_pixel_table(path: Path, target: str | None) -> Part:
    """Images of a CSV file (gzip allowed) with a column for each pixel, and maybe one of labels.

    The labels are the column `target`, one called label, class, target or y, or else the first, if
    only so the others are as many as an image has pixels.

    Raises:
        DataError: it is no such table; the text names the column.
    """
    raw = read_bytes(path)
    first = raw[: raw.find(b"\n")].decode("utf-8-sig", errors="replace").strip().split(",")
    header = not all(_is_number(cell) for cell in first)
    try:
        frame = pl.read_csv(io.BytesIO(raw), has_header=header, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"'{path}' is no readable CSV: {str(error).splitlines()[0]}") from None
    named = [name for name in frame.columns if name.casefold() in LABELS]
    if target is not None and target not in frame.columns:
        raise DataError(f"'{path}' has no column '{target}'; it has {listed(frame.columns)}")
    column = target or next(iter(named), None)
    if column is None and image_shape(frame.width) is None:
        column = frame.columns[0]
    pixels = frame if column is None else frame.drop(column)
    for other in pixels.get_columns():
        if not other.dtype.is_numeric() or other.null_count():
            what = "no number" if other.dtype.is_numeric() else f"{other.dtype}"
            raise DataError(
                f"'{path}': the pixel column '{other.name}' holds {what} in some row; every pixel "
                f"is a number from 0 to 255"
            )
    return Part(pixels.to_numpy(), None if column is None else frame[column])


def as_bytes(X: Array, name: str) -> tuple[Array, list[str]]:
    """Images as bytes [n, height, width, channels], and sentences about what was done.

    Whole numbers from 0 to 255 stay as they are, truth values and fractions from 0 to 1 are
    multiplied by 255. Rows of pixels become square images, channels that come first go last.

    Raises:
        ShapeError: these are no images.
        DataError: a pixel is outside of both ranges.
    """
    X, notes = np.asarray(X), []
    if X.ndim == 2 and (shape := image_shape(X.shape[1])):
        X = X.reshape(len(X), *shape)
    elif X.ndim == 3:
        X = X[..., None]
    elif X.ndim == 4 and X.shape[1] in (1, 3) and X.shape[3] not in (1, 3):
        X = np.moveaxis(X, 1, -1)
        notes.append(f"The channels of '{name}' came first; they were put last.")
    if X.ndim != 4 or X.shape[3] not in (1, 3):
        raise ShapeError(
            f"'{name}' has shape {list(X.shape)}; images are [n, height, width], with 1 or 3 "
            f"channels behind, or rows of as many pixels as a square image has"
        )
    if not X.size:
        raise DataError(f"'{name}' holds no images")
    if X.dtype == np.uint8:
        return X, notes
    if X.dtype.kind not in "biuf":
        raise DataError(f"'{name}' holds {X.dtype}; pixels are numbers from 0 to 255, or 0 to 1")
    low, high = float(X.min()), float(X.max())
    if not (low >= 0 and high <= 255):
        raise DataError(
            f"'{name}' holds pixels from {low:g} to {high:g}; they must lie in [0, 255], or in "
            f"[0, 1] as fractions"
        )
    if X.dtype.kind == "b" or (X.dtype.kind == "f" and high <= 1):
        X = X * 255.0
        notes.append(f"The pixels of '{name}' are fractions; they were multiplied by 255.")
    return np.rint(X).astype(np.uint8), notes


def image_shape(pixels: int) -> tuple[int, int, int] | None:
    """(height, width, channels) of a square image, grey or with three colours, if it is one.

    >>> image_shape(784), image_shape(3072), image_shape(10)
    ((28, 28, 1), (32, 32, 3), None)
    """
    for channels in (1, 3):
        side = math.isqrt(pixels // channels)
        if side > 0 and side * side * channels == pixels:
            return side, side, channels
    return None


def _series(labels: Array, path: Path) -> pl.Series:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1:
        raise ShapeError(
            f"the labels in '{path}' have shape {list(labels.shape)}; one for each image is needed"
        )
    if labels.dtype.kind == "S":
        labels = labels.astype(str)
    return pl.Series("label", labels.astype(np.int64) if labels.dtype.kind in "iu" else labels)


def _is_number(cell: Any) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
