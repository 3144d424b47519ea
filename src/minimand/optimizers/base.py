"""What an optimiser is: a stochastic update rule, built as an Optax transformation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minimand.component import Component

if TYPE_CHECKING:
    import optax


class Optimizer(Component):
    """An update rule; its numbers may be traced, so that many settings share one program."""

    kind = "optimizer"

    def transform(self) -> optax.GradientTransformation:
        """The rule as an Optax transformation: gradients in, updates to add out."""
        raise NotImplementedError
