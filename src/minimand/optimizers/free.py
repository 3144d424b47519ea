"""Rules that need no schedule, or no step size."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from minimand.component import Card, DecayRate, OpenFraction, Positive, Range, component
from minimand.optimizers.adam import AdamW
from minimand.optimizers.base import Optimizer
from minimand.optimizers.wrapper import Wrapper

if TYPE_CHECKING:
    import optax


@component
class ScheduleFree(Wrapper):
    """Any rule, with averaging in place of a decaying schedule.

    The rule moves z, gradients are taken between z and its mean x, and x is what is judged and
    kept. Give it a rule without momentum, which `beta1` replaces, and the constant schedule.

    >>> ScheduleFree().optimizer.learning_rate
    0.0025
    """

    optimizer: Optimizer = AdamW(learning_rate=0.0025, beta1=0.0)
    beta1: OpenFraction = 0.9
    card = Card(
        formula="y = (1-β) z + β x;  z ← z + rule(g(y));  x ← (1 - 1/t) x + z / t",
        source="Defazio et al. (2024), The road less scheduled, section 2",
        use="runs whose length is not known; a final answer at every step",
        search=MappingProxyType({"beta1": Range(0.8, 0.98)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        rule = self.optimizer.transform()
        return optax.contrib.schedule_free(rule, self.learning_rate, self.beta1)

    def evaluated(self, params: Any, state: Any) -> Any:
        """The mean x, of the point y that is trained."""
        import optax

        return optax.contrib.schedule_free_eval_params(state, params)


@component
class Prodigy(Optimizer):
    """Adam that estimates its own step size from how far it has come.

    `learning_rate` multiplies the estimate, `d0` is the estimate to begin with.

    >>> Prodigy().learning_rate
    1.0
    """

    learning_rate: Positive = 1.0
    beta1: DecayRate = 0.9
    beta2: DecayRate = 0.999
    eps: Positive = 1e-8
    d0: Positive = 1e-6
    card = Card(
        formula="d ← max(d, Σ w η d² ⟨g, θ₀ - θ⟩ / ‖Σ w η d² g‖₁), w fading by √β₂;  "
        "θ ← θ - η d m̂ / (√v̂ + d ε)",
        source="Mishchenko and Defazio (2024), Prodigy: an expeditiously adaptive parameter-free "
        "learner, algorithm 4, with η times Adam's correction of the bias",
        use="a first run, before any step size has been searched",
        search=MappingProxyType({"learning_rate": Range(0.1, 3.0, log=True)}),
    )

    def transform(self) -> optax.GradientTransformation:
        import optax

        betas = (self.beta1, self.beta2)
        return optax.contrib.prodigy(self.learning_rate, betas, eps=self.eps, estim_lr0=self.d0)
