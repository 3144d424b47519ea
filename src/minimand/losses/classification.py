"""Losses of class scores: two classes by one score, or K classes by K scores.

K-class targets are written as indices [n], or as rows [n, K] that sum to 1 (one-hot or soft); the
rank of the target decides, and the two agree.
"""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import (
    Array,
    arange,
    as_like,
    from_top,
    log1pexp_both,
    log_softmax,
    namespace,
    sigmoid,
    softmax,
    softmax_and_rest,
    times,
    to_float,
)
from minimand.component import Card, DecayRate, NonNegative, Positive, component
from minimand.errors import ShapeError
from minimand.losses.base import Loss, PointwiseLoss, computable, reject


class BinaryLoss(PointwiseLoss):
    """t a φ(z) + (1 - t) b φ(-z) for a target t in [0, 1]: the share, or the chance, of class 1.

    Subclasses give φ, φ' and φ'' of the true class's log-odds, and the weights a and b (`sides`).
    """

    def phi(self, m: Array) -> Array:
        """φ(m) of the log-odds m of the true class."""
        raise NotImplementedError

    def slope(self, m: Array) -> Array:
        """φ'(m)."""
        raise NotImplementedError

    def bend(self, m: Array) -> Array:
        """φ''(m)."""
        raise NotImplementedError

    def sides(self, score: Array, target: Array) -> tuple[Array, Array]:
        """What class 1 and class 0 weigh in each target: (t a, (1 - t) b)."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        yes, no = self.sides(score, target)
        return times(yes, self.phi(score)) + times(no, self.phi(-score))

    def gradient(self, score: Array, target: Array) -> Array:
        yes, no = self.sides(score, target)
        return yes * self.slope(score) - no * self.slope(-score)

    def curvature(self, score: Array, target: Array) -> Array:
        yes, no = self.sides(score, target)
        return yes * self.bend(score) + no * self.bend(-score)

    def response(self, score: Array) -> Array:
        """1 / (1 + exp(-score)): the probability of class 1 if the loss is proper."""
        return sigmoid(score)

    def decide(self, score: Array) -> Array:
        """1 where the score is positive, else 0."""
        xp = namespace(score)
        return xp.astype(score > 0, xp.int32)

    def check_target(self, target: Array) -> None:
        """Every target must lie in [0, 1]."""
        target = np.asarray(target)
        bad = ~((target >= 0) & (target <= 1))
        reject(self, target, bad, "outside [0, 1]", "write (y + 1) / 2 for labels -1 and +1")

    def from_classes(self, index: Array) -> Array:
        """The class index itself, as a number."""
        return 1.0 * index


@component
class BinaryCrossEntropy(BinaryLoss):
    """The cross-entropy of one score [n] (a logit) and a target in [0, 1]: 0, 1 or a soft label.

    `pos_weight` multiplies the part of class 1: above 1 it finds more of class 1, and its mistakes
    grow. It belongs to the loss, as in PyTorch, so the mean does not divide by it. It may hold
    one number for each column of scores [n, L] of L independent labels.

    >>> import numpy as np
    >>> BinaryCrossEntropy().value(np.array([0.0, -800.0]), np.array([0.5, 1])).round(4).tolist()
    [0.6931, 800.0]
    """

    pos_weight: Positive = 1.0
    card = Card(
        formula="a t log(1 + exp(-z)) + (1 - t) log(1 + exp(z))",
        source="Good (1952), Rational decisions; Cox (1958), binary sequences",
        use="probabilities of two classes, soft labels, several independent labels",
        target="fraction",
        convex=True,
        lipschitz=lambda loss: np.maximum(loss.pos_weight, 1.0),
        curvature=lambda loss: np.maximum(loss.pos_weight, 1.0) / 4,
        bounded_influence=False,
        proper=True,
        symmetric=lambda loss: bool(np.all(loss.pos_weight == 1)),
    )

    def value(self, score: Array, target: Array) -> Array:
        yes, no = self.sides(score, target)
        alarmed, missed = log1pexp_both(score)
        return times(yes, missed) + times(no, alarmed)

    def slope(self, m: Array) -> Array:
        return -sigmoid(-m)

    def bend(self, m: Array) -> Array:
        return sigmoid(m) * sigmoid(-m)

    def sides(self, score: Array, target: Array) -> tuple[Array, Array]:
        target = to_float(target, score)
        return as_like(self.pos_weight, score) * target, 1 - target

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The log-odds of class 1, each `pos_weight` times."""
        share = share_of_one(target, weight)
        return np.log(self.pos_weight * share / (1 - share))


class ClassLoss(Loss):
    """A loss of scores [n, K] for K classes, and class indices [n]."""

    score_axes = 1

    def response(self, score: Array) -> Array:
        """The probabilities softmax(score), [n, K]."""
        return softmax(score)

    def decide(self, score: Array) -> Array:
        """The index of the largest score."""
        return namespace(score).argmax(score, axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred log shares of the classes (0 ... max(target), if they are indices)."""
        return centred_logs(class_shares(target, weight), len(target))

    def check_target(self, target: Array) -> None:
        """Every target must be a class index 0, 1, 2, ..."""
        target = np.asarray(target)
        bad = ~((target >= 0) & np.isfinite(target) & (target == np.floor(target)))
        reject(self, target, bad, "not a class index 0, 1, 2, ...", "encode the labels first")

    def own(self, score: Array, target: Array) -> Array:
        """Whether a score is that of the target's class, [n, K]."""
        xp = namespace(score, target)
        if score.shape[-1] < 2:
            raise ShapeError(
                f"{type(self).__name__}: 1 score a row; it needs one for each of 2 or more classes"
            )
        return target[..., None] == xp.astype(arange(score.shape[-1], score), target.dtype)

    def shares(self, score: Array, target: Array) -> Array:
        """The target as rows [n, K] of 0 and one 1; NaN where it is none of the K classes."""
        xp = namespace(score, target)
        own = self.own(score, target)
        rows = xp.astype(own, score.dtype)
        return xp.where(xp.any(own, axis=-1, keepdims=True), rows, xp.full_like(rows, math.nan))


class ShareLoss(ClassLoss):
    """A loss of class scores whose target may also be rows [n, K] of shares that sum to 1."""

    def check_target(self, target: Array) -> None:
        """Every target must be a class index 0, 1, 2, ..., or a row of shares that sum to 1."""
        target = np.asarray(target)
        if not holds_shares(target):
            return super().check_target(target)
        total = target.sum(axis=-1)
        bad = ~(np.all(target >= 0, axis=-1) & (np.abs(total - 1) <= 1e-5))
        reject(self, total, bad, "the sum of its shares", "give shares >= 0 that sum to 1")

    def shares(self, score: Array, target: Array) -> Array:
        """The target as rows [n, K] that sum to 1; NaN where an index is none of the K classes."""
        rows = self._columns(score, target)
        return to_float(target, score) if rows else super().shares(score, target)

    def _columns(self, score: Array, target: Array) -> int:
        return int(len(target.shape) == len(score.shape))

    def _check_arrays(self, **arrays: Array | None) -> None:
        super()._check_arrays(**arrays)
        score, target = (tuple(getattr(arrays[name], "shape", ())) for name in ("score", "target"))
        if len(score) == len(target) and (len(score) < 2 or score != target):
            raise ShapeError(
                f"{type(self).__name__}: score has shape {score} and target {target}; expected "
                f"score [n, K], and target [n] (class indices) or [n, K] (shares of the classes)"
            )


@component
class CrossEntropy(ShareLoss):
    """The cross-entropy of softmax scores [n, K] and class indices [n] or shares [n, K].

    A smoothed target is q = (1 - ε) target + ε / K with ε = `label_smoothing`: a larger ε keeps the
    scores closer together. `class_weight` ([K], or one number) then multiplies the terms of
    Σₖ cₖ qₖ (-log pₖ): a larger number finds more of that class. The mean divides by Σ w Σₖ cₖ qₖ,
    for indices and for shares, so smoothing is exactly the same as handing over smoothed shares.
    An index equal to `ignore_index` leaves its row out, as `mask` does; the cross-entropy of any
    other index that is no class is NaN.

    >>> import numpy as np
    >>> float(CrossEntropy()(np.zeros((2, 4)), np.array([0, 3])).round(4))
    1.3863
    >>> float(CrossEntropy()(np.zeros((2, 4)), np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0]])).round(4))
    1.3863
    """

    label_smoothing: DecayRate = 0.0
    class_weight: NonNegative = 1.0
    ignore_index: int = -100
    card = Card(
        formula="-Σₖ cₖ qₖ log pₖ with p = softmax(z); log Σₖ exp(zₖ) - z_y for an index y",
        source="Bridle (1990), Probabilistic interpretation of feedforward network outputs",
        use="probabilities of several classes",
        tasks=("multiclass",),
        target="class",
        convex=True,
        lipschitz=lambda loss: math.sqrt(2) * np.max(loss.class_weight),
        curvature=lambda loss: 0.5 * np.max(loss.class_weight),
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        return _weighted_logs(self._weights(score, target), score)

    def gradient(self, score: Array, target: Array) -> Array:
        """softmax(score) times the weight of the row, minus the weights of its classes, [n, K]."""
        if self._plain(score, target):
            return self.value_and_gradient(score, target)[1]
        weights = self._weights(score, target)
        others = namespace(weights).sum(weights, axis=-1, keepdims=True) - weights
        p, rest = softmax_and_rest(score)
        return p * others - rest * weights

    def value_and_gradient(self, score: Array, target: Array) -> tuple[Array, Array]:
        """Both; of plain class indices by one exponential a score."""
        if not self._plain(score, target):
            return super().value_and_gradient(score, target)
        below, e, others = from_top(score)
        row, own = np.arange(len(target)), target
        rest = others[:, 0] + (1 - e[row, own])
        total = 1 + others
        gradient = e / total
        gradient[row, own] = -rest / total[:, 0]
        return np.log1p(others[:, 0]) - below[row, own], gradient

    def curvature(self, score: Array, target: Array) -> Array:
        """diag(p) - p pᵀ of p = softmax(score), times the weight of the row, [n, K, K]."""
        if self._plain(score, target):
            return softmax_slope(score)
        weights = self._weights(score, target)
        weight = namespace(weights).sum(weights, axis=-1)
        return weight[..., None, None] * softmax_slope(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred log shares of the classes, weighted and smoothed."""
        target = np.asarray(target)
        if not holds_shares(target):
            weight = np.ones(target.shape) if weight is None else np.asarray(weight)
            kept = target != self.ignore_index
            target, weight = target[kept], weight[kept]
        share = class_shares(target, weight, np.size(self.class_weight))
        smooth = (1 - self.label_smoothing) * share + self.label_smoothing / len(share)
        return centred_logs(np.asarray(self.class_weight) * smooth, len(target))

    def check_target(self, target: Array) -> None:
        """Every target must be a class index, `ignore_index`, or a row of shares that sum to 1."""
        target = np.asarray(target)
        if not holds_shares(target):
            target = np.where(target == self.ignore_index, 0, target)
        super().check_target(target)

    def _plain(self, score: Array, target: Array) -> bool:
        """Whether the targets are class indices of NumPy, neither weighted nor smoothed."""
        if namespace(score, target, self.label_smoothing, self.class_weight) is not np:
            return False
        one = np.ndim(self.class_weight) == 0 and self.class_weight == 1
        known = target.ndim == 1 and target.dtype.kind in "iu" and target.size and target.min() >= 0
        return bool(one and self.label_smoothing == 0 and known and target.max() < score.shape[-1])

    def _weights(self, score: Array, target: Array) -> Array:
        """cₖ qₖ, [n, K]; 0 for a row that is left out."""
        smooth = self.label_smoothing
        xp = namespace(score, smooth)
        q = self.shares(score, target)
        if not self._columns(score, target):
            q = xp.where((target == self.ignore_index)[..., None], xp.zeros_like(q), q)
        q = (1 - smooth) * q + smooth * xp.mean(q, axis=-1, keepdims=True)
        return as_like(self.class_weight, score) * q

    def _weighted(
        self, score: Array, target: Array, weight: Array | None, mask: Array | None
    ) -> tuple[Array, Array]:
        self._check_arrays(score=score, target=target, weight=weight, mask=mask)
        xp = namespace(score, target)
        if not self._columns(score, target):
            kept = target != self.ignore_index
            mask = kept if mask is None else kept & xp.astype(mask, xp.bool)
        score = computable(score)
        used = self._used(score, target, weight, mask)
        score, target = self._cleaned(score, target, used)
        weights = self._weights(score, target)
        return used * _weighted_logs(weights, score), used * xp.sum(weights, axis=-1)


def _weighted_logs(weights: Array, score: Array) -> Array:
    """Σₖ wₖ (-log pₖ) of p = softmax(score)."""
    terms = times(weights, -log_softmax(score))
    return namespace(terms).sum(terms, axis=-1)


def softmax_slope(score: Array) -> Array:
    """diag(p) - p pᵀ of p = softmax(score), [n, K, K], without the cancellation in p - p²."""
    p, rest = softmax_and_rest(score)
    same = identity(score) > 0
    return namespace(score).where(same, (p * rest)[..., None], -p[..., :, None] * p[..., None, :])


def identity(score: Array) -> Array:
    """The [K, K] identity for scores [n, K], on their device."""
    xp = namespace(score)
    index = arange(score.shape[-1], score)
    return xp.astype(index[:, None] == index[None, :], score.dtype)


def holds_shares(target: Array) -> bool:
    """Whether a target is rows of shares or of one 1, rather than class indices of any shape.

    >>> holds_shares(np.array([[0.5, 0.5]])), holds_shares(np.array([[2, 0, 3]]))
    (True, False)
    """
    target = np.asarray(target)
    return target.ndim > 1 and bool(target.dtype.kind == "f" or np.all(target.sum(axis=-1) == 1))


def class_shares(target: Array, weight: Array | None = None, least: int = 0) -> Array:
    """The weighted share of each class, of indices [...] (at least `least` classes) or rows [n, K].

    >>> class_shares(np.array([0, 2, 2, 2])).tolist()
    [0.25, 0.0, 0.75]
    """
    target = np.asarray(target)
    if holds_shares(target):
        return np.average(target, axis=0, weights=weight)
    weight = None if weight is None else np.ravel(weight)
    count = np.bincount(target.ravel().astype(np.int64), weights=weight, minlength=least)
    return count / np.sum(count)


def centred_logs(share: Array, rows: int) -> Array:
    """The logs of shares among so many rows, less their mean; finite for a class that is absent."""
    logs = np.log(np.where(share > 0, share, 0.5 / rows))
    return logs - logs.mean()


def share_of_one(target: Array, weight: Array | None = None) -> Array:
    """The weighted mean of targets in [0, 1], kept off 0 and 1."""
    share = np.average(np.asarray(target, dtype=float), axis=0, weights=weight)
    least = np.where((share > 0) & (share < 1), 0, 0.5 / len(target))
    return np.clip(share, least, 1 - least)
