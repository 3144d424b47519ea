"""Rules for very large batches: each array's step is in proportion to its norm."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import Card, DecayRate, NonNegative, Positive, Range, component
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax


@component
class LARS(Optimizer):
    """Momentum whose step on each kernel is a small share of the kernel's norm.

    Biases and the scales of norms take plain steps and do not decay.

    >>> LARS().trust_coefficient
    0.001
    """

    learning_rate: Positive = 1.0
    momentum: DecayRate = 0.9
    weight_decay: NonNegative = 1e-4
    trust_coefficient: Positive = 0.001
    card = Card(
        formula="u = g + λ θ;  v ← μ v + η c (‖θ‖ / ‖u‖) u;  θ ← θ - v",
        source="You, Gitman and Ginsburg (2017), Large batch training of convolutional networks, "
        "algorithm 1",
        use="convolutional networks in batches of thousands",
        search=MappingProxyType({"learning_rate": Range(0.1, 30.0, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import only_kernels

        return optax.lars(
            self.learning_rate,
            self.weight_decay,
            only_kernels,
            self.trust_coefficient,
            trust_ratio_mask=only_kernels,
            momentum=self.momentum,
        )


@component
class LAMB(Optimizer):
    """AdamW whose step on each array is in proportion to the array's norm.

    Kernels alone decay.

    >>> LAMB().eps
    1e-06
    """

    learning_rate: Positive = 0.01
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-6
    weight_decay: NonNegative = 0.01
    card = Card(
        formula="u = m̂ / (√v̂ + ε) + λ θ;  θ ← θ - η (‖θ‖ / ‖u‖) u, m̂ and v̂ as in Adam",
        source="You et al. (2020), Large batch optimization for deep learning: training BERT in 76 "
        "minutes, algorithm 2",
        use="transformers in batches of thousands",
        search=MappingProxyType(
            {
                "learning_rate": Range(1e-3, 0.1, log=True),
                "weight_decay": Range(1e-3, 0.1, log=True),
            }
        ),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import only_kernels

        decay = {"weight_decay": self.weight_decay, "mask": only_kernels}
        return optax.lamb(self.learning_rate, self.beta1, self.beta2, self.eps, **decay)
