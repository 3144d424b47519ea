"""What layer-wise pre-training is worth: the same network with and without it, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.metrics import Metric
from minimand.training.layerwise import beginning, pretrain
from minimand.training.loop import train
from minimand.training.recipe import Recipe
from minimand.training.result import Trained
from minimand.training.watching import check_metric, measured
from minimand.tuning.interval import Interval, corrected_interval


@dataclass(frozen=True)
class Pretraining:
    """Scores of test rows, one for each seed: of networks that were pre-trained, and that were not.

    >>> from minimand.metrics import Accuracy
    >>> print(Pretraining(Accuracy(), (0.90, 0.91, 0.92), (0.85, 0.85, 0.88)).summary())
    accuracy pre-trained 0.91 ± 0.025, not pre-trained 0.86 ± 0.043, gain 0.05 ± 0.025 (3 seeds)
    """

    metric: Metric
    pretrained: tuple[float, ...]
    plain: tuple[float, ...]

    @property
    def gain(self) -> Interval:
        """How much better the pre-trained networks are, the differences taken seed by seed."""
        difference = np.subtract(self.pretrained, self.plain)
        return corrected_interval(self.metric.sign * difference)

    def summary(self) -> str:
        """Both scores and the gain, each with its 95 % interval."""
        return (
            f"{self.metric.name} pre-trained {corrected_interval(self.pretrained)}, "
            f"not pre-trained {corrected_interval(self.plain)}, gain {self.gain} "
            f"({len(self.plain)} seeds)"
        )


def compare_pretraining(
    layers: Sequence[Recipe],
    recipe: Recipe,
    X: Array,
    y: Array,
    test: tuple[Array, Array],
    *,
    unlabelled: Array | None = None,
    metric: str | Metric = "accuracy",
    seeds: Sequence[int] = range(5),
    **options: Any,
) -> Pretraining:
    """Train a perceptron from pre-trained layers and from fresh ones, for every seed.

    Args:
        layers: what `minimand.training.layerwise.pretrain` trains, the lowest layer first.
        recipe: the network to fine-tune, an `MLP` whose hidden layers are those of the stack.
        X: [n, ...] inputs that have a label.
        y: [n] their targets.
        test: inputs and targets to be judged by.
        unlabelled: [m, ...] inputs to pre-train on; X without them.
        metric: what is judged: its name, or itself.
        seeds: decide fresh parameters and the order of rows.
        options: further arguments of `train`, for the fine-tuning.
    """
    judge = Metric.parse(metric) if isinstance(metric, str) else metric
    check_metric(judge, recipe.loss)

    def score(fitted: Trained) -> float:
        inputs, target = test
        scores = fitted.scores(inputs)
        return -judge.sign * float(
            measured(judge, recipe.loss, scores, target, np.ones(len(target)))
        )

    pretrained, plain = [], []
    for seed in seeds:
        stack = pretrain(layers, X if unlabelled is None else unlabelled, seed=seed)
        start = beginning(stack)
        pretrained.append(score(train(recipe, X, y, seed=seed, start=start, **options)))
        plain.append(score(train(recipe, X, y, seed=seed, **options)))
    return Pretraining(judge, tuple(pretrained), tuple(plain))
