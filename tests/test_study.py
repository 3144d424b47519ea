"""Studies: nothing lost, nothing twice, whatever dies."""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy

from minimand.budget import Budget
from minimand.errors import ArgumentError, FileError, MinimandError, SolverError
from minimand.tuning import storage
from minimand.tuning.executors import EXECUTORS
from minimand.tuning.space import Choice, Float, Int, Setting, Space
from minimand.tuning.study import Study
from minimand.tuning.trial import Trial

LINE: Space = {"x": Float(-1.0, 1.0)}
MIXED: Space = {"x": Float(-1.0, 1.0), "kind": Choice("a", "b"), "n": Int(1, 9).when("kind", "b")}
STORAGES = ["study.db", "study.journal"]


@pytest.fixture(params=["study.db", "POSTGRESQL", "MYSQL"])
def place(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Where a study is kept: in a file, or under a name of its own on a server."""
    if request.param == "study.db":
        yield {"storage": "study.db", "name": "study"}
        return
    variable = f"MINIMAND_TEST_{request.param}_URL"
    if variable not in os.environ:
        pytest.skip(f"needs a database server; its URL goes into {variable}")
    found = {"storage": os.environ[variable], "name": uuid.uuid4().hex}
    yield found
    optuna.delete_study(study_name=found["name"], storage=storage.opened(found["storage"]))


def square(settings: Sequence[Setting]) -> list[float]:
    return [setting["x"] ** 2 for setting in settings]


def settings(study: Study) -> list[Setting]:
    return [trial.setting for trial in study.trials]


@pytest.mark.parametrize("storage", STORAGES)
def test_optuna_reads_the_same_from_the_storage(storage: str) -> None:
    study = Study(MIXED, storage=storage, name="mixed")
    study.run(square, 12)
    if storage.endswith(".db"):
        theirs = optuna.load_study(study_name="mixed", storage=f"sqlite:///{storage}")
    else:
        backend = optuna.storages.journal.JournalFileBackend(storage)
        journal = optuna.storages.JournalStorage(backend)
        theirs = optuna.load_study(study_name="mixed", storage=journal)
    assert [t.params for t in theirs.trials] == settings(study)
    assert [t.value for t in theirs.trials] == [trial.value for trial in study.trials]
    assert (theirs.best_value, theirs.best_params) == (study.best.value, study.best.setting)


def test_optunas_own_studies_can_go_on() -> None:
    theirs = optuna.create_study(storage="sqlite:///theirs.db", study_name="old")
    theirs.optimize(lambda trial: trial.suggest_float("x", -1.0, 1.0) ** 2, n_trials=4)
    study = Study(LINE, storage="theirs.db", name="old")
    study.run(square, 6)
    assert settings(study)[:4] == [t.params for t in theirs.trials[:4]]
    assert len(study.trials) == 6


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
def test_a_study_that_was_interrupted_goes_on_as_if_it_had_not_been(sampler: str) -> None:
    whole = Study(MIXED, sampler=sampler, seed=3)
    whole.run(square, 16)
    for trials in (5, 16):
        part = Study(MIXED, sampler=sampler, seed=3, storage=f"{sampler}.journal")
        part.run(square, trials)
        assert settings(part) == settings(whole)[:trials]
    other = Study(MIXED, sampler=sampler, seed=4)
    other.run(square, 16)
    assert settings(other) != settings(whole)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_grid_is_tried_once_and_ends(batch: int) -> None:
    study = Study({"n": Int(1, 3), "kind": Choice("a", "b")}, sampler="grid")
    study.run(lambda batch: [setting["n"] for setting in batch], 100, batch=batch)
    tried = sorted((s["n"], s["kind"]) for s in settings(study))
    assert tried == [(n, kind) for n in (1, 2, 3) for kind in "ab"]
    assert study.ask() == []


def test_a_grid_by_hand_with_imports_and_two_askers() -> None:
    study = Study({"n": Int(1, 4)}, sampler="grid", storage="study.db")
    study.add([Trial(0, {"n": 2}, np.array([5.0]))])
    other = Study({"n": Int(1, 4)}, sampler="grid", storage="study.db")
    asked = [one for each in (study, other, study) for one in each.ask()]
    points = Int(1, 4).grid(3)
    assert sorted([one.setting["n"] for one in asked] + [2]) == sorted({*points, 2})
    for one in asked:
        other.tell(one, 1.0)
    assert study.ask(5) == []


@pytest.mark.parametrize("storage", STORAGES)
def test_the_trial_of_a_dead_worker_is_run_again(storage: str) -> None:
    study = Study(MIXED, storage=storage)
    code = (
        "import os, sys; from test_study import MIXED; from minimand.tuning.study import Study\n"
        f"one, = Study(MIXED, storage={storage!r}).ask(); print(one.setting); os._exit(9)"
    )
    run = in_python(code)
    assert run.returncode == 9
    asked = study.ask(2)
    assert [one.number for one in asked] == [0, 1]
    assert str(asked[0].setting) == run.stdout.strip()


def test_the_trial_of_a_living_worker_is_left_alone(place: dict[str, str]) -> None:
    study, other = (Study(LINE, **place) for _ in range(2))
    assert [one.number for each in (study, other, study) for one in each.ask()] == [0, 1, 2]


def test_a_trial_that_another_has_just_taken_over_is_left_alone(place: dict[str, str]) -> None:
    study = Study(LINE, **place)
    study.ask()
    where, taken = study._ledger.storage, study.optuna.trials[0]._trial_id
    where.set_trial_user_attr(taken, "worker", f"{socket.gethostname()}:{2**31 - 1}")
    study._ledger.reclaim()
    where.set_trial_state_values(taken, optuna.trial.TrialState.RUNNING)  # and not yet signed
    assert [one.number for one in study.ask()] == [1]


def test_silence_from_another_machine_is_taken_for_death() -> None:
    study = Study(LINE, storage="study.db")
    where = optuna.load_study(study_name="study", storage="sqlite:///study.db")
    for number, seconds in enumerate((5, 500)):
        worker = f"elsewhere-{number}:1"
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, user_attrs={"worker": worker}
        )
        where.add_trial(trial)
        where.set_user_attr(f"alive {worker}", time.time() - seconds)
    assert [one.number for one in study.ask(2)] == [1, 2]


def test_a_setting_that_kills_every_worker_fails_in_the_end() -> None:
    study = Study(LINE, storage="study.db")
    where = optuna.storages.RDBStorage("sqlite:///study.db")
    for _ in range(6):
        (one,) = study.ask()
        assert (one.number, study.trials) == (0, [])
        where.set_trial_user_attr(1, "worker", f"{socket.gethostname()}:{2**31 - 1}")
    assert [one.number for one in study.ask()] == [1]
    assert study.trials[0].reason == "6 workers died at it"


def test_a_setting_that_is_handed_back_is_asked_for_again() -> None:
    study = Study(LINE)
    (one,) = study.ask()
    for _ in range(5):
        study.release(one)
        assert study.ask() == [one]


def test_what_is_told_first_stays(place: dict[str, str]) -> None:
    study, other = (Study(LINE, **place) for _ in range(2))
    (one,) = study.ask()
    study.tell(one, [1.0, 3.0])
    other.tell(one, [9.0])
    assert [trial.scores.tolist() for trial in study.trials] == [[1.0, 3.0]]


def test_a_long_curve_is_kept(place: dict[str, str]) -> None:
    study = Study(LINE, **place)
    curve = tuple((float(epoch), 1 / (epoch + 1)) for epoch in range(5_000))
    study.tell(study.ask()[0], 1.0, curve)
    assert Study(LINE, **place).trials[0].curve == curve


def test_what_is_told_is_what_is_read() -> None:
    study = Study(LINE, storage="study.db")
    done, pruned, failed = study.ask(3)
    study.tell(done, [1.0, math.inf], curve=[(1, 2.0), (2, math.nan)])
    study.tell(pruned, [4.0], curve=[(1, 3.0)], state="pruned", reason="behind")
    study.tell(failed, [4.0, math.nan])
    first, second, third = Study(LINE, storage="study.db").trials
    assert first.scores.tolist() == [1.0, math.inf]
    assert str(first.curve) == "((1.0, 2.0), (2.0, nan))"
    assert (second.state, second.reason, second.curve) == ("pruned", "behind", ((1.0, 3.0),))
    assert (third.state, third.reason) == ("failed", "1 of 2 scores are NaN")
    assert first.worker.endswith(f":{os.getpid()}")
    assert abs(first.started - time.time()) < 60
    assert 0 <= first.seconds < 60


def test_a_batch_that_raises_is_tried_one_by_one() -> None:
    def evaluate(batch: Sequence[Setting]) -> list[float]:
        if any(setting["n"] == 3 for setting in batch):
            raise OverflowError("three")
        return [setting["n"] for setting in batch]

    study = Study({"n": Choice(1, 2, 3, 4)}, sampler="grid")
    study.run(evaluate, 4, batch=4)
    states = {trial.setting["n"]: trial.state for trial in study.trials}
    assert states == {1: "done", 2: "done", 3: "failed", 4: "done"}


def test_the_budget_and_ctrl_c_end_a_run_and_keep_what_is_finished() -> None:
    def evaluate(batch: Sequence[Setting]) -> list[float]:
        if len(study.trials) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return square(batch)

    study = Study(LINE)
    study.run(evaluate, 100)
    assert len(study.trials) == 3
    with Budget(1e-9) as budget:
        study.run(square, 100, budget=budget)
    assert len(study.trials) == 3


def test_listeners_hear_of_every_trial_once() -> None:
    heard: list[int] = []
    study = Study(LINE)
    study.run(square, 3)
    study.run(square, 8, batch=2, listeners=[lambda study, trial: heard.append(trial.number)])
    assert heard == [3, 4, 5, 6, 7]


def test_a_choice_can_be_added_while_the_study_lives() -> None:
    old = Study({"x": Float(-1.0, 1.0), "kind": Choice("a", "b")}, storage="study.db")
    old.run(square, 4)
    (pending,) = old.ask()
    wider = {"x": Float(-2.0, 1.0), "kind": Choice("a", "b", "c")}
    new = Study(wider, storage="study.db")
    assert settings(new) == settings(old)[:4]
    old.tell(pending, 7.0)  # what was in hand arrives in the new study
    assert [trial.value for trial in new.trials][4:] == [7.0]
    with pytest.raises(ArgumentError, match="another space"):
        old.ask()
    new.run(square, 40)
    kinds = {setting["kind"] for setting in settings(new)}
    assert kinds == {"a", "b", "c"}
    assert min(setting["x"] for setting in settings(new)) < -1
    assert settings(Study(wider, storage="study.db")) == settings(new)
    kept = optuna.load_study(study_name="study", storage="sqlite:///study.db")
    assert len(kept.trials) == 5


def test_trials_outside_a_narrower_space_stay_in_the_old_study() -> None:
    old = Study(LINE, storage="study.db", sampler="sobol")
    old.run(square, 8)
    new = Study({"x": Float(0.0, 1.0)}, storage="study.db", sampler="sobol")
    inside = [setting for setting in settings(old) if setting["x"] >= 0]
    assert 0 < len(inside) < 8
    new.run(square, 8)
    assert settings(new)[: len(inside)] == inside
    assert len(new.trials) == 8


def test_imports_come_once_and_do_not_count() -> None:
    past = [Trial(n, {"x": n / 10}, np.array([n, n + 1.0])) for n in range(3)]
    study = Study(LINE)
    for _ in range(2):
        study.add(past)
    study.run(square, 4)
    assert [trial.scores.tolist() for trial in study.trials[:3]] == [[0, 1], [1, 2], [2, 3]]
    assert len(study.trials) == 3 + 4
    with pytest.raises(ArgumentError, match="x = 5 is outside"):
        study.add([Trial(0, {"x": 5}, np.array([1.0]))])


@pytest.mark.parametrize("storage", [None, *STORAGES])
def test_two_processes_make_exactly_as_many_trials_as_wanted(storage: str | None) -> None:
    study = Study(LINE, storage=storage, sampler="random")
    study.run(square, 10, batch=3, executor="processes", jobs=2)
    assert [trial.number for trial in study.trials] == list(range(10))
    alone = Study(LINE, sampler="random")
    alone.run(square, 10)
    assert settings(study) == settings(alone)


def test_a_worker_that_dies_is_replaced() -> None:
    here = Path.cwd()

    def evaluate(batch: Sequence[Setting]) -> list[float]:
        mark = here / "died"
        if batch[0]["n"] == 2 and not mark.exists():
            mark.touch()
            os._exit(1)
        return [setting["n"] for setting in batch]

    study = Study({"n": Choice(1, 2, 3)}, sampler="grid", storage="study.db")
    study.run(evaluate, 3, executor="processes", jobs=1)
    assert [(trial.setting["n"], trial.value) for trial in study.trials] == [(1, 1), (2, 2), (3, 3)]
    assert len({trial.worker for trial in study.trials}) == 2


def test_workers_that_cannot_work_are_an_error() -> None:
    with pytest.raises(SolverError, match="exit status 7"):
        Study(LINE).run(lambda batch: os._exit(7), 3, executor="processes", jobs=2)


HOST = """
import os, sys, time
from test_study import LINE
from minimand.tuning.study import Study

def evaluate(batch):
    open(f"worker-{os.getpid()}", "a").close()
    time.sleep(0.05)
    return [setting["x"] ** 2 for setting in batch]

study = Study(LINE, storage=sys.argv[1], name=sys.argv[2])
study.run(evaluate, 40, executor="processes", jobs=2)
"""


def test_ctrl_c_lets_the_workers_finish_what_they_have_in_hand() -> None:
    code = HOST.replace("0.05", "0.5")
    command = [sys.executable, "-c", code, "study.db", "study"]
    host = subprocess.Popen(command, env=environment(), start_new_session=True)
    while len(list(Path().glob("worker-*"))) < 2:
        assert host.poll() is None
        time.sleep(0.05)
    os.killpg(host.pid, signal.SIGINT)
    assert host.wait(20) == 0
    study = Study(LINE, storage="study.db")
    assert 2 <= len(study.trials) < 40
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in study.optuna.trials)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the workers in /proc")
def test_kill_9_loses_nothing_and_doubles_nothing(place: dict[str, str]) -> None:
    command = [sys.executable, "-c", HOST, *place.values()]
    victims = iter(["worker", "host", "worker"])
    victim = next(victims)
    while True:
        host = subprocess.Popen(command, env=environment())
        while host.poll() is None:
            alive = [p for p in Path().glob("worker-*") if Path("/proc", p.name[7:]).exists()]
            if alive and victim:
                time.sleep(0.3)
                os.kill(host.pid if victim == "host" else int(alive[0].name[7:]), signal.SIGKILL)
                for path in alive:
                    path.unlink()
                victim = next(victims, "")
            time.sleep(0.05)
        if host.returncode == 0:
            break
    study = Study(LINE, **place)
    assert not victim
    assert [trial.number for trial in study.trials] == list(range(40))
    assert {trial.state for trial in study.trials} == {"done"}
    assert len({trial.setting["x"] for trial in study.trials}) == 40


def test_sqlite_readers_do_not_block_writers() -> None:
    study = Study(LINE, storage="study.db")
    reader = sqlite3.connect("study.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trials").fetchall()
    study.run(square, 2)
    reader.close()
    assert len(study.trials) == 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_executor_refuses_nonsense(executor: str) -> None:
    with pytest.raises(ArgumentError, match="trials is 0"):
        Study(LINE).run(square, 0, executor=executor)


def test_ray_makes_as_many_trials_as_wanted() -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    study = Study(LINE, sampler="random")
    study.run(lambda batch: [setting["x"] for setting in batch], 6, executor="ray", jobs=2)
    ray.shutdown()
    alone = Study(LINE, sampler="random")
    alone.run(square, 6)
    assert settings(study) == settings(alone)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_asked_for_by_name() -> None:
    with pytest.raises(ArgumentError, match="needs the package ray"):
        Study(LINE, storage="study.db").run(square, 2, executor="ray")


@pytest.mark.parametrize("sampler", ["cma-es", optuna.samplers.CmaEsSampler])
def test_cma_es(sampler: Any) -> None:
    pytest.importorskip("cmaes")
    plane = {"x": Float(-1.0, 1.0), "y": Float(-1.0, 1.0)}
    study = Study(plane, sampler=sampler if isinstance(sampler, str) else sampler(seed=0))
    study.run(lambda batch: [s["x"] ** 2 + s["y"] ** 2 for s in batch], 60)
    assert study.best.value < 0.01


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Study(LINE, sampler="tpee"), ArgumentError, "did you mean 'tpe'"),
        (lambda: Study(LINE, sampler=3), TypeError, "sampler must be"),
        (lambda: Study(LINE, direction="minimise"), ArgumentError, "did you mean 'minimize'"),
        (lambda: Study(LINE, storage="no/such/study.db"), FileError, "cannot keep a study"),
        (lambda: Study(LINE, storage="no/such/study.log"), FileError, "cannot keep a study"),
        (lambda: Study(LINE, storage="text.db"), FileError, "file is not a database"),
        (lambda: Study(LINE, storage="nosuch://host/x"), ArgumentError, "cannot use the storage"),
        (lambda: Study(LINE, storage="sqlite:///no/x.db"), FileError, "cannot open the storage"),
        (lambda: Study(LINE).best, SolverError, "no trial of study 'study' is done"),
        (lambda: Study(LINE).tell(3, 1.0), ArgumentError, "has no trial 3"),
        (lambda: Study(LINE).queue([{"y": 1.0}]), ArgumentError, "lacks 'x'"),
        (lambda: Study(LINE).run(square, 1, executor="here", jobs=2), ArgumentError, "processes"),
        (lambda: Study(LINE).run(square, 1, executor="hear"), ArgumentError, "mean 'here'"),
        (lambda: Study(LINE, storage="down.db", direction="maximize"), ArgumentError, "minimize"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, kind: type[Exception], message: str) -> None:
    Path("text.db").write_text("no database " * 100)
    if "down.db" in str(make.__code__.co_consts):
        Study(LINE, storage="down.db")
    with pytest.raises(kind, match=message) as caught:
        make()
    assert isinstance(caught.value, MinimandError)


@pytest.mark.parametrize("sampler", ["gp", "cma-es"])
def test_a_missing_package_is_named(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="needs the package"):
        Study(LINE, sampler=sampler)


def environment() -> dict[str, str]:
    paths = [str(Path(__file__).parent), *sys.path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def in_python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)


def test_a_missing_driver_is_named_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ArgumentError, match=r"pip install 'minimand\[postgresql\]'") as raised:
        Study(LINE, storage="postgresql+psycopg://me:secret@127.0.0.1/trials")
    assert "me:***@127.0.0.1" in str(raised.value) and "secret" not in str(raised.value)


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_server_that_is_not_there_is_named_and_no_password(driver: str) -> None:
    pytest.importorskip(driver.partition("+")[2])
    with pytest.raises(FileError, match=r"cannot open the storage .*refused") as raised:
        Study(LINE, storage=f"{driver}://me:se/cret@127.0.0.1:1/trials")
    assert "me:***@127.0.0.1" in str(raised.value) and "cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://me:se@cr:et/@host/name", "mysql://me:***@host/name"),
        ("postgresql://host/name?user=me&password=a&port=1", "postgresql://host/name?user=me&password=***&port=1"),
        ("postgresql://me@host:5432/name", "postgresql://me@host:5432/name"),
        ("sqlite:///C:/me@home/study.db", "sqlite:///C:/me@home/study.db"),
    ],
)  # fmt: skip
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert storage.shown(url) == shown


def test_a_password_that_would_be_taken_for_the_host_is_refused() -> None:
    with pytest.raises(ArgumentError, match="%40") as raised:
        Study(LINE, storage="postgresql://me:se@cret@host/name")
    assert "cret" not in str(raised.value)


def test_a_server_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sqlalchemy.create_engine("sqlite:///later/study.db")
    storage._be_patient(engine, "later")
    monkeypatch.setattr(storage, "PATIENCE", 0.0)
    with pytest.raises(FileError, match=r"'later' is away .*unable to open"):
        engine.connect()
    monkeypatch.setattr(storage, "PATIENCE", 60.0)
    Timer(0.5, Path("later").mkdir).start()
    engine.connect().close()
    engine.dispose()
