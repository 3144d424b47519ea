"""The main job in Python: what is compared, how it is judged, and what is kept."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedShuffleSplit,
)
from sklearn.preprocessing import StandardScaler

import minimand
from minimand.data import Fold
from minimand.errors import ArgumentError, ArgumentTypeError, DataError, MinimandError, SolverError
from minimand.fitting.candidates import Affine, Perceptrons
from minimand.losses import Huber, Logistic
from minimand.metrics import MAE
from minimand.penalties import L2, Penalty
from minimand.tuning.interval import bootstrap, corrected_interval, of_share

TIMES = {"created", "seconds", "command"}


def mixture(task: str, rows: int = 160) -> pl.DataFrame:
    """Numbers, text and missing values, and a target for the task that depends on them."""
    rng = np.random.default_rng(7)
    x, job = rng.normal(size=rows), rng.choice(["clerk", "cook", "smith"], rows)
    signal_ = 1.5 * x + (job == "cook") + 0.3 * rng.normal(size=rows)
    target = {
        "regression": 10 * signal_ + 50,
        "count": rng.poisson(np.exp(0.4 * signal_ + 0.5)),
        "binary": np.where(signal_ > 0, "yes", "no"),
        "multiclass": np.array(["low", "middle", "high"])[np.digitize(signal_, [-1.0, 1.0])],
    }[task]
    holes = [None if i % 11 == 0 else v for i, v in enumerate(x.tolist())]
    return pl.DataFrame({"x": holes, "job": job, "y": target})


def quick(X: Any, y: Any = None, **question: Any) -> minimand.Fit:
    return minimand.fit(X, y, verbose=False, **({"models": "linear"} | question))


def candidate(run: Any, name: str) -> dict[str, Any]:
    (found,) = [c for c in run["candidates"] if c["name"] == name]
    return found


def scores(run: Any) -> dict[str, Any]:
    """The record without what a clock or the caller's words decide."""
    kept = {k: v for k, v in run.items() if k not in TIMES}
    trimmed = [{k: v for k, v in c.items() if k != "seconds"} for c in run["candidates"]]
    return json.loads(json.dumps(kept | {"candidates": trimmed}))


@pytest.fixture(scope="module")
def wine() -> minimand.Fit:
    return quick("wine")


@pytest.fixture(scope="module")
def diabetes() -> minimand.Fit:
    return quick("diabetes")


# The interval and the verdicts that rest on it


def test_the_interval_by_hand() -> None:
    """1, 2, 3, 4, 5: mean 3, s² = 2.5, t(0.975, 4) = 2.776 (any table), 2 test rows for 8."""
    found = corrected_interval(np.array([1.0, 2, 3, 4, 5]), [Fold(np.arange(8), np.arange(2))] * 5)
    half = 2.776 * math.sqrt((1 / 5 + 2 / 8) * 2.5)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=1e-3)


def test_the_interval_decides_as_the_corrected_resampled_t_test() -> None:
    """Bouckaert and Frank (2004): t = mean / √((1/(kr) + n2/n1) σ²) with kr - 1 degrees."""
    rng = np.random.default_rng(1)
    folds = [Fold(np.arange(90), np.arange(10))] * 100
    for shift in np.linspace(-0.1, 0.1, 11):
        x = rng.normal(shift, 0.1, 100)
        t = x.mean() / np.sqrt((1 / 100 + 10 / 90) * x.var(ddof=1))
        p = 2 * stats.t.sf(abs(t), df=99)
        span = corrected_interval(x, folds)
        assert (span.low <= 0 <= span.high) == (p > 0.05)


def test_without_overlap_the_interval_is_student_s() -> None:
    x = np.random.default_rng(2).normal(size=10)
    folds = [Fold(np.arange(10**6), np.arange(1))] * 10
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert corrected_interval(x, folds).low == pytest.approx(expected.low, abs=1e-4)


def test_the_bootstrap_interval_of_a_mean_has_its_standard_error() -> None:
    x = np.random.default_rng(3).normal(size=400)
    low, high = bootstrap(lambda rows: float(x[rows].mean()), 400, seed=0, repeats=2000)
    half = 1.96 * x.std() / 20
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.15 * half)


def test_the_interval_of_an_accuracy_is_that_of_a_share(wine: minimand.Fit) -> None:
    """Clopper and Pearson (1934): quantiles of beta distributions; of n right in n, α/2 = lowⁿ."""
    test = wine.run["test"]
    n, right = test["rows"], round(test["value"] * test["rows"])
    low = stats.beta.ppf(0.025, right, n - right + 1)
    high = stats.beta.ppf(0.975, right + 1, n - right) if right < n else 1.0
    assert (test["low"], test["high"]) == pytest.approx((low, high))
    assert of_share(1.0, 12) == pytest.approx((0.025 ** (1 / 12), 1.0))
    assert of_share(0.0, 12) == pytest.approx((0.0, 1 - 0.025 ** (1 / 12)))


def test_the_intervals_of_few_images_stay_where_accuracies_can_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    X, y = load_digits(return_X_y=True)
    few = X[y < 3][:40].reshape(-1, 8, 8)
    fitted = minimand.fit(few, y[y < 3][:40], network="linear", epochs=2)
    for judged in (fitted.run["baseline"], *fitted.run["candidates"]):
        assert 0 <= judged["low"] <= judged["mean"] <= judged["high"] <= 1
    said = capsys.readouterr().out
    assert "Winner by validation: CrossEntropy, Linear.\n" in said


def test_differences_and_ties_follow_from_the_fold_scores(diabetes: minimand.Fit) -> None:
    run = diabetes.run
    scored = [c for c in run["candidates"] if c["status"] == "scored"]
    best, share = np.array(scored[0]["scores"]), 1 / 4
    assert len(scored) >= 3
    for other in scored[1:]:
        difference = np.array(other["scores"]) - best
        error = np.sqrt((1 / 5 + share) * difference.var(ddof=1))
        versus = other["versus_winner"]
        assert versus["difference"] == pytest.approx(difference.mean())
        assert versus["high"] - versus["low"] == pytest.approx(2 * 2.7764 * error, rel=0.02)
        assert versus["tied"] == (versus["low"] <= 0 <= versus["high"])
    assert run["tied"] == [c["name"] for c in scored[1:] if c["versus_winner"]["tied"]]
    assert (run["winner"], run["runner_up"]) == (scored[0]["name"], scored[1]["name"])
    assert [c["mean"] for c in scored] == sorted(c["mean"] for c in scored)


def test_greater_is_better_ranks_the_other_way() -> None:
    run = minimand.compare("breast_cancer", metric="auc", models="linear", verbose=False).run
    means = [c["mean"] for c in run["candidates"] if c["mean"] is not None]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.98


# The folds, the baseline and the test part, against scikit-learn


def test_least_squares_and_baseline_equal_scikit_learn_s_on_the_same_folds() -> None:
    """The same folds serve both; ½λ‖w‖² beside a mean of squares is Ridge's α = nλ/2."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = X @ [1.0, -2.0, 0.5] + rng.normal(size=200)
    run = quick(X, y, loss="squared", metric="mse", test_size=0.25).run
    assert run["data"]["rows_test"] == 50
    ((rows, _),) = StratifiedShuffleSplit(1, test_size=50, random_state=0).split(X, np.zeros(200))
    rows = np.sort(rows)
    X, y = StandardScaler().fit_transform(X[rows]), y[rows]
    folds = list(RepeatedKFold(n_splits=5, n_repeats=1, random_state=0).split(X))
    strength = Penalty.parse(run["candidates"][0]["settings"]["penalty"]).strength  # type: ignore[attr-defined]

    def fold_scores(model: Any) -> list[float]:
        return [np.mean((model.fit(X[a], y[a]).predict(X[b]) - y[b]) ** 2) for a, b in folds]

    alpha = len(folds[0][0]) * strength / 2
    assert run["candidates"][0]["scores"] == pytest.approx(fold_scores(Ridge(alpha)), rel=1e-6)
    assert run["baseline"]["scores"] == pytest.approx(fold_scores(DummyRegressor()), rel=1e-9)


def test_the_baseline_of_classes_equals_scikit_learn_s() -> None:
    run = minimand.compare("wine", models="linear", verbose=False).run
    y = minimand.data.read_table("wine").target.to_numpy()  # type: ignore[attr-defined, union-attr]
    dummy = DummyClassifier()
    expected = [
        dummy.fit(y[a], y[a]).score(y[b], y[b])
        for a, b in RepeatedStratifiedKFold(n_repeats=1, random_state=0).split(y, y)
    ]
    assert run["baseline"]["scores"] == pytest.approx(expected)


def test_nothing_before_the_end_looks_at_the_test_part() -> None:
    """Other targets and features in the test rows leave every cross-validated score alone."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4))
    y = X[:, 0] + rng.normal(size=150)
    split = StratifiedShuffleSplit(1, test_size=30, random_state=0)
    ((_, test),) = split.split(X, np.zeros(150))
    poisoned_X, poisoned_y = X.copy(), y.copy()
    poisoned_X[test] *= 1000
    poisoned_y[test] += 1000
    clean, poisoned = quick(X, y).run, quick(poisoned_X, poisoned_y).run
    for honest, other in zip(clean["candidates"], poisoned["candidates"], strict=True):
        assert honest["scores"] == other["scores"]
    assert clean["coefficients"] == poisoned["coefficients"]
    assert clean["test"] != poisoned["test"]


def test_every_candidate_is_run_on_the_same_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[tuple[int, ...]]] = {}
    for kind in (Affine, Perceptrons):

        def spied(self: Any, bench: Any, jobs: Any, budget: Any, run: Any = kind.run) -> Any:
            for _, fold in jobs:
                seen.setdefault(self.name, set()).add(tuple(fold.train))
            return run(self, bench, jobs, budget)

        monkeypatch.setattr(kind, "run", spied)
    frame = mixture("binary")
    minimand.compare(frame, "y", loss=["logistic", "hinge"], folds=3, verbose=False)
    assert len(seen) == 4
    assert all(folds == seen["Logistic, linear"] for folds in seen.values())
    assert len(seen["Logistic, linear"]) == 3


def test_the_search_keeps_the_best_setting_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a single strength allowed, no strength does better than the one that was chosen."""
    chosen = quick("wine", loss="crossentropy").run["candidates"][0]
    alone = []
    for strength in Affine(Logistic(), L2()).penalties((1e-5, 1e-2, 1.0)):
        monkeypatch.setattr(Affine, "settings", lambda *_, s=strength: [{"penalty": s}])
        alone.append(quick("wine", loss="crossentropy").run["candidates"][0]["mean"])
    assert chosen["mean"] >= max(alone)
    assert min(alone) < max(alone)


# What is tried, and what is left out with which reason


def test_left_out_candidates_say_why() -> None:
    run = minimand.compare("iris", metric="accuracy", models=None, verbose=False, budget=1e-9).run
    late = candidate(run, "CrossEntropy, mlp")
    assert (late["status"], late["scores"], late["mean"]) == ("left out", [], None)
    assert late["reason"] == "not tried: budget of 1e-09 s spent"

    run = minimand.compare(mixture("binary", 60), "y", metric="logloss", verbose=False).run
    reasons = {c["name"]: c["reason"] for c in run["candidates"] if c["status"] == "left out"}
    assert "probabilities" in reasons["Hinge, linear"]
    assert "score 0 everywhere" in reasons["Perceptron, linear"]
    assert "60 training rows are fewer than the 100" in reasons["Logistic, mlp"]
    assert run["winner"] == "Logistic, linear"


def test_a_penalty_that_no_solver_handles_is_a_reason() -> None:
    losses = ["smape", "squared"]
    run = minimand.compare(
        "diabetes", loss=losses, penalty="L1", models="linear", verbose=False
    ).run
    assert run["winner"] == "Squared, linear"
    assert "no solver handles SMAPE with L1" in candidate(run, "SMAPE, linear")["reason"]


def test_no_candidate_left_is_one_sentence() -> None:
    with pytest.raises(SolverError, match=r"no candidate could be scored.*logloss needs prob"):
        quick("breast_cancer", loss="hinge", metric="logloss")


def test_the_losses_asked_for_and_no_others() -> None:
    run = quick("diabetes", loss=["huber(delta=2)", Huber(0.5)], metric=MAE()).run
    assert {c["name"] for c in run["candidates"]} == {
        "Huber(delta=2.0), linear",
        "Huber(delta=0.5), linear",
    }


def test_a_quantile_metric_brings_its_quantile_loss() -> None:
    fitted = quick("diabetes", metric="pinball(level=0.9)")
    assert fitted.run["winner"] == "Quantile(level=0.9), linear"
    assert fitted.run["baseline"]["name"] == "0.9 quantile"
    table = minimand.data.read_table("diabetes")  # type: ignore[attr-defined]
    below = np.mean(table.target.to_numpy() <= fitted.predict(table.frame))
    assert 0.86 < below < 0.94


@pytest.mark.parametrize(
    ("data", "task", "metric", "better_than"),
    [
        ("diabetes", "regression", "rmse", 62.0),
        ("diabetes", "regression", "mse", 3800.0),
        ("diabetes", "regression", "mae", 50.0),
        ("diabetes", "regression", "medianae", 46.0),
        ("diabetes", "regression", "r2", 0.4),
        ("breast_cancer", "binary", "accuracy", 0.96),
        ("breast_cancer", "binary", "error", 0.04),
        ("breast_cancer", "binary", "logloss", 0.12),
        ("breast_cancer", "binary", "f1", 0.96),
        ("breast_cancer", "binary", "balancedaccuracy", 0.95),
        ("wine", "multiclass", "logloss", 0.15),
        ("wine", "multiclass", "f1", 0.95),
        ("wine", "multiclass", "balancedaccuracy", 0.95),
        ("iris", "multiclass", "error", 0.06),
    ],
)
def test_every_metric_is_served(data: str, task: str, metric: str, better_than: float) -> None:
    """The bounds are what scikit-learn's linear models reach on these sets, with some room."""
    run = minimand.compare(data, metric=metric, models="linear", verbose=False).run
    greater = run["metric"]["greater_is_better"]
    assert (run["data"]["task"], run["metric"]["name"]) == (task, metric)
    assert (run["candidates"][0]["mean"] > better_than) == greater
    assert (run["candidates"][0]["mean"] > run["baseline"]["mean"]) == greater


def test_counts_of_bicycles(shared_data: Callable[[str], Path]) -> None:
    """Hourly rentals, 0 included: Poisson wins by its own deviance and predicts no negatives."""
    frame = pl.read_csv(shared_data("bike_sharing/hour.csv.gz")).sample(800, seed=0)
    X = frame.select("season", "hr", "workingday", "temp", "hum", "casual")
    fitted = quick(X, "casual")
    assert (fitted.run["data"]["task"], fitted.run["metric"]["name"]) == (
        "count",
        "poissondeviance",
    )
    assert fitted.run["winner"] == "Poisson, linear"
    assert fitted.predict(X).min() > 0
    assert fitted.run["test"]["value"] < fitted.run["baseline"]["test"]["value"] / 2


def test_the_robust_losses_win_on_the_belgian_phones(shared_data: Callable[[str], Path]) -> None:
    """Rousseeuw and Leroy (1987): six years hold minutes; least squares gives the slope 5.04."""
    for seed in range(5):
        fitted = quick(
            shared_data("robust/phones.csv"), "calls", metric="mae", seed=seed, models=None
        )
        assert fitted.run["winner"].split(",")[0].partition("(")[0] in (
            "Absolute",
            "Huber",
            "Quantile",
        )
        (year,) = fitted.run["coefficients"]
        assert year["feature"] == "year"
        assert 1.0 <= year["per_unit"] <= 2.1
    squares = quick(shared_data("robust/phones.csv"), "calls", loss="squared", metric="mae")
    assert squares.run["coefficients"][0]["per_unit"] > 2.1


# Seeds


def test_the_same_seed_gives_the_same_record_and_another_seed_does_not() -> None:
    frame = mixture("multiclass")
    first, again = (minimand.fit(frame, "y", verbose=False, folds=3).run for _ in range(2))
    assert {c["model"] for c in first["candidates"] if c["scores"]} == {"linear", "mlp"}
    assert scores(first) == scores(again)
    other = minimand.fit(frame, "y", verbose=False, folds=3, seed=1).run
    assert other["candidates"][0]["scores"] != first["candidates"][0]["scores"]


# What is kept


@pytest.mark.parametrize(
    ("task", "loss", "model"),
    [
        ("regression", "huber", "linear"),
        ("count", "poisson", "linear"),
        ("binary", "logistic", "linear"),
        ("multiclass", "crossentropy", "linear"),
        ("regression", "huber", "mlp"),
        ("multiclass", "crossentropy", "mlp"),
    ],
)
def test_a_loaded_model_predicts_bit_for_bit(task: str, loss: str, model: str) -> None:
    frame = mixture(task)
    fitted = quick(frame, "y", loss=loss, models=model, folds=2, task=task)
    folder = fitted.save("run")
    new = pl.concat([frame, pl.DataFrame({"x": [None], "job": ["pilot"], "y": frame["y"][:1]})])
    loaded = minimand.load(folder)
    value, probability, notes = loaded.model.predict(new)
    with pytest.warns(UserWarning, match="pilot"):
        np.testing.assert_array_equal(value, fitted.predict(new))
    assert ["pilot" in note for note in notes] == [True]
    with pytest.warns(UserWarning, match="pilot"):
        np.testing.assert_array_equal(value, loaded.predict(new.drop("y")))
    assert loaded.report() == (folder / "report.html").read_text()
    if task in ("regression", "count"):
        assert probability is None
        better = np.mean(np.abs(value[:-1] - frame["y"].to_numpy()))
        assert better < 0.95 * np.mean(np.abs(frame["y"].to_numpy() - frame["y"].median()))
        return
    with pytest.warns(UserWarning, match="pilot"):
        np.testing.assert_array_equal(probability, fitted.predict_proba(new))
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-6)
    classes = np.array(fitted.run["data"]["classes"])
    assert list(classes) == sorted(classes)
    np.testing.assert_array_equal(classes[probability.argmax(axis=1)], value)
    assert np.mean(value[:-1] == frame["y"].to_numpy()) > 0.8


def test_the_run_directory(wine: minimand.Fit) -> None:
    folder = wine.save("deep/run")
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert written == {
        "history.parquet",
        "model/model.json",
        "model/model.safetensors",
        "report.html",
        "run.json",
        "test_predictions.parquet",
    }
    assert [p.name for p in folder.parent.iterdir()] == ["run"]
    run = strict_json(folder / "run.json")
    assert run == scores(wine.run) | {k: wine.run[k] for k in TIMES} | {
        "candidates": wine.run["candidates"]
    }
    assert run["format"] == 1
    predictions = pl.read_parquet(folder / "test_predictions.parquet")
    right = (predictions["actual"] == predictions["predicted"]).mean()
    assert right == pytest.approx(run["test"]["value"])
    assert pl.read_parquet(folder / "history.parquet").height > 1


def strict_json(path: Path) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_score_that_is_not_a_number_is_null_in_the_record(wine: minimand.Fit) -> None:
    run = dict(wine.run) | {"test": dict(wine.run["test"]) | {"low": math.nan, "high": np.inf}}
    folder = minimand.Fit(run, wine.model, wine.history, wine.predictions).save("run")
    assert strict_json(folder / "run.json")["test"]["low"] is None
    assert strict_json(folder / "run.json")["test"]["high"] is None


def test_the_fingerprint_is_that_of_the_data_not_of_the_file() -> None:
    frame = mixture("binary")
    frame.write_csv("a.csv")
    frame.write_parquet("a.parquet")
    prints = {
        minimand.compare(X, "y", loss="logistic", models="linear", verbose=False).run["data"][
            "fingerprint"
        ]
        for X in (frame, "a.csv", "a.parquet", frame.to_pandas())
    }
    assert len(prints) == 1


def test_a_feature_may_have_the_name_of_a_separate_target() -> None:
    X = pl.DataFrame({"target": np.arange(40.0), "b": np.arange(40.0) % 3})
    fitted = quick(X, 2 * np.arange(40.0), loss="squared")
    assert fitted.predict(X[20:21]) == pytest.approx(40, abs=0.1)


# The face in Python


def test_every_kind_of_table_gives_the_same_answer() -> None:
    frame = mixture("regression").drop_nulls()
    X, y = frame.drop("y"), frame["y"]
    frame.write_parquet("table.parquet")
    answers = [
        quick(X, y, loss="squared"),
        quick(frame, "y", loss="squared"),
        quick(frame.to_pandas(), "y", loss="squared"),
        quick(X.to_pandas(), y.to_numpy(), loss="squared"),
        quick("table.parquet", "y", loss="squared"),
    ]
    first = answers[0]
    for other in answers[1:]:
        assert other.run["candidates"][0]["scores"] == first.run["candidates"][0]["scores"]
    for new in (X, X.to_pandas(), "table.parquet"):
        np.testing.assert_array_equal(first.predict(new), first.predict(X))
    numbers = quick(X[["x"]].to_numpy(), y.to_numpy(), loss="squared")
    assert numbers.predict(np.zeros((2, 1))).shape == (2,)
    assert numbers.predict([[0.0], [1.0]])[1] > numbers.predict(pd.DataFrame({"0": [0.0]}))[0]


def test_every_step_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    minimand.fit("iris", models="linear", out="run")
    said = capsys.readouterr().out
    steps = ["Read 'iris': 150", "Target 'target': multiclass", "30 rows aside", "Baseline",
             "  CrossEntropy", "Winner", "Refitted", "CrossEntropy, linear wins"]  # fmt: skip
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    assert Path("run/report.html").is_file()
    quick("iris")
    assert capsys.readouterr().out == ""


def test_a_comparison_and_a_fit_print_themselves(diabetes: minimand.Fit) -> None:
    lines = str(diabetes).splitlines()
    assert lines[0] == diabetes.verdict()
    assert lines[0].startswith(f"{diabetes.run['winner']} wins: rmse")
    tied = [line[2:].split(",")[0] for line in lines if line.startswith("= ")]
    assert tied == [name.split(",")[0] for name in diabetes.run["tied"]]
    assert diabetes._repr_html_().startswith("<pre>")
    assert "<!doctype html>" in diabetes.report().lower()


def test_the_repr_in_a_notebook_is_escaped() -> None:
    frame = mixture("binary").with_columns(y=pl.col("y").replace({"yes": "<b>", "no": "<i>"}))
    shown = quick(frame, "y", loss="logistic")._repr_html_()
    assert "<b>" not in shown and "<i>" not in shown
    assert "&lt;b&gt;" in shown


def test_the_command_of_a_python_run_can_be_typed_again() -> None:
    frame = mixture("binary")
    asked = {"metric": "auc", "loss": ["hinge", "logistic"], "models": ["linear"], "folds": 4}
    run = minimand.fit(frame, "y", **asked, seed=3, verbose=False).run  # type: ignore[arg-type]
    assert run["command"].startswith("minimand.fit(X, y, ")
    names = {"minimand": minimand, "X": frame, "y": "y"}
    again = eval(run["command"].replace(")", ", verbose=False)"), names)
    assert scores(again.run) == scores(run)


def test_a_hinge_winner_has_no_probabilities() -> None:
    fitted = quick("breast_cancer", loss="hinge")
    with pytest.raises(ArgumentError, match="Hinge, linear gives no probabilities"):
        fitted.predict_proba(minimand.data.read_table("breast_cancer").frame)  # type: ignore[attr-defined]


def test_coefficients_are_in_the_units_of_the_columns() -> None:
    x = np.linspace(0, 40, 90)
    frame = pl.DataFrame({"age": x, "y": 3.0 * x + 7})
    (age,) = quick(frame, "y", loss="squared").run["coefficients"]
    assert age["per_unit"] == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"metric": "maee"}, ArgumentError, "did you mean 'MAE'"),
        ({"metric": 3}, ArgumentTypeError, "metric must be a name or a Metric, not 3"),
        ({"loss": "hubber"}, ArgumentError, "did you mean 'Huber'"),
        ({"loss": [Huber(), 2]}, ArgumentTypeError, "loss must be a name or a Loss, not 2"),
        ({"penalty": "L7"}, ArgumentError, "unknown penalty 'L7'"),
        ({"models": "forest"}, ArgumentError, "unknown model 'forest'"),
        ({"task": "ranking"}, ArgumentError, "unknown task 'ranking'"),
        ({"seed": -1}, ArgumentError, "seed is -1"),
        ({"seed": 2**32}, ArgumentError, "seed is 4294967296"),
        ({"seed": 1.5}, ArgumentError, "seed is 1.5"),
        ({"folds": 1}, ArgumentError, "folds is 1"),
        ({"test_size": 0}, ArgumentError, "test_size is 0"),
        ({"test_size": 1.0}, ArgumentError, "test_size is 1.0"),
        ({"test_size": math.nan}, ArgumentError, "test_size is nan"),
        ({"budget": 0}, ArgumentError, "budget is 0"),
        ({"budget": math.nan}, ArgumentError, "budget is nan"),
        ({"y": [1, 2]}, ArgumentError, "y must be the name of the target column"),
        ({"y": "tagret"}, ArgumentError, "did you mean 'target'"),
        ({"metric": "auc"}, DataError, "the metric serves binary"),
        ({"metric": "accuracy", "task": "regression"}, ArgumentError, "choose another metric or"),
        ({"loss": "poisson(rate=2)"}, ArgumentError, "unknown field of Poisson 'rate'"),
        ({"loss": "huber(delta=-1)"}, ArgumentError, r"delta is -1; it must lie in \(0, inf\)"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_leaves_nothing(
    wrong: dict[str, Any], error: type[MinimandError], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        minimand.fit("diabetes", **({"y": None, "out": "run"} | wrong), verbose=False)
    assert "\n" not in str(raised.value)
    assert not list(Path().iterdir())


def test_a_loss_outside_its_domain_names_row_and_value() -> None:
    x, y = np.arange(60.0), np.arange(60)
    y[41] = -3
    with pytest.raises(DataError, match=r"Poisson: target row 42 is -3"):
        quick(x, y, loss="poisson")
    with pytest.raises(
        ArgumentError,
        match="Hinge does not fit 'target', a multiclass target; choose among CrossEntropy",
    ):
        quick("digits", loss="hinge")
    with pytest.raises(ArgumentError, match=r"ZeroOne is flat.*Hinge"):
        quick("breast_cancer", loss="zeroone")


@pytest.mark.parametrize(
    ("y", "metric"), [(1e200 * np.linspace(-1, 1, 60), "rmse"), (np.eye(60)[0], "auc")]
)
def test_a_metric_that_gives_no_number_cannot_judge(y: np.ndarray, metric: str) -> None:
    with pytest.raises(DataError, match=f"{metric} gives no number on every fold"):
        quick(np.arange(60.0), y, metric=metric)


# Findings


def test_noise_is_found_to_be_no_better_than_a_constant() -> None:
    rng = np.random.default_rng(0)
    found = quick(rng.normal(size=(80, 20)), rng.normal(size=80), loss="absolute").run
    whats = [f["what"] for f in found["findings"]]
    worse = found["test"]["value"] >= found["baseline"]["test"]["value"]
    assert worse == ("The model is no better than a constant" in whats)


def test_a_rare_class_under_accuracy_is_a_finding() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.where(X[:, 0] + 0.3 * rng.normal(size=300) > 1.7, "ill", "well")
    whats = {
        m: [f["what"] for f in quick(X, y, metric=m).run["findings"]] for m in ("error", "auc")
    }
    assert "One class is rare, and the metric hardly notices it" in whats["error"]
    assert not [w for w in whats["auc"] if "rare" in w]


# Ctrl-C and time


def test_ctrl_c_in_the_first_candidate_still_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    solve, calls = Affine._solve, []

    def interrupted(self: Any, *job: Any) -> Any:
        calls.append(self.name)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return solve(self, *job)

    monkeypatch.setattr(Affine, "_solve", interrupted)
    run = quick("diabetes").run
    assert run["stopped"] == "Ctrl-C"
    assert len([c for c in run["candidates"] if c["status"] == "scored"]) == 1
    assert all(c["reason"] == "not tried: Ctrl-C" for c in run["candidates"][1:])
    assert run["test"]["value"] < run["baseline"]["test"]["value"]


def test_ctrl_c_later_keeps_what_was_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Affine.settings

    def interrupted(self: Any, bench: Any) -> Any:
        if self.loss == Huber():
            signal.raise_signal(signal.SIGINT)
        return search(self, bench)[:1]

    monkeypatch.setattr(Affine, "settings", interrupted)
    run = quick("diabetes", loss=["squared", "huber", "absolute"]).run
    assert run["stopped"] == "Ctrl-C"
    statuses = {c["loss"]: c["status"] for c in run["candidates"]}
    assert statuses == {"Squared": "scored", "Huber": "failed", "Absolute": "left out"}


def test_two_ctrl_c_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(*_: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Affine, "_solve", impatient)
    with pytest.raises(KeyboardInterrupt):
        quick("iris", out="run")
    assert not list(Path().iterdir())


def test_a_spent_budget_is_named_in_the_record() -> None:
    run = minimand.fit("wine", budget=1e-6, verbose=False).run
    assert run["stopped"] == "budget of 1e-06 s spent"
    assert run["winner"] == "CrossEntropy, linear"
    assert run["test"]["value"] > 0.9


# Held to


@pytest.mark.timeout(300)
def test_digits_are_read_with_97_5_percent(capsys: pytest.CaptureFixture[str]) -> None:
    fitted = minimand.fit("digits", out="run")
    winner = fitted.run["candidates"][0]
    assert winner["mean"] >= 0.975
    assert len(winner["scores"]) == 5
    assert fitted.run["test"]["low"] <= fitted.run["test"]["value"] <= fitted.run["test"]["high"]
    assert "CrossEntropy, linear" in capsys.readouterr().out
    assert Path("run/report.html").stat().st_size < 1_500_000
