"""Several augmentations as one."""

from __future__ import annotations

from itertools import groupby

import jax

from minimand.arrays import Array
from minimand.component import Card, component
from minimand.data.augmentation.base import Augmentation, Batch
from minimand.data.augmentation.geometry import Geometric, seen_through
from minimand.data.augmentation.mixing import MixUp
from minimand.data.augmentation.photometry import GaussianNoise


@component
class Chain(Augmentation):
    """Several augmentations, one after another.

    >>> Chain((GaussianNoise(stddev=0.05), MixUp())).augmentations[1]
    MixUp(alpha=0.2)
    """

    augmentations: tuple[Augmentation, ...] = (GaussianNoise(), MixUp())
    card = Card(
        formula="the last of ... the first of x",
        source="composition",
        use="more than one augmentation",
    )

    def __call__(self, key: Array, x: Array, target: Array, weight: Array) -> Batch:
        keyed = [(jax.random.fold_in(key, i), one) for i, one in enumerate(self.augmentations)]
        for fill, steps in groupby(keyed, key=_fill):
            if fill:
                x, target, weight = seen_through(list(steps), x, target, weight)  # type: ignore[arg-type]
            else:
                for own, one in steps:
                    x, target, weight = one(own, x, target, weight)
        return x, target, weight


def _fill(step: tuple[Array, Augmentation]) -> str | None:
    """How a step fills what it moves into the image; None if it moves nothing."""
    return step[1].fill if isinstance(step[1], Geometric) else None
