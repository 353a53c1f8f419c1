"""Everything that is peculiar to a database is in its module of `storage.dialects`."""

import ast
import re
from pathlib import Path

import pytest

import mltraq_prefect
from mltraq_prefect.storage.sql.dialects import DIALECTS
from tests.contract import fourth

PACKAGE = Path(mltraq_prefect.__file__).parent
OUTSIDE = sorted(
    path for path in PACKAGE.rglob("*.py") if "dialects" not in path.relative_to(PACKAGE).parts
)
BACKENDS = r"sqlite3?|postgres(ql)?|mariadb|mysql|pysqlite|psycopg2?|pymysql|innodb|duckdb"
NAMED = re.compile(rf"(?<![a-z0-9])({BACKENDS})(?![a-z0-9])(?!\+?[a-z0-9]*://)", re.IGNORECASE)
"""Unless it is the beginning of a URL, as in a message that gives an example of one."""


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_module_names_a_backend(path):
    tree = ast.parse(path.read_text())
    prose = {id(text) for text in docstrings(tree)}
    for node in ast.walk(tree):
        if id(node) not in prose:
            for word in words(node):
                assert not NAMED.search(word), f"line {node.lineno}: {word!r}"


def docstrings(tree):
    """Yield strings that stand alone: the documentation of what is above or before them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def words(node):
    """Yield what a node of the tree says by itself."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield str(node.value)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
    elif isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr


def test_each_dialect_has_a_module_of_its_name():
    modules = {path.stem for path in (PACKAGE / "storage/sql/dialects").glob("*.py")}
    assert {dialect.name for dialect in DIALECTS.values()} <= modules


def test_a_module_is_small():
    for path in [*(PACKAGE / "storage/sql/dialects").glob("*.py"), Path(fourth.__file__)]:
        assert len(path.read_text().splitlines()) <= 400
