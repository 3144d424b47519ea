"""Losses put together from others."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np

from minimand.arrays import Array, as_like, namespace
from minimand.component import Card, NonNegative, component
from minimand.errors import ArgumentError
from minimand.losses.base import JointLoss, Loss
from minimand.losses.overlap import Dice
from minimand.losses.segmentation import PixelCrossEntropy


@component
class Sum(JointLoss):
    """Several losses of the same images, each times its weight: one number, or one a loss.

    The mean counts images: of a loss of pixels it is the mean over the pixels of an image, by
    their weights. If one of the losses is of a whole batch, so is the sum.

    Raises:
        ArgumentError: the losses are not of images, take other scores or targets than the first,
            or are not as many as the weights.

    >>> import numpy as np
    >>> score = 99.0 * np.eye(2)[np.array([[0, 0, 1, 1]])]
    >>> loss = Sum((Dice(background=False), PixelCrossEntropy()), weights=np.array([1.0, 0.5]))
    >>> float(loss(score, np.array([[0, 1, 1, 1]])).round(4))  # 0.2 + 99 / 4 / 2
    12.575
    """

    losses: tuple[Loss, ...] = (Dice(), PixelCrossEntropy())
    weights: NonNegative = 1.0
    card = Card(
        formula="Σᵢ wᵢ ℓᵢ(z, y)",
        source="Isensee et al. (2021), nnU-Net, methods: Dice and cross-entropy",
        use="a loss of regions that trains more evenly beside one of pixels",
        target="image",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses:
            raise ArgumentError("Sum: losses is empty; give one loss or more")
        for loss in self.losses:
            if loss.card.target != "image" or _axes(loss) != _axes(self.losses[0]):
                raise ArgumentError(
                    f"Sum: {loss} cannot stand beside {self.losses[0]}; all losses must be of "
                    f"images, and take the same scores and targets of pixels"
                )
        if np.shape(self.weights) not in ((), (len(self.losses),)):
            raise ArgumentError(
                f"Sum: weights has shape {np.shape(self.weights)}; give one number, or one for "
                f"each of the {len(self.losses)} losses"
            )

    @property
    def score_axes(self) -> int:  # type: ignore[override]
        """As many as those of each loss."""
        return self.losses[0].score_axes

    @property
    def target_axes(self) -> int:  # type: ignore[override]
        """As many as those of each loss."""
        return self.losses[0].target_axes

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The weighted sum, for each image or for the batch."""
        parts = [loss._weighted(score, target, weight, None) for loss in self.losses]
        sets = min(1, *(len(value.shape) for value, _ in parts))
        values = [_mean(*part, sets) for part in parts]
        weights = as_like(self.weights, values[0])
        each = weights if weights.shape else [weights] * len(values)
        return reduce(add, (each[i] * value for i, value in enumerate(values)))

    def response(self, score: Array) -> Array:
        """That of the first loss."""
        return self.losses[0].response(score)

    def decide(self, score: Array) -> Array:
        """The class that a score speaks for, to the first loss."""
        return self.losses[0].decide(score)

    def from_classes(self, index: Array) -> Array:
        """Class indices as the first loss expects its targets."""
        return self.losses[0].from_classes(index)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The constant score of the first loss, where training may start."""
        return self.losses[0].constant(target, weight)

    def check_target(self, target: Array) -> None:
        """Every loss must take the targets."""
        for loss in self.losses:
            loss.check_target(target)


def _axes(loss: Loss) -> tuple[int, int]:
    return loss.score_axes, loss.target_axes


def _mean(value: Array, used: Array, sets: int) -> Array:
    """Σ w ℓ / Σ w over all axes but those of the sets, and 0 where nothing weighs anything."""
    xp, axes = namespace(value), tuple(range(sets, len(value.shape)))
    total = xp.sum(used, axis=axes)
    return xp.sum(value, axis=axes) / xp.where(total > 0, total, xp.ones_like(total))
