"""Linear models: any loss of the catalogue, any penalty, solved to a certified optimum."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.metaestimators import available_if

from minimand.arrays import Array
from minimand.errors import ArgumentError
from minimand.estimators.base import (
    Classifier,
    Regressor,
    row_offset,
    row_weights,
)
from minimand.estimators.libraries import answers_in_kind, fits_in_kind, on_host
from minimand.estimators.model import LinearModel
from minimand.inference import Inference
from minimand.losses import Loss, Quantile, Quantiles
from minimand.penalties import Penalty
from minimand.solvers import Solver


class LinearRegression(LinearModel, Regressor):
    """What regressors with an affine score have in common; subclasses name the loss."""

    @fits_in_kind
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None, exposure: Any = None
    ) -> Self:
        """Minimise the weighted mean loss plus the penalty.

        Args:
            X: [n, p], dense or sparse, or a data frame.
            y: [n].
            sample_weight: [n], not negative. A row of weight 0 is as good as absent.
            offset: [n], added to the score of every row.
            exposure: [n], positive: the offset log(exposure), for losses of counts and amounts.

        Raises:
            TargetError: a target outside the domain of the loss; the text names the row.
        """
        problems, X, _, *given = self._prepared(X, y, sample_weight, offset, exposure)
        self._solve(problems, X, *given)
        return self

    @available_if(lambda self: self._streams)  # type: ignore[untyped-decorator]
    @fits_in_kind
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None, exposure: Any = None
    ) -> Self:
        """Learn from more rows; arguments as in `fit`.

        A squared loss ends where `fit` to all rows would. Other losses come near, the nearer the
        more rows a call brings and the more often the same rows come again.

        Nothing of a `fit` before stays.

        Raises:
            ArgumentError: the loss is not convex, or there are too many columns to remember their
                curvature.
        """
        first = not hasattr(self, "streams_")
        given = self._prepared(X, y, sample_weight, offset, exposure, first)
        problems, X, _, weight, added = given
        self._learn(problems, X, weight, added, outputs=1)
        return self

    @answers_in_kind
    def predict(self, X: Any, offset: Any = None, exposure: Any = None) -> Array:
        """The response of the loss to the score: a mean, a quantile ..., [n] (or [n, L])."""
        return self._answer(self._shifted(X, offset, exposure))

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        offset: Any = None,
        exposure: Any = None,
    ) -> float:
        """R², or D² for losses with a log link (the deviance) and for quantiles (the pinball loss).

        D² is the share of the best constant's loss that the columns do away with, as in
        scikit-learn's `d2_tweedie_score` and `d2_pinball_score`. Scores of different losses do not
        compare: name a `scoring` when you search over `loss`.
        """
        scores = self._shifted(X, offset, exposure)
        weight = None if sample_weight is None else np.asarray(on_host(sample_weight), dtype=float)
        return self._explained(y, scores, weight)

    def inference(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        offset: Any = None,
        exposure: Any = None,
        **options: Any,
    ) -> Inference:
        """Standard errors, intervals and deviance of this fit, from the data that it was fitted on.

        `options` go to {py:func}`minimand.inference.infer`.
        """
        loss, (X, y) = self._chosen_loss(), self._rows(X, y, y_numeric=True)
        weight, offset = row_weights(sample_weight, X), row_offset(loss, offset, exposure, len(y))
        return self._inferred(loss, X, y, weight, offset, **options)

    def _prepared(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        offset: Any,
        exposure: Any,
        first: bool = True,
    ) -> Any:
        """(problems, X, y, weight, offset), checked."""
        loss = self._chosen_loss()
        X, y = self._rows(X, y, reset=first, y_numeric=True)
        y, weight = y.astype(np.float64, copy=False), row_weights(sample_weight, X)
        added = row_offset(loss, offset, exposure, len(y))
        return [(one, y) for one in alone(loss)], X, y, weight, added

    def _set_coefficients(self, kernel: Array, bias: Array) -> None:
        several = len(bias) > 1
        self.coef_ = kernel.T.copy() if several else kernel[:, 0].copy()
        self.intercept_ = bias if several else float(bias[0])

    def _shifted(self, X: Any, offset: Any, exposure: Any) -> Array:
        scores = self._scores(self._rows(X))
        added = row_offset(self._chosen_loss(), offset, exposure, len(scores))
        return scores if added is None else (scores.T + added).T


class LinearRegressor(LinearRegression):
    """A linear model of a number, by any loss.

    It minimises the weighted mean of ℓ(x·w + b, y), plus the penalty of w.

    Args:
        loss: a loss of one number a row, as text or object: "squared", "huber(delta=2)",
            "quantile(level=0.9)", "poisson" ...
        penalty: None, or text or object such as "l2(strength=0.1)". The strength counts against
            the mean loss, whatever the number of rows.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "newton(tolerance=1e-12)".
        warm_start: start from the answer of the last fit.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> fitted = LinearRegressor("huber(delta=20)").fit(X, y)
    >>> fitted.coef_.shape, round(fitted.score(X, y), 2)
    ((10,), 0.51)
    >>> bool(fitted.certificate_.value < 1e-6)
    True
    """

    def __init__(
        self,
        loss: str | Loss = "squared",
        *,
        penalty: str | Penalty | None = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
        warm_start: bool = False,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start


class LinearClassifier(LinearModel, Classifier):
    """A linear model of classes, by any loss of classes.

    A loss of two classes (logistic, hinge, squared hinge ...) separates each of K > 2 classes from
    the rest; a loss of K classes (cross-entropy, Crammer-Singer ...) fits them together.

    Args:
        loss: text or object; "auto" is the logistic loss for two classes and the cross-entropy for
            more.
        penalty: None, or text or object such as "l1(strength=0.01)". The strength counts against
            the mean loss: scikit-learn's C is L2 of strength 1 / (C n).
        class_weight: None, "balanced", or a dictionary from class to weight.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "newton(tolerance=1e-12)".
        warm_start: start from the answer of the last fit.

    After `fit`, besides what every linear model has: `classes_`. `coef_` is [1, p] for two classes
    and [K, p] for more.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> fitted = LinearClassifier().fit(X, y)
    >>> fitted.coef_.shape, round(fitted.score(X, y), 2)
    ((3, 4), 0.98)
    >>> hasattr(LinearClassifier("hinge"), "predict_proba")
    False
    """

    def __init__(
        self,
        loss: str | Loss = "auto",
        *,
        penalty: str | Penalty | None = "l2",
        class_weight: Any = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
        warm_start: bool = False,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start

    @fits_in_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Minimise the weighted mean loss plus the penalty.

        Args:
            X: [n, p], dense or sparse, or a data frame.
            y: [n], classes of any kind.
            sample_weight: [n], not negative. A row of weight 0 is as good as absent.

        Raises:
            DataError: there are fewer than two classes.
        """
        problems, X, _, *given = self._prepared(X, y, sample_weight)
        self._solve(problems, X, *given)
        return self

    @available_if(lambda self: self._streams)  # type: ignore[untyped-decorator]
    @fits_in_kind
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn from more rows, as `LinearRegressor.partial_fit` does.

        The first call must name all `classes`.
        """
        X, index, weight = self._partly(X, y, classes, sample_weight)
        loss = self._chosen_loss(len(self.classes_))
        problems = [(loss, target) for target in self._targets(loss, index)]
        outputs = len(self.classes_) if loss.score_axes else 1
        self._learn(problems, X, self._weights(index, weight), None, outputs)
        return self

    def inference(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> Inference:
        """Standard errors, intervals and deviance of this fit, from the data that it was fitted on.

        `options` go to {py:func}`minimand.inference.infer`.
        """
        X, y = self._rows(X, y)
        weight, loss = row_weights(sample_weight, X), self._chosen_loss(len(self.classes_))
        index = np.searchsorted(self.classes_, y)
        target = self._targets(loss, index)[0]
        return self._inferred(loss, X, target, self._weights(index, weight), **options)

    def _prepared(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """(problems, X, class indices, weight, no offset), checked."""
        X, y = self._rows(X, y, reset=True)
        weight = row_weights(sample_weight, X)
        index = self._encoded(y, weight)
        loss = self._chosen_loss(len(self.classes_))
        problems = [(loss, target) for target in self._targets(loss, index)]
        return problems, X, index, self._weights(index, weight), None

    def _targets(self, loss: Loss, index: Array) -> list[Array]:
        """The target of every problem: one, or each class against the rest."""
        classes = len(self.classes_)
        if loss.score_axes or classes == 2:
            return [loss.from_classes(index)]
        return [loss.from_classes(index == k) for k in range(classes)]

    def _set_coefficients(self, kernel: Array, bias: Array) -> None:
        if len(bias) == 2:  # two scores of two classes: only their difference matters
            kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
        self.coef_, self.intercept_ = kernel.T.copy(), bias

    def _scores(self, X: Array) -> Array:
        scores = super()._scores(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores


def alone(loss: Loss) -> list[Loss]:
    """The losses that can be minimised one by one: one for each of several quantiles."""
    if not isinstance(loss, Quantiles):
        return [loss]
    if loss.crossing:
        raise ArgumentError(
            f"linear models fit each quantile alone, so crossing is {loss.crossing:g} in vain; "
            f"leave it at 0 (predictions are sorted)"
        )
    return [Quantile(level=level) for level in loss.levels]
