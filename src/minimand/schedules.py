"""Schedules: pure functions from the step to the multiplier of the learning rate."""

from __future__ import annotations

from types import MappingProxyType

from minimand.arrays import Array
from minimand.component import Card, Component, Fraction, NonNegative, Positive, Range, component


class Schedule(Component):
    """A multiplier of the learning rate, 1 at step 0."""

    kind = "schedule"

    def __call__(self, step: Array) -> Array:
        """The multiplier at a step, counted from 0."""
        raise NotImplementedError

    def memory(self) -> dict[str, Array]:
        """What the schedule remembers of a run, before its first epoch."""
        return {}

    def watched(self, memory: dict[str, Array], value: Array) -> dict[str, Array]:
        """The memory after an epoch that ended with the watched value."""
        return memory

    def factor(self, memory: dict[str, Array]) -> Array:
        """What the memory multiplies the learning rate by."""
        return 1.0


@component
class Constant(Schedule):
    """The same step size for ever.

    >>> Constant()(100)
    1.0
    """

    card = Card(
        formula="1",
        source="Robbins and Monro (1951) show why it does not converge under noise",
        use="full batches, adaptive rules, short runs",
    )

    def __call__(self, step: Array) -> Array:
        return 0.0 * step + 1.0


@component
class Exponential(Schedule):
    """Multiplied by `decay_rate` every `decay_steps` steps, without jumps.

    >>> Exponential(decay_rate=0.5, decay_steps=10)(20)
    0.25
    """

    decay_rate: Fraction = 0.96
    decay_steps: Positive = 1000.0
    card = Card(
        formula="r^(t / s)",
        source="Goodfellow, Bengio and Courville (2016), Deep Learning, section 8.3.1",
        use="a fast decay over a known number of steps",
        search=MappingProxyType({"decay_rate": Range(0.5, 0.99)}),
    )

    def __call__(self, step: Array) -> Array:
        return self.decay_rate ** (step / self.decay_steps)


@component
class InverseTime(Schedule):
    """1 / (1 + rate * step / decay_steps): the decay that stochastic approximation asks for.

    >>> InverseTime(decay_rate=1.0, decay_steps=10)(30)
    0.25
    """

    decay_rate: NonNegative = 1.0
    decay_steps: Positive = 1000.0
    card = Card(
        formula="1 / (1 + r t / s)",
        source="Robbins and Monro (1951), A stochastic approximation method",
        use="convergence to the exact minimiser of a convex objective",
        search=MappingProxyType({"decay_rate": Range(0.1, 10.0, log=True)}),
    )

    def __call__(self, step: Array) -> Array:
        return 1.0 / (1.0 + self.decay_rate * step / self.decay_steps)


@component
class InverseSqrt(Schedule):
    """1 / √(1 + step / decay_steps): decays more slowly than the exponential.

    >>> InverseSqrt(decay_steps=10)(30)
    0.5
    """

    decay_steps: Positive = 1000.0
    card = Card(
        formula="1 / √(1 + t / s)",
        source="Nesterov (2004), Introductory Lectures on Convex Optimization, section 3.2.3",
        use="long runs whose length is not known",
        search=MappingProxyType({"decay_steps": Range(10.0, 10000.0, log=True)}),
    )

    def __call__(self, step: Array) -> Array:
        return (1.0 + step / self.decay_steps) ** -0.5
