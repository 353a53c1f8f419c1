"""Somebody writes to an experiment between the reading and the writing of a merge."""

import contextlib
import json
import threading
from dataclasses import dataclass, replace

import pytest

from mltraq_prefect.codecs import registry
from mltraq_prefect.storage import Store
from tests import servers
from tests.contract.records import make_record, make_run


@dataclass(frozen=True)
class Counted:
    """A value whose encodings are counted."""

    number: int


ENCODED = []


def write_counted(value, _):
    ENCODED.append(value.number)
    return {"$counted": value.number}


WAITING = (
    "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
)
"""Who waits for this connection; others wait on this server, too."""


@pytest.fixture
def counted():
    registry.register(Counted, "$counted", write_counted, lambda argument, _: Counted(argument))
    yield
    del registry.ENCODERS[Counted], registry.DECODERS["$counted"]


@pytest.fixture(params=[3, 1500])
def stored(request, counted):
    """A store on PostgreSQL with an experiment, and how many runs that has."""
    with servers.postgresql_database() as url:
        store = Store(url)
        store.check()
        runs = [make_run(i, x=Counted(i), n=i) for i in range(request.param)]
        store.write(make_record("busy", runs), "fail")
        yield store, request.param
        store.close()


@contextlib.contextmanager
def held_back(store, record):
    """Merge in a thread, which is held back while the block writes by the transaction it gets."""
    thread = threading.Thread(target=store.write, args=(record, "merge"))
    with store._database.writing(store.table_of("busy")) as transaction:
        thread.start()
        while not transaction.rows(WAITING):
            assert thread.is_alive()
        yield transaction
        transaction.run("UPDATE experiments SET revision = revision + 1")
    thread.join(180)
    assert not thread.is_alive()


def changed(store):
    """Return the experiment with a new value in each of its runs, and one run more."""
    record = store.read("busy")
    runs = list(record.runs)
    for run in runs:
        run.fields["x"] = Counted(-run.fields["n"])
        run.fields["n"] *= -1
    ENCODED.clear()
    return replace(record, runs=[*runs, make_run(len(runs), x=Counted(0), n=0)])


def test_a_merge_is_encoded_once_whatever_others_write(stored):
    store, count = stored
    store.write(changed(store), "merge")
    once = len(ENCODED)
    assert once >= count
    record = changed(store)
    with held_back(store, record) as transaction:
        steps = json.dumps({"toss": "1", "more": "2"})
        id_run = record.runs[0].id_run
        transaction.run("UPDATE experiment_runs SET steps = ? WHERE id_run = ?", (steps, id_run))
    assert len(ENCODED) < 1.5 * once
    found = store.read("busy").runs
    assert [run.fields["x"] for run in found[:count]] == [Counted(i) for i in range(count)]
    assert set(found[0].ledger.steps) == {"toss", "more"}


def test_a_field_that_others_add_costs_no_encoding(stored):
    store, count = stored
    store.write(changed(store), "merge")
    once = len(ENCODED)
    record = changed(store)
    with held_back(store, record) as transaction:
        columns = json.loads(transaction.rows("SELECT run_columns FROM experiments")[0][0])
        columns["theirs"] = {"column": "theirs", "kind": "int", "type": "int"}
        transaction.run("ALTER TABLE e_busy ADD COLUMN theirs BIGINT")
        transaction.run("UPDATE e_busy SET theirs = 7")
        transaction.run("UPDATE experiments SET run_columns = ?", (json.dumps(columns),))
    assert len(ENCODED) < 1.5 * once
    found = store.read("busy").runs
    assert [run.fields["theirs"] for run in found[:count]] == [7] * count
    assert [run.fields["x"] for run in found[:count]] == [Counted(i) for i in range(count)]


def test_a_value_that_others_have_put_into_the_same_run_is_seen(stored):
    """Without having been loaded: what is the same already is not written again."""
    store, _ = stored
    record = make_record("busy", [make_run(0, n=5)])
    with held_back(store, record) as transaction:
        transaction.run("UPDATE e_busy SET n = 5 WHERE id_run = ?", (record.runs[0].id_run,))
    before = store.ls()[0]["revision"]
    assert store.write(make_record("busy", [make_run(0, n=5)]), "merge").changed is False
    assert store.ls()[0]["revision"] == before
    assert store.read("busy").runs[0].fields == {"x": Counted(0), "n": 5}
