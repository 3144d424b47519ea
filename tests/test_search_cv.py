"""SearchCV takes the place of scikit-learn's searches, and trains networks together."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy.stats import loguniform, norm, randint
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from minimand.errors import ArgumentError, ArgumentTypeError
from minimand.estimators import (
    LinearClassifier,
    LinearRegressor,
    NetworkClassifier,
    NetworkRegressor,
    SearchCV,
)
from minimand.estimators import together as members
from minimand.tuning.space import Choice, Float
from minimand.tuning.trial import STATES

FLOWERS = load_iris(return_X_y=True)
STRENGTHS = {"penalty__strength": [1e-4, 1e-2, 1.0]}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks(
    [SearchCV(LinearClassifier(), STRENGTHS, trials=3, cv=2, error_score="raise")],
    expected_failed_checks=lambda search: {
        "check_classifiers_one_label_sample_weights": "fit takes any metadata, so the check waits "
        "for the words of an estimator that takes no weights, not for those of one that does"
    },
)
def test_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("scoring", [None, "neg_log_loss", ["accuracy", "neg_log_loss"]])
def test_a_grid_gives_the_table_of_grid_search(scoring: Any) -> None:
    refit = "neg_log_loss" if isinstance(scoring, list) else True
    options = {"scoring": scoring, "refit": refit, "return_train_score": True}
    model = make_pipeline(StandardScaler(), LinearClassifier())
    space = {
        "linearclassifier__penalty__strength": [1e-3, 1e-1],
        "linearclassifier__fit_intercept": [True, False],
    }
    ours = SearchCV(model, space, sampler="grid", seeds=0, **options).fit(*FLOWERS)
    theirs = GridSearchCV(model, space, **options).fit(*FLOWERS)
    assert ours.cv_results_.keys() == theirs.cv_results_.keys()
    assert ours.multimetric_ == theirs.multimetric_
    assert ours.n_splits_ == theirs.n_splits_ == 5
    place = [ours.cv_results_["params"].index(p) for p in theirs.cv_results_["params"]]
    for name, column in theirs.cv_results_.items():
        if not name.endswith("_time"):
            assert np.array_equal(np.asarray(ours.cv_results_[name])[place], np.asarray(column))
    metric = "neg_log_loss" if isinstance(scoring, list) else "score"
    assert ours.best_score_ == ours.cv_results_[f"mean_test_{metric}"][ours.best_index_]
    assert ours.best_params_ == ours.cv_results_["params"][ours.best_index_]
    assert ours.refit_time_ > 0
    assert ours.score(*FLOWERS) == pytest.approx(theirs.score(*FLOWERS), abs=0.1)


@pytest.mark.parametrize("kind", ["classifier", "regressor", "pipeline"])
def test_networks_trained_together_score_as_if_trained_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = FLOWERS if kind != "regressor" else load_diabetes(return_X_y=True)
    network = NetworkRegressor if kind == "regressor" else NetworkClassifier
    model = network((4,), max_iter=5, random_state=0, early_stopping=True)
    space = {"optimizer__learning_rate": [1e-3, 1e-2]}
    if kind == "pipeline":
        model = make_pipeline(StandardScaler(), model)
        space = {f"networkclassifier__{name}": values for name, values in space.items()}
    programs = []
    each = members._members
    monkeypatch.setattr(
        members, "_members", lambda wishes: programs.append(len(wishes)) or each(wishes)
    )
    search = SearchCV(model, space, sampler="grid", cv=3, seeds=0, refit=False).fit(X, y)
    assert sum(programs) == 6
    for row, setting in enumerate(search.cv_results_["params"]):
        alone = cross_validate(clone(model).set_params(**setting), X, y, cv=3)["test_score"]
        ours = [search.cv_results_[f"split{k}_test_score"][row] for k in range(3)]
        assert np.allclose(ours, alone, rtol=1e-5, atol=1e-5)
    assert np.all(search.cv_results_["mean_fit_time"] > 0.001)


def test_pruned_networks_score_as_those_that_were_trained_so_long() -> None:
    model = NetworkClassifier((4,), max_iter=9, random_state=0, batch_size=50)
    space = {"learning_rate": [1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 0.1, 0.3]}
    options: dict[str, Any] = {"sampler": "grid", "cv": 3, "seeds": 0, "refit": False}
    search = SearchCV(model, space, pruning="halving", **options).fit(*FLOWERS)
    trials = search.study_.trials
    ended = {state: {t.curve[-1][0] for t in trials if t.state == state} for state in STATES}
    assert ended == {"done": {9}, "pruned": {3}, "failed": set()}
    assert search.selected_.trial.state == "done"
    short = SearchCV(clone(model).set_params(max_iter=3), space, **options).fit(*FLOWERS)
    for row, trial in enumerate(trials):
        columns = [f"split{k}_test_score" for k in range(3)]
        assert trial.scores.tolist() == [search.cv_results_[c][row] for c in columns]
        if trial.state == "pruned":
            assert trial.scores.tolist() == [short.cv_results_[c][row] for c in columns]


def test_a_pruned_search_goes_on_with_its_rows(tmp_path: Path) -> None:
    model = NetworkClassifier((4,), max_iter=3, random_state=0, batch_size=50)
    space = {"learning_rate": loguniform(1e-4, 1)}
    options: dict[str, Any] = {"pruning": "asha", "cv": 3, "seeds": 0, "refit": False}
    first, second = (
        SearchCV(model, space, trials=n, storage=tmp_path / "a.db", **options).fit(*FLOWERS)
        for n in (4, 6)
    )
    column = "mean_test_score"
    assert np.array_equal(second.cv_results_[column][:4], first.cv_results_[column])
    assert len(second.cv_results_[column]) == 6


def test_what_is_no_network_cannot_be_pruned() -> None:
    with pytest.raises(ArgumentError, match="LinearClassifier is none"):
        SearchCV(LinearClassifier(), STRENGTHS, pruning="halving").fit(*FLOWERS)
    with pytest.raises(ArgumentError, match="did you mean 'halving'"):
        SearchCV(NetworkClassifier(), {"learning_rate": [0.1]}, pruning="halfing").fit(*FLOWERS)


def test_a_network_that_diverges_loses_without_harm_to_the_others() -> None:
    model = NetworkClassifier((4,), max_iter=5, random_state=0, optimizer="sgd")
    space = {"optimizer__learning_rate": [1e-2, 1e30]}
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search = SearchCV(model, space, sampler="grid", cv=3, seeds=0).fit(*FLOWERS)
    scores = dict(zip([1e-2, 1e30], search.cv_results_["mean_test_score"], strict=True))
    assert np.isnan(scores[1e30])
    assert search.best_params_ == {"optimizer__learning_rate": 1e-2}
    alone = SearchCV(model, {"optimizer__learning_rate": [1e-2]}, cv=3, seeds=0).fit(*FLOWERS)
    assert scores[1e-2] == alone.best_score_
    assert [trial.state for trial in search.study_.trials] == ["done", "failed"]


def test_finalists_run_again_with_fresh_seeds_outside_of_the_table() -> None:
    from sklearn.ensemble import ExtraTreesClassifier

    space = {"max_depth": randint(1, 4), "min_samples_leaf": [1, 5]}
    model = ExtraTreesClassifier(5, random_state=0)
    search = SearchCV(model, space, trials=5, cv=3, random_state=1).fit(*FLOWERS)
    assert len(search.cv_results_["params"]) == 5
    assert len(search.selected_.seeds) == 3
    assert all(p.keys() == space.keys() for p in search.cv_results_["params"])
    assert search.best_params_ == search.selected_.setting
    assert {type(p["max_depth"]) for p in search.cv_results_["params"]} == {int}
    again = clone(search).fit(*FLOWERS)
    assert again.cv_results_["params"] == search.cv_results_["params"]


def test_a_stored_search_goes_on_and_keeps_its_rows(tmp_path: Path) -> None:
    space = {"penalty__strength": loguniform(1e-4, 1)}
    options: dict[str, Any] = {"storage": tmp_path / "study.db", "random_state": 0, "cv": 3}
    first = SearchCV(LinearClassifier(), space, trials=2, **options).fit(*FLOWERS)
    second = SearchCV(LinearClassifier(), space, trials=4, **options).fit(*FLOWERS)
    done = SearchCV(LinearClassifier(), space, trials=4, **options).fit(*FLOWERS)
    table = second.cv_results_
    assert np.array_equal(table["mean_test_score"][:2], first.cv_results_["mean_test_score"])
    assert np.allclose(
        [s["penalty__strength"] for s in table["params"][:2]],
        [s["penalty__strength"] for s in first.cv_results_["params"]],
    )
    assert (
        np.isnan(table["mean_fit_time"][:2]).all() and np.isfinite(table["mean_fit_time"][2:]).all()
    )
    assert np.array_equal(table["mean_test_score"], done.cv_results_["mean_test_score"])
    assert [t.number for t in pickle.loads(pickle.dumps(done)).study_.trials] == [0, 1, 2, 3]
    with pytest.raises(ArgumentError, match="one score"):
        SearchCV(
            LinearClassifier(), space, scoring=["accuracy", "neg_log_loss"], refit=False, **options
        ).fit(*FLOWERS)


def test_every_setting_gets_the_same_folds() -> None:
    folds = ShuffleSplit(3, test_size=0.3)
    space = {"fit_intercept": [True, False], "solver": ["auto", "newton"]}
    search = SearchCV(LinearClassifier(), space, sampler="grid", cv=folds).fit(*FLOWERS)
    rows = {
        (s["fit_intercept"], s["solver"]): [
            search.cv_results_[f"split{k}_test_score"][i] for k in range(3)
        ]
        for i, s in enumerate(search.cv_results_["params"])
    }
    assert rows[True, "auto"] == rows[True, "newton"]


def test_a_search_goes_through_processes_and_pickle() -> None:
    search = SearchCV(LinearClassifier(), STRENGTHS, cv=2, n_jobs=2, refit=False).fit(*FLOWERS)
    copy = pickle.loads(pickle.dumps(search))
    assert copy.selected_.setting == search.best_params_
    assert not hasattr(copy, "study_")  # it is in memory


def test_weights_are_routed_and_metadata_too() -> None:
    X, y = load_diabetes(return_X_y=True)
    weight = np.where(np.arange(len(y)) < 200, 1.0, 0.0)
    space = {"penalty__strength": [1e-3, 1.0]}
    options: dict[str, Any] = {"cv": [(np.arange(0, 300), np.arange(300, 442))], "sampler": "grid"}
    model = LinearRegressor(penalty="l2")
    with sklearn.config_context(enable_metadata_routing=True):
        asking = model.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        routed = SearchCV(asking, space, **options).fit(X, y, sample_weight=weight)
    cut = [(np.arange(0, 200), np.arange(300, 442))]
    alone = SearchCV(model, space, cv=cut, sampler="grid", refit=False).fit(X, y)
    assert np.allclose(routed.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


@pytest.mark.parametrize(
    ("space", "error", "said"),
    [
        ({"penalty__strength": 3}, ArgumentTypeError, "penalty__strength"),
        ([{"a": [1]}], ArgumentTypeError, "must map"),
        ({"penalty__strength": norm()}, ArgumentTypeError, "norm"),
        ({}, ArgumentError, "empty"),
    ],
)
def test_a_bad_space_is_told_in_a_sentence(space: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        SearchCV(LinearClassifier(), space).fit(*FLOWERS)


def test_an_error_is_raised_if_asked_for() -> None:
    space = {"loss": Choice("logistic", "hinge"), "penalty__strength": Float(0.1, 0.2)}
    with pytest.raises(ArgumentError, match="no parameter"):
        SearchCV(LinearClassifier(), {"penalty__delta": [1.0]}).fit(*FLOWERS)
    with pytest.raises(Exception, match="predict_proba"):
        SearchCV(
            LinearClassifier(), space, sampler="grid", error_score="raise", scoring="neg_log_loss"
        ).fit(*FLOWERS)
