"""Losses of a sequence whose alignment with its labels is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from minimand.arrays import Array, arange, log_add, log_softmax, namespace, pick, scan
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
        known = (labels >= 0) & (labels < score.shape[-1])
        last = xp.sum(xp.astype(labels >= 0, labels.dtype), axis=-1)
        classes = xp.where(known, labels, xp.full_like(labels, self.blank))
        silent, spoken = self._emissions(score, frames, classes)

        # States lead and sequences trail, so that every step is a few passes over long rows.
        classes = xp.moveaxis(classes, -1, 0)
        previous = xp.concat((xp.zeros_like(frames)[None, ...], classes), axis=0)[:-1, ...]
        never = xp.full_like(frames, IMPOSSIBLE, dtype=spoken.dtype)[None, ...]
        unspoken = xp.full_like(classes, IMPOSSIBLE, dtype=spoken.dtype)

        def step(paths: tuple[Array, Array], silent: Array, spoken: Array) -> tuple[Array, Array]:
            """The paths that end in each blank and in each label, one frame later."""
            blank, label = paths
            before = xp.concat((never, label), axis=0)
            skip = xp.where(classes == previous, never, before[:-1, ...])
            return (
                log_add(blank, before) + silent,
                log_add(label, blank[:-1, ...], skip) + spoken,
            )

        start = xp.concat((xp.zeros_like(never), unspoken), axis=0)
        blank, label = scan(step, (start, unspoken), silent, spoken)
        ends = log_add(blank, xp.concat((never, label), axis=0))
        place = xp.reshape(arange(ends.shape[0], score), (-1, *(1,) * len(frames.shape)))
        total = xp.sum(xp.where(place == last, ends, xp.zeros_like(ends)), axis=0)
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

    def _emissions(self, score: Array, frames: Array, classes: Array) -> tuple[Array, Array]:
        """log p of the blank, [T, n], and of each label, [T, L, n], at every frame.

        A frame beyond the count says blank for certain, which changes no path's probability.
        """
        xp = namespace(score)
        counts = arange(score.shape[-2], score)[:, None] < frames[..., None, None]
        others = xp.astype(arange(score.shape[-1], score) != self.blank, score.dtype)
        logs = log_softmax(xp.where(counts, score, IMPOSSIBLE * others))
        silent, spoken = logs[..., self.blank], pick(logs, classes)
        return xp.moveaxis(silent, -1, 0), xp.moveaxis(spoken, (-2, -1), (0, 1))
