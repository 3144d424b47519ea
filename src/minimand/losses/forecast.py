"""Losses of a forecast: a distribution, given by parameters, quantiles or points, against a fact.

All are proper: their expectation is least where the forecast is the truth.
"""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import (
    Array,
    arange,
    as_like,
    logsumexp,
    namespace,
    norm,
    positive_part,
    special,
    to_float,
    unit,
)
from minimand.component import Card, Count, OpenFraction, Positive, component
from minimand.errors import ShapeError
from minimand.losses.base import JointLoss, Loss, reject
from minimand.losses.regression import weighted_quantile

ABSENT = -1e30
"""The log of no mass; unlike -∞ it keeps derivatives finite."""


class ForecastLoss(Loss):
    """A loss of several scores, a forecast, and one real target."""

    score_axes = 1

    def check_target(self, target: Array) -> None:
        """Every target must be a finite number."""
        reject(self, target, ~np.isfinite(target), "not a finite number", "drop or repair that row")


@component
class CRPSGaussian(ForecastLoss):
    """The continuous ranked probability score of a normal forecast, in the target's unit.

    Score: [n, 2], the mean and the log of the variance. With a certain forecast it is the absolute
    error, and no outlier pulls harder than at a distance of a few standard deviations.

    >>> import numpy as np
    >>> float(CRPSGaussian()(np.array([[1.0, 0.0]]), np.array([1.0])).round(4))
    0.2337
    """

    scores = ("mean", "log_variance")
    card = Card(
        formula="σ (ω (2 Φ(ω) - 1) + 2 φ(ω) - 1/√π) with ω = (y - μ) / σ and σ² = exp(λ)",
        source="Gneiting et al. (2005), Calibrated probabilistic forecasting using ensemble model "
        "output statistics and minimum CRPS estimation, eq. 5",
        use="a mean and its uncertainty, less at the mercy of outliers than the likelihood",
        target="distribution",
        convex=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        r, sigma, _, sure, density = self._parts(score, target)
        return r * sure + sigma * (2 * density - 1 / math.sqrt(math.pi))

    def gradient(self, score: Array, target: Array) -> Array:
        """(1 - 2 Φ(ω), σ (φ(ω) - ½/√π)), [n, 2]."""
        _, sigma, _, sure, density = self._parts(score, target)
        wider = sigma * (density - 0.5 / math.sqrt(math.pi))
        return namespace(score).stack((-sure, wider), axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """The block of second derivatives, [n, 2, 2]."""
        xp = namespace(score)
        _, sigma, omega, _, density = self._parts(score, target)
        mixed = density * omega
        wider = 0.5 * sigma * (density * (1 + omega * omega) - 0.5 / math.sqrt(math.pi))
        rows = xp.stack((2 * density / sigma, mixed), axis=-1), xp.stack((mixed, wider), axis=-1)
        return xp.stack(rows, axis=-2)

    def response(self, score: Array) -> Array:
        """The mean, [n]."""
        return score[..., 0]

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best mean and log variance, by quasi-Newton descent from the sample's own."""
        from scipy.optimize import minimize

        target = np.asarray(target, dtype=float)
        mean = np.average(target, weights=weight)
        variance = np.average((target - mean) ** 2, weights=weight)
        scale = math.sqrt(variance) if variance > 0 else max(abs(mean), 1.0)
        scaled = (target - mean) / scale
        least = -50.0  # all targets equal: the best variance is 0

        def cost(score: Array) -> tuple[Array, Array]:
            rows = np.broadcast_to(score, (len(target), 2))
            return (
                np.average(self.value(rows, scaled), weights=weight),
                np.average(self.gradient(rows, scaled), axis=0, weights=weight),
            )

        bounds = [(None, None), (least, 5.0)]
        best = minimize(cost, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-14).x
        return np.array([mean + scale * best[0], best[1] + 2 * math.log(scale)])

    def _parts(self, score: Array, target: Array) -> tuple[Array, Array, Array, Array, Array]:
        """r = y - μ, σ, ω = r/σ (cut at ±40, where φ(ω) is 0), 2 Φ(ω) - 1 and φ(ω)."""
        xp = namespace(score)
        sigma = xp.exp(0.5 * score[..., 1])
        r = to_float(target, score) - score[..., 0]
        far = xp.abs(r) > 40 * sigma
        omega = xp.where(far, 40 * xp.sign(r), r / xp.where(far, xp.ones_like(sigma), sigma))
        density = xp.exp(-0.5 * omega * omega) / math.sqrt(2 * math.pi)
        return r, sigma, omega, special("erf", omega / math.sqrt(2)), density


@component
class CRPSEnsemble(ForecastLoss):
    """The continuous ranked probability score of M equally likely members [n, M], in any order.

    With `fair` the spread is that of a sample from the forecast (an unbiased estimate; it needs 2
    members or more), else that of the members as they are.

    >>> import numpy as np
    >>> float(CRPSEnsemble()(np.array([[0.0, 2.0]]), np.array([1.0])))
    0.5
    """

    fair: bool = False
    card = Card(
        formula="1/M Σᵢ |xᵢ - y| - 1/(2 M²) Σᵢⱼ |xᵢ - xⱼ|  (fair: M (M - 1) for M²)",
        source="Gneiting and Raftery (2007), Strictly proper scoring rules, eq. 21; "
        "Ferro (2014), Fair scores for ensemble forecasts",
        use="networks that draw samples, weather ensembles, bagged predictions",
        target="distribution",
        convex=False,
        lipschitz=1.0,
        kinks="where a member meets the target or another member",
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        xp = namespace(score)
        r = score - to_float(target, score)[..., None]
        spread = xp.sum(self._pull(score) * xp.sort(r, axis=-1), axis=-1)
        return xp.mean(xp.abs(r), axis=-1) - spread

    def gradient(self, score: Array, target: Array) -> Array:
        """sign(xᵢ - y) / M less the pull of the members' spread, [n, M]."""
        xp = namespace(score)
        rank = xp.argsort(xp.argsort(score, axis=-1), axis=-1)
        sign = xp.sign(score - to_float(target, score)[..., None])
        pull = xp.broadcast_to(self._pull(score), score.shape)
        return sign / score.shape[-1] - xp.take_along_axis(pull, rank, axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        """0 in every entry, [n, M, M]."""
        return namespace(score).zeros_like(score[..., :, None] + score[..., None, :])

    def _pull(self, score: Array) -> Array:
        """∂/∂xᵢ of the mean spread, for the members in ascending order, [M]."""
        xp = namespace(score)
        members = score.shape[-1]
        if members <= self.fair:
            raise ShapeError("CRPSEnsemble: 1 member a row; the fair score needs 2 or more")
        rank = xp.astype(arange(members, score), score.dtype)
        return (2 * rank + 1 - members) / (members * (members - self.fair))


@component
class CRPSQuantile(ForecastLoss):
    """The continuous ranked probability score by quantiles [n, L]: twice their mean loss.

    It approaches the score of the whole distribution as the `levels` fill (0, 1) evenly. A level
    says which share of the targets should lie below its column.

    >>> import numpy as np
    >>> loss = CRPSQuantile(levels=(0.25, 0.75))
    >>> float(loss(np.array([[0.0, 2.0]]), np.array([1.0])))
    0.5
    """

    levels: tuple[OpenFraction, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    card = Card(
        formula="2/L Σₗ max(τₗ (y - xₗ), (1 - τₗ) (xₗ - y))",
        source="Laio and Tamea (2007), Verification tools for probabilistic forecasts, eq. 3; "
        "Gneiting and Raftery (2007), section 6",
        use="the whole conditional distribution without assuming its form",
        target="distribution",
        convex=True,
        kinks="where a quantile meets the target",
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        r, level = self._parts(score, target)
        terms = level * positive_part(-r) + (1 - level) * positive_part(r)
        return 2 * namespace(score).mean(terms, axis=-1)

    def gradient(self, score: Array, target: Array) -> Array:
        """2/L times the slope of every quantile's loss, [n, L]."""
        xp = namespace(score)
        r, level = self._parts(score, target)
        slope = xp.where(r > 0, 1 - level, xp.where(r < 0, -level, xp.zeros_like(r)))
        return 2 * slope / len(self.levels)

    def curvature(self, score: Array, target: Array) -> Array:
        """0 in every entry, [n, L, L]."""
        return namespace(score).zeros_like(score[..., :, None] + score[..., None, :])

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The quantiles of the targets, [L]."""
        return np.array([weighted_quantile(target, level, weight) for level in self.levels])

    def _parts(self, score: Array, target: Array) -> tuple[Array, Array]:
        """The residuals [n, L] and the levels [L]."""
        if score.shape[-1] != len(self.levels):
            raise ShapeError(
                f"CRPSQuantile: {score.shape[-1]} scores a row for {len(self.levels)} levels; "
                f"it needs one score for each level"
            )
        level = as_like(np.asarray(self.levels), score)
        return score - to_float(target, score)[..., None], level


@component
class EnergyScore(Loss):
    """The CRPS of several numbers at once: M points [n, M, d] against one vector [n, d].

    For d = 1 it is `CRPSEnsemble` without `fair`.

    >>> import numpy as np
    >>> float(EnergyScore()(np.array([[[3.0, 0.0], [0.0, 4.0]]]), np.zeros((1, 2))))
    2.25
    """

    score_axes = 2
    target_axes = 1
    card = Card(
        formula="1/M Σᵢ ‖xᵢ - y‖ - 1/(2 M²) Σᵢⱼ ‖xᵢ - xⱼ‖",
        source="Gneiting and Raftery (2007), Strictly proper scoring rules, eq. 22 with β = 1",
        use="paths, wind vectors, any target whose parts depend on each other",
        target="distribution",
        convex=False,
        kinks="where a point meets the target or another point",
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        xp = namespace(score)
        miss, apart = self._differences(score, target)
        spread = xp.mean(norm(apart), axis=(-2, -1))
        return xp.mean(norm(miss), axis=-1) - 0.5 * spread

    def gradient(self, score: Array, target: Array) -> Array:
        """The mean direction from the target, less that from the other points, [n, M, d]."""
        miss, apart = self._differences(score, target)
        away = namespace(score).mean(unit(apart), axis=-2)
        return (unit(miss) - away) / score.shape[-2]

    def check_target(self, target: Array) -> None:
        """Every entry of a target must be a finite number."""
        _reject_rows(self, target)

    def _differences(self, score: Array, target: Array) -> tuple[Array, Array]:
        """xᵢ - y, [n, M, d], and xᵢ - xⱼ, [n, M, M, d]."""
        _same_dimension(self, score, target)
        miss = score - to_float(target, score)[..., None, :]
        return miss, miss[..., :, None, :] - miss[..., None, :, :]


@component
class SinkhornDivergence(JointLoss):
    """The entropic cost of moving one cloud of m points [m, d] onto another; 0 for the same cloud.

    Score and target: [m, d], or [n, m, d] for n pairs of clouds. The point i of either cloud has
    mass `weight[i]`, equal by default. As `epsilon` (in squared units of the points) falls to 0 the
    divergence tends to half the squared Wasserstein-2 distance, and as it grows to half the squared
    distance of the means; a smaller `epsilon` needs more `iterations`.

    >>> import numpy as np
    >>> cloud = np.array([[0.0], [1.0]])
    >>> float(SinkhornDivergence()(cloud + 2.0, cloud).round(4))
    2.0
    """

    score_axes = 1
    target_axes = 1
    epsilon: Positive = 0.1
    iterations: Count = 100
    card = Card(
        formula="W(x, y) - ½ W(x, x) - ½ W(y, y); W = min Σ Pᵢⱼ ½ ‖xᵢ - yⱼ‖² + ε KL(P, a bᵀ)",
        source="Feydy et al. (2019), Interpolating between optimal transport and MMD, eq. 3",
        use="generated samples against real ones; histograms and shapes as clouds of points",
        target="distribution",
        convex=False,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        """The divergence of every pair of clouds."""
        _same_dimension(self, score, target)
        target = to_float(target, score)
        cross = self._transport(score, target, weight)
        return cross - 0.5 * (
            self._transport(score, score, weight) + self._transport(target, target, weight)
        )

    def check_target(self, target: Array) -> None:
        """Every coordinate must be a finite number."""
        _reject_rows(self, target)

    def _transport(self, x: Array, y: Array, weight: Array) -> Array:
        """W(x, y) by the dual potentials f and g after the given number of Sinkhorn iterations."""
        xp = namespace(x)
        total = xp.sum(weight, axis=-1, keepdims=True)
        mass = weight / xp.where(total > 0, total, xp.ones_like(total))
        present = mass > 0
        log_mass = xp.log(xp.where(present, mass, xp.ones_like(mass)))
        log_mass = xp.where(present, log_mass, xp.full_like(mass, ABSENT))
        difference = x[..., :, None, :] - y[..., None, :, :]
        cost = 0.5 * xp.sum(difference * difference, axis=-1)
        back = xp.matrix_transpose(cost)
        f = xp.zeros_like(mass)
        for _ in range(self.iterations):
            g = self._soft_least(back, f, log_mass)
            f = self._soft_least(cost, g, log_mass)
        return xp.sum(mass * (f + g), axis=-1)

    def _soft_least(self, cost: Array, potential: Array, log_mass: Array) -> Array:
        """-ε log Σⱼ massⱼ exp((potentialⱼ - costᵢⱼ) / ε)."""
        inner = (potential[..., None, :] - cost) / self.epsilon + log_mass[..., None, :]
        return -self.epsilon * logsumexp(inner)


def _same_dimension(loss: Loss, score: Array, target: Array) -> None:
    if score.shape[-1] != target.shape[-1]:
        raise ShapeError(
            f"{type(loss).__name__}: points of {score.shape[-1]} and targets of "
            f"{target.shape[-1]} numbers; give both the same number of coordinates"
        )


def _reject_rows(loss: Loss, target: Array) -> None:
    rows = np.asarray(target).reshape(-1, np.shape(target)[-1])
    worst = rows[np.arange(len(rows)), np.argmin(np.isfinite(rows), axis=-1)]
    reject(loss, worst, ~np.isfinite(worst), "not a finite number", "drop or repair that row")
