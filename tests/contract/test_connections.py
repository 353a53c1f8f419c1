"""Connections that are cut, servers that go away and come back, drivers that are too old."""

import sqlite3
import threading

import pytest
import sqlalchemy as sa

from mltraq_prefect.errors import StorageUnavailable
from mltraq_prefect.storage import Store
from tests import servers
from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.processes import Worker
from tests.contract.proxy import proxied
from tests.contract.records import assert_same_runs, make_record, make_run
from tests.polling import poll

SECONDS = 120

SERVERS = {
    "postgresql": servers.private_postgresql,
    "mariadb": lambda: servers.private_mariadb(innodb_flush_log_at_trx_commit=1),
}


@pytest.fixture(params=["postgresql", "mariadb"])
def server_url(request):
    make = {"postgresql": servers.postgresql_database, "mariadb": servers.mariadb_database}
    with make[request.param]() as url:
        yield url


def old_and_new(mode):
    """Return what is there before a write, if anything, and what is written."""
    old = make_record(runs=[make_run(i, n=i) for i in range(3)])
    new = make_record(runs=[make_run(i, n=i + 0.5, other="x", pair=(i, i)) for i in range(5)])
    return (None, new) if mode == "fail" else (old, new)


def test_a_connection_that_is_cut_is_made_again(server_url):
    url = sa.make_url(server_url)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({"application_name": "to be cut"})
    store = Store(url.render_as_string(hide_password=False))
    record = make_record(runs=[make_run(i, n=i) for i in range(3)])
    store.write(record, "fail")
    assert cut_connections(url) == 1
    record.runs[0].fields["n"] = 7
    assert store.write(record, "merge").runs == 1
    assert cut_connections(url) == 1
    assert_same_runs(store.read("coin toss").runs, record.runs)
    store.close()


def cut_connections(url):
    """Cut those of this test alone; the server may be a developer's. Return how many there were."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        if url.get_backend_name() == "postgresql":
            sql = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND application_name = 'to be cut'"
            )
            return len(connection.exec_driver_sql(sql).all())
        sql = (
            "SELECT id FROM information_schema.processlist "
            "WHERE id <> connection_id() AND db = database()"
        )
        found = connection.exec_driver_sql(sql).all()
        for (number,) in found:
            connection.exec_driver_sql(f"KILL {number}")
        return len(found)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("mode", ["fail", "replace", "merge"])
def test_a_connection_cut_at_each_commit(server_url, mode, late):
    """Before the server gets the COMMIT, or before we get its answer: written once."""
    with proxied(server_url) as (proxy, url):
        for at in range(1, 100):
            store = Store(url)
            store.check()
            old, new = old_and_new(mode)
            if old is not None:
                store.write(old, "replace")
            proxy.arm(at, late=late)
            written = store.write(new, mode)
            was_cut = proxy.commits >= at
            proxy.arm(0, late=False)
            assert (written.changed, written.runs) == (True, 5)
            assert written.revision == store.ls()[0]["revision"]
            assert_same_runs(store.read("coin toss").runs, new.runs)
            assert_sound(server_url)
            store.delete("coin toss")
            store.close()
            if not was_cut:
                break
        assert at > 1


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_connection_cut_while_it_deletes(server_url, late):
    with proxied(server_url) as (proxy, url):
        store = Store(url)
        store.write(old_and_new("fail")[1], "fail")
        proxy.arm(1, late=late)
        store.delete("coin toss")
        assert proxy.commits >= 1
        assert store.ls() == []
        assert_sound(server_url)
        store.close()


@pytest.fixture(params=SERVERS)
def private_server(request):
    with SERVERS[request.param]() as server:
        server.url = servers.new_database(server.url)
        yield server


def test_a_server_that_restarts_is_waited_for(private_server):
    store = Store(private_server.url)
    record = make_record(runs=[make_run(i, n=i) for i in range(3)])
    store.write(record, "fail")
    private_server.stop()
    record.runs[0].fields["n"] = 7
    written = []
    writer = threading.Thread(target=lambda: written.append(store.write(record, "merge")))
    writer.start()
    private_server.start()
    writer.join()
    assert [found.runs for found in written] == [1]
    assert_same_runs(store.read("coin toss").runs, record.runs)
    store.close()


def test_a_server_that_crashes_while_it_is_written_to(private_server):
    """What was acknowledged is there, once, and the writer never knew."""
    worker = Worker()
    worker.begin(tasks.merge, private_server.url, 0, 300)
    for crash in (False, True, True):
        wait_for(worker, len(worker.reports) + 20)
        private_server.stop(crash=crash)
        private_server.start()
    worker.result()
    worker.end()
    runs = Store(private_server.url).read("coin toss").runs
    assert [run.fields["n"] for run in runs] == list(range(300))
    assert_sound(private_server.url)


def wait_for(worker, reports):
    while len(worker.reports) < reports:
        worker.next_report()


def test_a_server_is_waited_for_as_long_as_it_is_said(private_server, caplog):
    store = Store(private_server.url, reconnect_seconds=0.5)
    store.write(make_record(runs=[make_run(0, n=0)]), "fail")
    private_server.stop()

    def write():
        with store.patient(SECONDS):
            store.write(make_record(runs=[make_run(1, n=1)]), "merge")

    writer = threading.Thread(target=write)
    writer.start()
    assert poll(lambda: caplog.messages, bool)  # later than it is waited for otherwise
    private_server.start()
    writer.join()
    away, back = caplog.messages
    assert "has gone away: " in away
    assert away.endswith(f"what is to be written waits for it, up to {SECONDS} s")
    assert "is back after" in back
    assert len(store.read("coin toss").runs) == 2
    store.close()


def test_a_server_that_stays_away_is_given_up(private_server):
    store = Store(private_server.url, reconnect_seconds=0.5)
    store.write(make_record(runs=[make_run(0, n=0)]), "fail")
    private_server.stop()
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        store.read("coin toss")
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        store.write(make_record(runs=[make_run(1, n=1)]), "merge")
    private_server.start()
    assert len(store.read("coin toss").runs) == 1
    store.close()


def test_who_has_no_postgresql_gets_one_from_a_wheel():
    with servers.private_postgresql(servers.postgresql_of_wheel()) as server:
        store = Store(servers.new_database(server.url))
        record = make_record(runs=[make_run(i, n=i) for i in range(3)])
        store.write(record, "fail")
        assert_same_runs(store.read("coin toss").runs, record.runs)
        store.close()


def test_a_sqlite_that_is_too_old_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(StorageUnavailable, match=r"3\.35 or later .*Python has 3\.34\.1"):
        Store(f"sqlite:///{tmp_path}/store.db").check()
    assert not list(tmp_path.iterdir())
