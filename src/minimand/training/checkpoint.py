"""Checkpoints: everything that a run needs to go on to the same bits, in one file each.

A checkpoint is a safetensors file with the arrays of the state and a JSON header: its step, the
run it belongs to, and a checksum of the whole file. It is written beside its final name, made
durable and renamed, by a thread of its own. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from minimand.arrays import Array
from minimand.errors import ArgumentError, FileError
from minimand.files import refusal, sweep, write_file
from minimand.training.recipe import Recipe
from minimand.training.trees import is_key

FORMAT = 3
PATTERN = "step-*.safetensors"
BLANK = b"0" * 32
"""What stands for the checksum while it is taken."""


class NoCheckpoints:
    """A run that keeps nothing."""

    def restored(self, state: Any) -> tuple[int, Any]:
        """(steps done, state): a fresh start."""
        return 0, state

    def after(self, step: int, state: Any) -> None:
        """Nothing."""

    def close(self, step: int, state: Any) -> None:
        """Nothing."""


class Checkpoints(NoCheckpoints):
    """The checkpoints of one run in a folder, one every `every` seconds and one at the end.

    The newest `keep` stay, and none of steps behind which the run has gone back; each holds the
    parameters of the best epoch so far too. A save that fails, on a full disk say, is told on the
    error stream and the run goes on: what was saved before is left as it was, and the last state is
    tried again at the end.

    Raises:
        FileError: nothing can be written there, or it holds checkpoints and `resume` is false.
    """

    def __init__(self, folder: Path | str, run: str, every: float, keep: int, resume: bool):
        if keep < 1:
            raise ArgumentError(f"keep is {keep}; at least the newest checkpoint must stay")
        self.folder, self.run, self.every, self.keep = Path(folder), run, every, keep
        self._writer: threading.Thread | None = None
        self._tried, self._step = time.monotonic(), -1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder)
        except OSError as error:
            raise FileError(
                f"cannot keep checkpoints in '{folder}' ({error.strerror}); choose another folder"
            ) from None
        if not resume and any(self.folder.glob(PATTERN)):
            raise FileError(
                f"'{folder}' holds checkpoints already; give resume=True or another folder"
            )

    def restored(self, state: Any) -> tuple[int, Any]:
        """(steps done, state) of the newest checkpoint that is whole, else a fresh start.

        Those that are damaged are set aside, and a warning tells so and what is used instead.

        Raises:
            FileError: it belongs to another run (other data, recipe or seed), or to another
                version of minimand.
        """
        damaged = {}
        for path in sorted(self.folder.glob(PATTERN), reverse=True):
            try:
                self._step, leaves = _read(path, self.run, _plain(state))
                state = _alike(state, leaves)
                break
            except _Damaged as error:
                damaged[path] = error
        used = f"goes on from step {self._step}" if self._step >= 0 else "begins anew"
        for path, damage in damaged.items():
            aside = path.with_suffix(".damaged")
            with refusal(aside):
                path.replace(aside)
            warnings.warn(
                f"the checkpoint '{path}' is damaged ({damage}) and is now '{aside.name}'; the "
                f"run {used}",
                stacklevel=5,
            )
        return max(self._step, 0), state

    def after(self, step: int, state: Any) -> None:
        """Save in the background if it is time to."""
        if time.monotonic() - self._tried >= self.every:
            self._save(step, state)

    def close(self, step: int, state: Any) -> None:
        """Save what is not saved yet, or was tried in vain, and wait until it is written."""
        self._wait()
        if step != self._step:
            self._save(step, state)
        self._wait()

    def _save(self, step: int, state: Any) -> None:
        self._wait()
        self._tried = time.monotonic()
        self._writer = threading.Thread(target=self._write, args=(step, _plain(state)))
        self._writer.start()

    def _wait(self) -> None:
        if self._writer:
            self._writer.join()

    def _write(self, step: int, leaves: list[np.ndarray]) -> None:
        from safetensors.numpy import save

        arrays = {f"{i:05d}": leaf for i, leaf in enumerate(leaves)}
        about = json.dumps({"format": FORMAT, "step": step, "run": self.run})
        try:
            content = save(arrays, {"minimand": about, "checksum": BLANK.decode()})
            content = content.replace(BLANK, _checksum(content), 1)
            free = shutil.disk_usage(self.folder).free
            if free < len(content):
                raise FileError(f"{len(content)} bytes are needed and {free} are free")
            path = self.folder / f"step-{step:010d}.safetensors"
            write_file(path, content)
            self._step = step
            there = sorted(self.folder.glob(PATTERN))
            place = there.index(path) + 1
            for old in there[: max(place - self.keep, 0)] + there[place:]:
                with suppress(OSError):
                    old.unlink()
        except Exception as error:
            print(
                f"minimand: no checkpoint after step {step} ({error}); the run goes on",
                file=sys.stderr,
            )


def identity(recipes: Sequence[Recipe], seeds: Sequence[int], arrays: Sequence[Array]) -> str:
    """What tells one run from another: its recipes, its seeds and its data."""
    said = [(repr(recipe), int(seed)) for recipe, seed in zip(recipes, seeds, strict=True)]
    digest = hashlib.blake2b(repr(said).encode(), digest_size=16)
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.view(np.uint8).data)
    return digest.hexdigest()


class _Damaged(Exception):
    """A checkpoint that is not what was written."""


def _read(path: Path, run: str, like: list[np.ndarray]) -> tuple[int, list[np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        said = re.search(rb'"checksum":"([0-9a-f]{32})"', content)
        if not said or said[1] != _checksum(content.replace(said[1], BLANK, 1)):
            raise _Damaged("its checksum does not fit its content")
        (length,) = struct.unpack("<Q", content[:8])
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["minimand"])
        version, arrays = about["format"], load(content)
    except (OSError, struct.error, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise _Damaged(str(error) or type(error).__name__) from None
    if version != FORMAT:
        raise FileError(
            f"the checkpoint '{path}' is of format {version}, and this version of minimand reads "
            f"format {FORMAT}; go on with the version that wrote it, or give another folder"
        )
    leaves = [arrays[name] for name in sorted(arrays)]
    shapes = [(leaf.shape, leaf.dtype) for leaf in leaves]
    if about["run"] != run or shapes != [(leaf.shape, leaf.dtype) for leaf in like]:
        raise FileError(
            f"the checkpoint '{path}' belongs to other data, another recipe or another seed; "
            f"give the same again or another folder"
        )
    return about["step"], leaves


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=len(BLANK) // 2).hexdigest().encode()


def _plain(state: Any) -> list[np.ndarray]:
    """The leaves of a state, copied to the host."""
    return [
        np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(state)
    ]


def _alike(state: Any, leaves: list[np.ndarray]) -> Any:
    """A state such as the given one, of other leaves."""
    old, structure = jax.tree.flatten(state)
    new = [
        jax.random.wrap_key_data(jax.numpy.asarray(leaf), impl=jax.random.key_impl(like))
        if is_key(like)
        else leaf
        for like, leaf in zip(old, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, new)
