"""The whole search: settings proposed, trained as members, pruned, and chosen honestly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import jax
import numpy as np
import polars as pl

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data.splits import Fold, folds_of
from minimand.data.task import Task, infer_task
from minimand.errors import SolverError, unknown
from minimand.losses import CrossEntropy, Logistic, Loss, Squared
from minimand.metrics import CLASSES, DEFAULT, Metric
from minimand.networks import MLP
from minimand.penalties import L2
from minimand.training import Recipe, Trained
from minimand.training.members import cores
from minimand.training.recipe import sensible_batch
from minimand.tuning.evaluate import CrossValidation, Scale
from minimand.tuning.executors import Evaluate, Listener
from minimand.tuning.ledger import Direction
from minimand.tuning.progress import Progress, unheard
from minimand.tuning.pruning import PRUNING, pruned
from minimand.tuning.selection import FINALISTS, FRESH_SEEDS, Nested, Selected, nested, select
from minimand.tuning.space import Setting, Space, applied, default_space, grid
from minimand.tuning.storage import Place
from minimand.tuning.study import Study
from minimand.tuning.width import LONG, Width, probe_width

BATCH = 16
"""How many settings are proposed and trained together."""


@dataclass(frozen=True)
class Tuned:
    """The recipe that a search chose, trained on all rows, and the evidence for it.

    `nested` is there if it was asked for: the score of the whole search on rows it never saw; so is
    `width`, what was measured of members side by side.
    """

    trained: Trained
    selected: Selected
    study: Study
    metric: Metric
    classes: tuple[Any, ...]
    scale: Scale
    nested: Nested | None = None
    width: Width | None = None

    @property
    def recipe(self) -> Recipe:
        """What was trained."""
        return self.trained.recipe

    @property
    def setting(self) -> Setting:
        """What was chosen."""
        return self.selected.setting

    def scores(self, X: Array) -> np.ndarray:
        """The network's scores for rows X [n, p], in the unit of the target."""
        return self.scale.scores(self.trained.scores(self.scale.columns(X)))

    def predict(self, X: Array) -> np.ndarray:
        """Targets for rows X [n, p], as they were given: classes by name, or numbers."""
        loss, scores = self.recipe.loss, self.scores(X)
        if self.classes:
            return np.asarray(self.classes)[loss.decide(scores)]
        return np.asarray(loss.response(scores))

    def summary(self) -> str:
        """The answer in a few lines of text."""
        lines = [f"{self.metric.name}: {self.selected.summary()}"]
        return "\n".join(lines + ([self.nested.summary()] if self.nested else []))


def tune(
    X: Array,
    y: Array,
    recipe: Recipe | None = None,
    space: Space | None = None,
    *,
    metric: str | Metric | None = None,
    trials: int = 64,
    sampler: Any = "tpe",
    pruning: Literal[None, "halving", "hyperband", "asha"] = None,
    cv: Any = 5,
    groups: Array | None = None,
    weight: Array | None = None,
    validation: float = 0.1,
    finalists: int = FINALISTS,
    seeds: Sequence[int] = FRESH_SEEDS,
    nested_cv: Any = 0,
    storage: Place = None,
    name: str = "study",
    executor: str = "here",
    jobs: int | None = None,
    width: int | Literal["probe"] | None = None,
    budget: Budget | float | None = None,
    seed: int = 0,
    progress: bool | None = None,
    listeners: Sequence[Listener] = (),
) -> Tuned:
    """Search the settings of a recipe by cross-validation, choose honestly, train the choice.

    Every setting is trained on every fold, as members of one program for each structure. The
    finalists run again with fresh seeds; see `select` for how the winner is chosen and judged.

    Args:
        X: [n, p] inputs, or images [n, height, width, channels]; columns or channels are scaled for
            the network.
        y: [n] targets: numbers, or classes of any type.
        recipe: what to search around; by default a multilayer perceptron for the kind of target.
        space: from the dotted path of a field to `Float`, `Int` or `Choice`; by default the ranges
            on the cards of the recipe's parts.
        metric: what is judged by, or its name; by default accuracy, or the root mean squared error.
        trials: how many settings in all; a study that is stored goes on where it stopped.
        sampler: "tpe", "random", "sobol", "grid", "gp", "cma-es", or a sampler of Optuna.
        pruning: end poor settings after few epochs, by successive halving, by Hyperband, or by
            ASHA, which suits several workers.
        cv: a number of folds, a splitter of scikit-learn, or pairs of row numbers.
        groups: [n] rows of one group stay together.
        weight: [n] weights of the rows.
        validation: the share of training rows that early stopping watches.
        finalists: how many settings run again, at most.
        seeds: fresh seeds to run them with; the search itself uses `seed`.
        nested_cv: search again inside so many outer folds, or those of a splitter, to score the
            search itself; `cv` then splits what is inside, or as many folds if it is given by rows.
        storage: None (memory), a file, or the URL of a database; see `Study`.
        name: of the study in the storage.
        executor: "here", "processes" or "ray".
        jobs: how many threads train members here, or how many processes there are.
        width: how many members a thread trains side by side, as in `train_members`; "probe" first
            measures what is quickest, see `probe_width`. None does so if the search is long (2²²
            steps of members), and else takes up to 16 of a small dense network and 1 of another.
        budget: seconds, or a `Budget`, after which the search ends and the best so far is chosen.
        seed: decides everything that is random.
        progress: tell about once a second how the search stands; None does so on a terminal.
        listeners: called with the study and every finished trial.

    Raises:
        DataError, TargetError: rows or targets that cannot be used; the text names the row.
        SolverError: no setting could be trained.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> recipe = Recipe(MLP(hidden=(8,), outputs=3), CrossEntropy(), epochs=20)
    >>> found = tune(X, y, recipe, trials=8, cv=3, seeds=[1])
    >>> bool(found.selected.score.mean > 0.8)
    True
    """
    if pruning is not None and pruning not in PRUNING:
        raise unknown("pruning", pruning, PRUNING)
    metric = Metric.parse(metric) if isinstance(metric, str) else metric
    allowed = None if metric is None else cast("Sequence[Task]", metric.card.tasks)
    task, _ = infer_task(pl.Series("y", np.asarray(y)), allowed=allowed)
    metric = metric or DEFAULT[task]
    codes, classes = np.asarray(y), np.empty(0)
    if task in CLASSES:
        classes, codes = np.unique(codes, return_inverse=True)
    recipe = recipe or default_recipe(len(codes), len(classes))
    space = space or default_space(recipe)
    for setting in grid(space, points=1):
        applied(recipe, setting)
    search = Search(
        space=space,
        direction="maximize" if metric.greater_is_better else "minimize",
        sampler=sampler,
        trials=trials,
        pruning=pruning,
        finalists=finalists,
        seeds=tuple(seeds),
        executor=executor,
        jobs=jobs,
        budget=budget if isinstance(budget, Budget) else Budget(budget),
        seed=seed,
    )
    folds = partial(folds_of, task=task, seed=seed)
    splits = folds(cv, X, codes, groups=groups)
    outer = folds(nested_cv, X, codes, groups=groups) if nested_cv else ()
    study = search.study(storage, name)
    told = Progress(study, metric, len(splits), trials, search.budget, progress)
    validated = CrossValidation(
        recipe,
        np.asarray(X),
        recipe.loss.from_classes(codes) if task in CLASSES else codes,
        splits,
        metric,
        weight,
        validation,
        jobs if executor == "here" else 1,
        None if width == "probe" else width,
        pulse=told.pulse if executor == "here" else unheard,
    )
    steps = trials * len(splits) * recipe.epochs * -(-len(codes) // recipe.batch)
    measured = None
    if width == "probe":
        measured = probe_width(recipe, *validated.stacked[:3])
    elif width is None and steps >= LONG and jax.default_backend() == "cpu":
        with suppress(SolverError):  # settings may train where the recipe does not
            measured = probe_width(recipe, *validated.stacked[:3])
    if measured:
        validated = replace(validated, width=measured.best)
    with told:
        selected = search(study, validated, [told, *listeners])

    inner_cv = cv if hasattr(cv, "split") else len(splits)

    def inside(rows: np.ndarray) -> Setting:
        own = groups if groups is None else np.asarray(groups)[rows]
        inner = folds(inner_cv, np.asarray(X)[rows], codes[rows], groups=own)
        return search(search.study(), validated.part(rows, inner)).setting

    def outside(setting: Setting, fold: Fold) -> float:
        return float(replace(validated, folds=[fold])([setting], [seed])[0][0])

    whole = replace(validated, folds=[Fold(np.arange(len(codes)), np.arange(0))])
    (trained,) = whole.trained([(applied(recipe, selected.setting), seed, 0)])
    return Tuned(
        trained,
        selected,
        study,
        metric,
        tuple(classes),
        whole.stacked[3][0].scale,
        nested(inside, outside, outer) if outer else None,
        measured,
    )


@dataclass(frozen=True)
class Search:
    """How settings are proposed, tried, pruned and chosen; the same for any rows."""

    space: Space
    direction: Direction
    sampler: Any
    trials: int
    pruning: str | None
    finalists: int
    seeds: tuple[int, ...]
    executor: str
    jobs: int | None
    budget: Budget
    seed: int

    def study(self, storage: Place = None, name: str = "study") -> Study:
        """Where the trials are kept."""
        return Study(
            self.space,
            storage=storage,
            name=name,
            sampler=self.sampler,
            direction=self.direction,
            seed=self.seed,
        )

    def __call__(
        self, study: Study, validated: CrossValidation, listeners: Sequence[Listener] = ()
    ) -> Selected:
        """Fill the study, and choose."""
        here = self.executor == "here"
        with nullcontext(study) if here else study.shared() as shared:
            evaluate, batch = self._evaluation(shared, validated)
            shared.run(
                evaluate,
                self.trials,
                batch=batch,
                budget=self.budget,
                executor=self.executor,
                jobs=1 if here else self.jobs or cores(),
                listeners=listeners,
            )
        return select(
            study.trials,
            validated,
            direction=self.direction,
            folds=validated.folds,
            finalists=self.finalists,
            seeds=[self.seed + fresh for fresh in self.seeds],
        )

    def _evaluation(self, study: Study, validated: CrossValidation) -> tuple[Evaluate, int]:
        """(what evaluates settings, how many at a time)."""
        if self.pruning is None:
            return partial(validated, seeds=(self.seed,)), BATCH
        start = partial(validated.start, seed=self.seed)
        return pruned(self.pruning, start, validated.recipe.epochs, study, BATCH)


def default_recipe(rows: int, classes: int) -> Recipe:
    """A multilayer perceptron for so many rows and classes (0: the target is a number)."""
    loss: Loss = CrossEntropy() if classes > 2 else Logistic() if classes else Squared()
    network = MLP(hidden=(64,), outputs=classes if classes > 2 else 1, dropout=0.1)
    return Recipe(
        network, loss, penalty=L2(strength=1e-4), batch_size=sensible_batch(rows), epochs=100
    )
