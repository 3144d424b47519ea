"""A page for each family of losses, written before the build: docstrings, facts and pictures.

The families are the modules of `minimand.losses` that define components, so a new loss, or a new
file of losses, appears with no edit here. The pages go to `_generated/losses`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.rst import escape

from minimand import losses
from minimand.component import Component
from minimand.losses import Loss
from minimand.report.cards import facts
from minimand.report.loss_charts import rendered, undrawable


def write_pages(app: Sphinx) -> None:
    """Write every family's page and the pictures on it."""
    folder = Path(app.srcdir) / "_generated" / "losses"
    folder.mkdir(parents=True, exist_ok=True)
    for module, members in families():
        name = module.__name__.rpartition(".")[2]
        parts = [heading(name.capitalize(), "="), inspect.getdoc(module) or ""]
        for cls in members:
            parts += section(cls, folder)
        (folder / f"{name}.rst").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def families() -> Iterator[tuple[ModuleType, list[type[Component]]]]:
    """The modules of losses, each with its components in order of definition."""
    for found in pkgutil.iter_modules(losses.__path__):
        module = importlib.import_module(f"{losses.__name__}.{found.name}")
        members = [
            c
            for c in vars(module).values()
            if isinstance(c, type) and c.__module__ == module.__name__ and "card" in vars(c)
        ]
        if members:
            yield module, members


def section(cls: type[Component], folder: Path) -> Iterator[str]:
    """One component: what it is for, its docstring, its facts, its picture."""
    made = cls()
    yield heading(cls.__name__, "-")
    yield f"Choose it for: {escape(cls.card.use)}."
    options = "\n".join(
        f"   :no-{name}:" for name in ("index", "members", "special-members", "show-inheritance")
    )
    yield f".. autoclass:: {cls.__module__}.{cls.__name__}\n{options}"
    yield f"Facts: {escape('; '.join(facts(made)))}."
    if isinstance(made, Loss):
        if sentence := undrawable(made):
            yield sentence
        else:
            (folder / f"{cls.__name__}.svg").write_bytes(rendered(made, "svg"))
            alt = f"value, gradient and curvature of {cls.__name__}"
            yield f".. image:: {cls.__name__}.svg\n   :alt: {alt}"


def heading(text: str, line: str) -> str:
    """A title of reStructuredText."""
    return f"{text}\n{line * len(text)}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before the sources are read."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
