"""Who trains and who tests: splits as index arrays, the same for every candidate.

The splitters are scikit-learn's. Classes keep their shares in every part, and every class has at
least one row to train on. The same seed gives the same split, always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.data.columns import plural
from minimand.data.task import Task
from minimand.errors import ArgumentError, DataError

Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Fold:
    """Row numbers to train on and row numbers to test on; both sorted, nothing in common."""

    train: Indices
    test: Indices


def holdout(y: Any, task: Task, fraction: float = 0.2, seed: int = 0) -> Fold:
    """Set about `fraction` of the rows aside, stratified by class if the task has classes.

    `y: [n]`, encoded or not. Raises `ArgumentError` unless 0 < fraction < 1, and `DataError` if no
    row can be spared.

    >>> fold = holdout([0, 0, 0, 0, 1, 1, 1, 1], "binary", fraction=0.25)
    >>> fold.train.size, fold.test.size
    (6, 2)
    """
    from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

    if not 0 < fraction < 1:
        raise ArgumentError(f"fraction is {fraction}; it must lie in (0, 1)")
    codes, counts = _codes(y, task)
    rows = codes.size
    tested = min(max(round(fraction * rows), 1), rows - 1)
    if tested < 1:
        raise DataError(f"{plural(rows, 'row')} cannot be split into a training and a test part")
    room = min(tested, rows - tested) >= counts.size
    splitter = StratifiedShuffleSplit if counts.min() >= 2 and room else ShuffleSplit
    split = splitter(1, test_size=tested, random_state=seed)
    train, test = next(split.split(np.zeros((rows, 1)), codes))
    moved = _first_of_each(codes, test, without=codes[train])
    if moved.size == test.size:
        raise DataError(
            f"no row can be set aside for a test: {plural(rows, 'row')} hold "
            f"{plural(counts.size, 'class')}"
        )
    return _fold(np.concatenate([train, moved]), rows)


def cross_validation(
    y: Any, task: Task, folds: int = 5, seed: int = 0, repeats: int = 1
) -> tuple[Fold, ...]:
    """`folds` folds, `repeats` times over; in each repeat every row is tested once.

    Classes are stratified. There are fewer folds if the rarest class or n has fewer rows than
    that; a class with a single row is trained on in every fold and never tested.

    Raises `ArgumentError` for folds < 2 or repeats < 1, and `DataError` if no class has 2 rows.

    >>> [fold.test.size for fold in cross_validation(range(10), "regression", folds=3)]
    [4, 3, 3]
    """
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    if folds < 2 or repeats < 1:
        raise ArgumentError(
            f"folds is {folds} and repeats is {repeats}; they must be at least 2 and 1"
        )
    codes, counts = _codes(y, task)
    usable = np.flatnonzero(counts[codes] >= 2)
    if not usable.size:
        raise DataError(
            f"{plural(codes.size, 'row')} in {plural(counts.size, 'class')}: too few for "
            f"cross-validation; some class needs at least 2 rows"
        )
    rarest = int(counts[counts >= 2].min())
    stratified = counts.size > 1
    splitter = RepeatedStratifiedKFold if stratified else RepeatedKFold
    split = splitter(n_splits=min(folds, rarest), n_repeats=repeats, random_state=seed)
    single = np.flatnonzero(counts[codes] == 1)
    return tuple(
        _fold(np.concatenate([usable[train], single]), codes.size)
        for train, _ in split.split(np.zeros((usable.size, 1)), codes[usable])
    )


def _codes(y: Any, task: Task) -> tuple[Indices, Indices]:
    """The class of every row and the rows of every class; without classes, one class holds all."""
    values = np.asarray(y)
    if task not in ("binary", "multiclass"):
        values = np.zeros(len(values), dtype=np.int64)
    if not values.size:
        raise DataError("0 rows cannot be split")
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return codes, counts


def _first_of_each(codes: Indices, rows: Indices, without: Indices) -> Indices:
    """The first of `rows` of every class that is not among `without`."""
    classes, first = np.unique(codes[rows], return_index=True)
    return rows[first[~np.isin(classes, without)]]


def _fold(train: Indices, rows: int) -> Fold:
    chosen = np.zeros(rows, dtype=bool)
    chosen[train] = True
    return Fold(np.flatnonzero(chosen), np.flatnonzero(~chosen))
