"""The run directory: found writable before any work."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path

from minimand.errors import FileError
from minimand.files import refusal


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
    with refusal(folder):
        whole = folder.resolve()
        if whole.exists() and (whole == Path.cwd() or not whole.is_dir() or any(whole.iterdir())):
            raise FileError(f"'{folder}' exists already; choose another directory or remove it")
        nearest = next(parent for parent in whole.parents if parent.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    return folder
