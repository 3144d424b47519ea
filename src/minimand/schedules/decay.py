"""Schedules that fall for as long as a run goes on, and the one that does not."""

from __future__ import annotations

from types import MappingProxyType

from minimand.arrays import Array, namespace
from minimand.component import (
    Card,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Range,
    component,
)
from minimand.errors import ArgumentError
from minimand.schedules.base import STEPS, Schedule


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
class Step(Schedule):
    """Multiplied by `decay_rate` at once, every `decay_steps` steps.

    >>> Step(decay_rate=0.5, decay_steps=10)(25)
    0.25
    """

    decay_rate: Fraction = 0.1
    decay_steps: Positive = 1000.0
    card = Card(
        formula="r^⌊t / s⌋",
        source="Szegedy et al. (2015), Going deeper with convolutions, section 6",
        use="long runs of SGD with momentum",
        search=STEPS,
    )

    def __call__(self, step: Array) -> Array:
        return self.decay_rate ** (step // self.decay_steps)


@component
class Piecewise(Schedule):
    """Constant between boundaries: `multipliers[k]` from step `boundaries[k - 1]` on.

    Raises:
        ArgumentError: boundaries that do not rise, or not one multiplier more than boundaries.

    >>> [float(Piecewise(boundaries=(10, 20), multipliers=(1, 0.5, 0.1))(t)) for t in (9, 10, 20)]
    [1.0, 0.5, 0.1]
    """

    boundaries: tuple[Count, ...] = (1000, 2000)
    multipliers: tuple[NonNegative, ...] = (1.0, 0.1, 0.01)
    card = Card(
        formula="mₖ for bₖ ≤ t < bₖ₊₁, with b₀ = 0",
        source="He et al. (2016), Deep residual learning for image recognition, section 4.2",
        use="when it is known where to go slower",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ArgumentError(f"Piecewise: boundaries are {self.boundaries}; they must rise")
        if len(self.multipliers) != len(self.boundaries) + 1:
            raise ArgumentError(
                f"Piecewise: {len(self.boundaries)} boundaries need one multiplier more, not "
                f"{len(self.multipliers)}"
            )

    def __call__(self, step: Array) -> Array:
        xp = namespace(step)
        value = 0.0 * step + self.multipliers[0]
        for boundary, multiplier in zip(self.boundaries, self.multipliers[1:], strict=True):
            value = xp.where(step >= boundary, multiplier, value)
        return value


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
