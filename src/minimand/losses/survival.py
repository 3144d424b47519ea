"""Losses of the time to an event, in which an example may leave before its event (censoring).

A target row is (time, event): event 1 where the event happened at that time, 0 where the example
was last seen without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

import numpy as np

from minimand.arrays import Array, namespace, special, to_float
from minimand.component import Card, Positive, Range, component
from minimand.losses.base import JointLoss, Loss, reject


class SurvivalLoss(Loss):
    """What every survival loss expects of its targets."""

    target_axes = 1
    targets = ("time", "event")

    def check_target(self, target: Array) -> None:
        """Every time must be positive and finite, and every event 0 or 1."""
        target = np.asarray(target)
        time, event = target[..., 0], target[..., 1]
        bad = ~((time > 0) & np.isfinite(time))
        reject(self, time, bad, "not a positive time", "drop or repair that row")
        what = "neither 1 (the event) nor 0 (censored)"
        reject(self, event, ~np.isin(event, (0, 1)), what, "encode the events first")


@component
class Cox(SurvivalLoss, JointLoss):
    """Minus the Cox log partial likelihood, per event: the score is a log hazard ratio.

    `ties` says how events at the same time share their risk set: "efron" (R's default, more
    accurate) or "breslow". Any shift of all scores leaves the loss as it is. The sum over the
    events is divided by their number (their weight), so that the value does not grow with the data;
    a set without events costs 0. Weights are case weights, as in R's `coxph`. A batch is one set,
    and its risk sets are those of the batch.

    >>> import numpy as np
    >>> target = np.array([[1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
    >>> float(Cox()(np.zeros(3), target).round(4))
    0.5493
    """

    ties: Literal["efron", "breslow"] = "efron"
    card = Card(
        formula="-1/d Σ over events of (zᵢ - log Σ exp(zⱼ) over those still at risk at time tᵢ)",
        source="Cox (1972), Regression models and life-tables; Efron (1977), eq. 3.3",
        use="who fails sooner, whatever the shape of the hazard in time",
        target="survival",
        convex=True,
    )

    def joint(self, score: Array, target: Array, weight: Array) -> Array:
        xp = namespace(score, target)
        order = xp.argsort(-target[..., 0], axis=-1)  # the last to leave comes first
        z, time, event, w = (
            xp.take_along_axis(x, order, axis=-1)
            for x in (score, target[..., 0], to_float(target[..., 1], score), weight)
        )
        event, happened = w * event, w * event > 0
        zero, one = xp.zeros_like(z), xp.ones_like(z)
        own = z + xp.log(xp.where(w > 0, w, one))
        nothing = xp.full_like(z, -0.25 * float(xp.finfo(z.dtype).max))  # as good as log 0
        last = _last_of_each(time, order)

        def at_time(x: Array) -> Array:
            return xp.take_along_axis(x, last, axis=-1)

        at_risk = at_time(_running(_log_add, xp.where(w > 0, own, nothing)))
        share = event
        if self.ties == "efron":
            rank = _running(_add, xp.where(happened, one, zero), time)
            deaths = xp.where(happened, at_time(rank), one)
            failing = at_time(_running(_log_add, xp.where(happened, own, nothing), time))
            gone = (rank - 1) / deaths * xp.exp(xp.where(happened, failing - at_risk, zero))
            at_risk = at_risk + xp.log1p(-xp.where(happened, gone, zero))
            share = xp.where(happened, at_time(_running(_add, event, time)) / deaths, zero)
        total = xp.sum(event, axis=-1)
        cost = xp.sum(share * at_risk - event * z, axis=-1)
        return cost / xp.where(total > 0, total, xp.ones_like(total))

    def response(self, score: Array) -> Array:
        """The hazard relative to that of score 0, exp(score)."""
        return namespace(score).exp(score)

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """0: no constant is better than another."""
        return np.float64(0.0)


class AcceleratedLoss(SurvivalLoss):
    """Minus log-likelihood of log time = score + `scale` times an error e, right-censored.

    Subclasses give, with respect to e, cost, slope and bend where the event happened (less log σ,
    with log t dropped) and where it is still to come.
    """

    scale: float

    def happened(self, e: Array) -> tuple[Array, Array, Array]:
        """-log of the density at e, and its first two derivatives."""
        raise NotImplementedError

    def survived(self, e: Array) -> tuple[Array, Array, Array]:
        """-log of the probability beyond e, and its first two derivatives."""
        raise NotImplementedError

    def value(self, score: Array, target: Array) -> Array:
        """The cost of each example."""
        xp = namespace(score, self.scale)
        log_scale = xp.log(self.scale * xp.ones_like(score))
        return self._by_event(score, target, 0) + to_float(target[..., 1], score) * log_scale

    def gradient(self, score: Array, target: Array) -> Array:
        """The derivative of each cost."""
        return -self._by_event(score, target, 1) / self.scale

    def curvature(self, score: Array, target: Array) -> Array:
        """The second derivative of each cost."""
        return self._by_event(score, target, 2) / self.scale**2

    def constant(self, target: Array, weight: Array | None = None) -> Array:
        """The score at which the mean gradient changes sign, by bisection."""
        target = np.asarray(target, dtype=float)
        log_time = np.log(target[:, 0])
        low, high = np.min(log_time) - 50 * self.scale, np.max(log_time) + 50 * self.scale
        for _ in range(200):
            middle = 0.5 * (low + high)
            slope = np.average(self.gradient(np.full(len(target), middle), target), weights=weight)
            low, high = (low, middle) if slope > 0 else (middle, high)
        return 0.5 * (low + high)

    def dropped(self, target: Array) -> Array:
        """event * log(time)."""
        return target[..., 1] * namespace(target).log(target[..., 0])

    def _by_event(self, score: Array, target: Array, order: int) -> Array:
        xp = namespace(score, self.scale)
        time, event = to_float(target[..., 0], score), target[..., 1]
        log_time = xp.log(xp.where(time > 0, time, xp.ones_like(time)))  # absent rows hold 0
        e = (log_time - score) / self.scale
        return xp.where(event > 0, self.happened(e)[order], self.survived(e)[order])


@component
class WeibullAFT(AcceleratedLoss):
    """The Weibull accelerated-failure-time likelihood: score = log of the characteristic time.

    A smaller `scale` σ (the Weibull shape is 1/σ) expects times closer to the score; log σ is part
    of the value, so that σ can be learned. The constant log(time) of the events is dropped. The
    response is the median time.

    >>> import numpy as np
    >>> WeibullAFT().value(np.zeros(2), np.array([[2.0, 1.0], [3.0, 0.0]])).round(4).tolist()
    [1.3069, 3.0]
    """

    scale: Positive = 1.0
    card = Card(
        formula="exp(e) - δ (e - log σ), e = (log t - z) / σ, δ = 1 for an event",
        source="Kalbfleisch and Prentice (2002), Statistical Analysis of Failure Time Data, 2.2",
        use="how long until an event, when the hazard rises or falls with time throughout",
        target="survival",
        convex=True,
        bounded_influence=False,
        proper=True,
        search=MappingProxyType({"scale": Range(0.2, 5.0, log=True)}),
    )

    def happened(self, e: Array) -> tuple[Array, Array, Array]:
        grown = namespace(e).exp(e)
        return grown - e, namespace(e).expm1(e), grown

    def survived(self, e: Array) -> tuple[Array, Array, Array]:
        grown = namespace(e).exp(e)
        return grown, grown, grown

    def response(self, score: Array) -> Array:
        """The median time exp(score) (log 2)^σ."""
        return namespace(score).exp(score) * math.log(2) ** self.scale


@component
class LogNormalAFT(AcceleratedLoss):
    """The log-normal accelerated-failure-time likelihood: score = mean of the log time.

    A smaller `scale` σ (the deviation of the log time) expects times closer to the score; log σ is
    part of the value, so that σ can be learned. The constants log(time) and ½ log(2π) of the events
    are dropped. The response is the median time.

    >>> import numpy as np
    >>> LogNormalAFT().value(np.zeros(2), np.array([[1.0, 1.0], [1.0, 0.0]])).round(4).tolist()
    [0.0, 0.6931]
    """

    scale: Positive = 1.0
    card = Card(
        formula="½ e² + log σ for an event, -log Φ(-e) if censored, e = (log t - z) / σ",
        source="Kalbfleisch and Prentice (2002), Statistical Analysis of Failure Time Data, 2.2",
        use="how long until an event, when the hazard first rises and then falls",
        target="survival",
        convex=True,
        curvature=lambda loss: loss.scale**-2,
        bounded_influence=False,
        proper=True,
        search=MappingProxyType({"scale": Range(0.2, 5.0, log=True)}),
    )

    def happened(self, e: Array) -> tuple[Array, Array, Array]:
        return 0.5 * e * e, e, namespace(e).ones_like(e)

    def survived(self, e: Array) -> tuple[Array, Array, Array]:
        cost = -special("log_ndtr", -e)
        hazard, excess = _normal_hazard(e, cost)
        return cost, hazard, hazard * excess

    def response(self, score: Array) -> Array:
        """The median time exp(score)."""
        return namespace(score).exp(score)

    def dropped(self, target: Array) -> Array:
        """event * (log(time) + ½ log(2π))."""
        return super().dropped(target) + 0.5 * math.log(2 * math.pi) * target[..., 1]


def _normal_hazard(e: Array, cost: Array) -> tuple[Array, Array]:
    """The normal hazard h(e), and h(e) - e; by Laplace's continued fraction where e is large."""
    xp = namespace(e)
    large = e > 5
    beyond = xp.where(large, e, 5 * xp.ones_like(e))
    fraction = beyond
    for k in range(32, 1, -1):
        fraction = beyond + k / fraction
    near = xp.where(large, 0 * e, e)
    density = -0.5 * near * near - 0.5 * math.log(2 * math.pi)
    hazard = xp.exp(density + xp.where(large, 0 * e, cost))
    return xp.where(large, e + 1 / fraction, hazard), xp.where(large, 1 / fraction, hazard - e)


def _last_of_each(key: Array, order: Array) -> Array:
    """For every entry of the sorted `key`, the index of the last entry with the same key."""
    xp = namespace(order)
    ones = xp.ones_like(order)
    still = xp.flip(_running(_add, ones, xp.flip(key, axis=-1)), axis=-1)
    return _running(_add, ones) + still - 2


def _running(join: Callable[[Array, Array], Array], x: Array, key: Array | None = None) -> Array:
    """The running sum of x by `join` over the last axis, starting afresh where `key` changes."""
    xp, step = namespace(x), 1
    while step < x.shape[-1]:
        joined = join(x[..., step:], x[..., :-step])
        if key is not None:
            joined = xp.where(key[..., step:] == key[..., :-step], joined, x[..., step:])
        x = xp.concat([x[..., :step], joined], axis=-1)
        step *= 2
    return x


def _add(x: Array, y: Array) -> Array:
    return x + y


def _log_add(x: Array, y: Array) -> Array:
    """log(exp(x) + exp(y))."""
    xp, beyond = namespace(x), y - x
    up = beyond > 0
    return xp.where(up, y, x) + xp.log1p(xp.exp(xp.where(up, -beyond, beyond)))
