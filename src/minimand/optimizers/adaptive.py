"""Rules that scale each parameter by what its gradients have been."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import Card, DecayRate, Positive, Range, component
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax


@component
class Adam(Optimizer):
    """Adam: momentum, divided by the root of the running mean square of the gradient.

    >>> Adam().learning_rate
    0.001
    """

    learning_rate: Positive = 0.001
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-8
    card = Card(
        formula="m ← β₁ m + (1-β₁) g;  v ← β₂ v + (1-β₂) g²;  θ ← θ - η m̂ / (√v̂ + ε)",
        source="Kingma and Ba (2015), Adam: a method for stochastic optimization, algorithm 1",
        use="networks of any kind, with little tuning",
        search=MappingProxyType({"learning_rate": Range(1e-3, 1e-2, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.adam(self.learning_rate, self.beta1, self.beta2, self.eps)
