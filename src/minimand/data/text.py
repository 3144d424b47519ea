"""Text as symbols: by character or by byte, cut into windows with their next symbols as targets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from minimand.arrays import Array
from minimand.data.files import read_bytes
from minimand.errors import ArgumentError, DataError, unknown

By = Literal["character", "byte"]
BYTES = tuple(map(chr, range(256)))


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a text, numbered from 0: its characters in order, or all 256 bytes of UTF-8.

    >>> vocabulary = Vocabulary.of("hello")
    >>> vocabulary.characters
    ('e', 'h', 'l', 'o')
    >>> vocabulary.encode("hole"), vocabulary.decode([1, 3, 2, 0])
    (array([1, 3, 2, 0], dtype=int32), 'hole')
    """

    characters: tuple[str, ...]
    by: By = "character"

    @classmethod
    def of(cls, text: str, by: By = "character") -> Vocabulary:
        """The vocabulary of a text.

        Raises:
            UnknownNameError: `by` is neither "character" nor "byte".
        """
        if by not in ("character", "byte"):
            raise unknown("way to cut text", by, ("character", "byte"))
        return cls(tuple(sorted({*text})) if by == "character" else BYTES, by)

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """The symbols of a text, [T].

        Raises:
            DataError: a character is not in the vocabulary; the sentence says where it is.
        """
        if self.by == "byte":
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        place = {character: i for i, character in enumerate(self.characters)}
        try:
            return np.fromiter((place[c] for c in text), np.int32, len(text))
        except KeyError as error:
            where = text.index(error.args[0])
            raise DataError(
                f"the character {error} at place {where + 1} is not among the {len(self)} of the "
                f"vocabulary; leave it out, or cut the text by byte"
            ) from None

    def decode(self, symbols: Iterable[int]) -> str:
        """The text of some symbols; bytes that are no UTF-8 become U+FFFD."""
        if self.by == "byte":
            return bytes(map(int, symbols)).decode(errors="replace")
        return "".join(self.characters[symbol] for symbol in symbols)


@dataclass(frozen=True)
class Text:
    """The symbols [T] of a text, and what they stand for."""

    name: str
    symbols: Array
    vocabulary: Vocabulary
    fingerprint: str

    def parts(self, held: float = 0.1) -> tuple[Text, Text]:
        """The text without its last share `held`, and that share: to train on, and to judge by.

        Raises:
            ArgumentError: `held` is not in (0, 1).
        """
        if not 0 < held < 1:
            raise ArgumentError(f"held is {held}; it must lie in (0, 1)")
        end = len(self.symbols) - round(held * len(self.symbols))
        first, last = (
            Text(self.name, part, self.vocabulary, self.fingerprint)
            for part in (self.symbols[:end], self.symbols[end:])
        )
        return first, last

    def windows(self, length: int, stride: int | None = None) -> tuple[Array, Array]:
        """(symbols [n, length], the symbol that follows each [n, length]), a window each `stride`.

        Windows do not overlap unless `stride` is less than `length`; what is left is dropped.

        Raises:
            DataError: the text is shorter than a window and the symbol behind it.
            ArgumentError: `length` or `stride` is less than 1.

        >>> text = text_of("abcdefg")
        >>> text.windows(3)
        (array([[0, 1, 2],
               [3, 4, 5]], dtype=int32), array([[1, 2, 3],
               [4, 5, 6]], dtype=int32))
        """
        stride = length if stride is None else stride
        for name, value in (("length", length), ("stride", stride)):
            if value < 1:
                raise ArgumentError(f"{name} is {value}; it must be at least 1")
        if len(self.symbols) <= length:
            raise DataError(
                f"'{self.name}' has {len(self.symbols)} symbols; a window of {length} and the "
                f"symbol behind it need {length + 1}"
            )
        cut = np.lib.stride_tricks.sliding_window_view(self.symbols, length + 1)[::stride]
        return cut[:, :-1].copy(), cut[:, 1:].copy()


def read_text(source: str | os.PathLike[str], by: By = "character") -> Text:
    """Read a text file in UTF-8, gzipped or not.

    Raises:
        FileError: it cannot be read.
        DataError: it is empty, or not UTF-8.
    """
    path = Path(source)
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not UTF-8 text (byte {error.start + 1}); save it again with UTF-8 "
            f"encoding"
        ) from None
    return text_of(text, by, name=path.name.split(".")[0])


def text_of(text: str, by: By = "character", *, name: str = "text") -> Text:
    """The symbols of a text in memory.

    Raises:
        DataError: it is empty.
    """
    if not text:
        raise DataError(f"'{name}' is empty; there is nothing to learn from")
    vocabulary = Vocabulary.of(text, by)
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return Text(name, vocabulary.encode(text), vocabulary, digest)
