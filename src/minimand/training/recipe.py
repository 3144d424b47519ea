"""A recipe: everything that defines a training run but the data and the seed."""

from __future__ import annotations

from minimand.component import Component, Count, NonNegative, component
from minimand.losses import Loss
from minimand.networks import Network
from minimand.optimizers import Adam, Optimizer
from minimand.penalties import L2, Penalty
from minimand.schedules import Constant, Schedule


@component
class Recipe(Component):
    """Network, loss, penalty, optimiser, schedule, batches and stopping.

    The run stops when the validation loss has not fallen by more than `min_delta` for `patience`
    epochs, and the parameters of the best epoch are returned. Without validation rows it runs all
    `epochs` and returns the last parameters.

    >>> from minimand.networks import MLP
    >>> from minimand.losses import CrossEntropy
    >>> Recipe(MLP(hidden=(128,), outputs=10), CrossEntropy(), epochs=20).batch_size
    32

    Raises:
        ArgumentError: a loss that has no slope to follow, such as `ZeroOne`.
    """

    kind = "recipe"
    network: Network
    loss: Loss
    optimizer: Optimizer = Adam()
    penalty: Penalty = L2(strength=0.0)
    schedule: Schedule = Constant()
    batch_size: Count = 32
    epochs: Count = 100
    patience: Count = 10
    min_delta: NonNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.loss.check_minimisable()
