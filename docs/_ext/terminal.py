"""Commands in executed pages, shown as in a terminal: `%accepts minimand fit ...`.

An IPython extension. Loading it makes an empty directory the working directory. A cell tagged
`remove-input` then shows the command after a `$`, and what it printed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile

from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics and leave the documentation's folder."""
    os.chdir(tempfile.mkdtemp())
    shell.register_magic_function(accepts)
    shell.register_magic_function(refuses)


def accepts(line: str) -> None:
    """Run a command that must succeed."""
    _run(line, status=0)


def refuses(line: str) -> None:
    """Run a command that must end with status 2, and show that it does."""
    _run(line, status=2, after="$ echo $?\n2\n")


def _run(line: str, status: int, after: str = "") -> None:
    command = [sys.executable, "-m", *shlex.split(line)]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(f"$ {line}\n{ended.stdout}{after}", end="")
    assert ended.returncode == status, f"status {ended.returncode}"
