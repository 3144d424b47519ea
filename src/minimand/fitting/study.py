"""A study: the data are prepared, and every candidate is scored on the same folds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import polars as pl

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data import (
    FeatureEncoder,
    Fold,
    Images,
    PixelEncoder,
    Table,
    TargetEncoder,
    Task,
    cross_validation,
    holdout,
    infer_task,
)
from minimand.errors import ArgumentError, DataError, MinimandError, SolverError
from minimand.fitting.bench import Bench, Constant, truth_of
from minimand.fitting.candidates import MODELS, Candidate
from minimand.fitting.eligible import eligible, requested
from minimand.fitting.question import Question
from minimand.fitting.record import Scored, record_of, scores_of, settings_of
from minimand.metrics import DEFAULT, Metric
from minimand.tuning import grid_search

Say = Callable[[str], None]
SEARCH_ALL_FOLDS = 5000
"""Up to so many rows, settings are searched on every fold; beyond, one fold tells them apart."""


@dataclass(frozen=True)
class Prepared:
    """What is judged, on what, and in words: how many rows are there for what."""

    features: FeatureEncoder | PixelEncoder
    bench: Bench
    candidates: Sequence[Candidate]
    size: str


@dataclass(frozen=True)
class Studied:
    """The prepared problem, the candidates ranked best first, and the record of it all."""

    source: Table | Images
    question: Question
    features: FeatureEncoder | PixelEncoder
    split: Fold
    bench: Bench
    ranked: Sequence[Scored]
    record: dict[str, Any]


def study(source: Table | Images, question: Question, watch: Budget, say: Say) -> Studied:
    """Prepare the data, score every candidate on the same folds, rank and compare them."""
    target, metric = source.target, question.metric
    if target is None:
        raise DataError(f"'{source.name}' has no labels to learn from; give each image its class")
    say(f"Read '{source.name}': {source.size}.")
    for note in source.notes:
        say(note)
    task, why = infer_task(target, question.task, _allowed(source, question))
    metric = metric or DEFAULT[task]
    wish = "greater" if metric.greater_is_better else "less"
    said = f"Target '{target.name}': {task}, {why.rstrip('.')}"
    say(f"{said}; metric {metric.name}, {wish} is better.")

    labels = TargetEncoder.fit(target, task)
    truth = truth_of(target, labels)
    split = _split(source, truth, task, question)
    prepare = _pictured if isinstance(source, Images) else _tabled
    prepared = prepare(source, target, truth, split, labels, metric, question)  # type: ignore[arg-type]
    features, bench = prepared.features, prepared.bench
    for note in features.notes:
        say(note)
    say(f"Set {len(split.test):,} rows aside for the test; {prepared.size}.")
    baseline = _baseline(bench)
    say(f"Baseline, always the {baseline['name']}: {metric.name} {baseline['mean']:.4g}.")
    ranked = _rank(_score_all(question, prepared.candidates, bench, watch, say))
    record = record_of(source, question, task, why, split, bench, features, baseline, ranked, watch)
    say(_verdict(record))
    return Studied(source, question, features, split, bench, ranked, record)


def _allowed(source: Table | Images, question: Question) -> Sequence[Task] | None:
    """The tasks that the metric serves; whole numbers and words beside images are classes."""
    if question.metric:
        return cast("Sequence[Task]", question.metric.card.tasks)
    classes = isinstance(source, Images) and not source.target.dtype.is_float()  # type: ignore[union-attr]
    return ("binary", "multiclass") if classes else None


def _tabled(
    table: Table,
    target: pl.Series,
    truth: Array,
    split: Fold,
    labels: TargetEncoder,
    metric: Metric,
    question: Question,
) -> Prepared:
    """A table: linear models first, which are quick, so that a short budget has an answer."""
    task, train = labels.task, split.train
    losses = requested(question.losses, task, target, truth) or eligible(task, metric)
    features = FeatureEncoder.fit(table.rows(train))
    folds = cross_validation(truth[train], task, question.folds, question.seed)
    X = features.transform(table.rows(train))
    bench = Bench(X, target[train], truth[train], labels, metric, folds, question.seed)
    found = [
        MODELS[model](loss, question.penalty)
        for model in question.models or MODELS
        for loss in losses
    ]
    size = f"{len(X):,} rows with {X.shape[1]} encoded columns to choose on, in {len(folds)} folds"
    return Prepared(features, bench, found, size)


def _pictured(
    images: Images,
    target: pl.Series,
    truth: Array,
    split: Fold,
    labels: TargetEncoder,
    metric: Metric,
    question: Question,
) -> Prepared:
    """Images: networks, and a part of the rows that all of them are judged on."""
    from minimand.fitting.pictures import candidates, default_losses, parts_of_validation

    task, train = labels.task, split.train
    losses = requested(question.losses, task, target, truth) or default_losses(task)
    folds = parts_of_validation(truth[train], task, question.seed)
    own = folds[0].train
    X = images.rows(train)
    features = PixelEncoder.fit(X[own])
    bench = Bench(X, target[train], truth[train], labels, metric, folds, question.seed)
    size = f"{len(own):,} images to train on and {len(X) - len(own):,} to choose by"
    return Prepared(features, bench, candidates(question, losses, features), size)


def _split(source: Table | Images, truth: Array, task: Task, question: Question) -> Fold:
    """The rows for the test: the source's own if it has any, else a part drawn by the seed."""
    everything = np.arange(len(truth))
    if source.test is not None:
        rest = np.setdiff1d(everything, source.test)
        return Fold(rest, source.test if question.test_size else np.arange(0))
    if question.test_size is None:
        return Fold(everything, np.arange(0))
    return holdout(truth, task, question.test_size, question.seed)


def _baseline(bench: Bench) -> dict[str, Any]:
    """The best constant, found on the training rows of each fold and scored on its test rows.

    Raises:
        DataError: the metric gives no number on some fold, so it cannot judge anything.
    """
    with np.errstate(over="ignore"):
        constants = [Constant.best(bench, f.train).predict(len(f.test)) for f in bench.folds]
        scores = np.array(
            [bench.score(c, f.test) for c, f in zip(constants, bench.folds, strict=True)]
        )
    if not np.all(np.isfinite(scores)):
        raise DataError(
            f"{bench.metric.name} gives no number on every fold: a class has too few rows, or the "
            f"target is too large; choose another metric, or divide the target"
        )
    named = Constant.best(bench, np.arange(len(bench.truth))).name
    return {"name": named} | scores_of(scores, bench)


def _score_all(
    question: Question, candidates: Sequence[Candidate], bench: Bench, watch: Budget, say: Say
) -> list[Scored]:
    """Every candidate in turn."""
    done: list[Scored] = []
    for candidate in candidates:
        done.append(_score(candidate, question, bench, watch, done))
        say(_line(done[-1], bench))
    if not any(one.searched for one in done):
        why = "; ".join(f"{one.candidate.name}: {one.reason}" for one in done)
        raise SolverError(f"no candidate could be scored ({why})")
    return done


def _score(
    candidate: Candidate, question: Question, bench: Bench, watch: Budget, done: Sequence[Scored]
) -> Scored:
    """Search the candidate's settings; the first one ever scored has one setting at least."""
    first = not any(one.searched for one in done)
    reason = candidate.obstacle(bench, asked=question.models is not None)
    if not reason and watch.spent() and not first:
        reason = f"not tried: {watch.reason}"
    if reason:
        return Scored(candidate, status="left out", reason=reason)
    folds = len(bench.folds)
    begun = time.perf_counter()

    def score(jobs: Sequence[tuple[Any, int]], budget: Budget = watch) -> list[float]:
        outcomes = candidate.run(bench, [(s, bench.folds[k]) for s, k in jobs], budget)
        tests = [bench.folds[k].test for _, k in jobs]
        return [
            bench.score(o.fitted.predict(bench.X[rows]), rows) if o.usable else np.nan
            for o, rows in zip(outcomes, tests, strict=True)
        ]

    try:
        settings = candidate.settings(bench)
        all_of_them = len(bench.X) <= SEARCH_ALL_FOLDS or len(settings) == 1
        searched_folds = folds if all_of_them else 1
        searched = grid_search(score, settings, folds, searched_folds)
        if first and watch.spent() and not np.all(np.isfinite(searched.scores)):
            middle = settings[len(settings) // 2]
            searched = grid_search(partial(score, budget=Budget()), [middle], folds, folds)
    except ArgumentError as error:
        return Scored(candidate, status="left out", reason=str(error))
    except MinimandError as error:
        return Scored(candidate, status="failed", reason=str(error))
    seconds = time.perf_counter() - begun
    if not np.all(np.isfinite(searched.scores)):
        reason = watch.reason or "no setting gave a finite score on every fold"
        return Scored(candidate, seconds, status="failed", reason=reason)
    return Scored(candidate, seconds, searched)


def _rank(done: Sequence[Scored]) -> list[Scored]:
    """Best mean score first; those without a score last."""
    return sorted(done, key=lambda one: -one.searched.scores.mean() if one.searched else np.inf)


def _line(one: Scored, bench: Bench) -> str:
    if not one.searched:
        return f"  {one.candidate.name}: {one.status} ({one.reason})."
    mean = bench.metric.sign * one.searched.scores.mean()
    settings = ", ".join(f"{k} {v}" for k, v in settings_of(one.searched).items())
    return (
        f"  {one.candidate.name}: {bench.metric.name} {mean:.4g} by "
        f"{one.candidate.method(bench)[0]}{settings and f' with {settings}'} ({one.seconds:.1f} s)."
    )


def _verdict(record: dict[str, Any]) -> str:
    tied = record["tied"]
    also = f"statistically tied with it: {'; '.join(tied)}" if tied else "no other is tied with it"
    others = f"; {also}" if record["runner_up"] else ""
    return f"Winner by {record['judged']}: {record['winner']}{others}."
