"""The beta likelihood of a proportion, with the pieces of Γ that keep it exact.

With Binet's remainder R(x) = log Γ(x) - (x - ½) log x + x - ½ log 2π, the likelihood of a mean μ
and a precision φ is φ times a Kullback-Leibler divergence plus terms that stay small, so nothing
cancels however large the precision is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minimand.arrays import Array, log1pexp, namespace, sigmoid, special, to_float
from minimand.component import Card, component
from minimand.losses.base import Loss, reject


@component
class Beta(Loss):
    """The beta negative log-likelihood of a proportion: logit of the mean, log of the precision.

    With mean μ and precision φ, the parameters are a = μ φ and b = (1 - μ) φ. The constant
    log(y (1 - y)) is dropped. The response is the mean.

    >>> import numpy as np
    >>> Beta().value(np.array([[0.0, np.log(2.0)]]), np.array([0.25])).round(4).tolist()
    [1.674]
    """

    score_axes = 1
    scores = ("logit_mean", "log_precision")
    card = Card(
        formula="log Γ(a) + log Γ(b) - log Γ(φ) - a log y - b log(1 - y)",
        source="Ferrari and Cribari-Neto (2004), Beta regression, eq. 4",
        use="a share strictly between 0 and 1, and how far it scatters",
        target="fraction",
        convex=False,
        bounded_influence=False,
        proper=True,
    )

    def value(self, score: Array, target: Array) -> Array:
        p = _Parts(score, target)
        gammas = _binet(p.a, p.log_a) + _binet(p.b, p.log_b) - _binet(p.phi, p.s)
        return (
            p.phi * p.divergence - 0.5 * (p.log_a + p.log_b - p.s - math.log(2 * math.pi)) + gammas
        )

    def gradient(self, score: Array, target: Array) -> Array:
        p = _Parts(score, target)
        a, b, phi = _binet_slope(p.a, p.log_a), _binet_slope(p.b, p.log_b), _binet_slope(p.phi, p.s)
        by_mean = p.phi * p.mu * p.nu * p.gap + p.nu * (a - 0.5) - p.mu * (b - 0.5)
        by_precision = p.phi * p.divergence + (a + b - phi - 0.5)
        return namespace(score).stack([by_mean, by_precision], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        xp, p = namespace(score), _Parts(score, target)
        a, b = _binet_slope(p.a, p.log_a), _binet_slope(p.b, p.log_b)
        aa, bb = _binet_bend(p.a, p.log_a), _binet_bend(p.b, p.log_b)
        spread = p.mu * p.nu
        lean = p.phi * (1 + (p.nu - p.mu) * p.gap) + 1 - a - b
        means = spread * lean + p.nu * p.nu * aa + p.mu * p.mu * bb
        both = p.phi * spread * p.gap + p.nu * aa - p.mu * bb
        precisions = p.phi * p.divergence + (aa + bb - _binet_bend(p.phi, p.s))
        rows = [[means, both], [both, precisions]]
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)

    def response(self, score: Array) -> Array:
        """The mean sigmoid(logit_mean), [n]."""
        return sigmoid(score[..., 0])

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The maximum-likelihood logit and log precision, from the moments by Newton's method."""
        from scipy import optimize

        target = np.asarray(target, dtype=float)
        mean = np.average(target, weights=weight)
        variance = max(np.average((target - mean) ** 2, weights=weight), 1e-8 * mean * (1 - mean))
        start = np.log([mean / (1 - mean), max(mean * (1 - mean) / variance - 1, 1e-3)])
        start[0] = np.log(mean) - np.log1p(-mean)

        def cost(at: Array) -> tuple[Array, Array]:
            score = np.broadcast_to(at, (*target.shape, 2))
            slope = np.average(self.gradient(score, target), axis=0, weights=weight)
            return np.average(self.value(score, target), weights=weight), slope

        bounds = [(None, None), (None, start[1] + 10)]
        return optimize.minimize(cost, start, jac=True, bounds=bounds, tol=1e-14).x

    def check_target(self, target: Array) -> None:
        """Every target must lie strictly between 0 and 1."""
        target = np.asarray(target)
        bad = ~((target > 0) & (target < 1))
        todo = "move exact 0s and 1s inside, or model them apart"
        reject(self, target, bad, "not strictly between 0 and 1", todo)

    def dropped(self, target: Array) -> Array:
        """log(y (1 - y))."""
        xp = namespace(target)
        return xp.log(target) + xp.log1p(-target)


class _Parts:
    """The mean, the precision and a few of their combinations."""

    def __init__(self, score: Array, target: Array) -> None:
        xp, y = namespace(score), to_float(target, score)
        y = xp.where(y > 0, y, xp.full_like(y, 0.5))  # absent rows hold 0
        z, self.s = score[..., 0], score[..., 1]
        log_mu, log_nu = -log1pexp(-z), -log1pexp(z)
        log_y, log_rest = xp.log(y), xp.log1p(-y)
        self.mu, self.nu, self.phi = sigmoid(z), sigmoid(-z), xp.exp(self.s)
        self.log_a, self.log_b = log_mu + self.s, log_nu + self.s
        self.a, self.b = xp.exp(self.log_a), xp.exp(self.log_b)
        self.gap = z - (log_y - log_rest)
        near = xp.abs(self.gap) < 1
        gap = xp.where(near, self.gap, 0 * z)
        close = self.mu * gap + xp.log1p(self.mu * xp.expm1(-gap))
        far = self.mu * (log_mu - log_y) + self.nu * (log_nu - log_rest)
        self.divergence = xp.where(near, close, far)


LARGE = 16.0
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def _binet(x: Array, log_x: Array) -> Array:
    """R(x) = log Γ(x) - (x - ½) log x + x - ½ log 2π, which vanishes as x grows."""
    series, small, large = _split(x, lambda n: 1 / (n * (n - 1)))
    near = special("gammaln", 1 + small) - (small + 0.5) * log_x + small
    return namespace(x).where(large, series, near - 0.5 * math.log(2 * math.pi))


def _binet_slope(x: Array, log_x: Array) -> Array:
    """x R'(x) = x ψ(x) - x log x + ½."""
    series, small, large = _split(x, lambda n: -1 / n)
    near = small * (special("digamma", 1 + small) - log_x) - 0.5
    return namespace(x).where(large, series, near)


def _binet_bend(x: Array, log_x: Array) -> Array:
    """x (x R'(x))' = x ψ(x) + x² ψ'(x) - x log x - x."""
    series, small, large = _split(x, lambda n: (n - 1) / n)
    psi, trigamma = special("digamma", 1 + small), special("polygamma", 1, 1 + small)
    near = small * (psi + small * trigamma - log_x - 1)
    return namespace(x).where(large, series, near)


def _split(x: Array, factor: Callable[[int], float]) -> tuple[Array, Array, Array]:
    """(Σ factor(2k) B₂ₖ / x²ᵏ⁻¹ where x is large, x where it is small, whether it is large)."""
    xp = namespace(x)
    large = x > LARGE
    inverse = 1 / xp.where(large, x, LARGE * xp.ones_like(x))
    series = 0 * inverse
    for k in range(len(BERNOULLI), 0, -1):
        series = series * inverse * inverse + factor(2 * k) * BERNOULLI[k - 1]
    return series * inverse, xp.where(large, xp.ones_like(x), x), large
