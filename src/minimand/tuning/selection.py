"""Which setting a search found, and how good it is: answers that the search has not flattered.

The best of many noisy scores overstates the truth, because it was chosen for being high. `select`
runs the finalists again with fresh seeds, chooses on all the evidence, and reports a score from
evidence that had no part in the choice. `nested` does the same for a whole search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from minimand.data.columns import plural
from minimand.data.splits import Fold, Indices
from minimand.errors import ArgumentError, ShapeError, SolverError
from minimand.tuning.interval import Interval, corrected_interval, half_widths, interval, overlap
from minimand.tuning.smoothing import smoothed
from minimand.tuning.space import Setting
from minimand.tuning.trial import Trial

FINALISTS = 5
SHOWN = 5
FRESH_SEEDS = (1, 2, 3, 4)
Direction = Literal["minimize", "maximize"]
Rerun = Callable[[Sequence[Setting], Sequence[int]], Sequence[Any]]
"""Settings and seeds in; the scores of each setting out, [seeds · folds], a seed's folds together.

The folds are those of the search, in its order, whatever the seed.
"""


def cross_fitted(scores: Any, before: Any = 0.0, eligible: Any = True) -> np.ndarray:
    """What each replicate says of the setting that the other replicates choose: [R].

    `scores: [settings, R]`, greater being better. `before: [settings]` are sums of further scores
    that take part in every choice; `eligible: [settings, R]` says who may be chosen without each
    replicate. No replicate scores a choice it took part in, so the mean does not flatter the
    search, whereas the greatest mean does.

    Source: the idea of Tibshirani and Tibshirani (2009), A bias correction for the minimum error
    rate in cross-validation, and of Tsamardinos, Greasidou and Borboudakis (2018), Bootstrapping
    the out-of-sample predictions for efficient and accurate cross-validation.

    >>> cross_fitted([[5.0, 1.0, 1.0], [2.0, 2.0, 2.0]])  # the greatest mean is 7/3
    array([2., 1., 1.])
    """
    table = np.asarray(scores, dtype=float)
    others = table.sum(axis=1, keepdims=True) - table + np.reshape(before, (-1, 1))
    chosen = np.where(eligible, others, -np.inf).argmax(axis=0)
    return np.asarray(table[chosen, np.arange(table.shape[1])])


def complexity(setting: Setting) -> tuple[float, float]:
    """How complex a setting is: first by the size of the network, then by how little restrains it.

    Numbers, and tuples of numbers, whose names speak of widths, depths, layers or units measure the
    size; those that speak of strengths, penalties, decay or dropout restrain.

    >>> complexity({"network.hidden": (64, 64)}) > complexity({"network.hidden": (32,)})
    True
    >>> complexity({"penalty.strength": 0.1}) < complexity({"penalty.strength": 0.01})
    True
    """
    size = restraint = 0.0
    for path, value in setting.items():
        name = path.rpartition(".")[2]
        numbers = [v for v in (value if isinstance(value, tuple | list) else [value])
                   if isinstance(v, int | float) and not isinstance(v, bool)]  # fmt: skip
        if not numbers:
            continue
        if any(word in name for word in _SIZES):
            size += math.log1p(max(sum(numbers), 0.0))
        elif any(word in name for word in _RESTRAINTS):
            restraint += math.log(max(sum(numbers), 1e-12))
    return size, -restraint


@dataclass(frozen=True)
class Selected:
    """The chosen trial, its score by evidence that did not choose it, and its rivals.

    `searched` is the best mean of the search, and `corrected` what is left of it without the luck
    of having been chosen (NaN if nothing can tell). `ties` cannot be told from the chosen trial at
    the 95 % level; `simpler` is the least complex finalist within one standard error of it, often
    itself. `finalists` stand in the order of `means`, which rest on all the evidence; they were
    run again with `seeds`.
    """

    trial: Trial
    score: Interval
    searched: float
    corrected: float
    ties: tuple[Trial, ...]
    simpler: Trial
    finalists: tuple[Trial, ...]
    means: np.ndarray
    tried: int
    seeds: tuple[int, ...]
    direction: Direction

    @property
    def setting(self) -> Setting:
        """The setting of the chosen trial."""
        return self.trial.setting

    @property
    def optimism(self) -> float:
        """By how much the best mean of the search is expected to be better than the truth."""
        excess = self.searched - self.corrected
        return excess if self.direction == "maximize" else -excess

    def summary(self) -> str:
        """The answer in a few lines of text."""
        again = f", {plural(len(self.finalists), 'finalist')} again with " \
                f"{plural(len(self.seeds), 'fresh seed')}" if self.seeds else ""  # fmt: skip
        lines = [
            f"chosen of {plural(self.tried, 'setting')}{again}: trial {self.trial.number}, "
            f"{_words(self.setting)}",
            f"score {self.score} (95 %, by runs that did not choose it)"
            if math.isfinite(self.score.high)
            else f"score {self.score} without an interval: a single run cannot judge its choice",
        ]
        if math.isfinite(self.corrected):
            verb = f"flatters by {self.optimism:.2g}" if self.optimism > 0 else "does not flatter"
            lines.append(
                f"the search's best value {self.searched:.4g} {verb}; "
                f"corrected, it is {self.corrected:.4g}"
            )
        if self.ties:
            numbers = ", ".join(str(trial.number) for trial in self.ties[:SHOWN])
            more = f" and {len(self.ties) - SHOWN} more" if len(self.ties) > SHOWN else ""
            lines.append(
                f"not distinguishable from it: {plural(len(self.ties), 'trial')}, {numbers}{more}"
            )
        if self.simpler is not self.trial:
            lines.append(
                f"simpler, within one standard error: trial {self.simpler.number}, "
                f"{_difference(self.simpler.setting, self.setting)}"
            )
        return "\n".join(lines)


def select(
    trials: Sequence[Trial],
    rerun: Rerun | None = None,
    *,
    direction: Direction = "minimize",
    folds: Sequence[Fold] = (),
    finalists: int = FINALISTS,
    seeds: Sequence[int] = FRESH_SEEDS,
    complexity: Callable[[Setting], Any] = complexity,
) -> Selected:
    """The best of the trials that are done, judged by evidence that did not choose it.

    The finalists are the greatest mean and those that paired differences cannot tell from it, at
    most `finalists` of them, in the order of their `smoothed` means. They run again with `seeds`,
    which must be new ones; the greatest mean of all their scores wins. Without folds, every fresh
    run scores the setting that all other runs choose. With folds, every fold scores the one that
    the other folds choose, among those that were the best without it (they are finalists too), so
    that not even the rows of the data flatter. Without `rerun`, the trials' own scores do all this.

    `trials` have scores [seeds · folds], a seed's folds together; those of one setting are
    averaged. A trial that is not done, or a finalist that failed again, is left out.

    Raises:
        ArgumentError: `finalists` or the seeds are none, or the direction is unknown.
        ShapeError: the scores do not fit together.
        SolverError: no trial is done, or every finalist failed.

    Source: Nadeau and Bengio (2003) for the intervals; Breiman et al. (1984), Classification and
    regression trees, section 3.4.3, for the standard error's rule.

    >>> trials = [Trial(0, {"a": 1}, np.array([0.9])), Trial(1, {"a": 2}, np.array([0.8]))]
    >>> def rerun(settings, seeds):
    ...     return [[0.5, 0.7, 0.6] for _ in settings]
    >>> print(select(trials, rerun, direction="maximize", seeds=[1, 2, 3]).summary())
    chosen of 2 settings, 2 finalists again with 3 fresh seeds: trial 0, a = 1
    score 0.6 ± 0.39 (95 %, by runs that did not choose it)
    the search's best value 0.9 flatters by 0.3; corrected, it is 0.6
    not distinguishable from it: 1 trial, 1
    """
    if direction not in ("minimize", "maximize"):
        raise ArgumentError(f"direction is '{direction}'; it must be 'minimize' or 'maximize'")
    if finalists < 1 or not seeds:
        raise ArgumentError(f"finalists is {finalists} and seeds is {seeds}; give at least 1 each")
    folds = folds if len(folds) > 1 else ()
    parts, share = max(len(folds), 1), overlap(folds)
    sign = 1.0 if direction == "maximize" else -1.0
    standing, scores = _standing(trials, parts)
    searched = sign * scores
    units = _units(searched)
    best = int(units.mean(axis=1).argmax())

    settings = [trial.setting for trial in standing]
    views = [_contenders(settings, units, share)]
    if rerun is None:
        order, fresh = views[0], np.empty((len(views[0]), 0, parts))
    else:
        if folds:
            others = [np.delete(units, part, axis=1) for part in range(parts)]
            views += [_contenders(settings, rest, share) for rest in others]
        depth = _depth(views, finalists)
        order = np.unique(np.concatenate([view[:depth] for view in views]))
        again = rerun([settings[i] for i in order], tuple(seeds))
        fresh = sign * _scores(again, len(order), parts)
        usable = np.isfinite(fresh).all(axis=(1, 2))
        if not usable.any():
            raise SolverError("every finalist failed when it ran again; look at their reasons")
        order, fresh = order[usable], fresh[usable]
    evidence = _units(np.concatenate([searched[order], fresh], axis=1))
    ranked = np.argsort(-evidence.mean(axis=1), kind="stable")
    order, evidence, fresh = order[ranked], evidence[ranked], fresh[ranked]

    if not fresh.size:
        held = truth = cross_fitted(units)
    elif folds:
        eligible = np.stack([np.isin(order, view[:depth]) for view in views[1:]], axis=1)
        eligible[:, ~eligible.any(axis=0)] = True
        held, truth = cross_fitted(evidence, eligible=eligible), cross_fitted(units)
    else:
        held = cross_fitted(_units(fresh), before=searched[order].sum(axis=(1, 2)))
        truth = fresh[order == best]
    known = truth.size and (fresh.size or units.shape[1] > 1)
    chosen_by_others = 1 / (held.size - 1) if held.size > 1 and len(order) > 1 else 0.0
    level = evidence[0].mean() - _standard_error(evidence[0])
    within = [standing[i] for i in order[evidence.mean(axis=1) >= level]]
    equal = order[1:][~_worse(evidence[0] - evidence[1:], share)]
    return Selected(
        trial=standing[order[0]],
        score=interval(sign * held, share or chosen_by_others),
        searched=float(sign * units[best].mean()),
        corrected=float(sign * truth.mean()) if known else math.nan,
        ties=tuple(standing[i] for i in equal),
        simpler=min(within, key=lambda trial: complexity(trial.setting)),
        finalists=tuple(standing[i] for i in order),
        means=sign * evidence.mean(axis=1),
        tried=len(standing),
        seeds=tuple(seeds) if rerun is not None else (),
        direction=direction,
    )


@dataclass(frozen=True)
class Nested:
    """What each outer fold's search chose, and its score on rows that the search never saw."""

    settings: tuple[Setting, ...]
    scores: np.ndarray
    score: Interval

    def summary(self) -> str:
        """The answer in a few lines of text."""
        lines = [f"score {self.score} (95 %) of the whole search on rows it never saw, by "
                 f"{plural(len(self.scores), 'outer fold')}"]  # fmt: skip
        for number, (setting, score) in enumerate(zip(self.settings, self.scores, strict=True), 1):
            lines.append(f"fold {number}: {score:.4g} with {_words(setting)}")
        return "\n".join(lines)


def nested(
    search: Callable[[Indices], Setting],
    score: Callable[[Setting, Fold], float],
    outer: Sequence[Fold],
) -> Nested:
    """Cross-validate a search: what it chooses on training rows is scored on rows it never saw.

    `search` takes the numbers of the rows it may use and returns a setting; `score` trains that
    setting on `fold.train` and scores it on `fold.test`.

    Raises:
        ArgumentError: there is no outer fold.

    Source: Varma and Simon (2006), Bias in error estimation when using cross-validation for model
    selection.

    >>> y, rows = np.array([1.0, 2.0, 6.0, 3.0]), np.arange(4)
    >>> halves = [Fold(rows[:2], rows[2:]), Fold(rows[2:], rows[:2])]
    >>> found = nested(
    ...     lambda rows: {"constant": y[rows].mean()},
    ...     lambda setting, fold: float(np.abs(y[fold.test] - setting["constant"]).mean()),
    ...     halves,
    ... )
    >>> found.scores
    array([3., 3.])
    """
    if not outer:
        raise ArgumentError("outer has no folds; give at least 2")
    settings = tuple(search(fold.train) for fold in outer)
    scores = np.array(
        [score(s, fold) for s, fold in zip(settings, outer, strict=True)], dtype=float
    )
    return Nested(settings, scores, corrected_interval(scores, outer))


_SIZES = ("hidden", "width", "depth", "layer", "unit", "size_of", "channel", "rank", "degree")
_RESTRAINTS = ("strength", "penalty", "decay", "dropout", "l1", "l2", "alpha")


def _standing(trials: Sequence[Trial], parts: int) -> tuple[list[Trial], np.ndarray]:
    """The trials that are done, one a setting, and their scores [settings, seeds, folds]."""
    done = [t for t in trials if t.state == "done" and np.isfinite(t.scores).all()]
    if not done:
        why = next((trial.reason for trial in trials if trial.reason), "there are none yet")
        raise SolverError(f"none of {plural(len(trials), 'trial')} is done: {why}")
    scores = _scores([trial.scores for trial in done], len(done), parts)
    same: dict[Any, list[int]] = {}
    for index, trial in enumerate(done):
        key = tuple(sorted((name, repr(value)) for name, value in trial.setting.items()))
        same.setdefault(key, []).append(index)
    return [done[i[0]] for i in same.values()], np.array(
        [scores[i].mean(axis=0) for i in same.values()]
    )


def _scores(rows: Sequence[Any], count: int, parts: int) -> np.ndarray:
    """[settings, seeds, folds], checked."""
    sizes = sorted({np.size(row) for row in rows})
    if len(rows) != count or len(sizes) != 1 or not sizes[0] or sizes[0] % parts:
        raise ShapeError(
            f"{plural(len(rows), 'setting')} came with {sizes} scores; {count} are needed, with "
            f"equally many scores each, a multiple of {plural(parts, 'fold')}"
        )
    return np.array([np.ravel(row) for row in rows], dtype=float).reshape(count, -1, parts)


def _units(scores: np.ndarray) -> np.ndarray:
    """What is compared, [settings, replicates]: means of folds over seeds, or else single runs."""
    return np.asarray(scores.mean(axis=1) if scores.shape[2] > 1 else scores[:, :, 0])


def _contenders(settings: Sequence[Setting], units: np.ndarray, share: float) -> np.ndarray:
    """The greatest mean, then those not distinguishable from it, by what their neighbours say."""
    means = units.mean(axis=1)
    best = int(means.argmax())
    near = np.flatnonzero(~_worse(units[best] - units, share))
    likely = smoothed(settings, means)
    likely[best] = np.inf
    return near[np.argsort(-likely[near], kind="stable")]


def _depth(views: Sequence[np.ndarray], limit: int) -> int:
    """How many of each view may be taken so that at most `limit` differ; at least 1."""
    depths = range(1, limit + 1)
    return max(
        [1, *(d for d in depths if np.unique(np.concatenate([v[:d] for v in views])).size <= limit)]
    )


def _standard_error(scores: np.ndarray) -> float:
    return float(scores.std(ddof=1) / math.sqrt(scores.size)) if scores.size > 1 else 0.0


def _worse(differences: np.ndarray, share: float) -> np.ndarray:
    """Whether a mean difference lies beyond its interval: [settings] of [settings, replicates]."""
    return np.asarray(differences.mean(axis=-1) > half_widths(differences, share))


def _words(setting: Setting) -> str:
    return ", ".join(f"{name} = {_short(setting[name])}" for name in sorted(setting))


def _difference(setting: Setting, other: Setting) -> str:
    """What one setting has instead of another."""
    return ", ".join(
        f"{name} = {_short(setting.get(name))} instead of {_short(other.get(name))}"
        for name in sorted({*setting, *other})
        if setting.get(name) != other.get(name)
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
