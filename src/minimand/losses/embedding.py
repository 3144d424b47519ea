"""Losses that place examples in space: embeddings [n, d] and the labels [n] of one batch.

Two examples of one label are positives for each other, and of two labels negatives. For pairs of
views (SimCLR), of a text and its image (CLIP), stack both views and number the pairs as labels.

The losses of pairs count whatever pairs there are; to the others an anchor that lacks a positive or
a negative adds nothing. Where nothing is left the loss is 0, with zero gradient.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Literal

import numpy as np

from minimand.arrays import (
    Array,
    arange,
    log1pexp,
    log_softmax,
    logsumexp,
    namespace,
    norm,
    positive_part,
    softmax,
    softmax_and_rest,
    to_float,
    unit,
)
from minimand.component import Card, NonNegative, Positive, Range, component
from minimand.errors import ArgumentError
from minimand.losses.base import JointLoss, reject
from minimand.losses.classification import ClassLoss

_MARGIN = MappingProxyType({"margin": Range(0.1, 2.0, log=True)})
_TEMPERATURE = MappingProxyType({"temperature": Range(0.03, 1.0, log=True)})


class EmbeddingLoss(JointLoss):
    """One value for each batch, since every example is compared with the others.

    The mean over several batches is therefore not the value of all their examples at once.
    """

    score_axes = 1

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """There is none: raises `ArgumentError`."""
        raise ArgumentError(f"{type(self).__name__} has no best constant: embeddings must differ")

    def check_target(self, target: Array) -> None:
        """Every label must be a finite number."""
        reject(self, target, ~np.isfinite(target), "not a label", "number the labels first")


class PairLoss(EmbeddingLoss):
    """The mean over all pairs of a batch; a pair weighs the product of its two weights."""

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The weighted mean over the pairs; 0 where there is none."""
        positive, negative = _relations(score, target, weight)
        near, far = self._costs(score)
        xp = namespace(far)
        cost = xp.where(positive, near, xp.where(negative, far, xp.zeros_like(far)))
        pairs = xp.where(positive | negative, weight[:, None] * weight, xp.zeros_like(cost))
        return _mean(cost, pairs, axis=(0, 1))

    def _costs(self, score: Array) -> tuple[Array, Array]:
        """What each pair costs if it is a positive one, and if it is a negative one, [n, n]."""
        raise NotImplementedError


@component
class Contrastive(PairLoss):
    """Positives are drawn together, and negatives apart until they are `margin` away.

    A larger `margin` pushes farther. Distances are Euclidean; both terms carry a factor ½. Time and
    memory grow with n² d.

    >>> import numpy as np
    >>> apart = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> float(Contrastive()(apart, np.array([7, 7])))
    12.5
    """

    margin: Positive = 1.0
    card = Card(
        formula="½ D² for positives, ½ max(0, m - D)² for negatives, mean over the pairs",
        source="Hadsell, Chopra and LeCun (2006), Dimensionality reduction, eq. 4",
        use="a map in which examples of one label lie together",
        target="embedding",
        convex=False,
        kinks="where two negatives coincide",
        search=_MARGIN,
    )

    def _costs(self, score: Array) -> tuple[Array, Array]:
        distance = _distances(score)
        return distance**2 / 2, positive_part(self.margin - distance) ** 2 / 2


@component
class Cosine(PairLoss):
    """Positives are turned together, and negatives apart until their cosine is `margin`.

    A larger `margin` lets negatives come closer. A vector of zeros has the cosine 0 with all others
    and stays where it is.

    >>> import numpy as np
    >>> float(Cosine()(np.eye(2), np.array([0, 0])))
    1.0
    """

    margin: NonNegative = 0.0
    card = Card(
        formula="1 - cos for positives, max(0, cos - m) for negatives, mean over the pairs",
        source="PyTorch, CosineEmbeddingLoss",
        use="embeddings that are compared by direction alone",
        target="embedding",
        convex=False,
        kinks="where the cosine of two negatives is m; jumps at a vector of zeros",
    )

    def _costs(self, score: Array) -> tuple[Array, Array]:
        cosine = _cosines(score)
        return 1 - cosine, positive_part(cosine - self.margin)


class AnchorLoss(EmbeddingLoss):
    """The weighted mean over the anchors that have both a positive and a negative; 0 without any.

    Each example is the anchor in its turn, and present to the others whatever its weight.
    """

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The weighted mean over the anchors."""
        xp = namespace(score)
        positive, negative = _relations(score, target, weight)
        anchor = xp.any(positive, axis=-1) & xp.any(negative, axis=-1)
        value = self._anchors(score, positive & anchor[:, None], negative & anchor[:, None])
        return _mean(value, xp.where(anchor, weight, xp.zeros_like(weight)), axis=0)

    def _anchors(self, score: Array, positive: Array, negative: Array) -> Array:
        """What each anchor costs, [n]; finite also where it has no positive and no negative."""
        raise NotImplementedError


@component
class Triplet(AnchorLoss):
    """A positive must be nearer to its anchor than a negative by `margin`.

    A larger `margin` asks for more. With `mining="hard"` each anchor meets its farthest positive
    and its nearest negative; with "semi-hard" each of its positives (their mean) meets the nearest
    negative that is farther away than it, and costs nothing where there is none. Distances are
    Euclidean, not squared. Time and memory grow with n² d, of "semi-hard" with n² (n + d).

    >>> import numpy as np
    >>> line = np.array([[0.0], [1.0], [3.0]])
    >>> float(Triplet(margin=2.0)(line, np.array([0, 0, 1])))
    0.5
    """

    margin: Positive = 1.0
    mining: Literal["hard", "semi-hard"] = "hard"
    card = Card(
        formula="max(0, m + D(anchor, positive) - D(anchor, negative))",
        source="Hermans, Beyer and Leibe (2017), eq. 5 (hard); Schroff et al. (2015), eq. 4",
        use="a map in which the nearest neighbours share the label",
        target="embedding",
        convex=False,
        kinks="where the margin is just kept, and where two distances are equal",
        search=_MARGIN,
    )

    def _anchors(self, score: Array, positive: Array, negative: Array) -> Array:
        xp = namespace(score)
        distance = _distances(score)
        none, infinite = xp.zeros_like(distance), xp.full_like(distance, math.inf)
        if self.mining == "hard":
            near = xp.max(xp.where(positive, distance, none), axis=-1)
            far = xp.min(xp.where(negative, distance, infinite), axis=-1)
            return positive_part(self.margin + near - far)
        farther = negative[:, None, :] & (distance[:, None, :] > distance[:, :, None])
        far = xp.min(xp.where(farther, distance[:, None, :], infinite[:, None, :]), axis=-1)
        cost = positive_part(self.margin + distance - far)
        return _mean(cost, to_float(positive, cost), axis=-1)


@component
class InfoNCE(AnchorLoss):
    """Each positive is to be told from the anchor's negatives by a softmax of cosines.

    With one positive for each anchor (two views of every example) this is NT-Xent. A smaller
    `temperature` looks more at the most similar negatives. Other positives are not in the
    denominator; `SupCon` has them there.

    >>> import numpy as np
    >>> views = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> float(InfoNCE(temperature=1.0)(views, np.array([0, 1, 0, 1])).round(4))
    0.5514
    """

    temperature: Positive = 0.1
    card = Card(
        formula="-log exp(s⁺/τ) / (exp(s⁺/τ) + Σ exp(s⁻/τ)), s = cos, mean over the positives",
        source="van den Oord et al. (2018), eq. 4; Chen et al. (2020), SimCLR, eq. 1",
        use="embeddings from pairs of views, without labels",
        target="embedding",
        convex=False,
        kinks="jumps at a vector of zeros",
        search=_TEMPERATURE,
    )

    def _anchors(self, score: Array, positive: Array, negative: Array) -> Array:
        similar = _cosines(score) / self.temperature
        rival = _logsumexp_of(similar, negative)
        return _mean(log1pexp(rival[:, None] - similar), to_float(positive, similar), axis=-1)


@component
class SupCon(AnchorLoss):
    """Each positive is to be told from all other examples by a softmax of cosines.

    A smaller `temperature` looks more at the most similar examples.

    >>> import numpy as np
    >>> views = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> float(SupCon(temperature=1.0)(views, np.array([0, 1, 0, 1])).round(4))
    0.5514
    """

    temperature: Positive = 0.1
    card = Card(
        formula="mean over the positives p of -log exp(s_p/τ) / Σ exp(s/τ), s = cos",
        source="Khosla et al. (2020), Supervised contrastive learning, eq. 2",
        use="embeddings from labels, with several examples of each in a batch",
        target="embedding",
        convex=False,
        kinks="jumps at a vector of zeros",
        search=_TEMPERATURE,
    )

    def _anchors(self, score: Array, positive: Array, negative: Array) -> Array:
        similar = _cosines(score) / self.temperature
        everyone = _logsumexp_of(similar, positive | negative)
        return _mean(everyone[:, None] - similar, to_float(positive, similar), axis=-1)


@component
class ArcFace(ClassLoss):
    """The cross-entropy of cosines [n, K], where the angle to the own class counts `margin` larger.

    The scores are the cosines between an embedding and K learned centres, in [-1, 1]. A larger
    `margin` (radians) asks for tighter classes, and a larger `scale` for harder probabilities.
    Where the angle θ exceeds π - m, cos(θ + m) would rise again; there cos θ - m sin m takes its
    place, as in the authors' code.

    >>> import numpy as np
    >>> float(ArcFace(margin=0.0, scale=1.0)(np.zeros((1, 2)), np.array([0])).round(4))
    0.6931
    """

    margin: NonNegative = 0.5
    scale: Positive = 64.0
    card = Card(
        formula="-log exp(s cos(θ_y + m)) / (exp(s cos(θ_y + m)) + Σ_{k≠y} exp(s cos θₖ))",
        source="Deng et al. (2019), ArcFace, eq. 3",
        use="embeddings of many classes, such as faces, that separate by angle",
        target="embedding",
        convex=False,
        kinks="where θ_y = π - m",
    )

    def value(self, score: Array, target: Array) -> Array:
        logs = log_softmax(self._logits(score, target)[0])
        xp, own = namespace(logs), self.own(score, target)
        return -xp.sum(xp.where(own, logs, xp.zeros_like(logs)), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        logits, slope = self._logits(score, target)
        p, rest = softmax_and_rest(logits)
        return slope * namespace(p).where(self.own(score, target), -rest, p)

    def response(self, score: Array) -> Array:
        """The probabilities without the margin, softmax(s cos θ)."""
        return softmax(self.scale * score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """Cosines of 0 to all of the classes 0 ... max(target): no class is preferred."""
        return np.zeros(int(np.max(target)) + 1)

    def _logits(self, score: Array, target: Array) -> tuple[Array, Array]:
        """The scaled cosines with the margin, and their slope in the cosines."""
        xp, own = namespace(score, self.margin), self.own(score, target)
        margin = self.margin + xp.zeros_like(score[..., :1])
        cosine, sine = xp.cos(margin), xp.sin(margin)
        square = (1 - score) * (1 + score)
        inside = square > xp.finfo(score.dtype).eps  # nearer to ±1 only rounding makes the slope
        root = xp.sqrt(xp.where(inside, square, xp.ones_like(square)))
        height = xp.where(inside, root, xp.zeros_like(root))
        tilt = xp.where(inside, score / root, xp.zeros_like(root))
        below = score > -cosine  # θ < π - m
        turned = xp.where(below, score * cosine - height * sine, score - margin * sine)
        slope = xp.where(own & below, cosine + tilt * sine, xp.ones_like(score))
        return self.scale * xp.where(own, turned, score), self.scale * slope


def _relations(score: Array, target: Array, weight: Array) -> tuple[Array, Array]:
    """Which pairs are positives and which are negatives, [n, n]; absent examples are in neither."""
    row = arange(target.shape[0], like=score)
    present = weight != 0
    pair = present[:, None] & present & (row[:, None] != row)
    same = target[:, None] == target
    return pair & same, pair & ~same


def _distances(x: Array) -> Array:
    """The Euclidean distances [n, n], exact also of near neighbours; slope 0 where they are 0."""
    return norm(x[:, None, :] - x[None, :, :])


def _cosines(x: Array) -> Array:
    """The cosines [n, n]."""
    direction = unit(x)
    return direction @ direction.mT


def _logsumexp_of(z: Array, chosen: Array) -> Array:
    """log Σ exp(z) over the chosen entries of each row, or of all where none is chosen."""
    xp = namespace(z)
    some = xp.any(chosen, axis=-1, keepdims=True)
    return logsumexp(xp.where(chosen | ~some, z, xp.full_like(z, -math.inf)))


def _mean(value: Array, weight: Array, axis: int | tuple[int, ...]) -> Array:
    """Σ w v / Σ w, where v counts only if w is not 0; 0 if nothing has weight."""
    xp = namespace(value)
    total = xp.sum(weight, axis=axis)
    used = xp.where(weight != 0, weight * value, xp.zeros_like(value))
    return xp.sum(used, axis=axis) / xp.where(total > 0, total, xp.ones_like(total))
