"""A study: a table is prepared, and every candidate is scored on the same folds."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data import (
    FeatureEncoder,
    Fold,
    Table,
    TargetEncoder,
    Task,
    cross_validation,
    holdout,
    infer_task,
)
from minimand.errors import ArgumentError, SolverError, unknown
from minimand.fitting.bench import Bench, Constant, truth_of
from minimand.fitting.candidates import Affine, Candidate, Perceptrons
from minimand.fitting.eligible import eligible, requested
from minimand.fitting.selection import Interval, corrected_interval
from minimand.losses import Loss
from minimand.metrics import DEFAULT, Metric
from minimand.penalties import Penalty
from minimand.tuning import Searched, grid_search

Say = Callable[[str], None]
MODELS: dict[str, type[Candidate]] = {"linear": Affine, "mlp": Perceptrons}
SEARCH_ALL_FOLDS = 5000
"""Up to so many rows, settings are searched on every fold; beyond, one fold tells them apart."""


@dataclass(frozen=True)
class Question:
    """What is asked beside the data; the fields are the arguments of `fit`."""

    metric: Metric | None
    losses: Sequence[Loss] | None
    task: Task | None
    models: Sequence[str] | None
    penalty: Penalty
    seed: int
    folds: int
    test_size: float
    command: str

    @classmethod
    def asked(
        cls,
        metric: str | Metric | None,
        loss: str | Loss | Sequence[str | Loss] | None,
        task: Task | None,
        models: Sequence[str] | None,
        penalty: str | Penalty,
        seed: int,
        folds: int,
        test_size: float,
        command: str = "",
    ) -> Question:
        """The question as callers write it: names stand for components."""
        losses = None
        if loss:
            several = [loss] if isinstance(loss, (str, Loss)) else loss
            losses = [one if isinstance(one, Loss) else Loss.parse(one) for one in several]
        for model in models or ():
            if model not in MODELS:
                raise unknown("model", model, MODELS)
        if isinstance(metric, str):
            metric = Metric.parse(metric)
        if isinstance(penalty, str):
            penalty = Penalty.parse(penalty)
        if folds < 2 or not 0 <= test_size < 1:
            raise ArgumentError(
                f"folds is {folds} and test_size {test_size}; they must be ≥ 2 and in [0, 1)"
            )
        named = {"metric": metric, "loss": losses and [str(one) for one in losses], "task": task}
        shown = [f"{k}={str(v)!r}" for k, v in named.items() if v]
        command = command or f"minimand.fit(X, y, {', '.join([*shown, f'seed={seed}'])})"
        return cls(metric, losses, task, models, penalty, seed, folds, test_size, command)


@dataclass(frozen=True)
class Scored:
    """A candidate and how its search went; without scores there is a reason."""

    candidate: Candidate
    seconds: float = 0.0
    searched: Searched | None = None
    status: str = "scored"
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """The prepared problem, the candidates ranked best first, and the record of it all."""

    table: Table
    question: Question
    features: FeatureEncoder
    split: Fold
    bench: Bench
    ranked: Sequence[Scored]
    record: dict[str, Any]


def study(table: Table, question: Question, watch: Budget, say: Say) -> Study:
    """Prepare the table, score every candidate on the same folds, rank and compare them."""
    assert table.target is not None
    target, metric = table.target, question.metric
    say(f"Read '{table.name}': {len(target):,} rows, {table.frame.width} columns of features.")
    for note in table.notes:
        say(note)
    task, why = infer_task(target, question.task, metric and metric.card.tasks)
    metric = metric or DEFAULT[task]
    wish = "greater" if metric.greater_is_better else "less"
    say(f"Target '{target.name}': {task}, {why.rstrip('.')}; metric {metric.name}, {wish} is better.")

    labels = TargetEncoder.fit(target, task)
    truth = truth_of(target, labels)
    losses = requested(question.losses, task, target, truth) if question.losses else None
    losses = losses or eligible(task, metric)
    split = _split(truth, task, question)
    features = FeatureEncoder.fit(table.frame[split.train])
    bench = Bench(
        features.transform(table.frame[split.train]),
        target[split.train],
        truth[split.train],
        labels,
        metric,
        cross_validation(truth[split.train], task, question.folds, question.seed),
        question.seed,
    )
    for note in features.notes:
        say(note)
    say(
        f"Set {len(split.test):,} rows aside for the test; {len(split.train):,} rows with "
        f"{bench.X.shape[1]} encoded columns to choose on, in {len(bench.folds)} folds."
    )
    baseline = _baseline(bench)
    say(f"Baseline, always the {baseline['name']}: {metric.name} {baseline['mean']:.4g}.")
    ranked = _rank(_score_all(question, losses, bench, watch, say))
    record = _record(table, question, task, why, split, bench, features, baseline, ranked, watch)
    say(_verdict(record))
    return Study(table, question, features, split, bench, ranked, record)


def _split(truth: Array, task: Task, question: Question) -> Fold:
    if question.test_size == 0:
        return Fold(np.arange(len(truth)), np.arange(0))
    return holdout(truth, task, question.test_size, question.seed)


def _baseline(bench: Bench) -> dict[str, Any]:
    """The best constant, found on the training rows of each fold and scored on its test rows."""
    scores = np.array(
        [
            bench.score(Constant.best(bench, fold.train).predict(len(fold.test)), fold.test)
            for fold in bench.folds
        ]
    )
    named = Constant.best(bench, np.arange(len(bench.truth))).name
    return {"name": named} | _scores(scores, bench)


def _score_all(
    question: Question, losses: Sequence[Loss], bench: Bench, watch: Budget, say: Say
) -> list[Scored]:
    """Linear candidates first: they are quick, so a short budget still has an answer."""
    done: list[Scored] = []
    for model in question.models or MODELS:
        for loss in losses:
            candidate = MODELS[model](loss, question.penalty)
            done.append(_score(candidate, question, bench, watch, done))
            say(_line(done[-1], bench))
    if not any(one.searched for one in done):
        why = "; ".join(f"{one.candidate.name}: {one.reason}" for one in done)
        raise SolverError(f"no candidate could be scored ({why})")
    return done


def _score(
    candidate: Candidate, question: Question, bench: Bench, watch: Budget, done: Sequence[Scored]
) -> Scored:
    """Search the candidate's settings; the first candidate ever scored ignores the budget."""
    reason = candidate.obstacle(bench, asked=question.models is not None)
    if not reason and watch.spent() and any(one.searched for one in done):
        reason = f"not tried: {watch.reason}"
    if reason:
        return Scored(candidate, status="left out", reason=reason)
    budget = watch if any(one.searched for one in done) else Budget()
    folds = len(bench.folds)
    begun = time.perf_counter()

    def score(jobs: Sequence[tuple[Any, int]]) -> list[float]:
        outcomes = candidate.run(bench, [(s, bench.folds[k]) for s, k in jobs], budget)
        tests = [bench.folds[k].test for _, k in jobs]
        return [
            bench.score(o.fitted.predict(bench.X[rows]), rows) if o.usable else np.nan
            for o, rows in zip(outcomes, tests, strict=True)
        ]

    searched_folds = folds if len(bench.X) <= SEARCH_ALL_FOLDS else 1
    try:
        searched = grid_search(score, candidate.settings(bench), folds, searched_folds)
    except ArgumentError as error:
        return Scored(candidate, status="left out", reason=str(error))
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
    settings = ", ".join(f"{k} {v}" for k, v in _settings(one.searched).items())
    return (
        f"  {one.candidate.name}: {bench.metric.name} {mean:.4g} by "
        f"{one.candidate.method(bench)[0]} with {settings} ({one.seconds:.1f} s)."
    )


def _verdict(record: dict[str, Any]) -> str:
    tied = record["tied"]
    also = f"statistically tied with it: {', '.join(tied)}" if tied else "no other is tied with it"
    return f"Winner by cross-validation: {record['winner']}; {also}."


def _record(
    table: Table,
    question: Question,
    task: Task,
    why: str,
    split: Fold,
    bench: Bench,
    features: FeatureEncoder,
    baseline: dict[str, Any],
    ranked: Sequence[Scored],
    watch: Budget,
) -> dict[str, Any]:
    """What run.json holds of the study."""
    best = ranked[0].searched
    assert best is not None and table.target is not None
    candidates = [_candidate(one, best, bench) for one in ranked]
    scored = [c for c in candidates if c["status"] == "scored"]
    classes = bench.labels.classes
    shares = np.bincount(bench.truth) / len(bench.truth) if classes else np.ones(1)
    return {
        "format": 1,
        "minimand": version("minimand"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": question.command,
        "seed": question.seed,
        "seconds": round(watch.elapsed(), 3),
        "data": {
            "name": table.name,
            "rows": len(table.target),
            "columns": table.frame.width,
            "target": table.target.name,
            "fingerprint": table.fingerprint,
            "task": task,
            "why_task": why,
            "classes": list(classes) or None,
            "rarest_share": float(shares.min()),
            "notes": [*table.notes, *features.notes],
            "rows_train": len(split.train),
            "rows_test": len(split.test),
            "features": bench.X.shape[1],
        },
        "metric": {
            "name": bench.metric.name,
            "greater_is_better": bench.metric.greater_is_better,
        },
        "baseline": baseline,
        "candidates": candidates,
        "winner": candidates[0]["name"],
        "runner_up": scored[1]["name"] if len(scored) > 1 else None,
        "tied": [c["name"] for c in scored[1:] if c["versus_winner"]["tied"]],
        "stopped": watch.reason,
        "versions": _versions(),
    }


def _candidate(one: Scored, best: Searched, bench: Bench) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": one.candidate.name,
        "loss": str(one.candidate.loss),
        "model": one.candidate.model,
        "method": "",
        "why": "",
        "settings": {},
        "edges": {},
        "scores": [],
        "mean": None,
        "low": None,
        "high": None,
        "versus_winner": None,
        "seconds": round(one.seconds, 3),
        "status": one.status,
        "reason": one.reason,
    }
    if not one.searched:
        return described
    method, why = one.candidate.method(bench)
    described |= {"method": method, "why": why, "settings": _settings(one.searched)}
    described |= {"edges": _edges(one.searched)} | _scores(one.searched.scores, bench)
    if one.searched is not best:
        difference = bench.metric.sign * (one.searched.scores - best.scores)
        span = corrected_interval(difference, bench.folds)
        described["versus_winner"] = {
            "difference": span.mean,
            "low": span.low,
            "high": span.high,
            "tied": span.low <= 0 <= span.high,
        }
    return described


def _scores(scores: Array, bench: Bench) -> dict[str, Any]:
    """Scores in the metric's own sign, with their mean and its interval."""
    span: Interval = corrected_interval(bench.metric.sign * scores, bench.folds)
    return {
        "scores": [float(s) for s in bench.metric.sign * scores],
        "mean": span.mean,
        "low": span.low,
        "high": span.high,
    }


def _settings(searched: Searched) -> dict[str, Any]:
    return {k: v if isinstance(v, float) else str(v) for k, v in searched.setting.items()}


def _edges(searched: Searched) -> dict[str, str]:
    """The settings whose best value is the last one tried (a weak penalty is no edge)."""
    edges = {}
    for name, chosen in searched.setting.items():
        value, tried = _number(chosen), [_number(setting[name]) for setting, _ in searched.tried]
        if len(set(tried)) > 1 and value == max(tried):
            edges[name] = "largest"
        elif len(set(tried)) > 1 and value == min(tried) and not isinstance(chosen, Penalty):
            edges[name] = "smallest"
    return edges


def _number(value: Any) -> float:
    return float(getattr(value, "strength", value))


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "scikit-learn", "jax", "optax", "flax", "polars")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
