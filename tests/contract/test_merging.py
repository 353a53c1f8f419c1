"""A merge writes what its caller has changed, and nothing else, whatever kinds columns have."""

import datetime as dt
import json
import math

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from mltraq_prefect.storage import Store
from mltraq_prefect.storage.records import Part, SeenRuns, Snapshot
from tests.contract.records import assert_same_runs, make_record, make_run, with_values
from tests.values import assert_identical

KINDS = {
    "text among tuples": ([(1, 2), (1, 2), "a"], "b", "c"),
    "large integer": ([1, 1, 2**60], 0.5, 5),
    "text among decimals": ([None, None, "a"], "b", "c"),
    "none": ([None, None, None], "b", 1.5),
    "NaN": ([math.nan, 1.0, math.nan], 2.0, "c"),
    "NaT": ([pd.NaT, pd.NaT, pd.NaT], dt.datetime(2026, 1, 1), pd.NaT),
    "array": ([np.arange(3.0), (1, 2), (1, 2)], "b", np.arange(4)),
    "integers of NumPy": ([1, 1, np.int64(3)], 0.5, np.int64(4)),
}


def columns_of(store, name="values"):
    """Return what `run_columns` says of each field."""
    sql = "SELECT run_columns FROM experiments WHERE name = :name"
    return json.loads(store.query(sql, {"name": name})[1][0][0])


def execute(url, *statements):
    """Run statements as somebody else does, by a connection of their own."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [0, 1])
def test_two_merges_of_one_load_keep_both(store, kind, first):
    before, mine, theirs = KINDS[kind]
    store.write(with_values(*before), "fail")
    records = [store.read("values"), store.read("values")]
    records[0].runs[0].fields["x"] = mine
    records[1].runs[2].fields["x"] = theirs
    store.write(records[first], "merge")
    store.write(records[1 - first], "merge")
    found = [run.fields["x"] for run in store.read("values").runs]
    for value, expected in zip(found, [mine, before[1], theirs], strict=True):
        assert_identical(expected, value)
    assert store.write(store.read("values"), "merge").changed is False


@pytest.mark.parametrize("value", [None, math.nan, 2**70, (1, 2), "a\ud800", np.float32(0.1)])
def test_a_cell_that_is_corrected_by_sql_counts(shared_url, value):
    store = Store(shared_url)
    store.check()
    store.write(with_values(value, value, 1.0, 2.0, 3.0), "fail")
    mine = store.read("values")
    execute(shared_url, f"UPDATE e_values SET x = 0.5 WHERE id_run = '{mine.runs[0].id_run}'")
    found = store.read("values")
    assert_identical(0.5, found.runs[0].fields["x"])
    assert_identical(value, found.runs[1].fields["x"])
    mine.runs[0].fields["y"] = 1
    store.write(mine, "merge")
    assert_identical(0.5, store.read("values").runs[0].fields["x"])
    assert store.write(store.read("values"), "merge").changed is False
    found.runs[0].fields["x"] = None
    store.write(found, "merge")
    assert store.read("values").runs[0].fields["x"] is None
    store.close()


def test_a_cell_that_is_emptied_by_sql_is_no_value(shared_url):
    store = Store(shared_url)
    store.check()
    store.write(with_values(2**70, None, 1.0), "fail")
    execute(shared_url, "UPDATE e_values SET x = NULL")
    found = store.read("values")
    assert [run.fields.get("x", "gone") for run in found.runs] == ["gone", None, "gone"]
    store.close()


@pytest.mark.parametrize(
    ("missing", "value", "kind"),
    [
        (pd.NaT, pd.Timestamp("2026-01-02", tz="UTC"), "datetime"),
        (np.datetime64("NaT"), dt.datetime(2026, 1, 2), "datetime"),
        (np.timedelta64("NaT"), dt.timedelta(1), "float"),
        (pd.NA, 1, "int"),
        (pd.NA, "text", "text"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_kind_follows_values_and_not_what_is_missing(store, missing, value, kind, together):
    runs = [make_run(i, x=missing) for i in range(3)] + [make_run(3, x=value)]
    store.write(make_record("values", runs if together else runs[:3]), "fail")
    store.write(make_record("values", runs), "merge")
    assert columns_of(store)["x"]["kind"] == kind
    assert_same_runs(store.read("values").runs, runs)
    assert store.query("SELECT count(x) FROM {e}", names={"e": "values"})[1] == [(1,)]


def test_the_cells_of_special_values_stay(store):
    store.write(with_values((1, 2), (3, 4), (5, 6)), "fail")
    store.write(make_record("values", [make_run(i, x="text") for i in range(3, 9)]), "merge")
    assert columns_of(store)["x"]["kind"] == "json"
    assert store.query("SELECT count(x) FROM {e}", names={"e": "values"})[1] == [(3,)]
    found = [run.fields["x"] for run in store.read("values").runs]
    assert found == [(1, 2), (3, 4), (5, 6), *["text"] * 6]


def test_a_view_of_somebody_else_blocks_no_merge(shared_url):
    store = Store(shared_url)
    store.check()
    runs = [make_run(0, n=1, m=None, k=1), make_run(1, n=2, m=None, k=2)]
    store.write(make_record("seen", runs), "fail")
    execute(shared_url, "CREATE VIEW theirs AS SELECT n, m FROM e_seen")
    runs += [make_run(2, n=1.5, m="text", k=2.5)]
    store.write(make_record("seen", runs), "merge")
    assert_same_runs(store.read("seen").runs, runs)
    assert columns_of(store, "seen")["k"]["kind"] == "float"
    assert store.query("SELECT count(*) FROM theirs")[1] == [(3,)]
    execute(shared_url, "DROP VIEW theirs")
    store.close()


class Counted(list):
    """A list that counts how often a cell of it is asked for."""

    asked = 0

    def __getitem__(self, place):
        Counted.asked += 1
        return super().__getitem__(place)


def test_the_cost_of_a_merge_grows_with_its_cells():
    store = Store("sqlite://")
    store.check()
    runs = [make_run(i, **{f"f{j}": i * j for j in range(40)}) for i in range(50)]
    record = make_record("wide", runs)
    store.write(record, "fail")
    keys, ids = tuple(runs[0].fields), [run.id_run for run in runs]
    seen = store.read("wide").snapshot.runs
    marks = [Counted(seen[id_run].marks[place] for id_run in ids) for place in range(len(keys))]
    ledger = list(zip(*(seen[id_run].ledger for id_run in ids), strict=True))
    part = Part(keys, ids, marks, ledger, range(len(ids)))
    record.snapshot = Snapshot(record.id_experiment, SeenRuns(part))
    runs[7].fields["f3"] = -1
    Counted.asked = 0
    assert store.write(record, "merge").columns == ["f3"]
    assert Counted.asked <= 3 * 40 * 50
    assert_same_runs(store.read("wide").runs, runs)
    store.close()
