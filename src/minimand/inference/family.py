"""What a fit made of its rows, and what every family of targets can say about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from minimand.arrays import Array
from minimand.losses import Loss
from minimand.losses.regression import ResidualLoss


@dataclass(frozen=True)
class FittedRows:
    """What a fit made of its rows: targets, scores, weights.

    `count` is how many observations they stand for, `frequency` whether a weight says how often a
    row was seen.
    """

    target: Array
    score: Array
    weight: Array
    offset: Array
    count: float
    frequency: bool

    @property
    def repeats(self) -> Array:
        """How often each row was observed."""
        return self.weight if self.frequency else np.ones_like(self.weight)


class Family:
    """The statistics of one loss; `unit` times the loss is -φ log p, less terms of the target."""

    name: str
    unit: float = 1.0
    dispersed = False  # whether φ is estimated, by Pearson's χ² / (n - p)
    likelihood = True
    student = False  # whether statistics follow Student's t, else the normal distribution
    studentised: tuple[str, ...] = ("observed", "expected")  # the covariances for which it is so
    smooth = True  # whether the gradient is 0 at the minimum
    endless = False  # whether a score may run to infinity while the loss still falls

    def __init__(self, loss: Loss):
        self.loss = loss

    def check(self) -> None:
        """Raise `ArgumentError` if the loss has settings that no likelihood has."""

    def gradient(self, rows: FittedRows) -> Array:
        """∂/∂score of `unit` times the loss: [n], or [n, K - 1] for scores beside class 0's."""
        return self.unit * self.loss.gradient(rows.score, rows.target)

    def curvature(self, rows: FittedRows) -> Array:
        """The observed information of each row: [n], or [n, K - 1, K - 1]."""
        return self.unit * self.loss.curvature(rows.score, rows.target)

    def bread(self, rows: FittedRows, kind: str) -> Array:
        """The information of each row that a sandwich of that kind inverts."""
        return self.curvature(rows)

    def expected(self, rows: FittedRows) -> Array:
        """The expected information of each row; the observed one where the two agree."""
        return self.curvature(rows)

    def modelled(self, rows: FittedRows) -> Array:
        """The information of each row that the model-based covariance inverts."""
        return self.curvature(rows)

    def factor(self, rows: FittedRows, df: float) -> float:
        """What the inverted information is multiplied by: the dispersion φ."""
        return self.pearson(rows) / df if self.dispersed else 1.0

    def counted(self, rows: FittedRows) -> bool:
        """Whether targets are counts whose variance the family fixes."""
        return False

    def mean(self, rows: FittedRows) -> Array:
        """The mean of every target."""
        return self.loss.response(rows.score)

    def variance(self, mean: Array) -> Array:
        """The variance of a target with that mean, for φ = 1."""
        raise NotImplementedError

    def pearson(self, rows: FittedRows) -> float:
        """Pearson's χ²: Σ w (y - μ)² / V(μ)."""
        mean = self.mean(rows)
        return float(rows.weight @ (np.square(rows.target - mean) / self.variance(mean)))

    def cost(self, rows: FittedRows) -> float:
        """Σ w times the loss, in units of -φ log p."""
        return float(rows.weight @ (self.unit * self.loss.value(rows.score, rows.target)))

    def least(self, target: Array) -> Array:
        """The least loss of every target, at a score of its own: the saturated model."""
        return 0.0 * target

    def deviance(self, rows: FittedRows) -> float:
        """2 Σ w (ℓ - the least ℓ); for a loss without likelihood Σ w ℓ."""
        if not self.likelihood:
            return self.cost(rows)
        spare = self.loss.value(rows.score, rows.target) - self.least(rows.target)
        return float(2 * self.unit * (rows.weight @ spare))

    def log_likelihood(self, rows: FittedRows, dispersion: float) -> float:
        """The log-likelihood at that dispersion; a precision weight divides the dispersion."""
        if rows.frequency:
            return float(
                rows.weight @ self.log_density(rows, np.full(len(rows.weight), dispersion))
            )
        return float(np.sum(self.log_density(rows, dispersion / rows.weight)))

    def log_density(self, rows: FittedRows, dispersion: Array) -> Array:
        """log p of every target."""
        cost = self.unit * self.loss.value(rows.score, rows.target)
        return -(cost + self.dropped(rows.target)) / dispersion

    def dropped(self, target: Array) -> Array:
        """The terms of -log p that the loss leaves out."""
        return 0.0 * target

    def null(self, rows: FittedRows, constant: bool) -> Array:
        """The scores of the model with nothing but a constant (and the offset)."""
        loss, target, offset, weight = self.loss, rows.target, rows.offset, rows.weight
        if isinstance(loss, ResidualLoss):
            return offset + loss.constant(target - offset, weight)
        start = loss.constant(target, weight) - np.average(offset, weights=weight)
        if not np.any(offset):
            return offset + start

        def slope(constant: float) -> float:
            return float(weight @ loss.gradient(offset + constant, target))

        reach = 1.0
        while slope(start - reach) > 0 or slope(start + reach) < 0:
            reach *= 2
        return offset + optimize.brentq(slope, start - reach, start + reach, xtol=1e-13)
