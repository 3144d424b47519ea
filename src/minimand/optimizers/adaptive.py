"""Rules that divide each parameter's gradient by how large its gradients have been."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import (
    Card,
    DecayRate,
    NonNegative,
    OpenFraction,
    Positive,
    Range,
    component,
)
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax


@component
class AdaGrad(Optimizer):
    """Divides by the root of the sum of squared gradients: rare features take larger steps.

    >>> AdaGrad().learning_rate
    0.1
    """

    learning_rate: Positive = 0.1
    initial_accumulator_value: NonNegative = 0.1
    eps: Positive = 1e-7
    card = Card(
        formula="s ← s + g²;  θ ← θ - η g / √(s + ε)",
        source="Duchi, Hazan and Singer (2011), Adaptive subgradient methods for online learning "
        "and stochastic optimization, figure 1",
        use="sparse columns; convex objectives",
        search=MappingProxyType({"learning_rate": Range(1e-2, 1.0, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.adagrad(self.learning_rate, self.initial_accumulator_value, self.eps)


@component
class RMSProp(Optimizer):
    """Divides by the root of the running mean square of the gradient.

    >>> RMSProp().rho
    0.9
    """

    learning_rate: Positive = 0.001
    rho: DecayRate = 0.9
    eps: Positive = 1e-8
    card = Card(
        formula="v ← ρ v + (1-ρ) g²;  θ ← θ - η g / (√v + ε)",
        source="Tieleman and Hinton (2012), Coursera lecture 6.5",
        use="recurrent networks and targets that move",
        search=MappingProxyType({"learning_rate": Range(1e-4, 1e-2, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.rmsprop(self.learning_rate, self.rho, self.eps, eps_in_sqrt=False)


@component
class AdaDelta(Optimizer):
    """RMSProp in the units of the parameters: the size of past steps stands for the step size.

    >>> AdaDelta().rho
    0.9
    """

    learning_rate: Positive = 1.0
    rho: DecayRate = 0.9
    eps: Positive = 1e-6
    card = Card(
        formula="v ← ρ v + (1-ρ) g²;  d = g √(u + ε) / √(v + ε);  u ← ρ u + (1-ρ) d²;  θ ← θ - η d",
        source="Zeiler (2012), ADADELTA: an adaptive learning rate method, algorithm 1",
        use="no step size to choose, though others are quicker",
        search=MappingProxyType({"learning_rate": Range(0.1, 10.0, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.adadelta(self.learning_rate, self.rho, self.eps)


@component
class Adafactor(Optimizer):
    """Adam's scaling from row and column sums: a matrix costs the memory of its two edges.

    The step size is relative to the root mean square of each array, which counts as at least 0.001.

    >>> Adafactor().decay_rate
    0.8
    """

    learning_rate: Positive = 0.01
    decay_rate: OpenFraction = 0.8
    clipping_threshold: Positive = 1.0
    card = Card(
        formula="v ≈ row col / Σ row, decayed by 1 - t^-c;  u = g / √v;  "
        "θ ← θ - η RMS(θ) u / max(1, RMS(u) / d)",
        source="Shazeer and Stern (2018), Adafactor: adaptive learning rates with sublinear memory "
        "cost, algorithms 4-6",
        use="networks whose optimiser state would not fit",
        search=MappingProxyType({"learning_rate": Range(1e-3, 0.1, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.adafactor(
            self.learning_rate,
            min_dim_size_to_factor=1,
            decay_rate=self.decay_rate,
            clipping_threshold=self.clipping_threshold,
        )
