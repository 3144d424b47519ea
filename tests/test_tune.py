"""The search as a whole: scores that scikit-learn confirms, honest choices, clear refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.metrics import accuracy_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from minimand.budget import Budget
from minimand.data.splits import Fold
from minimand.errors import ArgumentError, DataError, SolverError
from minimand.losses import CrossEntropy, Squared
from minimand.metrics import RMSE, Accuracy
from minimand.networks import CNN, MLP, Embedded, Linear, Network
from minimand.optimizers import SGD, Adam
from minimand.training import Recipe, members, train_members
from minimand.tuning import Choice, Float, Int, probe_width, tune, tuned
from minimand.tuning.evaluate import CrossValidation
from minimand.tuning.space import applied
from minimand.tuning.width import usual_width

WINE, KINDS = (values[:176] for values in load_wine(return_X_y=True))
SICK, PROGRESS = (values[:441] for values in load_diabetes(return_X_y=True))
CLASSIFIER = Recipe(MLP(hidden=(8,), outputs=3), CrossEntropy(), batch_size=16, epochs=10)
REGRESSOR = Recipe(MLP(hidden=(8,)), Squared(), batch_size=32, epochs=10)
RATES = [{"optimizer.learning_rate": rate} for rate in (1e-3, 1e-2)]
SPACE = {"optimizer.learning_rate": Float(1e-4, 1e-1, log=True)}
FEW: dict[str, Any] = {"trials": 2, "cv": 3, "finalists": 2, "seeds": [1]}
"""As many settings again as are tried, so that both are trained by the same program."""


def pairs(splitter: object, X: np.ndarray, y: np.ndarray) -> list[Fold]:
    return [Fold(train, test) for train, test in splitter.split(X, y)]  # type: ignore[attr-defined]


WINE_FOLDS = pairs(StratifiedKFold(4), WINE, KINDS)
"""Of equal size, since rows that fill a shorter fold up change the order of the others."""


def test_scores_of_classes_are_those_of_scikit_learn_fold_by_fold() -> None:
    validated = CrossValidation(CLASSIFIER, WINE, KINDS, WINE_FOLDS, Accuracy(), validation=0.0)
    for setting, scores in zip(RATES, validated(RATES, [7]), strict=True):
        for fold, score in zip(WINE_FOLDS, scores, strict=True):
            scaler = StandardScaler().fit(WINE[fold.train])
            rows = Fold(fold.train, np.arange(0))
            recipe = applied(CLASSIFIER, setting)
            (alone,) = train_members([recipe], scaler.transform(WINE), KINDS, [rows], [7])
            said = alone.predict(scaler.transform(WINE[fold.test]))
            assert score == accuracy_score(KINDS[fold.test], said)


def test_images_share_a_scale_by_channel() -> None:
    """As columns that were so scaled before; a pixel that is seldom lit is not blown up."""
    images = np.random.default_rng(0).gamma(1.0, 50.0, (120, 4, 4, 2)).round()
    images[1:, 0, 0] = 0.0
    kinds = np.arange(120) % 3
    folds = [Fold(np.arange(30, 120), np.arange(30))]
    channels = images[30:].reshape(-1, 2)
    scaled = (images - channels.mean(axis=0)) / channels.std(axis=0)
    validated = CrossValidation(CLASSIFIER, images, kinds, folds, validation=0.0)
    np.testing.assert_allclose(validated.stacked[0], scaled, rtol=1e-5, atol=1e-5)


def test_columns_of_codes_stay_as_they_are() -> None:
    rows = np.column_stack([WINE[:, 0], np.arange(len(WINE)) % 5])
    network = Embedded(levels=(0, 5), body=MLP(hidden=(8,), outputs=3))
    recipe = replace(CLASSIFIER, network=network)
    validated = CrossValidation(recipe, rows, KINDS, WINE_FOLDS[:1], validation=0.0)
    numbers, codes = validated.stacked[0].T
    np.testing.assert_array_equal(codes, rows[:, 1])
    assert numbers[WINE_FOLDS[0].train].std() == pytest.approx(1, rel=1e-5)


def test_scores_of_numbers_are_in_the_unit_of_the_target() -> None:
    folds = pairs(KFold(3, shuffle=True, random_state=0), SICK, PROGRESS)
    validated = CrossValidation(REGRESSOR, SICK, PROGRESS, folds, RMSE(), validation=0.0)
    (scores,) = validated(RATES[1:], [0])
    for fold, score in zip(folds, scores, strict=True):
        scaler = StandardScaler().fit(SICK[fold.train])
        mean, spread = PROGRESS[fold.train].mean(), PROGRESS[fold.train].std()
        (alone,) = train_members(
            [applied(REGRESSOR, RATES[1])],
            scaler.transform(SICK),
            (PROGRESS - mean) / spread,
            [Fold(fold.train, np.arange(0))],
            [0],
        )
        said = mean + spread * alone.scores(scaler.transform(SICK[fold.test]))
        assert score == pytest.approx(root_mean_squared_error(PROGRESS[fold.test], said), rel=1e-5)
        assert 50 < score < 90


def test_settings_of_several_structures_keep_their_places() -> None:
    """Widths open other programs; each score is that of the setting alone."""
    validated = CrossValidation(CLASSIFIER, WINE, KINDS, WINE_FOLDS, Accuracy())
    settings = [{"network.hidden": (width,)} for width in (2, 8, 2)]
    together = validated(settings)
    np.testing.assert_array_equal(together[0], together[2])
    for setting, scores in zip(settings, together, strict=True):
        np.testing.assert_array_equal(scores, validated([setting])[0])


def test_a_setting_that_breaks_has_no_scores_and_the_others_keep_theirs() -> None:
    validated = CrossValidation(REGRESSOR, SICK, PROGRESS, pairs(KFold(2), SICK, PROGRESS), RMSE())
    settings = [{"optimizer": SGD(learning_rate=rate)} for rate in (1e-2, 1e25)]
    fine, broken = validated(settings)
    assert np.isnan(broken).all()
    np.testing.assert_array_equal(fine, validated(settings[:1])[0])


def test_rows_of_weight_zero_do_not_matter() -> None:
    weight = np.ones(len(KINDS))
    weight[::5] = 0
    ruined = WINE.copy()
    ruined[::5] = 1e6
    plain, other = (
        CrossValidation(CLASSIFIER, X, KINDS, WINE_FOLDS, Accuracy(), weight)(RATES)
        for X in (WINE, ruined)
    )
    np.testing.assert_array_equal(plain, other)


def test_settings_pruned_by_epochs_watch_what_whole_runs_watch() -> None:
    validated = CrossValidation(CLASSIFIER, WINE, KINDS, WINE_FOLDS, Accuracy())
    runs = validated.start(RATES, seed=3)
    curves = [runs([0, 1], 2), runs([1], 10)]
    short, whole = (
        validated.trained([(replace(applied(CLASSIFIER, rate), epochs=n), 3, k) for k in range(4)])
        for rate, n in zip(RATES, (2, 10), strict=True)
    )
    for epoch, (_, value) in zip((2, 10), (curves[0][1][0], curves[1][0][0]), strict=True):
        wanted = np.mean([one.history["validation"][epoch - 1] for one in whole])
        assert value == pytest.approx(wanted, rel=1e-6)
    for networks, scores in zip((short, whole), runs.scores(), strict=True):
        assert scores.tolist() == [validated.judged(one, k) for k, one in enumerate(networks)]


def test_without_a_space_the_cards_say_what_to_try() -> None:
    names = np.array(["setosa", "versicolor", "virginica"])
    X, y = load_iris(return_X_y=True)
    found = tune(X, names[y], trials=5, cv=3, finalists=5, seeds=[1])
    assert set(found.setting) >= {"optimizer.learning_rate", "penalty.strength"}
    assert found.metric == Accuracy()
    assert accuracy_score(names[y], found.predict(X)) > 0.93
    assert 0.9 < found.selected.score.mean <= 1
    assert "accuracy" in found.summary()


def test_a_target_of_numbers_is_predicted_in_its_unit() -> None:
    found = tune(SICK, PROGRESS, REGRESSOR, SPACE, **FEW | {"trials": 5, "finalists": 5})
    assert root_mean_squared_error(PROGRESS, found.predict(SICK)) < PROGRESS.std()
    assert found.selected.score.mean == pytest.approx(57, abs=8)


@pytest.mark.parametrize("pruning", ["halving", "hyperband", "asha"])
def test_pruned_trials_end_early_and_the_finishers_have_scores(pruning: Any) -> None:
    options = {"trials": 15, "cv": 3, "sampler": "random", "seeds": [1]}
    found = tune(WINE, KINDS, CLASSIFIER, SPACE, pruning=pruning, **options)
    states = [trial.state for trial in found.study.trials]
    assert len(states) == 15 and {"done", "pruned"} == set(states)
    last = {state: set[float]() for state in states}
    for trial in found.study.trials:
        last[trial.state].add(trial.curve[-1][0])
        assert trial.scores.size == 3
    assert last["done"] == {10} and max(last["pruned"]) < 10
    for trial, stored in zip(found.study.trials, found.study.optuna.trials, strict=True):
        assert stored.value == trial.value  # by which the sampler ranks those that left


def test_two_processes_prune_together(capsys: pytest.CaptureFixture[str]) -> None:
    """In memory: the study moves to a file for as long as others work on it."""
    shared = {"executor": "processes", "jobs": 2, "progress": True}
    recipe = Recipe(Linear(outputs=3), CrossEntropy(), batch_size=32, epochs=3)
    found = tune(WINE, KINDS, recipe, SPACE, trials=6, cv=2, seeds=[1], pruning="asha", **shared)  # type: ignore[arg-type]
    assert [trial.number for trial in found.study.trials] == list(range(6))
    assert {trial.state for trial in found.study.trials} == {"done", "pruned"}
    assert "of 6 trials" in capsys.readouterr().out


def test_a_stored_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = FEW | {"storage": tmp_path / "study.db"}
    tried = []
    for trials in (2, 4):
        found = tune(WINE, KINDS, CLASSIFIER, SPACE, **options | {"trials": trials})
        tried.append([(trial.setting, trial.started) for trial in found.study.trials])
    assert tried[1][:2] == tried[0]
    assert [len(those) for those in tried] == [2, 4]


def test_a_spent_budget_still_chooses() -> None:
    found = tune(WINE, KINDS, CLASSIFIER, SPACE, trials=10_000, cv=3, budget=3.0, seeds=[1])
    assert 0 < len(found.study.trials) < 10_000


def test_the_search_itself_is_scored_inside_outer_folds() -> None:
    found = tune(WINE, KINDS, CLASSIFIER, SPACE, nested_cv=2, **FEW)
    assert found.nested is not None
    assert found.nested.scores.shape == (2,)
    assert found.nested.summary() in found.summary()


def test_choices_of_parts_are_searched_with_their_own_numbers() -> None:
    space = {
        "optimizer": Choice(Adam(), SGD()),
        "optimizer.momentum": Float(0.1, 0.9).when("optimizer", SGD),
    }
    options = {"trials": 6, "cv": 2, "finalists": 1, "seeds": [1]}
    found = tune(WINE, KINDS, CLASSIFIER, space, sampler="random", **options)  # type: ignore[arg-type]
    assert {type(trial.setting["optimizer"]) for trial in found.study.trials} == {Adam, SGD}
    for trial in found.study.trials:
        momentum = "optimizer.momentum" in trial.setting
        assert momentum == isinstance(trial.setting["optimizer"], SGD)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"pruning": "halved"}, ArgumentError, "did you mean 'halving'"),
        ({"pruning": "asha", "space": {"epochs": Int(1, 9)}}, ArgumentError, "take 'epochs' out"),
        ({"metric": "acuracy"}, ArgumentError, "did you mean 'Accuracy'"),
        ({"metric": "rmse"}, DataError, "the metric"),
        ({"sampler": "tpee"}, ArgumentError, "did you mean 'tpe'"),
        ({"cv": 1}, ArgumentError, "at least 2"),
        ({"budget": -1.0}, ArgumentError, "budget is -1"),
        ({"space": {"optimizer.learning_rte": Float(0.1, 1)}}, ArgumentError, "learning_rate"),
    ],
)
def test_bad_questions_are_refused_in_a_sentence(
    options: dict[str, object], error: type[Exception], text: str
) -> None:
    y = np.array(["a", "b"])[KINDS % 2]
    network = Recipe(Linear(outputs=2), CrossEntropy(), epochs=2)
    with pytest.raises(error, match=text):
        tune(WINE, y, network, trials=2, **options)  # type: ignore[arg-type]


def test_a_budget_spent_before_the_start_allows_one_batch() -> None:
    spent = Budget()
    spent.interrupted = True
    quick = Recipe(Linear(outputs=3), CrossEntropy(), epochs=1)
    options = {"trials": 40, "cv": 2, "finalists": 1, "seeds": [1]}
    found = tune(WINE, KINDS, quick, SPACE, budget=spent, **options)  # type: ignore[arg-type]
    assert len(found.study.trials) == 16


def test_when_nothing_trains_the_first_reason_is_told() -> None:
    broken = {"optimizer": Choice(SGD(learning_rate=1e30), SGD(learning_rate=1e35))}
    with pytest.raises(SolverError, match="none of 2 trials is done: 3 of 3 scores are NaN"):
        tune(SICK, PROGRESS, REGRESSOR, broken, trials=2, cv=3)


def test_the_width_may_be_measured_and_is_told() -> None:
    """Whatever is quickest here, the scores are those of members alone but for rounding."""
    recipe = replace(CLASSIFIER, epochs=3)
    options = FEW | {"sampler": "random", "cv": 2}
    found = tune(WINE, KINDS, recipe, SPACE, width="probe", **options)
    assert found.width is not None
    assert found.width.best == min(found.width.seconds, key=found.width.seconds.__getitem__)
    assert all(0 < took < 1 for took in found.width.seconds.values())
    alone = tune(WINE, KINDS, recipe, SPACE, **options)
    assert alone.width is None  # so short a search does not measure by itself
    for one, other in zip(found.study.trials, alone.study.trials, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=0.05)


def test_a_long_search_measures_the_width_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the recipe as it is does not train, it searches unmeasured."""
    monkeypatch.setattr(tuned, "LONG", 1)
    found = tune(WINE, KINDS, replace(CLASSIFIER, epochs=3), SPACE, **FEW)
    assert found.width is not None
    wild = replace(CLASSIFIER, epochs=3, optimizer=Adam(learning_rate=1e30))
    assert tune(WINE, KINDS, wild, SPACE, **FEW).width is None


@pytest.mark.parametrize(
    ("network", "shape", "members", "expected"),
    [
        (Linear(), (30,), 160, 16),
        (MLP(hidden=(128,), outputs=10, norm="batch"), (64,), 40, 8),
        (MLP(hidden=(128,), outputs=10), (64,), 20, 4),
        (MLP(hidden=(128,), outputs=10), (64,), 5, 1),
        (MLP(hidden=(256,), outputs=10), (784,), 160, 1),
        (CNN(channels=(4,), outputs=2), (8, 8, 1), 160, 1),
    ],
    ids=["linear", "16 leave 8 empty", "8 leave 4 empty", "few", "large", "convolution"],
)
def test_small_dense_networks_are_trained_side_by_side(
    network: Network, shape: tuple[int, ...], members: int, expected: int
) -> None:
    """The rule of the table in benchmarks/search.md."""
    recipe = Recipe(network, CrossEntropy())
    assert usual_width(recipe, np.zeros((5, *shape)), members) == expected


def test_a_width_that_does_not_fit_into_memory_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = members.advance

    def small(group: Any, *arguments: Any) -> Any:
        if len(group.seed) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return whole(group, *arguments)

    monkeypatch.setattr(members, "advance", small)
    width = probe_width(CLASSIFIER, WINE / 1e3, KINDS, widths=(1, 2, 4, 8))
    assert list(width.seconds) == [1, 2]
    assert f"members side by side: {width.best} (a step of one took " in width.summary()


def test_a_recipe_that_diverges_at_once_is_not_measured() -> None:
    wild = replace(CLASSIFIER, optimizer=SGD(learning_rate=1e30))
    with pytest.raises(SolverError, match="nothing to measure"):
        probe_width(wild, 1e20 * WINE, KINDS, widths=(1,))
