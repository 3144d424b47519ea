"""The run directory: found writable before any work, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"'{folder}' exists already; choose another directory or remove it")
    nearest = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise FileError(
            f"cannot write to '{folder}' ({error.strerror} at '{nearest}'); choose another directory"
        ) from None
    return folder


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary directory, make it durable, and rename it to `folder`.

    Raises:
        FileError: the disk is full or refuses; no trace is left.
    """
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        write(partial)
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise FileError(f"cannot write '{folder}': {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_file(path: Path, text: str) -> None:
    """Write a text file whole: a temporary neighbour, made durable, is renamed to `path`.

    Raises:
        FileError: it cannot be written; an older file of that name is left as it was.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        _sync(partial)
        partial.rename(path)
    except OSError as error:
        raise FileError(f"cannot write '{path}': {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
