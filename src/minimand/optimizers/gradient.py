"""Rules that follow the gradient, or a running sum of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import Card, DecayRate, Positive, Range, component
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax


@component
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look-ahead on request.

    >>> SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    """

    learning_rate: Positive = 0.01
    momentum: DecayRate = 0.0
    nesterov: bool = False
    card = Card(
        formula="v ← μ v + g;  θ ← θ - η v  (Nesterov: θ ← θ - η (g + μ v))",
        source="Robbins and Monro (1951); Polyak (1964); Sutskever et al. (2013), eq. 1-4",
        use="the plain rule; with momentum, the strong baseline for networks",
        search=MappingProxyType(
            {"learning_rate": Range(1e-3, 1.0, log=True), "momentum": Range(0.0, 0.99)}
        ),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.sgd(self.learning_rate, self.momentum, self.nesterov)
