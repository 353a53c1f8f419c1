"""Large values: what is written when something else of their run changes, and that none is left."""

import gc
import sqlite3
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Record, Store
from mltraq_prefect.storage.sql.dialects import sqlite_blobs
from tests.polling import poll
from tests.servers import postgresql_database

BYTES = 200_000


def record(runs=5, seed=0):
    rng = np.random.default_rng(seed)
    members = [Run(f"run-{n}", params={"N": n}) for n in range(runs)]
    for run in members:
        run["predictions"] = rng.random(BYTES // 8)
        run["small"] = rng.random(2)
    return Record(name="large", id_experiment="e", runs=members)


def predictions(store):
    return [run["predictions"] for run in store.read("large").runs]


def values_beside(store):
    ((count,),) = store.query("SELECT count(*) FROM experiment_values")[1]
    return count


def test_they_come_back_after_each_kind_of_write(store):
    first, second = record(seed=1), record(seed=2)
    store.write(first, "fail")
    np.testing.assert_array_equal(predictions(store), [r["predictions"] for r in first.runs])
    store.write(second, "merge")
    np.testing.assert_array_equal(predictions(store), [r["predictions"] for r in second.runs])
    store.write(first, "replace")
    np.testing.assert_array_equal(predictions(store), [r["predictions"] for r in first.runs])


def test_one_that_becomes_small_or_goes_leaves_nothing_behind(store):
    store.write(record(), "fail")
    before = values_beside(store)
    loaded = store.read("large")
    loaded.runs[0]["predictions"] = np.zeros(2)
    del loaded.runs[1].fields["predictions"]
    store.write(loaded, "merge")
    assert values_beside(store) == max(0, before - 2)
    again = store.read("large")
    np.testing.assert_array_equal(again.runs[0]["predictions"], np.zeros(2))
    assert "predictions" not in again.runs[1].fields


def test_a_deleted_experiment_leaves_nothing_behind(store):
    store.write(record(), "fail")
    store.delete("large")
    assert values_beside(store) == 0


def add_metric(store, *, columns):
    loaded = store.read("large", columns=columns)
    for place, run in enumerate(loaded.runs):
        run[f"metric {loaded.revision}"] = place / 2
    store.write(loaded, "merge")


@pytest.mark.parametrize("columns", [[], ["predictions"]])
def test_a_metric_is_added_without_writing_them_again_on_sqlite(tmp_path, columns):
    store = Store(f"sqlite:///{tmp_path}/large.db")
    store.write(record(50), "fail")
    before = _written()
    add_metric(store, columns=columns)
    assert _written() - before < BYTES


@pytest.mark.parametrize("columns", [[], ["predictions"]])
def test_a_metric_is_added_without_writing_them_again_on_postgresql(columns):
    position = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
    with postgresql_database() as url:
        store = Store(url)
        store.write(record(50), "fail")

        def logged():
            ((before,),) = store.query(position)[1]
            add_metric(store, columns=columns)
            ((after,),) = store.query(position)[1]
            return after - before

        # The first change of a page after a checkpoint logs the page of 8 kB as a whole, and others
        # write to this server, too, but not without a break.
        least = poll(logged, lambda found: found < 5 * BYTES)
        assert least < 5 * BYTES
        store.close()


@pytest.mark.parametrize("size", [sqlite_blobs.LEAST, 2**22])
def test_one_is_written_to_sqlite_once(tmp_path, size):
    run = Run("run-0", params={"N": 0})
    run["predictions"] = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    store = Store(f"sqlite:///{tmp_path}/large.db")
    store.check()
    before = _written()
    store.write(Record(name="large", id_experiment="e", runs=[run]), "fail")
    assert _written() - before < 2**19 + 1.1 * size
    np.testing.assert_array_equal(predictions(store), [run["predictions"]])


@pytest.mark.parametrize(
    "added",
    [
        "CREATE TRIGGER own AFTER INSERT ON experiment_values "
        "BEGIN INSERT INTO noted VALUES (new.value); END",
        "CREATE INDEX own ON experiment_values (length(value))",
    ],
)
def test_a_trigger_or_an_index_that_somebody_has_added_gets_the_value(tmp_path, added):
    path = f"{tmp_path}/large.db"
    store = Store(f"sqlite:///{path}")
    store.check()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE noted (value)")
        connection.execute(added)
        store.write(record(), "fail")
        values = connection.execute("SELECT value FROM experiment_values").fetchall()
        noted = connection.execute("SELECT value FROM noted").fetchall()
    assert noted == (values if "TRIGGER" in added else [])
    assert len(predictions(store)) == len(values)


def _written():
    """Return how many bytes this process has handed to the system to write."""
    with open("/proc/self/io") as file:
        return int(dict(line.split(": ") for line in file)["wchar"])


def test_a_large_value_that_is_missing_is_named(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/large.db")
    store.write(record(), "fail")
    with store._database.writing("test") as transaction:
        transaction.run("DELETE FROM experiment_values WHERE id_run = 'run-2'")
    with pytest.raises(CorruptData) as caught:
        store.read("large")
    named = (caught.value.experiment, caught.value.run, caught.value.field)
    assert named == ("large", "run-2", "predictions")
    assert store.read("large", columns=["small"]).runs[2]["small"].shape == (2,)


class Elsewhere:
    """Would make fields again."""

    parts = frozenset(("fields",))
    reads = False


def test_a_loaded_value_is_kept_by_its_run_alone(store):
    store.write(record(), "fail")
    runs = store.read("large").runs
    alive = [weakref.ref(run.fields["predictions"]) for run in runs]
    del runs[0].fields["predictions"]
    runs[1].defer(Elsewhere())
    gc.collect()
    assert [found() is None for found in alive] == [True, True, False, False, False]


def test_threads_that_ask_for_the_same_run_get_the_same_fields(store):
    store.write(record(runs=40), "fail")
    start = threading.Barrier(4)

    def ask(run):
        start.wait()
        return run.fields

    with ThreadPoolExecutor(4) as threads:
        for run in store.read("large").runs:
            first, *others = threads.map(ask, [run] * 4)
            assert all(other is first for other in others)
            assert first["predictions"].nbytes == BYTES
