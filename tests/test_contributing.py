"""The diff by which CONTRIBUTING.md shows what a loss costs is the code as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_diff_of_a_new_loss_is_the_code() -> None:
    page = ROOT / "CONTRIBUTING.md"
    if not page.exists():
        pytest.skip("needs CONTRIBUTING.md, which a source distribution leaves out")
    shown = re.findall(
        r"^ *```diff\n(.*?)^ *```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(shown) == 3
    for diff in map(textwrap.dedent, shown):
        _, target, *lines = diff.splitlines()
        source = (ROOT / target.removeprefix("+++ b/")).read_text("utf-8")
        for hunk in re.split(r"^@@.*\n", "\n".join(lines), flags=re.MULTILINE):
            added = "\n".join(line.removeprefix("+") for line in hunk.splitlines())
            assert added in source, f"{target} no longer holds:\n{added}"
