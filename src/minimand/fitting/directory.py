"""The run directory: found writable before any work, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from minimand.errors import FileError


def claim(out: str | os.PathLike[str] | None, name: str) -> Path:
    """The directory that a run will write: `out`, or a fresh one under runs/.

    Raises:
        FileError: it exists and is not empty, or nothing can be written there.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder, number = Path("runs") / f"{name}-{stamp}", 2
        while folder.exists():
            folder, number = Path("runs") / f"{name}-{stamp}-{number}", number + 1
    else:
        folder = Path(out)
    with _refusal(folder):
        whole = folder.resolve()
        if whole.exists() and (whole == Path.cwd() or not whole.is_dir() or any(whole.iterdir())):
            raise FileError(f"'{folder}' exists already; choose another directory or remove it")
        nearest = next(parent for parent in whole.parents if parent.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    return folder


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary directory, make it durable, and rename it to `folder`.

    Raises:
        FileError: the disk is full or refuses; no trace is left.
    """
    whole = folder.resolve()
    partial = whole.with_name(f".{whole.name}.partial-{os.getpid()}")
    new_parents = [parent for parent in whole.parents if not parent.exists()]
    with _refusal(folder):
        try:
            partial.mkdir(parents=True)
            write(partial)
            for path in (*partial.rglob("*"), partial):
                _sync(path)
            if whole.exists():
                whole.rmdir()
            partial.rename(whole)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            for parent in new_parents:
                with suppress(OSError):
                    parent.rmdir()
            raise
        _sync(whole.parent)


def write_file(path: Path, text: str) -> None:
    """Write a text file whole: a temporary neighbour, made durable, is renamed to `path`.

    Raises:
        FileError: it cannot be written; an older file of that name is left as it was.
    """
    with _refusal(path):
        whole = path.resolve()
        if whole.exists() and not whole.is_file():
            raise FileError(f"'{path}' is not a file that can be replaced; choose another")
        partial = whole.with_name(f".{whole.name}.partial-{os.getpid()}")
        try:
            partial.write_text(text, encoding="utf-8")
            _sync(partial)
            partial.rename(whole)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    """Tell what the operating system refuses as one sentence."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot write '{path}' ({reason}); choose another place") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
