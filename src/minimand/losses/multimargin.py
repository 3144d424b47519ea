"""Hinges for K classes: losses of how far the other scores stay below the true class's."""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import Array, arange, namespace, positive_part, square_zeros
from minimand.component import Card, component
from minimand.errors import ShapeError
from minimand.losses.base import Loss, reject
from minimand.losses.polyhedral import Polyhedral, diagonal


class MulticlassHinge(Loss, Polyhedral):
    """A piecewise linear loss of v_j = 1 + z_j - z_y for scores z [n, K] and class indices y [n].

    Subclasses give the loss, its slope and its hinges as functions of v, where v_y = 0.
    """

    score_axes = 1

    def psi(self, v: Array) -> Array:
        """ψ(v) for each example."""
        raise NotImplementedError

    def slope(self, v: Array) -> Array:
        """∂ψ/∂v, [n, K]."""
        raise NotImplementedError

    def hinges(self, own: Array) -> Array:
        """The number of the hinge that each pair (own class, other class) belongs to."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """ψ(v) for each example."""
        return self.psi(self._violations(score, target)[0])

    def gradient(self, score: Array, target: Array) -> Array:
        """[n, K]: positive for the classes that come too near, minus their sum for the class y."""
        v, own = self._violations(score, target)
        slope = self.slope(v)
        xp = namespace(slope)
        return xp.where(own, -xp.sum(slope, axis=-1, keepdims=True), slope)

    def curvature(self, score: Array, target: Array) -> Array:
        """0 wherever it exists, [n, K, K]."""
        return square_zeros(score)

    def apart(self, score: Array, target: Array) -> Array:
        return self._violations(score, target)[0]

    def moved(self, step: Array, target: Array) -> Array:
        own = np.where(_own(step, target), step, 0.0).sum(axis=-1, keepdims=True)
        moved: Array = step - own
        return moved

    def pulled(self, slopes: Array, target: Array) -> Array:
        own = _own(slopes, target)
        others = np.where(own, 0.0, slopes)
        return np.where(own, -others.sum(axis=-1, keepdims=True), others)

    def box(self, target: Array) -> tuple[Array, Array]:
        return np.zeros(1), np.ones(1)

    def live(self, apart: Array, target: Array) -> Array:
        return ~_own(apart, target)

    def decide(self, score: Array) -> Array:
        """The index of the largest score."""
        return namespace(score).argmax(score, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best constant scores of the classes 0 ... max(target), by linear programming."""
        from scipy.optimize import linprog
        from scipy.sparse import coo_array

        count = np.bincount(target, weights=weight)
        classes = len(count)
        own, other = np.nonzero(~np.eye(classes, dtype=bool))
        if not len(own):
            return np.zeros(classes)
        hinge = self.hinges(own)
        price = np.zeros(hinge.max() + 1)
        price[hinge] = count[own] / np.sum(count)
        row, one = np.arange(len(own)), np.ones(len(own))
        entries = np.concat([one, -one, -one])  # z_other - z_own - ξ_hinge ≤ -1, with ξ ≥ 0
        columns = np.concat([other, own, classes + hinge])
        solved = linprog(
            np.concat([np.zeros(classes), price]),
            A_ub=coo_array((entries, (np.tile(row, 3), columns))),
            b_ub=-one,
            bounds=[(None, None)] * classes + [(0, None)] * len(price),
        )
        score = solved.x[:classes]
        return score - score.mean()

    def check_target(self, target: Array) -> None:
        """Every target must be a class index 0, 1, 2, ..."""
        target = np.asarray(target)
        bad = ~((target >= 0) & np.isfinite(target) & (target == np.floor(target)))
        reject(self, target, bad, "not a class index 0, 1, 2, ...", "encode the labels first")

    def _violations(self, score: Array, target: Array) -> tuple[Array, Array]:
        """v [n, K], and the mask of each example's own class."""
        if score.shape[-1] < 2:
            raise ShapeError(
                f"{type(self).__name__}: 1 score a row; it needs one for each of 2 or more classes"
            )
        xp = namespace(score, target)
        own = target[..., None] == arange(score.shape[-1], like=score)
        zero = xp.zeros_like(score)
        true = xp.sum(xp.where(own, score, zero), axis=-1, keepdims=True)
        return xp.where(own, zero, 1 + (score - true)), own


@component
class CrammerSinger(MulticlassHinge):
    """The hinge of K classes that counts the worst rival only.

    It says which class, not how probably; below a share of one half no class may win.

    >>> import numpy as np
    >>> CrammerSinger().value(np.array([[2.0, 1.5, 1.25]]), np.array([0])).tolist()
    [0.5]
    """

    card = Card(
        formula="max(0, 1 + maxⱼ zⱼ - z_y), j ≠ y",
        source="Crammer and Singer (2001), Multiclass kernel-based vector machines, section 3",
        use="the class itself, among several; gives no probabilities",
        target="class",
        convex=True,
        lipschitz=math.sqrt(2),
        kinks="1 + zⱼ = z_y, or two rivals tie",
        bounded_influence=False,
        proper=False,
    )
    joint = True

    def psi(self, v: Array) -> Array:
        return namespace(v).max(v, axis=-1)

    def slope(self, v: Array) -> Array:
        """1 for the worst rival, shared equally where several tie."""
        xp = namespace(v)
        worst = (v == xp.max(v, axis=-1, keepdims=True)) & (v > 0)
        hits = xp.astype(worst, v.dtype)
        count = xp.sum(hits, axis=-1, keepdims=True)
        return hits / xp.where(count > 0, count, xp.ones_like(count))

    def nearest(self, slopes: Array, target: Array) -> Array:
        """Not negative, with a sum of at most 1, and 0 for the class itself."""
        lowered = np.maximum(slopes - self._excess(slopes, target), 0.0)
        return np.where(_own(slopes, target), 0.0, lowered)

    def turned(self, slopes: Array, target: Array) -> Array:
        excess = self._excess(slopes, target)
        moving = 1.0 * ((slopes > excess) & ~_own(slopes, target))
        share = moving / np.maximum(moving.sum(axis=-1, keepdims=True), 1.0)
        tied = (excess > 0)[..., None] * moving[..., None] * share[..., None, :]
        return diagonal(moving) - tied

    def hinges(self, own: Array) -> Array:
        return own

    def _excess(self, slopes: Array, target: Array) -> Array:
        """What to take off all slopes so that the positive ones sum to at most 1, [n, 1].

        Held, Wolfe and Crowder (1974), Validation of subgradient optimization.
        """
        others = np.where(_own(slopes, target), -np.inf, slopes)
        falling = np.sort(others, axis=-1)[..., :0:-1]
        means = (np.cumsum(falling, axis=-1) - 1) / np.arange(1, slopes.shape[-1])
        return np.maximum(means.max(axis=-1, keepdims=True), 0.0)


@component
class WestonWatkins(MulticlassHinge):
    """The hinge of K classes that counts every rival within reach; not divided by K.

    Its steepest slope is √(K (K - 1)).

    >>> import numpy as np
    >>> WestonWatkins().value(np.array([[2.0, 1.5, 1.25]]), np.array([0])).tolist()
    [0.75]
    """

    card = Card(
        formula="Σⱼ max(0, 1 + zⱼ - z_y), j ≠ y",
        source="Weston and Watkins (1999), Support vector machines for multi-class pattern "
        "recognition",
        use="the class itself, among several, when all rivals matter; gives no probabilities",
        target="class",
        convex=True,
        kinks="1 + zⱼ = z_y",
        bounded_influence=False,
        proper=False,
    )

    def psi(self, v: Array) -> Array:
        return namespace(v).sum(positive_part(v), axis=-1)

    def slope(self, v: Array) -> Array:
        return namespace(v).astype(v > 0, v.dtype)

    def nearest(self, slopes: Array, target: Array) -> Array:
        """From 0 to 1, and 0 for the class itself."""
        return np.where(_own(slopes, target), 0.0, np.clip(slopes, 0.0, 1.0))

    def turned(self, slopes: Array, target: Array) -> Array:
        inside = (slopes > 0) & (slopes < 1) & ~_own(slopes, target)
        return diagonal(1.0 * inside)

    def hinges(self, own: Array) -> Array:
        return np.arange(len(own))


def _own(slopes: Array, target: Array) -> Array:
    """Which class is the example's own, [n, K]."""
    mask: Array = np.arange(slopes.shape[-1]) == target[..., None]
    return mask
