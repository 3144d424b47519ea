"""Who trains and who tests: splits as index arrays, the same for every candidate.

The splitters are scikit-learn's. Classes keep their shares in every part, every class has at least
one row to train on, and no group is torn apart. The same seed gives the same split, always.
`folds_of` takes whatever the user calls `cv`: a number, a splitter, or the row numbers themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimand.data.columns import plural
from minimand.data.task import Task
from minimand.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError

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
    y: Any, task: Task, folds: int = 5, seed: int = 0, repeats: int = 1, groups: Any = None
) -> tuple[Fold, ...]:
    """`folds` folds, `repeats` times over; in each repeat every row is tested once.

    Classes are stratified. With `groups: [n]` (the patient, the household, the shop of every row)
    all rows of a group are tested together. There are fewer folds if the rarest class, n or the
    groups are fewer than that; a class that only one row or one group holds is trained on in every
    fold, with its group, and never tested.

    Raises `ArgumentError` for folds < 2 or repeats < 1, `ShapeError` unless there is one group a
    row, and `DataError` if no class has 2 rows or fewer than 2 groups can be tested.

    >>> [fold.test.size for fold in cross_validation(range(10), "regression", folds=3)]
    [4, 3, 3]
    >>> three = cross_validation(range(6), "regression", folds=3, groups=list("aabbcc"))
    >>> sorted(fold.test.tolist() for fold in three)
    [[0, 1], [2, 3], [4, 5]]
    """
    if folds < 2 or repeats < 1:
        raise ArgumentError(
            f"folds is {folds} and repeats is {repeats}; they must be at least 2 and 1"
        )
    codes, counts = _codes(y, task)
    if groups is None:
        return _by_row(codes, counts, folds, seed, repeats)
    found = _by_group(codes, groups, folds, seed, repeats)
    for number, fold in enumerate(found, 1):
        _check_trained(fold, number, codes, y)
    return found


def time_series(
    rows: int,
    folds: int = 5,
    gap: int = 0,
    test_size: int | None = None,
    max_train_size: int | None = None,
) -> tuple[Fold, ...]:
    """Folds that train on the past and test on the future; rows must be in the order of time.

    Each fold tests the `test_size` rows (n/(folds + 1) unless given) that follow the rows tested
    before. It trains on all rows, or the last `max_train_size`, that end `gap` rows earlier.

    Raises `ArgumentError` for sizes below 1 (gap: 0) and `DataError` if there are too few rows.

    >>> for fold in time_series(7, folds=2, gap=1):
    ...     print(fold.train, fold.test)
    [0 1] [3 4]
    [0 1 2 3] [5 6]
    """
    from sklearn.model_selection import TimeSeriesSplit

    for name, value, least in (
        ("folds", folds, 2),
        ("gap", gap, 0),
        ("test_size", test_size, 1),
        ("max_train_size", max_train_size, 1),
    ):
        if value is not None and value < least:
            raise ArgumentError(f"{name} is {value}; it must be at least {least}")
    needed = folds * (test_size or max(rows // (folds + 1), 1)) + gap + 1
    if rows < needed:
        raise DataError(
            f"{plural(rows, 'row')} are too few for {folds} folds in the order of time with a gap "
            f"of {gap}: {needed} are needed; ask for fewer folds"
        )
    splitter = TimeSeriesSplit(folds, gap=gap, test_size=test_size, max_train_size=max_train_size)
    return tuple(Fold(train, test) for train, test in splitter.split(np.zeros((rows, 1))))


def folds_of(
    cv: Any, X: Any, y: Any, task: Task, *, groups: Any = None, seed: int = 0
) -> tuple[Fold, ...]:
    """The folds that `cv` stands for.

    `cv` is a number of folds (stratified, grouped and shuffled by `seed`, see `cross_validation`),
    a splitter of scikit-learn or of its kind (which keeps its own seed), or the folds themselves:
    pairs of training and test rows, as numbers or as masks [n]. `X` is for splitters that look at
    it and may be None.

    Raises:
        ArgumentError, ArgumentTypeError: `cv` is none of these, or the splitter refuses the data.
        DataError: a fold is empty, tests a row or a group that it trains on, trains on a row twice,
            names a row that is not there, or has a class missing from its training rows.

    >>> folds_of([([0, 1, 2], [3])], None, [1.0, 2.0, 3.0, 4.0], "regression")
    (Fold(train=array([0, 1, 2]), test=array([3])),)
    """
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        return cross_validation(y, task, int(cv), seed, groups=groups)
    codes, counts = _codes(y, task)
    rows = codes.size
    if hasattr(cv, "split") and not isinstance(cv, str):
        table = np.zeros((rows, 1)) if X is None else X
        target = codes if counts.size > 1 else np.asarray(y)
        try:
            pairs = list(cv.split(table, target, groups))
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{cv} cannot split these {plural(rows, 'row')}: {error}") from None
    else:
        pairs = _pairs(cv)
    blocks = np.arange(rows) if groups is None else _group_codes(groups, rows)
    found = tuple(
        Fold(*(_rows(part, rows, f"the {name} rows of fold {number}")
               for name, part in zip(("training", "test"), pair, strict=True)))
        for number, pair in enumerate(pairs, 1)
    )  # fmt: skip
    for number, fold in enumerate(found, 1):
        _check_parts(fold, number, blocks, groups)
        _check_trained(fold, number, codes, y)
    return found


def _by_row(
    codes: Indices, counts: Indices, folds: int, seed: int, repeats: int
) -> tuple[Fold, ...]:
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    usable = np.flatnonzero(counts[codes] >= 2)
    if not usable.size:
        raise DataError(
            f"{plural(codes.size, 'row')} in {plural(counts.size, 'class')}: too few for "
            f"cross-validation; some class needs at least 2 rows"
        )
    rarest = int(counts[counts >= 2].min())
    splitter = RepeatedStratifiedKFold if counts.size > 1 else RepeatedKFold
    split = splitter(n_splits=min(folds, rarest), n_repeats=repeats, random_state=seed)
    single = np.flatnonzero(counts[codes] == 1)
    return tuple(
        _fold(np.concatenate([usable[train], single]), codes.size)
        for train, _ in split.split(np.zeros((usable.size, 1)), codes[usable])
    )


def _by_group(codes: Indices, groups: Any, folds: int, seed: int, repeats: int) -> tuple[Fold, ...]:
    """Groups that alone hold some class are always trained on; the others take turns."""
    from sklearn.model_selection import StratifiedGroupKFold

    rows = codes.size
    blocks = _group_codes(groups, rows)
    always = np.isin(blocks, blocks[_spread(codes, blocks)[codes] == 1])
    usable, kept = np.flatnonzero(~always), np.flatnonzero(always)
    testable = np.unique(blocks[usable]).size
    if testable < 2:
        raise DataError(
            f"{plural(rows, 'row')} in {plural(int(blocks.max()) + 1, 'group')}: too few for "
            f"cross-validation; at least 2 groups must hold classes that other groups hold too"
        )
    spread = _spread(codes[usable], blocks[usable])
    parts = min(folds, testable, *spread[spread >= 2].tolist())
    found = []
    for state in np.random.SeedSequence(seed).generate_state(repeats):
        splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=int(state))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            split = list(splitter.split(usable, codes[usable], blocks[usable]))
        found += [_fold(np.concatenate([usable[train], kept]), rows) for train, _ in split]
    return tuple(found)


def _spread(codes: Indices, blocks: Indices) -> Indices:
    """In how many groups every class occurs: [classes]."""
    pairs = np.unique(codes * (blocks.max(initial=0) + 1) + blocks)
    return np.bincount(pairs // (blocks.max(initial=0) + 1))


def _group_codes(groups: Any, rows: int) -> Indices:
    """The group of every row, numbered from 0."""
    values = np.asarray(groups)
    if values.shape != (rows,):
        raise ShapeError(f"groups has shape {values.shape}; there are {rows} rows, one group each")
    missing = np.flatnonzero([g is None or g != g for g in values])
    if missing.size:
        raise DataError(f"row {missing[0]} has no group; give it one or leave the row out")
    return np.unique(values, return_inverse=True)[1]


def _pairs(cv: Any) -> list[tuple[Any, Any]]:
    wanted = "a number of folds, a scikit-learn splitter or pairs (training rows, test rows)"
    if isinstance(cv, str | bytes | bool) or not isinstance(cv, Iterable):
        raise ArgumentTypeError(f"cv is {cv!r}; give {wanted}")
    pairs = [(fold.train, fold.test) if isinstance(fold, Fold) else fold for fold in cv]
    if not pairs:
        raise ArgumentError(f"cv is empty; give {wanted}")
    for number, pair in enumerate(pairs, 1):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ArgumentTypeError(f"fold {number} of cv is {pair!r}; give {wanted}")
    return pairs


def _rows(part: Any, rows: int, where: str) -> Indices:
    """Sorted row numbers from row numbers or a mask."""
    chosen = np.asarray(part)
    if chosen.dtype == bool and chosen.shape == (rows,):
        chosen = np.flatnonzero(chosen)
    if not chosen.size:
        raise DataError(f"{where} are none; every fold trains and tests at least one row")
    if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
        raise DataError(f"{where} must be whole numbers, or a mask of {plural(rows, 'row')}")
    chosen = np.sort(chosen).astype(np.int64)
    if chosen[0] < 0 or chosen[-1] >= rows:
        outside = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise DataError(f"{where} name row {outside}; rows are numbered 0 to {rows - 1}")
    twice = np.flatnonzero(np.diff(chosen) == 0)
    if twice.size:
        raise DataError(f"{where} name row {chosen[twice[0]]} twice; give that row a weight of 2")
    return chosen


def _check_parts(fold: Fold, number: int, blocks: Indices, groups: Any) -> None:
    common = np.intersect1d(fold.train, fold.test)
    if common.size:
        raise DataError(f"row {common[0]} is among both training and test rows of fold {number}")
    torn = np.isin(blocks[fold.test], blocks[fold.train])
    if torn.any():
        name = np.asarray(groups)[fold.test[torn.argmax()]]
        raise DataError(
            f"group {name} has training and test rows in fold {number}; use a splitter that keeps "
            f"groups together, or a number of folds"
        )


def _check_trained(fold: Fold, number: int, codes: Indices, y: Any) -> None:
    absent = ~np.isin(codes, codes[fold.train])
    if absent.any():
        raise DataError(
            f"fold {number} has no training row of class {np.asarray(y)[absent.argmax()]}; use "
            f"fewer folds, another seed or stratified folds"
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
