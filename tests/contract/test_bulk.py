"""More runs than go into one statement or chunk, with cells that a bulk format could mistake."""

import datetime as dt
import math
import sys
import uuid

import pytest

from mltraq_prefect.errors import StoreError
from mltraq_prefect.storage import Store
from tests.contract.records import assert_same_runs, backend_of, make_record, make_run
from tests.contract.test_ownership import change, rows
from tests.servers import postgresql_database

RUNS = 2_345
RUNS_OF_ONE_FIELD = 1_100

TEXTS = (
    "],[", "},{", "null", '"', "\\", "\\.", "\\N", "a\tb", "a\nb\r\n", "'", "", " ", "é", "日本",
    "\x1f", '"],["', "\\n", "NaN", "true", "%s", ":x", "?1",
)  # fmt: skip
FLOATS = (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e308, 0.1 + 0.2, None)

KINDS = {
    "text": lambda i: TEXTS[i % len(TEXTS)],
    "float": lambda i: FLOATS[i % len(FLOATS)],
    "int": lambda i: (2**63 - 1, -(2**63), 0, i)[i % 4],
    "bool": lambda i: i % 3 == 0,
    "tree": lambda i: {"a": [[i], [TEXTS[i % len(TEXTS)]]]},
    "moment": lambda i: dt.datetime(2026, 1, 2, 3, 4, 5, i * 401 % 10**6) + dt.timedelta(days=i),
    "date": lambda i: dt.date(1, 1, 1) + dt.timedelta(days=i),
    "time": lambda i: dt.time(i % 24, 0, 0, i * 401 % 10**6),
    "uuid": lambda i: uuid.UUID(int=i),
    "constant": lambda _: 7,
    "constant_text": lambda _: "],[",
    "nothing": lambda _: None,
}


def many(kinds, first=0, count=RUNS):
    """Return runs whose fields are of some kinds; one in seven lacks a field."""
    runs = []
    for i in range(count):
        fields = {key: KINDS[key](first + i) for key in kinds}
        if i % 7 == 6:
            del fields[kinds[i % len(kinds)]]
        text = TEXTS[i % len(TEXTS)]
        runs.append(make_run(i, {"N": i, "name": text}, **fields))
        if i % 5 == 0:
            runs[-1].ledger.state, runs[-1].ledger.error = "failed", f"a\n\ttrace {text}"
    return runs


@pytest.mark.parametrize("with_bytes", [False, True], ids=["without bytes", "with bytes"])
def test_many_runs_come_back_and_change(store, with_bytes):
    record = make_record(runs=many(tuple(KINDS)))
    if with_bytes:
        for i, run in enumerate(record.runs):
            run.fields["raw"] = bytes([i % 256])
    record.snapshot = store.write(record, "fail").snapshot
    assert_same_runs(store.read(record.name).runs, record.runs)
    for old, new in zip(record.runs, many(tuple(KINDS), first=3), strict=True):
        old.fields = new.fields
    assert store.write(record, "merge").runs == RUNS
    assert_same_runs(store.read(record.name).runs, record.runs)


def test_many_runs_of_one_field(store):
    for key in KINDS:
        record = make_record(key, runs=many((key,), count=RUNS_OF_ONE_FIELD))
        store.write(record, "fail")
        assert_same_runs(store.read(key).runs, record.runs)


def test_many_runs_of_many_fields(store):
    runs = [make_run(i, **{f"f{k}": i * k for k in range(900)}) for i in range(60)]
    record = make_record(runs=runs)
    store.write(record, "fail")
    assert_same_runs(store.read(record.name).runs, record.runs)


def test_an_id_is_in_a_table_once_and_rows_are_in_the_order_of_runs(store):
    record = make_record(runs=[make_run(i, n=i) for i in range(60)])
    store.write(record, "fail")
    table = store.table_of(record.name)
    with pytest.raises(StoreError), store._database.writing("test") as transaction:
        transaction.run(f"INSERT INTO {table} (id_run) VALUES (?)", (record.runs[7].id_run,))
    found = [n for (n,) in store.query(f"SELECT n FROM {table}")[1]]
    wanted = (
        sorted(record.runs, key=lambda run: run.id_run) if backend_of(store) == "mariadb" else None
    )
    assert found == [run.fields["n"] for run in wanted or record.runs]


CALLS_A_RUN = 10
"""Of Python functions: what is done to each run alone; all else is done to columns."""


def test_a_write_calls_few_functions_for_each_run():
    calls = []
    for count in (1_000, 3_000):
        record = make_record(runs=[make_run(i, loss=i / 7, name=f"n{i}") for i in range(count)])
        store, events = Store("sqlite://"), []
        store.check()
        sys.setprofile(lambda _frame, event, _argument, note=events.append: note(event))
        try:
            store.write(record, "fail")
        finally:
            sys.setprofile(None)
        store.close()
        calls.append(events.count("call"))
    assert (calls[1] - calls[0]) / 2_000 < CALLS_A_RUN


HALVES = {
    "constant": ("x", "y"),
    "float": (0.5, None),
    "int": (7, ...),
    "late": (..., 2**63 - 1),
    "switched": (True, False),
    "numbers": (1, 1.5),
}


def test_later_rows_have_not_in_common_what_the_first_ones_have(store):
    runs = []
    for i in range(RUNS):
        values = {key: half[i >= 1_500] for key, half in HALVES.items()}
        fields = {key: value for key, value in values.items() if value is not ...}
        runs.append(make_run(i, step="a" if i < 1_500 else "b", **fields))
    record = make_record(runs=runs)
    store.write(record, "fail")
    found = store.read(record.name)
    assert_same_runs(found.runs, runs)
    assert not store.write(found, "merge").changed


def test_runs_keep_their_order_when_rows_have_moved(store):
    record = make_record(runs=many(("float", "text")))
    record.snapshot = store.write(record, "fail").snapshot
    for run in record.runs[:50]:
        run.fields["text"] = "moved " * 10
        run.ledger.steps["later"] = "1" * 100
    store.write(record, "merge")
    assert_same_runs(store.read(record.name).runs, record.runs)


TYPES = ("n TYPE DOUBLE PRECISION", "tree TYPE JSONB", "label TYPE INTEGER USING label::integer")


def typed(numbers):
    """Return runs that have a number in fields of three kinds."""
    return [make_run(i, n=i, tree={"n": i}, label=str(i)) for i in numbers]


@pytest.mark.parametrize("count", [1, 3, 60])
def test_runs_go_into_columns_of_which_a_user_has_changed_the_types(count):
    with postgresql_database() as url:
        store = Store(url)
        first = store.write(make_record("a", typed(range(count))), "fail").snapshot
        change(url, "DROP VIEW v_a", *(f"ALTER TABLE e_a ALTER COLUMN {own}" for own in TYPES))
        store.write(make_record("a", typed(range(100, 100 + count))), "merge")
        changed = make_record("a", typed(range(count)))
        changed.snapshot = first
        for i, run in enumerate(changed.runs):
            run.fields.update(n=200 + i, tree={"n": 200 + i}, label=str(200 + i))
        store.write(changed, "merge")
        store.close()
        stored = rows(url, "SELECT n, (tree->'n')::integer, label FROM e_a ORDER BY n")
        assert stored == [(i, i, i) for start in (100, 200) for i in range(start, start + count)]
