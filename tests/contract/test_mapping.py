"""docs/mapping.md says what the code does."""

import re
from pathlib import Path

import pytest

from mltraq_prefect.storage.sql.dialects import DIALECTS
from mltraq_prefect.storage.values.kinds import OF_FIELDS
from mltraq_prefect.storage.values.names import column_name
from tests.contract.records import backend_of, make_record, make_run, with_values

PAGE = (Path(__file__).parents[2] / "docs/mapping.md").read_text()


def rows(heading):
    """Return the cells of the first table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_types_of_columns():
    kinds = {row[0]: row[2:] for row in rows("Columns") if len(row) == 5}
    for i, dialect in enumerate(("sqlite", "postgresql", "mysql")):
        types = {name: DIALECTS[dialect].types[kind].sql for name, kind in OF_FIELDS.items()}
        assert {kind: cells[i] for kind, cells in kinds.items()} == types


def test_tables(store):
    for table, *_ in rows("Tables"):
        if "<" not in table:
            store.query(f"SELECT * FROM {table}")


@pytest.mark.parametrize(
    ("values", "kind", "type_", "cells"),
    [
        ([1, 2, 2.5], "float", "int", [1, 2, 2.5]),
        ([True, 2], "int", "int", [1, 2]),
        ([1.5, "failed", 2.5], "float", "float", [1.5, None, 2.5]),
        (["a", 1], "text", "str", ["a", None]),
        ([1, "a"], "int", "int", [1, None]),
        ([None, None], "float", "none", [None, None]),
    ],
)
def test_rule_of_mixed_fields(store, values, kind, type_, cells):
    assert "The column takes the kind that most runs have" in PAGE
    store.write(with_values(*values), "fail")
    _, found = store.query("SELECT x FROM {e}", names={"e": "values"})
    assert sorted(found, key=str) == sorted([(cell,) for cell in cells], key=str)
    _, ((columns,),) = store.query("SELECT run_columns FROM experiments")
    assert f'"kind": "{kind}", "type": "{type_}"' in columns


def test_names():
    assert re.fullmatch(r"a_b_x[0-9a-f]{12}", column_name("a b", {"a_b"}))
    assert column_name("val/accuracy", set()) == "val_accuracy"


def test_json_functions(store):
    sql = {row[0].split(",")[0].lower(): row[1] for row in rows("Querying")}[backend_of(store)]
    store.write(
        make_record("coin_toss", runs=[make_run(0, tree={"scores": [1, 2]}, error=0.5)]), "fail"
    )
    _, ((score,),) = store.query(f"SELECT {sql} FROM {{e}}", names={"e": "coin_toss"})
    assert int(score) == 1
    statement = PAGE.split("```sql\n")[1].split("```")[0]
    assert store.query(statement)[1][0][1] == 0.5


def test_runs_of_two_experiments_meet_by_their_params(store):
    for name, numbers in (("coin_toss", (1, 2)), ("again", (2, 3))):
        runs = [make_run(n, {"N": n, "rate": n / 4}) for n in numbers]
        store.write(make_record(name, runs=runs), "fail")
    statement = PAGE.partition("## Params")[2].split("```sql\n")[1].split("```")[0]
    assert store.query(statement)[1] == [("completed", "completed")]
