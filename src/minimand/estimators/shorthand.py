"""Linear regressors under the names that people search for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minimand.errors import ArgumentError
from minimand.estimators.linear import LinearRegression
from minimand.losses import (
    Gamma,
    HalfSquared,
    Huber,
    HuberWithScale,
    Loss,
    Poisson,
    Quantile,
    Quantiles,
    Tweedie,
)
from minimand.penalties import Penalty
from minimand.solvers import Objective, Solver


class PoissonRegressor(LinearRegression):
    """A linear model of the log of the mean of a count: E y = exp(x·w + b).

    `fit` and `predict` take an `exposure` (person-years, area, policies) or an `offset`.

    Args:
        penalty: None, or text or object such as "l1(strength=0.1)". The strength counts against
            the mean loss: scikit-learn's alpha is L2 of strength alpha.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "newton(tolerance=1e-12)".
        warm_start: start from the answer of the last fit.

    >>> X, y = [[0.0], [1.0], [2.0]], [2, 4, 8]
    >>> PoissonRegressor().fit(X, y).predict([[3.0]]).round(6)
    array([16.])
    """

    def __init__(
        self,
        *,
        penalty: str | Penalty | None = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
        warm_start: bool = False,
    ) -> None:
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start

    def _chosen_loss(self) -> Loss:
        return Poisson()


class GammaRegressor(PoissonRegressor):
    """A linear model of the log of the mean of a positive amount: E y = exp(x·w + b).

    Arguments are those of `PoissonRegressor`; the spread grows with the mean.

    >>> X, y = [[0.0], [1.0], [2.0]], [2.5, 5.0, 10.0]
    >>> GammaRegressor().fit(X, y).predict([[3.0]]).round(3)
    array([20.])
    """

    def _chosen_loss(self) -> Loss:
        return Gamma()


class TweedieRegressor(LinearRegression):
    """A linear model of the log of the mean of an amount that is often exactly zero.

    Args:
        power: the variance grows like the mean to this power: 1 is Poisson, 2 is Gamma, between
            them there are exact zeros and a positive rest. 0 is the squared error of x·w + b.
        penalty: None, or text or object such as "l1(strength=0.1)". The strength counts against
            the mean loss: scikit-learn's alpha is L2 of strength alpha.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "newton(tolerance=1e-12)".
        warm_start: start from the answer of the last fit.

    >>> X, y = [[0.0], [0.0], [1.0], [1.0]], [0.0, 2.0, 0.0, 6.0]
    >>> TweedieRegressor(power=1.5).fit(X, y).predict([[0.0], [1.0]]).round(6)
    array([1., 3.])
    """

    def __init__(
        self,
        *,
        power: float = 1.5,
        penalty: str | Penalty | None = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
        warm_start: bool = False,
    ) -> None:
        self.power = power
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start

    def _chosen_loss(self) -> Loss:
        named: dict[float, Loss] = {0: HalfSquared(), 1: Poisson(), 2: Gamma()}
        return named.get(self.power) or Tweedie(power=self.power)


class QuantileRegressor(LinearRegression):
    """A linear model of a quantile, or of several at once.

    It minimises the mean pinball loss, plus the penalty of w.

    Args:
        quantile: a level in (0, 1), or several in increasing order. Predictions of several are
            [n, L], sorted, so that they never cross.
        penalty: None, or text or object such as "l1(strength=0.1)". The strength counts against
            the mean loss: scikit-learn's alpha is L1 of strength alpha.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object.
        warm_start: start from the answer of the last fit.

    >>> X, y = [[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]], [1.0, 2.0, 3.0, 5.0, 7.0, 9.0]
    >>> QuantileRegressor(quantile=0.5).fit(X, y).predict([[0.0], [1.0]]).round(6)
    array([2., 7.])
    """

    def __init__(
        self,
        *,
        quantile: float | Sequence[float] = 0.5,
        penalty: str | Penalty | None = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
        warm_start: bool = False,
    ) -> None:
        self.quantile = quantile
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start

    def _chosen_loss(self) -> Loss:
        if isinstance(self.quantile, (Sequence, np.ndarray)):
            return Quantiles(levels=tuple(map(float, self.quantile)))
        return Quantile(level=self.quantile)


class HuberRegressor(LinearRegression):
    """A linear model that outliers do not pull, with the scale of the residuals fitted too.

    It minimises the mean of σ + σ H(r / σ) over w, b and σ > 0, plus the penalty of w, where H(u)
    is u² up to ε and 2 ε |u| - ε² beyond (Huber's proposal 2; Owen, 2007, A robust hybrid of lasso
    and ridge regression). Given σ this is Huber's loss with δ = ε σ.

    Args:
        epsilon: from so many σ on, a residual counts as an outlier; above 1.
        penalty: None, or text or object such as "l2(strength=0.1)". The strength counts against
            the mean loss: scikit-learn's alpha is L2 of strength 2 alpha / n.
        fit_intercept: whether to fit b, which is never penalised.
        solver: "auto", or text or object such as "activerows(tolerance=1e-12)".
        warm_start: start from the answer of the last fit.

    After `fit`, besides what every linear model has: `scale_`, which is σ.

    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0]]
    >>> y = [0.1, 0.9, 2.1, 2.9, 4.1, 4.9, 6.1, 70.0]
    >>> HuberRegressor().fit(X, y).predict([[7.0]]).round(1)
    array([7.1])
    """

    _streams = False

    def __init__(
        self,
        *,
        epsilon: float = 1.35,
        penalty: str | Penalty | None = None,
        fit_intercept: bool = True,
        solver: str | Solver = "auto",
        warm_start: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start

    def _chosen_loss(self) -> Loss:
        if not self.epsilon > 1:
            raise ArgumentError(f"HuberRegressor: epsilon is {self.epsilon}; it must be above 1")
        return Huber(delta=self.epsilon * getattr(self, "scale_", 1.0))

    def _objective(self, loss: Loss) -> Objective:
        return super()._objective(HuberWithScale(epsilon=self.epsilon))

    def _show(self, solutions: Sequence[Any]) -> None:
        super()._show(solutions)
        self.scale_ = float(solutions[0].params["scale"])
