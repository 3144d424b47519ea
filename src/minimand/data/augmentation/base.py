"""What an augmentation is: a change of a batch before it is trained on, a pure function of a key.

An augmentation that mixes examples gives both of their targets and the share of each, as a further
axis in front: a mixed row has targets [2, n] and weights [2, n], and costs Σ share ℓ(score, target)
over the two. That is right for every loss, whatever its targets are, and costs one forward pass.
"""

from __future__ import annotations

from minimand.arrays import Array
from minimand.component import Card, Component, component
from minimand.errors import ShapeError

Batch = tuple[Array, Array, Array]
"""(inputs [n, ...], targets [..., n] or [..., n, K], weights [..., n])."""


class Augmentation(Component):
    """A random change of a batch, whose targets may get axes in front: one entry a target."""

    kind = "augmentation"

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        """The batch as it is trained on; rows of weight 0 have no part in the others."""
        return x, target, weight


@component
class Unchanged(Augmentation):
    """The batch as it is.

    >>> Unchanged()
    Unchanged()
    """

    card = Card(formula="x", source="no augmentation", use="enough data")


def check_images(one: Augmentation, x: Array) -> None:
    """Inputs must be images [n, height, width] or [n, height, width, channels].

    Raises:
        ShapeError: they are not.
    """
    if x.ndim not in (3, 4):
        raise ShapeError(
            f"{type(one).__name__}: inputs have shape {x.shape}; it needs images "
            f"[n, height, width] or [n, height, width, channels]"
        )


def holds_masks(x: Array, target: Array, weight: Array) -> bool:
    """Whether the targets [..., n, height, width, ...] have an entry for each pixel of images x."""
    return bool(target.shape[weight.ndim : weight.ndim + 2] == x.shape[1:3])
