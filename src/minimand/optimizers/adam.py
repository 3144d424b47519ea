"""Adam and its relatives: momentum, divided by the root of the running mean square."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import Card, DecayRate, NonNegative, Positive, Range, component
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax

SEARCH = MappingProxyType({"learning_rate": Range(1e-3, 1e-2, log=True)})


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
        search=SEARCH,
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import adam

        scaled = adam(self.beta1, self.beta2, self.eps)
        return optax.chain(scaled, optax.scale_by_learning_rate(self.learning_rate))


@component
class AdamW(Optimizer):
    """Adam with decoupled weight decay: kernels shrink at one rate whatever their gradients.

    Biases and the scales of norms do not decay.

    >>> AdamW().weight_decay
    0.01
    """

    learning_rate: Positive = 0.001
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.01
    card = Card(
        formula="θ ← θ - η (m̂ / (√v̂ + ε) + λ θ), m̂ and v̂ as in Adam",
        source="Loshchilov and Hutter (2019), Decoupled weight decay regularization, algorithm 2",
        use="transformers, and any network that overfits",
        search=MappingProxyType(SEARCH | {"weight_decay": Range(1e-4, 1.0, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import adam, only_kernels

        return optax.chain(
            adam(self.beta1, self.beta2, self.eps),
            optax.add_decayed_weights(self.weight_decay, only_kernels),
            optax.scale_by_learning_rate(self.learning_rate),
        )


@component
class AMSGrad(Optimizer):
    """Adam whose scaling never shrinks, so that a rare large gradient is not forgotten.

    >>> AMSGrad().beta2
    0.999
    """

    learning_rate: Positive = 0.001
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-8
    card = Card(
        formula="s ← max(s, v);  θ ← θ - η m̂ / (√ŝ + ε), m̂ and v as in Adam",
        source="Reddi, Kale and Kumar (2018), On the convergence of Adam and beyond, algorithm 2, "
        "with Adam's correction of the bias",
        use="where Adam does not settle",
        search=SEARCH,
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import amsgrad

        scaled = amsgrad(self.beta1, self.beta2, self.eps)
        return optax.chain(scaled, optax.scale_by_learning_rate(self.learning_rate))


@component
class NAdam(Optimizer):
    """Adam with Nesterov's look-ahead.

    >>> NAdam().beta1
    0.9
    """

    learning_rate: Positive = 0.001
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-8
    card = Card(
        formula="θ ← θ - η (β₁ m̂⁺ + (1-β₁) ĝ) / (√v̂ + ε), m̂⁺ = m / (1 - β₁^(t+1))",
        source="Dozat (2016), Incorporating Nesterov momentum into Adam, algorithm 2, with a "
        "constant β₁",
        use="as Adam, at times a little quicker",
        search=SEARCH,
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.nadam(self.learning_rate, self.beta1, self.beta2, self.eps)


@component
class RAdam(Optimizer):
    """Adam that warms up by itself: no scaling before its variance can be trusted.

    >>> RAdam().beta2
    0.999
    """

    learning_rate: Positive = 0.001
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-8
    card = Card(
        formula="θ ← θ - η r m̂ / (√v̂ + ε) once ρ > 5, before that θ ← θ - η m̂",
        source="Liu et al. (2020), On the variance of the adaptive learning rate and beyond, "
        "algorithm 2",
        use="Adam without a warm-up",
        search=SEARCH,
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.radam(self.learning_rate, self.beta1, self.beta2, self.eps)
