"""What can be put around any rule: clipping, accumulation, averages, decay, groups, sharpness."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from minimand.component import Card, Count, DecayRate, NonNegative, Positive, Range, component
from minimand.optimizers.adam import Adam
from minimand.optimizers.base import Optimizer, check_divisible
from minimand.optimizers.gradient import Momentum
from minimand.optimizers.wrapper import Wrapper

if TYPE_CHECKING:
    import optax

TINY = 1e-12
NORMS = MappingProxyType({"max_norm": Range(0.1, 10.0, log=True)})


@component
class ClipByValue(Wrapper):
    """Every entry of the gradient is cut to [-limit, limit] before the rule sees it.

    >>> ClipByValue(Adam(), limit=0.5).limit
    0.5
    """

    optimizer: Optimizer = Adam()
    limit: Positive = 1.0
    hides = True
    card = Card(
        formula="g ← min(max(g, -c), c)",
        source="Mikolov (2012), Statistical language models based on neural networks, thesis",
        use="single entries that explode; it changes the gradient's direction",
        search=MappingProxyType({"limit": Range(0.01, 10.0, log=True)}),
    )

    def before(self) -> optax.GradientTransformation:
        import optax

        return optax.clip(self.limit)


@component
class ClipByNorm(Wrapper):
    """A gradient longer than `max_norm`, over all parameters together, is shortened to it.

    >>> ClipByNorm(Adam(), max_norm=5.0).max_norm
    5.0
    """

    optimizer: Optimizer = Adam()
    max_norm: Positive = 1.0
    card = Card(
        formula="g ← g min(1, c / ‖g‖)",
        source="Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural "
        "networks, algorithm 1",
        use="recurrent networks and transformers; steps that explode now and then",
        search=NORMS,
    )

    def before(self) -> optax.GradientTransformation:
        import optax

        return optax.clip_by_global_norm(self.max_norm)


@component
class ClipByLayer(Wrapper):
    """As `ClipByNorm`, but each layer's gradient by itself: kernel and bias together.

    >>> ClipByLayer(Adam(), max_norm=0.1).max_norm
    0.1
    """

    optimizer: Optimizer = Adam()
    max_norm: Positive = 1.0
    card = Card(
        formula="g_l ← g_l min(1, c / ‖g_l‖) for each layer l",
        source="Abadi et al. (2016), Deep learning with differential privacy, section 3.1",
        use="one layer whose gradient would drown the others",
        search=NORMS,
    )

    def before(self) -> optax.GradientTransformation:
        from minimand.optimizers.updates import clipped_by_layer

        return clipped_by_layer(self.max_norm)


@component
class Accumulate(Wrapper):
    """One step for every `steps` batches, with the mean of their gradients.

    Batches of equal weight make the step of one large batch, in the memory of a small one.

    >>> Accumulate(Adam(), steps=8).steps
    8
    """

    optimizer: Optimizer = Adam()
    steps: Count = 4
    card = Card(
        formula="θ ← θ + rule((g₁ + ... + g_k) / k) after every k batches",
        source="Ott et al. (2018), Scaling neural machine translation",
        use="large batches where the memory allows only small ones",
    )

    def transform(self) -> optax.GradientTransformation:
        from minimand.optimizers.updates import accumulated

        return accumulated(self.optimizer.transform(), self.steps)


@component
class Averaged(Wrapper):
    """Trains as the rule inside; judges and keeps a running mean of the parameters.

    The mean is over the start and all steps so far, the weights of older ones fading by `decay`.

    >>> Averaged(Adam(), decay=0.99).decay
    0.99
    """

    optimizer: Optimizer = Adam()
    decay: DecayRate = 0.99
    card = Card(
        formula="θ̄ = Σ δ^(t-k) θ_k / Σ δ^(t-k), k = 0 ... t",
        source="Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging; "
        "fading as in Kingma and Ba (2015), section 7.2",
        use="smoother validation scores; small batches and constant step sizes",
        search=MappingProxyType({"decay": Range(0.9, 0.9999)}),
    )

    def after(self) -> optax.GradientTransformation:
        from minimand.optimizers.updates import averaged

        return averaged(self.decay)

    def evaluated(self, params: Any, state: Any) -> Any:
        """The running mean, in which these parameters are the latest."""
        import optax

        from minimand.optimizers.updates import averaged

        _, (mean, count) = averaged(self.decay).update(params, state[2], params)
        return optax.tree.bias_correction(mean, self.decay, count)


@component
class Decayed(Wrapper):
    """Decoupled weight decay for any rule: `AdamW` is `Decayed(Adam())`.

    Kernels shrink by the share `learning_rate * weight_decay` at every step; biases and the scales
    of norms do not.

    >>> Decayed(Momentum(), weight_decay=0.001).weight_decay
    0.001
    """

    optimizer: Optimizer = Adam()
    weight_decay: NonNegative = 0.01
    card = Card(
        formula="θ ← θ + rule(g) - η λ θ",
        source="Loshchilov and Hutter (2019), Decoupled weight decay regularization, algorithm 1, "
        "with λ in units of the step size",
        use="networks that overfit, under any rule",
        search=MappingProxyType({"weight_decay": Range(1e-4, 1.0, log=True)}),
    )

    def after(self) -> optax.GradientTransformation:
        import optax

        from minimand.optimizers.updates import only_kernels

        return optax.add_decayed_weights(-self.learning_rate * self.weight_decay, only_kernels)


@component
class Groups(Wrapper):
    """Another rule for the parameters of one name, or of one layer.

    `name` is part of a parameter's path: "bias" is every bias, "output" all that is in the layer
    called output. For several names put one around the other; the outermost comes first.

    Raises:
        ArgumentError: a rule that acts on all parameters together; put it around the groups.
        UnknownNameError: at the start of a run, no parameter or layer has the name.

    >>> Groups(Adam(), name="output", other=Adam(learning_rate=0.01)).name
    'output'
    """

    optimizer: Optimizer = Adam()
    name: str = "bias"
    other: Optimizer = Momentum()
    card = Card(
        formula="θ_a ← θ_a + other(g_a) where the name is a's;  θ_b ← θ_b + rule(g_b) elsewhere",
        source="Howard and Ruder (2018), Universal language model fine-tuning, section 3.2",
        use="other steps for one layer, or for biases; small ones where a layer is trained already",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divisible("Groups: optimizer", self.optimizer)
        check_divisible("Groups: other", self.other)

    def transform(self) -> optax.GradientTransformation:
        from minimand.optimizers.updates import parted

        return parted(self.optimizer.transform(), self.other.transform(), self.name)

    def evaluated(self, params: Any, state: Any) -> Any:
        return params

    @property
    def divisible(self) -> bool:
        """Yes, as both rules are."""
        return True


@component
class SAM(Wrapper):
    """Sharpness-aware: the gradient is taken where the loss within reach is about largest.

    Costs two passes a step. The value, and what the network remembers, are of the first.

    >>> SAM(Momentum(), rho=0.1).rho
    0.1
    """

    optimizer: Optimizer = Momentum()
    rho: Positive = 0.05
    card = Card(
        formula="θ ← θ + rule(g(θ + ρ g / ‖g‖))",
        source="Foret et al. (2021), Sharpness-aware minimization for efficiently improving "
        "generalization, algorithm 1",
        use="wide minima, labels with mistakes, small image data",
        search=MappingProxyType({"rho": Range(0.01, 0.5, log=True)}),
    )

    def gradient(self, gradient_at: Callable[[Any], tuple[Any, Any]], params: Any) -> Any:
        """The value here, and the gradient uphill of here."""
        import optax

        first, slope = gradient_at(params)
        reach = self.rho / (optax.tree.norm(slope) + TINY)
        uphill = optax.tree.add_scale(params, reach, slope)
        return first, self.optimizer.gradient(gradient_at, uphill)[1]
