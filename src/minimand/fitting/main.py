"""`fit` and `compare`: the main job as a caller sees it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minimand.budget import Budget
from minimand.data import (
    Images,
    Table,
    Task,
    from_arrays,
    holds_images,
    images_from_arrays,
    read_images,
    read_table,
)
from minimand.errors import ArgumentError
from minimand.fitting.directory import claim
from minimand.fitting.question import Question
from minimand.fitting.refit import refit
from minimand.fitting.results import Comparison, Fit
from minimand.fitting.study import Say, study
from minimand.losses import Loss
from minimand.metrics import Metric
from minimand.penalties import Penalty

if TYPE_CHECKING:
    from minimand.data.augmentation import Augmentation
    from minimand.networks import Network


def fit(
    X: Any,
    y: Any = None,
    *,
    metric: str | Metric | None = None,
    loss: str | Loss | Sequence[str | Loss] | None = None,
    task: Task | None = None,
    models: str | Sequence[str] | None = None,
    penalty: str | Penalty = "L2",
    budget: float | None = None,
    seed: int = 0,
    folds: int = 5,
    test_size: float = 0.2,
    out: str | os.PathLike[str] | None = None,
    header: bool | None = None,
    network: str | Network | Sequence[str | Network] | None = None,
    augmentation: str | Augmentation | Sequence[str | Augmentation] | None = None,
    epochs: int | None = None,
    size: int | None = None,
    verbose: bool = True,
) -> Fit:
    """Choose the loss and the model that serve the metric best, fit them, and show the evidence.

    Args:
        X: a frame, an array [n, p], the path of a CSV or Parquet file, or the name of a bundled
            data set (diabetes, breast_cancer, digits, wine, iris). Or images: an array [n, height,
            width] or [n, height, width, channels], what `minimand.data.read_images` reads, or its
            result.
        y: the target [n], or the name of the column of X that holds it.
        metric: what you care about, such as "mae"; None takes the task's default.
        loss: the losses to try; None tries every loss of the catalogue that fits the target.
        task: "regression", "binary", "multiclass" or "count"; None infers it from the target.
        models: "linear", "mlp" or both; None tries both where there are rows enough.
        penalty: the penalty whose strength is searched: "L2", "L1" or "ElasticNet".
        budget: seconds after which the search ends with the best so far. Ctrl-C does the same.
        seed: decides the test part, the folds and every random number.
        folds: the number of cross-validation folds.
        test_size: the share of rows set aside and scored once, at the end; of images that come with
            a test part, it is that.
        out: the run directory to write; None writes none (see `Fit.save`).
        header: whether a CSV file's first row holds names; None looks.
        network: of images, the networks to try: names or objects such as "linear", "mlp",
            "cnn", by default linear and cnn; a CSV file of pixels, or "digits", are images if one
            is named. They are judged on a tenth of the images, which early stopping watches too,
            and the winner is kept.
        augmentation: of images, what happens to each batch; several come one after another.
        epochs: of images, how many at most; None: 20, or 100 where there are few.
        size: of picture files, the pixels on each side.
        verbose: say each step in one line.

    Raises:
        MinimandError: the data or an argument cannot be used; one sentence says what to do.

    >>> fitted = fit("diabetes", metric="mae", models=["linear"], verbose=False)
    >>> fitted.run["baseline"]["mean"] > 1.3 * fitted.run["candidates"][0]["mean"]
    True
    """
    say: Say = print if verbose else _silent
    question = Question.asked(
        *(metric, loss, task, models, penalty, seed, folds, test_size),
        network=network,
        augmentation=augmentation,
        epochs=epochs,
    )
    folder = claim(out, "run") if out is not None else None
    with Budget(budget) as watch:
        source = source_of(X, y, question, header, size)
        fitted = refit(study(source, question, watch, say), watch, say)
    if folder is not None:
        fitted.save(folder)
    return fitted


def compare(
    X: Any,
    y: Any = None,
    *,
    metric: str | Metric | None = None,
    loss: str | Loss | Sequence[str | Loss] | None = None,
    task: Task | None = None,
    models: str | Sequence[str] | None = None,
    penalty: str | Penalty = "L2",
    budget: float | None = None,
    seed: int = 0,
    folds: int = 5,
    header: bool | None = None,
    network: str | Network | Sequence[str | Network] | None = None,
    augmentation: str | Augmentation | Sequence[str | Augmentation] | None = None,
    epochs: int | None = None,
    size: int | None = None,
    verbose: bool = True,
) -> Comparison:
    """Score every candidate on the same folds of all the rows; nothing is refitted or tested.

    The arguments are those of `fit`.

    >>> compare("iris", models=["linear"], verbose=False).run["winner"]
    'CrossEntropy, linear'
    """
    question = Question.asked(
        *(metric, loss, task, models, penalty, seed, folds, None),
        network=network,
        augmentation=augmentation,
        epochs=epochs,
    )
    with Budget(budget) as watch:
        source = source_of(X, y, question, header, size)
        studied = study(source, question, watch, print if verbose else _silent)
    return Comparison(studied.record)


def source_of(
    X: Any, y: Any, question: Question, header: bool | None = None, size: int | None = None
) -> Table | Images:
    """The images that X and y mean if they can be nothing else or a network is named, or a table.

    Raises:
        ArgumentError: something is asked for that belongs to the other.
    """
    if question.networks is None and not holds_images(X):
        images_only = {
            "augmentation": question.augmentations,
            "epochs": question.epochs,
            "size": size,
        }
        for name, given in images_only.items():
            if given:
                raise ArgumentError(
                    f"{name} is for images; name a network (--network, network= in Python) if "
                    f"these are some"
                )
        return table_of(X, y, header)
    if question.models is not None:
        raise ArgumentError(
            f"models={question.models!r} are those of tables; name the networks for images with "
            f"--network (network= in Python)"
        )
    if isinstance(X, Images):
        return X
    if isinstance(X, (str, os.PathLike)):
        return read_images(X, target=y, size=size)
    return images_from_arrays(X, y)


def table_of(X: Any, y: Any, header: bool | None) -> Table:
    """The table that `X` and `y` mean.

    Raises:
        ArgumentError: X is a path or a name, and y is not the name of a column.
    """
    if not isinstance(X, (str, os.PathLike)):
        return from_arrays(X, y)
    if y is not None and not isinstance(y, str):
        raise ArgumentError("y must be the name of the target column when X is a path or a name")
    return read_table(X, y, header=header)


def _silent(line: str) -> None:
    """Say nothing."""
