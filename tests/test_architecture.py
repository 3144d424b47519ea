"""The shape of the package: which module may import which, how long a file is, what loads when."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import minimand

PACKAGE = Path(minimand.__file__).parent
LAYERS = [
    "errors",
    "component",
    "arrays",
    "randomness",
    "budget",
    "files",
    "drawing",
    "losses",
    "constraints",
    "penalties",
    "metrics",
    "schedules",
    "optimizers",
    "data",
    "networks",
    "solvers",
    "inference",
    "training",
    "tuning",
    "diagnosis",
    "estimators",
    "report",
    "fitting",
    "cli",
]
ENTRANCES = ("minimand", "minimand.__main__", "minimand.cli")
HEAVY = {"altair", "jax", "optuna", "pandas", "polars", "sklearn"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> Iterator[str]:
    """The modules of the package that `name` imports, wherever in the file it does so."""
    path = MODULES[name]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner in MODULES or base in MODULES:
                    yield inner if inner in MODULES else base


def layer(name: str) -> int:
    room = name.split(".")[1]
    assert room in LAYERS, f"{name}: say where {room} belongs in LAYERS"
    return LAYERS.index(room)


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ENTRANCES])
def test_imports_point_down(name: str) -> None:
    upward = [o for o in imports(name) if o in ENTRANCES or layer(o) > layer(name)]
    assert not upward


def test_no_import_cycle() -> None:
    graph = {name: set(imports(name)) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", MODULES)
def test_a_file_holds_at_most_400_lines(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", [n for n, p in MODULES.items() if p.name == "__init__.py"])
def test_exports_are_unique_and_resolve(name: str) -> None:
    """Their order is ruff's business (RUF022)."""
    module = importlib.import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    assert not [export for export in module.__all__ if not hasattr(module, export)]


@pytest.mark.parametrize("arguments", [["-c", "import minimand"], ["-m", "minimand", "--help"]])
def test_nothing_heavy_is_loaded_at_the_start(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if "|" in line}
    assert "minimand" in loaded
    assert not loaded & HEAVY
