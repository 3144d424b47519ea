"""Losses of the regions of an image: indices of overlap and their convex extensions.

As in `segmentation`, scores are [n, ..., K] and targets class indices [n, ...] of images with any
number of axes; class 0 is the background. The weight of a pixel counts as its area. An index that
is none of the K classes makes the loss NaN: leave such pixels out by `mask`.
"""

from __future__ import annotations

import dataclasses
import math
from types import MappingProxyType
from typing import Literal

import numpy as np

from minimand.arrays import (
    Array,
    arange,
    cumulative_sum,
    namespace,
    positive_part,
    softmax_and_rest,
    to_float,
)
from minimand.component import Card, NonNegative, Positive, Range, component
from minimand.losses.base import JointLoss
from minimand.losses.classification import ClassLoss, centred_logs, class_shares
from minimand.losses.segmentation import Per, reject_pixel


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageLoss(JointLoss):
    """One value for each image, or for all images of a batch as if they were one (`per`).

    With `per="batch"` the mean over several batches is not the value of all their images at once.
    """

    per: Per = "image"

    def _axes(self, pixels: Array) -> tuple[int, ...]:
        """The axes of [n, ...] that one value covers."""
        return tuple(range(1 if self.per == "image" else 0, len(pixels.shape)))

    def check_target(self, target: Array) -> None:
        """Every target must be a class index 0, 1, 2, ..."""
        y = np.asarray(target)
        bad = ~((y >= 0) & np.isfinite(y) & (y == np.floor(y)))
        reject_pixel(self, y, bad, "not a class index 0, 1, 2, ...", "encode the labels first")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionLoss(ImageLoss, ClassLoss):
    """A loss of the regions of K classes, of which the `background`, class 0, may be left out.

    Regions are soft: a pixel belongs to a class as far as its softmax probability says.
    """

    background: bool = True

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred log shares of the classes 0 ... max(target), where training may start."""
        weight = None if weight is None else np.ravel(weight)
        return centred_logs(class_shares(np.ravel(target), weight), np.size(target))

    def _areas(self, score: Array, target: Array, weight: Array) -> tuple[Array, Array, Array]:
        """Areas of every class, [n, K] or [K]: found, falsely claimed and missed (TP, FP, FN)."""
        xp, axes = namespace(score), self._axes(target)
        true, (p, rest) = self.shares(score, target), softmax_and_rest(score)
        parts = (true * p, (1 - true) * p, true * rest)
        found, claimed, missed = (xp.sum(weight[..., None] * part, axis=axes) for part in parts)
        return found, claimed, missed

    def _counted(self, value: Array) -> Array:
        """1 for every class that the loss looks at, 0 for a background that is left out."""
        ones = namespace(value).ones_like(value)
        foreground = arange(value.shape[-1], like=value) > 0
        return ones if self.background else ones * to_float(foreground, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanRegionLoss(RegionLoss):
    """The mean over the classes of a loss of one class.

    A class that is absent from the truth of an image (or batch) is left out of its mean
    (`absent="skip"`), so that nothing but the other classes punishes pixels falsely given to it; or
    it counts like any other (`absent="count"`).
    """

    absent: Literal["skip", "count"] = "skip"

    def _mean(self, value: Array, area: Array) -> Array:
        """The mean of the values [..., K] of the classes whose true areas are given."""
        xp = namespace(value)
        counted = self._counted(value)
        if self.absent == "skip":
            counted = counted * to_float(area != 0, value)
        number = xp.sum(counted, axis=-1)
        total = xp.sum(counted * value, axis=-1)
        return total / xp.where(number > 0, number, xp.ones_like(number))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverlapLoss(MeanRegionLoss):
    """One minus an overlap index of every class.

    `smooth` is an area, in pixels, that is added to the numerator and the denominator of the index.
    With `absent="count"` choose it above 0: it decides how much false area an absent class stands.
    """

    smooth: NonNegative = 0.0

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The mean over the classes, for each image or for the batch."""
        found, claimed, missed = self._areas(score, target, weight)
        return self._mean(self._lost(found, claimed, missed), found + missed)

    def _lost(self, found: Array, claimed: Array, missed: Array) -> Array:
        raise NotImplementedError


@component
class Dice(OverlapLoss):
    """One minus the soft Dice index, the F1 score of the pixels.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> float(Dice(background=False)(score, np.array([[0, 1, 1, 1]])).round(4))
    0.2
    """

    card = Card(
        formula="1 - (2 TP + s) / (2 TP + FP + FN + s), mean over the classes",
        source="Milletari et al. (2016), V-Net, section 3, without the squares",
        use="images whose classes differ in area, where the Dice index is the metric",
        target="image",
        convex=False,
        proper=False,
    )

    def _lost(self, found: Array, claimed: Array, missed: Array) -> Array:
        wrong = claimed + missed
        return _ratio(wrong, 2 * found + wrong + self.smooth)


@component
class Jaccard(OverlapLoss):
    """One minus the soft Jaccard index, intersection over union.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> float(Jaccard(background=False)(score, np.array([[0, 1, 1, 1]])).round(4))
    0.3333
    """

    card = Card(
        formula="1 - (TP + s) / (TP + FP + FN + s), mean over the classes",
        source="Rahman and Wang (2016), Optimizing intersection-over-union, section 3",
        use="images, where intersection over union is the metric",
        target="image",
        convex=False,
        proper=False,
    )

    def _lost(self, found: Array, claimed: Array, missed: Array) -> Array:
        wrong = claimed + missed
        return _ratio(wrong, found + wrong + self.smooth)


@component
class Tversky(OverlapLoss):
    """One minus the Tversky index, which prices two kinds of error apart.

    A larger `alpha` punishes false positives more, a larger `beta` false negatives; ½ and ½ give
    `Dice` (of half the smoothing), 1 and 1 `Jaccard`.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> float(Tversky(background=False)(score, np.array([[0, 1, 1, 1]])).round(4))
    0.2593
    """

    alpha: NonNegative = 0.3
    beta: NonNegative = 0.7
    card = Card(
        formula="1 - (TP + s) / (TP + α FP + β FN + s), mean over the classes",
        source="Salehi et al. (2017), Tversky loss function for image segmentation",
        use="images, where a missed region is worse than a false alarm, or the other way round",
        target="image",
        convex=False,
        proper=False,
    )

    def _lost(self, found: Array, claimed: Array, missed: Array) -> Array:
        wrong = self.alpha * claimed + self.beta * missed
        return _ratio(wrong, found + wrong + self.smooth)


@component
class FocalTversky(Tversky):
    """The Tversky loss of each class to the power 1/γ.

    A larger `gamma` makes small errors weigh more beside large ones; 1 is `Tversky`. The exponent
    is 1/γ as in the paper; where a library writes γ for the exponent itself, give its inverse.
    Unlike the paper, whose α and β are swapped, `alpha` prices false positives here as well.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> float(FocalTversky(background=False)(score, np.array([[0, 1, 1, 1]])).round(4))
    0.3633
    """

    gamma: Positive = 4 / 3
    card = dataclasses.replace(
        Tversky.card,
        formula="(1 - (TP + s) / (TP + α FP + β FN + s))^(1/γ), mean over the classes",
        source="Abraham and Khan (2019), A novel focal Tversky loss function, eqs. 3 and 4",
        use="small regions, which a plain index of the overlap neglects",
        search=MappingProxyType({"gamma": Range(1.0, 3.0)}),
    )

    def _lost(self, found: Array, claimed: Array, missed: Array) -> Array:
        lost = super()._lost(found, claimed, missed)
        xp = namespace(lost, self.gamma)
        safe = xp.where(lost > 0, lost, xp.ones_like(lost))
        return xp.where(lost > 0, safe ** (1 / self.gamma), lost)


@component
class GeneralisedDice(RegionLoss):
    """One Dice index over all classes, each weighed by the inverse square of its true area.

    A class that is absent from the truth of an image (or batch) is left out.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> float(GeneralisedDice()(score, np.array([[0, 1, 1, 1]])).round(4))
    0.3125
    """

    card = Card(
        formula="Σₖ wₖ (FPₖ + FNₖ) / Σₖ wₖ (2 TPₖ + FPₖ + FNₖ), wₖ = 1 / (TPₖ + FNₖ)²",
        source="Sudre et al. (2017), Generalised Dice overlap as a loss function, GDL",
        use="images with classes of very different areas",
        target="image",
        convex=False,
        proper=False,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """One value for each image or for the batch."""
        xp = namespace(score)
        found, claimed, missed = self._areas(score, target, weight)
        price = _ratio(self._counted(found), (found + missed) ** 2)
        wrong = xp.sum(price * (claimed + missed), axis=-1)
        return _ratio(wrong, 2 * xp.sum(price * found, axis=-1) + wrong)


@component
class LovaszSoftmax(MeanRegionLoss):
    """The Lovász extension of one minus the Jaccard index, of the errors of the probabilities.

    Where every probability is 0 or 1 it is exactly one minus the index. With `absent="count"` an
    absent class costs the largest probability that any pixel gives to it.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> float(LovaszSoftmax(background=False)(score, np.array([[0, 1, 1, 1]])).round(4))
    0.3333
    """

    card = Card(
        formula="mean over k of Δ̄_Jk(m(k)), m(k) = |1{y = k} - softmax(z)ₖ|",
        source="Berman, Triki and Blaschko (2018), The Lovász-softmax loss, algorithm 1",
        use="images of several classes, where intersection over union is the metric",
        target="image",
        convex=False,
        kinks="where the errors of two pixels are equal",
        proper=False,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The mean over the classes, for each image or for the batch."""
        xp, axes = namespace(score), self._axes(target)
        true, (p, rest) = self.shares(score, target), softmax_and_rest(score)
        area = xp.broadcast_to(weight[..., None], p.shape)
        error = true * rest + (1 - true) * p
        value = _lovasz(*(_lines(part, len(axes)) for part in (error, true > 0, area)))
        return self._mean(value, xp.sum(area * true, axis=axes))


@component
class LovaszHinge(ImageLoss):
    """The Lovász extension of one minus the Jaccard index, of the hinge errors of one score.

    Scores are [n, ...], and targets are 1 in the foreground and 0 elsewhere. Where there is no
    foreground, the pixel with the largest error costs its hinge loss.

    >>> import numpy as np
    >>> float(LovaszHinge()(np.array([[-1.0, 0.5]]), np.array([[0, 1]])))
    0.5
    """

    card = Card(
        formula="Δ̄_J(m), m = max(0, 1 - s z), s = 2 y - 1",
        source="Berman, Triki and Blaschko (2018), The Lovász-softmax loss, algorithm 1",
        use="images of a foreground and a background, where intersection over union is the metric",
        target="image",
        convex=True,
        lipschitz=1.0,
        kinks="where the errors of two pixels are equal, and at margins of 1",
        proper=False,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """One value for each image or for the batch."""
        xp, axes = namespace(score), len(self._axes(target))
        own = to_float(target, score) > 0
        error = positive_part(1 - xp.where(own, score, -score))
        pixels = (_lines(a[..., None], axes) for a in (error, own, weight))
        return xp.squeeze(_lovasz(*pixels), axis=-1)

    def decide(self, score: Array) -> Array:
        """1 where the score is positive, else 0."""
        xp = namespace(score)
        return xp.astype(score > 0, xp.int64)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """0, the outline: training starts between the two classes."""
        return np.zeros(())

    def check_target(self, target: Array) -> None:
        """Every target must be 0 or 1."""
        y = np.asarray(target)
        reject_pixel(self, y, ~((y == 0) | (y == 1)), "not 0 or 1", "encode the foreground as 1")


def _lovasz(error: Array, own: Array, area: Array) -> Array:
    """Σ (increments of 1 - Jaccard index, pixels becoming wrong by falling error) × error."""
    xp = namespace(error)
    order = xp.argsort(-error, axis=-1)
    error, own, area = (xp.take_along_axis(a, order, axis=-1) for a in (error, own, area))
    inside = xp.where(own, area, xp.zeros_like(area))
    size = xp.sum(inside, axis=-1, keepdims=True)
    common = size - cumulative_sum(inside)
    union = size + cumulative_sum(area - inside)
    before = union - (area - inside)
    outside = _ratio(area * common, union * before)
    first = to_float((before <= 0) & (area > 0), area)  # a claimed pixel where nothing is true
    rise = xp.where(own, _ratio(area, union), xp.where(before > 0, outside, first))
    return xp.sum(rise * error, axis=-1)


def _lines(pixels: Array, axes: int) -> Array:
    """[..., K] as [sets, K, pixels of a set], or [K, pixels] where all axes are one set."""
    xp, shape = namespace(pixels), pixels.shape
    kept = len(shape) - 1 - axes
    size = math.prod(shape[kept:-1])
    return xp.reshape(pixels, (*shape[:kept], size, shape[-1])).mT


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, 0 where the denominator is 0."""
    xp = namespace(denominator)
    some = denominator != 0
    quotient = numerator / xp.where(some, denominator, xp.ones_like(denominator))
    return xp.where(some, quotient, xp.zeros_like(quotient))
