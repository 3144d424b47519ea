"""Exported losses train the trees that the engines' own objectives train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from minimand import as_lightgbm, as_xgboost
from minimand.errors import ArgumentError, TargetError
from minimand.losses import (
    Absolute,
    CrossEntropy,
    GaussianNLL,
    Huber,
    Logistic,
    Loss,
    Poisson,
    Quantile,
    Squared,
    ZeroOne,
)

Array = Any
ROUNDS = 6
XGB = {"max_depth": 3, "eta": 0.3, "nthread": 1, "min_child_weight": 1.0}
LGB = {
    "num_leaves": 7,
    "learning_rate": 0.2,
    "num_threads": 1,
    "verbosity": -1,
    "min_data_in_leaf": 5,
    "deterministic": True,
}


def data(loss: Loss) -> tuple[Array, Array]:
    """Real rows for a loss, with the labels that an engine expects."""
    if loss.card.target == "sign":
        return load_breast_cancer(return_X_y=True)
    if loss.card.target == "class":
        return load_wine(return_X_y=True)
    X, y = load_diabetes(return_X_y=True)
    return X, y


def weights(rows: int) -> Array:
    return np.random.default_rng(0).integers(1, 4, rows).astype(float)


weighted = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])

# --- XGBoost --------------------------------------------------------------------------------------

XGB_OWN = [
    (Squared(), {"objective": "reg:squarederror"}),
    (Logistic(), {"objective": "binary:logistic"}),
    (Poisson(), {"objective": "count:poisson"}),
    (CrossEntropy(), {"objective": "multi:softprob", "num_class": 3}),
]


def xgb_exported(loss: Loss, X: Array, y: Array, w: Array | None, **params: Any) -> tuple[Any, Any]:
    """(exported loss, booster trained with it)."""
    xgb = pytest.importorskip("xgboost")
    ours = as_xgboost(loss)
    train = xgb.DMatrix(X, y, weight=w)
    params = XGB | ours.params(y, w) | params
    return ours, xgb.train(params, train, ROUNDS, obj=ours.objective)


@weighted
@pytest.mark.parametrize(("loss", "own"), XGB_OWN, ids=str)
def test_xgboost_trains_the_same_trees_as_its_own_objective(
    loss: Loss, own: dict[str, Any], weighted: bool
) -> None:
    xgb = pytest.importorskip("xgboost")
    X, y = data(loss)
    w = weights(len(y)) if weighted else None
    ours, booster = xgb_exported(loss, X, y, w)
    theirs = xgb.train(XGB | own, xgb.DMatrix(X, y, weight=w), ROUNDS)
    rows = xgb.DMatrix(X)
    margin = booster.predict(rows, output_margin=True)
    np.testing.assert_allclose(
        margin, theirs.predict(rows, output_margin=True), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(ours.response(margin), theirs.predict(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "own", "metric"),
    [
        (Logistic(), {"objective": "binary:logistic"}, "logloss"),
        (CrossEntropy(), {"objective": "multi:softprob", "num_class": 3}, "mlogloss"),
        (Absolute(), {"objective": "reg:absoluteerror"}, "mae"),
    ],
    ids=str,
)
def test_xgboost_metric_equals_its_own(loss: Loss, own: dict[str, Any], metric: str) -> None:
    xgb = pytest.importorskip("xgboost")
    X, y = data(loss)
    train = xgb.DMatrix(X, y, weight=weights(len(y)))
    booster = xgb.train(XGB | own, train, 2)
    theirs = float(booster.eval(train).split(":")[1])
    name, value = as_xgboost(loss).metric(booster.predict(train, output_margin=True), train)
    assert name == type(loss).__name__
    assert value == pytest.approx(theirs, rel=1e-5)


def test_xgboost_watches_the_metric_while_it_trains() -> None:
    xgb = pytest.importorskip("xgboost")
    X, y = data(Huber())
    ours, train, history = as_xgboost(Huber(delta=20.0)), xgb.DMatrix(X, y), {}
    watched = {"evals": [(train, "train")], "evals_result": history, "verbose_eval": False}
    xgb.train(
        XGB | ours.params(y), train, 30, obj=ours.objective, custom_metric=ours.metric, **watched
    )
    values = history["train"]["Huber"]
    assert list(history["train"]) == ["Huber"] and values[-1] < 0.7 * values[0]


def test_xgboost_scikit_learn_face_takes_the_export() -> None:
    xgb = pytest.importorskip("xgboost")
    X, y = data(Squared())
    w = weights(len(y))
    made = {"n_estimators": 5, "max_depth": 3, "n_jobs": 1}
    start = as_xgboost(Squared()).base_score(y, w)
    ours = xgb.XGBRegressor(objective=as_xgboost(Squared()), base_score=float(start), **made)
    theirs = xgb.XGBRegressor(**made)
    np.testing.assert_allclose(
        ours.fit(X, y, sample_weight=w).predict(X),
        theirs.fit(X, y, sample_weight=w).predict(X),
        rtol=1e-5,
    )


# --- LightGBM -------------------------------------------------------------------------------------

LGB_OWN = [
    (Squared(), {"objective": "regression"}),
    (Logistic(), {"objective": "binary"}),
    (Poisson(), {"objective": "poisson"}),
    (CrossEntropy(), {"objective": "multiclass", "num_class": 3}),
    (Huber(delta=20.0), {"objective": "huber", "alpha": 20.0}),
]


def lgb_data(X: Array, y: Array, w: Array | None, start: Array | None = None) -> Any:
    lgb = pytest.importorskip("lightgbm")
    start = None if start is None else start.reshape(len(y), -1).ravel(order="F")
    return lgb.Dataset(X, y, weight=w, init_score=start, params={"verbosity": -1})


@weighted
@pytest.mark.parametrize(("loss", "own"), LGB_OWN, ids=str)
def test_lightgbm_trains_the_same_trees_as_its_own_objective(
    loss: Loss, own: dict[str, Any], weighted: bool
) -> None:
    lgb = pytest.importorskip("lightgbm")
    X, y = data(loss)
    w = weights(len(y)) if weighted else None
    ours = as_lightgbm(loss)
    start = ours.init_score(y, w)
    booster = lgb.train(LGB | ours.params(y, w), lgb_data(X, y, w, start), ROUNDS)
    if isinstance(loss, Huber):  # LightGBM starts its own from the mean, and takes no hint
        theirs = lgb.train(LGB | own, lgb_data(X, y, w, start), ROUNDS)
        np.testing.assert_allclose(
            booster.predict(X), theirs.predict(X, raw_score=True), rtol=1e-5, atol=1e-5
        )
        return
    theirs = lgb.train(LGB | own, lgb_data(X, y, w), ROUNDS)
    np.testing.assert_allclose(
        ours.response(start[0] + booster.predict(X)), theirs.predict(X), rtol=1e-5, atol=1e-6
    )


def test_lightgbm_metric_equals_its_own() -> None:
    lgb = pytest.importorskip("lightgbm")
    X, y = data(Logistic())
    w = weights(len(y))
    train = lgb_data(X, y, w)
    history: dict[str, Any] = {}
    booster = lgb.train(
        LGB | {"objective": "binary", "metric": "binary_logloss"},
        train,
        3,
        valid_sets=[train],
        callbacks=[lgb.record_evaluation(history)],
    )
    name, value, greater_is_better = as_lightgbm(Logistic()).metric(
        booster.predict(X, raw_score=True), train
    )
    assert (name, greater_is_better) == ("Logistic", False)
    assert value == pytest.approx(history["training"]["binary_logloss"][-1], rel=1e-9)


def test_lightgbm_scikit_learn_face_takes_the_export() -> None:
    lgb = pytest.importorskip("lightgbm")
    X, y = data(Squared())
    w, start = weights(len(y)), as_lightgbm(Squared()).init_score(y)
    made = {"n_estimators": 5, "num_leaves": 7, "n_jobs": 1, "verbosity": -1}
    ours = lgb.LGBMRegressor(objective=as_lightgbm(Squared()), **made)
    theirs = lgb.LGBMRegressor(**made)
    for model in (ours, theirs):
        model.fit(X, y, sample_weight=w, init_score=start)
    np.testing.assert_allclose(
        ours.booster_.predict(X), theirs.booster_.predict(X), rtol=1e-5, atol=1e-5
    )


# --- leaf renewal ---------------------------------------------------------------------------------
# For |r| and the pinball loss both engines replace each new leaf by a quantile of its residuals.
# A custom objective cannot ask for this. So the built-ins' trees are made here one at a time from
# the exported objective, and each leaf is renewed by the engine's own rule for a quantile.


def xgb_tree(loss: Loss, X: Array, y: Array, margin: Array) -> Array:
    """The leaf of every row in the next tree of the exported loss."""
    xgb = pytest.importorskip("xgboost")
    train = xgb.DMatrix(X, y, base_margin=margin)
    params = XGB | {"disable_default_eval_metric": True}
    booster = xgb.train(params, train, 1, obj=as_xgboost(loss).objective)
    return booster.predict(xgb.DMatrix(X), pred_leaf=True)


def lgb_tree(loss: Loss, X: Array, y: Array, margin: Array) -> Array:
    lgb = pytest.importorskip("lightgbm")
    params = LGB | as_lightgbm(loss).params(y)
    booster = lgb.train(params, lgb_data(X, y, None, margin), 1)
    return booster.predict(X, pred_leaf=True)[:, 0]


def xgb_quantile(residual: Array, level: float) -> float:
    """XGBoost interpolates at (n + 1) τ (src/common/stats.h)."""
    return float(np.quantile(residual, level, method="weibull"))


def lgb_quantile(residual: Array, level: float) -> float:
    """LightGBM 4.7 interpolates at 1 + (n - 1) τ."""
    return float(np.quantile(residual, level))


def renewed(
    tree: Callable[..., Array],
    quantile: Callable[[Array, float], float],
    loss: Loss,
    level: float,
    start: float,
    step: float,
) -> Array:
    X, y = data(loss)
    margin = np.full(len(y), start)
    for _ in range(ROUNDS):
        leaf = tree(loss, X, y, margin)
        for one in np.unique(leaf):
            here = leaf == one
            margin[here] += step * quantile((y - margin)[here], level)
    return margin


@pytest.mark.parametrize(
    ("loss", "level", "own"),
    [
        (Quantile(level=0.8), 0.8, {"objective": "reg:quantileerror", "quantile_alpha": 0.8}),
        (Absolute(), 0.5, {"objective": "reg:absoluteerror"}),
    ],
    ids=str,
)
def test_xgboost_quantile_trees_are_the_built_ins_up_to_leaf_renewal(
    loss: Loss, level: float, own: dict[str, Any]
) -> None:
    xgb = pytest.importorskip("xgboost")
    X, y = data(loss)
    start = float(as_xgboost(loss).base_score(y))
    theirs = xgb.train(XGB | own | {"base_score": start}, xgb.DMatrix(X, y), ROUNDS)
    ours = renewed(xgb_tree, xgb_quantile, loss, level, start, XGB["eta"])
    np.testing.assert_allclose(ours, theirs.predict(xgb.DMatrix(X)), rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "level", "own"),
    [
        (Quantile(level=0.8), 0.8, {"objective": "quantile", "alpha": 0.8}),
        (Absolute(), 0.5, {"objective": "regression_l1"}),
    ],
    ids=str,
)
def test_lightgbm_quantile_trees_are_the_built_ins_up_to_leaf_renewal(
    loss: Loss, level: float, own: dict[str, Any]
) -> None:
    lgb = pytest.importorskip("lightgbm")
    X, y = data(loss)
    start = float(as_lightgbm(loss).init_score(y)[0])
    theirs = lgb.train(LGB | own, lgb_data(X, y, None, np.full(len(y), start)), ROUNDS)
    ours = renewed(lgb_tree, lgb_quantile, loss, level, start, LGB["learning_rate"])
    np.testing.assert_allclose(ours, start + theirs.predict(X), rtol=1e-6)


def test_without_leaf_renewal_a_quantile_moves_by_the_step_at_most() -> None:
    """Newton's step is a mean of slopes in [-τ, 1 - τ], whatever the unit of the target is."""
    xgb = pytest.importorskip("xgboost")
    X, y = data(Quantile())
    ours, booster = xgb_exported(Quantile(level=0.8), X, y, None)
    moved = booster.predict(xgb.DMatrix(X)) - float(ours.base_score(y))
    assert 0 < np.max(np.abs(moved)) <= ROUNDS * XGB["eta"] * 0.8 + 1e-4


# --- conventions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("export", [as_xgboost, as_lightgbm])
def test_pain_14_gradient_and_hessian_by_hand(export: Any) -> None:
    """r = 2 gives ½ · 2r = 2 and 1; weight 3 multiplies both."""
    gradient, hessian = export(Squared())(np.array([1.0]), np.array([3.0]), np.array([3.0]))
    assert (gradient.tolist(), hessian.tolist()) == ([6.0], [3.0])


def test_pain_14_each_engine_has_its_multiclass_hessian() -> None:
    """p = 1/3: p (1 - p) = 2/9, times 2 for XGBoost and K / (K - 1) = 3/2 for LightGBM."""
    score, target = np.zeros((1, 3)), np.array([1.0])
    assert as_xgboost(CrossEntropy())(target, score)[1] == pytest.approx(np.full((1, 3), 4 / 9))
    assert as_lightgbm(CrossEntropy())(target, score)[1] == pytest.approx(np.full((1, 3), 1 / 3))


def test_a_hessian_is_never_zero_nor_below() -> None:
    score, target = np.array([-900.0, -30.0, 0.0, 30.0, 900.0]), np.zeros(5)
    for loss in (Logistic(), Absolute(), Quantile(), Huber(), Squared()):
        _, hessian = as_xgboost(loss)(target, score)
        assert np.all(hessian >= 1e-16) and np.all(np.isfinite(hessian))


def test_labels_zero_and_one_are_signs() -> None:
    score = np.array([0.3, -1.0])
    with_zero = as_xgboost(Logistic())(np.array([0, 1]), score)
    with_minus = as_xgboost(Logistic())(np.array([-1, 1]), score)
    np.testing.assert_array_equal(with_zero, with_minus)
    with pytest.raises(TargetError, match="row 2 is 2"):
        as_xgboost(Logistic())(np.array([0, 2]), score)


def test_a_loss_with_two_named_scores_trains_both() -> None:
    """The mean of a Gaussian and its log-variance, each with trees of its own."""
    xgb = pytest.importorskip("xgboost")
    X, y = data(Squared())
    y = y / y.std()
    ours, train = as_xgboost(GaussianNLL()), xgb.DMatrix(X, y)
    booster = xgb.train(XGB | ours.params(y), train, 20, obj=ours.objective)
    score = booster.predict(train, output_margin=True).astype(float)
    constant = np.broadcast_to(ours.base_score(y), score.shape)
    assert float(GaussianNLL()(score, y)) < float(GaussianNLL()(constant, y)) - 0.3


def test_a_loss_without_slope_is_refused() -> None:
    with pytest.raises(ArgumentError, match="flat almost everywhere"):
        as_lightgbm(ZeroOne())
