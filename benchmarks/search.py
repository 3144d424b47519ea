"""64 settings of a network on 5 folds: minimand, scikit-learn, Optuna with PyTorch, Ray Tune.

    pip install -r benchmarks/search-requirements.txt
    python benchmarks/search.py [--growth] [engine ...]

Every engine has a process of its own and two cores; all that a user waits for after the imports
counts, compiling and starting workers included. `search.md` says what is measured and holds the
tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

SETTINGS, FOLDS, EPOCHS, HIDDEN, BATCH, CORES = 64, 5, 30, 128, 32, 2
GROWTH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
Setting = dict[str, float]
Folds = list[tuple[np.ndarray, np.ndarray]]


def settings(count: int = SETTINGS) -> list[Setting]:
    """Learning rates, L2 strengths and dropout shares; the same for everyone."""
    random = np.random.default_rng(0)
    return [
        {
            "rate": float(10 ** random.uniform(-4, -1)),
            "l2": float(10 ** random.uniform(-6, -2)),
            "dropout": float(random.uniform(0.05, 0.5)),
        }
        for _ in range(count)
    ]


def data() -> tuple[np.ndarray, np.ndarray, Folds]:
    """The digits of scikit-learn, scaled to [0, 1], and five stratified folds."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold

    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y)
    return (X / 16).astype(np.float32), y.astype(np.int64), list(folds)


def minimand(chosen: Sequence[Setting], width: int | None = None) -> np.ndarray:
    """All of it as members of one program, so many side by side on a core."""
    from minimand.data.splits import Fold
    from minimand.losses import CrossEntropy
    from minimand.metrics import Accuracy
    from minimand.networks import MLP
    from minimand.penalties import L2
    from minimand.training import Recipe
    from minimand.tuning import CrossValidation

    X, y, folds = data()
    images = X.reshape(-1, 8, 8)  # all pixels on one scale, as for everyone
    recipe = Recipe(
        MLP(hidden=(HIDDEN,), outputs=10, dropout=0.1),
        CrossEntropy(),
        penalty=L2(strength=1e-4),
        batch_size=BATCH,
        epochs=EPOCHS,
    )
    splits = [Fold(train, test) for train, test in folds]
    validated = CrossValidation(
        recipe, images, y, splits, Accuracy(), validation=0.0, jobs=CORES, width=width
    )
    begun = time.perf_counter()
    scores = validated(
        [
            {
                "optimizer.learning_rate": one["rate"],
                "penalty.strength": one["l2"],
                "network.dropout": one["dropout"],
            }
            for one in chosen
        ]
    )
    return done(begun, scores)


def scikit_learn(chosen: Sequence[Setting]) -> np.ndarray:
    """GridSearchCV of MLPClassifier, which has no dropout."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    os.environ["PYTHONWARNINGS"] = "ignore"
    X, y, folds = data()
    network = MLPClassifier((HIDDEN,), batch_size=BATCH, max_iter=EPOCHS, n_iter_no_change=EPOCHS)
    grid = [{"learning_rate_init": [one["rate"]], "alpha": [one["l2"]]} for one in chosen]
    search = GridSearchCV(network, grid, cv=folds, n_jobs=CORES, refit=False)
    begun = time.perf_counter()
    search.fit(X, y)
    return done(begun, [search.cv_results_[f"split{k}_test_score"] for k in range(FOLDS)], True)


def torch_fit(one: Setting, X: Any, y: Any, train: np.ndarray, test: np.ndarray) -> float:
    """The quickest plain loop: tensors sliced, fused Adam."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(one["dropout"]),
        torch.nn.Linear(HIDDEN, 10),
    )
    rule = torch.optim.Adam(net.parameters(), lr=one["rate"], weight_decay=one["l2"], fused=True)
    rows = torch.from_numpy(train)
    for _ in range(EPOCHS):
        for batch in rows[torch.randperm(len(rows))].split(BATCH):
            rule.zero_grad()
            cross_entropy(net(X[batch]), y[batch]).backward()
            rule.step()
    net.eval()
    with torch.no_grad():
        return float((net(X[test]).argmax(1) == y[test]).double().mean())


def torch_scores(one: Setting) -> list[float]:
    """The scores of a setting on all folds, on one core."""
    import torch

    torch.set_num_threads(1)
    X, y, folds = data()
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    return [torch_fit(one, X, y, train, test) for train, test in folds]


def optuna_worker(journal: str) -> None:
    """One of the processes that share a journal."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(journal))
    study = optuna.load_study(study_name="search", storage=storage)

    def objective(trial: Any) -> float:
        one = {
            "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True),
            "l2": trial.suggest_float("l2", 1e-6, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.05, 0.5),
        }
        scores = torch_scores(one)
        trial.set_user_attr("scores", scores)
        return float(np.mean(scores))

    from optuna.study import MaxTrialsCallback

    study.optimize(objective, callbacks=[MaxTrialsCallback(study.user_attrs["trials"])])


def optuna(chosen: Sequence[Setting]) -> np.ndarray:
    """Optuna, the loop above, and a process for each core."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        journal = os.path.join(folder, "journal.log")
        begun = time.perf_counter()
        study = optuna.create_study(
            study_name="search",
            direction="maximize",
            storage=JournalStorage(JournalFileBackend(journal)),
        )
        study.set_user_attr("trials", len(chosen))
        for one in chosen:
            study.enqueue_trial(one)
        worker = [sys.executable, __file__, "--worker", journal]
        for process in [subprocess.Popen(worker) for _ in range(CORES)]:
            if process.wait():
                raise RuntimeError("a worker of Optuna failed")
        return done(begun, [trial.user_attrs["scores"] for trial in study.trials])


def ray(chosen: Sequence[Setting]) -> np.ndarray:
    """Ray Tune and the same loop."""
    from ray import init, tune

    init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        analysis = tune.Tuner(
            tune.with_resources(lambda one: {"scores": torch_scores(one["setting"])}, {"cpu": 1}),
            param_space={"setting": tune.grid_search(list(chosen))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(verbose=0, storage_path=folder),
        ).fit()
        return done(begun, [result.metrics["scores"] for result in analysis])


def done(begun: float, scores: Any, folds_first: bool = False) -> np.ndarray:
    """Say how long it took and how good the best setting is."""
    seconds = time.perf_counter() - begun
    table = np.asarray(scores).T if folds_first else np.asarray(scores)
    print(json.dumps({"seconds": seconds, "best": float(np.nanmax(table.mean(axis=1)))}))
    return table


ENGINES: dict[str, Callable[[Sequence[Setting]], np.ndarray]] = {
    "minimand": minimand,
    "minimand, width 1": partial(minimand, width=1),
    "GridSearchCV(MLPClassifier)": scikit_learn,
    "Optuna, PyTorch": optuna,
    "Ray Tune, PyTorch": ray,
}


def measured(engine: str, count: int, cache: str) -> dict[str, float]:
    """One engine in a process of its own, with its programs kept in a folder."""
    command = [sys.executable, __file__, "--one", engine, "--count", str(count)]
    env = os.environ | {"MINIMAND_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, capture_output=True, text=True, env=env)
    if out.returncode:
        raise RuntimeError(f"{engine}: {out.stderr[-2000:]}")
    found: dict[str, float] = json.loads(out.stdout.splitlines()[-1])
    return found


def compare(engines: Sequence[str]) -> None:
    """The table of engines."""
    print("| engine | seconds | / minimand | µs a step of a run | best mean accuracy |")
    print("| --- | ---: | ---: | ---: | ---: |")
    steps = SETTINGS * FOLDS * EPOCHS * -(-1437 // BATCH)
    first = None
    for engine in engines:
        with tempfile.TemporaryDirectory() as cache:
            found = measured(engine, SETTINGS, cache)
        first = first or found["seconds"]
        print(
            f"| {engine} | {found['seconds']:.1f} | {found['seconds'] / first:.1f} | "
            f"{1e6 * found['seconds'] / steps:.1f} | {found['best']:.4f} |",
            flush=True,
        )


def growth() -> None:
    """How the time of minimand grows with the runs, and the share of it that compiling takes."""
    print("| settings | runs | cold s | kept programs s | runs a second | compiling |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for count in GROWTH:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (measured("minimand", count, cache)["seconds"] for _ in range(2))
        runs = count * FOLDS
        print(
            f"| {count} | {runs} | {cold:.2f} | {warm:.2f} | {runs / warm:.0f} | "
            f"{(cold - warm) / cold:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", help=", ".join(ENGINES))
    parser.add_argument("--growth", action="store_true", help="minimand alone, 1 to 512 settings")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=SETTINGS, help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        optuna_worker(asked.worker)
    elif asked.one:
        ENGINES[asked.one](settings(asked.count))
    else:
        print(
            f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}"
        )
        if asked.growth:
            growth()
        else:
            compare(asked.engines or list(ENGINES))
