"""Augmentations of images: SciPy's fill modes, Keras's maps, masks that move with their images."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from minimand import randomness
from minimand.data.augmentation import (
    Augmentation,
    Brightness,
    Chain,
    Contrast,
    CutMix,
    Cutout,
    Flip,
    Geometric,
    MixUp,
    RandomCrop,
    Rotation,
    Shear,
    Shift,
    Zoom,
)
from minimand.data.augmentation.resampling import bilinear, nearest
from minimand.errors import ShapeError

KEY = randomness.key(7)
N, HEIGHT, WIDTH = 40, 12, 9
IMAGES = jax.random.normal(KEY, (N, HEIGHT, WIDTH, 2))
LABELS, ONES = jnp.arange(N) % 3, jnp.ones(N)
SCIPY = {
    "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap", "constant": "grid-constant"
}  # fmt: skip
"""Keras's names of the fill modes, and those of SciPy that hold between pixels, too."""
MAPS = [
    Flip(probability=1.0),
    Flip(direction="vertical", probability=1.0),
    Shift(height=0.3, width=0.5),
    RandomCrop(padding=3),
    Rotation(degrees=60.0),
    Shear(degrees=40.0),
    Zoom(factor=0.4),
]
compiled = jax.jit(lambda one, *rest: one(*rest))


def call(one: Augmentation, x: Any = IMAGES, y: Any = LABELS, w: Any = ONES) -> Any:
    return compiled(one, KEY, x, y, w)


def matrices(one: Geometric, key: Any = KEY, shape: Any = IMAGES.shape[:3]) -> tuple[Any, Any]:
    """(A [n, 2, 2], b [n, 2]): the pixel at p of a result, from the middle, comes from A p + b."""
    places = jnp.array([[0.0, 1.0, 0.0]]), jnp.array([[0.0, 0.0, 1.0]])
    found = [np.broadcast_to(s, (shape[0], 1, 3)) for s in one.source(key, places, shape)]
    at = np.stack(found, axis=1)[:, :, 0].astype(float)
    return at[..., 1:] - at[..., :1], at[..., 0]


def by_scipy(x: Any, matrix: Any, offset: Any, fill: str, value: float, order: int) -> np.ndarray:
    middle = (np.array(x.shape[:2]) - 1) / 2
    move = {"offset": offset + middle - matrix @ middle, "mode": SCIPY[fill], "cval": value}
    channels = np.moveaxis(np.asarray(x, float), -1, 0)
    done = [ndimage.affine_transform(c, matrix, order=order, **move) for c in channels]
    return np.stack(done, axis=-1)


@pytest.mark.parametrize("fill", SCIPY)
def test_fill_modes_are_those_of_scipy(fill: Any) -> None:
    draw = np.random.default_rng(0)
    places = [draw.uniform(-2 * size, 3 * size, (N, 5, 6)) for size in (HEIGHT, WIDTH)]
    x = np.asarray(IMAGES[..., 0], float)
    for order, ours in ((0, nearest), (1, bilinear)):
        found = jax.jit(ours, static_argnums=2)(
            IMAGES[..., 0], tuple(map(jnp.asarray, places)), fill, 0.7
        )
        for i in range(N):
            at = [place[i] for place in places]
            theirs = ndimage.map_coordinates(x[i], at, order=order, mode=SCIPY[fill], cval=0.7)
            np.testing.assert_allclose(found[i], theirs, atol=1e-4)


@pytest.mark.parametrize("one", MAPS, ids=str)
def test_a_map_moves_images_as_scipy_does(one: Geometric) -> None:
    moved = call(one)[0]
    for i, (matrix, offset) in enumerate(zip(*matrices(one), strict=True)):
        theirs = by_scipy(IMAGES[i], matrix, offset, one.fill, 0.0, order=1)
        np.testing.assert_allclose(moved[i], theirs, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
def test_a_chain_is_the_one_map_of_keras() -> None:
    """Rotation, shift, shear and zoom in the order of its ImageDataGenerator, resampled once.

    Images are square here: where they are not, Keras 3.15 turns them about a point off the middle.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    pytest.importorskip("keras")
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    steps = (
        Rotation(degrees=40),
        Shift(height=0.2, width=0.2),
        Shear(degrees=20),
        Zoom(factor=0.3),
    )
    x = IMAGES[:, :WIDTH]
    moved = call(Chain(steps), x)[0]
    keyed = ((step, jax.random.fold_in(KEY, i)) for i, step in enumerate(steps))
    turn, move, slant, zoom = (matrices(*step, shape=x.shape[:3]) for step in keyed)
    for i in range(N):
        cos, sin = turn[0][i][0]
        theirs = apply_affine_transform(
            np.asarray(x[i]), row_axis=0, col_axis=1, channel_axis=2,
            theta=np.rad2deg(np.arctan2(sin, cos)),
            tx=move[1][i][1], ty=move[1][i][0],  # Keras numbers the axes the other way round
            shear=np.rad2deg(np.arcsin(-slant[0][i][1, 0])),
            zx=zoom[0][i][1, 1], zy=zoom[0][i][0, 0],
        )  # fmt: skip
        np.testing.assert_allclose(moved[i], theirs, atol=1e-4)


def test_strengths_are_drawn_evenly_in_their_units() -> None:
    many = (2000, HEIGHT, WIDTH)
    turn = matrices(Rotation(degrees=30.0), shape=many)[0]
    angles = np.rad2deg(np.arctan2(turn[:, 0, 1], turn[:, 0, 0]))
    np.testing.assert_allclose(np.linalg.det(turn), 1.0, rtol=1e-5)
    slant = matrices(Shear(degrees=20.0), shape=many)[0]
    slants = np.rad2deg(np.arcsin(-slant[:, 1, 0]))
    zoom = matrices(Zoom(factor=0.2), shape=many)[0]
    for draws, low, high in (
        (angles, -30, 30), (slants, -20, 20), (zoom[:, 0, 0], 0.8, 1.2), (zoom[:, 1, 1], 0.8, 1.2)
    ):  # fmt: skip
        assert stats.kstest(draws, stats.uniform(low, high - low).cdf).pvalue > 0.01
    shift = matrices(Shift(height=0.25, width=1 / 3), shape=many)[1]
    assert set(shift[:, 0]) == set(range(-3, 4)) and set(shift[:, 1]) == set(range(-3, 4))
    crop = matrices(RandomCrop(padding=2.0), shape=many)[1]
    counts = [np.unique(axis, return_counts=True) for axis in crop.T]
    for values, times in counts:
        assert values.tolist() == [-2, -1, 0, 1, 2] and stats.chisquare(times).pvalue > 0.01


def test_flips_mirror_the_share_of_images_that_was_asked_for_and_undo_themselves() -> None:
    for one in MAPS[:2]:
        axis = 1 if one.direction == "vertical" else 2  # type: ignore[attr-defined]
        np.testing.assert_array_equal(call(one)[0], np.flip(IMAGES, axis))
        np.testing.assert_array_equal(call(one, call(one)[0])[0], IMAGES)
    x = jnp.broadcast_to(jnp.arange(2.0), (2000, 1, 2))
    flipped = Flip(probability=0.3)(KEY, x, jnp.zeros(2000), jnp.ones(2000))[0][:, 0, 0]
    assert stats.binomtest(int(flipped.sum()), 2000, 0.3).pvalue > 0.01


NOTHING = [
    Flip(probability=0.0), Shift(height=0.0, width=0.0), RandomCrop(padding=0.0),
    Rotation(degrees=0.0), Shear(degrees=0.0), Zoom(factor=0.0), Cutout(side=0.0),
    Brightness(delta=0.0), Contrast(factor=0.0),
    Chain((Rotation(degrees=0.0), Zoom(factor=0.0, fill="constant"), Flip(probability=0.0))),
]  # fmt: skip


@pytest.mark.parametrize("one", NOTHING, ids=str)
def test_no_strength_is_no_change(one: Augmentation) -> None:
    np.testing.assert_array_equal(call(one)[0], IMAGES)


def test_masks_move_with_their_images() -> None:
    """In an image of its own row numbers, the nearest pixel is the value at a place, rounded."""
    rows = jnp.broadcast_to(jnp.arange(HEIGHT)[:, None], (N, HEIGHT, WIDTH))
    one = Chain((Flip(direction="vertical"), Rotation(degrees=90.0), Shift(), Zoom(factor=0.3)))
    x, mask, _ = call(one, rows.astype(float), rows)
    assert mask.dtype == rows.dtype and np.any(mask != rows)
    assert np.max(np.abs(x - mask)) <= 0.5 + 1e-4


@pytest.mark.parametrize("fill", SCIPY)
def test_whole_moves_leave_an_image_that_is_its_mask_equal_to_it(fill: Any) -> None:
    classes = jax.random.randint(KEY, (N, HEIGHT, WIDTH), 0, 4)
    moves = Chain((Flip(fill=fill), Shift(height=0.4, width=0.4, fill=fill)))
    x, mask, _ = call(moves, classes[..., None].astype(float), classes)
    np.testing.assert_array_equal(x[..., 0], mask)
    assert np.any(mask != classes)


def test_masks_of_both_parts_of_a_mixture_move() -> None:
    classes = jax.random.randint(KEY, (N, HEIGHT, WIDTH), 0, 4)
    both = jnp.stack([classes, classes[::-1]])
    _, moved, _ = call(Shift(), IMAGES, both, jnp.ones((2, N)))
    alone = [call(Shift(), IMAGES, part)[1] for part in both]
    np.testing.assert_array_equal(moved, jnp.stack(alone))


def test_cutmix_cuts_masks_along_with_images() -> None:
    classes = jnp.broadcast_to(jnp.arange(N)[:, None, None], (N, HEIGHT, WIDTH))
    x, mask, w = call(CutMix(), classes.astype(float)[..., None], classes)
    np.testing.assert_array_equal(x[..., 0], mask)
    np.testing.assert_array_equal(w, ONES)
    assert np.any(mask != classes)


@pytest.mark.parametrize("y", [LABELS, jax.nn.one_hot(LABELS, 3), IMAGES[:, 0, :, 0]])
def test_what_is_no_mask_stays(y: Any) -> None:
    for one in (Shift(), Cutout(), Contrast()):
        np.testing.assert_array_equal(call(one, IMAGES, y)[1], y)


def test_a_row_is_moved_by_itself_and_grey_images_like_those_with_a_channel() -> None:
    absent = np.arange(N) % 4 == 0
    one = Chain((Shift(), Cutout(), Contrast()))
    x = call(one, jnp.where(absent[:, None, None, None], jnp.nan, IMAGES), w=ONES * ~absent)[0]
    whole = call(one)[0]
    np.testing.assert_array_equal(x[~absent], whole[~absent])
    grey = call(one, IMAGES[..., 0])[0]
    np.testing.assert_allclose(grey, whole[..., 0], rtol=1e-5, atol=1e-6)


def test_what_is_outside_is_filled_once_as_the_first_of_a_chain_says() -> None:
    steps = (Shift(height=1.0, width=1.0, fill="constant", value=2.5), RandomCrop(value=9.0))
    x = call(Chain(steps))[0]
    assert np.any(x == 2.5) and not np.any(x == 9.0)
    there_and_back = Chain((Shift(fill="wrap"), Zoom(factor=0.0, fill="wrap")))
    np.testing.assert_allclose(
        np.sort(call(there_and_back)[0], axis=None), np.sort(IMAGES, axis=None)
    )


def test_cutout_empties_a_box_of_the_size_asked_for() -> None:
    x = call(Cutout(side=0.5, value=-1.0), jnp.ones((N, HEIGHT, WIDTH)))[0]
    largest = 0
    for image in np.asarray(x):
        hidden = image == -1
        tall, wide = hidden.any(axis=1).sum(), hidden.any(axis=0).sum()
        assert hidden.sum() == tall * wide and np.all(image[~hidden] == 1)
        assert 3 <= tall <= 6 and 2 <= wide <= 4
        largest = max(largest, hidden.sum())
    assert largest == 6 * 4


def test_brightness_and_contrast_change_the_mean_and_the_spread() -> None:
    """As Keras's RandomBrightness and RandomContrast do with the same draws, before they clip."""
    lighter = np.asarray(call(Brightness(delta=0.5))[0] - IMAGES)
    np.testing.assert_allclose(
        lighter, np.broadcast_to(lighter[:, :1, :1, :1], lighter.shape), atol=1e-5
    )
    assert stats.kstest(lighter[:, 0, 0, 0], stats.uniform(-0.5, 1.0).cdf).pvalue > 0.01
    x = np.asarray(call(Contrast(factor=0.5))[0])
    old, new = (np.std(i, axis=(1, 2)) for i in (np.asarray(IMAGES), x))
    np.testing.assert_allclose(np.mean(x, axis=(1, 2)), np.mean(IMAGES, axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose((new / old)[:, 0], (new / old)[:, 1], rtol=1e-4)
    assert stats.kstest((new / old)[:, 0], stats.uniform(0.5, 1.0).cdf).pvalue > 0.01


def test_many_strengths_are_one_program() -> None:
    degrees = jnp.array([0.0, 10.0, 40.0])
    turned = jax.jit(jax.vmap(lambda d: Rotation(degrees=d)(KEY, IMAGES, LABELS, ONES)[0]))(degrees)
    np.testing.assert_array_equal(turned[0], IMAGES)
    np.testing.assert_allclose(turned[2], call(Rotation(degrees=40.0))[0], atol=1e-4)
    far = np.mean(np.abs(turned - IMAGES), axis=(1, 2, 3, 4))
    assert far[0] < far[1] < far[2]


def test_half_precision_stays_half() -> None:
    one = Chain((Rotation(), Shift(fill="constant"), Cutout(), Brightness(), Contrast(), MixUp()))
    assert call(one, IMAGES.astype(jnp.bfloat16))[0].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "one", [Shift(), Chain((Rotation(), Zoom())), Cutout(), Contrast()], ids=str
)
def test_what_is_no_image_is_refused(one: Augmentation) -> None:
    with pytest.raises(ShapeError, match="it needs images"):
        one(KEY, jnp.zeros((N, 64)), LABELS, ONES)
