"""What makes the first result come soon: programs kept on disk, and undisturbed tracing."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import jax


def keep_compiled_programs() -> None:
    """Point JAX's persistent cache at a folder of ours, unless the user has chosen one."""
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking every loaded library while a program is traced.

    It takes a third of the time to the first result: 0.6 s against 0.4 s for a small network.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def single_precision() -> AbstractContextManager[Any]:
    """Inside, JAX computes in 32 bits whatever the user has set, as the state of a run expects."""
    inside: AbstractContextManager[Any] = jax.enable_x64(False)
    return inside


def cache_folder() -> Path:
    """`$MINIMAND_CACHE_DIR`, or minimand's folder where the system keeps caches."""
    if chosen := os.environ.get("MINIMAND_CACHE_DIR"):
        return Path(chosen)
    home = Path.home()
    match sys.platform:
        case "darwin":
            return home / "Library" / "Caches" / "minimand"
        case "win32":
            return Path(os.environ.get("LOCALAPPDATA", home)) / "minimand" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", home / ".cache")) / "minimand"
