"""More runs than go into one statement or chunk, with cells that a bulk format could mistake."""

import datetime as dt
import math
import uuid

import pytest

from mltraq_prefect.errors import StoreError
from tests.contract.records import assert_same_runs, backend_of, make_record, make_run

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
