"""What a rule around another is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minimand.errors import ArgumentError
from minimand.optimizers.base import Optimizer

if TYPE_CHECKING:
    import optax


class Wrapper(Optimizer):
    """A rule around another; its state holds that of the rule inside in second place.

    The rule inside may also be an Optax transformation.
    """

    optimizer: Optimizer

    def __post_init__(self) -> None:
        optax = sys.modules.get("optax")
        if optax and isinstance(self.optimizer, optax.GradientTransformation):
            from minimand.optimizers.foreign import FromOptax

            object.__setattr__(self, "optimizer", FromOptax(self.optimizer))
        super().__post_init__()

    def before(self) -> optax.GradientTransformation:
        """What happens to the gradient before the rule inside sees it: nothing."""
        import optax

        return optax.identity()

    def after(self) -> optax.GradientTransformation:
        """What happens to the update of the rule inside: nothing."""
        import optax

        return optax.identity()

    def transform(self) -> optax.GradientTransformation:
        import optax

        return optax.chain(self.before(), self.optimizer.transform(), self.after())

    @property
    def learning_rate(self) -> Any:  # type: ignore[override]
        """The step size of the rule inside.

        Raises:
            ArgumentError: the rule keeps it to itself, as Optax transformations do.
        """
        if not hasattr(self.optimizer, "learning_rate"):
            raise ArgumentError(
                f"{type(self).__name__} needs the learning rate of the rule inside, which "
                f"{self.optimizer} keeps to itself; put it around one of minimand.optimizers"
            )
        return self.optimizer.learning_rate

    def gradient(self, gradient_at: Callable[[Any], tuple[Any, Any]], params: Any) -> Any:
        return self.optimizer.gradient(gradient_at, params)

    def evaluated(self, params: Any, state: Any) -> Any:
        return self.optimizer.evaluated(params, state[1])

    @property
    def whole_batches(self) -> bool:
        """Whether the rule inside takes all rows at once."""
        return self.optimizer.whole_batches

    @property
    def divisible(self) -> bool:
        """Whether neither this nor the rule inside needs all the parameters."""
        own = type(self).gradient, type(self).evaluated
        return own == (Wrapper.gradient, Wrapper.evaluated) and self.optimizer.divisible
