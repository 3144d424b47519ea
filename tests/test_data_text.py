"""Text becomes symbols and comes back, and windows know what follows."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimand.data.text import By, Vocabulary, read_text, text_of
from minimand.errors import ArgumentError, DataError, FileError, UnknownNameError


@given(st.text(min_size=1, max_size=20), st.sampled_from(["character", "byte"]))
def test_what_is_encoded_decodes_to_itself(text: str, by: By) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return
    vocabulary = Vocabulary.of(text, by)
    symbols = vocabulary.encode(text)
    assert vocabulary.decode(symbols) == text
    assert symbols.dtype == np.int32 and symbols.min() >= 0 and symbols.max() < len(vocabulary)


def test_bytes_are_those_of_utf8() -> None:
    assert text_of("né", "byte").symbols.tolist() == [0x6E, 0xC3, 0xA9]


def test_windows_and_the_symbols_that_follow() -> None:
    text = text_of("abcdefghij")
    x, y = text.windows(4, stride=3)
    shown = [text.vocabulary.decode(row) for row in x], [text.vocabulary.decode(row) for row in y]
    assert shown == (["abcd", "defg"], ["bcde", "efgh"])


def test_the_held_part_is_the_end() -> None:
    first, last = text_of("abcdefghij").parts(0.3)
    assert (first.vocabulary.decode(first.symbols), last.vocabulary.decode(last.symbols)) == (
        "abcdefg",
        "hij",
    )


def test_tiny_shakespeare(shared_data: Callable[[str], Path]) -> None:
    """Karpathy's char-rnn: 1,115,394 characters, 65 different ones."""
    text = read_text(shared_data("text/tinyshakespeare.txt.gz"))
    assert len(text.symbols) == 1_115_394
    assert len(text.vocabulary) == 65
    assert text.vocabulary.decode(text.symbols[:14]) == "First Citizen:"


def test_bad_text() -> None:
    Path("empty.txt").write_text("")
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    Path("cut.txt.gz").write_bytes(gzip.compress(b"some text" * 50)[:30])
    with pytest.raises(DataError, match="'empty' is empty"):
        read_text("empty.txt")
    with pytest.raises(DataError, match=r"'latin.txt' is not UTF-8 text \(byte 1\)"):
        read_text("latin.txt")
    with pytest.raises(FileError, match="gzip data are damaged"):
        read_text("cut.txt.gz")
    with pytest.raises(FileError, match=r"cannot read 'none.txt'"):
        read_text("none.txt")


def test_bad_arguments() -> None:
    text = text_of("abc")
    with pytest.raises(DataError, match=r"has 3 symbols; a window of 3 .* need 4"):
        text.windows(3)
    with pytest.raises(ArgumentError, match="stride is 0"):
        text.windows(2, stride=0)
    with pytest.raises(ArgumentError, match="held is 1"):
        text.parts(1)
    with pytest.raises(DataError, match="the character 'x' at place 2"):
        text.vocabulary.encode("axb")
    with pytest.raises(UnknownNameError, match="word"):
        Vocabulary.of("abc", "word")  # type: ignore[arg-type]
