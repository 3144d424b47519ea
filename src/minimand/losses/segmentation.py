"""Losses of the pixels of images: class scores [n, ..., K], whatever number of axes an image has.

Every axis between the first and the classes belongs to the image: lines, pictures and volumes work
alike. Targets are class indices [n, ...]; a weight or a mask has one entry for every pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from minimand.arrays import Array, namespace, softmax, to_float
from minimand.component import Card, component
from minimand.errors import ShapeError, TargetError
from minimand.losses.base import Loss
from minimand.losses.classification import ClassLoss, CrossEntropy, identity

Per = Literal["image", "batch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelLoss(Loss):
    """A loss of each pixel, whose mean counts pixels (`per="batch"`) or images alike."""

    per: Per = "batch"

    def _weighted(
        self, score: Array, target: Array, weight: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        value, used = super()._weighted(score, target, weight, mask)
        if self.per == "batch":
            return value, used
        xp = namespace(value)
        area = xp.sum(used, axis=tuple(range(1, len(used.shape))), keepdims=True)
        share = xp.where(area > 0, 1 / xp.where(area > 0, area, xp.ones_like(area)), area)
        return value * share, used * share


@component
class PixelCrossEntropy(PixelLoss, CrossEntropy):
    """The cross-entropy of every pixel; it takes the arguments of `CrossEntropy`, too.

    With `per="batch"` every pixel counts the same in the mean, with `per="image"` every image does.
    Targets are whole numbers [n, ...], or shares [n, ..., K] in a floating dtype.

    >>> import numpy as np
    >>> score, target = np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), dtype=int)
    >>> float(PixelCrossEntropy()(score, target).round(4))
    1.0986
    """

    card = dataclasses.replace(
        CrossEntropy.card, target="image", tasks=(), use="images: a class for every pixel"
    )

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred log shares of the classes among the pixels, weighted and smoothed."""
        return super().constant(_pixels(target), None if weight is None else np.ravel(weight))

    def check_target(self, target: Array) -> None:
        """Every target must be a class index, `ignore_index`, or a row of shares that sum to 1."""
        super().check_target(_pixels(target))


@component
class Boundary(PixelLoss, ClassLoss):
    """The probability of each class, weighed by the signed distance to its outline.

    Scores and targets are [n, ..., K]; `signed_distance` makes the targets from class indices. The
    background may be left out by a map of zeros. The values have any sign. Add it to a loss of
    regions: alone it trains slowly.

    >>> import numpy as np
    >>> target = signed_distance(np.array([[0, 0, 1, 1]]), classes=2)
    >>> target[0, :, 1].tolist()
    [2.0, 1.0, -1.0, -2.0]
    >>> float(Boundary()(np.zeros((1, 4, 2)), target))
    0.0
    """

    target_axes = 1
    card = Card(
        formula="Σₖ φₖ softmax(z)ₖ",
        source="Kervadec et al. (2019), Boundary loss for highly unbalanced segmentation, L_B",
        use="small regions beside a large background, in addition to Dice or cross-entropy",
        target="image",
        convex=False,
        proper=False,
    )

    def value(self, score: Array, target: Array) -> Array:
        return namespace(score).sum(softmax(score) * self._distance(score, target), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """pₖ (φₖ - Σⱼ φⱼ pⱼ), without the cancellation as pₖ → 1."""
        p, distance = softmax(score), self._distance(score, target)
        others = 1 - identity(score)
        return p * (distance * (p @ others) - (p * distance) @ others)

    def curvature(self, score: Array, target: Array) -> Array:
        """δₖⱼ gₖ - gₖ pⱼ - pₖ gⱼ of the gradient g, [n, ..., K, K]."""
        g, p = self.gradient(score, target), softmax(score)
        products = g[..., :, None] * p[..., None, :]
        return identity(score) * g[..., None] - products - products.mT

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """Scores of 0: training starts without a preferred class."""
        return np.zeros(np.shape(target)[-1])

    def check_target(self, target: Array) -> None:
        """Every distance must be finite."""
        reject_pixel(self, target, ~np.isfinite(target), "not a distance", "use signed_distance")

    def _distance(self, score: Array, target: Array) -> Array:
        if score.shape != target.shape:
            raise ShapeError(
                f"Boundary: score has shape {tuple(score.shape)} and target {tuple(target.shape)}; "
                f"it needs one distance map for each class"
            )
        return to_float(target, score)


def signed_distance(
    target: Array, classes: int, *, spacing: float | Sequence[float] = 1.0
) -> np.ndarray:
    """The targets of `Boundary`: distances [n, ..., K] to each class, negative inside it.

    A pixel's distance is that to the nearest pixel of the other side, Euclidean within its image.
    A class that an image lacks, or fills, has no outline there: zeros.

    Args:
        target: [n, ...], class indices.
        classes: K.
        spacing: the size of a pixel, or one size for each axis of an image.

    >>> signed_distance(np.array([[0, 1, 1, 0]]), classes=2, spacing=0.5)[0, :, 1].tolist()
    [0.5, -0.5, -0.5, 0.5]
    """
    from scipy.ndimage import distance_transform_edt

    inside = np.asarray(target)[..., None] == np.arange(classes)
    found = np.zeros(inside.shape)
    for image, distance in zip(inside, found, strict=True):
        for k in range(classes):
            own = image[..., k]
            if own.any() and not own.all():
                there = distance_transform_edt(~own, spacing)
                distance[..., k] = there - distance_transform_edt(own, spacing)
    return found


def reject_pixel(loss: Loss, target: Array, bad: Array, what: str, todo: str) -> None:
    """Raise `TargetError` for the first pixel where `bad` holds."""
    if np.any(bad):
        image, *pixel = (int(i) for i in np.argwhere(bad)[0])
        value = np.asarray(target)[bad][0]
        more = f" (and {np.sum(bad) - 1} more)" if np.sum(bad) > 1 else ""
        raise TargetError(
            f"{type(loss).__name__}: target of image {image + 1}, pixel {tuple(pixel)}{more} "
            f"is {value!s}, {what}; {todo}"
        )


def _pixels(target: Array) -> Array:
    """Class indices [n, ...] as [pixels]; shares [n, ..., K] as [pixels, K]."""
    target = np.asarray(target)
    return target.reshape(-1, target.shape[-1]) if target.dtype.kind == "f" else target.ravel()
