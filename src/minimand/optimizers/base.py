"""What an optimiser is: a stochastic update rule, built as an Optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from minimand.component import Component
from minimand.errors import ArgumentError

if TYPE_CHECKING:
    import optax


class Optimizer(Component):
    """An update rule; its numbers may be traced, so that many settings share one program."""

    kind = "optimizer"
    learning_rate: float
    hides: ClassVar[bool] = False
    """Whether it makes finite updates of an infinite gradient by itself."""

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
    def whole_batches(self) -> bool:
        """Whether a recipe that says no batch size gives it all rows at once."""
        return False

    @property
    def hiding(self) -> bool:
        """Whether a run must look at its gradients, because their infinities would not show."""
        parts = (getattr(self, name) for name in self._hints)
        return self.hides or any(isinstance(part, Optimizer) and part.hiding for part in parts)

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
