from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

from minimand.data import FeatureEncoder, from_arrays, read_table
from minimand.errors import (
    DataError,
    FileError,
    MinimandError,
    ShapeError,
    UnknownNameError,
)

SharedData = Callable[[str], Path]


def written(content: str | bytes, name: str = "table.csv") -> Path:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_adult_has_no_header_and_a_space_after_each_comma(shared_data: SharedData) -> None:
    table = read_table(shared_data("adult/adult-train.csv.gz"), "14")
    assert table.frame.shape == (32561, 14)
    assert table.frame.columns == [str(i) for i in range(14)]
    assert table.target is not None
    # adult.names: 24.78 % earn more than 50K once rows with unknowns are dropped; 7841 rows in all
    assert (table.target == ">50K").sum() == 7841
    assert set(table.target) == {">50K", "<=50K"}
    assert table.frame["0"].dtype == pl.Int64 and table.frame["0"].mean() == pytest.approx(
        38.581647, abs=1e-6
    )
    assert table.frame["1"].null_count() == 1836  # cells "?" in the column workclass
    assert table.frame["1"][0] == "State-gov"
    assert "--header" in table.notes[0] and "header=True" in table.notes[0]


def test_adult_test_labels_keep_their_full_stop(shared_data: SharedData) -> None:
    table = read_table(shared_data("adult/adult-test.csv.gz"), "14")
    assert table.target is not None
    assert table.frame.height == 16281 and set(table.target) == {">50K.", "<=50K."}


@pytest.mark.parametrize(
    ("name", "target", "columns"),
    [("robust/phones.csv", "calls", ["year"]), ("robust/hbk.csv", "Y", ["X1", "X2", "X3"])],
)
def test_a_column_that_only_numbers_the_rows_is_left_out(
    shared_data: SharedData, name: str, target: str, columns: list[str]
) -> None:
    table = read_table(shared_data(name), target)
    assert table.frame.columns == columns
    assert "'rownames'" in table.notes[0]


def test_an_ordinal_table_and_a_gzipped_one(shared_data: SharedData) -> None:
    wine = read_table(shared_data("ordinal/wine.csv"), "rating")
    assert wine.frame.shape == (72, 5) and wine.frame["temp"].dtype == pl.String
    hours = read_table(shared_data("bike_sharing/hour.csv.gz"), "cnt")
    assert hours.frame.shape == (17379, 15)  # Readme.txt: 17379 hours, 17 fields
    days = read_table(shared_data("bike_sharing/day.csv"), "cnt")
    assert days.frame["dteday"].dtype == pl.Date


def test_a_numbering_column_stays_if_it_is_all_there_is_or_counts_otherwise() -> None:
    assert read_table(written("id,y\n1,5\n2,6\n3,8\n"), "y").frame.columns == ["id"]
    assert read_table(written("id,x,y\n1,2,5\n3,4,6\n"), "y").frame.columns == ["id", "x"]
    assert read_table(written("year,x,y\n1,2,5\n2,4,6\n"), "y").frame.columns == ["year", "x"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(separator: str) -> None:
    lines = ["name,age,job", 'Ann,31,"x,y;z|w"', "Bob,?,b", "", "Eve, 7 ,c"]
    text = "\r\n".join(line.replace(",", separator) for line in lines)
    table = read_table(written("\ufeff" + text), "age")
    assert table.frame.columns == ["name", "job"]
    assert table.target is not None and table.target.to_list() == [31, 7]
    assert table.notes == ("Dropped 1 of 3 rows: the target 'age' is missing there.",)


def test_text_becomes_the_narrowest_kind_that_fits() -> None:
    text = "i,f,b,d,t,s,y\n1,1,true,2024-02-29,2024-02-29 12:00,1,1\n-2,.5,False,2024-03-01,"
    table = read_table(written(text + "2024-03-01T06:30:15.5,x,2\n"), "y")
    kinds = [pl.Int64, pl.Float64, pl.Boolean, pl.Date, pl.Datetime, pl.String]
    assert [dtype.base_type() for dtype in table.frame.dtypes] == kinds


@pytest.mark.parametrize("cell", ["", "?", "NA", "N/A", "NaN", "nan", "null", "None", " NA "])
def test_missing_cells(cell: str) -> None:
    table = read_table(written(f"a,b,y\n1,x,1\n{cell},{cell},2\n"), "y")
    assert table.frame.row(1) == (None, None)
    assert from_arrays([[1, "x"], [cell, cell]]).frame.row(1) == (None, None)


def test_the_header_can_be_forced_either_way() -> None:
    path = written("2019,2020\n1,2\n3,4\n")
    assert read_table(path, "1").frame.height == 3
    assert read_table(path, "2020", header=True).frame["2019"].to_list() == [1, 3]
    path = written("a,b\nc,d\n")
    assert read_table(path, "1", header=False).frame["0"].to_list() == ["a", "c"]


def test_parquet_and_csv_are_the_same_data() -> None:
    frame = pl.DataFrame(
        {
            "n": [1, None, 3],
            "x": [0.1, 1e-300, -2.5],
            "flag": [True, False, None],
            "job": ["clerk", "a,\"b\"", None],
            "day": pl.Series(["2024-01-01", "2024-01-02", None]).str.to_date(),
            "y": [1.5, 2.5, 4.0],
        }
    )  # fmt: skip
    frame.write_csv("same.csv")
    frame.write_parquet("same.parquet")
    frame.cast({"n": pl.Int8}).write_parquet("narrow.parquet")
    tables = [read_table(f"same.{end}", "y") for end in ("csv", "parquet")]
    tables.append(read_table("narrow.parquet", "y"))
    for table in tables:
        assert table.frame.equals(frame.drop("y"))
        assert table.fingerprint == tables[0].fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"a": [1, 2, 4]}, {"b": ["u", "vw", "x"]}, {"a": [1.0, 2.0, 3.0]}, {"a": [None, 2, 3]},
        {"c": [1, 2, 3]},
    ],
)  # fmt: skip
def test_the_fingerprint_feels_every_change(change: dict[str, list[Any]]) -> None:
    columns: dict[str, list[Any]] = {"a": [1, 2, 3], "b": ["uv", "w", "x"]}
    before, after = from_arrays(columns), from_arrays(columns | change)
    assert before.fingerprint == from_arrays(columns).fingerprint != after.fingerprint
    assert len({from_arrays(columns, y).fingerprint for y in ([1, 2, 3], [1, 2, 4], None)}) == 3


def test_bundled_data_sets_and_a_file_that_wins() -> None:
    table = read_table("diabetes")
    X, y = load_diabetes(return_X_y=True)
    assert table.target is not None and table.target.dtype == pl.Float64
    np.testing.assert_array_equal(table.frame.to_numpy(), X)
    np.testing.assert_array_equal(table.target.to_numpy(), y)
    digits = read_table("digits").target
    assert digits is not None and digits.dtype == pl.Int64
    cancer = read_table("breast_cancer").target
    assert cancer is not None and set(cancer) == {"benign", "malignant"}
    assert read_table("iris", "petal width (cm)").frame.columns[-1] == "target"
    written("a,target\n1,2\n3,4\n", "wine")
    assert read_table("wine", "target").frame.columns == ["a"]


def test_pandas_polars_numpy_and_lists_give_the_same_matrix() -> None:
    rows: list[list[Any]] = [[1, 0.5, "a"], [2, None, "b"], [4, 1.5, None], [8, 2.5, "a"]]
    names = ["0", "1", "2"]
    pandas = pd.DataFrame(rows, columns=names)
    typed = pandas.astype({"0": "Int64", "1": "Float32", "2": "category"})
    frame = pl.DataFrame(rows, schema=names, orient="row")
    sources = [rows, np.array(rows, dtype=object), pandas, typed, frame, frame.lazy()]
    sources += [frame.with_columns(pl.col("2").cast(pl.Categorical)), frame.to_dict()]
    expected = FeatureEncoder.fit(frame).transform(frame)
    for source in sources:
        table = from_arrays(source)
        assert table.frame.equals(frame)
        np.testing.assert_array_equal(
            FeatureEncoder.fit(table.frame).transform(table.frame), expected
        )


def test_targets_come_as_arrays_series_lists_or_names() -> None:
    X = {"a": [1, 2, 3], "b": [4.0, 5.0, None]}
    for y in (
        [4.0, 5.0, None],
        np.array([4.0, 5.0, np.nan]),
        pd.Series([4.0, 5.0, None], name="b"),
    ):
        table = from_arrays({"a": X["a"]}, y)
        assert table.target is not None and table.target.to_list() == [4.0, 5.0]
        assert table.frame["a"].to_list() == [1, 2]
    assert from_arrays(X, "b").fingerprint == table.fingerprint
    assert "1 of 3 rows" in table.notes[0]
    labels = from_arrays(X, np.array(["0", "1", "0"])).target
    assert labels is not None and labels.to_list() == ["0", "1", "0"]
    assert from_arrays(np.arange(3.0)).frame.shape == (3, 1)
    assert from_arrays(np.ones((2, 2)), np.ones((2, 1))).target is not None


def test_pandas_dates_with_and_without_a_time_zone() -> None:
    days = pd.Series(pd.to_datetime(["2024-01-01", None]))
    frame = from_arrays(
        pd.DataFrame({"a": days, "b": days.dt.tz_localize("UTC"), "c": days - days[0]})
    ).frame
    assert frame.dtypes == [pl.Datetime("us"), pl.Datetime("us"), pl.Float64]
    assert frame["a"].equals(frame["b"]) and frame.row(1) == (None, None, None)


def test_prediction_keeps_every_row_and_needs_no_target() -> None:
    path = written("id,x,y\n1,2,\n2,3,7\n")
    table = read_table(path, "y", need_target=False)
    assert table.frame.columns == ["id", "x"] and table.frame.height == 2
    assert table.target is not None and table.target.to_list() == [None, 7]
    assert read_table(written("x\n1\n"), "y", need_target=False).target is None
    assert from_arrays([[1, 2]]).frame.height == 1


@pytest.mark.parametrize(
    ("content", "target", "error", "words"),
    [
        ("", "a", DataError, "is empty"),
        (" \n\n", "a", DataError, "is empty"),
        ("a,b\n", "a", DataError, "no rows"),
        ("a,b\n1,2\n", "a", DataError, "one row"),
        ("a,b\n1,2\n3,\n", "b", DataError, "one row"),
        ("a,b\n1,\n3,\n", "b", DataError, "'b' is missing in every row"),
        ("a,b,a\n1,2,3\n4,5,6\n", "b", DataError, "'a' occurs more than once"),
        ("a,b\n1,2\n\n3\n", "a", DataError, "line 4: 1 cell where the first line has 2"),
        ('a,b\n1,"u\nv"\n3,4,5\n', "a", DataError, "line 4: 3 cells"),
        ('a,b\n1,"2\n3,4\n', "a", DataError, "line 2: .* quotation mark"),
        (b"a,b\n1,2\n\xff,4\n", "a", DataError, r"not UTF-8 text \(line 3\)"),
        (b"PK\x03\x04 an Excel file", "a", DataError, "save it as CSV"),
        (b"PAR1 but nothing else", "a", DataError, "not a readable Parquet"),
        (b"\x1f\x8b damaged", "a", FileError, "gzip"),
        (gzip.compress(b"a,b\n" * 99, mtime=0)[:-9], "a", FileError, "gzip"),
        ("length,width\n1,2\n3,4\n", "lenght", UnknownNameError, "did you mean 'length'"),
        ("a,b\n1,2\n3,-inf\n", "a", DataError, "column 'b', row 2: the value is infinite"),
        ("a,b\n1,2\n3,1e999\n", "b", DataError, "column 'b', row 2: the value is infinite"),
        ("a,b\n1,2\n3,4\n", None, DataError, "--target .* the columns are 'a', 'b'"),
        ("a\n1\n3\n", "a", DataError, "no column to predict from"),
    ],
)
def test_bad_files_get_one_clear_sentence(
    content: str | bytes, target: str | None, error: type[MinimandError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        read_table(written(content), target)
    assert "\n" not in str(caught.value)


def test_missing_files_and_directories() -> None:
    with pytest.raises(FileError, match=r"no file 'irsi'.*bundled: breast_cancer, diabetes"):
        read_table("irsi", "target")
    with pytest.raises(FileError, match="is a directory"):
        read_table(Path.cwd(), "target")


@pytest.mark.parametrize(
    ("X", "y", "error", "words"),
    [
        (np.ones((3, 2)), [1, 2], ShapeError, "X has 3 rows but y has 2 values"),
        (np.ones((3, 2, 2)), None, ShapeError, r"\(3, 2, 2\)"),
        (np.ones((3, 2)), np.ones((3, 2)), ShapeError, r"\(3, 2\)"),
        ([[1, 2], [3]], None, ShapeError, "equally long"),
        ({"a": [1, 2], "b": [1]}, None, ShapeError, "'a' has 2 values but column 'b' has 1"),
        ([], None, DataError, "no rows"),
        ({}, None, DataError, "no columns"),
        (7, None, ShapeError, "expected a table"),
        (np.ones((2, 1)) * 1j, None, DataError, "complex"),
        (pl.DataFrame({"a": [[1], [2]]}), None, DataError, "'a' holds List"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), None, DataError, "'a' occurs more than once"),
        ([[1.0], [np.inf]], None, DataError, "column '0', row 2: the value is infinite"),
        ([[1], [2]], [1, float("-inf")], DataError, "column 'target', row 2"),
        ({"age": [1, 2], "b": [1, 2]}, "aeg", UnknownNameError, "did you mean 'age'"),
    ],
)
def test_bad_arrays_get_one_clear_sentence(
    X: Any, y: Any, error: type[MinimandError], words: str
) -> None:
    with pytest.raises(error, match=words):
        from_arrays(X, y)


hostile = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name == name.strip() and "\0" not in name
)


@given(st.lists(hostile, min_size=2, max_size=4, unique=True))
@example(["*", "^.*$", "<script>alert(1)</script>", 'a"b', "a\nb", "''; drop"])
@example(["a", "^.*$", "*"])
def test_hostile_names_and_cells_survive_a_csv_file(names: list[str]) -> None:
    cells = pl.DataFrame({name: [f"{other}!" for other in names] for name in names})
    cells.write_csv("hostile.csv", quote_style="always")
    table = read_table("hostile.csv", names[-1], header=True)
    assert table.frame.equals(pl.DataFrame(cells.get_columns()[:-1]))
    encoder = FeatureEncoder.fit(table.frame)
    assert FeatureEncoder.from_json(encoder.to_json()) == encoder


@given(st.one_of(st.binary(max_size=60), st.text('a1,;"\n\r\t. é-', max_size=60).map(str.encode)))
def test_any_bytes_give_a_table_or_one_of_our_errors(content: bytes) -> None:
    path = written(content)
    try:
        table = read_table(path, need_target=False)
    except MinimandError:
        return
    assert table.frame.height and table.frame.width
