"""Losses of a sequence whose alignment with its labels is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from minimand.arrays import Array, arange, log_add, log_softmax, logsumexp, namespace, pick
from minimand.component import Card, Interval, component
from minimand.errors import ArgumentError
from minimand.losses.base import Loss, reject

IMPOSSIBLE = -1e30
"""The log-probability of what cannot be; unlike -∞ it keeps derivatives finite."""


def sequence_target(labels: Sequence[Sequence[int]], frames: Sequence[int] | Array) -> Array:
    """The target of `CTC`: [n, 1 + L], the number of frames and then the labels, padded with -1.

    Args:
        labels: n sequences of class indices, of any length; L is the largest.
        frames: [n], how many of the T frames of each score belong to the sequence.

    >>> sequence_target([[2, 1], [3]], frames=[5, 4]).tolist()
    [[5, 2, 1], [4, 3, -1]]
    """
    if len(labels) != len(frames):
        raise ArgumentError(
            f"{len(labels)} label sequences and {len(frames)} frame counts; give one count for each"
        )
    target = np.full((len(labels), 1 + max(map(len, labels), default=0)), -1, dtype=np.int32)
    target[:, 0] = frames
    for row, sequence in zip(target, labels, strict=True):
        row[1 : 1 + len(sequence)] = sequence
    return target


@component
class CTC(Loss):
    """The negative log-probability of a label sequence, summed over all its alignments.

    Score: [n, T, K], the scores of K classes, of which `blank` separates labels, at T frames.
    Target: [n, 1 + L], the number of frames that count and then the labels, padded with -1
    (`sequence_target` makes it). The value is not divided by the number of labels. Labels that
    need more frames than there are cost ∞, with zero gradient; a row of no frames costs 0, and one
    with a label that is none of the K classes NaN. All derivatives exist, to any order.

    >>> import numpy as np
    >>> target = sequence_target([[1]], frames=[2])  # 1 1, 1 -, - 1: three paths of four
    >>> float(CTC()(np.zeros((1, 2, 2)), target).round(4))
    0.2877
    """

    score_axes = 2
    target_axes = 1
    blank: Annotated[int, Interval(0)] = 0
    card = Card(
        formula="-log Σ Πₜ softmax(zₜ)[πₜ] over the paths π that collapse to the labels",
        source="Graves et al. (2006), Connectionist temporal classification, eq. 6 to 8",
        use="speech and handwriting, where nobody says which frame bears which label",
        target="sequence",
        convex=False,
    )

    def value(self, score: Array, target: Array) -> Array:
        """The forward recursion over frames, in log space; one value for each sequence."""
        xp = namespace(score)
        target = xp.astype(target, arange(0, score).dtype)
        frames, labels = target[..., 0], target[..., 1:]
        states = self._states(target, score.shape[-1])
        # States lead and sequences trail, so that every step is a few passes over long rows.
        emitted = xp.moveaxis(pick(log_softmax(score), states), (-2, -1), (0, 1))
        states = xp.moveaxis(states, -1, 0)
        place = xp.reshape(arange(states.shape[0], score), (-1, *(1,) * len(frames.shape)))
        never = xp.full_like(emitted[0, ...], IMPOSSIBLE)
        skips = (place % 2 == 1) & (states != _later(states, 2, states))

        path = xp.where(place == 0, xp.zeros_like(never), never)
        for t in range(score.shape[-2]):
            before = (path, _later(path, 1, never), xp.where(skips, _later(path, 2, never), never))
            path = xp.where(t < frames, log_add(*before) + emitted[t, ...], path)

        last = 2 * xp.sum(xp.astype(labels >= 0, place.dtype), axis=-1)
        ends = xp.where((place == last) | (place == last - 1), path, never)
        total = logsumexp(xp.moveaxis(ends, 0, -1))
        cost = xp.where(total > 0.5 * IMPOSSIBLE, -total, xp.full_like(total, xp.inf))
        cost = xp.where(frames > 0, cost, xp.zeros_like(cost))
        return xp.where(xp.all(labels < score.shape[-1], axis=-1), cost, xp.full_like(cost, xp.nan))

    def check_target(self, target: Array) -> None:
        """Every row must hold labels other than the blank, and frames enough to bear them."""
        target = np.asarray(target)
        frames, labels = target[:, 0], target[:, 1:]
        ended = np.cumsum(labels < 0, axis=-1) > 0
        bad = np.where(ended, labels >= 0, (labels == self.blank) | (labels != np.floor(labels)))
        first = labels[np.arange(len(labels)), np.argmax(bad, axis=-1)] if labels.size else frames
        what = f"not a label (a class index other than the blank, {self.blank}, then padding)"
        reject(self, first, bad.any(axis=-1), what, "remove blanks and pad with -1 at the end")
        repeats = np.sum((labels[:, 1:] == labels[:, :-1]) & ~ended[:, 1:], axis=-1)
        needed = np.sum(~ended, axis=-1) + repeats
        what = "the number of frames, fewer than its labels and repeats"
        reject(self, frames, ~(frames >= np.maximum(needed, 1)), what, "drop or lengthen that row")

    def _states(self, target: Array, classes: int) -> Array:
        """The labels with a blank before, between and after them, [n, 1 + 2 L]."""
        xp = namespace(target)
        labels, blank = target[..., 1:], xp.full_like(target, self.blank)
        known = xp.where((labels >= 0) & (labels < classes), labels, blank[..., 1:])
        pairs = xp.stack((known, blank[..., 1:]), axis=-1)
        flat = xp.reshape(pairs, (*labels.shape[:-1], 2 * labels.shape[-1]))
        return xp.concat((blank[..., :1], flat), axis=-1)


def _later(path: Array, by: int, fill: Array) -> Array:
    """Every entry moved `by` states on; the first ones come from `fill`."""
    kept = path[: max(path.shape[0] - by, 0), ...]
    return namespace(path).concat((fill[:by, ...], kept), axis=0)
