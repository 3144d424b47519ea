"""The `catalogue` directive: a table of every registered component of a kind, read from the cards.

`.. catalogue:: loss minimand.losses` imports `minimand.losses`, so that its components register
themselves, and tabulates those of kind `loss`. A new component appears with no edit here.
"""

from __future__ import annotations

import importlib
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.rst import escape

from minimand.component import Component, catalogue
from minimand.report.cards import facts

COLUMNS = ("Name", "Formula", "Use", "Facts", "Source")


class Catalogue(SphinxDirective):
    """`.. catalogue:: <kind> <module>`."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """The table, parsed from reStructuredText so that names become links."""
        kind, module = self.arguments
        importlib.import_module(module)
        rows = [row(cls) for cls in catalogue(kind).values()]
        if not rows:
            raise self.error(f"no component of kind '{kind}' is registered by {module}")
        return self.parse_text_to_nodes(list_table([COLUMNS, *rows]))


def row(cls: type[Component]) -> tuple[str, ...]:
    """The cells of one component."""
    card = cls.card
    tasks = f" *({', '.join(card.tasks)})*" if card.tasks else ""
    return (
        f":py:class:`~{cls.__module__}.{cls.__name__}`",
        f"``{card.formula}``",
        escape(card.use) + tasks,
        escape("; ".join(facts(cls()))),
        escape(card.source),
    )


def list_table(rows: list[tuple[str, ...]]) -> str:
    """A reStructuredText table whose first row is its header."""
    lines = [".. list-table::", "   :header-rows: 1", "   :class: catalogue", ""]
    for first, *others in rows:
        lines += [f"   *  - {first}", *(f"      - {cell}" for cell in others)]
    return "\n".join(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("catalogue", Catalogue)
    return {"parallel_read_safe": True}
