from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from minimand.data import FeatureEncoder, TargetEncoder, Task, read_table
from minimand.errors import DataError, TargetError, UnknownNameError

SharedData = Callable[[str], Path]


def test_adult_agrees_with_scikit_learn(shared_data: SharedData) -> None:
    table = read_table(shared_data("adult/adult-train.csv.gz"), "14")
    encoder = FeatureEncoder.fit(table.frame)
    X = encoder.transform(table.frame)
    assert X.shape == (32561, len(encoder.names)) and np.isfinite(X).all()
    ages = StandardScaler().fit_transform(table.frame.select("0").to_numpy().astype(float))
    np.testing.assert_allclose(X[:, encoder.names.index("0")], ages[:, 0], atol=1e-9)
    peer = OneHotEncoder(sparse_output=False).fit(table.frame.select("5").to_numpy())
    start = encoder.names.index("5=Divorced")
    np.testing.assert_array_equal(
        X[:, start : start + 7], peer.transform(table.frame.select("5").to_numpy())
    )
    assert X[:, encoder.names.index("1=(missing)")].sum() == 1836
    assert "13=(other)" in encoder.names and "13=Holand-Netherlands" not in encoder.names
    assert encoder.numeric_scale("10") is None  # capital-gain: squashed
    assert any("asinh" in note and "'10'" in note for note in encoder.notes)
    test = read_table(shared_data("adult/adult-test.csv.gz"), "14").frame
    Z, notes = encoder.transform_with_notes(test)
    assert Z.shape == (16281, X.shape[1]) and np.isfinite(Z).all() and notes == ()


def test_labels_with_a_full_stop_are_refused_by_name(shared_data: SharedData) -> None:
    train = read_table(shared_data("adult/adult-train.csv.gz"), "14").target
    test = read_table(shared_data("adult/adult-test.csv.gz"), "14").target
    assert train is not None and test is not None
    encoder = TargetEncoder.fit(train, "binary")
    assert encoder.classes == ("<=50K", ">50K") and encoder.encode(train).sum() == 7841
    with pytest.raises(TargetError, match=r"row 1: '<=50K\.' is not one of the classes"):
        encoder.encode(test)


def test_ordinal_wine_by_hand(shared_data: SharedData) -> None:
    frame = read_table(shared_data("ordinal/wine.csv"), "rating").frame
    encoder = FeatureEncoder.fit(frame)
    assert encoder.names == (
        "response", "temp=cold", "temp=warm", "contact=no", "contact=yes", "bottle", "judge"
    )  # fmt: skip
    # a balanced experiment: 9 judges, 8 bottles, temperatures and contacts crossed
    np.testing.assert_array_equal(encoder.transform(frame)[:, 1:5].sum(axis=0), [36, 36, 36, 36])
    assert encoder.numeric_scale("judge") == pytest.approx((5.0, np.sqrt(60 / 9)))


def test_bike_hours_are_finite_and_the_levels_are_bounded(shared_data: SharedData) -> None:
    frame = read_table(shared_data("bike_sharing/hour.csv.gz"), "cnt").frame
    X = FeatureEncoder.fit(frame).transform(frame)
    assert np.isfinite(X).all() and X.shape[1] < 150


def test_missing_numbers_become_the_median_beside_an_indicator() -> None:
    encoder = FeatureEncoder.fit(pl.DataFrame({"age": [1.0, None, 3.0, 8.0]}))
    assert encoder.names == ("age", "age is missing")
    center, scale = encoder.numeric_scale("age") or (0, 0)
    assert (center, scale) == pytest.approx((3.75, np.std([1, 3, 3, 8])))
    X = encoder.transform(pl.DataFrame({"age": [None, 3.0]}))
    assert X[0, 0] == X[1, 0] == pytest.approx((3 - center) / scale)
    assert X[:, 1].tolist() == [1.0, 0.0]


def test_a_number_that_is_missing_for_the_first_time_is_said() -> None:
    encoder = FeatureEncoder.fit(pl.DataFrame({"age": [1, 3, 8], "job": ["a", "b", "a"]}))
    X, notes = encoder.transform_with_notes(pl.DataFrame({"age": [None, 3], "job": ["a", None]}))
    assert X[0, 0] == X[1, 0] and X[1, 1:].tolist() == [0.0, 0.0]
    assert "its median, 3" in notes[0] and "'job' is missing in 1 row" in notes[1]


def test_booleans_dates_and_times() -> None:
    frame = pl.DataFrame(
        {"b": [True, False, None], "d": ["2024-01-01", "2024-01-03", "2024-01-02"]}
    )
    frame = frame.with_columns(pl.col("d").str.to_date())
    frame = frame.with_columns(t=pl.col("d").cast(pl.Datetime("ms")))
    encoder = FeatureEncoder.fit(frame)
    X = encoder.transform(frame)
    assert encoder.names == ("b", "b is missing", "d", "t")
    assert X[:2, 0].tolist() == [1.0, 0.0] and X[:, 1].tolist() == [0, 0, 1]
    np.testing.assert_allclose(X[:, 2], np.sqrt(1.5) * np.array([-1, 1, 0]), atol=1e-12)
    np.testing.assert_array_equal(X[:, 2], X[:, 3])
    as_text = frame.with_columns(pl.col("d").cast(pl.String), pl.Series("b", ["True", "false", ""]))
    np.testing.assert_array_equal(encoder.transform(as_text), X)


def test_ordinary_columns_are_linear_and_heavy_tails_are_squashed_in_order() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal(500)
    frame = pl.DataFrame({"plain": x, "heavy": np.exp(3 * x), "rare": (x > 2.2) * 1})
    encoder = FeatureEncoder.fit(frame)
    X = encoder.transform(frame)
    for name in ("plain", "rare"):
        center, scale = encoder.numeric_scale(name) or (0, 0)
        values = frame[name].to_numpy().astype(float)
        np.testing.assert_allclose(
            X[:, encoder.names.index(name)] * scale + center, values, atol=1e-12
        )
    assert encoder.numeric_scale("heavy") is None
    assert np.array_equal(np.argsort(X[:, 1]), np.argsort(x)) and X[:, 1].max() < 6


def test_rare_levels_share_a_column_and_new_ones_join_them() -> None:
    common = [f"c{i}" for i in range(10)]
    frame = pl.DataFrame({"town": common * 10 + ["rare", "seldom"]})
    encoder = FeatureEncoder.fit(frame)
    assert encoder.names == (*(f"town={c}" for c in common), "town=(other)")
    X, notes = encoder.transform_with_notes(pl.DataFrame({"town": ["rare", "new", "c3", "new"]}))
    assert X[:, -1].tolist() == [1, 1, 0, 1] and X[2, 3] == 1 and X.sum() == 4
    assert len(notes) == 1 and "1 level not seen at training, in 3 rows" not in notes[0]
    assert "1 level not seen at training, in 2 rows ('new')" in notes[0]


def test_new_levels_without_others_have_only_zeros() -> None:
    encoder = FeatureEncoder.fit(pl.DataFrame({"job": ["a", "b", "a"]}))
    X, notes = encoder.transform_with_notes(pl.DataFrame({"job": ["b", "z"]}))
    assert X.tolist() == [[0, 1], [0, 0]]
    assert "'job' has 1 level not seen at training, in 1 row ('z')" in notes[0]


def test_useless_columns_are_left_out_and_said() -> None:
    n = 120
    frame = pl.DataFrame(
        {
            "x": list(range(n)),
            "same": [7] * n,
            "void": pl.Series([None] * n, dtype=pl.String),
            "name": [f"person {i}" for i in range(n)],
            "half": [1 if i % 2 else None for i in range(n)],
        }
    )
    encoder = FeatureEncoder.fit(frame)
    assert encoder.columns == ("x", "half") and encoder.names == ("x", "half=1", "half=(missing)")
    assert encoder.dropped == ("same", "void", "name")
    for name in encoder.dropped:
        assert sum(f"'{name}'" in note for note in encoder.notes) == 1
    assert encoder.transform_with_notes(frame)[1] == ()
    with pytest.raises(DataError, match=r"no column is of any use.*'same'"):
        FeatureEncoder.fit(frame.select("same", "void"))


def test_prediction_frames_are_checked() -> None:
    encoder = FeatureEncoder.fit(pl.DataFrame({"height": [1.5, 2.0], "job": ["1", "2"]}))
    accepted = pl.DataFrame({"extra": [0], "job": [2.0], "height": [" 2 "]})
    X, notes = encoder.transform_with_notes(accepted)
    assert X.tolist() == [[1.0, 0.0, 1.0]] and "'extra'" in notes[0]
    with pytest.raises(
        DataError, match=r"'height', used at training, is absent \('heigth' is near"
    ):
        encoder.transform(pl.DataFrame({"job": ["1"], "heigth": [1.0]}))
    with pytest.raises(DataError, match="column 'height', row 2: 'tall' is not a number"):
        encoder.transform(pl.DataFrame({"job": ["1", "1"], "height": ["1", "tall"]}))
    for infinite in (pl.Series([1.0, np.inf]), pl.Series(["1", "-inf"])):
        with pytest.raises(DataError, match="column 'height', row 2: the value is infinite"):
            encoder.transform(pl.DataFrame({"job": ["1", "1"], "height": infinite}))
    with pytest.raises(UnknownNameError, match="did you mean 'height'"):
        encoder.numeric_scale("heigt")
    dated = FeatureEncoder.fit(
        pl.DataFrame({"day": ["2024-01-01", "2024-01-02"]}).select(pl.col("day").str.to_date())
    )
    with pytest.raises(DataError, match="column 'day', row 1: '3' is not a date"):
        dated.transform(pl.DataFrame({"day": [3]}))


numbers = st.one_of(st.none(), st.floats(-1e100, 1e100), st.integers(-5, 5).map(float))
cells = st.one_of(st.none(), st.sampled_from("abc"), st.text(max_size=5))
columns = st.integers(2, 30).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "number": st.lists(numbers, min_size=n, max_size=n),
            "text": st.lists(cells, min_size=n, max_size=n),
            "flag": st.lists(st.one_of(st.none(), st.booleans()), min_size=n, max_size=n),
            "whole": st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n),
            "steady": st.just(list(range(n))),
        }
    )
)
SCHEMA = {"number": pl.Float64, "text": pl.String, "flag": pl.Boolean, "whole": pl.Int64}


@given(columns)
def test_an_encoder_survives_json_and_its_matrix_is_finite(values: dict[str, list[Any]]) -> None:
    frame = pl.DataFrame(values, schema_overrides=SCHEMA)
    encoder = FeatureEncoder.fit(frame)
    again = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    X = encoder.transform(frame)
    assert X.shape == (frame.height, len(encoder.names)) and np.isfinite(X).all()
    np.testing.assert_array_equal(again.transform(frame), X)
    np.testing.assert_array_equal(encoder.transform(frame[::-1]), X[::-1])


@given(st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=30, unique=True))
def test_regression_targets_come_back(values: list[float]) -> None:
    target = pl.Series("y", values)
    encoder = TargetEncoder.fit(target, "regression")
    again = TargetEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    back = again.decode(again.encode(target))
    np.testing.assert_allclose(back, values, rtol=1e-9, atol=1e-12 * max(map(abs, values)))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "c", "a"], ("a", "b", "c")),
        ([3, 1, 3], (1, 3)),
        ([2.5, -1.0], (-1.0, 2.5)),
        ([True, False], (False, True)),
    ],
)
def test_classes_come_back_as_they_were(values: list[Any], classes: tuple[Any, ...]) -> None:
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    encoder = TargetEncoder.fit(pl.Series("y", values), task)
    again = TargetEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert encoder == again and encoder.classes == classes
    codes = again.encode(pl.Series("y", values))
    assert codes.dtype == np.int64 and [classes[i] for i in codes] == values
    assert again.decode(codes).tolist() == values


def test_regression_is_scaled_robustly() -> None:
    encoder = TargetEncoder.fit(pl.Series([1.0, 2.0, 3.0, 4.0, 1e6]), "regression")
    assert (encoder.center, encoder.scale) == pytest.approx((3.0, 2 / 1.349))
    mostly_zero = TargetEncoder.fit(pl.Series([0.0] * 9 + [10.0]), "regression")
    assert mostly_zero.scale == pytest.approx(
        3.0
    )  # no range between the quartiles: √(1/10·9/10)·10


def test_counts_stay_raw() -> None:
    encoder = TargetEncoder.fit(pl.Series("y", [0, 3, 1]), "count")
    assert encoder.encode(pl.Series("y", [5, 0])).tolist() == [5.0, 0.0]
    assert encoder.decode(2.5) == 2.5
    with pytest.raises(TargetError, match="row 2: -1 is negative"):
        encoder.encode(pl.Series("y", [0, -1]))


def test_targets_that_cannot_be_encoded() -> None:
    with pytest.raises(DataError, match="only one value"):
        TargetEncoder.fit(pl.Series("y", [2.0, 2.0]), "regression")
    encoder = TargetEncoder.fit(pl.Series("y", [1, 2]), "binary")
    with pytest.raises(TargetError, match=r"row 1: '1\.5' is not one of the classes .* '1', '2'"):
        encoder.encode(pl.Series("y", [1.5, 2]))
    with pytest.raises(TargetError, match="row 2: the value is missing"):
        encoder.encode(pl.Series("y", [1, None]))
