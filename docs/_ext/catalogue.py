"""The `catalogue` directive: a table of every registered component of a kind, read from the cards.

`.. catalogue:: loss minimand.losses` imports `minimand.losses`, so that its components register
themselves, and tabulates those of kind `loss`. A new component appears with no edit here.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.rst import escape

from minimand.component import Card, Component, Range, catalogue

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
        "; ".join(facts(cls)),
        escape(card.source),
    )


def facts(cls: type[Component]) -> Iterator[str]:
    """What the card claims, in words, with hyper-parameters at their defaults."""
    columns = {"formula", "use", "tasks", "source"}
    for field in dataclasses.fields(Card):
        value = getattr(cls.card, field.name)
        if field.name not in columns and value != field.default:
            name = field.name.replace("_", " ")
            yield from fact(name, value(cls()) if callable(value) else value)


def fact(name: str, value: Any) -> Iterator[str]:
    """One entry of a card in words."""
    match value:
        case True:
            yield name
        case False:
            yield f"{name}: no"
        case float():
            yield f"{name}: {value:.4g}"
        case Mapping():
            yield from (f"{name}: {escape(field)} from {span(r)}" for field, r in value.items())
        case _:
            yield f"{name}: {escape(str(value))}"


def span(range_: Range) -> str:
    """A search range in words."""
    return f"{range_.low:g} to {range_.high:g}" + (" (logarithmic)" if range_.log else "")


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
