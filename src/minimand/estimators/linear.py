"""Linear models: any loss of the catalogue, any penalty, solved to a certified optimum."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from minimand.arrays import Array
from minimand.component import Component
from minimand.errors import ArgumentError
from minimand.estimators.base import Classifier, Estimator, Regressor, row_offset, row_weights
from minimand.inference import Inference, infer
from minimand.losses import Loss, Quantile, Quantiles
from minimand.penalties import Penalty
from minimand.solvers import Objective, Solution, Solver, minimise

Problems = list[tuple[Loss, Array]]
"""The loss and the target of every problem that one fit solves."""


class LinearModel(Estimator):
    """An affine score X W + b whose coefficients come with a certificate.

    After `fit`: `coef_`, `intercept_`, `n_iter_`, `certificate_` (how far from the optimum, at
    most) and `solution_` (all the evidence; a tuple where several problems were solved). Nothing
    keeps the data.
    """

    _components: ClassVar[Mapping[str, type[Component]]] = MappingProxyType(
        {"loss": Loss, "penalty": Penalty, "solver": Solver}
    )

    def summary(self) -> str:
        """How the fit ended and what proves it, in sentences."""
        return "\n".join(solution.summary() for solution in self._solved())

    def _inferred(self, loss: Loss, *data: Any, **options: Any) -> Inference:
        """`infer` with what this fit knows by itself."""
        if isinstance(self.solution_, tuple):
            raise ArgumentError(
                f"{len(self.solution_)} problems were solved apart (several quantiles, or each "
                f"class against the rest); fit them one at a time for inference"
            )
        known = {"intercept": self.fit_intercept, "penalty": self._chosen_penalty()}
        if hasattr(self, "feature_names_in_"):
            known["names"] = self.feature_names_in_.tolist()
        X, y, *rest = data
        return infer(loss, X, y, self.solution_.params, *rest, **known | options)

    def _objective(self, loss: Loss) -> Objective:
        return Objective(loss, self._chosen_penalty(), self.fit_intercept)

    def _chosen_solver(self) -> Any:
        return self._component("solver") or "auto"

    def _solve(
        self, problems: Problems, X: Array, weight: Array | None, offset: Array | None
    ) -> None:
        """Solve one problem after another and keep what comes out."""
        solver, starts = self._chosen_solver(), self._starts(len(problems), X.shape[1])
        self._keep(
            [
                minimise(
                    self._objective(loss),
                    *(X, y, weight),
                    offset=offset,
                    start=start,
                    solver=solver,
                )
                for (loss, y), start in zip(problems, starts, strict=True)
            ]
        )

    def _starts(self, problems: int, columns: int) -> list[Any]:
        """Where to start each problem: at the last fit's answer if that is asked for and fits."""
        if self.warm_start and hasattr(self, "solution_"):
            starts = [solution.params for solution in self._solved()]
            if len(starts) == problems and len(starts[0]["output"]["kernel"]) == columns:
                return starts
        return [None] * problems

    def _solved(self) -> tuple[Solution, ...]:
        return self.solution_ if isinstance(self.solution_, tuple) else (self.solution_,)

    def _keep(self, solutions: Sequence[Solution]) -> None:
        """Keep the evidence of the solutions and the coefficients of all of them together."""
        for solution in solutions:
            if not solution.converged:
                warnings.warn(solution.status, ConvergenceWarning, stacklevel=4)
        self.solution_ = tuple(solutions) if len(solutions) > 1 else solutions[0]
        self.certificate_ = max((s.certificate for s in solutions), key=lambda c: c.value)
        self.n_iter_ = max(max(1, len(s.history["value"]) - 1) for s in solutions)
        self._show(solutions)

    def _show(self, solutions: Sequence[Solution]) -> None:
        """Set `coef_` and `intercept_`."""
        layers = [solution.params["output"] for solution in solutions]
        kernel = np.hstack([layer["kernel"] for layer in layers])
        self._set_coefficients(kernel, np.concatenate([layer["bias"] for layer in layers]))

    def _set_coefficients(self, kernel: Array, bias: Array) -> None:
        """Set `coef_` and `intercept_` of W [p, K] and b [K]."""
        raise NotImplementedError

    def _scores(self, X: Array) -> Array:
        return X @ self.coef_.T + self.intercept_


class LinearRegression(LinearModel, Regressor):
    """What regressors with an affine score have in common; subclasses name the loss."""

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
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=float)
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

    def _prepared(self, X: Any, y: Any, sample_weight: Any, offset: Any, exposure: Any) -> Any:
        """(problems, X, y, weight, offset), checked."""
        loss = self._chosen_loss()
        X, y = self._rows(X, y, reset=True, y_numeric=True)
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
