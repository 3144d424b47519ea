"""Losses of class scores for rare classes and hard examples.

All are functions of one number, the log-odds m of the true class: ±z for two classes by one score
z, and z_y - log Σ exp(zₖ) over the other classes for K classes. Targets of K classes are indices.
"""

from __future__ import annotations

import math

import numpy as np

from minimand.arrays import (
    Array,
    as_like,
    log1pexp,
    logsumexp,
    namespace,
    over_expm1,
    sigmoid,
    softmax,
    softmax_and_rest,
    to_float,
)
from minimand.component import Card, Fraction, NonNegative, Positive, Real, component
from minimand.losses.classification import (
    BinaryLoss,
    ClassLoss,
    class_shares,
    identity,
    share_of_one,
    softmax_slope,
)
from minimand.losses.simplex import gaps, pairs


@component
class BinaryFocal(BinaryLoss):
    """The cross-entropy of one score and a target in [0, 1], faded out for easy examples.

    A larger `gamma` pays less heed to examples that are already right; 0 is the cross-entropy.
    `alpha` is what class 1 weighs and 1 - `alpha` what class 0 weighs; the mean does not divide by
    them. Of a soft target t, class 1 counts t times and class 0 counts 1 - t times.

    >>> import numpy as np
    >>> BinaryFocal(gamma=0.5, alpha=1.0).value(np.array([0.0, 40.0]), np.ones(2)).round(4).tolist()
    [0.4901, 0.0]
    """

    gamma: NonNegative = 2.0
    alpha: Fraction = 0.25
    card = Card(
        formula="α (1 - p)^γ (-log p) of the true class, p = 1 / (1 + exp(-m))",
        source="Lin et al. (2017), Focal loss for dense object detection, eq. 5",
        use="two classes, one of them rare, most examples easy",
        target="fraction",
        convex=False,
        bounded_influence=False,
        proper=False,
        symmetric=lambda loss: bool(np.all(loss.alpha == 0.5)),
    )

    def phi(self, m: Array) -> Array:
        return focal(m, self.gamma)

    def slope(self, m: Array) -> Array:
        return -sigmoid(-m) * focal_pull(m, self.gamma)

    def bend(self, m: Array) -> Array:
        spread = sigmoid(m) * sigmoid(-m)
        return spread * focal_pull(m, self.gamma) + focal_bend(m, self.gamma)

    def sides(self, score: Array, target: Array) -> tuple[Array, Array]:
        target = to_float(target, score)
        return self.alpha * target, (1 - self.alpha) * (1 - target)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The score at which the mean gradient is 0, between -50 and 50."""
        from scipy.optimize import brentq

        share = share_of_one(target, weight)
        ends = -50.0, 50.0
        low, high = (float(self.gradient(np.float64(z), share)) for z in ends)
        if low * high >= 0:  # alpha is 0 or 1
            return ends[0] if low > 0 else ends[1]
        return brentq(lambda z: float(self.gradient(np.float64(z), share)), *ends, xtol=1e-13)


class LogOddsLoss(ClassLoss):
    """α_y F(ℓ) of the surprise ℓ = -log p_y, p = softmax(z), as a function of the log-odds m."""

    def phi(self, m: Array) -> Array:
        """F(ℓ)."""
        raise NotImplementedError

    def pull(self, m: Array) -> Array:
        """F'(ℓ): the gradient as a multiple of the cross-entropy's."""
        raise NotImplementedError

    def bend(self, m: Array) -> Array:
        """(1 - p_y)² F''(ℓ)."""
        raise NotImplementedError

    def adjusted(self, score: Array) -> Array:
        """The scores that the loss sees: the model's own, plus a constant for each class."""
        return score

    def factor(self, score: Array, target: Array) -> Array:
        """What each example's class weighs, [n]; NaN for an index that is none of the K classes."""
        return namespace(score).sum(self.shares(score, target), axis=-1)

    def value(self, score: Array, target: Array) -> Array:
        m, _ = self._log_odds(score, target)
        return self.factor(score, target) * self.phi(m)

    def gradient(self, score: Array, target: Array) -> Array:
        """α F'(ℓ) ∂ℓ with ∂ℓ = softmax(score) minus the indicator of the target, [n, K]."""
        m, _ = self._log_odds(score, target)
        q = self.shares(score, target)
        p, rest = softmax_and_rest(self.adjusted(score))
        pull = self.factor(score, target) * self.pull(m)
        return pull[..., None] * (p * (1 - q) - rest * q)

    def curvature(self, score: Array, target: Array) -> Array:
        """α (F''(ℓ) ∂ℓ ∂ℓᵀ + F'(ℓ) ∂²ℓ), [n, K, K], with ∂ℓ = (1 - p_y) ∂m."""
        m, others = self._log_odds(score, target)
        by_m = self.shares(score, target) - softmax(others)
        products = by_m[..., :, None] * by_m[..., None, :]
        factor, pull, bend = (
            x[..., None, None] for x in (self.factor(score, target), self.pull(m), self.bend(m))
        )
        return factor * (bend * products + pull * softmax_slope(self.adjusted(score)))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred scores that minimise the mean loss, by BFGS."""
        from scipy.optimize import minimize

        start = super().constant(target, weight)
        if len(start) < 2:
            return start
        count, share = np.arange(len(start)), class_shares(target, weight)

        def cost(score: Array) -> tuple[float, Array]:
            rows = np.tile(score, (len(score), 1))
            return float(share @ self.value(rows, count)), share @ self.gradient(rows, count)

        best = minimize(cost, start, jac=True, method="BFGS", options={"gtol": 1e-10}).x
        return best - best.mean()

    def _log_odds(self, score: Array, target: Array) -> tuple[Array, Array]:
        """m [n], and the scores [n, K] with -∞ for the true class."""
        own = self.own(score, target)
        score = self.adjusted(score)
        xp = namespace(score)
        true = xp.sum(xp.where(own, score, xp.zeros_like(score)), axis=-1, keepdims=True)
        others = xp.where(own, xp.full_like(score, -math.inf), score)
        return -logsumexp(others - true), others


@component
class Focal(LogOddsLoss):
    """The cross-entropy of softmax scores [n, K] and indices [n], faded out for easy examples.

    A larger `gamma` pays less heed to examples that are already right; 0 is the cross-entropy.
    `alpha` ([K], or one number) is what each class weighs; the mean does not divide by it.

    >>> import numpy as np
    >>> Focal(gamma=2.0).value(np.zeros((1, 2)), np.array([1])).round(4).tolist()
    [0.1733]
    """

    gamma: NonNegative = 2.0
    alpha: NonNegative = 1.0
    card = Card(
        formula="α_y (1 - p_y)^γ (-log p_y) with p = softmax(z)",
        source="Lin et al. (2017), Focal loss for dense object detection, eq. 5",
        use="several classes, some of them rare, most examples easy",
        target="class",
        convex=False,
        bounded_influence=False,
        proper=False,
    )

    def phi(self, m: Array) -> Array:
        return focal(m, self.gamma)

    def pull(self, m: Array) -> Array:
        return focal_pull(m, self.gamma)

    def bend(self, m: Array) -> Array:
        return focal_bend(m, self.gamma)

    def factor(self, score: Array, target: Array) -> Array:
        xp = namespace(score, self.alpha)
        return xp.sum(as_like(self.alpha, score) * self.shares(score, target), axis=-1)


@component
class Poly(LogOddsLoss):
    """The cross-entropy of softmax scores [n, K] and indices [n], with its first term reweighted.

    A larger `epsilon` pulls harder on examples of middling probability; 0 is the cross-entropy.

    >>> import numpy as np
    >>> Poly(epsilon=1.0).value(np.zeros((1, 2)), np.array([1])).round(4).tolist()
    [1.1931]
    """

    epsilon: Real = 2.0
    card = Card(
        formula="-log p_y + ε (1 - p_y) with p = softmax(z)",
        source="Leng et al. (2022), PolyLoss, eq. 5",
        use="classification where the weight of confident examples should be tuned",
        target="class",
        convex=False,
        bounded_influence=False,
        proper=False,
    )

    def phi(self, m: Array) -> Array:
        return log1pexp(-m) + self.epsilon * sigmoid(-m)

    def pull(self, m: Array) -> Array:
        return (1 + self.epsilon) * sigmoid(m) + sigmoid(-m)

    def curvature(self, score: Array, target: Array) -> Array:
        """-pₖ pⱼ (1 + ε (2 p_y - qₖ - qⱼ)) off the diagonal, and rows that sum to 0, [n, K, K].

        Of n scores near the y-th, p_y is 1/n and a little: 1 + ε (2 p_y - 1) may nearly vanish.
        """
        xp, q = namespace(score), self.shares(score, target)
        (p, rest), one = softmax_and_rest(score), identity(score)
        gap, near = (xp.sum(q[..., None] * x, axis=-2) for x in gaps(score))  # p_y - pⱼ
        p_y, count = (xp.sum(x, axis=-1, keepdims=True) for x in (q * p, near))
        surplus = xp.sum(near * gap - (1 - near) * p, axis=-1, keepdims=True)  # n p_y - 1
        even = xp.where(surplus > -0.5, 2 * self.epsilon / count, xp.zeros_like(p_y))
        uneven = xp.where(surplus > -0.5, even * surplus, 2 * self.epsilon * p_y)

        def factor(copies: Array, hits: float) -> Array:
            """copies (1 + 2 ε p_y) - ε hits."""
            return (copies * (1 + even) - self.epsilon * hits) + copies * uneven

        def besides(x: Array) -> Array:
            """Σ xⱼ over the classes but the k-th and the y-th."""
            return xp.sum((1 - one) * ((1 - q) * x)[..., None, :], axis=-1)

        missed, hit = factor(1.0, 0.0), factor(1.0, 1.0)
        pull = p_y * factor(1 + besides(near), 1.0) + missed * besides((1 - near) * p - near * gap)
        diagonal = p * xp.where(q > 0, rest * hit, pull)
        (row, column), (own, other) = pairs(p), pairs(q)
        hits = own + other
        beside = row * column * ((1 - hits) * missed[..., None] + hits * hit[..., None])
        return one * diagonal[..., None] - (1 - one) * beside


@component
class LogitAdjusted(LogOddsLoss):
    """The cross-entropy of scores shifted by their class's log frequency while training.

    `prior` ([K], or one number: all the same) holds the frequencies or counts of the classes; only
    their ratios matter. A larger `tau` asks for a larger margin in favour of rare classes; 0 is the
    cross-entropy. Scores, decisions and responses are those of balanced classes.

    >>> import numpy as np
    >>> rare = LogitAdjusted(prior=np.array([9.0, 1.0]))
    >>> rare.value(np.zeros((2, 2)), np.array([0, 1])).round(4).tolist()
    [0.1054, 2.3026]
    """

    prior: Positive = 1.0
    tau: NonNegative = 1.0
    card = Card(
        formula="-log softmax(z + τ log π)_y",
        source="Menon et al. (2021), Long-tail learning via logit adjustment, eq. 10",
        use="the balanced error, where some classes are rare",
        target="class",
        convex=True,
        lipschitz=math.sqrt(2),
        curvature=0.5,
        bounded_influence=False,
    )

    def phi(self, m: Array) -> Array:
        return log1pexp(-m)

    def pull(self, m: Array) -> Array:
        return namespace(m).ones_like(m)

    def bend(self, m: Array) -> Array:
        return namespace(m).zeros_like(m)

    def adjusted(self, score: Array) -> Array:
        return score + self.tau * namespace(score, self.prior).log(as_like(self.prior, score))

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The centred log shares of the classes, less their shift."""
        return ClassLoss.constant(self, target, weight) - self.tau * np.log(self.prior)


def focal(m: Array, gamma: float) -> Array:
    """F(ℓ) = (1 - p)^γ ℓ of p = sigmoid(m) and ℓ = -log p, its power taken in logarithms."""
    return _fade(m, gamma) * log1pexp(-m)


def focal_pull(m: Array, gamma: float) -> Array:
    """F'(ℓ) = (1 - p)^γ (1 + γ ℓ / (exp(ℓ) - 1))."""
    return _fade(m, gamma) * (1 + gamma * over_expm1(log1pexp(-m)))


def focal_bend(m: Array, gamma: float) -> Array:
    """(1 - p)² F''(ℓ)."""
    surprise = log1pexp(-m)
    bracket = 2 - surprise + (gamma - 1) * over_expm1(surprise)
    return gamma * _fade(m, gamma) * sigmoid(m) * sigmoid(-m) * bracket


def _fade(m: Array, gamma: float) -> Array:
    return namespace(m, gamma).exp(-gamma * log1pexp(m))
