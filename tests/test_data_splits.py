from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

from minimand.data import cross_validation, holdout
from minimand.data.splits import Fold, folds_of, time_series
from minimand.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError

LABELS = np.repeat(["a", "b", "c"], [60, 30, 10])


def test_a_holdout_keeps_the_shares_of_the_classes() -> None:
    fold = holdout(LABELS, "multiclass", fraction=0.2, seed=1)
    assert np.array_equal(np.sort(np.concatenate([fold.train, fold.test])), np.arange(100))
    assert [int((LABELS[fold.test] == c).sum()) for c in "abc"] == [12, 6, 2]


def test_folds_test_every_row_once_in_each_repeat_and_keep_the_shares() -> None:
    folds = cross_validation(LABELS, "multiclass", folds=5, repeats=2)
    assert len(folds) == 10
    for repeat in (folds[:5], folds[5:]):
        assert np.array_equal(np.sort(np.concatenate([f.test for f in repeat])), np.arange(100))
    for fold in folds:
        assert [int((LABELS[fold.test] == c).sum()) for c in "abc"] == [12, 6, 2]
        assert not np.intersect1d(fold.train, fold.test).size


def test_the_seed_decides() -> None:
    y = np.linspace(0, 1, 50)
    for seed in (0, 7):
        assert np.array_equal(holdout(y, "regression", seed=seed).test,
                              holdout(y, "regression", seed=seed).test)  # fmt: skip
        for one, two in zip(cross_validation(y, "regression", seed=seed),
                            cross_validation(y, "regression", seed=seed), strict=True):  # fmt: skip
            assert np.array_equal(one.train, two.train) and np.array_equal(one.test, two.test)
    assert not np.array_equal(
        holdout(y, "regression", seed=0).test, holdout(y, "regression", seed=7).test
    )


def test_the_rarest_class_limits_the_folds() -> None:
    y = [0] * 20 + [1] * 3
    folds = cross_validation(y, "binary", folds=5)
    assert len(folds) == 3
    assert all(1 in np.asarray(y)[fold.test] for fold in folds)
    assert len(cross_validation([0.1, 0.2, 0.4], "regression", folds=5)) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_class_with_one_row_is_always_trained_on(seed: int) -> None:
    y = np.array([0] * 9 + [1] * 9 + [2])
    assert 18 in holdout(y, "multiclass", fraction=0.5, seed=seed).train
    folds = cross_validation(y, "multiclass", folds=3, seed=seed)
    assert len(folds) == 3 and all(18 in fold.train for fold in folds)
    small = holdout([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], "multiclass", fraction=0.2, seed=seed)
    assert len(set(small.train // 2)) == 5 and small.test.size in (1, 2)


def test_too_few_rows() -> None:
    with pytest.raises(DataError, match="1 row cannot be split"):
        holdout([1.0], "regression")
    with pytest.raises(DataError, match="3 rows hold 3 classes"):
        holdout(["a", "b", "c"], "multiclass")
    with pytest.raises(DataError, match="3 rows in 3 classes"):
        cross_validation(["a", "b", "c"], "multiclass")
    with pytest.raises(DataError, match="too few"):
        cross_validation([1.0], "regression")
    assert holdout([1.0, 2.0], "regression").test.size == 1


def test_arguments_are_checked() -> None:
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(ArgumentError, match="fraction is"):
            holdout(LABELS, "multiclass", fraction=fraction)
    with pytest.raises(ArgumentError, match="folds is 1"):
        cross_validation(LABELS, "multiclass", folds=1)


GROUPS = np.arange(100) // 4


def test_a_group_is_never_torn_apart_and_every_row_is_tested_once() -> None:
    folds = cross_validation(np.ones(100), "regression", folds=5, repeats=2, groups=GROUPS)
    assert len(folds) == 10
    for repeat in (folds[:5], folds[5:]):
        assert np.array_equal(np.sort(np.concatenate([f.test for f in repeat])), np.arange(100))
    for fold in folds:
        assert not np.intersect1d(GROUPS[fold.train], GROUPS[fold.test]).size
        assert fold.test.size == 20
    assert {tuple(f.test) for f in folds[:5]} != {tuple(f.test) for f in folds[5:]}


def test_grouped_folds_keep_the_shares_of_the_classes_as_well() -> None:
    y = np.repeat(["a", "b"], 60)
    groups = np.concatenate([np.arange(60) // 3, 100 + np.arange(60) // 6])
    for fold in cross_validation(y, "binary", folds=5, seed=3, groups=groups):
        assert not np.intersect1d(groups[fold.train], groups[fold.test]).size
        assert (y[fold.test] == "a").sum() == (y[fold.test] == "b").sum() == 12


def test_a_class_within_one_group_is_always_trained_on_with_its_group() -> None:
    y = np.array([0, 1] * 10 + [2, 0])
    groups = np.arange(22) // 2
    folds = cross_validation(y, "multiclass", folds=5, groups=groups)
    assert len(folds) == 5
    for fold in folds:
        assert {20, 21} <= set(fold.train.tolist())
    assert np.array_equal(np.sort(np.concatenate([f.test for f in folds])), np.arange(20))


def test_there_are_no_more_folds_than_groups() -> None:
    folds = cross_validation(np.arange(9.0), "regression", folds=5, groups=list("aaabbbccc"))
    assert sorted(f.test.tolist() for f in folds) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(DataError, match="4 rows in 1 group: too few"):
        cross_validation(np.arange(4.0), "regression", groups=["a"] * 4)
    with pytest.raises(DataError, match="row 2 has no group"):
        cross_validation(np.arange(4.0), "regression", groups=["a", "b", None, "b"])
    with pytest.raises(DataError, match="row 1 has no group"):
        cross_validation(np.arange(3.0), "regression", groups=[1.0, np.nan, 2.0])
    with pytest.raises(ShapeError, match=r"shape \(3,\); there are 4 rows"):
        cross_validation(np.arange(4.0), "regression", groups=[1, 2, 3])


def test_time_series_folds_are_those_of_scikit_learn_and_never_look_ahead() -> None:
    peer = TimeSeriesSplit(4, gap=2, test_size=5, max_train_size=12).split(np.zeros((40, 1)))
    folds = time_series(40, folds=4, gap=2, test_size=5, max_train_size=12)
    for fold, (train, test) in zip(folds, peer, strict=True):
        assert np.array_equal(fold.train, train) and np.array_equal(fold.test, test)
        assert fold.train.max() + 2 < fold.test.min()
    assert len(time_series(7, folds=2, gap=2, test_size=2)) == 2
    with pytest.raises(DataError, match=r"6 rows are too few .* 7 are needed"):
        time_series(6, folds=2, gap=2, test_size=2)
    for wrong in ({"folds": 1}, {"gap": -1}, {"test_size": 0}, {"max_train_size": 0}):
        with pytest.raises(ArgumentError, match=f"{next(iter(wrong))} is"):
            time_series(40, **wrong)


def test_a_number_is_a_number_of_folds() -> None:
    for one, two in zip(folds_of(5, None, LABELS, "multiclass", seed=3),
                        cross_validation(LABELS, "multiclass", seed=3), strict=True):  # fmt: skip
        assert np.array_equal(one.test, two.test)
    for fold in folds_of(np.int64(5), None, np.ones(100), "regression", groups=GROUPS):
        assert not np.intersect1d(GROUPS[fold.train], GROUPS[fold.test]).size


@pytest.mark.parametrize(
    "splitter",
    [
        KFold(4, shuffle=True, random_state=1),
        StratifiedKFold(3),
        TimeSeriesSplit(3, gap=1),
        PredefinedSplit(np.repeat([0, 1, -1], [40, 40, 20])),
        GroupKFold(5),
        LeaveOneGroupOut(),
    ],
)
def test_splitters_of_scikit_learn_give_their_own_rows(splitter: object) -> None:
    y = np.tile(["a", "b", "c", "d"], 25)
    groups = GROUPS if "Group" in type(splitter).__name__ else None
    X = np.zeros((100, 2))
    folds = folds_of(splitter, X, y, "multiclass", groups=groups)
    for fold, (train, test) in zip(folds, splitter.split(X, y, groups), strict=True):
        assert np.array_equal(fold.train, train) and np.array_equal(fold.test, test)


def test_folds_of_ones_own_may_be_numbers_masks_or_folds() -> None:
    y = np.arange(6.0)
    mask = np.array([True, True, False, False, True, True])
    own = [([5, 4, 0], (2, 1)), (mask, ~mask), Fold(np.array([1]), np.array([0]))]
    first, second, third = folds_of(iter(own), None, y, "regression")
    assert first.train.tolist() == [0, 4, 5] and first.test.tolist() == [1, 2]
    assert second.train.tolist() == [0, 1, 4, 5] and second.test.tolist() == [2, 3]
    assert third.train.tolist() == [1] and third.test.tolist() == [0]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (([0, 1], [1, 2]), "row 1 is among both training and test rows of fold 2"),
        (([0, 1], []), "the test rows of fold 2 are none"),
        (([0, 9], [1]), "the training rows of fold 2 name row 9; rows are numbered 0 to 5"),
        (([0, -1], [1]), "name row -1"),
        (([0, 0], [1]), "the training rows of fold 2 name row 0 twice"),
        (([0.5], [1]), "must be whole numbers"),
        (([True, False], [1]), "or a mask of 6 rows"),
        (([0, 2], [1]), "fold 2 has no training row of class b"),
    ],
)
def test_wrong_rows_are_named(pair: tuple[list[float], list[int]], message: str) -> None:
    y = list("ababab")
    with pytest.raises(DataError, match=message):
        folds_of([([0, 1], [2, 3]), pair], None, y, "binary")


def test_a_torn_group_is_named() -> None:
    with pytest.raises(DataError, match="group 0 has training and test rows in fold 1"):
        folds_of([(range(2, 100), [0, 1])], None, np.ones(100), "regression", groups=GROUPS)


def test_what_is_no_cross_validation_is_refused() -> None:
    y = np.arange(6.0)
    for wrong in ("5", 2.5, True, None):
        with pytest.raises(ArgumentTypeError, match="give a number of folds"):
            folds_of(wrong, None, y, "regression")
    with pytest.raises(ArgumentTypeError, match=r"fold 1 of cv is \[1, 2, 3\]"):
        folds_of([[1, 2, 3]], None, y, "regression")
    with pytest.raises(ArgumentError, match="cv is empty"):
        folds_of([], None, y, "regression")
    with pytest.raises(ArgumentError, match=r"cannot split these 6 rows: .*groups"):
        folds_of(GroupKFold(2), None, y, "regression")
    with pytest.raises(ArgumentError, match=r"cannot split these 6 rows: .*n_splits=9"):
        folds_of(KFold(9), None, y, "regression")
