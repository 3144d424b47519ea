"""Networks in scikit-learn's manner, on columns or images, by the compiled engine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import scipy.sparse
from sklearn.utils import check_random_state

from minimand.arrays import Array
from minimand.component import Component
from minimand.data.scaling import mean_and_spread, mean_and_spread_of_inputs
from minimand.data.splits import Fold, holdout
from minimand.data.task import Task
from minimand.errors import ArgumentError, ShapeError, SolverError
from minimand.estimators import together
from minimand.estimators.base import (
    Classifier,
    Estimator,
    Regressor,
    row_weights,
    scoring,
)
from minimand.estimators.libraries import answers_in_kind, fits_in_kind, on_host
from minimand.estimators.together import Wish
from minimand.losses import Loss
from minimand.optimizers import Optimizer
from minimand.penalties import Penalty, Unpenalised
from minimand.schedules import Constant, Schedule

if TYPE_CHECKING:
    from minimand.data.augmentation import Augmentation
    from minimand.networks import Network as Architecture
    from minimand.networks.base import Tree
    from minimand.networks.layers import Activation
    from minimand.training import Recipe, Trained

FEWEST_ROWS_TO_WATCH = 200
"""From so many rows on, "auto" sets some aside to stop early; fewer say too little."""


@dataclass(repr=False, eq=False)
class NetworkEstimator(Estimator):
    """What networks have in common: standardised inputs, and one compiled run in single precision.

    After `fit`: `trained_` (recipe, parameters, history), `history_`, `status_`, `n_iter_`
    (epochs), `mean_` and `spread_` of the columns, or of the channels of images, and
    `n_features_in_`, how many columns or pixels there are.
    """

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: Activation = "relu"
    _: KW_ONLY
    network: str | Architecture | None = None
    augmentation: str | Augmentation | None = None
    penalty: str | Penalty | None = None
    optimizer: str | Optimizer = "adam"
    learning_rate: float | Literal["auto"] | None = None
    schedule: str | Schedule | None = None
    batch_size: int | Literal["auto"] = "auto"
    max_iter: int = 200
    early_stopping: bool | Literal["auto"] = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    random_state: Any = None
    verbose: bool = False
    _fitted = "mean_"

    @property
    def _components(self) -> dict[str, type[Component]]:
        from minimand.data.augmentation import Augmentation
        from minimand.networks import Network as Architecture

        own = {"optimizer": Optimizer, "schedule": Schedule}
        return super()._components | own | {"network": Architecture, "augmentation": Augmentation}

    def _recipe(self, loss: Loss, outputs: int, rows: int) -> Recipe:
        from minimand.data.augmentation import Unchanged
        from minimand.training.recipe import Recipe, sensible_batch

        rule, batch = self._component("optimizer"), self.batch_size
        sensible = None if rule.whole_batches else sensible_batch(rows)
        return Recipe(
            self._architecture(outputs),
            loss,
            rule,
            self._component("penalty") or Unpenalised(),
            self._component("schedule") or Constant(),
            augmentation=self._component("augmentation") or Unchanged(),
            batch_size=sensible if isinstance(batch, str) else batch,
            epochs=self.max_iter,
            patience=self.n_iter_no_change,
        )

    def _architecture(self, outputs: int) -> Architecture:
        """The network with so many outputs; that of images standardises them by itself."""
        from minimand.networks import MLP, Standardised, with_outputs

        sizes = self.hidden_layer_sizes
        hidden = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
        chosen = self._component("network") or MLP(hidden=hidden, activation=self.activation)
        network = with_outputs(scoring(chosen), outputs)
        if len(self._shape) == 1:
            return network
        return Standardised(network, on_host(self.mean_), on_host(self.spread_))

    def _train(self, task: Task, recipe: Recipe, X: Array, y: Array, weight: Array | None) -> None:
        """A whole run from fresh parameters."""
        self._seed = check_random_state(self.random_state).randint(2**31 - 1)
        fold = self._fold(y, task)
        recipe, reason = self._rated(recipe, X[fold.train], y[fold.train], weight, fold)
        trained = self._run(recipe, X, y, weight, fold, self._seed)
        self._keep(trained, trained.history, trained.status + reason)

    def _rated(
        self, recipe: Recipe, X: Array, y: Array, weight: Array | None, fold: Fold
    ) -> tuple[Recipe, str]:
        """The recipe with the learning rate asked for, and why it is that one."""
        from minimand.tuning.learning_rate import range_test
        from minimand.tuning.space import applied

        rate = self.learning_rate
        if rate is None:
            return recipe, ""
        if not isinstance(rate, str):
            return applied(recipe, {"optimizer.learning_rate": rate}), ""
        if rate != "auto":
            raise ArgumentError(
                f"{type(self).__name__}: learning_rate is {rate!r}; it must be a number, 'auto' or "
                f"None for the optimizer's own"
            )
        own = weight if weight is None else weight[fold.train]
        found = range_test(recipe, self._standardised(X), y, weight=own, seed=self._seed)
        return found.recipe, f"; {found.reason}"

    def _go_on(self, recipe: Recipe, X: Array, y: Array, weight: Array | None) -> None:
        """One epoch over these rows, from the parameters and the optimiser's state so far."""
        past = getattr(self, "trained_", None)
        if past is None:
            self._seed = check_random_state(self.random_state).randint(2**31 - 1)
        history = self.history_ if past else {"epoch": [], "train": [], "validation": []}
        done = len(history["epoch"])
        rows = Fold(np.arange(len(y)), np.arange(0))
        if past and self.learning_rate == "auto":
            recipe = dataclasses.replace(recipe, optimizer=past.recipe.optimizer)
        else:
            recipe, _ = self._rated(recipe, X, y, weight, rows)
        trained = self._run(
            dataclasses.replace(recipe, epochs=1), X, y, weight, rows, self._seed + done, past
        )
        history = {name: line + trained.history[name] for name, line in history.items()}
        history["epoch"] = [*range(1, done + 2)]
        self._keep(trained, history, f"{done + 1} epochs so far")

    def _run(
        self,
        recipe: Recipe,
        X: Array,
        y: Array,
        weight: Array | None,
        fold: Fold,
        seed: int,
        past: Trained | Tree | None = None,
    ) -> Trained:
        wish = Wish(recipe, self._standardised(X), y, fold, seed, weight, past, bool(self.verbose))
        trained = together.trained(wish)
        if not trained.finite:
            raise SolverError(trained.status)
        return trained

    def _fold(self, y: Array, task: Task) -> Fold:
        """The rows to descend on, and those to watch for early stopping."""
        early = self.early_stopping
        if early not in ("auto", True, False):
            raise ArgumentError(
                f"{type(self).__name__}: early_stopping is {early!r}; it must be 'auto', True or "
                f"False"
            )
        if early is True or (early == "auto" and len(y) >= FEWEST_ROWS_TO_WATCH):
            return holdout(y, task, self.validation_fraction, self._seed)
        return Fold(np.arange(len(y)), np.arange(0))

    def _keep(self, trained: Trained, history: dict[str, list[float]], status: str) -> None:
        self.trained_, self.history_, self.status_ = trained, history, status
        self.n_iter_ = len(history["epoch"])

    def _rows(self, X: Any, *rest: Any, reset: bool = False, **options: Any) -> Any:
        """Columns as everywhere; images as bytes or floats, checked as rows of pixels."""
        X = on_host(X)
        shape = np.shape(X)[1:] if getattr(X, "ndim", 2) > 2 else ()
        if shape:
            X = X.reshape(len(X), math.prod(shape))
            options["dtype"] = (np.float32, np.float64, np.uint8)
        found = super()._rows(X, *rest, reset=reset, **options)
        rows, *targets = found if isinstance(found, tuple) else (found,)
        rows = rows.reshape(-1, *shape) if shape else dense(rows)
        if reset:
            self._shape = rows.shape[1:]
        elif rows.shape[1:] != self._shape:
            raise ShapeError(
                f"{type(self).__name__} was fitted on X [n, {', '.join(map(str, self._shape))}]; "
                f"this X has shape {list(rows.shape)}"
            )
        return (rows, *targets) if targets else rows

    def _measure(self, X: Array, weight: Array | None) -> None:
        chosen = self._component("network")
        codes = chosen.codes if chosen else ()
        self.mean_, self.spread_ = mean_and_spread_of_inputs(X, weight, codes)

    def _standardised(self, X: Array) -> Array:
        """Columns as the network takes them; images as they are: their network does it."""
        if X.ndim > 2:
            return X
        return ((X - on_host(self.mean_)) / on_host(self.spread_)).astype(np.float32)

    def _scores(self, X: Array) -> Array:
        """Scores, for columns in double precision, so that a row's do not depend on other rows."""
        import jax

        from minimand.training.scoring import scores_in_blocks

        if X.ndim > 2:
            return self.trained_.scores(X)
        trained, mean, spread = self.trained_, on_host(self.mean_), on_host(self.spread_)
        with jax.enable_x64(True):
            params, state = jax.tree.map(np.float64, (trained.params, trained.network_state))
            return scores_in_blocks(
                trained.recipe, params, state, X, lambda block: (block - mean) / spread
            )


@dataclass(repr=False, eq=False)
class NetworkRegressor(NetworkEstimator, Regressor):
    """A network of a number, a multilayer perceptron by default, by any loss.

    X holds columns [n, p], or images [n, height, width] or [n, height, width, channels]; images of
    bytes stay bytes, and count as fractions of 255. Columns (or channels), and a target that may be
    any real number, are brought to mean 0 and spread 1 before training, with the figures of the
    first rows seen. So Huber's `delta`, say, counts in standard deviations of y.

    Args:
        hidden_layer_sizes: the width of every hidden layer.
        activation: of the hidden layers, see `minimand.networks.MLP`.
        network: None for the perceptron that the first two arguments describe; text or object such
            as "cnn", "mlp(hidden=(64, 32), norm=batch)", "linear". How many scores it gives follows
            from the loss.
        augmentation: None, or text or object such as "mixup": what happens to each batch.
        loss: text or object, such as "squared", "huber(delta=1)", "quantiles(levels=(0.1, 0.9))".
        penalty: None, or text or object such as "l2(strength=0.001)".
        optimizer: text or object, such as "adam(learning_rate=0.01)" or "sgd(momentum=0.9)".
        learning_rate: of the optimizer, in place of its own; "auto" tries 32 on the training rows
            first, see `minimand.tuning.range_test`.
        schedule: None, or text or object: how the step size changes over the steps.
        batch_size: rows a step; "auto" makes about 50 steps an epoch, of 16 to 256 rows.
        max_iter: the most epochs.
        early_stopping: whether to stop when the loss of rows set aside falls no more, and to return
            the best epoch; "auto": from 200 rows on.
        validation_fraction: the share of rows set aside.
        n_iter_no_change: how many epochs without progress end the run.
        random_state: decides the initial parameters, the order of the rows and those set aside.
        verbose: show a progress bar.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> fitted = NetworkRegressor((8,), max_iter=30, random_state=0).fit(X, y)
    >>> fitted.score(X, y) > 0.4
    True
    """

    _: KW_ONLY
    loss: str | Loss = "squared"

    @fits_in_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train from fresh parameters on X [n, ...], y [n] and weights [n].

        Raises:
            TargetError: a target outside the domain of the loss; the text names the row.
            SolverError: the loss stopped being finite; the text names the epoch.
        """
        self._train("regression", *self._prepared(X, y, sample_weight, first=True))
        return self

    @fits_in_kind
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over these rows, going on from where the last call ended."""
        self._go_on(*self._prepared(X, y, sample_weight, first=not hasattr(self, "trained_")))
        return self

    @answers_in_kind
    def predict(self, X: Any) -> Array:
        """The response of the loss to the score: a mean, a quantile ..., [n] (or [n, L])."""
        return self._answer(self._scores(self._rows(X)))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², or D² for losses with a log link (the deviance) and for quantiles (the pinball loss).

        D² is the share of the best constant's loss that the network does away with.
        """
        return self._explained(y, self._scores(self._rows(X)), sample_weight)

    def _prepared(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Any:
        """(recipe, rows, standardised targets, weights)."""
        loss = self._chosen_loss()
        X, y = self._rows(X, y, reset=first, y_numeric=True)
        y, weight = y.astype(np.float64), row_weights(sample_weight, X)
        loss.check_target(y)
        if first:
            self._measure(X, weight)
            real = loss.card.target == "real"
            self.target_mean_, self.target_spread_ = (
                map(float, mean_and_spread(y, weight)) if real else (0.0, 1.0)
            )
        y = (y - self.target_mean_) / self.target_spread_
        return self._recipe(loss, len(loss.scores) or 1, len(y)), X, y, weight

    def _scores(self, X: Array) -> Array:
        return self.target_mean_ + self.target_spread_ * super()._scores(X)


@dataclass(repr=False, eq=False)
class NetworkClassifier(NetworkEstimator, Classifier):
    """A network of classes, a multilayer perceptron by default, by any loss of classes.

    X holds columns [n, p], or images [n, height, width] or [n, height, width, channels]. Columns
    (or channels) are brought to mean 0 and spread 1 before training, with the figures of the first
    rows seen.

    Args:
        loss: text or object; "auto" is the logistic loss for two classes and the cross-entropy for
            more.
        class_weight: None, "balanced", or a dictionary from class to weight.

    The other arguments are those of `NetworkRegressor`.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> fitted = NetworkClassifier((16,), max_iter=100, random_state=0).fit(X, y)
    >>> fitted.score(X, y) > 0.9
    True
    """

    _: KW_ONLY
    loss: str | Loss = "auto"
    class_weight: Any = None

    @fits_in_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train from fresh parameters on X [n, ...], classes y [n] and weights [n].

        Raises:
            DataError: there are fewer than two classes.
            SolverError: the loss stopped being finite; the text names the epoch.
        """
        X, y = self._rows(X, y, reset=True)
        weight = row_weights(sample_weight, X)
        index = self._encoded(y, weight)
        self._measure(X, weight)
        self._train("multiclass", *self._prepared(X, index, weight))
        return self

    @fits_in_kind
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One epoch over these rows, going on from where the last call ended.

        The first call must name all `classes`, unless `fit` came before.
        """
        X, index, weight = self._partly(X, y, classes, sample_weight)
        if not hasattr(self, "mean_"):
            self._measure(X, weight)
        self._go_on(*self._prepared(X, index, weight))
        return self

    def _prepared(self, X: Array, index: Array, weight: Array | None) -> Any:
        """(recipe, rows, targets, weights)."""
        classes = len(self.classes_)
        loss = self._chosen_loss(classes)
        if classes > 2 and not loss.score_axes:
            raise ArgumentError(
                f"{loss} is a loss of two classes and y holds {classes}; use 'cross_entropy', or "
                f"wrap the network in sklearn.multiclass.OneVsRestClassifier"
            )
        recipe = self._recipe(loss, classes if loss.score_axes else 1, len(index))
        return recipe, X, loss.from_classes(index), self._weights(index, weight)


def dense(X: Array) -> Array:
    """The rows of a sparse matrix written out; anything else as it is."""
    return X.toarray() if scipy.sparse.issparse(X) else X
