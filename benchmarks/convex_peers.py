"""The peers of convex.py: who solves which row, and how its objective is told to each of them.

A peer is prepared with a problem (imports, memory layout: not timed) and gives a function of a
tolerance, which is timed and returns (kernel, bias). Every peer fits the intercept, if there is
one. liblinear and rehline penalise theirs, so it belongs to a column of 10s (1000s under L1), which
makes that penalty negligible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

if TYPE_CHECKING:
    from convex import Problem

Array = Any
Fit = Callable[[float], tuple[Any, ...]]

TOLERANCES = tuple(10.0**-k for k in range(1, 13))
HALVES = tuple(t * f for t in TOLERANCES for f in (1, 0.3))
EXACT = (0.0,)
MANY = 1_000_000
COLUMN = 10.0


@dataclass(frozen=True)
class Peer:
    """A library's solver, with the tolerances to try from loose to tight."""

    name: str
    prepare: Callable[[Problem], Fit]
    ladder: tuple[float, ...] = HALVES


def peers_of(row: str, loss: str, small: bool) -> tuple[Peer, ...]:
    """The peers that have the problem of a row; the first is also run tight, as a reference."""
    if small:
        return SMALL[row.rsplit("-", 1)[0]]
    return next(found for start, found in LARGE.items() if row.startswith(start))


def _linear(model: Any) -> tuple[Array, Array]:
    """What scikit-learn's estimators and their likes found."""
    return model.coef_.T, model.intercept_


# scikit-learn and its extension


def sklearn_logistic(solver: str, module: str = "sklearn") -> Callable[[Problem], Fit]:
    """LogisticRegression for L2 and L1, two classes and more: C = 1 / (n λ)."""

    def prepare(problem: Problem) -> Fit:
        LogisticRegression = _import(f"{module}.linear_model").LogisticRegression
        options: dict[str, Any] = {"solver": solver, "max_iter": MANY, "random_state": 0}
        options["C"] = 1 / (len(problem.y) * (problem.l1 or problem.l2))
        if problem.l1:
            options["l1_ratio"] = 1.0
        if solver == "liblinear":
            options["intercept_scaling"] = COLUMN**3 if problem.l1 else COLUMN
        return lambda tol: _linear(LogisticRegression(tol=tol, **options).fit(problem.X, problem.y))

    return prepare


def sklearn_poisson(solver: str) -> Callable[[Problem], Fit]:
    """PoissonRegressor: its alpha is λ."""

    def prepare(problem: Problem) -> Fit:
        from sklearn.linear_model import PoissonRegressor

        options = {"solver": solver, "alpha": problem.l2, "max_iter": 10_000}
        return lambda tol: _linear(PoissonRegressor(tol=tol, **options).fit(problem.X, problem.y))

    return prepare


def sklearn_huber(problem: Problem) -> Fit:
    """HuberRegressor: alpha ‖w‖² against the sum of the losses, n λ = 2 alpha."""
    from sklearn.linear_model import HuberRegressor

    options = {"alpha": problem.l2 * len(problem.y) / 2, "epsilon": 1.35, "max_iter": 10_000}
    return lambda tol: _linear(HuberRegressor(tol=tol, **options).fit(problem.X, problem.y))


def sklearn_quantile(solver: str) -> Callable[[Problem], Fit]:
    """QuantileRegressor, exact up to the tolerances of HiGHS."""

    def prepare(problem: Problem) -> Fit:
        from sklearn.linear_model import QuantileRegressor

        model = QuantileRegressor(quantile=0.8, alpha=0.0, solver=solver)
        return lambda _: _linear(model.fit(problem.X, problem.y))

    return prepare


def sklearn_svc(loss: str, dual: bool) -> Callable[[Problem], Fit]:
    """LinearSVC (liblinear): C = 1 / (n λ)."""

    def prepare(problem: Problem) -> Fit:
        from sklearn.svm import LinearSVC

        options = {"loss": loss, "dual": dual, "intercept_scaling": COLUMN, "max_iter": MANY}
        C = 1 / (len(problem.y) * problem.l2)
        return lambda tol: _linear(
            LinearSVC(C=C, tol=tol, random_state=0, **options).fit(problem.X, problem.y)
        )

    return prepare


def sklearn_lasso(problem: Problem) -> Fit:
    """Lasso: its alpha is λ."""
    from sklearn.linear_model import Lasso

    return _lasso(Lasso, problem)


def sklearn_squares(module: str = "sklearn") -> Callable[[Problem], Fit]:
    """LinearRegression."""

    def prepare(problem: Problem) -> Fit:
        model = _import(f"{module}.linear_model").LinearRegression()
        return lambda _: _linear(model.fit(problem.X, problem.y))

    return prepare


def sklearn_ridge(solver: str) -> Callable[[Problem], Fit]:
    """Ridge: alpha ‖w‖² against the sum of the squares, alpha = n λ."""

    def prepare(problem: Problem) -> Fit:
        from sklearn.linear_model import Ridge

        alpha = len(problem.y) * problem.l2
        return lambda tol: _linear(
            Ridge(alpha=alpha, solver=solver, tol=tol).fit(problem.X, problem.y)
        )

    return prepare


def _lasso(Lasso: Any, problem: Problem) -> Fit:
    X, y = _columns(problem.X), problem.y
    model = partial(Lasso, problem.l1, fit_intercept=problem.intercept, max_iter=10_000)
    return lambda tol: _linear(model(tol=tol).fit(X, y))


# Others


def numpy_lstsq(problem: Problem) -> Fit:
    """numpy.linalg.lstsq with a column of ones."""
    Z = _with_column(problem.X, 1.0)
    return lambda _: _split(np.linalg.lstsq(Z, problem.y)[0])


def statsmodels_logit(problem: Problem) -> Fit:
    """Logit without the penalty, which is small enough not to matter at λ = 1 / n."""
    from statsmodels.api import Logit

    Z, y = _with_column(problem.X, 1.0), _zero_one(problem.y)
    return lambda tol: _split(Logit(y, Z).fit(tol=tol, maxiter=1000, disp=0).params)


def statsmodels_glm(family: str) -> Callable[[Problem], Fit]:
    """GLM by iteratively reweighted least squares, without the penalty."""

    def prepare(problem: Problem) -> Fit:
        from statsmodels.api import GLM, families

        Z = _with_column(problem.X, 1.0)
        y = problem.y if family == "Poisson" else _zero_one(problem.y)
        return lambda tol: _split(
            GLM(y, Z, family=getattr(families, family)()).fit(tol=tol, maxiter=1000).params
        )

    return prepare


def statsmodels_quantile(problem: Problem) -> Fit:
    """QuantReg."""
    from statsmodels.api import QuantReg

    Z = _with_column(problem.X, 1.0)
    return lambda tol: _split(QuantReg(problem.y, Z).fit(0.8, p_tol=tol, max_iter=10_000).params)


def glum(family: str, solver: str) -> Callable[[Problem], Fit]:
    """GeneralizedLinearRegressor: half the mean unit deviance, alpha as λ."""

    def prepare(problem: Problem) -> Fit:
        from glum import GeneralizedLinearRegressor

        options: dict[str, Any] = {"family": family, "solver": solver, "max_iter": 1000}
        options |= {"alpha": problem.l1 or problem.l2, "l1_ratio": float(problem.l1 > 0)}
        model = partial(GeneralizedLinearRegressor, **options)
        X = np.asfortranarray(problem.X)
        y = problem.y if family == "poisson" else _zero_one(problem.y)
        return lambda tol: _linear(model(gradient_tol=tol).fit(X, y))

    return prepare


def adelie(problem: Problem) -> Fit:
    """Grpnet at the one λ, over its own column-wise matrix."""
    import adelie as ad

    X = ad.matrix.dense(np.asfortranarray(problem.X), method="naive", n_threads=1)
    binomial = problem.loss == "logistic"
    y = _zero_one(problem.y) if binomial else problem.y

    def fit(tol: float) -> tuple[Array, Array]:
        state = ad.grpnet(
            X,
            ad.glm.binomial(y) if binomial else ad.glm.gaussian(y),
            lmda_path=np.array([problem.l1]),
            tol=tol,
            irls_tol=tol,
            early_exit=False,
            progress_bar=False,
        )
        return state.betas[-1].toarray().T, state.intercepts[-1]

    return fit


def skglm_lasso(problem: Problem) -> Fit:
    """Its Lasso: alpha is λ."""
    from skglm import Lasso

    return _lasso(Lasso, problem)


def skglm_logistic(problem: Problem) -> Fit:
    """SparseLogisticRegression: alpha is λ."""
    from skglm import SparseLogisticRegression

    X, y, options = _columns(problem.X), problem.y, {"alpha": problem.l1, "max_iter": 1000}
    return lambda tol: _linear(SparseLogisticRegression(tol=tol, **options).fit(X, y))


def celer(problem: Problem) -> Fit:
    """Its Lasso: alpha is λ."""
    from celer import Lasso

    return _lasso(Lasso, problem)


def rehline(problem: Problem) -> Fit:
    """The support vector machine as a ridge problem of lines: C = 1 / (n λ)."""
    from rehline import plqERM_Ridge

    Z, C = _with_column(problem.X, COLUMN), 1 / (len(problem.y) * problem.l2)

    def fit(tol: float) -> tuple[Array, Array]:
        model = plqERM_Ridge({"name": "svm"}, C=C, tol=tol, max_iter=MANY).fit(Z, problem.y)
        return model.coef_[:-1], COLUMN * model.coef_[-1]

    return fit


# Layouts


def _columns(X: Array) -> Array:
    """Dense in Fortran order, or compressed columns with 32-bit indices."""
    if not scipy.sparse.issparse(X):
        return np.asfortranarray(X)
    X = scipy.sparse.csc_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X


def _with_column(X: Array, value: float) -> Array:
    return np.hstack([X, np.full((len(X), 1), value)])


def _split(params: Array) -> tuple[Array, Array]:
    return params[:-1], params[-1]


def _zero_one(y: Array) -> Array:
    return (y + 1) / 2


def _import(name: str) -> Any:
    from importlib import import_module

    return import_module(name)


LBFGS = Peer("scikit-learn lbfgs", sklearn_logistic("lbfgs"))
CHOLESKY = Peer("scikit-learn newton-cholesky", sklearn_logistic("newton-cholesky"))
NEWTON_CG = Peer("scikit-learn newton-cg", sklearn_logistic("newton-cg"))
SAGA = Peer("scikit-learn saga", sklearn_logistic("saga"))
LIBLINEAR = Peer("scikit-learn liblinear", sklearn_logistic("liblinear"))
INTEL = Peer("sklearnex lbfgs", sklearn_logistic("lbfgs", "sklearnex"))
POISSON = (
    Peer("scikit-learn newton-cholesky", sklearn_poisson("newton-cholesky")),
    Peer("scikit-learn lbfgs", sklearn_poisson("lbfgs")),
)
HUBER = Peer("scikit-learn HuberRegressor", sklearn_huber)
HIGHS = Peer("scikit-learn highs", sklearn_quantile("highs"), EXACT)
LASSO = Peer("scikit-learn Lasso", sklearn_lasso)
SQUARES = Peer("scikit-learn LinearRegression", sklearn_squares(), EXACT)
RIDGE = Peer("scikit-learn Ridge cholesky", sklearn_ridge("cholesky"), EXACT)

LARGE: dict[str, tuple[Peer, ...]] = {
    "logistic-l1": (
        Peer("skglm", skglm_logistic),
        Peer("adelie", adelie),
        Peer("scikit-learn liblinear", sklearn_logistic("liblinear")),
        SAGA,
        Peer("glum irls-cd", glum("binomial", "irls-cd"), TOLERANCES),
    ),
    "logistic": (
        CHOLESKY,
        LBFGS,
        INTEL,
        NEWTON_CG,
        Peer("glum irls-ls", glum("binomial", "irls-ls"), TOLERANCES),
        SAGA,
        LIBLINEAR,
        Peer("statsmodels Logit", statsmodels_logit, TOLERANCES),
        Peer("statsmodels GLM", statsmodels_glm("Binomial"), TOLERANCES),
    ),
    "multinomial": (CHOLESKY, LBFGS, INTEL, NEWTON_CG, SAGA),
    "poisson": (
        *POISSON,
        Peer("glum irls-ls", glum("poisson", "irls-ls"), TOLERANCES),
        Peer("statsmodels GLM", statsmodels_glm("Poisson"), TOLERANCES),
    ),
    "huber": (HUBER,),
    "quantile": (
        Peer("statsmodels QuantReg", statsmodels_quantile),
        Peer("scikit-learn highs-ipm", sklearn_quantile("highs-ipm"), EXACT),
        HIGHS,
        Peer("scikit-learn highs-ds", sklearn_quantile("highs-ds"), EXACT),
    ),
    "squared-hinge": (
        Peer("scikit-learn LinearSVC primal", sklearn_svc("squared_hinge", dual=False)),
        Peer("scikit-learn LinearSVC dual", sklearn_svc("squared_hinge", dual=True)),
    ),
    "hinge": (
        Peer("rehline", rehline),
        Peer("scikit-learn LinearSVC", sklearn_svc("hinge", dual=True)),
    ),
    "lasso-sparse": (LASSO, Peer("skglm", skglm_lasso), Peer("celer", celer)),
    "lasso": (LASSO, Peer("skglm", skglm_lasso), Peer("celer", celer), Peer("adelie", adelie)),
    "ols": (
        SQUARES,
        RIDGE,
        Peer("scikit-learn Ridge lsqr", sklearn_ridge("lsqr")),
        Peer("sklearnex LinearRegression", sklearn_squares("sklearnex"), EXACT),
        Peer("numpy lstsq", numpy_lstsq, EXACT),
    ),
}
"""By the start of a row's name; the longer start stands first."""

SMALL: dict[str, tuple[Peer, ...]] = {
    "ols": (SQUARES,),
    "ridge": (RIDGE, Peer("scikit-learn Ridge", sklearn_ridge("auto"), EXACT)),
    "logistic": (CHOLESKY, LBFGS),
    "multinomial": (CHOLESKY, LBFGS),
    "poisson": POISSON,
    "lasso": (LASSO,),
    "quantile": (HIGHS,),
    "huber": (HUBER,),
}
