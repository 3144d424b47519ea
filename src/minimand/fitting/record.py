"""The record of a study: what run.json holds of it, as plain JSON."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from minimand.arrays import Array
from minimand.budget import Budget
from minimand.data import FeatureEncoder, Fold, Images, PixelEncoder, Table, Task
from minimand.fitting.bench import Bench
from minimand.fitting.candidates import Candidate
from minimand.fitting.question import Question
from minimand.penalties import Penalty
from minimand.tuning import Searched
from minimand.tuning.interval import Interval, corrected_interval


@dataclass(frozen=True)
class Scored:
    """A candidate and how its search went; without scores there is a reason."""

    candidate: Candidate
    seconds: float = 0.0
    searched: Searched | None = None
    status: str = "scored"
    reason: str = ""


def record_of(
    source: Table | Images,
    question: Question,
    task: Task,
    why: str,
    split: Fold,
    bench: Bench,
    features: FeatureEncoder | PixelEncoder,
    baseline: dict[str, Any],
    ranked: Sequence[Scored],
    watch: Budget,
) -> dict[str, Any]:
    """What run.json holds of the study."""
    best = ranked[0].searched
    assert best is not None and source.target is not None
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
            "name": source.name,
            "rows": len(source.target),
            "columns": source.width,
            "target": source.target.name,
            "fingerprint": source.fingerprint,
            "task": task,
            "why_task": why,
            "classes": list(classes) or None,
            "rarest_share": float(shares.min()),
            "notes": [*source.notes, *features.notes],
            "rows_train": len(split.train),
            "rows_test": len(split.test),
            "features": math.prod(bench.X.shape[1:]),
            "shape": list(source.shape) if isinstance(source, Images) else None,
        },
        "judged": "validation" if isinstance(source, Images) else "cross-validation",
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
    described |= {"method": method, "why": why, "settings": settings_of(one.searched)}
    described |= {"edges": _edges(one.searched)} | scores_of(one.searched.scores, bench)
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


def scores_of(scores: Array, bench: Bench) -> dict[str, Any]:
    """Scores in the metric's own sign, with their mean and its interval, where a score can be."""
    span: Interval = corrected_interval(bench.metric.sign * scores, bench.folds)
    low, high = np.clip((span.low, span.high), *bench.metric.range).tolist()
    return {
        "scores": [float(s) for s in bench.metric.sign * scores],
        "mean": span.mean,
        "low": low,
        "high": high,
    }


def settings_of(searched: Searched) -> dict[str, Any]:
    """The chosen setting, with components written out in full."""
    return {k: v if isinstance(v, float) else repr(v) for k, v in searched.setting.items()}


def _edges(searched: Searched) -> dict[str, str]:
    """The settings whose best value is the last one tried and clearly beats all others.

    Clearly: by more than a standard error of the fold scores. A weak penalty is no edge.
    """
    edges = {}
    for name, chosen in searched.setting.items():
        error = np.std(searched.scores, ddof=1) / np.sqrt(len(searched.scores))
        value = _number(chosen)
        means = {_number(setting[name]): -np.inf for setting, _ in searched.tried}
        for setting, mean in searched.tried:
            means[_number(setting[name])] = max(means[_number(setting[name])], mean)
        others = [mean for other, mean in means.items() if other != value]
        if not others or means[value] - max(others) <= error:
            continue
        if value == max(means):
            edges[name] = "largest"
        elif value == min(means) and not isinstance(chosen, Penalty):
            edges[name] = "smallest"
    return edges


def _number(value: Any) -> float:
    return float(getattr(value, "strength", value))


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "scikit-learn", "jax", "optax", "flax", "polars")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
