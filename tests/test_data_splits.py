from __future__ import annotations

import numpy as np
import pytest

from minimand.data import cross_validation, holdout
from minimand.errors import ArgumentError, DataError

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
