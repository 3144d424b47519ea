"""Image sources give bytes with labels, and bad ones one clear sentence."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minimand.data.images import Images, holds_images, images_from_arrays, read_images
from minimand.errors import ArgumentError, DataError, FileError, MinimandError, ShapeError

GREY = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 5, 4, 3), np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """The format by hand: two zero bytes, type, axes, big-endian sizes, data."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.tobytes()


def written(name: str, content: bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pictures(folder: str, images: Any, labels: Any, ending: str = "png") -> Path:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = Path(folder) / label / f"{i}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return Path(folder)


def labels(images: Images) -> list[Any]:
    assert images.target is not None
    return images.target.to_list()


def test_a_folder_for_each_class() -> None:
    found = read_images(pictures("clothes", GREY, "ababab"))
    assert found.name == "clothes"
    assert found.X.dtype == np.uint8
    assert np.array_equal(found.X[..., 0], GREY[[0, 2, 4, 1, 3, 5]])
    assert labels(found) == list("aaabbb")
    assert found.files == ("a/0.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png", "b/5.png")
    assert found.classes == ("a", "b") and found.test is None and found.notes == ()


def test_a_folder_in_colour_with_train_and_test_parts() -> None:
    pictures("birds/train", COLOUR[:4], "abab")
    folder = pictures("birds/test", COLOUR[4:], "ab")
    found = read_images(folder.parent)
    assert found.test is not None
    assert np.array_equal(found.X[found.test], COLOUR[4:])
    assert found.files[-1] == "test/b/1.png"
    assert labels(found) == list("aabbab")


def test_pictures_alone_have_no_labels() -> None:
    folder = pictures("new", GREY, [""] * 6)
    assert read_images(folder).target is None
    assert np.array_equal(read_images(folder / "3.png").X[0, ..., 0], GREY[3])


def test_other_sizes_are_scaled_to_cover_and_cropped_around_the_centre() -> None:
    """A ramp of 16 columns, halved to cover 5 rows, loses 2 of its 8 columns on each side."""
    ramp = np.tile(np.arange(0, 160, 10, np.uint8), (10, 1))
    found = read_images(pictures("sizes", [*GREY[1:4], ramp], "aabb"))
    assert found.shape == (5, 4, 1)
    assert "1 of 4 pictures are not 5 × 4 pixels, such as 'b/3.png' (10 × 16)" in found.notes[0]
    assert np.abs(found.X[3, ..., 0] - np.array([45.0, 65.0, 85.0, 105.0])).max() <= 1


def test_a_size_and_channels_that_are_asked_for() -> None:
    folder = pictures("grey", GREY, "aabbcc")
    assert read_images(folder, size=(8, 6), channels=3).X.shape == (6, 8, 6, 3)
    written("x-images-idx3-ubyte", idx(GREY))
    found = read_images("x-images-idx3-ubyte", size=7)
    assert found.X.shape == (6, 7, 7, 1)
    assert found.notes == ("Images of 5 × 4 pixels were brought to 7 × 7 pixels.",)


def test_grey_among_colour_becomes_colour() -> None:
    found = read_images(pictures("mixed", [*COLOUR[:3], GREY[0]], "aabb"))
    assert np.array_equal(found.X[3], np.stack([GREY[0]] * 3, axis=-1))
    assert found.notes == ("1 of 4 pictures are grey; they were read as colour.",)


def test_a_photograph_held_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first column is the top
    Image.fromarray(GREY[0]).save("turned.png", exif=exif)
    assert np.array_equal(read_images("turned.png").X[0, ..., 0], np.rot90(GREY[0], -1))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_with_the_labels_beside_them(packed: bool) -> None:
    pack, end = (gzip.compress, ".gz") if packed else (bytes, "")
    for part, rows in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        written(f"m/{part}-images-idx3-ubyte{end}", pack(idx(GREY[rows])))
        marks = np.arange(6, dtype=np.uint8)[rows] % 2
        written(f"m/{part}-labels-idx1-ubyte{end}", pack(idx(marks)))
    found = read_images("m")
    assert np.array_equal(found.X[..., 0], GREY)
    assert labels(found) == [0, 1, 0, 1, 0, 1]
    assert found.test is not None and found.test.tolist() == [4, 5]
    train = read_images(f"m/train-images-idx3-ubyte{end}")
    assert train.test is None and labels(train) == [0, 1, 0, 1]


def test_fashion_mnist(shared_data: Callable[[str], Path]) -> None:
    """The paper: 60,000 + 10,000 images of 28 × 28, as many of every class."""
    shared_data("fashion_mnist/train-images-idx3-ubyte.gz")
    found = read_images(shared_data("fashion_mnist"))
    assert found.X.shape == (70000, 28, 28, 1)
    assert found.test is not None and found.test.tolist() == list(range(60000, 70000))
    assert np.bincount(labels(found)).tolist() == [7000] * 10


def test_numpy_archives() -> None:
    y = np.array(list("aabbcc"))
    np.savez("one.npz", X=GREY, y=y)
    np.savez("two.npz", x_train=GREY[:4], y_train=y[:4], x_test=GREY[4:], y_test=y[4:])
    np.save("bare.npy", COLOUR)
    one, two = read_images("one.npz"), read_images("two.npz")
    assert two.test is not None and two.test.tolist() == [4, 5]
    assert one.fingerprint == two.fingerprint == images_from_arrays(GREY, y).fingerprint
    assert one.fingerprint != images_from_arrays(GREY, y[::-1]).fingerprint
    bare = read_images("bare.npy")
    assert np.array_equal(bare.X, COLOUR) and bare.target is None


@pytest.mark.parametrize("header", ["label," + ",".join(f"p{i}" for i in range(16)) + "\n", ""])
def test_a_table_of_pixels(header: str) -> None:
    square = GREY[:, :4]
    lines = [f"{i % 3}," + ",".join(map(str, x.ravel())) for i, x in enumerate(square)]
    written("pixels.csv", (header + "\n".join(lines)).encode())
    found = read_images("pixels.csv")
    assert np.array_equal(found.X[..., 0], square)
    assert labels(found) == [0, 1, 2, 0, 1, 2]


def test_a_table_of_colours_goes_pixel_by_pixel() -> None:
    square = COLOUR[:, :4]
    lines = [",".join(map(str, x.ravel())) + f",{'ab'[i % 2]}" for i, x in enumerate(square)]
    names = ",".join(f"p{i}" for i in range(48)) + ",what\n"
    written("colours.csv", (names + "\n".join(lines)).encode())
    found = read_images("colours.csv", target="what")
    assert np.array_equal(found.X, square)
    assert labels(found) == list("ababab")


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.array([[[0.0, 1.0], [0.5, 0.2]]]), [[0, 255], [128, 51]]),
        (np.array([[[False, True], [True, False]]]), [[0, 255], [255, 0]]),
        (np.array([[[0, 200], [3, 4]]]), [[0, 200], [3, 4]]),
        (np.array([[[0.0, 200.0], [3.0, 4.0]]]), [[0, 200], [3, 4]]),
    ],
)
def test_numbers_become_bytes(X: np.ndarray, expected: list[list[int]]) -> None:
    assert images_from_arrays(X).X[0, ..., 0].tolist() == expected


def test_channels_that_come_first_go_last() -> None:
    found = images_from_arrays(np.moveaxis(COLOUR, -1, 1), name="torch")
    assert np.array_equal(found.X, COLOUR)
    assert found.notes == ("The channels of 'torch' came first; they were put last.",)


def test_what_holds_images_and_what_may_be_a_table() -> None:
    folder = pictures("some", GREY, "aabbcc")
    assert holds_images(folder) and holds_images("x.npz") and holds_images(GREY)
    assert holds_images("train-images-idx3-ubyte.gz")
    assert not holds_images("some.csv") and not holds_images(GREY[0]) and not holds_images("iris")


# Bad input


def refused(source: Any, kind: type[MinimandError], **options: Any) -> str:
    with pytest.raises(kind) as raised:
        read_images(source, **options)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_nothing_there() -> None:
    Path("empty").mkdir()
    assert "there is no file or folder 'none'" in refused("none", FileError)
    assert "'empty' holds no pictures (png, jpg" in refused("empty", DataError)
    (Path("empty") / "a").mkdir()
    assert "expected a folder for each class" in refused("empty", DataError)


def test_a_picture_that_is_none_or_is_cut_short() -> None:
    folder = pictures("bad", COLOUR.repeat(20, axis=1), "aabbcc", "jpg")
    whole = (folder / "a" / "0.jpg").read_bytes()
    cut = written("bad/a/7.jpg", whole[: len(whole) // 2])
    said = refused(folder, FileError)
    assert f"cannot read the picture '{cut}' (" in said and "truncated" in said.lower()
    text = written("bad/a/7.jpg", b"no picture")
    assert f"'{text}' is no picture that can be read" in refused(folder, FileError)


def test_more_than_8_bits_a_channel() -> None:
    Image.fromarray(GREY[0].astype(np.uint16) * 257).save("deep.png")
    assert "'deep.png' has more than 8 bits a channel" in refused("deep.png", DataError)


def test_what_is_left_out_of_a_folder_is_said() -> None:
    folder = pictures("odd", GREY, "aabbcc")
    Image.fromarray(GREY[0]).save("odd/cover.png")
    (folder / "d").mkdir()
    assert read_images(folder).notes == (
        "Left out 1 picture beside the folders of the classes.",
        "No pictures are in 'd'.",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no IDX file: it begins with nothing"),
        (b"\x89PNG", "is no IDX file: it begins with 89 50 4e 47"),
        (idx(GREY)[:-1], "has 119 bytes of data where its header announces 6 × 5 × 4"),
        (idx(GREY)[:9], "was cut short"),
        (idx(GREY.astype(">i4"), kind=0x0C), "IDX type 0x0c; images and labels are unsigned bytes"),
    ],
)
def test_broken_idx_files(content: bytes, said: str) -> None:
    assert said in refused(written("t-images-idx3-ubyte", content), DataError)


def test_a_damaged_archive() -> None:
    packed = gzip.compress(idx(GREY))
    path = written("t-images-idx3-ubyte.gz", packed[: len(packed) // 2])
    assert "gzip data are damaged" in refused(path, FileError)
    assert "cannot read 'x.npz'" in refused(written("x.npz", b"PK no archive"), FileError)
    np.save("objects.npy", np.array([{}]))
    assert "cannot read 'objects.npy'" in refused("objects.npy", FileError)


def test_labels_that_do_not_match() -> None:
    written("t-images-idx3-ubyte", idx(GREY))
    written("t-labels-idx1-ubyte", idx(np.zeros(5, np.uint8)))
    said = refused("t-images-idx3-ubyte", DataError)
    assert "has 6 images but 5 labels; there must be one for each" in said
    np.savez("odd.npz", X=GREY, y=np.zeros((6, 2)))
    assert "have shape [6, 2]" in refused("odd.npz", ShapeError)
    np.savez("names.npz", pixels=GREY, marks=np.zeros(6))
    assert "holds the arrays 'pixels', 'marks'; call the images X" in refused(
        "names.npz", DataError
    )


@pytest.mark.parametrize(
    ("X", "kind", "said"),
    [
        (np.zeros((3, 10)), ShapeError, "has shape [3, 10]; images are"),
        (np.zeros((3, 5, 5, 2)), ShapeError, "has shape [3, 5, 5, 2]"),
        (np.full((1, 2, 2), 256), DataError, "pixels from 256 to 256"),
        (np.full((1, 2, 2), np.nan), DataError, "pixels from nan to nan"),
        (np.zeros((0, 2, 2)), DataError, "holds no images"),
        (np.full((1, 2, 2), "a"), DataError, "pixels are numbers"),
    ],
)
def test_arrays_that_are_no_images(X: np.ndarray, kind: type[MinimandError], said: str) -> None:
    with pytest.raises(kind) as raised:
        images_from_arrays(X)
    assert said in str(raised.value)


def test_a_table_that_holds_no_pixels() -> None:
    written("words.csv", b"label,a,b,c,d\n0,1,2,3,x\n")
    assert "the pixel column 'd' holds" in refused("words.csv", DataError)
    written("gap.csv", b"label,a,b,c,d\n0,1,2,3,\n")
    assert "the pixel column 'd' holds" in refused("gap.csv", DataError)
    assert "has no column 'x'" in refused("gap.csv", DataError, target="x")


def test_arguments_outside_their_range() -> None:
    assert "size is 0" in refused("digits", ArgumentError, size=0)
    assert "channels is 2" in refused("digits", ArgumentError, channels=2)
    said = "'digits' has no columns, so 'label' cannot be its target"
    assert said in refused("digits", ArgumentError, target="label")
