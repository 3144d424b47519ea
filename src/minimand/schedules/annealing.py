"""Schedules of a known number of steps: they reach their end, and stay there."""

from __future__ import annotations

from types import MappingProxyType

from minimand.arrays import Array, namespace
from minimand.component import Card, Fraction, NonNegative, OpenFraction, Positive, Range, component
from minimand.schedules.base import STEPS, Schedule, between, share, wave


@component
class Polynomial(Schedule):
    """From 1 to `end` within `decay_steps` steps; a larger `power` falls sooner.

    >>> float(Polynomial(decay_steps=10, power=2)(5))
    0.25
    """

    decay_steps: Positive = 1000.0
    power: Positive = 2.0
    end: Fraction = 0.0
    card = Card(
        formula="e + (1 - e) (1 - min(t / s, 1))^p",
        source="Chen et al. (2018), DeepLab, section 4.1",
        use="runs of a known length, segmentation above all",
        search=STEPS,
    )

    def __call__(self, step: Array) -> Array:
        return between(self.end, 1.0, (1.0 - share(step, self.decay_steps)) ** self.power)


@component
class Linear(Schedule):
    """From 1 to `end` in a straight line, within `decay_steps` steps.

    >>> float(Linear(decay_steps=10)(4))
    0.6
    """

    decay_steps: Positive = 1000.0
    end: Fraction = 0.0
    card = Card(
        formula="1 - (1 - e) min(t / s, 1)",
        source="Defazio et al. (2023), Optimal linear decay learning rate schedules",
        use="runs of a known length",
        search=STEPS,
    )

    def __call__(self, step: Array) -> Array:
        return between(1.0, self.end, share(step, self.decay_steps))


@component
class Cosine(Schedule):
    """From 1 to `end` along half a wave of the cosine, within `decay_steps` steps.

    `Restarts(Cosine(decay_steps=s), steps=s)` starts it again and again.

    >>> float(Cosine(decay_steps=10, end=0.5)(5))
    0.75
    """

    decay_steps: Positive = 1000.0
    end: Fraction = 0.0
    card = Card(
        formula="e + (1 - e) (1 + cos(π min(t / s, 1))) / 2",
        source="Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm "
        "restarts, eq. 5",
        use="networks whose number of steps is known",
        search=STEPS,
    )

    def __call__(self, step: Array) -> Array:
        return between(1.0, self.end, wave(share(step, self.decay_steps)))


@component
class OneCycle(Schedule):
    """Up from `start` to 1 and down to `end`, each along half a wave of the cosine.

    `rise` is the share of the `steps` that it goes up.

    >>> [round(float(OneCycle(steps=10)(t)), 3) for t in (0, 3, 10)]
    [0.04, 1.0, 0.0]
    """

    steps: Positive = 1000.0
    rise: OpenFraction = 0.3
    start: Fraction = 0.04
    end: Fraction = 4e-6
    card = Card(
        formula="a + (b - a) (1 - cos(π u)) / 2, u the share of the way from a to b",
        source="Smith and Topin (2019), Super-convergence",
        use="few epochs with a large step size",
        search=MappingProxyType({"steps": Range(100.0, 10000.0, log=True)}),
    )

    def __call__(self, step: Array) -> Array:
        top = self.rise * self.steps
        up = between(self.start, 1.0, wave(share(step, top)))
        down = between(1.0, self.end, wave(share(step - top, self.steps - top)))
        return namespace(step, up, down).where(step < top, up, down)


@component
class WarmupStableDecay(Schedule):
    """Up in a straight line from `start` to 1, level, and down in a straight line to `end`.

    >>> wsd = WarmupStableDecay(warmup_steps=10, stable_steps=80, decay_steps=10)
    >>> [float(wsd(t)) for t in (5, 10, 90, 95, 100)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    warmup_steps: Positive = 100.0
    stable_steps: NonNegative = 700.0
    decay_steps: Positive = 200.0
    start: Fraction = 0.0
    end: Fraction = 0.0
    card = Card(
        formula="s + (1 - s) t / w, then 1, then 1 - (1 - e) (t - w - n) / d",
        source="Hu et al. (2024), MiniCPM; Hägele et al. (2024), Scaling laws and "
        "compute-optimal training beyond fixed training durations",
        use="long runs that may go on: the decay can begin at any step",
        search=STEPS,
    )

    def __call__(self, step: Array) -> Array:
        up = between(self.start, 1.0, share(step, self.warmup_steps))
        since = step - self.warmup_steps - self.stable_steps
        down = between(1.0, self.end, share(since, self.decay_steps))
        return namespace(up, down).minimum(up, down)
