"""Losses made of flat pieces: the largest of ⟨d, v⟩ over the slopes d in a polytope around 0.

v [n, J] is affine in the scores [n, K]: how far they lie beyond the kinks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.losses.base import Loss


class Polyhedral:
    """The polytope of each example, and how v hangs on the scores; a box unless a loss says other.

    Further axes before the last are allowed where the target has them too. Where slopes are
    `joint`, none is below 0 and the box bounds their sum, too.
    """

    joint = False

    def apart(self, score: Array, target: Array) -> Array:
        """v [n, J] of scores [n, K]."""
        raise NotImplementedError

    def moved(self, step: Array, target: Array) -> Array:
        """How far a step of the scores [n, K] moves v, [n, J]; no constant is added on the way."""
        raise NotImplementedError

    def pulled(self, slopes: Array, target: Array) -> Array:
        """The transpose of that: the slopes of the scores, [n, K], that slopes of v are: [n, J]."""
        raise NotImplementedError

    def box(self, target: Array) -> tuple[Array, Array]:
        """The least and the largest slopes, [n, J]."""
        raise NotImplementedError

    def live(self, apart: Array, target: Array) -> Array:
        """Which entries of v may be other than 0, [n, J]; as many in every example."""
        return np.ones(apart.shape, dtype=bool)

    def nearest(self, slopes: Array, target: Array) -> Array:
        """The nearest point of the polytope, [n, J]."""
        return np.clip(slopes, *self.box(target))

    def turned(self, slopes: Array, target: Array) -> Array:
        """The derivative of `nearest`, [n, J, J]."""
        low, high = self.box(target)
        return diagonal(1.0 * ((low < slopes) & (slopes < high)))

    def singles(self) -> tuple[Loss, ...]:
        """Losses of straight lines, one for each score, whose sum this is; none: they interact."""
        return ()


class Lines(Polyhedral):
    """A loss of one score that tells its `pieces`."""

    def __init__(self, loss: Any):
        self.loss = loss

    def apart(self, score: Array, target: Array) -> Array:
        return score - self._pieces(target)[0]

    def moved(self, step: Array, target: Array) -> Array:
        return step * np.ones_like(self._pieces(target)[0])

    def pulled(self, slopes: Array, target: Array) -> Array:
        return slopes.sum(axis=-1, keepdims=True)

    def box(self, target: Array) -> tuple[Array, Array]:
        return self._pieces(target)[1:]

    def singles(self) -> tuple[Loss, ...]:
        return (self.loss,)

    def _pieces(self, target: Array) -> tuple[Array, Array, Array]:
        parts = self.loss.pieces(np.asarray(target, dtype=float))
        kink, low, high = (part.reshape(*target.shape, -1) for part in parts)
        return kink, low, high


def polytope(loss: Loss) -> Polyhedral | None:
    """The flat pieces of a loss, if it is made of such.

    >>> from minimand.losses import EpsilonInsensitive
    >>> polytope(EpsilonInsensitive(0.5)).apart(np.array([[2.0]]), np.zeros(1)).tolist()
    [[2.5, 1.5]]
    """
    if isinstance(loss, Polyhedral):
        return loss
    return Lines(loss) if hasattr(loss, "pieces") else None


def diagonal(entries: Array) -> Array:
    """Matrices [..., J, J] with these diagonals [..., J]."""
    return entries[..., None] * np.eye(entries.shape[-1])
