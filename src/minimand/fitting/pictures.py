"""Images in place of a table: networks, each trained once, judged on the images that it watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data import Fold, Images, PixelEncoder, Task, holdout
from minimand.data.augmentation import Augmentation, Chain, Unchanged
from minimand.estimators.base import scoring
from minimand.fitting.bench import Bench
from minimand.fitting.candidates import MANY_ROWS, Attempt, Candidate
from minimand.fitting.model import Fitted
from minimand.fitting.question import Question, component_of
from minimand.losses import CrossEntropy, Logistic, Loss, Poisson, Squared
from minimand.metrics import Prediction
from minimand.networks import Network, Standardised, with_outputs
from minimand.optimizers import Adam
from minimand.schedules import Cosine
from minimand.training import Recipe, train_members
from minimand.training.recipe import sensible_batch
from minimand.tuning.grid import Setting

NETWORKS = ("linear", "cnn")
"""Those that are tried without being asked for."""
WATCHED = 0.1
PARTS = 10
RATE, WEAK = 3e-3, 1e-4
MOST_MISTAKES = 24


@dataclass(frozen=True)
class ImageNetwork(Candidate):
    """A network on images; all folds have the same training rows, so that one run serves them."""

    network: Network = field(default_factory=Standardised)
    augmentation: Augmentation = field(default_factory=Unchanged)
    epochs: int | None = None
    outcomes: list[Attempt] = field(default_factory=list, compare=False, repr=False)

    def method(self, bench: Bench) -> tuple[str, str]:
        """The update rule."""
        recipe = self._recipe(bench)
        rule = type(recipe.optimizer).__name__
        return rule, f"batches of {recipe.batch}, up to {recipe.epochs} epochs, the best kept"

    def settings(self, bench: Bench) -> list[dict[str, Any]]:
        """One only: each costs a whole training."""
        return [{}]

    def run(
        self, bench: Bench, jobs: Sequence[tuple[Setting, Fold]], budget: Budget
    ) -> list[Attempt]:
        """Train once; the test rows of the folds are watched for early stopping."""
        if not jobs:
            return []
        watched = np.sort(np.concatenate([fold.test for _, fold in jobs]))
        (trained,) = train_members(
            [self._recipe(bench)],
            bench.X,
            bench.encoded(self.loss),
            [Fold(jobs[0][1].train, watched)],
            [bench.seed],
            budget=budget,
        )
        fitted = Fitted(
            self.loss,
            bench.encoder(self.loss),
            trained.params,
            trained.recipe,
            trained.network_state,
        )
        status = trained.status.replace("ran all", "went through all")
        usable = trained.finite and bool(trained.history["epoch"])
        self.outcomes.append(Attempt(fitted, status, usable, trained.history))
        return self.outcomes[-1:] * len(jobs)

    def last(self, bench: Bench, setting: Setting) -> tuple[Attempt, str]:
        """The network that was judged: another training would take as long again."""
        rows = len(bench.folds[0].train)
        return self.outcomes[-1], f"Kept {self.name} as trained on {rows:,} images"

    def recipe(self, bench: Bench, setting: Setting) -> dict[str, Any]:
        """The recipe of the run."""
        return {"recipe": self._recipe(bench).to_json()}

    def _recipe(self, bench: Bench) -> Recipe:
        rows = len(bench.folds[0].train)
        batch = sensible_batch(rows)
        epochs = self.epochs or (20 if rows >= MANY_ROWS else 100)
        (penalty,) = self.penalties([WEAK])
        return Recipe(
            with_outputs(self.network, bench.outputs(self.loss)),
            self.loss,
            Adam(learning_rate=RATE),
            penalty,
            Cosine(decay_steps=float(epochs * -(-rows // batch))),
            augmentation=self.augmentation,
            batch_size=batch,
            epochs=epochs,
            patience=max(3, epochs // 3),
        )


def default_losses(task: Task) -> list[Loss]:
    """The loss that is tried where none is asked for, since each costs a whole training."""
    usual: dict[Task, Loss] = {
        "binary": Logistic(),
        "multiclass": CrossEntropy(),
        "count": Poisson(),
        "regression": Squared(),
    }
    return [usual[task]]


def parts_of_validation(truth: Array, task: Task, seed: int) -> list[Fold]:
    """A tenth of the rows in parts alike, the others being there to train on for each.

    The spread of the scores of the parts says how sure their mean is.
    """
    fold = holdout(truth, task, WATCHED, seed)
    order = np.random.default_rng(seed).permutation(fold.test)
    order = order[np.argsort(truth[order], kind="stable")]
    parts = min(PARTS, max(1, len(order) // 2))
    return [Fold(fold.train, np.sort(order[part::parts])) for part in range(parts)]


def candidates(
    question: Question, losses: Sequence[Loss], features: PixelEncoder
) -> list[Candidate]:
    """Every network that is asked for, with every loss."""
    augmentation = _chained([component_of(Augmentation, one) for one in question.augmentations])
    scale: Any = {"mean": np.array(features.mean), "spread": np.array(features.spread)}
    return [
        ImageNetwork(
            loss,
            question.penalty,
            str(network),
            Standardised(network, **scale),
            augmentation,
            question.epochs,
        )
        for one in question.networks or NETWORKS
        for network in [scoring(component_of(Network, one))]
        for loss in losses
    ]


def mistakes(images: Images, rows: Array, truth: Array, said: Prediction) -> dict[str, Array]:
    """The images of the test part that are wrong with most confidence, and their places in it."""
    wrong = np.flatnonzero(said.value != truth)
    if said.probability is not None:
        wrong = wrong[np.argsort(-said.probability[wrong].max(axis=1), kind="stable")]
    wrong = wrong[:MOST_MISTAKES]
    return {"images": images.X[rows[wrong]], "places": wrong} if len(wrong) else {}


def _chained(augmentations: Sequence[Augmentation]) -> Augmentation:
    if len(augmentations) > 1:
        return Chain(tuple(augmentations))
    return augmentations[0] if augmentations else Unchanged()
