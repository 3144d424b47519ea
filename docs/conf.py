"""Configuration of the documentation: `make docs` builds it into docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, get_origin

from minimand import __version__ as release
from minimand import component

sys.path.append(str(Path(__file__).parent / "_ext"))

project = "minimand"
author = "The minimand developers"
project_copyright = "The minimand developers"
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "catalogue",
    "docstrings",
    "families",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"
smartquotes = False  # φ'' is a second derivative

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "special-members": "__call__",
    "show-inheritance": True,
    "ignore-module-all": True,  # a name is documented where it is defined, not where it is exported
}
autodoc_typehints_format = "short"
bounded = [name for name, hint in vars(component).items() if get_origin(hint) is Annotated]
autodoc_type_aliases = {name: name for name in ["Array", *bounded]}
napoleon_numpy_docstring = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / "executed")
nb_execution_raise_on_error = True
nb_execution_timeout = 120

html_theme = "pydata_sphinx_theme"
html_title = f"minimand {release}"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_sidebars = {"catalogue": [], "design": []}
html_show_sourcelink = False


def setup(app: Any) -> None:
    """Leave out what scikit-learn adds to estimators: its text refers to its own glossary."""
    app.connect(
        "autodoc-skip-member",
        lambda app, what, name, member, skip, options: skip or name.endswith("_request"),
    )
