"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimand.errors import FileError


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary directory, make it durable, and rename it to `folder`.

    Raises:
        FileError: the disk is full or refuses; no trace is left.
    """
    whole = folder.resolve()
    partial = whole.with_name(f".{whole.name}.partial-{os.getpid()}")
    new_parents = [parent for parent in whole.parents if not parent.exists()]
    with refusal(folder):
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


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole: a temporary neighbour, made durable, is renamed to `path`.

    Raises:
        FileError: it cannot be written; an older file of that name is left as it was.
    """
    with refusal(path):
        whole = path.resolve()
        if whole.exists() and not whole.is_file():
            raise FileError(f"'{path}' is not a file that can be replaced; choose another")
        partial = whole.with_name(f".{whole.name}.partial-{os.getpid()}")
        try:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            _sync(partial)
            partial.replace(whole)
            _sync(whole.parent)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def sweep(folder: Path) -> None:
    """Remove what processes that are gone left half written in a folder."""
    for path in folder.glob(".*.partial-*"):
        if not runs(int(path.name.rpartition("-")[2])):
            with suppress(OSError):
                path.unlink() if path.is_file() else shutil.rmtree(path)


@contextmanager
def refusal(path: Path) -> Iterator[None]:
    """Tell what the operating system refuses as one sentence."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot write '{path}' ({reason}); choose another place") from None


def runs(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
