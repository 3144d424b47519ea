"""Losses between two distributions over K classes or bins: scores [n, K] against probabilities.

With z a row of scores, q = softmax(z) is the model's distribution and p the target's.
"""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import (
    Array,
    cumulative_sum,
    log_softmax,
    namespace,
    softmax,
    softmax_and_rest,
    to_float,
)
from minimand.component import Card, Fraction, Positive, component
from minimand.errors import ShapeError
from minimand.losses.base import Loss, reject
from minimand.losses.classification import ClassLoss, centred_logs, softmax_slope
from minimand.losses.regression import weighted_quantile


class DistributionLoss(ClassLoss):
    """A loss ℓ(q, p) of q = softmax(score) and p, both [n, K]; subclasses give `between`, `slope`.

    p may be any row of numbers that are not negative and add up to 1.
    """

    target_axes = 1

    def between(self, log_q: Array, p: Array) -> Array:
        """ℓ(q, p) for each example."""
        raise NotImplementedError

    def slope(self, log_q: Array, p: Array) -> Array:
        """∂ℓ/∂q, up to a number that is the same for all of a row."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """ℓ(softmax(score), target) for each example."""
        return self.between(*self._aligned(score, target))

    def gradient(self, score: Array, target: Array) -> Array:
        """q (s - Σ q s) with s = ∂ℓ/∂q."""
        log_q, p = self._aligned(score, target)
        q = softmax(score)
        slope = self.slope(log_q, p)
        return q * (slope - namespace(q).sum(q * slope, axis=-1, keepdims=True))

    def check_target(self, target: Array) -> None:
        """Every row must hold probabilities: not negative, with sum 1 (within 1e-6)."""
        target = np.asarray(target)
        least, total = target.min(axis=-1), target.sum(axis=-1)
        reject(self, least, ~(least >= 0), "at its least", "probabilities are not negative")
        bad = ~(np.abs(total - 1) <= 1e-6)
        reject(self, total, bad, "the sum of the row and not 1", "divide the row by its sum")

    def _aligned(self, score: Array, target: Array) -> tuple[Array, Array]:
        if score.shape[-1] != target.shape[-1]:
            raise ShapeError(
                f"{type(self).__name__}: {score.shape[-1]} scores and {target.shape[-1]} "
                f"probabilities a row; it needs one probability for each score"
            )
        return log_softmax(score), to_float(target, score)


@component
class KL(DistributionLoss):
    """The Kullback-Leibler divergence from the target to the model: q must cover all of p.

    Nothing is dropped: it is 0 where q = p. The mean is over rows, each of which counts whole
    (`"batchmean"` of PyTorch, whose `"mean"` divides by K as well).

    >>> import numpy as np
    >>> float(KL()(np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]])).round(4))
    0.6931
    """

    card = Card(
        formula="Σₖ pₖ log(pₖ / qₖ)",
        source="Kullback and Leibler (1951), On information and sufficiency, eq. 2.4",
        use="a whole distribution as the target: soft labels, a teacher, annotators who disagree",
        target="soft",
        convex=True,
        lipschitz=math.sqrt(2),
        curvature=0.5,
        proper=True,
    )

    def between(self, log_q: Array, p: Array) -> Array:
        return _divergence(p, _log(p), log_q)

    def gradient(self, score: Array, target: Array) -> Array:
        """softmax(score) - target, without cancellation where both are nearly 1."""
        q, rest = softmax_and_rest(score)
        p = self._aligned(score, target)[1]
        return namespace(q).where(q > 0.5, (1 - p) - rest, q - p)

    def curvature(self, score: Array, target: Array) -> Array:
        """diag(q) - q qᵀ, [n, K, K]."""
        return softmax_slope(score)


@component
class ReverseKL(DistributionLoss):
    """The Kullback-Leibler divergence from the model to the target: q must avoid what p excludes.

    A target probability of 0, where the divergence is infinite, counts as the smallest positive
    number of the dtype; `check_target` refuses it.

    >>> import numpy as np
    >>> float(ReverseKL()(np.zeros((1, 2)), np.array([[0.8, 0.2]])).round(4))
    0.2231
    """

    card = Card(
        formula="Σₖ qₖ log(qₖ / pₖ)",
        source="Kullback and Leibler (1951), On information and sufficiency, eq. 2.4, reversed",
        use="one mode of the target rather than its average: variational inference, policies",
        target="soft",
        convex=False,
    )

    def between(self, log_q: Array, p: Array) -> Array:
        return _divergence(namespace(log_q).exp(log_q), log_q, _log(p))

    def slope(self, log_q: Array, p: Array) -> Array:
        return log_q - _log(p)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred mean of the log probabilities."""
        mean = np.average(_log(np.asarray(target, dtype=float)), axis=0, weights=weight)
        return mean - mean.mean()

    def check_target(self, target: Array) -> None:
        """Every row must hold positive probabilities with sum 1 (within 1e-6)."""
        super().check_target(target)
        least = np.asarray(target).min(axis=-1)
        todo = "the divergence is infinite there; smooth the target"
        reject(self, least, least == 0, "at its least", todo)


@component
class JensenShannon(DistributionLoss):
    """The mean of the divergences of p and q from their middle m: symmetric, at most log 2.

    >>> import numpy as np
    >>> float(JensenShannon()(np.array([[800.0, 0.0]]), np.array([[0.0, 1.0]])).round(4))
    0.6931
    """

    card = Card(
        formula="½ Σₖ pₖ log(pₖ / mₖ) + ½ Σₖ qₖ log(qₖ / mₖ) with m = ½ (p + q)",
        source="Lin (1991), Divergence measures based on the Shannon entropy, eq. 4.1 at π = ½",
        use="distributions that may not overlap, when no row may cost more than log 2",
        target="soft",
        convex=False,
    )

    def between(self, log_q: Array, p: Array) -> Array:
        log_p = _log(p)
        middle = _middle(log_p, log_q)
        q = namespace(log_q).exp(log_q)
        return 0.5 * (_divergence(p, log_p, middle) + _divergence(q, log_q, middle))

    def slope(self, log_q: Array, p: Array) -> Array:
        return 0.5 * (log_q - _middle(_log(p), log_q))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best scores by quasi-Newton descent from those of the mean probabilities."""
        return _descended(self, KL().constant(target, weight), target, weight)


@component
class Wasserstein1(DistributionLoss):
    """The earth mover's distance between two distributions on ordered, evenly spaced bins.

    `spacing` is the distance between neighbouring bins, and the unit of the loss.

    >>> import numpy as np
    >>> float(Wasserstein1()(np.array([[800.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])))
    2.0
    """

    spacing: Positive = 1.0
    card = Card(
        formula="d Σₖ |Σⱼ≤ₖ qⱼ - Σⱼ≤ₖ pⱼ|",
        source="Vallender (1974), Calculation of the Wasserstein distance on the line",
        use="ordered bins (ages, ratings, histograms), where a near miss is better than a far one",
        target="soft",
        convex=False,
        kinks="where the cumulative sums meet",
    )

    def between(self, log_q: Array, p: Array) -> Array:
        xp = namespace(log_q)
        return self.spacing * xp.sum(xp.abs(_beyond(log_q, p)), axis=-1)

    def slope(self, log_q: Array, p: Array) -> Array:
        xp = namespace(log_q)
        signs = xp.concat((xp.sign(_beyond(log_q, p)), xp.zeros_like(p[..., :1])), axis=-1)
        return self.spacing * xp.flip(cumulative_sum(xp.flip(signs, axis=-1)), axis=-1)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """Centred scores whose cumulative sums are the medians of the targets'."""
        cumulative = np.cumsum(target, axis=-1)[:, :-1]
        medians = [weighted_quantile(column, 0.5, weight) for column in cumulative.T]
        share = np.diff(medians, prepend=0.0, append=1.0)
        return centred_logs(share, len(target))


@component
class Distillation(ClassLoss):
    """What a student learns from a teacher's scores and from the true class.

    Score: the student's scores [n, K]. Target: [n, 1 + K], the class index and then the teacher's
    scores (`numpy.column_stack((label, teacher))`). A larger `alpha` listens more to the teacher; a
    larger `temperature` to the teacher's unlikely classes. The factor T² keeps the teacher's pull
    alike at all temperatures.

    >>> import numpy as np
    >>> student, teacher = np.zeros((1, 2)), np.array([[4.0, 0.0]])
    >>> target = np.column_stack(([0], teacher))
    >>> float(Distillation(alpha=0.0)(student, target).round(4))
    0.6931
    """

    target_axes = 1
    temperature: Positive = 2.0
    alpha: Fraction = 0.5
    card = Card(
        formula="α T² KL(softmax(t / T), softmax(z / T)) + (1 - α) (log Σₖ exp(zₖ) - z_y)",
        source="Hinton, Vinyals and Dean (2015), Distilling the knowledge in a neural network, "
        "section 2",
        use="a small network that imitates a large one",
        target="soft",
        convex=True,
        lipschitz=lambda loss: math.sqrt(2) * (1 + loss.alpha * (loss.temperature - 1)),
        curvature=0.5,
    )

    def value(self, score: Array, target: Array) -> Array:
        label, teacher = self._parted(score, target)
        soft = self.temperature**2 * KL().value(score / self.temperature, teacher)
        return self.alpha * soft + (1 - self.alpha) * KL().value(score, label)

    def gradient(self, score: Array, target: Array) -> Array:
        """The two gradients, mixed, [n, K]."""
        label, teacher = self._parted(score, target)
        soft = self.temperature * KL().gradient(score / self.temperature, teacher)
        return self.alpha * soft + (1 - self.alpha) * KL().gradient(score, label)

    def curvature(self, score: Array, target: Array) -> Array:
        """The two curvatures, mixed, [n, K, K]."""
        soft = softmax_slope(score / self.temperature)
        return self.alpha * soft + (1 - self.alpha) * softmax_slope(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The best scores by quasi-Newton descent from equal ones."""
        return _descended(self, np.zeros(target.shape[-1] - 1), target, weight)

    def check_target(self, target: Array) -> None:
        """Every row must hold one of the K class indices, then K finite scores."""
        target = np.asarray(target)
        label, teacher = target[:, 0], target[:, 1:]
        known = (label >= 0) & (label < teacher.shape[1]) & (label == np.floor(label))
        reject(self, label, ~known, "not a class index", "the label comes before the scores")
        worst = teacher[np.arange(len(label)), np.argmin(np.isfinite(teacher), axis=1)]
        reject(self, worst, ~np.isfinite(worst), "not a finite score", "drop or repair that row")

    def _parted(self, score: Array, target: Array) -> tuple[Array, Array]:
        """The true class and the teacher's view at the temperature, as probabilities [n, K]."""
        if target.shape[-1] != 1 + score.shape[-1]:
            raise ShapeError(
                f"Distillation: {score.shape[-1]} scores and {target.shape[-1]} target columns; it "
                f"needs the class index and then one of the teacher's scores for each score"
            )
        teacher = to_float(target, score)[..., 1:] / self.temperature
        return self.shares(score, target[..., 0]), softmax(teacher)


def _divergence(p: Array, log_p: Array, log_q: Array) -> Array:
    """Σ p log(p/q), as a sum of p log(p/q) - p + q: not one of these is negative.

    With d = log(p/q) they are p (d + exp(-d) - 1), which keeps its digits where p and q are close.
    """
    xp = namespace(p)
    d = xp.where(p > 0, log_p - log_q, xp.zeros_like(p))
    near = (p > 0) & (xp.abs(d) < 1)
    small = xp.where(near, d, xp.zeros_like(d))
    terms = xp.where(near, p * (small + xp.expm1(-small)), p * d - p + xp.exp(log_q))
    return xp.sum(terms, axis=-1)


def _log(p: Array) -> Array:
    """log p, where 0 counts as the smallest positive number of the dtype."""
    xp = namespace(p)
    least = float(xp.finfo(p.dtype).smallest_normal)
    return xp.log(xp.where(p > least, p, xp.full_like(p, least)))


def _middle(log_p: Array, log_q: Array) -> Array:
    """log(½ (p + q))."""
    return namespace(log_p).logaddexp(log_p, log_q) - math.log(2)


def _beyond(log_q: Array, p: Array) -> Array:
    """How much more of q than of p lies up to each of the K - 1 gaps between bins.

    Summed from the side where p has less, which loses no digits when that is next to nothing.
    """
    xp = namespace(log_q)
    more = xp.exp(log_q) - p

    def up_to(x: Array) -> Array:
        return cumulative_sum(x)[..., :-1]

    below = up_to(more)
    above = xp.flip(up_to(xp.flip(more, axis=-1)), axis=-1)
    return xp.where(up_to(p) < 0.5, below, -above)


def _descended(loss: Loss, start: Array, target: Array, weight: Array | None) -> Array:
    """The centred scores [K] from which the mean loss does not descend any further."""
    from scipy.optimize import minimize

    def cost(score: Array) -> tuple[Array, Array]:
        rows = np.broadcast_to(score, (len(target), len(score)))
        return (
            np.average(loss.value(rows, target), weights=weight),
            np.average(loss.gradient(rows, target), axis=0, weights=weight),
        )

    best = minimize(cost, start, jac=True, method="L-BFGS-B", tol=1e-14).x
    return best - best.mean()
