"""Rules that use curvature, or treat a matrix as one thing and not as so many numbers."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from minimand.component import Card, Count, DecayRate, NonNegative, Positive, Range, component
from minimand.optimizers.adam import AdamW
from minimand.optimizers.adaptive import AdaGrad
from minimand.optimizers.base import Optimizer, check_divisible

if TYPE_CHECKING:
    import optax


@component
class Sophia(Optimizer):
    """Momentum divided by an estimate of the curvature, and clipped entry by entry.

    Every `update_interval` steps a second pass with random signs estimates the Hessian's diagonal.
    Kernels alone decay.

    >>> Sophia().update_interval
    10
    """

    learning_rate: Positive = 0.001
    beta1: DecayRate = 0.96
    beta2: DecayRate = 0.99
    gamma: Positive = 0.01
    eps: Positive = 1e-12
    weight_decay: NonNegative = 0.01
    update_interval: Count = 10
    card = Card(
        formula="h ← β₂ h + (1-β₂) s ⊙ H s, s random signs;  "
        "θ ← θ - η (clip(m / max(γ h, ε), ±1) + λ θ)",
        source="Liu et al. (2024), Sophia: a scalable stochastic second-order optimizer for "
        "language model pre-training, algorithms 1 and 3",
        use="long runs of large networks whose curvature differs much between parameters",
        search=MappingProxyType(
            {
                "learning_rate": Range(1e-4, 1e-2, log=True),
                "gamma": Range(5e-3, 0.2, log=True),
            }
        ),
    )

    @property
    def divisible(self) -> bool:
        """No: the second pass is through all parameters."""
        return False

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import only_kernels, sophia

        return optax.chain(
            sophia(self.beta1, self.beta2, self.gamma, self.eps, self.update_interval),
            optax.add_decayed_weights(self.weight_decay, only_kernels),
            optax.scale_by_learning_rate(self.learning_rate),
        )


@component
class Muon(Optimizer):
    """Momentum made orthogonal, so that every direction of a matrix is learnt at one speed.

    Kernels that are matrices follow it; `rest` is the rule of every other array: biases, scales of
    norms, embeddings.

    Raises:
        ArgumentError: `rest` acts on all parameters together.

    >>> Muon().rest
    AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.01)
    """

    learning_rate: Positive = 0.02
    momentum: DecayRate = 0.95
    weight_decay: NonNegative = 0.01
    rest: Optimizer = AdamW()
    card = Card(
        formula="v ← μ v + g;  U = NewtonSchulz₅(g + μ v);  θ ← θ - η (√max(1, n / m) U + λ θ), "
        "θ m × n",
        source="Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks",
        use="hidden layers of large networks, in fewer steps than AdamW",
        search=MappingProxyType({"learning_rate": Range(1e-3, 0.1, log=True)}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divisible("Muon: rest", self.rest)

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import on_matrices, only_kernels

        decay = {"weight_decay": self.weight_decay, "weight_decay_mask": only_kernels}
        step = optax.contrib.muon(self.learning_rate, beta=0.0, eps=1e-7, nesterov=False, **decay)
        rule = optax.chain(optax.trace(self.momentum, nesterov=True), step)
        return on_matrices(rule, self.rest.transform())


@component
class Shampoo(Optimizer):
    """AdaGrad for matrices: divides by roots of the gradients' row and column covariances.

    The roots are renewed every `precondition_frequency` steps; `rest` is the rule of every array
    that is no matrix.

    Raises:
        ArgumentError: `rest` acts on all parameters together.

    >>> Shampoo().precondition_frequency
    10
    """

    learning_rate: Positive = 0.1
    eps: Positive = 1e-4
    precondition_frequency: Count = 10
    rest: Optimizer = AdaGrad()
    card = Card(
        formula="L ← L + G Gᵀ;  R ← R + Gᵀ G;  θ ← θ - η L^-¼ G R^-¼",
        source="Gupta, Koren and Singer (2018), Shampoo: preconditioned stochastic tensor "
        "optimization, algorithm 1",
        use="matrices of up to a few thousand rows whose columns depend on each other",
        search=MappingProxyType({"learning_rate": Range(1e-2, 1.0, log=True)}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divisible("Shampoo: rest", self.rest)

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import on_matrices, shampoo

        scaled = shampoo(self.eps, self.precondition_frequency)
        rule = optax.chain(scaled, optax.scale_by_learning_rate(self.learning_rate))
        return on_matrices(rule, self.rest.transform())


@component
class SOAP(Optimizer):
    """Adam in the eigenvectors of Shampoo's covariances.

    The eigenvectors follow every `precondition_frequency` steps; `rest` is the rule of every array
    that is no matrix. Kernels alone decay.

    Raises:
        ArgumentError: `rest` acts on all parameters together.

    >>> SOAP().beta1
    0.95
    """

    learning_rate: Positive = 0.003
    beta1: DecayRate = 0.95
    beta2: DecayRate = 0.95
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.01
    precondition_frequency: Count = 10
    rest: Optimizer = AdamW(learning_rate=0.003)
    card = Card(
        formula="P, Q: eigenvectors of running means of G Gᵀ and Gᵀ G;  "
        "θ ← θ - η (P Adam(Pᵀ G Q) Qᵀ + λ θ)",
        source="Vyas et al. (2025), SOAP: improving and stabilizing Shampoo using Adam, "
        "algorithm 3",
        use="large batches; matrices of up to a few thousand rows, in fewer steps than AdamW",
        search=MappingProxyType({"learning_rate": Range(3e-4, 3e-2, log=True)}),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divisible("SOAP: rest", self.rest)

    def transform(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import on_matrices, only_kernels, soap

        rule = optax.chain(
            soap(self.beta1, self.beta2, self.eps, self.precondition_frequency),
            optax.add_decayed_weights(self.weight_decay, only_kernels),
            optax.scale_by_learning_rate(self.learning_rate),
        )
        return on_matrices(rule, self.rest.transform())
