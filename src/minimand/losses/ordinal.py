"""The loss of ordered classes."""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import Array, cumulative_sum, log1pexp, namespace, over_expm1, sigmoid, times
from minimand.component import Card, component
from minimand.losses.classification import ClassLoss, class_shares, identity


@component
class Ordinal(ClassLoss):
    """The negative log-likelihood of K ordered classes [n]: P(y ≤ k) = sigmoid(θₖ - η).

    The score [n, K] holds the location η, the first threshold θ₁ and the logs of the K - 2 gaps to
    the next thresholds, so every score gives probabilities and the thresholds are learnt with the
    rest. In the proportional-odds model only η depends on the inputs. As with softmax, adding a
    number to η and θ₁ changes nothing.

    >>> import numpy as np
    >>> Ordinal().response(np.array([0.0, -1.0, np.log(2.0)])).round(4).tolist()
    [0.2689, 0.4621, 0.2689]
    """

    card = Card(
        formula="-log(sigmoid(θ_{y+1} - η) - sigmoid(θ_y - η)), θ₀ = -∞, θ_K = ∞",
        source="McCullagh (1980), Regression models for ordinal data, eq. 2.4",
        use="grades, stages, stars: classes with an order",
        target="class",
        convex=False,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        """log(1 + e^{-b}) + log(1 + e^a) - log(1 - e^{a - b}) between a = θ_y - η and b."""
        terms = times(self.shares(score, target), self._surprise(score))
        return namespace(score).sum(terms, axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """By η, θ₁ and the log gaps, [n, K]."""
        own = self.shares(score, target)
        xp = namespace(score)
        shift = self._shift(score, own)
        first = xp.sum(shift, axis=-1, keepdims=True)
        size, within = gap_size(score), own[..., 1:-1]
        above = sigmoid(-self._odds(score)[..., 1:])
        by_gap = size * (_beyond(shift) - within * above) - within * over_expm1(size)
        return xp.concat([-first, first, by_gap], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """σ'(a) ∂a ∂aᵀ + σ'(b) ∂b ∂bᵀ, and what gaps are bent by on the diagonal, [n, K, K]."""
        xp, own = namespace(score), self.shares(score, target)
        odds, size, within = self._odds(score), gap_size(score), own[..., 1:-1]
        root = xp.sqrt(sigmoid(odds) * sigmoid(-odds))
        beyond, one = size * _beyond(own), xp.ones_like(score[..., :1])
        lower = xp.concat([-one, one, beyond], axis=-1)
        upper = xp.concat([-one, one, beyond + size * within], axis=-1)
        lower = lower * xp.sum(root * own[..., 1:], axis=-1, keepdims=True)
        upper = upper * xp.sum(root * own[..., :-1], axis=-1, keepdims=True)
        bent = size * _beyond(self._shift(score, own)) + within * gap_bend(size, odds[..., 1:])
        diagonal = xp.concat([0 * score[..., :2], bent], axis=-1)
        outer = (x[..., :, None] * x[..., None, :] for x in (lower, upper))
        return sum(outer) + identity(score) * diagonal[..., None]

    def response(self, score: Array) -> Array:
        """The probabilities of the K classes, [n, K]."""
        return namespace(score).exp(-self._surprise(score))

    def decide(self, score: Array) -> Array:
        """The most probable class."""
        return namespace(score).argmax(self.response(score), axis=-1)

    def thresholds(self, score: Array) -> Array:
        """θ₁ ... of the scores, [n, K - 1]."""
        return self._odds(score) + score[..., :1]

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """η = 0 and the thresholds whose probabilities are the shares of the classes."""
        share = class_shares(target, weight)
        share = np.where(share > 0, share, 0.5 / len(target))
        below = np.cumsum(share / share.sum())[:-1]
        odds = np.log(below / (1 - below))
        return np.concatenate([[0.0], odds[:1], np.log(np.diff(odds))])

    def _surprise(self, score: Array) -> Array:
        """-log of the probability of every class, [n, K]."""
        xp = namespace(score)
        odds, none = self._odds(score), xp.zeros_like(score[..., :1])
        below, above = log1pexp(-odds), log1pexp(odds)
        between = gap_loss(score[..., 2:])
        parts = ([below, none], [none, above], [none, between, none])
        return sum(xp.concat(part, axis=-1) for part in parts)

    def _shift(self, score: Array, own: Array) -> Array:
        """sigmoid(a) - sigmoid(-b) of the log-odds a and b around the own class, [n, K]."""
        xp, odds = namespace(score), self._odds(score)
        below, above = sigmoid(odds), sigmoid(-odds)
        both = below[..., :-1] * below[..., 1:] + above[..., :-1] * above[..., 1:]
        middle = both * xp.tanh((odds[..., :-1] + odds[..., 1:]) / 2)
        return own * xp.concat([-above[..., :1], middle, below[..., -1:]], axis=-1)

    def _odds(self, score: Array) -> Array:
        """θₖ - η, [n, K - 1]."""
        xp = namespace(score)
        first = score[..., 1:2] - score[..., :1]
        return cumulative_sum(xp.concat([first, gap_size(score)], axis=-1))


def _beyond(x: Array) -> Array:
    """The sum over the classes above each gap, [n, K - 2], of [n, K]."""
    xp = namespace(x)
    return xp.flip(cumulative_sum(xp.flip(x[..., 2:], axis=-1)), axis=-1)


def gap_size(score: Array) -> Array:
    """exp of the log gaps, kept finite, [n, K - 2]."""
    xp = namespace(score)
    return xp.exp(xp.clip(score[..., 2:], None, math.log(xp.finfo(score.dtype).max) - 1))


def gap_loss(s: Array) -> Array:
    """-log(1 - exp(-exp(s))), exact in both tails."""
    xp = namespace(s)
    wide = s > 0
    zero = xp.zeros_like(s)
    low = xp.exp(xp.where(wide, zero, s))
    high = xp.exp(-xp.exp(xp.where(wide, xp.clip(s, None, 7.0), zero)))
    tiny = low < 1e-30
    ratio = xp.where(tiny, xp.ones_like(s), -xp.expm1(-low) / xp.where(tiny, xp.ones_like(s), low))
    return xp.where(wide, -xp.log1p(-high), -s - xp.log(ratio))


def gap_bend(x: Array, b: Array) -> Array:
    """By s = log x twice, of log(1 + e^{-b}) - log(1 - e^{-x}) where b grows with x, less σ'(b) x².

    With t = ½ x coth(½ x) - 1 it is ½ x tanh(½ b) - ¼ x² + t + t²; only so is it exact near x = 0.
    """
    xp, ratio = namespace(x), over_expm1(x)
    small = x < 0.1
    y = xp.where(small, x * x, 0 * x)
    t = y / 12 * (1 - y / 60 * (1 - y / 42 * (1 - y / 40)))
    near = 0.5 * x * xp.tanh(0.5 * b) + (t + t * t - 0.25 * y)
    return xp.where(small, near, ratio * (ratio + (x - 1)) - x * sigmoid(-b))
