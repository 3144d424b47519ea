"""What `recommend` says about real targets: the first loss, and numbers that are true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.datasets import load_diabetes, load_iris

import minimand
from minimand import recommend
from minimand.data import read_table
from minimand.diagnosis import Recommendation
from minimand.errors import MinimandError
from minimand.losses import BinaryCrossEntropy, Loss, Quantile

SharedData = Callable[[str], Path]
Array = Any


def names(found: list[Recommendation]) -> list[str]:
    return [type(r.loss).__name__ for r in found]


def numbers(why: str) -> list[float]:
    """The numbers of a sentence, percentages as shares, "5 spreads" left out."""
    found = re.findall(r"(?<!beyond )(?<![\w.])(\d+(?:\.\d+)?(?:e[+-]\d+)?)(%?)", why)
    return [float(number) / (100 if percent else 1) for number, percent in found]


def assert_says(found: list[Recommendation], loss: str, *expected: float) -> None:
    (why,) = [r.why for r in found if type(r.loss).__name__ == loss]
    assert numbers(why) == pytest.approx(list(expected), rel=0.03, abs=6e-4), why


def assert_usable(found: list[Recommendation], target: Array, classes: bool = False) -> None:
    """Each loss is read back from its text and accepts the target."""
    assert len(set(names(found))) == len(found) > 0
    for one in found:
        assert str(Loss.parse(str(one.loss))) == str(one.loss)
        assert str(one) == f"{one.loss}: {one.why}"
        one.loss.check_target(one.loss.from_classes(target) if classes else target)


def beyond(y: Array) -> float:
    return float(np.mean(np.abs(y - np.median(y)) > 5 * spread(y)))


def spread(y: Array) -> float:
    return float(stats.median_abs_deviation(y, scale="normal")) or float(np.std(y))


def test_the_claims_of_an_insurer(shared_data: SharedData) -> None:
    frame = read_table(shared_data("insurance/beMTPL97.csv.gz"), "amount")
    assert frame.target is not None
    amount = frame.target.to_numpy()
    found = recommend(frame.target)
    assert names(found)[0] == "Tweedie"
    assert_says(found, "Tweedie", np.mean(amount == 0))
    assert_says(found, "Squared", beyond(amount))
    assert_usable(found, amount)


def test_the_size_of_a_claim(shared_data: SharedData) -> None:
    target = read_table(shared_data("insurance/beMTPL97.csv.gz"), "amount").target
    assert target is not None
    size = target.filter(target > 0).to_numpy()
    found = recommend(size)
    assert names(found)[:2] == ["Gamma", "MSLE"]
    assert_says(found, "Gamma", stats.skew(size))
    assert_says(found, "MSLE", size.min(), size.max())
    assert_says(found, "Huber", beyond(size))
    assert_usable(found, size)


def test_the_number_of_claims(shared_data: SharedData) -> None:
    target = read_table(shared_data("insurance/beMTPL97.csv.gz"), "nclaims").target
    assert target is not None
    found = recommend(target, task="count")
    assert names(found) == ["Poisson"]
    assert_says(found, "Poisson", target.mean())  # type: ignore[arg-type]
    assert_usable(found, target.to_numpy())


def test_a_rare_class(shared_data: SharedData) -> None:
    target = read_table(shared_data("imbalanced/mammography.csv.gz"), "6", header=False).target
    assert target is not None
    index = (target.cast(pl.String).str.contains("-")).to_numpy().astype(int)
    rare = float(min(index.mean(), 1 - index.mean()))
    found = recommend(target)
    assert names(found)[0] == "BinaryFocal"
    for one in names(found):
        assert_says(found, one, rare)
    assert_usable(found, index, classes=True)
    balanced = recommend(target, metric="balancedaccuracy")[0].loss
    assert isinstance(balanced, BinaryCrossEntropy)
    assert balanced.pos_weight == pytest.approx((1 - rare) / rare, rel=1e-3)


def test_telephone_calls_of_which_some_were_minutes(shared_data: SharedData) -> None:
    """Rousseeuw and Leroy (1987): six years were recorded in another unit, 6 of 24."""
    calls = pl.read_csv(shared_data("robust/phones.csv"))["calls"]
    found = recommend(calls)
    assert names(found)[:3] == ["Huber", "Absolute", "Welsch"]
    for one in ("Huber", "Absolute", "Welsch", "Squared"):
        assert_says(found, one, 6 / 24)
    assert_usable(found, calls.to_numpy())


def test_grades_of_wine(shared_data: SharedData) -> None:
    rating = pl.read_csv(shared_data("ordinal/wine.csv"))["rating"]
    found = recommend(rating)
    assert names(found)[0] == "Ordinal"
    assert_says(found, "Ordinal", 5, 1, 5)
    assert_says(found, "CrossEntropy", 5)
    assert_usable(found, rating.to_numpy() - 1, classes=True)


def test_bicycles_by_the_hour(shared_data: SharedData) -> None:
    count = pl.read_csv(shared_data("bike_sharing/hour.csv.gz"))["cnt"]
    found = recommend(count, task="count")
    assert names(found) == ["NegativeBinomial", "Poisson"]
    assert_says(found, "NegativeBinomial", count.var(ddof=0) / count.mean())  # type: ignore[operator]
    assert_says(found, "Poisson", count.mean())  # type: ignore[arg-type]
    assert_usable(found, count.to_numpy())
    assert names(recommend(count, metric="poissondeviance"))[0] == "Poisson"


def test_iris_and_diabetes() -> None:
    species, progression = load_iris().target, load_diabetes().target
    found = recommend(species)
    assert names(found) == ["CrossEntropy", "Brier"]
    assert_says(found, "CrossEntropy", 3)
    assert_usable(found, species, classes=True)
    plain = recommend(progression)
    assert names(plain)[0] == "Squared"
    assert_says(plain, "Squared", 0.0)
    assert_usable(plain, progression)


@pytest.mark.parametrize(
    ("metric", "loss"),
    [
        ("mae", "Absolute"),
        ("medianae", "Absolute"),
        ("rmse", "Squared"),
        ("r2", "Squared"),
    ],
)
def test_the_metric_comes_first(metric: str, loss: str) -> None:
    skewed = np.random.default_rng(0).lognormal(size=500)
    assert names(recommend(skewed))[0] == "Gamma"
    assert names(recommend(skewed, metric=metric))[0] == loss


def test_a_quantile_is_recommended_at_the_level_of_the_metric() -> None:
    first = recommend(load_diabetes().target, metric="pinball(level=0.9)")[0].loss
    assert isinstance(first, Quantile) and first.level == 0.9


@pytest.mark.parametrize("metric", ["accuracy", "error", "logloss"])
def test_class_metrics_ask_for_a_proper_loss(metric: str) -> None:
    yes = np.repeat([0, 1], [95, 5])
    assert names(recommend(yes))[0] == "BinaryFocal"
    assert names(recommend(yes, metric=metric))[0] == "Logistic"
    assert names(recommend(np.repeat([0, 1, 2], 9), metric=metric))[0] == "CrossEntropy"


def test_zeros_beyond_poisson() -> None:
    counts = np.repeat([0, 3], [60, 40])
    found = recommend(counts, task="count")
    assert names(found)[0] == "ZeroInflatedPoisson"
    assert_says(found, "ZeroInflatedPoisson", 0.6, 0, np.exp(-1.2))
    assert_usable(found, counts)


def test_a_rare_class_among_several() -> None:
    index = np.repeat([0, 1, 2], [60, 38, 2])
    found = recommend(index, task="multiclass")
    assert names(found)[:2] == ["LogitAdjusted", "Focal"]
    assert_says(found, "Focal", 3, 0.02)
    assert_usable(found, index, classes=True)
    np.testing.assert_allclose(found[0].loss.prior, [0.6, 0.38, 0.02])  # type: ignore[attr-defined]


@pytest.mark.parametrize("metric", [None, "balancedaccuracy"])
@pytest.mark.parametrize("ordered", ["pandas", "polars"])
def test_ordered_categories(ordered: str, metric: str | None) -> None:
    values, order = ["low", "middle", "high"] * 20, ["low", "middle", "high"]
    y: Any = pl.Series(values, dtype=pl.Enum(order))
    if ordered == "pandas":
        y = pd.Series(pd.Categorical(values, order, ordered=True))
    found = recommend(y, metric=metric)
    (why,) = [r.why for r in found if type(r.loss).__name__ == "Ordinal"]
    assert "3 classes have an order, low to high" in why
    assert names(recommend(values)) == ["CrossEntropy", "Brier"]  # plain text has no order


def test_missing_targets_are_left_out() -> None:
    assert recommend([1.0, None, 2.5, 4.0, np.nan]) == recommend([1.0, 2.5, 4.0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (dict(y=[1.0, 1.0]), "only one value"),
        (dict(y=5), "one value for each row"),
        (dict(y=[[1, 2], [3, 4]]), "one value for each row"),
        (dict(y=[0.5, 1.5], task="regresion"), "did you mean 'regression'"),
        (dict(y=[0.5, 1.5], metric="maee"), "did you mean 'MAE'"),
        (dict(y=[0.5, 1.5], metric=3), "metric must be a name such as 'mae', not 3"),
        (dict(y=["a", "b", "c"] * 9, metric="mae"), "the metric serves regression or count"),
        (dict(y=[0.5, 1.5, 2.5], task="count"), "is not whole"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MinimandError) as caught:
        recommend(**arguments)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_recommend_is_public() -> None:
    assert "recommend" in minimand.__all__ and minimand.recommend is recommend
