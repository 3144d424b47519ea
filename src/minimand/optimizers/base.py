"""What an optimiser is: a stochastic update rule, built as an Optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minimand.component import Component
from minimand.errors import ArgumentError

if TYPE_CHECKING:
    import optax


class Optimizer(Component):
    """An update rule; its numbers may be traced, so that many settings share one program."""

    kind = "optimizer"
    learning_rate: float

    def transform(self) -> optax.GradientTransformation:
        """The rule as an Optax transformation: gradients in, updates to add out.

        Its `update` may ask by name for `value` (the loss of the batch), `key` (for random numbers)
        and `gradient_at` (the gradient of this batch elsewhere, as in `gradient`).
        """
        raise NotImplementedError

    def gradient(self, gradient_at: Callable[[Any], tuple[Any, Any]], params: Any) -> Any:
        """What the rule follows at `params`, as `gradient_at` gives it: (value, gradient)."""
        return gradient_at(params)

    def evaluated(self, params: Any, state: Any) -> Any:
        """The parameters to judge and to keep, of those that are trained."""
        return params

    @property
    def divisible(self) -> bool:
        """Whether the rule treats each array by itself, so that it may be given only some."""
        own = type(self).gradient, type(self).evaluated
        return own == (Optimizer.gradient, Optimizer.evaluated)


def check_divisible(where: str, rule: Optimizer) -> None:
    """Refuse a rule that cannot be given a part of the parameters.

    Raises:
        ArgumentError: it needs a second gradient, or judges by other parameters.
    """
    if not rule.divisible:
        raise ArgumentError(
            f"{where} is {rule}, which acts on all parameters together; put it outside"
        )
