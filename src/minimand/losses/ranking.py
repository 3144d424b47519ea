"""Losses of a ranked list: scores [q, m] of the m items of q queries, and their relevance [q, m].

Lists of unequal length are padded (`pad_groups`) and the padding is masked. Every query counts
once, whatever its length. An item's weight counts relative to the other items of its list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minimand.arrays import (
    Array,
    arange,
    asarray,
    log1pexp,
    log_softmax,
    logsumexp,
    namespace,
    sigmoid,
    softmax,
    to_float,
)
from minimand.component import Card, component
from minimand.errors import ShapeError
from minimand.losses.base import JointLoss, reject

ABSENT = -1e30
"""A score so low that its exponential is 0; unlike -∞ it keeps derivatives finite."""


def pad_groups(values: Array, group_sizes: Sequence[int] | Array) -> tuple[Array, Array]:
    """Rows of consecutive groups as one padded array, and the mask of what is not padding.

    Args:
        values: [n, ...], the rows of the first group, then those of the second ...
        group_sizes: [q] whole numbers whose sum is n (the "query file" of LightGBM and XGBoost).

    Returns:
        [q, m, ...] with 0 beyond each group's end, m being the largest size, and a mask [q, m].
        Both belong to the library of `values`, and derivatives pass through.

    Raises:
        ShapeError: the sizes do not add up to n.

    >>> padded, mask = pad_groups(np.array([3.0, 1.0, 2.0]), [1, 2])
    >>> padded.tolist(), mask.tolist()
    ([[3.0, 0.0], [1.0, 2.0]], [[True, False], [True, True]])
    """
    sizes = np.asarray(group_sizes)
    if np.any(sizes < 0) or sizes.sum() != values.shape[0]:
        raise ShapeError(
            f"group_sizes add up to {sizes.sum()}, but values have {values.shape[0]} rows; "
            f"give the number of rows of every group, in order"
        )
    xp = namespace(values)
    within = np.arange(sizes.max())
    inside = within < sizes[:, None]
    rows = np.where(inside, within + (np.cumsum(sizes) - sizes)[:, None], 0)
    taken = xp.take(values, asarray(rows.ravel(), values), axis=0)
    padded = xp.reshape(taken, rows.shape + tuple(values.shape[1:]))
    mask = asarray(inside, values)
    kept = xp.reshape(mask, rows.shape + (1,) * (len(values.shape) - 1))
    return xp.where(kept, padded, xp.zeros_like(padded)), mask


class RankingLoss(JointLoss):
    """A loss of one list, which a common shift of its scores leaves as it is."""

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """0: a constant ranks nothing, so that all are equally good."""
        return 0.0

    def check_target(self, target: Array) -> None:
        """Every relevance must be a finite number that is not negative."""
        target = np.asarray(target)
        bad = ~((target >= 0) & np.isfinite(target))
        reject(self, target, bad, "not a relevance 0, 1, 2, ...", "grade the items from 0 upwards")


class PairwiseRanking(RankingLoss):
    """Σ cᵢⱼ log(1 + exp(zⱼ - zᵢ)) over the pairs in which i is more relevant; subclasses give c."""

    def pairs(self, score: Array, target: Array, weight: Array) -> Array:
        """cᵢⱼ, [q, m, m]: what the pair (i, j) counts, 0 unless i is more relevant than j."""
        raise NotImplementedError

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The weighted sum of the pairs' logistic losses, for each list."""
        counts = self.pairs(score, to_float(target, score), relative(weight))
        return namespace(score).sum(counts * log1pexp(-_ahead(score)), axis=(-2, -1))

    def gradient(self, score: Array, target: Array) -> Array:
        """The pull of every pair (the "lambda"), summed over an item's pairs."""
        xp = namespace(score)
        whole = self._used(score, target, None, None)
        pull = self.pairs(score, to_float(target, score), whole) * sigmoid(-_ahead(score))
        return xp.sum(pull, axis=-2) - xp.sum(pull, axis=-1)


@component
class RankNet(PairwiseRanking):
    """The logistic loss of every pair of items of unequal relevance, averaged over the pairs.

    Equally relevant items form no pair; a list without pairs costs 0. A pair weighs the product of
    its items' weights. Multiply by the number of pairs for the sum that some libraries use.

    >>> import numpy as np
    >>> float(RankNet()(np.array([[0.0, 0.0, 800.0]]), np.array([[1, 0, 1]])).round(4))
    0.3466
    """

    card = Card(
        formula="mean of log(1 + exp(zⱼ - zᵢ)) over the pairs with yᵢ > yⱼ",
        source="Burges et al. (2005), Learning to rank using gradient descent, section 3, σ = 1",
        use="the order of items, every inversion counting the same",
        target="relevance",
        convex=True,
    )

    def pairs(self, score: Array, target: Array, weight: Array) -> Array:
        both = _better(target) * weight[..., :, None] * weight[..., None, :]
        return _share(both, namespace(both).sum(both, axis=(-2, -1), keepdims=True))


@component
class LambdaRank(PairwiseRanking):
    """RankNet's pairs, each counting as much as exchanging its two items would change the NDCG.

    The gain of relevance y is 2^y - 1 and the discount at rank r is 1 / log₂(1 + r). Items of equal
    score rank in the order given, so that training can start from equal scores. What a pair counts
    is a constant to every derivative; a list without pairs costs 0.

    >>> import numpy as np
    >>> float(LambdaRank()(np.array([[2.0, 1.0, 0.0]]), np.array([[0, 1, 2]])).round(4))
    1.1069
    """

    card = Card(
        formula="Σ |ΔNDCGᵢⱼ| log(1 + exp(zⱼ - zᵢ)) over the pairs with yᵢ > yⱼ",
        source="Burges (2010), From RankNet to LambdaRank to LambdaMART, section 4, with σ = 1",
        use="the order of items, the top of the list counting most (NDCG)",
        target="relevance",
        convex=False,
        kinks="jumps where two scores meet",
    )

    def pairs(self, score: Array, target: Array, weight: Array) -> Array:
        xp = namespace(score)
        present = weight > 0
        top = xp.max(target, axis=-1, keepdims=True)
        gain = xp.exp((target - top) * math.log(2)) - xp.exp(-top * math.log(2))  # × 2^top
        ideal = xp.sum(gain * discount(target, present), axis=-1, keepdims=True)
        swap = xp.abs(_ahead(gain) * _ahead(discount(score, present)))
        both = _better(target) * weight[..., :, None] * weight[..., None, :]
        return _share(swap * both, ideal[..., None])


@component
class ListNet(RankingLoss):
    """The cross-entropy between two chances of being first: softmax of relevance and of scores.

    The least value is the entropy of softmax(relevance), not 0. A list of equal relevance asks for
    equal scores. An item's weight multiplies its chance under the relevance.

    >>> import numpy as np
    >>> float(ListNet()(np.array([[0.0, 0.0]]), np.array([[3, 0]])).round(4))
    0.6931
    """

    card = Card(
        formula="-Σⱼ softmax(y)ⱼ log softmax(z)ⱼ",
        source="Cao et al. (2007), Learning to rank: from pairwise to listwise approach, section 4",
        use="the items at the top, with smooth and cheap steps",
        target="relevance",
        convex=True,
        lipschitz=math.sqrt(2),
        curvature=0.5,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The cross-entropy over the items of each list."""
        xp = namespace(score)
        score = xp.where(weight > 0, score, xp.full_like(score, ABSENT))
        return -xp.sum(_first(to_float(target, score), weight) * log_softmax(score), axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """softmax(score) - softmax(target), within each list."""
        return softmax(score) - softmax(to_float(target, score))


@component
class ListMLE(RankingLoss):
    """The negative log-likelihood of the order by relevance, items being drawn one after another.

    Each item competes with those that are less relevant (Plackett and Luce's model). Equally
    relevant items do not compete with each other, so that their order is left open and a list of
    equal relevance costs 0.

    >>> import numpy as np
    >>> float(ListMLE()(np.zeros((1, 3)), np.array([[2, 1, 0]])).round(4))  # log 3!
    1.7918
    """

    card = Card(
        formula="Σᵢ log(1 + Σ exp(zⱼ - zᵢ) over the j with yⱼ < yᵢ)",
        source="Xia et al. (2008), Listwise approach to learning to rank, the likelihood loss",
        use="the whole order of a list",
        target="relevance",
        convex=True,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The sum over the items of each list."""
        terms = log1pexp(logsumexp(self._rivals(score, target, weight)))
        return namespace(score).sum(relative(weight) * terms, axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """The chance that each item wins a draw it should lose, less that it loses its own."""
        xp = namespace(score)
        rivals = self._rivals(score, target, self._used(score, target, None, None))
        lost = xp.exp(rivals - log1pexp(logsumexp(rivals))[..., None])
        return xp.sum(lost, axis=-2) - xp.sum(lost, axis=-1)

    def _rivals(self, score: Array, target: Array, weight: Array) -> Array:
        """zⱼ - zᵢ where j is present and less relevant than i, [q, m, m]."""
        xp = namespace(score)
        rival = (_better(to_float(target, score)) > 0) & (weight[..., None, :] > 0)
        return xp.where(rival, -_ahead(score), xp.full_like(score[..., None], ABSENT))


def relative(weight: Array) -> Array:
    """Weights divided by their mean over the items that are present."""
    xp = namespace(weight)
    present = xp.astype(weight > 0, weight.dtype)
    count, total = (xp.sum(w, axis=-1, keepdims=True) for w in (present, weight))
    return _share(weight * count, total)


def discount(key: Array, present: Array) -> Array:
    """1 / log₂(1 + rank) in each list sorted by descending key, 0 for an item that is absent.

    >>> discount(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]])).round(3).tolist()
    [[0.631, 1.0, 0.0]]
    """
    xp = namespace(key)
    place = arange(key.shape[-1], key)
    mine, other = key[..., :, None], key[..., None, :]
    before = (other > mine) | ((other == mine) & (place[None, :] < place[:, None]))
    rank = 1 + xp.sum(xp.astype(before & present[..., None, :], key.dtype), axis=-1)
    return xp.where(present, math.log(2) / xp.log1p(rank), xp.zeros_like(key))


def _first(target: Array, weight: Array) -> Array:
    """The chance of every item to be first: w exp(y) / Σ w exp(y)."""
    chance = weight * softmax(target)
    return _share(chance, namespace(chance).sum(chance, axis=-1, keepdims=True))


def _ahead(z: Array) -> Array:
    """zᵢ - zⱼ, [q, m, m]."""
    return z[..., :, None] - z[..., None, :]


def _better(target: Array) -> Array:
    """1 where item i is more relevant than item j, else 0, [q, m, m]."""
    return namespace(target).astype(_ahead(target) > 0, target.dtype)


def _share(part: Array, whole: Array) -> Array:
    """part / whole, and 0 where the whole is 0."""
    xp = namespace(part)
    return xp.where(whole > 0, part / xp.where(whole > 0, whole, xp.ones_like(whole)), 0 * part)
