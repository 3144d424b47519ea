"""Augmentations shown: the contact sheet as a chart and in a terminal, and the command."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minimand import cli
from minimand.component import catalogue
from minimand.data.augmentation import Augmentation, Flip, MixUp, Unchanged
from minimand.errors import ShapeError
from minimand.report import pictures
from minimand.report.augmentation_charts import chart, drawn, plain, rendered

RAMP = np.linspace(0, 1, 12).reshape(2, 1, 2, 3)


def decoded(url: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_a_picture_holds_the_pixels_of_its_images() -> None:
    drawing = pictures.grid(RAMP, rows=["a", "b"], columns=["first"]).to_dict()
    values = drawing["data"]["values"]
    assert [(v["row"], v["column"]) for v in values] == [("a", "first"), ("b", "first")]
    for value, image in zip(values, RAMP[:, 0], strict=True):
        large = decoded(value["url"])
        times = large.shape[0] // 2
        assert large.shape == (2 * times, 3 * times)
        np.testing.assert_array_equal(large[::times, ::times], np.rint(255 * image))
        assert len(np.unique(large)) == 6


def test_colours_and_values_out_of_range() -> None:
    colour = np.broadcast_to(np.array([-1.0, 0.5, 2.0]), (1, 1, 4, 4, 3))
    url = pictures.grid(colour).to_dict()["data"]["values"][0]["url"]
    assert set(map(tuple, decoded(url).reshape(-1, 3).tolist())) == {(0, 128, 255)}
    grey = pictures.grid(colour[..., :1])
    assert decoded(grey.to_dict()["data"]["values"][0]["url"]).ndim == 2


@pytest.mark.parametrize("shape", [(3, 8, 8), (0, 1, 8, 8), (1, 1, 8, 8, 2), (1, 1, 1, 8, 8, 1)])
def test_what_is_no_grid_of_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="cannot draw images of shape"):
        pictures.grid(np.zeros(shape))


def test_a_terminal_shows_means_of_large_images_as_far_as_there_is_room() -> None:
    left = np.zeros((5, 40, 40))
    left[:, :, :20] = 1
    lines = pictures.plain(left, width=60).splitlines()
    assert len(lines) == 40 // 3 and {len(line) for line in lines} == {2 * 13 + 2 + 14}
    assert lines[0].startswith("@" * 12) and lines[0].count("@") == 2 * 12


def test_the_sheet_shows_each_example_and_then_its_draws() -> None:
    images = np.arange(200, dtype=np.uint8).reshape(50, 2, 2)
    same = drawn(Unchanged(), images, rows=3, draws=2)
    assert same.shape == (3, 3, 2, 2)
    for column in range(3):
        np.testing.assert_allclose(same[:, column], images[[0, 24, 49]] / 255, rtol=1e-6)
    flipped = drawn(Flip(probability=0.5), images, rows=10, draws=8)
    turned = np.any(flipped[:, 1:] != flipped[:, :1], axis=(2, 3))
    assert 0 < turned[:, 0].sum() < 10 and 0 < turned[0].sum() < 8
    assert np.any(drawn(Flip(), images, seed=1) != drawn(Flip(), images, seed=0))
    assert chart(MixUp()).to_dict()["title"] == ["MixUp"]


def test_the_sheet_is_written_and_printed() -> None:
    assert rendered(Flip(), "png").startswith(b"\x89PNG")
    assert rendered(Flip(), "svg").count(b"<image") == 6 * 9
    assert max(map(len, plain(Flip()).splitlines())) <= 80


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["minimand", "augmentations", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(monkeypatch, capsys)
    assert (status, err) == (0, "")
    for name in catalogue("augmentation"):
        assert f"\n{name} " in out


def test_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("images.npy", np.full((3, 8, 8), 255, np.uint8))
    text = "chain(augmentations=(flip, cutout(side=0.5)))"
    status, out, err = run(
        monkeypatch, capsys, "show", text, "--data", "images.npy", "--chart", "sheet.png"
    )
    assert (status, err) == (0, "")
    assert str(Augmentation.parse(text)) in out and "@@@@@@@@" in out
    assert "Chart: sheet.png" in out and Path("sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "rotate"], "unknown augmentation 'rotate'; did you mean 'Rotation'?"),
        (["show", "rotation(degrees=-1)"], "it must lie in [0, inf)"),
        (["show", "flip", "--chart", "flip.pdf"], "unknown form of a chart 'pdf'"),
        (["show", "flip", "--data", "nowhere"], "there is no file or folder 'nowhere'"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert status == 2 and sentence in err and err.count("\n") == 1
    assert not out and not list(Path().iterdir())
