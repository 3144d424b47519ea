"""Boltzmann machines in scikit-learn's manner: features, and a classifier that begins with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from minimand.arrays import Array
from minimand.data.scaling import mean_and_spread
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, unknown
from minimand.estimators.base import Estimator, row_weights
from minimand.estimators.libraries import answers_in_kind, fits_in_kind, on_host
from minimand.estimators.network import NetworkClassifier, dense
from minimand.optimizers import SGD, Momentum

if TYPE_CHECKING:
    from minimand.networks import RBM
    from minimand.networks.base import Tree
    from minimand.networks.layers import Activation
    from minimand.training import Recipe, Trained

Visible = Literal["auto", "binary", "real"]


class OfPixels(Estimator):
    """An estimator of columns; the pixels of images are columns too, their bytes fractions."""

    def _rows(self, X: Any, *rest: Any, **options: Any) -> Any:
        from minimand.networks.layers import rows

        X = on_host(X)
        return super()._rows(rows(X) if getattr(X, "ndim", 2) > 2 else X, *rest, **options)


@dataclass(repr=False, eq=False)
class RestrictedBoltzmannMachine(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OfPixels):  # type: ignore[misc]
    """Features by a restricted Boltzmann machine, as scikit-learn's `BernoulliRBM` gives them.

    X holds columns [n, p], or images [n, height, width] or [n, height, width, channels], of which
    bytes count as fractions of 255.

    After `fit`: `components_` [n_components, p], `intercept_hidden_`, `intercept_visible_`,
    `trained_` (recipe, parameters, history), `mean_` and `spread_`, by which real columns are
    standardised (0 and 1 for binary ones).

    Args:
        n_components: how many hidden units.
        visible: "binary" for values in [0, 1], "real" for any; "auto" looks at the first rows.
        learning_rate: of stochastic gradient descent.
        batch_size: rows a step, and how many persistent chains there are.
        n_iter: passes over the rows.
        steps: Gibbs steps of a chain for each batch.
        persistent: whether the chains go on from batch to batch, or begin at the rows.
        verbose: show a progress bar.
        random_state: decides the first weights, the order of the rows and what is drawn.

    >>> X = np.repeat([[1.0, 1, 0, 0], [0, 0, 1, 1]], 50, axis=0)
    >>> machine = RestrictedBoltzmannMachine(2, n_iter=30, random_state=0).fit(X)
    >>> machine.transform(X[:1]).shape, machine.visible_
    ((1, 2), 'binary')
    """

    n_components: int = 256
    _: KW_ONLY
    visible: Visible = "auto"
    learning_rate: float = 0.1
    batch_size: int = 10
    n_iter: int = 10
    steps: int = 1
    persistent: bool = True
    verbose: bool = False
    random_state: Any = None
    _fitted = "components_"

    @fits_in_kind
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from fresh parameters on X [n, p]."""
        X = dense(self._rows(X, reset=True))
        self._begin(X)
        self._train(X, self.n_iter)
        return self

    @fits_in_kind
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One pass over these rows, going on from where the last call ended."""
        first = not hasattr(self, "components_")
        X = dense(self._rows(X, reset=first))
        if first:
            self._begin(X)
        self._train(X, 1)
        return self

    @answers_in_kind
    def transform(self, X: Any) -> Array:
        """The chance of every hidden unit to be on, [n, n_components]."""
        X = self._seen(X)
        return self._machine.hidden_mean(self._params(), X)

    @answers_in_kind
    def score_samples(self, X: Any) -> Array:
        """How well the machine knows each row, [n].

        The log-pseudo-likelihood by one bit, drawn with `random_state`, as scikit-learn has it;
        of real columns, minus Hyvärinen's score.
        """
        X, random = self._seen(X), check_random_state(self.random_state)
        bit = random.randint(0, X.shape[1], len(X))
        return -self._machine.surprise(self._params(), X, bit)

    @answers_in_kind
    def gibbs(self, v: Any) -> Array:
        """Visible units [n, p] after one Gibbs step from v [n, p]."""
        from minimand import randomness

        key = randomness.key(check_random_state(self.random_state).randint(2**31 - 1))
        v = self._machine.gibbs(self.trained_.params, np.float32(self._seen(v)), key)
        return np.asarray(v, dtype=float) * on_host(self.spread_) + on_host(self.mean_)

    @property
    def _machine(self) -> RBM:
        machine: RBM = self.trained_.recipe.network
        return machine

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _begin(self, X: Array) -> None:
        self.visible_, self.mean_, self.spread_ = kind(self.visible, X)
        self._seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.n_iter_ = 0
        self.trained_: Any = None

    def _train(self, X: Array, epochs: int) -> None:
        from minimand.losses import ContrastiveDivergence
        from minimand.training import Recipe, train

        X = (X - on_host(self.mean_)) / on_host(self.spread_)
        machine = machine_of(
            self.visible_,
            hidden=self.n_components,
            steps=self.steps,
            chains=self.batch_size if self.persistent else 0,
        )
        self.trained_ = train(
            Recipe(
                machine,
                ContrastiveDivergence(),
                SGD(learning_rate=self.learning_rate),
                batch_size=self.batch_size,
                epochs=epochs,
            ),
            X,
            machine.target(X),
            validation=0.0,
            seed=self._seed + self.n_iter_,
            start=self.trained_ or machine.start(X),
            progress=bool(self.verbose),
        )
        self.n_iter_ += epochs
        params = self._params()
        self.components_ = params["hidden"]["kernel"].T
        self.intercept_hidden_ = params["hidden"]["bias"]
        self.intercept_visible_ = params["visible"]["bias"]

    def _params(self) -> Any:
        """In double precision, so that the answer for a row does not depend on the others."""
        import jax

        return jax.tree.map(np.float64, self.trained_.params)

    def _seen(self, X: Any) -> Array:
        check_is_fitted(self)
        return (dense(self._rows(X)) - on_host(self.mean_)) / on_host(self.spread_)


@dataclass(repr=False, eq=False)
class DeepBeliefClassifier(OfPixels, NetworkClassifier):
    """A perceptron of sigmoid units whose layers were first Boltzmann machines.

    Each layer learns, without labels, what the one below it puts out, by contrastive divergence;
    then all of them learn the classes by gradient descent. More rows without a label can be given
    to `fit`. After it, `stack_` holds the trained machines, the lowest first.

    Args:
        visible: "binary" for columns in [0, 1], "real" for any (they are standardised); "auto"
            looks at the rows.
        pretraining_iter: passes of each machine over the rows.
        pretraining_rate: the learning rate of the machines, with momentum 0.9.

    The other arguments are those of `NetworkClassifier`.

    Source: Hinton, Osindero and Teh (2006), A fast learning algorithm for deep belief nets; Hinton
    and Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> fitted = DeepBeliefClassifier((64,), max_iter=90, random_state=0).fit(X[:200] / 16, y[:200])
    >>> fitted.score(X[200:] / 16, y[200:]) > 0.75
    True
    """

    hidden_layer_sizes: int | Sequence[int] = (100, 100)
    activation: Activation = "sigmoid"
    _: KW_ONLY
    visible: Visible = "auto"
    pretraining_iter: int = 20
    pretraining_rate: float = 0.01

    @fits_in_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None, unlabelled: Any = None) -> Self:
        """Pre-train on all rows, then train on X [n, p], classes y [n] and weights [n].

        `unlabelled` [m, p] are more rows for the pre-training.

        Raises:
            DataError: there are fewer than two classes; a value that no binary unit takes.
            SolverError: the loss stopped being finite; the text names the epoch.
        """
        X, y = self._rows(X, y, reset=True)
        weight = row_weights(sample_weight, X)
        index = self._encoded(y, weight)
        rows = X if weight is None else X[weight > 0]
        if unlabelled is not None:
            rows = np.concatenate([rows, self._rows(unlabelled)])
        self._measure(rows, None)
        self._pretrain(self._standardised(rows))
        self._train("multiclass", *self._prepared(X, index, weight))
        return self

    def _measure(self, X: Array, weight: Array | None) -> None:
        self.visible_, self.mean_, self.spread_ = kind(self.visible, X, weight)

    def _pretrain(self, rows: Array) -> None:
        from minimand.losses import ContrastiveDivergence
        from minimand.networks import MLP
        from minimand.training import Recipe
        from minimand.training.layerwise import pretrain
        from minimand.training.recipe import sensible_batch

        network = self._architecture(1)
        if not isinstance(network, MLP):
            raise ArgumentError(
                f"DeepBeliefClassifier: network is {network}; only the layers of an MLP can be "
                f"pre-trained"
            )
        machines = [
            machine_of(self.visible_ if number == 0 else "binary", hidden=width)
            for number, width in enumerate(network.hidden)
        ]
        recipes = [
            Recipe(
                machine,
                ContrastiveDivergence(),
                Momentum(learning_rate=self.pretraining_rate),
                batch_size=sensible_batch(len(rows)),
                epochs=self.pretraining_iter,
            )
            for machine in machines
        ]
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.stack_ = pretrain(recipes, rows, seed=seed, progress=bool(self.verbose))

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
        from minimand.training.layerwise import beginning

        if not hasattr(self, "stack_"):
            self._pretrain(self._standardised(X))
        return super()._run(recipe, X, y, weight, fold, seed, past or beginning(self.stack_))


def kind(
    visible: str, X: Array, weight: Array | None = None
) -> tuple[Literal["binary", "real"], Array, Array]:
    """(binary or real units, the mean and the spread to standardise the columns of X by)."""
    if visible not in ("auto", "binary", "real"):
        raise unknown("visible", visible, ("auto", "binary", "real"))
    if visible == "binary" or (visible == "auto" and np.all((X >= 0) & (X <= 1))):
        return "binary", np.zeros(X.shape[1]), np.ones(X.shape[1])
    return "real", *mean_and_spread(X, weight)


def machine_of(visible: str, **fields: Any) -> RBM:
    """The machine for such visible units."""
    from minimand.networks import RBM, GaussianRBM

    return (RBM if visible == "binary" else GaussianRBM)(**fields)
