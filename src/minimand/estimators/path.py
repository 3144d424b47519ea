"""Linear models that choose the strength of their penalty by cross-validation along the path."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv

from minimand.arrays import Array
from minimand.errors import ArgumentError, DataError, unknown
from minimand.estimators.base import strengthened
from minimand.estimators.libraries import fits_in_kind
from minimand.estimators.linear import LinearClassifier, LinearRegression
from minimand.estimators.model import LinearModel, Problems
from minimand.losses import Loss
from minimand.penalties import Penalty
from minimand.solvers import Solution, Solver
from minimand.solvers.path import Path, path

Rule = Literal["best", "one_standard_error"]
RULES = ("best", "one_standard_error")


class PathSearch(LinearModel):
    """A penalty's strength, chosen by held-out loss on shared folds.

    All data and every fold are solved along the same strengths, each from the answer before, so
    that the final model is one that has been solved already.

    After `fit`, besides what every linear model has: `strengths_` [S] from strong to weak,
    `cv_losses_` [S, folds] (mean loss of the held-out rows, or minus their score), `strength_` and
    `penalty_`.
    """

    _streams = False

    def _search(
        self,
        groups: Any,
        problems: Problems,
        X: Array,
        y: Array,
        weight: Array | None,
        offset: Array | None,
    ) -> None:
        """Solve along the path, judge every strength on the folds, and keep the chosen one."""
        if self.rule not in RULES:
            raise unknown(f"{type(self).__name__}: rule", self.rule, RULES)
        if self._component("penalty") is None:
            raise ArgumentError(f"{type(self).__name__} needs a penalty, such as 'l1' or 'l2'")
        if self.scoring is not None and offset is not None:
            raise ArgumentError("scoring knows no offset; leave it at None to judge by the loss")
        given = None if isinstance(self.strengths, int) else self.strengths
        strengths, found = self._paths(given, problems, X, weight, offset)
        folds = check_cv(self.cv, y, classifier=is_classifier(self)).split(X, y, groups)
        marks = []
        for train, test in folds:
            self._check_fold(y[train], None if weight is None else weight[train])
            parts = [(loss, target[train]) for loss, target in problems]
            rest = [None if row is None else row[train] for row in (weight, offset)]
            _, fitted = self._paths(strengths, parts, X[train], *rest)
            marks.append(self._held_out(problems, X, y, weight, offset, test, fitted))
        self.strengths_, self.cv_losses_ = strengths, np.array(marks).T
        best = choose(self.cv_losses_, self.rule)
        self.strength_ = float(strengths[best])
        self.penalty_ = strengthened(self._chosen_penalty(), self.strength_)
        self._keep([solutions[best] for solutions in found])

    def _paths(
        self,
        strengths: Any,
        problems: Problems,
        X: Array,
        weight: Array | None,
        offset: Array | None,
    ) -> tuple[Array, list[Sequence[Solution]]]:
        """(strengths, the solutions of every problem along them)."""
        solver = self._chosen_solver()

        def along(loss: Loss, y: Array, **grid: Any) -> Path:
            objective = self._objective(loss)
            return path(objective, X, y, weight, offset=offset, solver=solver, **grid)

        if strengths is None:  # one grid for all problems: that of the one that starts strongest
            paths = [along(loss, y, count=self.strengths) for loss, y in problems]
            if len(paths) == 1:
                return paths[0].strengths, [paths[0].solutions]
            strengths = max((found.strengths for found in paths), key=lambda grid: float(grid[0]))
        paths = [along(loss, y, strengths=strengths) for loss, y in problems]
        return paths[0].strengths, [found.solutions for found in paths]

    def _held_out(
        self,
        problems: Problems,
        X: Array,
        y: Array,
        weight: Array | None,
        offset: Array | None,
        test: Array,
        fitted: list[Sequence[Solution]],
    ) -> list[float]:
        """The mean loss of the held-out rows, or minus their score, at every strength."""
        X = X[test]
        if self.scoring is not None:
            scorer, shown, losses = check_scoring(self, self.scoring), copy.copy(self), []
            for solutions in zip(*fitted, strict=True):
                shown._show(solutions)
                losses.append(-scorer(shown, X, self._named(y[test])))
            return losses
        share = np.ones(len(test)) if weight is None else weight[test]
        if not share.sum() > 0:
            raise DataError("a fold holds out only rows of weight 0; choose another cv")
        added = None if offset is None else offset[test]
        return [
            sum(
                float(np.average(loss.value(one.scores(X, added), target[test]), weights=share))
                for (loss, target), one in zip(problems, solutions, strict=True)
            )
            for solutions in zip(*fitted, strict=True)
        ]

    def _named(self, y: Array) -> Array:
        """The target as the user wrote it."""
        return y

    def _check_fold(self, y: Array, weight: Array | None) -> None:
        """Raise `DataError` if these rows cannot be trained on."""


class LinearRegressorCV(PathSearch, LinearRegression):
    """A linear model of a number that chooses the strength of its penalty by cross-validation.

    Args:
        loss: a loss of one number a row, as text or object.
        penalty: text or object, such as "l1" or "elasticnet(l1_ratio=0.9)"; its strength is what is
            chosen.
        strengths: the strengths to try, or how many, down from the strongest useful one.
        cv: None (5 folds), a number of folds, a splitter, or pairs of row numbers.
        scoring: None judges by the loss itself; or a name or function of scikit-learn's.
        rule: "best", or "one_standard_error": the strongest within one standard error of the best.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "newton(tolerance=1e-12)".

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> fitted = LinearRegressorCV("half_squared", penalty="l1").fit(X, y)
    >>> int((fitted.coef_ != 0).sum()) < 10, fitted.cv_losses_.shape[1]
    (True, 5)
    """

    def __init__(
        self,
        loss: str | Loss = "squared",
        *,
        penalty: str | Penalty = "l2",
        strengths: int | Sequence[float] = 30,
        cv: Any = None,
        scoring: Any = None,
        rule: Rule = "best",
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.strengths = strengths
        self.cv = cv
        self.scoring = scoring
        self.rule = rule
        self.fit_intercept = fit_intercept
        self.solver = solver

    @fits_in_kind
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        offset: Any = None,
        exposure: Any = None,
        groups: Any = None,
    ) -> Self:
        """Choose the strength and fit all rows; arguments as in `LinearRegressor.fit`.

        `groups` [n] are handed to the splitter, for one that keeps groups together.
        """
        self._search(groups, *self._prepared(X, y, sample_weight, offset, exposure))
        return self


class LinearClassifierCV(PathSearch, LinearClassifier):
    """A linear model of classes that chooses the strength of its penalty by cross-validation.

    Args:
        loss: text or object; "auto" is the logistic loss for two classes and the cross-entropy for
            more.
        penalty: text or object, such as "l1" or "elasticnet(l1_ratio=0.9)"; its strength is what is
            chosen.
        strengths: the strengths to try, or how many, down from the strongest useful one.
        cv: None (5 stratified folds), a number of folds, a splitter, or pairs of row numbers.
        scoring: None judges by the loss itself; or a name or function of scikit-learn's.
        rule: "best", or "one_standard_error": the strongest within one standard error of the best.
        class_weight: None, "balanced", or a dictionary from class to weight.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "newton(tolerance=1e-12)".

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> LinearClassifierCV(scoring="accuracy").fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        loss: str | Loss = "auto",
        *,
        penalty: str | Penalty = "l2",
        strengths: int | Sequence[float] = 30,
        cv: Any = None,
        scoring: Any = None,
        rule: Rule = "best",
        class_weight: Any = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.strengths = strengths
        self.cv = cv
        self.scoring = scoring
        self.rule = rule
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.solver = solver

    @fits_in_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Choose the strength and fit all rows; arguments as in `LinearClassifier.fit`.

        `groups` [n] are handed to the splitter, for one that keeps groups together.
        """
        self._search(groups, *self._prepared(X, y, sample_weight))
        return self

    def _named(self, y: Array) -> Array:
        return self.classes_[y]

    def _check_fold(self, y: Array, weight: Array | None) -> None:
        kept = y if weight is None else y[weight > 0]
        for missing in np.setdiff1d(np.arange(len(self.classes_)), kept)[:1]:
            raise DataError(
                f"a fold has no rows of class {self.classes_.tolist()[missing]!r} to train on; use "
                f"fewer folds, or a stratified cv"
            )


def choose(losses: Array, rule: Rule) -> int:
    """The row of [S, folds] losses, from strong to weak, that is best or within its error.

    >>> losses = np.array([[3.0, 5.0], [2.0, 4.0], [1.0, 4.0]])
    >>> choose(losses, "best"), choose(losses, "one_standard_error")
    (2, 0)
    """
    mean = losses.mean(axis=1)
    best = int(np.argmin(mean))
    if rule == "best":
        return best
    error = losses[best].std(ddof=1) / np.sqrt(losses.shape[1])
    return int(np.flatnonzero(mean <= mean[best] + error)[0])
