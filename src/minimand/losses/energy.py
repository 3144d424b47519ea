"""Losses of models that give every state an energy."""

from __future__ import annotations

import math

from minimand.arrays import Array, namespace, square_zeros
from minimand.component import Card, component
from minimand.losses.base import Loss


@component
class ContrastiveDivergence(Loss):
    """How much higher the free energy of the data is than that of the model's own samples.

    The score [n, 2] holds the free energy of a row, and that of a sample of the model, which counts
    as a constant: the gradient is then that of -log p(row), as well as the samples can tell. The
    value itself says little. The target is not looked at, whatever its columns.

    >>> import numpy as np
    >>> ContrastiveDivergence().value(np.array([[3.0, 1.0]]), np.zeros(1)).tolist()
    [2.0]
    """

    score_axes = 1
    scores = ("data", "model")
    card = Card(
        formula="F(v) - F(ṽ)",
        source="Hinton (2002), Training products of experts by minimizing contrastive divergence, "
        "eq. 7",
        use="Boltzmann machines",
        target="none",
        convex=True,
        lipschitz=math.sqrt(2),
    )

    def value(self, score: Array, target: Array) -> Array:
        return score[..., 0] - score[..., 1]

    def gradient(self, score: Array, target: Array) -> Array:
        """1 for the data and -1 for the model, [n, 2]."""
        xp = namespace(score)
        ones = xp.ones_like(score[..., 0])
        return xp.stack([ones, -ones], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """Zeros, [n, 2, 2]."""
        return square_zeros(score)

    def check_target(self, target: Array) -> None:
        """Any target will do."""

    def _columns(self, score: Array, target: Array) -> int:
        return len(target.shape) - len(score.shape) + 1
