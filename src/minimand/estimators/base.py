"""What every estimator shares: parameters that are components, checked rows, and scores as words.

Parameters that stand for a component (`loss`, `penalty`, `solver`, `optimizer` ...) are kept as
they are given, text or object. The fields inside can be reached as scikit-learn reaches nested
parameters: `penalty__strength`, `loss__delta`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags, compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
)
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from minimand.arrays import Array
from minimand.component import Component
from minimand.errors import ArgumentError, ArgumentTypeError, DataError, MinimandError, ShapeError
from minimand.estimators.libraries import answers_in_kind, on_host
from minimand.losses import Loss, Quantile, Quantiles
from minimand.losses.likelihood import LogLinkLoss
from minimand.penalties import L2, Penalty

if TYPE_CHECKING:
    from minimand.networks import Network

NO_PENALTY = L2(strength=0.0)

TIE = 1e-12
"""Scores that differ by so small a share of the largest are equal but for rounding."""


class Estimator(BaseEstimator):  # type: ignore[misc]
    """An estimator some of whose parameters are components; `_components` says of which kind."""

    _fitted: ClassVar[str] = "coef_"
    """An array that `fit` leaves."""

    @property
    def _components(self) -> dict[str, type[Component]]:
        return {"loss": Loss, "penalty": Penalty}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name; `deep` adds the fields of those that are components."""
        params: dict[str, Any] = super().get_params(deep)
        if deep:
            for name in self._components.keys() & params.keys():
                if made := self._readable(name):
                    params |= {f"{name}__{field}": getattr(made, field) for field in made._hints}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; `penalty__strength=0.1` changes one number of a component."""
        inner = {key: params.pop(key) for key in [*params] if self._is_inner(key)}
        super().set_params(**params)
        for key, value in inner.items():
            name, _, field = key.partition("__")
            made = self._component(name)
            if not made or field not in made._hints:
                raise ArgumentError(
                    f"{type(self).__name__} has no parameter '{key}': {name} is "
                    f"{getattr(self, name)!r}"
                )
            setattr(self, name, dataclasses.replace(made, **{field: value}))
        return self

    def _is_inner(self, key: str) -> bool:
        name, _, field = key.partition("__")
        return bool(field) and name in self._components and hasattr(self, name)

    def _component(self, name: str) -> Any:
        """The component that a parameter stands for; None for None and "auto"."""
        value, kind = getattr(self, name), self._components[name]
        if value is None or (isinstance(value, str) and value == "auto"):
            return None
        made = kind.parse(value) if isinstance(value, str) else value
        if not isinstance(made, kind):
            raise ArgumentTypeError(
                f"{type(self).__name__}: {name} must be a {kind.kind} or its name, not {value!r}"
            )
        return made

    def _readable(self, name: str) -> Any:
        try:
            return self._component(name)
        except MinimandError:
            return None

    def _chosen_penalty(self) -> Penalty:
        return self._component("penalty") or NO_PENALTY

    def _rows(self, X: Array, y: Any = None, *, reset: bool = False, **options: Any) -> Any:
        """X, or (X, y), as NumPy arrays (X may be CSR or CSC), names and widths checked."""
        options = {"accept_sparse": ("csr", "csc"), "dtype": (np.float64, np.float32)} | options
        X = on_host(X)
        if y is None and not reset:
            check_is_fitted(self)
            return validate_data(self, X, reset=False, **options)
        return validate_data(self, X, on_host(y), reset=reset, **options)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A regressor: predictions are the response of its loss to a score."""

    def _chosen_loss(self) -> Loss:
        """The loss, if it is one of a number for each row."""
        loss: Loss = self._component("loss")
        if loss is None or not (loss.serves("regression") or isinstance(loss, Quantiles)):
            raise ArgumentError(
                f"{type(self).__name__}: loss is {self.loss!r}; it takes losses of one number a "
                f"row, such as 'squared', 'huber(delta=2)', 'quantile(level=0.9)' or 'poisson'"
            )
        return loss

    def _answer(self, scores: Array) -> Array:
        """What the loss reads from scores; infinite where a mean overflows."""
        with np.errstate(over="ignore"):
            return self._chosen_loss().response(scores)

    def _scores(self, X: Array) -> Array:
        """Raw scores of checked rows."""
        raise NotImplementedError

    def _explained(self, y: Any, scores: Array, weight: Array | None) -> float:
        """R², or D² for a loss with a log link and for quantiles."""
        loss = self._chosen_loss()
        y = np.asarray(on_host(y), dtype=float).ravel()
        if not isinstance(loss, (LogLinkLoss, Quantile, Quantiles)):
            return float(r2_score(y, self._answer(scores), sample_weight=weight))
        return explained(loss, y, scores, weight)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        try:
            domain = self._chosen_loss().card.target
        except MinimandError:  # fit will say what is wrong
            domain = ""
        tags.target_tags.positive_only = domain in ("count", "positive")
        return tags


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A classifier: it decides, and gives probabilities if its loss is proper."""

    def _chosen_loss(self, classes: int) -> Loss:
        """The loss, by default the logistic one for two classes and cross-entropy for more."""
        from minimand.losses import CrossEntropy, Logistic

        loss: Loss = self._component("loss") or (Logistic() if classes == 2 else CrossEntropy())
        if not (loss.serves("binary") or loss.serves("multiclass")):
            raise ArgumentError(
                f"{type(self).__name__}: loss is {self.loss!r}; it takes losses of classes, such "
                f"as 'logistic', 'hinge', 'squared_hinge' or 'cross_entropy'"
            )
        return loss

    def _encoded(self, y: Array, weight: Array | None) -> Array:
        """The class index of every row; sets `classes_`. A row of weight 0 brings no class."""
        check_classification_targets(y)
        self.classes_ = np.unique(y if weight is None else y[weight > 0])
        if len(self.classes_) < 2:
            raise DataError(
                f"{type(self).__name__} needs rows of at least 2 classes; y holds only one class, "
                f"{self.classes_.tolist()[0]!r}, in rows that have weight"
            )
        index = np.searchsorted(self.classes_, y)
        return np.minimum(index, len(self.classes_) - 1)

    def _partly(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Any:
        """(X, class indices, weight) of one call of several; the first sets `classes_`."""
        first = _check_partial_fit_first_call(self, classes)
        X, y = self._rows(X, y, reset=first)
        if self.class_weight == "balanced":
            raise ArgumentError(
                "partial_fit sees too few rows to balance classes; give class_weight as a "
                "dictionary"
            )
        for row in np.flatnonzero(~np.isin(y, self.classes_))[:1]:
            raise DataError(f"y is {y[row]!r} in row {row + 1}, which is none of `classes`")
        return X, np.searchsorted(self.classes_, y), row_weights(sample_weight, X)

    def _weights(self, index: Array, weight: Array | None) -> Array | None:
        """The weight of every row times that of its class."""
        if self.class_weight is None:
            return weight
        present = np.ones(len(index), dtype=bool) if weight is None else weight > 0
        share = compute_class_weight(
            self.class_weight,
            classes=self.classes_,
            y=self.classes_[index[present]],
            sample_weight=None if weight is None else weight[present],
        )
        for k in np.flatnonzero(~(share > 0))[:1]:
            raise ArgumentError(
                f"class_weight of class {self.classes_.tolist()[k]!r} is {share[k]:g}; it must be "
                f"positive (leave the rows of that class out instead)"
            )
        return share[index] * (1.0 if weight is None else weight)

    def _gives_probabilities(self) -> bool:
        loss = self._readable("loss")
        if loss is None:
            return bool(self.loss is None or self.loss == "auto")
        return bool(loss.fact("proper"))

    def _scores(self, X: Array) -> Array:
        """Raw scores of checked rows: [n], or [n, K]."""
        raise NotImplementedError

    @answers_in_kind
    def decision_function(self, X: Array) -> Array:
        """The score of the second class [n], or the scores of all K > 2 classes [n, K]."""
        return self._decided(X)

    @answers_in_kind
    def predict(self, X: Array) -> Array:
        """The class of every row, as y named it, [n]; the first of those with the largest score."""
        scores = self._decided(X)
        if scores.ndim == 1:
            return self.classes_[(scores > 0).astype(int)]
        level = scores.max(axis=1) - TIE * np.abs(scores).max(axis=1)
        return self.classes_[np.argmax(scores >= level[:, None], axis=1)]

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    @answers_in_kind
    def predict_proba(self, X: Array) -> Array:
        """The probability of every class, [n, K]. Only a proper loss gives any."""
        return self._chances(X)

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    @answers_in_kind
    def predict_log_proba(self, X: Array) -> Array:
        """The logarithm of the probability of every class, [n, K]."""
        with np.errstate(divide="ignore"):
            return np.log(self._chances(X))

    def _decided(self, X: Array) -> Array:
        scores = self._scores(self._rows(X))
        return scores[:, 1] - scores[:, 0] if scores.shape[1:] == (2,) else scores

    def _chances(self, X: Array) -> Array:
        scores = self._decided(X)
        loss = self._chosen_loss(len(self.classes_))
        if loss.score_axes:
            both = np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
            return loss.response(both)
        chance = loss.response(scores)
        if scores.ndim == 1:
            return np.stack([1 - chance, chance], axis=1)
        total = chance.sum(axis=1, keepdims=True)
        return np.where(total > 0, chance / np.where(total > 0, total, 1), 1 / chance.shape[1])


def explained(loss: Loss, y: Array, scores: Array, weight: Array | None = None) -> float:
    """D²: the share of the loss of the best constant that the scores do away with.

    1 - (ℓ - ℓ*) / (ℓ₀ - ℓ*), with ℓ the mean loss of the scores, ℓ₀ that of the best constant and
    ℓ* that of the targets themselves. It is scikit-learn's `d2_tweedie_score` or
    `d2_pinball_score` where those exist.

    >>> y, score = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])
    >>> explained(Quantile(), y, score)
    0.5
    """
    ideal = np.log(np.maximum(y, 1e-300)) if isinstance(loss, LogLinkLoss) else y
    if loss.score_axes:
        ideal = np.broadcast_to(ideal[:, None], scores.shape)
    constant = np.broadcast_to(loss.constant(y, weight), scores.shape)
    best, worst, own = (
        np.average(loss.value(np.asarray(z, dtype=float), y), weights=weight)
        for z in (ideal, constant, scores)
    )
    return float(1 - (own - best) / (worst - best)) if worst > best else float(own <= best)


def strengthened(penalty: Any, strength: float) -> Penalty:
    """The penalty at another strength."""
    changed: Penalty = dataclasses.replace(penalty, strength=strength)
    return changed


def row_weights(sample_weight: Any, X: Array) -> Array | None:
    """Weights [n], or None; not all of them may be 0."""
    if sample_weight is None:
        return None
    return np.asarray(
        _check_sample_weight(on_host(sample_weight), X, dtype=np.float64, ensure_non_negative=True)
    )


def row_offset(loss: Loss, offset: Any, exposure: Any, rows: int) -> Array | None:
    """What is added to the score of every row: `offset`, and the logarithm of `exposure`."""
    parts = []
    for name, given in (("offset", offset), ("exposure", exposure)):
        if given is None:
            continue
        values = check_array(on_host(given), ensure_2d=False, dtype=np.float64, input_name=name)
        if values.shape != (rows,):
            raise ShapeError(f"{name} has shape {values.shape}; expected [n] = ({rows},)")
        if name == "exposure":
            if not isinstance(loss, LogLinkLoss):
                raise ArgumentError(
                    f"exposure needs a loss whose score is the log of a mean, such as 'poisson'; "
                    f"{loss} is none, so use offset"
                )
            for row in np.flatnonzero(~(values > 0))[:1]:
                raise DataError(
                    f"exposure is {values[row]:g} in row {row + 1}; it must be positive"
                )
            values = np.log(values)
        parts.append(values)
    return sum(parts) if parts else None


def scoring(network: Network) -> Network:
    """The network, if it gives every row of numbers its scores.

    Raises:
        ArgumentError: it reads symbols, rebuilds or samples its inputs, or scores every pixel.
    """
    from minimand.networks import Coder, UNet

    if network.tokens or isinstance(network, (Coder, UNet)):
        raise ArgumentError(
            f"{network} does not give every row of numbers its scores [n, K]; use 'linear' or "
            f"'mlp' or, for images, 'cnn', 'resnet' or 'resnet9'"
        )
    return network
