"""A merge writes what its caller has changed, and nothing else, whatever kinds columns have."""

import datetime as dt
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.records import Part, SeenRuns, Snapshot
from tests.contract.conftest import empty_database
from tests.contract.proxy import proxied
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


@pytest.mark.parametrize("backend", ["sqlite-file"])
@pytest.mark.parametrize("values", [(True, False, None), (1, 2, None), (1, 2, 3), (0.5, 1.5, None)])
def test_text_among_numbers_is_corrupt(backend, values, tmp_path):
    with empty_database(backend, tmp_path) as url:
        store = Store(url)
        store.check()
        store.write(with_values(*values), "fail")
        execute(url, "UPDATE e_values SET x = 'much' WHERE x = 1 OR x > 1")
        with pytest.raises(CorruptData, match="'values': field 'x' is corrupt") as caught:
            store.read("values")
        assert "much" not in str(caught.value)
        execute(url, "UPDATE e_values SET x = 1 WHERE typeof(x) = 'text'")
        assert len(store.read("values").runs) == 3
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


def test_fields_of_an_experiment_are_merged_one_by_one(store):
    fields = {"a": 1, "b": np.arange(3), "c": 3}
    store.write(make_record("own", [make_run(0)], fields=dict(fields)), "fail")
    mine, theirs = store.read("own"), store.read("own")
    mine.fields["a"] = 2
    del mine.fields["c"]
    theirs.fields["b"] = (1, 2)
    theirs.fields["d"] = "new"
    store.write(mine, "merge")
    store.write(theirs, "merge")
    found = store.read("own").fields
    assert found == {"a": 2, "b": (1, 2), "d": "new"}
    assert store.write(store.read("own"), "merge").changed is False
    store.write(make_record("own", [make_run(0)], fields={"e": 5}), "merge")
    assert store.read("own").fields == {**found, "e": 5}
    (_, [(text,)]) = store.query("SELECT fields FROM experiments")
    assert json.loads(text) == {"a": 2, "b": [1, 2], "d": "new", "e": 5}


def test_a_change_of_a_field_leaves_the_ledger_of_others_alone(store):
    """Somebody executes a run again, while somebody else corrects one of its fields."""
    store.write(make_record("again", [make_run(0, x=1)]), "fail")
    mine, theirs = store.read("again"), store.read("again")
    theirs.runs[0].ledger.duration_s = 7.5
    theirs.runs[0].ledger.flow_run_id = "later"
    theirs.runs[0].fields["x"] = 2
    store.write(theirs, "merge")
    mine.runs[0].fields["y"] = None
    store.write(mine, "merge")
    found = store.read("again").runs[0]
    assert (found.ledger.duration_s, found.ledger.flow_run_id) == (7.5, "later")
    assert found.fields == {"x": 2, "y": None}


def test_a_checkpoint_writes_fields_of_the_experiment_once(url):
    """They may be large: what has not changed is neither read nor written again."""
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("large", notes=b"x" * 500_000)
        experiment.add_runs(n=range(4)).execute(track, checkpoint=True, backend="local")
        other = session.load("large")
        other.fields.notes = "corrected"
        other.persist("merge")
        experiment.add_runs(n=range(4, 8)).execute(track, checkpoint=True, backend="local")
        experiment.persist("merge")
        found = session.load("large")
        assert found.fields == {"notes": "corrected"}
        assert len(found.runs) == 8


def track(run):
    run.fields.n = run.params.n


@pytest.mark.parametrize("mode", ["fail", "replace"])
@pytest.mark.parametrize("backend", ["postgresql", "mariadb"])
def test_a_merge_after_a_replacement_whose_acknowledgement_is_lost_stays(backend, mode, tmp_path):
    with empty_database(backend, tmp_path) as url, proxied(url) as (proxy, through):
        direct, store = Store(url), Store(through)
        store.check()
        if mode == "replace":
            direct.write(make_record("lost", [make_run(9, x=9)]), "fail")
        found = threading.Event()

        def merge():
            while len(found_runs(direct)) != 2:
                time.sleep(0.001)
            loaded = direct.read("lost")
            loaded.runs[0].fields["x"] = "merged"
            direct.write(loaded, "merge")
            found.set()

        proxy.arm(1, late=True)
        with proxy.held_back(found), ThreadPoolExecutor(1) as pool:
            merged = pool.submit(merge)
            store.write(make_record("lost", [make_run(0, x=0), make_run(1, x=1)]), mode)
            merged.result(60)
        assert [run.fields["x"] for run in direct.read("lost").runs] == ["merged", 1]
        direct.close()
        store.close()


def found_runs(store):
    """Return the runs of the experiment, if it is there."""
    return store.read("lost").runs if store.exists("lost") else []


def test_large_fields_of_an_experiment_are_not_in_a_row_that_is_written_often(tmp_path):
    with empty_database("sqlite-file", tmp_path) as url:
        store = Store(url)
        store.check()
        for notes in (b"x" * 500_000, b"y" * 600_000, b"z"):
            store.write(make_record("large", [make_run(0)], fields={"notes": notes}), "merge")
            assert store.read("large").fields == {"notes": notes}
            (_, [(length,)]) = store.query("SELECT length(residual) FROM experiments")
            assert length < 1000
            (_, [(count,)]) = store.query("SELECT count(*) FROM experiment_values")
            assert count == (len(notes) > 1000)
        store.close()
