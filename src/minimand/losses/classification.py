"""Losses of K scores for K classes."""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import Array, log1pexp, logsumexp, namespace, softmax
from minimand.component import Card, component
from minimand.errors import ShapeError
from minimand.losses.base import Loss, reject


@component
class CrossEntropy(Loss):
    """The cross-entropy of softmax scores [n, K] and class indices [n].

    >>> import numpy as np
    >>> float(CrossEntropy()(np.zeros((2, 4)), np.array([0, 3])).round(4))
    1.3863
    """

    score_axes = 1
    card = Card(
        formula="log Σₖ exp(zₖ) - z_y",
        source="Bridle (1990), Probabilistic interpretation of feedforward network outputs",
        use="probabilities of several classes",
        tasks=("multiclass",),
        target="class",
        convex=True,
        lipschitz=math.sqrt(2),
        curvature=0.5,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        """log(1 + Σ exp(zₖ - z_y) over the other classes): exact also when it is tiny."""
        xp = namespace(score)
        own = self._own(score, target)
        own_score = xp.sum(xp.where(own, score, xp.zeros_like(score)), axis=-1, keepdims=True)
        others = xp.where(own, xp.full_like(score, -math.inf), score - own_score)
        return log1pexp(logsumexp(others))

    def gradient(self, score: Array, target: Array) -> Array:
        """softmax(score) minus the indicator of the target, [n, K]."""
        xp = namespace(score)
        p = softmax(score)
        own = self._own(score, target)
        others = xp.where(own, xp.zeros_like(p), p)
        return xp.where(own, -xp.sum(others, axis=-1, keepdims=True), p)

    def curvature(self, score: Array, target: Array) -> Array:
        """diag(p) - p pᵀ of p = softmax(score), [n, K, K], without the cancellation in p - p²."""
        xp = namespace(score)
        p = softmax(score)
        identity = xp.eye(p.shape[-1], dtype=p.dtype)
        products = p[..., :, None] * p[..., None, :] * (1 - identity)
        return identity * xp.sum(products, axis=-1, keepdims=True) - products

    def response(self, score: Array) -> Array:
        """The probabilities softmax(score), [n, K]."""
        return softmax(score)

    def decide(self, score: Array) -> Array:
        """The index of the largest score."""
        return namespace(score).argmax(score, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred log frequencies of the classes 0 ... max(target)."""
        count = np.bincount(target, weights=weight)
        share = count / np.sum(count)
        logs = np.log(np.where(share > 0, share, 0.5 / len(target)))
        return logs - logs.mean()

    def check_target(self, target: Array) -> None:
        """Every target must be a class index 0, 1, 2, ..."""
        target = np.asarray(target)
        bad = ~((target >= 0) & np.isfinite(target) & (target == np.floor(target)))
        reject(self, target, bad, "not a class index 0, 1, 2, ...", "encode the labels first")

    def _own(self, score: Array, target: Array) -> Array:
        xp = namespace(score)
        if score.shape[-1] < 2:
            raise ShapeError(
                "CrossEntropy: 1 score a row; it needs one for each of 2 or more classes"
            )
        classes = xp.arange(score.shape[-1], dtype=target.dtype)
        return target[..., None] == classes
