"""Picture files (PNG, JPEG ...) as bytes of one size, read by Pillow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minimand.arrays import Array
from minimand.data.columns import plural
from minimand.errors import DataError, FileError

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F")
TURNED = range(5, 9)
"""Orientations (Exif tag 0x0112) by which height and width change places."""
MOST_BYTES = 1 << 33
Size = tuple[int, int]
T = TypeVar("T")


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture."""
    return path.suffix.lower() in ENDINGS


def read_pictures(
    folder: Path, paths: Sequence[Path], size: Size | None, channels: int | None
) -> tuple[Array, list[str]]:
    """(bytes [n, height, width, channels], what was done) of the picture files in a folder.

    Each file is opened twice: for the sizes of all, and for its pixels. Without a `size` the
    most frequent one is taken, without `channels` colour if any picture is in colour.

    Raises:
        FileError: a file cannot be read; the text names it.
        DataError: there is none, they have more than 8 bits, or do not fit into memory.
    """
    if not paths:
        raise DataError(
            f"'{folder}' holds no pictures ({', '.join(e[1:] for e in ENDINGS)}); expected a "
            f"folder for each class with its pictures inside"
        )
    seen = [opened(path, header) for path in paths]
    sizes = Counter(one for one, _ in seen)
    height, width = size or max(sizes, key=lambda one: (sizes[one], -one[0] * one[1]))
    grey = sum(is_grey for _, is_grey in seen)
    channels = channels or (1 if grey == len(seen) else 3)
    if len(paths) * height * width * channels > MOST_BYTES:
        raise DataError(
            f"{len(paths):,} pictures of {shown((height, width, channels))} do not fit into "
            f"memory; choose a smaller size (--size 64, or size=64 in Python)"
        )
    notes, all_of_them = [], plural(len(paths), "picture")
    if others := len(paths) - sizes[height, width]:
        odd = next(i for i, (one, _) in enumerate(seen) if one != (height, width))
        notes.append(
            f"{others:,} of {all_of_them} are not {height} × {width} pixels, such as "
            f"'{paths[odd].relative_to(folder)}' ({seen[odd][0][0]} × {seen[odd][0][1]}): they "
            f"were scaled until they just cover that size, and cropped around the centre."
        )
    if 0 < grey < len(seen):
        become = "read as colour" if channels == 3 else "kept, the others made grey"
        notes.append(f"{grey:,} of {all_of_them} are grey; they were {become}.")
    X = np.empty((len(paths), height, width, channels), np.uint8)
    for row, path in enumerate(paths):
        X[row] = opened(path, lambda picture: pixels(picture, X.shape[1:]))
    return X, notes


def resized(X: Array, shape: Sequence[int]) -> Array:
    """Images [n, height, width, channels] brought to another shape, as pictures are."""
    from PIL import Image

    squeezed = X[..., 0] if X.shape[3] == 1 else X
    return np.stack([pixels(Image.fromarray(x), shape) for x in squeezed])


def pixels(picture: Any, shape: Sequence[int]) -> Array:
    """A picture as bytes [height, width, channels]: upright, scaled to cover, cropped."""
    from PIL import ImageOps

    height, width, channels = shape
    upright = ImageOps.exif_transpose(picture).convert("L" if channels == 1 else "RGB")
    if upright.size != (width, height):
        upright = ImageOps.fit(upright, (width, height))
    return np.asarray(upright, np.uint8).reshape(height, width, channels)


def header(picture: Any) -> tuple[Size, bool]:
    """((height, width), whether it is grey) of an open picture file."""
    if picture.mode.startswith(DEEP):
        raise DataError(
            f"'{picture.filename}' has more than 8 bits a channel (mode {picture.mode}); save it "
            f"with 8"
        )
    width, height = picture.size
    turned = picture.getexif().get(0x0112) in TURNED
    return (width, height) if turned else (height, width), picture.mode in GREY


def opened(path: Path, read: Callable[[Any], T]) -> T:
    """What `read` makes of a picture file.

    Raises:
        FileError: it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return read(picture)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise FileError(f"'{path}' is no picture that can be read; repair or remove it") from None
    except Exception as error:  # every decoder of Pillow raises what it likes
        raise FileError(
            f"cannot read the picture '{path}' ({error}); repair or remove it"
        ) from None


def shown(shape: Sequence[int]) -> str:
    """A shape in words.

    >>> shown((28, 28, 1)), shown((32, 48, 3))
    ('28 × 28 pixels', '32 × 48 pixels in colour')
    """
    return f"{shape[0]} × {shape[1]} pixels{' in colour' if shape[2] == 3 else ''}"
