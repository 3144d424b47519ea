"""A study survives kill -9: 200 trials on two workers, killed at 30 random instants.

Run: `python benchmarks/kill_study.py [--trials 200] [--kills 30] [--seed 0] [--storage study.db]`.
At each instant one of the host and its workers at work, drawn by chance, gets SIGKILL; a dead host
is started again. In the end there must be as many finished trials as were asked for, all with
different settings, none lost and none twice, and Optuna must read the same from the storage, which
may also be a journal (study.log) or the URL of a database. `search.md` has the outcomes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from minimand.tuning.space import Float
from minimand.tuning.study import Study

SPACE = {"x": Float(-1.0, 1.0), "y": Float(1e-4, 1.0, log=True)}
SECONDS = 0.3
"""What one evaluation takes."""


def open_study(folder: Path, storage: str) -> Study:
    """The study in the folder, or that of its name in a database."""
    place = storage if "://" in storage else folder / storage
    return Study(SPACE, storage=place, name=folder.name, sampler="tpe")


def host(folder: Path, storage: str, trials: int) -> None:
    """Run the study on two workers; every evaluation is written down."""

    def evaluate(settings: list[dict[str, float]]) -> list[float]:
        with open(folder / f"worker-{os.getpid()}", "a") as log:
            log.writelines(f"{s['x']}\n" for s in settings)
        time.sleep(SECONDS)
        return [s["x"] ** 2 + s["y"] for s in settings]

    open_study(folder, storage).run(evaluate, trials, executor="processes", jobs=2)


def torture(folder: Path, storage: str, trials: int, kills: int, seed: int) -> Counter[str]:
    """Run the host, with kills at random instants; what was killed."""
    chance, killed = random.Random(seed), Counter[str]()
    command = [sys.executable, __file__, "--host", str(folder), "--storage", storage]
    run = None
    while True:
        if run is None or run.poll() is not None:
            if run is not None and run.returncode == 0:
                return killed
            run = subprocess.Popen([*command, "--trials", str(trials)])
        time.sleep(chance.uniform(0.2, 3.0))
        logs = [int(path.name.partition("-")[2]) for path in folder.glob("worker-*")]
        workers = [worker for worker in logs if Path(f"/proc/{worker}").exists()]
        if killed.total() < kills and workers and run.poll() is None:
            victim = chance.choice([run.pid, *workers])
            os.kill(victim, signal.SIGKILL)
            killed["host" if victim == run.pid else "worker"] += 1


def main() -> None:
    """Kill, then count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", default="study.db", help="study.db, study.log or a URL")
    parser.add_argument("--host", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.host:
        host(given.host, given.storage, given.trials)
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killed = torture(folder, given.storage, given.trials, given.kills, given.seed)
        study = open_study(folder, given.storage)
        trials = study.trials
        logs = [path.read_text().split() for path in folder.glob("worker-*")]
        evaluations = Counter(x for log in logs for x in log)
        told = {str(trial.setting["x"]) for trial in trials}
        finished = sum(trial.state.is_finished() for trial in study.optuna.trials)
    print(f"{time.monotonic() - start:.0f} s; killed {dict(killed)}; {len(logs)} workers in all")
    print(f"evaluations begun: {evaluations.total()}, of {len(evaluations)} settings")
    checks = {
        f"{given.kills} kills happened": killed.total() == given.kills,
        f"{given.trials} trials finished": len(trials) == given.trials == finished,
        "all of them are done": all(trial.state == "done" for trial in trials),
        "numbers without a gap": [t.number for t in trials] == list(range(given.trials)),
        "all settings differ": len(told) == given.trials,
        "no setting that was begun is lost": set(evaluations) == told,
    }
    for check, passed in checks.items():
        print("yes" if passed else "NO ", check)
    sys.exit(not all(checks.values()))


if __name__ == "__main__":
    main()
