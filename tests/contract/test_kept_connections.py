"""The connection to a SQLite file that a session keeps."""

import gc
import os
import shutil
import sqlite3

import pytest
import sqlalchemy as sa

from mltraq_prefect.errors import FieldNotFound
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.selections import selection
from mltraq_prefect.storage.sql import connections
from tests.contract.records import make_record, make_run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    opened = Store(f"sqlite:///{path}")
    opened.write(make_record("a", [make_run(1, n=1)]), "fail")
    yield opened
    opened.close()


@pytest.fixture
def opened(store):
    """The connections that are opened from now on."""
    found = []

    def note(connection, _record):
        found.append(connection)

    sa.event.listen(sa.pool.Pool, "connect", note)
    yield found
    sa.event.remove(sa.pool.Pool, "connect", note)


def count(store, name="a"):
    return len(store.read(name).runs)


def test_transactions_use_one_connection(store, opened):
    for number in range(3):
        store.write(make_record(f"b{number}", [make_run(1, n=1)]), "fail")
        assert count(store) == 1
    assert opened == []


def test_a_file_in_the_place_of_another_is_another_database(store, path, opened):
    other = path.with_name("other.db")
    with_two = Store(f"sqlite:///{other}")
    with_two.write(make_record("a", [make_run(1, n=1), make_run(2, n=2)]), "fail")
    with_two.close()
    opened.clear()
    assert count(store) == 1
    os.replace(other, path)
    assert count(store) == 2
    assert len(opened) == 1


def test_a_backup_that_is_written_over_the_file_is_read(store, path, opened):
    """It may say that it has been written as often as the file of which pages are known."""
    backup = path.with_name("backup.db")
    with_other = Store(f"sqlite:///{backup}")
    with_other.write(make_record("a", [make_run(1, n=2)]), "fail")
    with_other.close()
    assert backup.read_bytes()[24:40] == path.read_bytes()[24:40]
    assert store.read("a").runs[0].fields["n"] == 1
    opened.clear()
    shutil.copyfile(backup, path)
    assert store.read("a").runs[0].fields["n"] == 2
    store.write(make_record("b", [make_run(1, n=3)]), "fail")
    assert [store.read(name).runs[0].fields["n"] for name in "ab"] == [2, 3]
    assert len(opened) == 1


def test_a_file_that_is_deleted_is_not_read(store, path):
    path.unlink()
    assert not store.exists("a")
    store.write(make_record("b", [make_run(1, n=1)]), "fail")
    assert [row["name"] for row in store.ls()] == ["b"]
    path.rename(path.with_name("elsewhere.db"))
    path.parent.joinpath("elsewhere.db").rename(path)
    assert count(store, "b") == 1


def test_a_file_with_a_wal_is_whole_after_each_transaction(store, path):
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA journal_mode = WAL")
    other.close()
    store.write(make_record("b", [make_run(1, n=1)]), "fail")
    assert count(store, "b") == 1
    assert [own.name for own in path.parent.iterdir()] == [path.name]
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copied = Store(f"sqlite:///{copy}")
    assert count(copied, "b") == 1
    copied.close()


def test_who_waits_for_the_file_does_not_wait_for_a_connection_that_is_kept(store, path):
    assert count(store) == 1
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    other.execute("CREATE TABLE more (x)")
    other.execute("COMMIT")
    other.close()
    assert count(store) == 1


def test_a_connection_whose_transaction_failed_is_closed(store, opened):
    with pytest.raises(FieldNotFound):
        store.read("a", where=selection("absent = 1", None))
    assert opened == []
    assert count(store) == 1
    assert len(opened) == 1


def test_the_connection_of_a_store_that_nobody_has_is_closed(store, path, opened):
    assert count(Store(f"sqlite:///{path}")) == 1
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_a_process_that_was_forked_opens_the_file_itself(store, opened):
    assert count(store) == 1
    pid = os.fork()
    if pid == 0:
        try:
            is_right = count(store) == 1 and len(opened) == 1
            store.write(make_record("child", [make_run(1, n=1)]), "fail")
        except BaseException:
            is_right = False
        os._exit(0 if is_right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert opened == []
    assert count(store, "child") == 1


def test_so_many_files_are_kept_open_at_most(store, tmp_path, opened, monkeypatch):
    gc.collect()
    monkeypatch.setattr(connections, "MOST_KEPT", len(connections._keeping) + 1)
    stores = [Store(f"sqlite:///{tmp_path}/{number}.db") for number in range(2)]
    for one in stores:
        one.write(make_record("a", [make_run(1, n=1)]), "fail")

    def opens(one):
        opened.clear()
        assert count(one) == count(one) == 1
        return len(opened)

    assert [*map(opens, (store, *stores))] == [0, 0, 2]
    stores[0].close()
    assert [*map(opens, (stores[1], stores[0]))] == [1, 2]
    stores[1].close()
