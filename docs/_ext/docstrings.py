r"""Docstrings and signatures as a reader expects them.

Docstrings are plain text with `code`, examples and sections. reStructuredText would read |r| as a
substitution and w_ as a link, so outside code and examples these characters are escaped.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(`+.+?`+)")
MARKUP = re.compile(r"\||_(?!\w)")
ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")


def escape_formulas(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Escape, in place, what only looks like markup."""
    in_example = False
    for i, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            parts = CODE.split(line)
            parts[::2] = [MARKUP.sub(r"\\\g<0>", text) for text in parts[::2]]
            lines[i] = "".join(parts)


def name_aliases(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write `Array | None` where autodoc leaves a wrapped reference to the alias."""
    return tuple(text and ALIAS.sub(r"\1", text) for text in (signature, returns))


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before the extension that reads `Args:` and `Raises:` sections."""
    app.connect("autodoc-process-docstring", escape_formulas, priority=100)
    app.connect("autodoc-process-signature", name_aliases)
    return {"parallel_read_safe": True}
