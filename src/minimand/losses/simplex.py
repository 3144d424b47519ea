"""Losses that measure the squared distance of class probabilities from the target."""

from __future__ import annotations

import math

from minimand.arrays import (
    Array,
    arange,
    cumulative_sum,
    namespace,
    positive_part,
    softmax,
    softmax_and_rest,
)
from minimand.component import Card, component
from minimand.losses.classification import ShareLoss, class_shares, identity


@component
class Brier(ShareLoss):
    """The squared distance of the probabilities softmax(score) and the target, summed over classes.

    It is bounded by 2, so no example pulls without end, and it is proper: its best scores tell the
    probabilities. (For two classes it is twice the Brier score of one of them.)

    >>> import numpy as np
    >>> Brier().value(np.zeros((1, 2)), np.array([1])).tolist()
    [0.5]
    """

    card = Card(
        formula="Σₖ (pₖ - qₖ)² with p = softmax(z)",
        source="Brier (1950), Verification of forecasts expressed in terms of probability, eq. 2",
        use="calibrated probabilities of several classes under label noise",
        target="class",
        convex=False,
        bounded_influence=True,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        return namespace(score).sum(self._error(score, target) ** 2, axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """2 pₖ gₖ with gₖ = Σⱼ pⱼ (eₖ - eⱼ) of the errors e = p - q, [n, K]."""
        q = self.shares(score, target)
        return 2 * softmax(score) * (_lead(score, q) - q * _distance(score))

    def curvature(self, score: Array, target: Array) -> Array:
        """2 pₖ pⱼ (3 Σ p² - 2 (p_y + pₖ + pⱼ) + [k = y] + [j = y]) for an index y, [n, K, K].

        On the diagonal 2 pₖ (gₖ (1 - 2 pₖ) + pₖ dₖ), where dₖ is the squared distance of p and
        corner k; for k = y it is 2 pₖ dₖ (3 pₖ - 1).
        """
        xp = namespace(score)
        (p, rest), q, one = softmax_and_rest(score), self.shares(score, target), identity(score)
        excess, pull = _by_third(score)
        diagonal = _lead(score, q) * (rest - p) + _distance(score) * (p * (1 - q) + q * excess)
        (row, column), (own, other) = pairs(p), pairs(q)
        hits = own * pull + other * xp.matrix_transpose(pull)
        squares, mean = (xp.sum(x * p, axis=-1)[..., None, None] for x in (p, q))
        left, beside = xp.sum(q, axis=-1)[..., None, None] - (own + other), row * column
        mean = mean - (own * row + other * column)
        missed = left * (2 * (row + column) - 3 * squares) + 2 * mean
        return 2 * (one * (p * diagonal)[..., None] - (1 - one) * beside * (hits + missed))

    def _error(self, score: Array, target: Array) -> Array:
        """p - q, without cancellation where a probability and its share are both near 1."""
        p, rest = softmax_and_rest(score)
        q = self.shares(score, target)
        return p * (1 - q) - rest * q


@component
class Sparsemax(ShareLoss):
    """The loss whose response, the nearest point of the simplex, is exactly 0 for unlikely classes.

    >>> import numpy as np
    >>> Sparsemax().response(np.array([[1.0, 0.5, -3.0]])).tolist()
    [[0.75, 0.25, 0.0]]
    >>> Sparsemax().value(np.array([[1.0, 0.5, -3.0]]), np.array([0])).tolist()
    [0.0625]
    """

    card = Card(
        formula="½ ‖q - z‖² - ½ ‖p - z‖² with p = argmin ‖p - z‖ over the simplex",
        source="Martins and Astudillo (2016), From softmax to sparsemax, eq. 17",
        use="probabilities of many classes, most of which are exactly 0",
        target="class",
        convex=True,
        lipschitz=math.sqrt(2),
        curvature=1.0,
        kinks="the curvature jumps where a class enters or leaves the support",
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        """½ ‖p - q‖² + Σₖ qₖ max(0, τ - zₖ): the definition as a sum of parts >= 0."""
        xp = namespace(score)
        q, distance = self.shares(score, target), above_threshold(score)
        return xp.sum(0.5 * _error(score, distance, q) ** 2 + q * positive_part(-distance), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """sparsemax(score) minus the target's shares, [n, K]."""
        return _error(score, above_threshold(score), self.shares(score, target))

    def curvature(self, score: Array, target: Array) -> Array:
        """diag(s) - s sᵀ / Σ s of the indicator s of the support, [n, K, K]."""
        xp = namespace(score)
        s = xp.astype(above_threshold(score) > 0, score.dtype)
        size = xp.sum(s, axis=-1)[..., None, None]
        one = identity(score)
        return one * s[..., None] - s[..., :, None] * s[..., None, :] / size

    def response(self, score: Array) -> Array:
        """The probabilities sparsemax(score), [n, K]."""
        return positive_part(above_threshold(score))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The shares of the classes."""
        return class_shares(target, weight)


def _lead(score: Array, q: Array) -> Array:
    """Σ_{j ≠ k} qⱼ (pₖ + pⱼ - Σ p²), [n, K], exact for nearly equal scores and in the tails."""
    xp = namespace(score)
    (p, other), (gap, _) = pairs(softmax(score)), gaps(score)
    overlap = xp.maximum(*pairs(xp.sum(other * gap, axis=-1))) + xp.minimum(p, other)
    return xp.sum(q[..., None, :] * (1 - identity(score)) * overlap, axis=-1)


def _by_third(score: Array) -> tuple[Array, Array]:
    """3 pₖ - 1 [n, K] and 4 pₖ + 2 pⱼ - 1 - 3 Σ p² [n, K, K], exact where they nearly vanish.

    Both do where n = 3 equal scores tower over the others, the second also where the k-th does.
    Hence sums of pₖ - pⱼ over the n scores near the k-th, and of pⱼ over the others.
    """
    xp, p = namespace(score), softmax(score)
    gap, near = gaps(score)
    close, (row, column) = near * gap, pairs(p)
    count, gain = xp.sum(near, axis=-1), xp.sum(close, axis=-1)
    far = (1 - near) * column
    beyond, squares = xp.sum(far, axis=-1), xp.sum(far * column, axis=-1)
    excess = (3 - count) * p + (gain - beyond)
    shared = xp.sum(close * excess[..., None, :], axis=-1) + excess * beyond - 3 * squares
    counted = (1 - count)[..., None] * row + 2 * xp.where(near > 0, row, column)
    return excess, counted + (shared[..., None] + 2 * (gain[..., None] - close))


def _distance(score: Array) -> Array:
    """The squared distance of p and the k-th corner of the simplex, [n, K]."""
    p, rest = softmax_and_rest(score)
    others = (1 - identity(score)) * p[..., None, :] ** 2
    return rest**2 + namespace(score).sum(others, axis=-1)


def gaps(score: Array) -> tuple[Array, Array]:
    """pₖ - pⱼ of p = softmax(score) without cancellation, and 1 where the scores are near, else 0.

    Near is less than 1 apart. Both are [n, K, K].
    """
    xp = namespace(score)
    p, other = pairs(softmax(score))
    high, low = pairs(xp.clip(score, xp.finfo(score.dtype).min / 2, None))  # -∞ less -∞ is NaN
    apart = high - low
    return (p + other) * xp.tanh(apart / 2), xp.astype(xp.abs(apart) < 1, score.dtype)


def pairs(x: Array) -> tuple[Array, Array]:
    """xₖ and xⱼ, which broadcast to [n, K, K]."""
    return x[..., :, None], x[..., None, :]


def above_threshold(z: Array) -> Array:
    """z - τ over the last axis, where τ makes Σ max(0, z - τ) = 1.

    Its sums are of halves of the digits, which add up exactly, so that no small share cancels.
    """
    xp = namespace(z)
    top = xp.max(z, axis=-1, keepdims=True)
    level = xp.maximum(z, top - 2)  # what is so far below has no share
    coarse, fine = _below(-xp.sort(-level, axis=-1), top)
    counts = xp.astype(1 + arange(z.shape[-1], z), z.dtype)
    share = 1 + (counts * coarse - cumulative_sum(coarse)) + (counts * fine - cumulative_sum(fine))
    inside = xp.astype(share > 0, z.dtype)
    size, high, low = (xp.sum(inside * x, axis=-1, keepdims=True) for x in (1, coarse, fine))
    coarse, fine = _below(level, top)
    return ((1 + (size * coarse - high)) + (size * fine - low)) / size + (z - level)


def _below(z: Array, top: Array) -> tuple[Array, Array]:
    """z - top of the coarse halves of their digits, and of the fine halves."""
    xp = namespace(z)
    grain = 2.0 ** (math.log2(xp.finfo(z.dtype).eps) // 2)

    def fine(x: Array) -> Array:
        split = xp.where(xp.abs(x) < 1 / grain, x, xp.zeros_like(x))  # others have no fine half
        return split - grain * xp.round(split / grain)

    return (z - fine(z)) - (top - fine(top)), fine(z) - fine(top)


def _error(score: Array, distance: Array, q: Array) -> Array:
    """p - q of the shares p = max(0, distance), without cancellation where both are nearly 1."""
    xp, p = namespace(score), positive_part(distance)
    top = xp.argmax(score, axis=-1, keepdims=True) == arange(score.shape[-1], score)
    others = xp.sum(xp.where(top, xp.zeros_like(p), p), axis=-1, keepdims=True)
    return p * (1 - q) - xp.where(top, others, 1 - p) * q
