"""`minimand tune`: from a table to a chosen setting and a page; bad input is one sentence."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import r2_score

from minimand import cli
from minimand.budget import Budget
from minimand.data.splits import folds_of
from minimand.fitting import tuned
from minimand.losses import CrossEntropy
from minimand.metrics import Accuracy
from minimand.networks import MLP
from minimand.optimizers import SGD
from minimand.training import Recipe
from minimand.tuning import Choice, CrossValidation, Float, Study
from minimand.tuning.progress import Progress

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def minimand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`minimand("tune", "iris")` runs the command: (status, what it said, what it complained)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["minimand", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def written(path: Path, rows: int = 60) -> Path:
    """A table with a column of text, a number with gaps, and two classes."""
    number = [None if k % 10 == 0 else k % 7 / 7 for k in range(rows)]
    text = ["red" if k % 3 else "blue" for k in range(rows)]
    bought = ["yes" if k % 7 > 3 else "no" for k in range(rows)]
    pl.DataFrame({"size": number, "colour": text, "bought": bought}).write_csv(path)
    return path


def test_a_table_is_searched_and_everything_written(minimand: Command, tmp_path: Path) -> None:
    table, out, store = written(tmp_path / "shop.csv"), tmp_path / "run", tmp_path / "study.db"
    options = ("--target", "bought", "--folds", 2, "--sampler", "random", "--storage", store)
    status, said, complained = minimand("tune", table, *options, "--trials", 2, "--out", out)
    assert (status, complained) == (0, "")
    assert re.search(r"  2 of 2 trials, best accuracy \S+ ± \S+; \S+ runs a second", said)
    assert said.splitlines()[-1] == f"Report: {out / 'study.html'}"
    assert "accuracy: chosen of 2 settings" in said
    trials = pl.read_csv(out / "trials.csv")
    assert trials["trial"].to_list() == [0, 1]
    assert trials["value"].to_list() == pytest.approx(
        trials.select(f"score {k}" for k in (1, 2)).mean_horizontal().to_list()
    )
    assert "minimand tune" in (out / "study.html").read_text(encoding="utf-8")
    status, said, _ = minimand("predict", out, table)
    predicted = pl.read_csv(io.StringIO(said))
    assert status == 0 and predicted.height == 60
    assert set(predicted["prediction"]) <= {"yes", "no"}

    again = tmp_path / "again"
    options = (*options, "--trials", 4, "--width", "probe")
    status, _, _ = minimand("tune", table, *options, "--out", again)
    assert status == 0
    page = (again / "study.html").read_text(encoding="utf-8")
    assert re.search(r"members side by side: \d+ \(a step of one took \S+ µs by 1, ", page)
    assert pl.read_csv(again / "trials.csv").head(2).equals(trials)


def test_a_page_shows_no_password(minimand: Command, tmp_path: Path) -> None:
    table, out = written(tmp_path / "shop.csv"), tmp_path / "run"
    store = "sqlite:///file:study.db?password=hunter2&uri=true"
    options = ("--target", "bought", "--folds", 2, "--trials", 2, "--storage", store)
    status, said, complained = minimand("tune", table, *options, "--name", "shop", "--out", out)
    assert status == 0
    page = (out / "study.html").read_text(encoding="utf-8")
    assert page.count("password=***") >= 2  # the command, and where the study is stored
    assert "hunter2" not in page + said + complained
    assert optuna.get_all_study_names(store) == ["shop"]


def test_numbers_are_predicted_as_python_predicts_them(minimand: Command, tmp_path: Path) -> None:
    """The scale of columns and target is part of the saved model."""
    out = tmp_path / "run"
    assert minimand("tune", "diabetes", "--trials", 2, "--folds", 2, "--out", out)[0] == 0
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=True)
    X.to_csv(tmp_path / "rows.csv", index=False)
    status, said, _ = minimand("predict", out, tmp_path / "rows.csv")
    predicted = pl.read_csv(io.StringIO(said))["prediction"].to_numpy()
    assert status == 0
    assert r2_score(y, predicted) > 0.4


def test_a_budget_ends_the_search_with_what_it_has(minimand: Command, tmp_path: Path) -> None:
    table, out = written(tmp_path / "shop.csv"), tmp_path / "run"
    status, said, _ = minimand(
        "tune", table, "--target", "bought", "--folds", 2, "--trials", 10_000, "--budget", "6s",
        "--metric", "auc", "--out", out,
    )  # fmt: skip
    assert status == 0
    assert "of 10000 trials, best auc" in said
    assert "The search ended early (budget of 6 s spent)" in (out / "study.html").read_text()


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    table, out = written(tmp_path / "shop.csv"), tmp_path / "run"
    arguments = ["tune", table, "--target", "bought", "--folds", 2, "--trials", 10_000]
    command = [sys.executable, "-m", "minimand", *map(str, [*arguments, "--out", out])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "of 10000 trials" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest.splitlines()[-1] == f"Report: {out / 'study.html'}"
    assert "The search ended early (Ctrl-C)" in (out / "study.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "boughd"], "bought"),
        (["--target", "bought", "--metric", "mae"], "metric"),
        (["--target", "bought", "--metric", "acuracy"], "Accuracy"),
        (["--target", "bought", "--budget", "soon"], "60s"),
        (["--target", "bought", "--budget", "0s"], "positive"),
        (["--target", "bought", "--sampler", "tpee"], "tpe"),
        (["--target", "bought", "--pruning", "median"], "halving"),
        (["--target", "bought", "--folds", "1"], "folds"),
        (["--target", "bought", "--trials", "0"], "trials"),
        (["--target", "bought", "--jobs", "0"], "jobs"),
        (["--target", "bought", "--width", "wide"], "or probe"),
        (["--target", "bought", "--storage", "mongodb://here"], "storage"),
    ],
)
def test_bad_input_is_one_sentence(
    minimand: Command, tmp_path: Path, arguments: list[str], said: str
) -> None:
    table = written(tmp_path / "shop.csv")
    before = sorted(tmp_path.rglob("*"))
    status, _, complained = minimand("tune", table, *arguments)
    assert status == 2
    assert complained.count("\n") == 1 and said in complained
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "s", "-5", "5 weeks", "1.2.3"])
def test_a_time_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="budget is"):
        tuned.seconds(text)


def test_the_progress_line_counts_what_was_lost() -> None:
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", direction="maximize")
    progress = Progress(study, Accuracy(), folds=2, trials=4, watch=Budget())
    results = [([0.5, 0.7], "done"), ((), "pruned"), ((), "failed"), ([0.9, 0.9], "done")]
    assert progress.line() == "  0 of 4 trials; 0 members alive"
    lines = []
    for one, (scores, state) in zip(study.ask(4), results, strict=True):
        study.tell(one, scores, state=state)  # type: ignore[arg-type]
        lines.append(progress.line())
    # 12.706 √((1/2 + 1/1) 0.02), by Student's t with one degree of freedom
    assert "1 of 4 trials, best accuracy 0.6 ± 2.2; 6 members alive, " in lines[0]
    assert "4 of 4 trials (1 pruned, 1 failed), best accuracy 0.9 ± 0;" in lines[3]
    assert re.search(r"; \S+ runs a second, about 0 s left$", lines[3])


def test_members_that_train_are_counted() -> None:
    X, y = load_iris(return_X_y=True)
    rates = Choice(1e-3, 1e30)
    recipe = Recipe(MLP(hidden=(4,), outputs=3), CrossEntropy(), SGD(), epochs=3)
    found: list[int] = []
    folds = folds_of(2, X, y, "multiclass")
    validated = CrossValidation(recipe, X, y, folds, pulse=found.append)
    validated([{"optimizer.learning_rate": rate} for rate in rates.options])
    assert found[-1] == 2  # the other two broke
