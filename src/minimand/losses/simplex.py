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
        return 2 * softmax(score) * _mean_excess(score, self.shares(score, target))

    def curvature(self, score: Array, target: Array) -> Array:
        """-2 pₖ pⱼ (gₖ + gⱼ + pₖ + pⱼ - Σ p²) off the diagonal, [n, K, K].

        On it 2 pₖ (gₖ (1 - 2 pₖ) + pₖ dₖ), where dₖ is the squared distance of p and corner k.
        """
        p, rest = softmax_and_rest(score)
        excess, one = _mean_excess(score, self.shares(score, target)), identity(score)
        diagonal = p * (excess * (rest - p) + p * _distance(score))
        (row, column), (first, second) = _pairs(p), _pairs(excess)
        beside = row * column * (first + second + _overlap(score))
        return 2 * (one * diagonal[..., None] - (1 - one) * beside)

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
        p = positive_part(distance)
        return xp.sum(0.5 * (p - q) ** 2 + q * positive_part(-distance), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """sparsemax(score) minus the target's shares, [n, K]."""
        return positive_part(above_threshold(score)) - self.shares(score, target)

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


def _mean_excess(score: Array, q: Array) -> Array:
    """Σⱼ pⱼ (eₖ - eⱼ) of e = p - q as Σⱼ qⱼ (pₖ + pⱼ - Σ p² - [k = j]), whose terms are exact."""
    beside = (1 - identity(score)) * _overlap(score)
    return namespace(score).sum(q[..., None, :] * beside, axis=-1) - q * _distance(score)


def _overlap(score: Array) -> Array:
    """pₖ + pⱼ - Σ p², [n, K, K], exact for nearly equal scores and in the tails."""
    xp = namespace(score)
    p, other = _pairs(softmax(score))
    high, low = _pairs(xp.clip(score, xp.finfo(score.dtype).min / 2, None))  # -∞ less -∞ is NaN
    gap = (p + other) * xp.tanh((high - low) / 2)  # pₖ - pⱼ
    return xp.maximum(*_pairs(xp.sum(other * gap, axis=-1))) + xp.minimum(p, other)


def _distance(score: Array) -> Array:
    """The squared distance of p and the k-th corner of the simplex, [n, K]."""
    p, rest = softmax_and_rest(score)
    others = (1 - identity(score)) * p[..., None, :] ** 2
    return rest**2 + namespace(score).sum(others, axis=-1)


def _pairs(x: Array) -> tuple[Array, Array]:
    """xₖ and xⱼ, which broadcast to [n, K, K]."""
    return x[..., :, None], x[..., None, :]


def above_threshold(z: Array) -> Array:
    """z - τ over the last axis, where τ makes Σ max(0, z - τ) = 1."""
    xp = namespace(z)
    z = z - xp.max(z, axis=-1, keepdims=True)
    ordered = -xp.sort(-z, axis=-1)
    sums = cumulative_sum(ordered)
    counts = xp.astype(1 + arange(z.shape[-1], z), z.dtype)
    inside = 1 + counts * ordered > sums
    size = xp.sum(xp.astype(inside, z.dtype), axis=-1, keepdims=True)
    supported = xp.where(inside, ordered, xp.zeros_like(ordered))
    return z - (xp.sum(supported, axis=-1, keepdims=True) - 1) / size
