from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from minimand.data.splits import Fold, cross_validation
from minimand.errors import ArgumentError, ShapeError, SolverError
from minimand.tuning.interval import corrected_interval
from minimand.tuning.selection import (
    Selected,
    complexity,
    cross_fitted,
    nested,
    select,
)
from minimand.tuning.space import Setting
from minimand.tuning.trial import Trial

FIVE = cross_validation(np.zeros(50), "regression", folds=5)


def trials_of(scores: Sequence[object], **fields: object) -> list[Trial]:
    return [
        Trial(i, {"a": i}, np.atleast_1d(np.asarray(s, dtype=float)), **fields)
        for i, s in enumerate(scores)
    ]


class Bench:
    """Settings of known truth, scored with noise; greater is better."""

    def __init__(self, truth: np.ndarray, seed: int, noise: float = 1.0, quirk: float = 0.0):
        self.truth, self.noise = truth, noise
        self.random = np.random.default_rng(seed)
        self.quirks = quirk * self.random.standard_normal((len(truth), 5))
        self.asked: list[tuple[list[Setting], list[int]]] = []

    def run(self, index: int, seeds: int, folds: bool) -> np.ndarray:
        if not folds:
            return self.truth[index] + self.noise * self.random.standard_normal(seeds)
        noise = self.noise * self.random.standard_normal((seeds, 5))
        return (self.truth[index] + self.quirks[index] + noise).ravel()

    def select(self, folds: Sequence[Fold] = (), **options: object) -> Selected:
        def rerun(settings: Sequence[Setting], seeds: Sequence[int]) -> list[np.ndarray]:
            self.asked.append((list(settings), list(seeds)))
            return [self.run(s["a"], len(seeds), bool(folds)) for s in settings]

        searched = trials_of([self.run(i, 1, bool(folds)) for i in range(len(self.truth))])
        return select(searched, rerun, direction="maximize", folds=folds, **options)


def test_the_interval_of_independent_runs_is_students() -> None:
    scores = [0.2, 0.5, 0.9, 0.4]
    found = corrected_interval(scores)
    low, high = stats.t.interval(0.95, 3, np.mean(scores), stats.sem(scores))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert corrected_interval([0.3]).high == math.inf


def test_the_interval_of_folds_is_wider_by_the_share_of_rows_that_they_test() -> None:
    scores = np.arange(5.0)
    plain, folds = corrected_interval(scores), corrected_interval(scores, FIVE)
    ratio = (folds.high - folds.mean) / (plain.high - plain.mean)
    assert ratio == pytest.approx(math.sqrt((1 / 5 + 10 / 40) / (1 / 5)))


def test_cross_fitting_sees_through_pure_noise() -> None:
    noise = np.random.default_rng(0).standard_normal((400, 60, 5))
    best = noise.mean(axis=2).max(axis=1)
    fair = np.array([cross_fitted(table).mean() for table in noise])
    assert best.mean() > 0.9
    assert abs(fair.mean()) < 4 * fair.std() / 20


def test_scores_from_before_take_part_in_the_choice_alone() -> None:
    scores = [[1.0, 2.0], [3.0, 4.0]]
    assert cross_fitted(scores).tolist() == [3.0, 4.0]
    assert cross_fitted(scores, before=[10.0, 0.0]).tolist() == [1.0, 2.0]


def test_the_reported_score_does_not_flatter_although_the_search_does() -> None:
    found = [Bench(np.zeros(15), seed).select() for seed in range(300)]
    score = np.array([f.score.mean for f in found])
    optimism = np.array([f.optimism for f in found])
    assert np.mean([f.searched for f in found]) > 1.5
    assert abs(score.mean()) < 4 * score.std() / math.sqrt(300)
    assert abs(np.mean([f.corrected for f in found])) < 4 * optimism.std() / math.sqrt(300)
    assert np.mean([f.score.low <= 0 <= f.score.high for f in found]) > 0.9


def test_running_the_finalists_again_chooses_better() -> None:
    again, before = [], []
    for seed in range(200):
        truth = np.random.default_rng(1000 + seed).standard_normal(15)
        found = Bench(truth, seed).select()
        again.append(truth[found.trial.number])
        bench = Bench(truth, seed)
        before.append(truth[np.argmax([bench.run(i, 1, False)[0] for i in range(15)])])
    assert np.mean(again) > np.mean(before) + 0.2


def test_folds_see_the_luck_of_the_rows_that_fresh_seeds_cannot() -> None:
    found = [Bench(np.zeros(15), s, noise=0.5, quirk=1.0).select(FIVE) for s in range(300)]
    score = np.array([f.score.mean for f in found])
    assert np.mean([f.means[0] for f in found]) > 0.5
    assert abs(score.mean()) < 4 * score.std() / math.sqrt(300)


def test_every_fold_judges_what_the_other_folds_choose() -> None:
    scores = np.array([[9.0, 0.0, 0.0], [0.0, 3.0, 4.0], [2.0, 2.0, 3.0]])
    asked = []

    def rerun(settings: Sequence[Setting], seeds: Sequence[int]) -> list[np.ndarray]:
        asked.extend(s["a"] for s in settings)
        return [np.tile(scores[s["a"]], len(seeds)) for s in settings]

    three = cross_validation(np.zeros(9), "regression", folds=3)
    found = select(trials_of(scores), rerun, direction="maximize", folds=three, finalists=2)
    assert asked == [0, 1]  # the best on all folds, and the best without the first
    assert found.trial.number == 0 and found.searched == 3.0
    assert found.score.mean == found.corrected == 0.0


def test_minimising_mirrors_maximising() -> None:
    scores = np.random.default_rng(3).standard_normal((12, 5))
    fresh = np.random.default_rng(4).standard_normal((12, 20))
    up = select(trials_of(scores), lambda s, _: [fresh[x["a"]] for x in s],
                direction="maximize", folds=FIVE)  # fmt: skip
    down = select(trials_of(-scores), lambda s, _: [-fresh[x["a"]] for x in s], folds=FIVE)
    assert up.trial.number == down.trial.number
    assert up.score.mean == -down.score.mean and up.score.low == -down.score.high
    assert up.optimism == down.optimism > 0 and up.corrected == -down.corrected
    assert np.array_equal(up.means, -down.means)


def test_the_finalists_run_again_with_the_seeds_asked_for() -> None:
    bench = Bench(np.arange(9.0), seed=0, noise=0.01)
    found = bench.select(finalists=3, seeds=[7, 8])
    assert bench.asked == [([{"a": 6}, {"a": 7}, {"a": 8}], [7, 8])]
    assert [t.number for t in found.finalists] == [8, 7, 6] and found.seeds == (7, 8)


def test_what_paired_differences_tell_apart_is_no_finalist() -> None:
    shared = 5 * np.random.default_rng(0).standard_normal(8)
    small = 0.1 * np.random.default_rng(1).standard_normal((3, 8))
    scores = shared + small + np.array([[0.0], [0.05], [1.0]])
    found = select(trials_of(scores))
    for index, tie in ((1, True), (2, False)):
        assert (stats.ttest_rel(scores[0], scores[index]).pvalue > 0.05) == tie
        assert (index in [t.number for t in found.finalists]) == tie
    assert [t.number for t in found.ties] == [1]


def test_the_simplest_within_one_standard_error_is_named() -> None:
    scores = np.array([[0.70, 0.80, 0.90], [0.70, 0.75, 0.89], [0.60, 0.80, 0.80]])
    settings = [{"network.hidden": (w,)} for w in (64, 32, 8)]
    trials = [Trial(i, s, row) for i, (s, row) in enumerate(zip(settings, scores, strict=True))]
    found = select(trials, direction="maximize")  # 0.8 less 0.1/√3 is 0.742
    assert found.trial.number == 0 and found.simpler.number == 1
    assert "trial 1, network.hidden = (32,) instead of (64,)" in found.summary()
    wide = select(trials, direction="maximize", complexity=lambda s: -s["network.hidden"][0])
    assert wide.simpler.number == 0 and "simpler" not in wide.summary()


def test_trials_that_are_not_done_are_left_out() -> None:
    trials = [
        *trials_of([[1.0, 1.0], [math.nan, 0.0], [2.0, 2.0]]),
        Trial(3, {"a": 3}, np.array([-9.0]), state="pruned"),
        Trial(4, {"a": 4}, np.array([]), state="failed"),
    ]
    found = select(trials)
    assert found.trial.number == 0 and found.tried == 2
    with pytest.raises(SolverError, match="none of 2 trials is done"):
        select(trials[3:])


def test_a_finalist_that_fails_again_is_left_out() -> None:
    trials = trials_of([1.0, 2.0, 3.0])
    found = select(trials, lambda s, _: [[math.nan, 0.0] if x["a"] == 0 else [2.0, 2.0] for x in s])
    assert [t.number for t in found.finalists] == [1, 2]
    assert math.isnan(found.optimism) and "flatters" not in found.summary()
    with pytest.raises(SolverError, match="every finalist failed"):
        select(trials, lambda s, _: [[math.nan]] * len(s))


def test_trials_of_one_setting_are_averaged() -> None:
    same = [Trial(i, {"a": 0}, np.array([s])) for i, s in enumerate((0.0, 4.0))]
    found = select([*same, Trial(2, {"a": 1}, np.array([1.0]))])
    assert found.tried == 2 and found.trial.number == 2 and found.searched == 1.0


def test_a_single_run_promises_nothing() -> None:
    found = select(trials_of([1.0, 2.0]))
    assert (found.score.low, found.score.high) == (-math.inf, math.inf)
    assert math.isnan(found.optimism) and "without an interval" in found.summary()


def test_one_fold_is_no_cross_validation() -> None:
    scores = [[1.0, 1.2, 1.1], [2.0, 2.2, 2.1]]
    found = select(trials_of(scores), folds=FIVE[:1])
    low, high = stats.t.interval(0.95, 2, 1.1, stats.sem(scores[0]))
    assert (found.score.low, found.score.high) == pytest.approx((low, high))


def test_wrong_arguments_are_named() -> None:
    trials = trials_of([1.0, 2.0])
    with pytest.raises(ArgumentError, match="direction is 'max'"):
        select(trials, direction="max")
    with pytest.raises(ArgumentError, match="finalists is 0"):
        select(trials, finalists=0)
    with pytest.raises(ArgumentError, match=r"seeds is \[\]"):
        select(trials, seeds=[])
    with pytest.raises(ShapeError, match=r"2 settings came with \[1, 2\] scores"):
        select(trials_of([1.0, [1.0, 2.0]]))
    with pytest.raises(ShapeError, match="a multiple of 5 folds"):
        select(trials_of([[1.0, 2.0]]), folds=FIVE)
    with pytest.raises(ShapeError, match="1 setting came with"):
        select(trials, lambda s, _: [[1.0]])


@pytest.mark.parametrize(
    ("simple", "complex_"),
    [
        ({"network.hidden": (32,)}, {"network.hidden": (32, 32)}),
        (
            {"network.width": 8, "penalty.strength": 0.0},
            {"network.width": 9, "penalty.strength": 1.0},
        ),
        ({"penalty.strength": 1.0}, {"penalty.strength": 0.0}),
        ({"network.dropout": 0.5}, {"network.dropout": 0.1}),
        ({"optimizer.weight_decay": 1e-2}, {"optimizer.weight_decay": 1e-4}),
    ],
)
def test_small_and_restrained_is_simple(simple: Setting, complex_: Setting) -> None:
    rest = {"optimizer.learning_rate": 0.1, "network.activation": "relu", "loss": None}
    assert complexity({**simple, **rest}) < complexity({**complex_, **rest})
    assert complexity(rest) == (0.0, 0.0)


def test_nesting_sees_that_there_is_nothing_to_learn() -> None:
    random = np.random.default_rng(0)
    honest, flattered = [], []
    for _ in range(60):
        X, y = random.integers(2, size=(50, 100)), random.integers(2, size=50)
        right = y[:, None] == X
        found = nested(
            lambda rows, right=right: {"column": int(right[rows].mean(axis=0).argmax())},
            lambda setting, fold, right=right: float(right[fold.test, setting["column"]].mean()),
            FIVE,
        )
        honest.append(found.score.mean)
        flattered.append(right.mean(axis=0).max())
    assert np.mean(flattered) > 0.65
    assert abs(np.mean(honest) - 0.5) < 4 * np.std(honest) / math.sqrt(60)
    assert "by 5 outer folds" in found.summary() and "fold 5: " in found.summary()
    with pytest.raises(ArgumentError, match="outer has no folds"):
        nested(lambda rows: {}, lambda setting, fold: 0.0, [])
