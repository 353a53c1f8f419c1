"""Databases that cannot be written, full disks, long values: an error, and nothing is lost."""

import os
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from mltraq_prefect.errors import ReadOnlyStore, StorageFull, StoreError
from mltraq_prefect.storage import Store
from tests import servers
from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.processes import Worker
from tests.contract.read_only import read_only
from tests.contract.records import assert_same_runs, make_record, make_run, with_values


def small():
    return make_record(runs=[make_run(i, n=i, pair=(i, i)) for i in range(3)])


def large(runs=30, size=200_000):
    """Several megabytes that compress badly, in columns of other kinds than before."""
    text = os.urandom(size // 2).hex()
    return make_record(runs=[make_run(i, n=f"{i} {text}") for i in range(runs)])


# -- read-only -------------------------------------------------------------------------------------


def test_a_database_that_can_only_be_read(shared_url):
    record = small()
    Store(shared_url).write(record, "fail")
    with read_only(shared_url) as url:
        store = Store(url)
        store.check()
        assert_same_runs(store.read("coin toss").runs, record.runs)
        assert store.ls()[0]["runs"] == 3
        assert store.query("SELECT count(*) FROM {e}", names={"e": "coin toss"})[1] == [(3,)]
        for change in (large(1), make_record(runs=[make_run(9, n=9)])):
            for mode in ("replace", "merge"):
                with pytest.raises(ReadOnlyStore, match="cannot be written"):
                    store.write(change, mode)
        with pytest.raises(ReadOnlyStore, match="cannot be written"):
            store.delete("coin toss")
        store.close()
    assert_same_runs(Store(shared_url).read("coin toss").runs, record.runs)
    assert_sound(shared_url)


def test_an_empty_database_that_can_only_be_read(shared_url):
    Store(shared_url).check()
    engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE experiment_values")
    with read_only(shared_url) as url, pytest.raises(ReadOnlyStore, match="cannot be written"):
        Store(url).check()


@pytest.fixture
def open_folder():
    """A folder that every user may enter, as those of pytest are not: each pytest sees to that."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o444, 0o555), (0o644, 0o555)])
def test_a_file_that_its_user_may_not_write(open_folder, file, folder):
    """The process is no administrator, whom modes do not concern."""
    path = open_folder / "home" / "x.db"
    path.parent.mkdir()
    Store(f"sqlite:///{path}").write(small(), "fail")
    path.chmod(file | 0o004)
    path.parent.chmod(folder)
    worker = Worker()
    worker.begin(tasks.write_unprivileged, f"sqlite:///{path}", small())
    assert worker.result() == (3, "ReadOnlyStore")
    worker.kill()
    path.parent.chmod(0o755)


def test_a_file_in_a_folder_that_its_user_may_not_enter(open_folder):
    path = open_folder / "home" / "x.db"
    path.parent.mkdir(mode=0o700)
    worker = Worker()
    worker.begin(tasks.write_unprivileged, f"sqlite:///{path}", small())
    with pytest.raises(AssertionError, match=r"StorageUnavailable: the database sqlite:.* cannot"):
        worker.result()
    worker.kill()


# -- full ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["replace", "merge"])
def test_a_file_that_cannot_grow(tmp_path, mode):
    """The system refuses to write beyond a limit, at several points of the write."""
    url = f"sqlite:///{tmp_path}/x.db"
    record = small()
    Store(url).write(record, "fail")
    size = os.path.getsize(tmp_path / "x.db")
    for room in (0, 4096, 100_000, 1_000_001, 3_000_000):
        worker = Worker()
        worker.begin(tasks.write_limited, url, size + room, large(), mode)
        assert "is full, and nothing was written" in worker.result()
        worker.kill()
        assert_same_runs(Store(url).read("coin toss").runs, record.runs)
        assert_sound(url)
    Store(url).write(large(), mode)
    assert_sound(url)


NO_ROOM = {
    "postgresql": [
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file: No space left on device' "
        "USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER no_room BEFORE INSERT ON experiment_runs FOR EACH ROW "
        "WHEN (NEW.position > 20) EXECUTE FUNCTION no_room()",
    ],
    **{
        f"mysql {number}": [
            "CREATE TRIGGER no_room BEFORE INSERT ON experiment_runs FOR EACH ROW BEGIN "
            "IF NEW.position > 20 THEN SIGNAL SQLSTATE 'HY000' "
            f"SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'no room'; END IF; END"
        ]
        for number in (1021, 1114)
    },
}


@pytest.mark.parametrize("server", NO_ROOM)
def test_a_full_disk_of_a_server(server):
    """It answers, in the middle of the rows, as it does when a file cannot grow."""
    make = servers.postgresql_database if server == "postgresql" else servers.mariadb_database
    with make() as url:
        record = small()
        store = Store(url)
        store.write(record, "fail")
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            for statement in NO_ROOM[server]:
                connection.exec_driver_sql(statement)
        for mode in ("replace", "merge"):
            with pytest.raises(StorageFull, match="is full, and nothing was written"):
                store.write(large(), mode)
            assert_same_runs(store.read("coin toss").runs, record.runs)
            assert_sound(url, leftovers=True)
        store.close()


# -- long ------------------------------------------------------------------------------------------


LONG = {
    "exact values": lambda text: (make_record(runs=[make_run(0, x=[text, (1, 2)])]), None),
    "params": lambda text: (make_record(runs=[make_run(0, params={"N": text})]), None),
    "own fields": lambda text: (make_record(fields={"x": text}), None),
    "pickle": lambda text: (make_record(), text.encode()),
}
"""What is not in a table of runs, but in a row somewhere: as bytes, params as text."""


@pytest.mark.parametrize("url", ["mariadb"], indirect=True)
@pytest.mark.parametrize("what", LONG)
def test_what_no_row_can_take_beside_the_runs(store, what):
    with store._database.reading() as transaction:
        limit = transaction.dialect.value_limit(transaction.connection)
    room = limit // (1 if what == "params" else 2)
    for length, fits in ((room + 1, False), (room - 1000, True)):
        record, pickle = LONG[what]("x" * length)
        if fits:
            store.write(record, "fail", pickle=pickle)
            assert_same_runs(store.read("coin toss").runs, record.runs)
        else:
            with pytest.raises(StoreError, match=r"'coin toss', .* bytes a row; raise its max_"):
                store.write(record, "fail", pickle=pickle)
            assert not store.exists("coin toss")


@pytest.mark.parametrize("url", ["mariadb"], indirect=True)
@pytest.mark.parametrize(("text", "length"), [("plain", 5), ("é'\0\n", 8)])
def test_longest_text_that_a_row_can_take(store, text, length):
    with store._database.reading() as transaction:
        limit = transaction.dialect.value_limit(transaction.connection)
    record = with_values(text * ((limit - 1000) // length))
    store.write(record, "fail")
    assert_same_runs(store.read("values").runs, record.runs)
