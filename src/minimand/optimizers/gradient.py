"""Rules that follow the gradient, its sign, or a running sum of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import Card, DecayRate, NonNegative, Positive, Range, component
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax

RATES = Range(1e-3, 1.0, log=True)
MOMENTA = Range(0.5, 0.99)


@component
class GradientDescent(Optimizer):
    """Batch gradient descent: each step sees every row, unless a recipe says a `batch_size`.

    >>> GradientDescent().learning_rate
    0.5
    """

    learning_rate: Positive = 0.5
    card = Card(
        formula="θ ← θ - η g, g the gradient over all rows",
        source="Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations "
        "simultanées",
        use="small data; a path without noise, to look at",
        search=MappingProxyType({"learning_rate": Range(1e-2, 10.0, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.sgd(self.learning_rate)

    @property
    def whole_batches(self) -> bool:
        """Yes."""
        return True


@component
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look-ahead on request.

    >>> SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    """

    learning_rate: Positive = 0.1
    momentum: DecayRate = 0.0
    nesterov: bool = False
    card = Card(
        formula="v ← μ v + g;  θ ← θ - η v  (Nesterov: θ ← θ - η (g + μ v))",
        source="Robbins and Monro (1951); Polyak (1964); Sutskever et al. (2013), eq. 1-4",
        use="the plain rule; with momentum, the strong baseline for networks",
        search=MappingProxyType({"learning_rate": RATES, "momentum": Range(0.0, 0.99)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.sgd(self.learning_rate, self.momentum, self.nesterov)


@component
class Momentum(Optimizer):
    """The heavy ball: follows a sum of the gradients in which the older ones fade.

    >>> Momentum().momentum
    0.9
    """

    learning_rate: Positive = 0.01
    momentum: DecayRate = 0.9
    card = Card(
        formula="v ← μ v + g;  θ ← θ - η v",
        source="Polyak (1964), Some methods of speeding up the convergence of iteration methods",
        use="long narrow valleys; convolutional networks with a tuned step size",
        search=MappingProxyType({"learning_rate": RATES, "momentum": MOMENTA}),
    )

    def transform(self) -> optax.GradientTransformation:
        return SGD(self.learning_rate, self.momentum).transform()


@component
class Nesterov(Optimizer):
    """Momentum that looks ahead: the gradient counts where the ball is about to be.

    >>> Nesterov().momentum
    0.9
    """

    learning_rate: Positive = 0.01
    momentum: DecayRate = 0.9
    card = Card(
        formula="v ← μ v + g;  θ ← θ - η (g + μ v)",
        source="Nesterov (1983), A method of solving a convex programming problem with convergence "
        "rate O(1/k²); as in Sutskever et al. (2013), eq. 3-4",
        use="as momentum, with fewer overshoots",
        search=MappingProxyType({"learning_rate": RATES, "momentum": MOMENTA}),
    )

    def transform(self) -> optax.GradientTransformation:
        return SGD(self.learning_rate, self.momentum, nesterov=True).transform()


@component
class Lion(Optimizer):
    """The sign of a momentum: every parameter moves by the same amount.

    Kernels alone decay.

    >>> Lion().beta2
    0.99
    """

    learning_rate: Positive = 3e-4
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.99
    weight_decay: NonNegative = 0.01
    hides = True
    card = Card(
        formula="θ ← θ - η (sign(β₁ m + (1-β₁) g) + λ θ);  m ← β₂ m + (1-β₂) g",
        source="Chen et al. (2023), Symbolic discovery of optimization algorithms, program 1",
        use="large batches with half the memory of Adam; a step size of a third to a tenth of its",
        search=MappingProxyType(
            {
                "learning_rate": Range(3e-5, 3e-3, log=True),
                "weight_decay": Range(1e-3, 1.0, log=True),
            }
        ),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import only_kernels

        decay = {"weight_decay": self.weight_decay, "mask": only_kernels}
        return optax.lion(self.learning_rate, self.beta1, self.beta2, **decay)


@component
class SGLD(Optimizer):
    """Stochastic gradient Langevin dynamics: descent with noise, which ends in sampling.

    The parameters settle into the density ∝ exp(-objective / temperature): with a mean loss over n
    rows, 1/n is the posterior's temperature. Keep the step size constant: a schedule would shrink
    the noise with the step, and not with its root.

    >>> SGLD(temperature=1 / 1000).temperature
    0.001
    """

    learning_rate: Positive = 0.1
    temperature: NonNegative = 1e-4
    card = Card(
        formula="θ ← θ - η g + √(2 η T) ξ, ξ standard normal",
        source="Welling and Teh (2011), Bayesian learning via stochastic gradient Langevin "
        "dynamics, eq. 4, with η = ε n / 2 and T = 1 / n",
        use="samples from a posterior; noise that leaves narrow minima",
        search=MappingProxyType(
            {"learning_rate": RATES, "temperature": Range(1e-6, 1e-2, log=True)}
        ),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import noise

        spread = (2 * self.learning_rate * self.temperature) ** 0.5
        return optax.chain(optax.sgd(self.learning_rate), noise(spread))
