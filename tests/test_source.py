"""The source keeps its shape: small functions and modules, and a layer for each module."""

import ast
import graphlib
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mltraq_prefect"
SOURCES = sorted(PACKAGE.rglob("*.py"))

MAX_FUNCTION_LINES = 60
"""Docstring included."""

MAX_MODULE_LINES = 400


def test_no_module_is_long():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    long = {str(path): lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES}
    assert long == {}


def test_no_function_is_long():
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("folder", ["mltraq_prefect", "mltraq_prefect.model"])
def test_every_module_has_its_layer(folder):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c for c in contracts["contracts"] if c.get("containers") == [folder])
    named = {name.strip() for layer in layers["layers"] for name in layer.split("|")}
    path = ROOT / folder.replace(".", "/")
    modules = {path.stem for path in path.glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in path.glob("*/__init__.py")}
    assert layers["exhaustive"]
    assert modules - set(layers.get("exhaustive_ignores", [])) == named


def test_there_is_no_import_cycle():
    graph = grimp.build_graph("mltraq_prefect", exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    list(graphlib.TopologicalSorter(imports).static_order())  # raises a CycleError
