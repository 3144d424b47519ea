"""The command line: bad input is one sentence and exit status 2; runs are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
import pytest

import minimand as package
from minimand import cli

LINEAR = ("--model", "linear")


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def minimand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`minimand("fit", "iris")` runs the command in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["minimand", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def refused(minimand: Command) -> Callable[..., str]:
    """Run a command that must fail with one sentence and leave the disk as it was."""

    def run(*arguments: object) -> str:
        before = listing()
        ran = minimand(*arguments)
        assert_refused(ran)
        assert "Refitted" not in ran.out  # found before the work, not after it
        assert listing() == before
        return ran.err

    return run


def assert_refused(ran: Ran) -> None:
    assert ran.status == 2
    assert re.fullmatch(r"minimand: [^\n]+\n", ran.err), ran.err
    assert "Traceback" not in ran.out + ran.err


def listing() -> dict[str, bytes]:
    files = (p for p in Path().rglob("*") if p.is_file())
    folders = {str(p): b"" for p in Path().rglob("*") if p.is_dir()}
    return folders | {str(p): p.read_bytes() for p in files}


def process(*arguments: str, code: str = "", **more: Any) -> subprocess.Popen[str]:
    """The command in a process of its own; `code` runs in it beforehand."""
    start = f"{code}\nfrom minimand.cli import main\nmain()"
    command = [sys.executable, "-u", "-c", start, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **more)


def finished(process: subprocess.Popen[str]) -> Ran:
    out, err = process.communicate(timeout=110)
    return Ran(process.returncode, out, err)


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def numbers(rows: int = 60) -> pl.DataFrame:
    """Two features, and a target that depends on the first."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, rows)).round(3)
    return pl.DataFrame({"a": a, "b": b, "target": (2 * a + 0.1 * b + 5).round(3)})


def csv(name: str = "table.csv", rows: int = 60, **columns: Any) -> str:
    """`numbers` with some columns replaced or added, as a file."""
    numbers(rows).with_columns(**{k: pl.Series(v) for k, v in columns.items()}).write_csv(name)
    return name


def strict_json(path: Path) -> Any:
    def refuse(token: str) -> NoReturn:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def iris_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory; tests copy it before they harm it."""
    folder = tmp_path_factory.mktemp("iris") / "run"
    package.fit("iris", models="linear", out=folder, verbose=False)
    return folder


# Bad input to fit


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_a_missing_file(refused: Callable[..., str], command: str) -> None:
    assert "there is no file 'none.csv'" in refused(command, "none.csv", "--target", "y")


def test_a_missing_file_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "minimand", "fit", "none.csv", "--target", "y"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert_refused(Ran(ended.returncode, ended.stdout, ended.stderr))
    assert not list(Path().iterdir())


def test_an_unknown_target_and_the_nearest_column(refused: Callable[..., str]) -> None:
    said = refused("fit", csv(), "--target", "tarjet")
    assert "unknown column 'tarjet'; did you mean 'target'?" in said


def test_no_target(refused: Callable[..., str]) -> None:
    assert "--target" in refused("fit", csv())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b,target\n", "has a header but no rows"),
        ("a,b,target\n1,2,3\n", "one row"),
        ("a,b,a,target\n" + "1,2,3,4\n" * 9, "'a' occurs more than once"),
        ("a,target\n1,x\n2,x\n3,x\n", "only one value, 'x'"),
        ("a,target\n1,\n2,\n3,NA\n", "missing in every row"),
        ("a,target\n1,2\n2,3,4\n", "line 3"),
        ("a,target\n1,2\ninf,3\n4,5\n", "column 'a', row 2: the value is infinite"),
        ("a,target\n1,2\n2,-inf\n4,5\n", "column 'target', row 2: the value is infinite"),
        ("a,target\n7,1.5\n7,2.5\n7,3.5\n7,1\n", "no column is of any use"),
        ("a,target\n,1.5\n,2.5\n,3.5\n,1\n", "no column is of any use"),
        ("target\n1\n2\n3\n", "no column to predict from"),
    ],
)
def test_a_table_that_cannot_be_used(refused: Callable[..., str], text: str, words: str) -> None:
    assert words in refused("fit", write("table.csv", text), "--target", "target")


def test_text_where_numbers_are_asked_for(refused: Callable[..., str]) -> None:
    target = ["7.5"] * 40 + ["dear"] + ["8.5"] * 19
    said = refused("fit", csv(target=target), "--target", "target", "--task", "regression")
    assert "row 41: 'dear' is not a number" in said
    said = refused("fit", csv(target=target), "--target", "target", "--metric", "rmse")
    assert "target 'target'" in said and "rmse" not in said.split("serves")[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--loss", "hubber"], "unknown loss 'hubber'; did you mean 'Huber'?"),
        (["--loss", "huber(dleta=2)"], "did you mean 'delta'?"),
        (["--loss", "huber(delta=-2)"], "delta is -2; it must lie in (0, inf)"),
        (["--loss", "huber(2)"], "cannot read loss 'huber(2)'"),
        (["--loss", "__import__('os')"], "cannot read loss"),
        (["--metric", "rmsee"], "unknown metric 'rmsee'; did you mean 'RMSE'?"),
        (["--metric", "auc"], "the metric serves binary"),
        (["--model", "liner"], "unknown model 'liner'; did you mean 'linear'?"),
        (["--penalty", "L3"], "unknown penalty 'L3'"),
        (["--task", "regresion"], "unknown task 'regresion'; did you mean 'regression'?"),
        (["--task", "binary"], "binary needs exactly 2"),
        (["--task", "count"], "is negative"),
        (["--loss", "hinge"], "Hinge does not fit 'target', a regression target; choose among"),
        (["--seed", "-1"], "seed is -1; it must be an integer in [0, 2^32)"),
        (["--seed", "4294967296"], "seed is 4294967296"),
        (["--seed", "one"], "Invalid value for '--seed'"),
        (["--folds", "1"], "folds is 1"),
        (["--budget", "0"], "budget is 0.0 seconds; it must be positive"),
        (["--budget", "-3"], "budget is -3.0"),
        (["--budget", "nan"], "budget is nan"),
        (["--buget", "3"], "No such option: --buget"),
        (["--metric"], "'--metric' requires an argument"),
    ],
)
def test_a_wrong_option(refused: Callable[..., str], arguments: list[str], words: str) -> None:
    target = numbers()["target"] - 5
    command = ["fit", csv(target=target), "--target", "target", "--out", "run"]
    assert words in refused(*command, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"), [(["fti"], "No such command 'fti'"), (["fit"], "Missing argument")]
)
def test_a_wrong_command(refused: Callable[..., str], arguments: list[str], words: str) -> None:
    assert words in refused(*arguments)


def test_losses_that_do_not_fit(refused: Callable[..., str]) -> None:
    target = np.arange(60)
    target[17] = -4
    said = refused("fit", csv(target=target), "--target", "target", "--loss", "poisson")
    assert "Poisson: target row 18 is -4" in said
    assert "a multiclass target; choose among CrossEntropy" in refused(
        "fit", "digits", "--loss", "hinge"
    )
    said = refused("fit", "breast_cancer", "--loss", "ZeroOne")
    for surrogate in ("Hinge", "Logistic", "Exponential", "Perceptron"):
        assert surrogate in said


# What is said out loud, and goes on


def test_rows_and_columns_that_are_left_out_are_counted_out_loud(minimand: Command) -> None:
    target = [None if i % 20 == 3 else float(i % 7) + 0.5 for i in range(60)]
    data = csv(target=target, empty=[None] * 60, same=[4] * 60)
    ran = minimand("fit", data, "--target", "target", *LINEAR, "--loss", "squared", "--out", "run")
    assert ran.status == 0 and ran.err == ""
    assert "Dropped 3 of 60 rows: the target 'target' is missing there." in ran.out
    assert "Left out, every value is missing: 'empty'." in ran.out
    assert "Left out, constant: 'same'." in ran.out
    run = strict_json(Path("run/run.json"))
    assert run["data"]["rows"] == 57
    assert len(run["data"]["notes"]) == 3


def test_a_run_without_out_lands_in_runs(minimand: Command) -> None:
    ran = minimand("fit", csv("prices.csv"), "--target", "target", *LINEAR, "--loss", "squared")
    (report,) = Path("runs").glob("prices-*/report.html")
    assert ran.out.splitlines()[-1] == f"Report: {report}"


# The output directory


@pytest.mark.parametrize("out", ["full", "file", "file/run", ".", "..", "/proc/run", "x" * 300])
def test_an_output_directory_that_cannot_be_written_is_found_before_training(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    def trained(*_: Any) -> NoReturn:
        raise AssertionError("the data were read before the directory was checked")

    Path("full").mkdir()
    write("full/kept.txt", "mine")
    write("file", "mine")
    monkeypatch.setattr("minimand.fitting.main.table_of", trained)
    assert out[:50] in refused("fit", "iris", "--out", out)


def test_an_empty_directory_may_be_the_output(minimand: Command) -> None:
    Path("run").mkdir()
    assert minimand("fit", "iris", *LINEAR, "--out", "run").status == 0
    assert Path("run/run.json").is_file()


def full(_: int) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_no_trace(minimand: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    ran = minimand("fit", "iris", *LINEAR, "--out", "new/run")
    assert_refused(ran)
    assert "cannot write 'new/run' (No space left on device)" in ran.err
    assert not list(Path().iterdir())


def test_a_file_that_outgrows_its_limit_leaves_no_trace() -> None:
    """A refusal by the operating system itself, in the middle of a file."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))"
    ran = finished(process("fit", "iris", *LINEAR, "--out", "run", code=limit))
    assert_refused(ran)
    assert "File too large" in ran.err
    assert not list(Path().iterdir())


def test_a_kill_leaves_no_run_directory_and_does_not_block_the_next(minimand: Command) -> None:
    kill = "import os, signal; os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)"
    ran = finished(process("fit", "iris", *LINEAR, "--out", "run", code=kill))
    assert ran.status == -signal.SIGKILL
    assert not Path("run").exists()
    assert minimand("fit", "iris", *LINEAR, "--out", "run").status == 0


# Ctrl-C and time


def interrupt_after(words: str, *arguments: str) -> Ran:
    """Send SIGINT as soon as a line of output holds the words."""
    running = process(*arguments)
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if words in line:
            running.send_signal(signal.SIGINT)
            break
    ran = finished(running)
    return Ran(ran.status, said + ran.out, ran.err)


@pytest.mark.parametrize("words", ["Baseline", "CrossEntropy, linear"])
def test_ctrl_c_ends_the_search_and_delivers(words: str) -> None:
    ran = interrupt_after(words, "fit", "digits", "--out", "run")
    assert ran.status == 0, ran.err
    assert "wins: accuracy" in ran.out
    run = strict_json(Path("run/run.json"))
    assert run["stopped"] == "Ctrl-C"
    assert run["test"]["value"] > 0.9
    assert Path("run/report.html").is_file()


def test_ctrl_c_before_there_is_anything(
    minimand: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("minimand.fitting.main.table_of", interrupt)
    ran = minimand("fit", "iris", "--out", "run")
    assert (ran.status, ran.err) == (
        130,
        "minimand: interrupted before there was anything to keep\n",
    )
    assert not list(Path().iterdir())


def test_a_budget_ends_the_search_soon(
    minimand: Command, shared_data: Callable[[str], Path]
) -> None:
    data = shared_data("adult/adult-train.csv.gz")
    begun = time.process_time()
    ran = minimand("fit", data, "--target", 14, "--budget", 3, "--out", "run")
    assert time.process_time() - begun < 30
    assert ran.status == 0
    run = strict_json(Path("run/run.json"))
    assert run["stopped"] == "budget of 3 s spent"
    assert run["test"]["value"] > 0.83
    assert [c["reason"] for c in run["candidates"]].count("not tried: budget of 3 s spent") > 3


# What a run leaves


def test_two_processes_with_the_same_seed_write_the_same_scores() -> None:
    frame = numbers(140).with_columns(kind=pl.Series(["x", "y"] * 70))
    frame.write_csv("table.csv")
    options = ("--target", "target", "--loss", "huber", "--folds", "2")
    runs = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        ran = finished(process("fit", "table.csv", *options, "--seed", seed, "--out", name))
        assert ran.status == 0, ran.err
        run = strict_json(Path(name, "run.json"))
        for clock in ("created", "seconds", "command"):
            del run[clock]
        for candidate in run["candidates"]:
            del candidate["seconds"]
        runs.append(run)
    assert {c["model"] for c in runs[0]["candidates"] if c["scores"]} == {"linear", "mlp"}
    assert runs[0] == runs[1]
    assert runs[0]["candidates"] != runs[2]["candidates"]


class Tags(HTMLParser):
    """Which elements and attributes a page has, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_and_levels_stay_text(minimand: Command) -> None:
    column, level = "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>'
    classes = ["<iframe src=//evil>", "]]></svg><b>"]
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    frame = pl.DataFrame({
        column: rng.normal(size=80) + y,
        "{{ 7 * 7 }}": rng.choice([level, "\u202eplain\x1b[31m"], 80),
        "</title><h1>": np.array(classes)[y],
    })  # fmt: skip
    frame.write_csv("<i>.csv")
    ran = minimand("fit", "<i>.csv", "--target", "</title><h1>", *LINEAR, "--out", "run")
    assert ran.status == 0, ran.err
    page = Tags(Path("run/report.html").read_text(encoding="utf-8"))
    assert not page.names & {"script", "img", "iframe", "i", "b"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert column in page.text and classes[0] in page.text
    assert "{{ 7 * 7 }}" in page.text
    frame.drop("</title><h1>").write_csv("new.csv")
    assert minimand("predict", "run", "new.csv", "-o", "said.csv").status == 0
    assert set(pl.read_csv("said.csv")["prediction"]) <= set(classes)


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        ("diabetes", ["--loss", "squared"]),
        ("breast_cancer", ["--loss", "logistic"]),
        ("wine", []),
        ("counts.csv", ["--target", "target", "--task", "count", "--loss", "poisson"]),
    ],
)
def test_the_report_of_every_task(minimand: Command, data: str, arguments: list[str]) -> None:
    csv("counts.csv", target=np.random.default_rng(0).poisson(2, 60))
    ran = minimand("fit", data, *arguments, *LINEAR, "--out", "run")
    assert ran.status == 0, ran.err
    report = Path("run/report.html")
    assert report.stat().st_size < 1_500_000
    page = Tags(report.read_text(encoding="utf-8"))
    assert "script" not in page.names
    run = strict_json(Path("run/run.json"))
    for evidence in (run["winner"], run["data"]["fingerprint"][:8], "minimand fit"):
        assert evidence in page.text


# predict


def test_predictions_equal_those_of_the_model(minimand: Command, iris_run: Path) -> None:
    model = package.load(iris_run).model
    from minimand.data import read_table

    frame = read_table("iris").frame
    frame.write_csv("new.csv")
    frame.write_parquet("new.parquet")
    value, probability, _ = model.predict(frame)
    assert probability is not None
    for name in ("new.csv", "new.parquet", "iris"):
        ran = minimand("predict", iris_run, name, "-o", "out.csv")
        assert (ran.status, ran.out) == (0, "Wrote 150 predictions to out.csv\n")
        said = pl.read_csv("out.csv")
        assert said.columns == ["prediction", "P(setosa)", "P(versicolor)", "P(virginica)"]
        assert said["prediction"].to_list() == value.tolist()
        np.testing.assert_array_equal(said.drop("prediction").to_numpy(), probability)
    printed = minimand("predict", iris_run, "new.csv")
    assert printed.out == Path("out.csv").read_text()
    assert not [p for p in Path().iterdir() if p.name.startswith(".")]


def test_one_new_row_without_a_target(minimand: Command) -> None:
    minimand("fit", csv(), "--target", "target", *LINEAR, "--loss", "squared", "--out", "run")
    write("new.csv", "b,a\n0.5,1.5\n")
    ran = minimand("predict", "run", "new.csv")
    assert (ran.status, ran.err) == (0, "")
    assert float(ran.out.splitlines()[1]) == pytest.approx(2 * 1.5 + 0.1 * 0.5 + 5, abs=0.05)


def test_new_categories_missing_values_and_unknown_columns_are_said(minimand: Command) -> None:
    kinds = ["red", "blue"] * 30
    data = csv(kind=kinds)
    minimand("fit", data, "--target", "target", *LINEAR, "--loss", "squared", "--out", "run")
    write("new.csv", "a,b,kind,more\n1,2,green,0\n1,,red,0\n")
    ran = minimand("predict", "run", "new.csv")
    assert ran.status == 0
    assert len(ran.out.splitlines()) == 3
    assert "'kind' has 1 level not seen at training, in 1 row ('green')" in ran.err
    assert "'b' is missing in 1 row" in ran.err
    assert "Ignored 1 column unknown at training: 'more'." in ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n1\n", "column 'b', used at training, is absent"),
        ("a,c\n1,2\n", "column 'b', used at training, is absent"),
        ("a,b\n1,two\n", "column 'b', row 1: 'two' is not a number"),
        ("a,b\n1,inf\n", "column 'b', row 1: the value is infinite"),
        ("a,b\n", "has a header but no rows"),
        ("", "is empty"),
    ],
)
def test_new_rows_that_cannot_be_used(
    minimand: Command, refused: Callable[..., str], text: str, words: str
) -> None:
    minimand("fit", csv(), "--target", "target", *LINEAR, "--loss", "squared", "--out", "run")
    assert words in refused("predict", "run", write("new.csv", text), "-o", "out.csv")


@pytest.mark.parametrize("out", ["file/out.csv", "none/out.csv", ".", "/dev/null", "x" * 300])
def test_predictions_that_cannot_be_written(
    refused: Callable[..., str], iris_run: Path, out: str
) -> None:
    write("file", "mine")
    assert out[:50] in refused("predict", iris_run, "iris", "-o", out)


def test_a_full_disk_leaves_the_older_predictions(
    refused: Callable[..., str], iris_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("out.csv", "mine")
    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in refused("predict", iris_run, "iris", "-o", "out.csv")


def test_a_directory_that_is_no_run(refused: Callable[..., str]) -> None:
    Path("other").mkdir()
    assert "'other' is not a run directory" in refused("predict", "other", "iris")
    assert "'none' is not a run directory" in refused("predict", "none", "iris")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "harm",
    [
        lambda model: cut(model / "model.safetensors"),
        lambda model: (model / "model.safetensors").write_bytes(b""),
        lambda model: (model / "model.safetensors").unlink(),
        lambda model: cut(model / "model.json"),
        lambda model: (model / "model.json").write_text("[]"),
        lambda model: (model / "model.json").write_bytes(b"\xff\xfe"),
        lambda model: (model / "model.json").unlink(),
        lambda model: edit(model / "model.json", format=99),
        lambda model: edit(model / "model.json", loss={"type": "Nothing"}),
        lambda model: edit(model / "model.json", features={}),
        lambda model: edit(model / "model.json", target=None),
        lambda model: shutil.rmtree(model),
    ],
)
def test_a_damaged_model(
    refused: Callable[..., str], iris_run: Path, harm: Callable[[Path], object]
) -> None:
    shutil.copytree(iris_run, "run")
    harm(Path("run/model"))
    assert "cannot read the model in 'run/model'" in refused("predict", "run", "iris")


# compare, losses, help


def test_compare_prints_the_table_and_writes_nothing(minimand: Command) -> None:
    ran = minimand("compare", "iris", *LINEAR)
    assert ran.status == 0
    assert re.search(r"CrossEntropy, linear +0\.9\d+ +\[0\.\d+, 1?\.?\d+\] +winner", ran.out)
    assert "constant: most frequent class" in ran.out
    assert not list(Path().iterdir())


def test_the_catalogue_of_losses(minimand: Command, refused: Callable[..., str]) -> None:
    ran = minimand("losses")
    for name in ("Squared", "Huber", "Hinge", "CrossEntropy", "Poisson", "ZeroOne"):
        assert re.search(rf"^{name} ", ran.out, re.MULTILINE)
    binary = minimand("losses", "--task", "binary").out
    assert re.search(r"^Hinge ", binary, re.MULTILINE)
    assert not re.search(r"^Huber ", binary, re.MULTILINE)
    assert "unknown task 'binry'; did you mean 'binary'?" in refused("losses", "--task", "binry")


def test_help(minimand: Command) -> None:
    for arguments in ([], ["--help"]):
        ran = minimand(*arguments)
        assert ran.status == 0
        for command in ("fit", "compare", "predict", "losses"):
            assert re.search(rf"\b{command}\b", ran.out)
    module = subprocess.run(
        [sys.executable, "-m", "minimand", "fit", "--help"], capture_output=True, text=True
    )
    assert module.returncode == 0
    assert "--target" in module.stdout


def test_a_reader_that_leaves_early_is_no_error() -> None:
    running = process("losses")
    assert running.stdout is not None
    running.stdout.close()
    assert running.wait(timeout=60) in (0, 1)
    assert running.stderr is not None
    assert running.stderr.read() == ""
    running.stderr.close()


# Held to


@pytest.mark.timeout(300)
def test_adult(minimand: Command, shared_data: Callable[[str], Path]) -> None:
    """At most 14.6 % errors on the test file, whose labels end in a full stop; in two minutes.

    Of a processor: other work on the machine does not count.
    """
    test = shared_data("adult/adult-test.csv.gz")
    begun = time.process_time()
    ran = minimand("fit", shared_data("adult/adult-train.csv.gz"), "--target", 14, "--out", "run")
    assert ran.status == 0, ran.err
    assert "No header was found" in ran.out
    assert time.process_time() - begun < 120
    ran = minimand("predict", "run", test, "-o", "out.csv")
    assert (ran.status, ran.err) == (0, "")
    said = pl.read_csv("out.csv")["prediction"]
    actual = pl.read_csv(test, has_header=False).drop_nulls().to_series(14).str.strip_chars(" .")
    assert len(said) == len(actual) == 16281
    assert (said != actual).mean() <= 0.146
    assert Path("run/report.html").stat().st_size < 1_500_000
