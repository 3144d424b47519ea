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
        p = _Slopes(score, target)
        return namespace(score).stack([p.tilt + p.spread * p.lean, p.lift - 1], axis=-1)

    def curvature(self, score: Array, target: Array) -> Array:
        xp, p = namespace(score), _Slopes(score, target)
        lean, near_a, near_b = (gap * _growth(x, y) for x, y, gap in p.pairs)
        trigammas = sum(_rise(x, x) + 1 / (x + SHIFT) for x in (p.a, p.b))
        means = 2 * p.mu * p.nu + p.spread * (p.spread * trigammas - p.tilt * p.lean)
        both = p.spread * (p.lean + lean)
        x, y, total = (xp.where(p.large, n, SHIFT * xp.ones_like(n)) for n in (p.a, p.b, p.phi))
        bends = _series(x, _bend) + _series(y, _bend) - _series(total, _bend)
        small = p.lift + (p.a * near_a + p.b * near_b)
        precisions = xp.where(p.large, p.phi * p.divergence + bends, small)
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
        self.log_y, self.log_rest = log_y, log_rest = xp.log(y), xp.log1p(-y)
        self.mu, self.nu, self.phi = sigmoid(z), sigmoid(-z), xp.exp(self.s)
        self.log_a, self.log_b = log_mu + self.s, log_nu + self.s
        self.a, self.b = xp.exp(self.log_a), xp.exp(self.log_b)
        self.gap = z - (log_y - log_rest)
        near = xp.abs(self.gap) < 1
        gap = xp.where(near, self.gap, 0 * z)
        close = xp.log1p(
            self.mu * above_tangent(-self.nu * gap) + self.nu * above_tangent(self.mu * gap)
        )
        far = self.mu * (log_mu - log_y) + self.nu * (log_nu - log_rest)
        self.divergence = xp.where(near, close, far)


class _Slopes(_Parts):
    """What the derivatives share.

    `lean` is ψ(1 + a) - ψ(1 + b) - logit y, and `lift` is a (ψ(1 + a) - ψ(1 + φ) - log y) and the
    same of b; where a and b are large, the part that grows with them is taken from the divergence.
    """

    def __init__(self, score: Array, target: Array) -> None:
        super().__init__(score, target)
        xp, a, b, phi = namespace(score), self.a, self.b, self.phi
        self.tilt, self.spread = xp.tanh(0.5 * score[..., 0]), phi * self.mu * self.nu
        self.pairs = ((a, b, phi * self.tilt), (a, phi, -b), (b, phi, -a))
        odds, log_mu, log_nu = (_log_ratio(*pair) for pair in self.pairs)
        small = odds - (self.log_y - self.log_rest)
        each = a * (log_mu - self.log_y) + b * (log_nu - self.log_rest)
        self.large = large = xp.minimum(a, b) > SHIFT
        a, b = (xp.where(large, x, xp.ones_like(x)) for x in (a, b))
        far = self.gap + xp.log1p(SHIFT * (b - a) / (a * (b + SHIFT)))
        rest = (x * xp.log1p(SHIFT * y / (x * (phi + SHIFT))) for x, y in ((a, b), (b, a)))
        rises = [gap * _rise(x, y) for x, y, gap in self.pairs]
        self.lean = xp.where(large, far, small) + rises[0]
        together = xp.where(large, phi * self.divergence + sum(rest), each)
        self.lift = together + (self.a * rises[1] + self.b * rises[2])


LARGE, SHIFT = 16.0, 8.0
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def _binet(x: Array, log_x: Array) -> Array:
    """R(x) = log Γ(x) - (x - ½) log x + x - ½ log 2π, which vanishes as x grows."""
    xp, large = namespace(x), x > LARGE
    series = _series(xp.where(large, x, LARGE * xp.ones_like(x)), lambda n: 1 / (n * (n - 1)))
    small = xp.where(large, xp.ones_like(x), x)
    near = special("gammaln", 1 + small) - (small + 0.5) * log_x + small
    return xp.where(large, series, near - 0.5 * math.log(2 * math.pi))


def _bend(n: int) -> float:
    """(n - 1) / n: the term B / (n (n - 1) xⁿ⁻¹), twice differentiated by log x, over B / xⁿ⁻¹."""
    return (n - 1) / n


def _series(x: Array, factor: Callable[[int], float]) -> Array:
    """Σ factor(2k) B₂ₖ / x²ᵏ⁻¹ of a large x."""
    inverse, total = 1 / x, 0 * x
    for k in range(len(BERNOULLI), 0, -1):
        total = total * inverse * inverse + factor(2 * k) * BERNOULLI[k - 1]
    return total * inverse


# ψ(1 + x) is log(x + 8) - 1/(x + 1) - ... - 1/(x + 7) and a series in 1/(x + 8), with the first of
# these coefficients; its derivative by log x is a sum of the same kind, with the second.
LEVEL = (0.0, -0.5, *(-x / n for n, B in enumerate(BERNOULLI, 1) for x in (B / 2, 0)))
GROWTH = (0.0, *(SHIFT * j * LEVEL[j] - (j + 1) * LEVEL[j + 1] for j in range(len(LEVEL) - 1)))


def _log_ratio(x: Array, y: Array, gap: Array) -> Array:
    """log((x + 8) / (y + 8)) of gap = x - y."""
    xp, gap = namespace(x), gap / (y + SHIFT)
    near = xp.abs(gap) < 0.5
    return xp.where(near, xp.log1p(xp.where(near, gap, 0 * gap)), xp.log((x + SHIFT) / (y + SHIFT)))


def _rise(x: Array, y: Array) -> Array:
    """(ψ(1 + x) - ψ(1 + y) - log((x + 8) / (y + 8))) / (x - y), and its limit at x = y."""
    u, v = 1 / (x + SHIFT), 1 / (y + SHIFT)
    return sum(1 / ((x + k) * (y + k)) for k in range(1, int(SHIFT))) - u * v * _secant(LEVEL, u, v)


def _growth(x: Array, y: Array) -> Array:
    """The same of the derivative of ψ(1 + x) by log x, its logarithm not left out."""
    u, v = 1 / (x + SHIFT), 1 / (y + SHIFT)
    inverse = [1 / ((x + k) * (y + k)) for k in range(1, int(SHIFT))]
    terms = ((k * k - x * y) * part * part for k, part in enumerate(inverse, 1))
    return sum(terms) + u * v * (SHIFT - _secant(GROWTH, u, v))


def _secant(coefficients: tuple[float, ...], u: Array, v: Array) -> Array:
    """(P(u) - P(v)) / (u - v) of a polynomial P, without cancellation."""
    slope = height = 0 * u
    for coefficient in reversed(coefficients):
        slope, height = slope * u + height, height * v + coefficient
    return slope


def above_tangent(x: Array) -> Array:
    """exp(x) - 1 - x without cancellation.

    >>> float(above_tangent(np.array(1e-20)))
    5e-41
    """
    xp = namespace(x)
    small = xp.abs(x) < 0.01
    near = xp.where(small, x, 0 * x)
    series = xp.ones_like(x)
    for k in range(8, 2, -1):
        series = 1 + near / k * series
    return xp.where(small, near * near / 2 * series, xp.expm1(x) - x)
