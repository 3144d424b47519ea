"""The scikit-learn face: the same answers as peers, and a good citizen of their world."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

import jax.numpy
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.optimize
import scipy.sparse
import sklearn
import statsmodels.api as sm
import torch
from sklearn import linear_model as peers
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._huber import _huber_loss_and_gradient
from sklearn.metrics import d2_pinball_score, d2_tweedie_score, log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from minimand.errors import ArgumentError, ArgumentTypeError, DataError, SolverError, TargetError
from minimand.estimators import (
    GammaRegressor,
    HuberRegressor,
    LinearClassifier,
    LinearClassifierCV,
    LinearRegressor,
    LinearRegressorCV,
    NetworkClassifier,
    NetworkRegressor,
    PoissonRegressor,
    QuantileRegressor,
    TweedieRegressor,
)
from minimand.losses import Huber
from minimand.penalties import L2
from minimand.solvers.problem import Problem

DIABETES = load_diabetes(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
IRIS = load_iris(return_X_y=True)
ROWS, ILL, FLOWERS = (len(data[1]) for data in (DIABETES, CANCER, IRIS))
NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
STRICT = "newton(tolerance=1e-12)"


def same(ours: Any, peer: Any, tolerance: float = 1e-6) -> None:
    """Coefficients agree relative to the largest."""
    size = np.max(np.abs(peer.coef_))
    np.testing.assert_allclose(ours.coef_, peer.coef_, rtol=0, atol=tolerance * size)
    np.testing.assert_allclose(
        ours.intercept_, peer.intercept_, rtol=tolerance, atol=tolerance * size
    )


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (LinearRegressor(), peers.LinearRegression()),
        (LinearRegressor(fit_intercept=False), peers.LinearRegression(fit_intercept=False)),
        (LinearRegressor("half_squared", penalty=L2(0.5 / ROWS)), peers.Ridge(0.5, tol=1e-12)),
        (
            LinearRegressor("half_squared", penalty="l1(strength=0.1)"),
            peers.Lasso(0.1, tol=1e-12, max_iter=10**5),
        ),
        (
            LinearRegressor("half_squared", penalty="elasticnet(strength=0.1, l1_ratio=0.7)"),
            peers.ElasticNet(0.1, l1_ratio=0.7, tol=1e-12, max_iter=10**5),
        ),
        (PoissonRegressor(solver=STRICT), peers.PoissonRegressor(alpha=0, **NEWTON)),
        (
            GammaRegressor(penalty="l2(strength=0.01)", solver=STRICT),
            peers.GammaRegressor(alpha=0.01, **NEWTON),
        ),
        (
            TweedieRegressor(power=1.3, solver=STRICT),
            peers.TweedieRegressor(power=1.3, alpha=0, **NEWTON),
        ),
        (QuantileRegressor(quantile=0.75), peers.QuantileRegressor(quantile=0.75, alpha=0)),
    ],
    ids=lambda estimator: str(estimator)[:40],
)
def test_regressors_agree_with_scikit_learn(ours: Any, peer: Any) -> None:
    same(ours.fit(*DIABETES), peer.fit(*DIABETES))


@pytest.mark.parametrize(
    ("data", "strength", "peer"),
    [
        (CANCER, 1 / ILL, peers.LogisticRegression(**NEWTON)),
        (IRIS, 1 / FLOWERS, peers.LogisticRegression(**NEWTON)),
        (IRIS, 100 / FLOWERS, peers.LogisticRegression(C=0.01, **NEWTON)),
    ],
)
def test_classifiers_agree_with_scikit_learn(data: Any, strength: float, peer: Any) -> None:
    X, y = StandardScaler().fit_transform(data[0]), data[1]
    ours = LinearClassifier(penalty=L2(strength)).fit(X, y)
    same(ours, peer.fit(X, y))
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))


def test_huber_finds_the_joint_optimum_of_scikit_learns_objective() -> None:
    X, y = StandardScaler().fit_transform(DIABETES[0]), DIABETES[1]
    ours = HuberRegressor(penalty=L2(2e-4 / ROWS)).fit(X, y)
    peer = peers.HuberRegressor(tol=1e-12, max_iter=1000).fit(X, y)
    settings = (X, y, 1.35, 1e-4, np.ones(ROWS))
    start = np.concatenate([peer.coef_, [peer.intercept_, peer.scale_]])

    def slope(point: Any) -> Any:
        return _huber_loss_and_gradient(point, *settings)[1]

    best = scipy.optimize.root(slope, start, tol=1e-13).x
    found = np.concatenate([ours.coef_, [ours.intercept_, ours.scale_]])
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-6 * np.max(np.abs(ours.coef_)))
    value, least = (_huber_loss_and_gradient(point, *settings)[0] for point in (found, best))
    assert value == pytest.approx(least, rel=1e-12)


def test_huber_with_a_row_weight_is_that_row_repeated() -> None:
    X, y = DIABETES[0][:60], DIABETES[1][:60]
    times = np.arange(60) % 3
    weighted = HuberRegressor().fit(X, y, sample_weight=times)
    repeated = HuberRegressor().fit(X.repeat(times, axis=0), y.repeat(times))
    assert weighted.scale_ == pytest.approx(repeated.scale_, rel=1e-8)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6)


def test_huber_goes_through_rows_that_lie_on_a_line() -> None:
    x = np.arange(20.0)[:, None]
    y = 3 * x[:, 0] + 1
    y[::5] += 50
    fitted = HuberRegressor(epsilon=1.1).fit(x, y)
    assert fitted.coef_ == pytest.approx([3.0], abs=1e-6)
    assert fitted.scale_ < 1e-6 * y.std()


def test_several_quantiles_are_fitted_at_once_and_never_cross() -> None:
    X, y = DIABETES
    levels = (0.1, 0.5, 0.9)
    together = QuantileRegressor(quantile=levels).fit(X, y)
    said = together.predict(X)
    assert together.coef_.shape == (3, 10) and said.shape == (ROWS, 3)
    assert np.all(np.diff(said, axis=1) >= 0)
    for k, level in enumerate(levels):
        alone = QuantileRegressor(quantile=level).fit(X, y)
        np.testing.assert_allclose(together.coef_[k], alone.coef_, rtol=1e-6)
        assert np.mean(y <= alone.predict(X) + 1e-6) == pytest.approx(level, abs=0.03)


def test_a_certificate_says_how_near_the_optimum_is() -> None:
    fitted = LinearClassifier(penalty="l2(strength=0.01)").fit(*CANCER)
    assert fitted.certificate_.value < 1e-6
    assert fitted.certificate_.sentence in fitted.summary()
    assert fitted.n_iter_ >= 1


def test_an_unfinished_solution_warns_with_its_status() -> None:
    hurried = LinearRegressor("logcosh", solver="newton(max_iterations=1)")
    with pytest.warns(ConvergenceWarning, match="limit of 1 step"):
        hurried.fit(*DIABETES)


def test_a_warm_start_begins_at_the_last_answer() -> None:
    X, y = DIABETES
    fitted = PoissonRegressor(warm_start=True, solver="newton").fit(X, y)
    cold = fitted.n_iter_
    assert fitted.fit(X, y).n_iter_ < cold
    assert fitted.fit(X[:, :5], y).coef_.shape == (5,)


def test_an_exposure_is_the_offset_of_its_logarithm() -> None:
    X = np.array([[0.0], [0.0], [1.0], [1.0]])
    y, years = np.array([1.0, 3.0, 4.0, 2.0]), np.array([1.0, 1.0, 1.0, 2.0])
    fitted = PoissonRegressor().fit(X, y, exposure=years)
    np.testing.assert_allclose(fitted.predict([[0.0], [1.0]]), [4 / 2, 6 / 3], rtol=1e-6)
    np.testing.assert_allclose(fitted.predict([[1.0]], exposure=[5.0]), [10.0], rtol=1e-6)
    shifted = PoissonRegressor().fit(X, y, offset=np.log(years))
    np.testing.assert_allclose(shifted.coef_, fitted.coef_, atol=1e-9)
    with pytest.raises(DataError, match="exposure is 0 in row 2"):
        fitted.fit(X, y, exposure=[1, 0, 1, 1])
    with pytest.raises(ArgumentError, match="log of a mean"):
        LinearRegressor().fit(X, y, exposure=years)


def test_scores_are_scikit_learns() -> None:
    X, y = DIABETES
    weight = np.linspace(1, 2, ROWS)
    fitted = PoissonRegressor().fit(X, y)
    expected = d2_tweedie_score(y, fitted.predict(X), power=1, sample_weight=weight)
    assert fitted.score(X, y, weight) == pytest.approx(expected, rel=1e-9)
    fitted = GammaRegressor().fit(X, y)
    assert fitted.score(X, y) == pytest.approx(d2_tweedie_score(y, fitted.predict(X), power=2))
    fitted = QuantileRegressor(quantile=0.8).fit(X, y)
    assert fitted.score(X, y) == pytest.approx(d2_pinball_score(y, fitted.predict(X), alpha=0.8))
    ols = LinearRegressor().fit(X, y)
    assert ols.score(X, y) == pytest.approx(peers.LinearRegression().fit(X, y).score(X, y))


def test_probabilities_come_only_with_a_proper_loss() -> None:
    for loss in ("auto", "logistic", "squared_hinge", "cross_entropy"):
        fitted = LinearClassifier(loss).fit(*IRIS)
        np.testing.assert_allclose(fitted.predict_proba(IRIS[0]).sum(axis=1), 1)
    for loss in ("hinge", "crammersinger", "nonsense"):
        assert not hasattr(LinearClassifier(loss), "predict_proba")
    assert LinearClassifier("hinge").fit(*IRIS).score(*IRIS) > 0.9


def test_two_classes_by_two_scores_are_the_logistic_loss() -> None:
    two = LinearClassifier("cross_entropy", penalty=L2(0.02)).fit(*CANCER)
    one = LinearClassifier("logistic", penalty=L2(0.01)).fit(*CANCER)
    assert two.coef_.shape == (1, 30)
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(two.predict_proba(CANCER[0]), one.predict_proba(CANCER[0]), 1e-5)


def test_class_weights_multiply_row_weights() -> None:
    X, y = CANCER
    share = {0: 3.0, 1: 1.0}
    by_class = LinearClassifier(class_weight=share).fit(X, y)
    by_row = LinearClassifier().fit(X, y, sample_weight=np.where(y == 0, 3.0, 1.0))
    np.testing.assert_array_equal(by_class.coef_, by_row.coef_)
    balanced = LinearClassifier(class_weight="balanced").fit(X, y)
    counted = LinearClassifier(class_weight={0: 357.0, 1: 212.0}).fit(X, y)
    np.testing.assert_allclose(balanced.coef_, counted.coef_, rtol=1e-6)


def test_a_row_of_weight_zero_is_absent() -> None:
    X, y = IRIS
    weight = np.where(y == 2, 0.0, 1.0)
    kept = y < 2
    weighted = LinearClassifier().fit(X, y, sample_weight=weight)
    removed = LinearClassifier().fit(X[kept], y[kept])
    assert weighted.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(weighted.coef_, removed.coef_, rtol=1e-6)
    with pytest.raises(DataError, match="only one class, 0"):
        LinearClassifier().fit(X, y, sample_weight=(y == 0).astype(float))


def test_sparse_and_dense_agree() -> None:
    X, y = CANCER
    for form in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        sparse = LinearClassifier(penalty="l2(strength=0.01)").fit(form(X), y)
        plain = LinearClassifier(penalty="l2(strength=0.01)").fit(X, y)
        np.testing.assert_allclose(sparse.coef_, plain.coef_, rtol=1e-5, atol=1e-8)
        np.testing.assert_array_equal(sparse.predict(form(X)), plain.predict(X))


IN_PARTS = [
    (LinearRegressor("half_squared"), DIABETES, 1e-12),
    (LinearRegressor("half_squared", penalty="l1(strength=0.1)"), DIABETES, 1e-6),
    (LinearRegressor("huber(delta=20)", penalty="l2(strength=0.001)"), DIABETES, 1e-3),
    (PoissonRegressor(), DIABETES, 1e-3),
    (TweedieRegressor(), DIABETES, 1e-3),
    (QuantileRegressor(quantile=0.75), DIABETES, 0.01),
    (LinearRegressor("absolute", penalty="l1(strength=0.02)"), DIABETES, 0.01),
    (LinearClassifier(), CANCER, 0.01),
    (LinearClassifier(penalty="l1(strength=0.01)"), CANCER, 0.01),
    (LinearClassifier(), IRIS, 0.01),
    (LinearClassifier("crammer_singer", penalty="l2(strength=0.01)"), IRIS, 0.02),
]


@pytest.mark.parametrize(("model", "data", "near"), IN_PARTS)
def test_parts_of_the_data_come_near_the_optimum(model: Any, data: Any, near: float) -> None:
    order = np.random.default_rng(0).permutation(len(data[1]))
    X, y = data[0][order], data[1][order]
    named = {"classes": np.unique(y)} if hasattr(model, "class_weight") else {}
    parts, whole = clone(model), clone(model).fit(X, y)
    for start in [*range(0, len(y), 50)] * 10:
        parts.partial_fit(X[start : start + 50], y[start : start + 50], **named)
    stream = parts.streams_[0]
    if named:
        (y,) = whole._targets(stream.objective.loss, np.searchsorted(whole.classes_, y))
    problem = Problem(stream.objective, X, y)
    reached = problem.value(problem._point(stream.params))
    assert reached - whole.solution_.value <= near * abs(whole.solution_.value)
    assert parts.n_iter_ == 10 * -(-len(y) // 50) and not hasattr(parts, "certificate_")


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_a_squared_loss_learns_all_parts_exactly(form: Any) -> None:
    """Even where the first part has fewer rows than columns, and one column says nothing in it."""
    X, y = DIABETES
    X, weight = X + 3e4 * (form is np.asarray), np.linspace(0.5, 2, ROWS)
    X[:6, 2] = X[0, 2]
    model = LinearRegressor(penalty="l2(strength=0.001)")
    for rows in (slice(0, 6), slice(6, 100), slice(100, 105), slice(105, ROWS)):
        model.partial_fit(form(X[rows]), y[rows], weight[rows])
    whole = LinearRegressor(penalty="l2(strength=0.001)").fit(X - X[0], y, weight)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-6)


def test_parts_with_offsets_and_without_some_classes() -> None:
    X, y = DIABETES
    exposure = np.linspace(0.5, 2, ROWS)
    rate = PoissonRegressor().partial_fit(X, y, exposure=exposure)
    same(rate, PoissonRegressor(solver=STRICT).fit(X, y, exposure=exposure))
    order = np.random.default_rng(0).permutation(FLOWERS)
    X, y = IRIS[0][order], IRIS[1][order]
    model = LinearClassifier(penalty="l2(strength=0.01)")
    whole = clone(model).fit(X, y)
    for start in [*range(0, FLOWERS, 5)] * 10:
        rows = slice(start, start + 5)
        model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    best, reached = (log_loss(y, one.predict_proba(X)) for one in (whole, model))
    assert reached < 1.02 * best


def test_what_parts_of_the_data_cannot_do() -> None:
    X, y = DIABETES
    fitted = LinearRegressor().fit(X, y)
    with pytest.warns(UserWarning, match="fit keeps nothing"):
        fitted.partial_fit(X[:50], y[:50])
    same(fitted, LinearRegressor().fit(X[:50], y[:50]))
    with pytest.raises(ValueError, match="not fitted"):
        fitted.summary()
    assert fitted.fit(X, y).certificate_ and not hasattr(fitted, "streams_")
    for model in (HuberRegressor(), LinearRegressorCV(), LinearClassifierCV()):
        assert not hasattr(model, "partial_fit")
    with pytest.raises(ArgumentError, match=r"Tukey.* takes a convex loss of single rows; use fit"):
        LinearRegressor("tukey_biweight").partial_fit(X, y)
    with pytest.raises(ArgumentError, match="curvature of 3001 parameters is too much"):
        LinearRegressor().partial_fit(np.ones((2, 3000)), [0, 1])
    with pytest.raises(DataError, match="none of `classes`"):
        LinearClassifier().partial_fit(X[:9], np.arange(9), classes=[0, 1])


@pytest.mark.parametrize("convert", [torch.from_numpy, jax.numpy.asarray])
def test_arrays_of_other_libraries(convert: Any) -> None:
    X, y = DIABETES
    X = X.astype(np.float32)
    plain = LinearRegressor().fit(X, y)
    fitted = LinearRegressor().fit(convert(X), convert(y.astype(np.float32)))
    said = fitted.predict(convert(X))
    assert isinstance(said, np.ndarray)
    np.testing.assert_allclose(said, plain.predict(X), rtol=1e-5)


DISPATCH = """
import sys, numpy as np, sklearn
from importlib import import_module
from sklearn.datasets import load_iris
from minimand.estimators import *
xp, (X, y) = import_module(sys.argv[1]), load_iris(return_X_y=True)
X = X.astype(np.float32)
models = [LinearRegressor("huber"), LinearRegressorCV(strengths=3), LinearClassifier()]
for model in [*models, NetworkClassifier((4,), max_iter=2, random_state=0)]:
    plain = model.fit(X, y)
    expected = {name: getattr(plain, name)(X) for name in METHODS if hasattr(plain, name)}
    with sklearn.config_context(array_api_dispatch=True):
        fitted = sklearn.clone(model).fit(xp.asarray(X), xp.asarray(y))
        for name, answer in expected.items():
            said = getattr(fitted, name)(xp.asarray(X))
            assert type(said) is type(xp.asarray(X)), (model, name)
            np.testing.assert_allclose(np.asarray(said), answer, rtol=1e-4, atol=1e-4)
        assert type(getattr(fitted, model._fitted)) is type(xp.asarray(X))
        assert abs(fitted.score(xp.asarray(X), xp.asarray(y)) - plain.score(X, y)) < 1e-6
        try:
            fitted.predict(X)
        except ValueError as error:
            assert "same namespace" in str(error)
        else:
            raise AssertionError
"""


@pytest.mark.parametrize("library", ["torch", "jax.numpy", "array_api_strict"])
def test_answers_come_in_the_library_of_the_data(library: str) -> None:
    """SciPy wants to be told of other libraries before it is loaded, so another process is."""
    methods = ("decision_function", "predict", "predict_proba", "predict_log_proba")
    code = DISPATCH.replace("METHODS", str(methods))
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    subprocess.run([sys.executable, "-c", code, library], check=True, env=environment)


@pytest.mark.parametrize(
    "frame_of",
    [lambda X, names: pd.DataFrame(X, columns=names), lambda X, names: pl.DataFrame(X, names)],
    ids=["pandas", "polars"],
)
def test_names_of_columns(frame_of: Any) -> None:
    X, names = load_diabetes().data, load_diabetes().feature_names
    fitted = LinearRegressor().fit(frame_of(X, names), DIABETES[1])
    assert fitted.feature_names_in_.tolist() == names
    said = X @ fitted.coef_ + fitted.intercept_
    np.testing.assert_allclose(fitted.predict(frame_of(X, names)), said, rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame_of(X, [name.upper() for name in names]))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_pass_through_a_pipeline(library: str) -> None:
    frame, y = load_diabetes(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LinearRegressor()).set_output(transform=library)
    assert pipeline.fit(frame, y)[-1].feature_names_in_[0] == "age"


def test_a_search_over_losses_and_over_numbers_inside() -> None:
    X, y = DIABETES
    grid = {
        "linearregressor__loss": ["huber(delta=20)", Huber(delta=80.0)],
        "linearregressor__penalty__strength": [1e-3, 1e3],
    }
    pipeline = make_pipeline(StandardScaler(), LinearRegressor(penalty="l2"))
    search = GridSearchCV(pipeline, grid, scoring="neg_mean_absolute_error", cv=3).fit(X, y)
    assert search.best_params_["linearregressor__penalty__strength"] == 1e-3
    assert search.best_estimator_[-1].penalty == L2(strength=1e-3)
    search = GridSearchCV(
        LinearRegressor(Huber()), {"loss__delta": [1.0, 50.0]}, scoring="r2", cv=3
    )
    assert search.fit(X, y).best_params_ == {"loss__delta": 50.0}


def test_parameters_stay_as_they_are_given() -> None:
    model = LinearRegressor("huber(delta=2)", penalty="l1")
    copied = clone(model)
    assert (copied.loss, copied.penalty) == ("huber(delta=2)", "l1")
    assert model.get_params()["loss__delta"] == 2
    assert "loss__delta" not in model.get_params(deep=False)
    model.set_params(loss__delta=3.0, penalty="l2", penalty__strength=0.5)
    assert (model.loss, model.penalty) == (Huber(delta=3.0), L2(strength=0.5))
    with pytest.raises(ArgumentError, match="no parameter 'penalty__l1_ratio': penalty is L2"):
        model.set_params(penalty__l1_ratio=0.5)
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        model.set_params(nonsense=1)


def test_weights_are_routed_through_a_pipeline() -> None:
    X, y = DIABETES
    weight = np.linspace(0.1, 2, ROWS)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = LinearRegressor().set_fit_request(sample_weight=True)
        routed = make_pipeline(scaler, model).fit(X, y, sample_weight=weight)
        rate = PoissonRegressor().set_fit_request(exposure=True)
        rates = make_pipeline(StandardScaler(), rate).fit(X, y, exposure=weight)
    direct = LinearRegressor().fit(StandardScaler().fit_transform(X), y, sample_weight=weight)
    np.testing.assert_array_equal(routed[-1].coef_, direct.coef_)
    assert np.any(rates[-1].coef_ != PoissonRegressor().fit(X, y).coef_)


@pytest.mark.parametrize(
    "model", [LinearRegressor("huber(delta=50)"), QuantileRegressor(), LinearRegressorCV(cv=2)]
)
def test_a_pickle_holds_no_data(model: Any) -> None:
    X, y = np.tile(DIABETES[0], (10, 1)), np.tile(DIABETES[1], 10)
    stored = pickle.dumps(model.fit(X, y))
    assert len(stored) < X.nbytes / 4
    np.testing.assert_array_equal(pickle.loads(stored).predict(X), model.predict(X))


def test_standard_errors_are_statsmodels() -> None:
    X, y = DIABETES
    frame = pd.DataFrame(X, columns=load_diabetes().feature_names)
    ours = LinearRegressor().fit(frame, y).inference(frame, y)
    peer = sm.OLS(y, sm.add_constant(X)).fit()
    assert "age" in ours.summary()
    np.testing.assert_allclose(np.sort(ours.standard_errors), np.sort(peer.bse), rtol=1e-8)
    with pytest.raises(ArgumentError, match="3 problems were solved apart"):
        LinearClassifier("logistic").fit(*IRIS).inference(*IRIS)


@pytest.mark.parametrize(
    ("model", "data", "error", "words"),
    [
        (LinearRegressor("hubber"), DIABETES, ArgumentError, "did you mean 'Huber'"),
        (LinearRegressor("cox"), DIABETES, ArgumentError, "losses of one number a row"),
        (LinearRegressor("quantiles(crossing=1)"), DIABETES, ArgumentError, "in vain"),
        (LinearRegressor(penalty=3), DIABETES, ArgumentTypeError, "penalty must be a penalty"),
        (LinearClassifier("squared"), IRIS, ArgumentError, "losses of classes"),
        (LinearClassifier("zeroone"), IRIS, ArgumentError, "cannot be descended"),
        (LinearClassifier(class_weight={1: 0.0}), IRIS, ArgumentError, "class 1 is 0"),
        (PoissonRegressor(), (DIABETES[0], -DIABETES[1]), TargetError, "row 1"),
        (QuantileRegressor(quantile=(0.9, 0.1)), DIABETES, ArgumentError, "increasing order"),
        (HuberRegressor(epsilon=1.0), DIABETES, ArgumentError, "above 1"),
        (LinearRegressorCV(penalty=None), DIABETES, ArgumentError, "needs a penalty"),
        (LinearRegressorCV(rule="worst"), DIABETES, ArgumentError, "one_standard_error"),
        (LinearClassifierCV(cv=3), (IRIS[0][:51], IRIS[1][:51]), DataError, "class 1 to train on"),
        (NetworkClassifier(loss="hinge"), IRIS, ArgumentError, "loss of two classes"),
        (NetworkRegressor(early_stopping="yes"), DIABETES, ArgumentError, "early_stopping"),
    ],
    ids=lambda value: None if isinstance(value, (tuple, type)) else str(value)[:50],
)
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
def test_bad_arguments_are_one_sentence(
    model: Any, data: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        model.fit(*data)


def test_the_lasso_path_chooses_as_scikit_learns() -> None:
    X, y = DIABETES
    strengths = np.geomspace(1.0, 0.01, 8)
    peer = peers.LassoCV(alphas=strengths, cv=5, tol=1e-10, max_iter=10**5).fit(X, y)
    ours = LinearRegressorCV("half_squared", penalty="l1", strengths=strengths[::-1]).fit(X, y)
    np.testing.assert_allclose(2 * ours.cv_losses_, peer.mse_path_, rtol=1e-5)
    assert ours.strength_ == peer.alpha_
    same(ours, peer)


def test_one_standard_error_prefers_the_stronger_penalty() -> None:
    best = LinearRegressorCV(cv=4).fit(*DIABETES)
    modest = clone(best).set_params(rule="one_standard_error").fit(*DIABETES)
    assert best.cv_losses_.shape == (len(best.strengths_), 4)
    assert modest.strength_ > best.strength_
    mean = best.cv_losses_.mean(axis=1)
    chosen = mean[np.flatnonzero(best.strengths_ == modest.strength_)[0]]
    assert chosen <= mean.min() + best.cv_losses_[mean.argmin()].std(ddof=1) / 2
    assert best.penalty_ == L2(strength=best.strength_)
    refitted = LinearRegressor(penalty=best.penalty_).fit(*DIABETES)
    same(best, refitted)


def test_a_classifier_chooses_by_loss_or_by_score() -> None:
    X, y = StandardScaler().fit_transform(CANCER[0]), CANCER[1]
    strengths = [10.0, 0.01]
    by_loss = LinearClassifierCV(strengths=strengths, cv=3).fit(X, y)
    by_name = LinearClassifierCV(strengths=strengths, cv=3, scoring="neg_log_loss").fit(X, y)
    np.testing.assert_allclose(by_loss.cv_losses_, by_name.cv_losses_, rtol=1e-6)
    assert by_loss.strength_ == 0.01
    assert log_loss(y, by_loss.predict_proba(X)) < 0.12


def test_groups_reach_the_splitter() -> None:
    X, y = DIABETES
    groups = np.arange(ROWS) % 4
    fitted = LinearRegressorCV(strengths=3, cv=GroupKFold(4)).fit(X, y, groups=groups)
    assert fitted.cv_losses_.shape == (3, 4)


def test_networks_repeat_themselves_and_learn() -> None:
    X, y = DIABETES
    once = NetworkRegressor((16,), random_state=0).fit(X, 1e6 * y)
    twice = NetworkRegressor((16,), random_state=0).fit(X, 1e6 * y)
    np.testing.assert_array_equal(once.predict(X), twice.predict(X))
    assert once.score(X, 1e6 * y) > 0.45
    assert once.n_iter_ == len(once.history_["train"]) and "epoch" in once.status_
    assert len(pickle.dumps(once)) < 20_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(once)).predict(X), once.predict(X))


def test_a_network_gives_several_quantiles() -> None:
    X, y = DIABETES
    model = NetworkRegressor((8,), loss="quantiles(levels=(0.1, 0.9))", max_iter=40, random_state=0)
    low, high = model.fit(X, y).predict(X).T
    assert 0.65 < np.mean((low <= y) & (y <= high)) < 0.9


def test_a_network_goes_on_where_it_ended() -> None:
    X, y = IRIS
    model = NetworkClassifier((16,), random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        model.partial_fit(X, y)
    for _ in range(30):
        model.partial_fit(X, y, classes=[0, 1, 2])
    losses = model.history_["train"]
    assert model.n_iter_ == 30 and losses[29] < 0.5 * losses[0]
    before = model.predict_proba(X)
    after = pickle.loads(pickle.dumps(model)).partial_fit(X[:75], y[:75])
    assert np.max(np.abs(after.predict_proba(X) - before)) < 0.2
    with pytest.raises(DataError, match="none of `classes`"):
        model.partial_fit(X, y + 1)


def test_partial_fit_goes_on_after_fit() -> None:
    X, y = DIABETES
    model = NetworkRegressor((16,), max_iter=20, random_state=0).fit(X, y)
    fitted = model.score(X, y)
    assert model.partial_fit(X, y).score(X, y) > fitted - 0.05
    assert model.n_iter_ == 21


def test_a_network_obeys_weights() -> None:
    X = np.linspace(-1, 1, 60)[:, None]
    y = np.where(np.arange(60) % 2, 1.0, -1.0)
    weight = np.where(y > 0, 1.0, 0.0)
    model = NetworkRegressor((4,), optimizer="adam(learning_rate=0.02)", random_state=0)
    np.testing.assert_allclose(model.fit(X, y, sample_weight=weight).predict(X), 1.0, atol=0.05)


def test_a_network_that_diverges_says_so() -> None:
    X, y = DIABETES
    wild = NetworkRegressor((4,), optimizer="sgd(learning_rate=1e6)", random_state=0)
    with pytest.raises(SolverError, match="lower the learning rate"):
        wild.fit(X, y)


def test_linear_models_do_not_load_jax() -> None:
    code = "import sys, minimand.estimators as e; e.LinearRegressor().fit([[0], [1]], [0, 1]); "
    subprocess.run([sys.executable, "-c", code + "assert 'jax' not in sys.modules"], check=True)
