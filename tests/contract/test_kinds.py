"""A kind of column is a class and a type in each dialect; nobody asks for its name."""

import ast
import datetime as dt
import json
import uuid
from pathlib import Path

import numpy as np
import pytest

import mltraq_prefect
from mltraq_prefect.storage.sql.dialects import DIALECTS
from mltraq_prefect.storage.values.kinds import KEY, KINDS, OF_FIELDS
from tests.contract import fourth
from tests.contract.records import make_record, make_run
from tests.values import assert_identical

STORAGE = Path(mltraq_prefect.__file__).parent / "storage"
MODULES = sorted(path for path in STORAGE.rglob("*.py") if path.parent.name != "kinds")
NAMES = {kind.name for kind in KINDS}

VALUES = {
    "bool": [True, np.False_],
    "int": [-(2**63), np.uint8(255)],
    "float": [0.1 + 0.2, np.float32(0.1)],
    "text": ["é'\\\t", np.str_("x" * 70_000)],
    "bytes": [b"\0\xff", np.bytes_(b"x")],
    "datetime": [dt.datetime(2026, 1, 2, 3, 4, 5, 6), dt.datetime(1, 1, 1)],
    "date": [dt.date(9999, 12, 31), dt.date(1, 1, 1)],
    "time": [dt.time(23, 59, 59, 999999), dt.time()],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "json": [{"a": [1, 2.5, None]}, []],
    "binary": [1j, np.arange(6.0).reshape(2, 3)],
}
"""Two values of each kind that a field can be."""


@pytest.mark.parametrize("name", [*DIALECTS, "duckdb"])
def test_each_dialect_has_a_type_for_each_kind(name):
    dialect = DIALECTS.get(name) or fourth.DuckDB()
    types, room = dialect.types, dialect.max_row
    assert set(types) == set(KINDS)
    assert all(type_.sql for type_ in types.values())
    assert all(0 < type_.width <= room - types[KEY].width for type_ in types.values())


@pytest.mark.parametrize("kind", OF_FIELDS)
def test_values_of_each_kind_are_written_and_read(store, kind):
    first, second = VALUES[kind]
    store.write(make_record(runs=[make_run(0, x=first), make_run(1, y=second)]), "fail")
    _, ((text,),) = store.query("SELECT run_columns FROM experiments")
    assert [column["kind"] for column in json.loads(text).values()] == [kind, kind]
    runs = store.read("coin toss").runs
    assert_identical([dict(run.fields) for run in runs], [{"x": first}, {"y": second}])


def test_no_two_kinds_have_the_same_name_or_native_type():
    natives = [type_ for kind in KINDS for type_ in kind.natives]
    assert len(set(natives)) == len(natives)
    assert len(NAMES) == len(KINDS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(STORAGE)))
def test_no_module_compares_kinds_with_their_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not named_by(node), f"line {node.lineno}"


def named_by(node):
    """Return the names of kinds that a comparison, or a table by kind, consists of."""
    if isinstance(node, ast.Compare):
        return {name for side in (node.left, *node.comparators) for name in names_in(side)}
    if isinstance(node, ast.MatchValue):
        return names_in(node.value)
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        found = {key.value for key in node.keys}
        return found if len(found) > 1 and found <= NAMES else set()
    return set()


def names_in(node):
    """Return the names of kinds that a constant is, or a collection of constants has."""
    found = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {item.value for item in found if isinstance(item, ast.Constant)} & NAMES


@pytest.mark.parametrize(
    "code",
    [
        'kind == "text"',
        '"text" != kind',
        'kind in ("text", "json")',
        'kind not in {"bytes"}',
        'match kind:\n    case "key": pass',
        'widths = {"bool": 1, "int": 8}',
    ],
)
def test_such_a_comparison_is_found(code):
    assert any(map(named_by, ast.walk(ast.parse(code))))
