"""A recipe: everything that defines a training run but the data and the seed."""

from __future__ import annotations

from typing import Literal

import numpy as np
import optax

from minimand.component import Component, Count, NonNegative, component
from minimand.constraints import Constraint, Unconstrained
from minimand.data.augmentation import Augmentation, Unchanged
from minimand.errors import ArgumentError, ArgumentTypeError
from minimand.losses import Loss
from minimand.metrics import Metric
from minimand.networks import Network, adapt
from minimand.optimizers import Adam, Optimizer
from minimand.optimizers.foreign import FromOptax
from minimand.penalties import Penalty, Unpenalised
from minimand.schedules import Constant, Schedule
from minimand.training.watching import check_metric

BATCH, EVERY_ROW = 32, 2**31 - 1
"""The size of a batch that nobody has chosen, and one that no data exceed."""


@component
class Recipe(Component):
    """Network, loss, penalty, constraint, augmentation, optimiser, schedule, batches and stopping.

    The run stops when the validation loss has not fallen by more than `min_delta` for `patience`
    epochs, though not before `min_epochs`, and the parameters of the best epoch are returned (the
    last ones without `restore_best`). Without validation rows it runs all `epochs` and returns the
    last parameters. A `metric` of the validation rows is watched instead of their loss. A run that
    reaches the `goal` ends there.

    A batch has 32 rows by default, or every row where the optimiser is `GradientDescent`.
    `precision` is that of the forward and backward pass; parameters and sums stay in float32. When
    a loss or gradient is not finite, the run ends ("stop"), passes over that batch ("skip"), or
    goes back to the end of the epoch whose training loss was lowest, with half the step size
    ("halve"; members of a search stop instead).

    The network may also be a model of another library, which `minimand.networks.adapt` then takes,
    and the optimiser an Optax transformation.

    >>> from minimand.networks import MLP
    >>> from minimand.losses import CrossEntropy
    >>> Recipe(MLP(hidden=(128,), outputs=10), CrossEntropy(), epochs=20).batch
    32

    Raises:
        ArgumentError: a loss that has no slope to follow, such as `ZeroOne`; a precision that the
            network does not heed.
    """

    kind = "recipe"
    network: Network
    loss: Loss
    optimizer: Optimizer = Adam()
    penalty: Penalty = Unpenalised()
    schedule: Schedule = Constant()
    constraint: Constraint = Unconstrained()
    augmentation: Augmentation = Unchanged()
    batch_size: Count | None = None
    epochs: Count = 100
    patience: Count = 10
    min_delta: NonNegative = 0.0
    min_epochs: int = 0
    restore_best: bool = True
    metric: Metric | None = None
    goal: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    on_non_finite: Literal["stop", "skip", "halve"] = "stop"

    def __post_init__(self) -> None:
        if not isinstance(self.network, (Network, str)):
            object.__setattr__(self, "network", adapt(self.network))
        if isinstance(self.optimizer, optax.GradientTransformation):
            object.__setattr__(self, "optimizer", FromOptax(self.optimizer))
        super().__post_init__()
        self.loss.check_minimisable()
        if self.precision != "float32" and not self.network.precise:
            raise ArgumentError(
                f"{self.network} computes by a dtype policy of its own; leave precision at "
                f"'float32' and make the model under that policy, such as 'mixed_{self.precision}'"
            )
        if self.metric is not None:
            if not isinstance(self.metric, Metric):
                raise ArgumentTypeError(
                    f"the metric is a {type(self.metric).__name__}; give one of minimand.metrics, "
                    f"or a class of your own derived from minimand.metrics.Metric"
                )
            check_metric(self.metric, self.loss)

    @property
    def batch(self) -> int:
        """How many rows a batch has at most."""
        return int(self.batch_size or (EVERY_ROW if self.optimizer.whole_batches else BATCH))

    @property
    def rising(self) -> bool:
        """Whether what is watched should rise."""
        return self.metric is not None and self.metric.greater_is_better

    @property
    def falling_goal(self) -> float:
        """The goal for the watched value, its sign such that less is better."""
        return (-1 if self.rising else 1) * (self.goal or 0.0)


def sensible_batch(rows: int) -> int:
    """About 50 steps an epoch: a power of two from 16 to 256."""
    return int(np.clip(2 ** round(np.log2(rows / 50)), 16, 256))
