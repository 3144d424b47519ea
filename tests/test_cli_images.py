"""`minimand fit images/ --network ...`: from pictures to a network, its test and its page."""

from __future__ import annotations

import io
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import minimand as package
from minimand import cli
from minimand.data import read_images
from minimand.errors import ArgumentError, DataError, ShapeError

Command = Callable[..., tuple[int, str, str]]
DIGITS = load_digits()
KEPT = np.flatnonzero(DIGITS.target < 3)[:240]
X, Y = np.rint(DIGITS.images[KEPT] * 15).astype(np.uint8), DIGITS.target[KEPT]
NAMES = np.array(["nought", "one", "two"])[Y]
QUICK = ("--network", "linear", "--epochs", 12)


@pytest.fixture
def minimand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`minimand("fit", "clothes")` runs the command: (status, what it said, its complaint)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["minimand", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def refused(minimand: Command) -> Callable[..., str]:
    """Run a command that must fail with one sentence and leave nothing behind."""

    def run(*arguments: object) -> str:
        status, _, complained = minimand(*arguments)
        assert status == 2
        assert re.fullmatch(r"minimand: [^\n]+\n", complained), complained
        assert not Path("runs").exists()
        return complained

    return run


def pictures(folder: Path, images: Any = X, names: Any = NAMES) -> Path:
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{i:03}.png")
    return folder


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One label in twelve is wrong, so that there are mistakes to show."""
    names = np.where(np.arange(len(X)) % 12 == 0, np.roll(NAMES, 1), NAMES)
    return pictures(tmp_path_factory.mktemp("data") / "digits", names=names)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    package.fit(folder, network=["linear", "mlp"], epochs=16, out=out, verbose=False)
    return out


def test_a_folder_of_pictures_is_fitted_and_everything_written(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    data = record["data"]
    assert (data["rows"], data["rows_test"], data["shape"]) == (240, 48, [8, 8, 1])
    assert data["classes"] == ["nought", "one", "two"]
    assert {c["name"] for c in record["candidates"]} == {
        "CrossEntropy, Linear",
        "CrossEntropy, MLP",
    }
    assert record["judged"] == "validation"
    assert record["test"]["low"] <= record["test"]["value"] <= record["test"]["high"]
    assert record["test"]["value"] > 0.8 > record["baseline"]["test"]["value"]
    assert (run / "model" / "model.safetensors").is_file()
    history = pl.read_parquet(run / "history.parquet")
    assert history["epoch"].to_list() == [*range(1, 17)]


def test_the_page_shows_the_mistakes(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    fitted = package.load(run)
    wrong = np.flatnonzero(fitted.predictions["actual"] != fitted.predictions["predicted"])
    assert fitted.mistakes["places"].tolist() and len(wrong) == page.count("<img ")
    assert {*fitted.mistakes["places"].tolist()} == {*wrong.tolist()}
    assert page.count('src="data:image/png;base64,') == len(wrong)
    assert "img-src data:" in page and "Confusion matrix" in page
    assert fitted.report() == page
    surest = fitted.predictions["probability"].max(axis=1)[fitted.mistakes["places"]]
    assert np.all(np.diff(surest) <= 0)


def test_new_pictures_are_predicted_by_name_and_brought_to_size(
    minimand: Command, run: Path, tmp_path: Path
) -> None:
    larger = [image.repeat(3, axis=0).repeat(3, axis=1) for image in X[:30]]
    new = pictures(tmp_path / "new", larger, NAMES[:30])
    status, said, noted = minimand("predict", run, new)
    found = pl.read_csv(io.StringIO(said))
    assert status == 0
    assert "30 of 30 pictures are not 8 × 8 pixels" in noted
    folders = found["file"].str.split("/").list.first()
    assert (folders == found["prediction"]).mean() > 0.8
    assert found.columns[2:] == ["P(nought)", "P(one)", "P(two)"]
    alone = new / "one" / "001.png"
    assert minimand("predict", run, alone)[1].splitlines()[1].startswith("001.png,")


def test_idx_files_are_judged_on_their_own_test_part(minimand: Command) -> None:
    for part, rows in (("train", slice(0, 180)), ("t10k", slice(180, 240))):
        idx(Path(f"m/{part}-images-idx3-ubyte"), X[rows])
        idx(Path(f"m/{part}-labels-idx1-ubyte"), Y[rows])
    status, said, complained = minimand("fit", "m", *QUICK, "--out", "run")
    assert (status, complained) == (0, "")
    assert "Set 60 rows aside for the test; 162 images to train on and 18 to choose by." in said
    assert "on 60 test rows" in said
    actual = pl.read_parquet("run/test_predictions.parquet")["actual"].to_list()
    assert actual == Y[180:].tolist()
    np.save("new.npy", X[180:])
    status, said, _ = minimand("predict", "run", "new.npy")
    said_before = pl.read_parquet("run/test_predictions.parquet")["predicted"].to_list()
    assert pl.read_csv(io.StringIO(said))["prediction"].to_list() == said_before


def test_a_convolutional_network_learns_from_pictures_and_names_new_ones(
    minimand: Command,
) -> None:
    folder = pictures(Path("pictures"), X[:60], NAMES[:60])
    asked = ("--network", "cnn", "--epochs", 2, "--out", "run")
    assert minimand("fit", folder, *asked)[0] == 0
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert record["winner"] == "CrossEntropy, CNN"
    assert pl.read_parquet("run/history.parquet")["epoch"].to_list() == [1, 2]
    status, said, _ = minimand("predict", "run", folder)
    found = pl.read_csv(io.StringIO(said))
    chances = found.select("P(nought)", "P(one)", "P(two)").to_numpy()
    assert status == 0 and len(found) == 60
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-4)
    most = np.array(["nought", "one", "two"])[chances.argmax(axis=1)]
    assert found["prediction"].to_list() == most.tolist()


def test_what_is_asked_for_is_what_is_trained(minimand: Command) -> None:
    np.savez("digits.npz", X=X, y=Y)
    noise = ("--augment", "gaussian_noise(stddev=0.2)", "--augment", "mixup")
    losses = ("--loss", "cross_entropy", "--loss", "brier")
    assert minimand("fit", "digits.npz", *QUICK, *noise, *losses, "--out", "run")[0] == 0
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    recipe = record["recipe"]["recipe"]
    assert (recipe["epochs"], recipe["augmentation"]["type"]) == (12, "Chain")
    assert [a["type"] for a in recipe["augmentation"]["augmentations"]] == [
        "GaussianNoise",
        "MixUp",
    ]
    assert len(record["candidates"]) == 2
    assert "--augment mixup" in record["command"]


def test_a_spent_budget_delivers_the_first_network(minimand: Command) -> None:
    np.savez("digits.npz", X=X, y=Y)
    status, said, _ = minimand("fit", "digits.npz", "--budget", "0.01", "--out", "run")
    assert status == 0
    assert "CrossEntropy, CNN: left out (not tried:" in said
    assert Path("run/report.html").is_file()


def test_compare_and_fit_in_python_on_arrays() -> None:
    asked: dict[str, Any] = {"network": "linear", "epochs": 12, "verbose": False}
    compared = package.compare(X, Y, **asked)
    assert compared.run["winner"] == "CrossEntropy, Linear"
    assert "test" not in compared.run
    fitted = package.fit(X, Y, **asked)
    assert np.mean(fitted.predict(X[:, :, :, None]) == Y) > 0.8
    assert fitted.predict_proba(X).shape == (240, 3)
    with pytest.raises(ShapeError, match=r"images of 8 × 4 pixels; .* trained on images of 8 × 8"):
        fitted.predict(X[:, :, :4])


def test_a_number_in_each_image() -> None:
    brightness = 10 + X.mean(axis=(1, 2)) / 255
    fitted = package.fit(X, brightness, network="linear", epochs=100, verbose=False)
    assert fitted.run["data"]["task"] == "regression"
    assert np.corrcoef(fitted.predict(X), brightness)[0, 1] > 0.9


def test_images_that_are_read_already() -> None:
    np.savez("digits.npz", X=X, y=Y)
    images = read_images("digits.npz", size=6)
    fitted = package.fit(images, network="linear", epochs=2, verbose=False)
    assert fitted.run["data"]["shape"] == [6, 6, 1]


# Bad input


def test_what_belongs_to_images_is_refused_for_tables(refused: Callable[..., str]) -> None:
    assert "epochs is for images" in refused("fit", "iris", "--epochs", 3)
    assert "augmentation is for images" in refused("fit", "iris", "--augment", "mixup")
    assert "bundled images are called 'digits'" in refused("fit", "iris", "--network", "linear")


def test_what_belongs_to_tables_is_refused_for_images(refused: Callable[..., str]) -> None:
    np.savez("digits.npz", X=X, y=Y)
    said = refused("fit", "digits.npz", "--model", "mlp")
    assert "are those of tables; name the networks for images with --network" in said


def test_names_that_nothing_has(refused: Callable[..., str]) -> None:
    np.savez("digits.npz", X=X, y=Y)
    assert "unknown network 'cmn'" in refused("fit", "digits.npz", "--network", "cmn")
    said = refused("fit", "digits.npz", *QUICK, "--augment", "mixop")
    assert "unknown augmentation 'mixop'; did you mean 'MixUp'?" in said
    assert "epochs is 0" in refused("fit", "digits.npz", "--epochs", 0)
    assert "Huber does not fit 'label'" in refused("fit", "digits.npz", "--loss", "huber")
    assert "there is no file or folder 'none'" in refused("fit", "none", "--network", "linear")


@pytest.mark.parametrize("network", ["autoencoder", "transformer", "unet", "rbm"])
def test_networks_that_give_an_image_no_scores(refused: Callable[..., str], network: str) -> None:
    np.savez("digits.npz", X=X, y=Y)
    said = refused("fit", "digits.npz", "--network", network, "--network", "linear")
    assert "does not give every row of numbers its scores [n, K]; use 'linear'" in said


def test_images_that_teach_nothing(refused: Callable[..., str]) -> None:
    one = pictures(Path("one"), X[:9], ["a"] * 9)
    assert "has only one value, 'a'" in refused("fit", one)
    np.save("bare.npy", X)
    assert "'bare' has no labels to learn from" in refused("fit", "bare.npy")
    few = pictures(Path("few"), X[:2], ["a", "b"])
    assert "no row can be set aside for a test: 2 rows hold 2 classes" in refused("fit", few)


def test_a_table_is_no_answer_to_a_model_of_images(run: Path) -> None:
    fitted = package.load(run)
    with pytest.raises(ShapeError, match="images are"):
        fitted.predict(DIGITS.data[:, :10])
    with pytest.raises((DataError, ArgumentError)):
        package.fit("iris", "target", models="linear", verbose=False).predict(X)
