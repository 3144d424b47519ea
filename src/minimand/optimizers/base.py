"""What an optimiser is: a stochastic update rule, built as an Optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minimand.component import Component

if TYPE_CHECKING:
    import optax


class Optimizer(Component):
    """An update rule; its numbers may be traced, so that many settings share one program."""

    kind = "optimizer"

    def transform(self) -> optax.GradientTransformation:
        """The rule as an Optax transformation: gradients in, updates to add out."""
        raise NotImplementedError

    def gradient(self, gradient_at: Callable[[Any], tuple[Any, Any]], params: Any) -> Any:
        """What the rule follows at `params`, as `gradient_at` gives it: (value, gradient)."""
        return gradient_at(params)

    def evaluated(self, params: Any, state: Any) -> Any:
        """The parameters to judge and to keep, of those that are trained."""
        return params
