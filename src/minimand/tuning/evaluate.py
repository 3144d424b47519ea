"""Scores of settings by cross-validation: every setting, fold and seed is a member of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.scaling import mean_and_spread, mean_and_spread_of_inputs
from minimand.data.splits import Fold
from minimand.metrics import Metric
from minimand.training import Recipe, Trained, train_members
from minimand.training.members import cores
from minimand.training.population import Population
from minimand.training.watching import measured
from minimand.tuning.progress import Pulse, unheard
from minimand.tuning.pruning import ByFolds, Place
from minimand.tuning.space import Setting, applied, groups
from minimand.tuning.width import usual_width


class Scale(NamedTuple):
    """Mean and spread of the columns or of the channels, and of the target."""

    centre: np.ndarray
    spread: np.ndarray
    middle: float = 0.0
    width: float = 1.0

    def columns(self, X: Array) -> np.ndarray:
        """X [n, ...] as networks take it."""
        columns: np.ndarray = (np.asarray(X, dtype=float) - self.centre) / self.spread
        return columns.astype(np.float32)

    def scores(self, scores: np.ndarray) -> np.ndarray:
        """Scores in the unit of the target."""
        return self.middle + self.width * scores


class Part(NamedTuple):
    """One fold of the stacked rows: what is trained and watched, what is tested, and the scale."""

    rows: Fold
    test: np.ndarray
    scale: Scale


@dataclass(frozen=True)
class CrossValidation:
    """The scores of a setting on every seed and fold, each by a network that never saw its rows.

    Columns or the channels of images, and a target that may be any real number, are brought to mean
    0 and spread 1 by the figures of each fold's training rows; columns of codes stay as they are.
    The recipe's early stopping watches the share `validation` of those rows.

    Args:
        recipe: what the settings change.
        X: [n, p] inputs, or images [n, height, width, channels].
        y: [n] targets, as the recipe's loss expects them.
        folds: rows to train on and rows to judge by.
        metric: judges; None: the mean loss of the rows, in the scale that is trained in.
        weight: [n] weights of the rows.
        validation: the share of the training rows to watch; 0: none, every epoch is run.
        jobs: how many threads train on a CPU; by default one for each core.
        width: how many members a thread trains side by side, as in `train_members`; None: up to 16
            of a small dense network, see `usual_width`.
        pulse: hears about twice a second how many members are alive.
    """

    recipe: Recipe
    X: Array
    y: Array
    folds: Sequence[Fold]
    metric: Metric | None = None
    weight: Array | None = None
    validation: float = 0.1
    jobs: int | None = None
    width: int | None = None
    pulse: Pulse = unheard

    def __call__(
        self, settings: Sequence[Setting], seeds: Sequence[int] = (0,)
    ) -> list[np.ndarray]:
        """[seeds · folds] scores of each setting, a seed's folds together; NaN where it broke."""
        recipes = [applied(self.recipe, setting) for setting in settings]
        scores = np.full((len(recipes), len(seeds), len(self.folds)), np.nan)
        for group in groups(recipes):
            # fold by fold, so that a core finds the rows of its next member in its cache
            places = list(product(range(len(self.folds)), group, range(len(seeds))))
            runs = [(recipes[k], seeds[seed], fold) for fold, k, seed in places]
            for (fold, k, seed), one in zip(places, self.trained(runs), strict=True):
                scores[k, seed, fold] = self.judged(one, fold)
        return list(scores.reshape(len(recipes), -1))

    def start(self, settings: Sequence[Setting], seed: int = 0) -> ByFolds:
        """The settings on every fold, to be trained epoch by epoch."""
        recipes, folds = [applied(self.recipe, s) for s in settings], range(len(self.folds))

        def score(networks: Mapping[Place, Trained]) -> list[np.ndarray]:
            settings = range(len(recipes))
            return [np.array([self.judged(networks[k, f], f) for f in folds]) for k in settings]

        parts = [
            (self.population([recipes[k] for k in group], seed), list(product(group, folds)))
            for group in groups(recipes)
        ]
        return ByFolds(len(recipes), len(folds), parts, score, self.pulse)

    def trained(self, runs: Sequence[tuple[Recipe, int, int]]) -> list[Trained]:
        """What comes of (recipe, seed, fold), recipes of one structure."""
        X, y, weight, parts = self.stacked
        return train_members(
            [recipe for recipe, _, _ in runs],
            X,
            y,
            [parts[fold].rows for _, _, fold in runs],
            [seed for _, seed, _ in runs],
            weight=weight,
            jobs=self.jobs,
            width=self._width(runs[0][0], len(runs)),
            budget=Budget(),
            progress=False,
            listeners=[lambda event: self.pulse(event.alive)],
        )

    def population(self, recipes: Sequence[Recipe], seed: int = 0) -> Population:
        """Every recipe on every fold, a recipe's folds together."""
        X, y, weight, parts = self.stacked
        places = list(product(recipes, parts))
        return Population(
            [recipe for recipe, _ in places],
            X,
            y,
            [part.rows for _, part in places],
            [seed] * len(places),
            weight=weight,
            jobs=self.jobs,
            width=self._width(recipes[0], len(places)),
        )

    def judged(self, trained: Trained, fold: int) -> float:
        """The score of a network on the test rows of its fold."""
        if not trained.finite:
            return np.nan
        X, y, weight, parts = self.stacked
        part, loss = parts[fold], trained.recipe.loss
        scores, weight = trained.scores(X[part.test]), weight[part.test]
        if self.metric is None:
            return float(loss(scores, y[part.test], weight=weight))
        target = np.asarray(self.y)[part.test - fold * len(self.y)]
        value = measured(self.metric, loss, part.scale.scores(scores), target, weight)
        return -self.metric.sign * float(value)

    def _width(self, recipe: Recipe, members: int) -> int | None:
        workers = self.jobs or cores()
        return self.width or usual_width(recipe, self.stacked[0], -(-members // workers))

    def part(self, rows: np.ndarray, folds: Sequence[Fold]) -> CrossValidation:
        """The same on some of the rows."""
        weight = None if self.weight is None else np.asarray(self.weight)[rows]
        X, y = np.asarray(self.X)[rows], np.asarray(self.y)[rows]
        return replace(self, X=X, y=y, weight=weight, folds=folds)

    @cached_property
    def stacked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Part]]:
        """(rows, targets, weights, parts), every fold scaled by its own training rows."""
        X, y = np.asarray(self.X, dtype=np.float32), np.asarray(self.y)
        weight = np.ones(len(y)) if self.weight is None else np.asarray(self.weight, dtype=float)
        real, blocks, targets, parts = self.recipe.loss.card.target == "real", [], [], []
        for number, fold in enumerate(self.folds):
            own, first = weight[fold.train], number * len(y)
            scale = Scale(*mean_and_spread_of_inputs(X[fold.train], own, self.recipe.network.codes))
            if real:
                scale = Scale(*scale[:2], *map(float, mean_and_spread(y[fold.train], own)))
            blocks.append(scale.columns(X))
            targets.append((y - scale.middle) / scale.width if real else y)
            order = np.random.default_rng(number).permutation(fold.train) + first
            held = round(self.validation * len(order))
            rows = Fold(np.sort(order[held:]), np.sort(order[:held]))
            parts.append(Part(rows, fold.test + first, scale))
        stacked = np.concatenate(blocks), np.concatenate(targets)
        return *stacked, np.tile(weight, len(self.folds)), parts
