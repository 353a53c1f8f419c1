"""Databases of an older format become such of the present one: once, whole, or not at all."""

import pytest

from mltraq_prefect.errors import NewerFormat, ReadOnlyStore, StoreError
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.sql.migrations import Migration, newest
from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.processes import Crowd, Worker
from tests.contract.read_only import read_only
from tests.contract.records import assert_same_runs, backend_of, make_record, make_run
from tests.contract.tasks import FORMAT, NEXT, OPTIONAL, add_notes

RECORD = make_record(runs=[make_run(i, n=i, pair=(i, i)) for i in range(3)])


@pytest.fixture
def old_url(shared_url):
    """A database of the present format, which is an older one if there are more migrations."""
    store = Store(shared_url)
    store.write(RECORD, "fail")
    store.close()
    return shared_url


def versions(store):
    return [version for (version,) in store.query("SELECT version FROM experiment_format")[1]]


def notes(store):
    return store.query("SELECT remark FROM experiments")[1]


def test_the_register_leads_from_each_version_to_the_next():
    assert sorted(MIGRATIONS) == list(range(1, FORMAT))


def test_a_new_database_has_the_newest_format(shared_url):
    store = Store(shared_url, migrations=NEXT)
    store.check()
    assert versions(store) == [newest(NEXT)]


def test_an_old_database_is_migrated_and_says_so(old_url):
    store = Store(old_url, migrations=NEXT)
    store.check()
    assert sorted(versions(store)) == list(range(FORMAT, newest(NEXT) + 1))
    _, rows = store.query("SELECT package, applied_at FROM experiment_format")
    assert all(package and applied_at for package, applied_at in rows)
    assert notes(store) == [("coin toss, twice",)]
    assert_same_runs(store.read("coin toss").runs, RECORD.runs)
    assert_sound(old_url, migrations=NEXT)


def test_reading_alone_migrates_too(old_url):
    assert_same_runs(Store(old_url, migrations=NEXT).read("coin toss").runs, RECORD.runs)
    assert versions(Store(old_url, migrations=NEXT))[-1:] == [newest(NEXT)]


def test_a_migration_that_fails_changes_nothing(old_url):
    def fails(transaction):
        add_notes(transaction)
        transaction.run("INSERT INTO experiment_format (version) VALUES ('no number', 'at all')")

    store = Store(old_url, migrations={**MIGRATIONS, FORMAT: Migration(fails)})
    with pytest.raises(StoreError, match=f"from format {FORMAT} to {FORMAT + 1}: .* as it was"):
        store.check()
    before = Store(old_url)
    assert versions(before) == [FORMAT]
    assert_same_runs(before.read("coin toss").runs, RECORD.runs)
    if backend_of(before) == "mariadb":  # where a column that was added stays
        assert notes(before) == [(None,)]
    after = Store(old_url, migrations=NEXT)
    after.check()
    assert notes(after) == [("coin toss, twice",)]


def test_a_migration_that_is_killed_is_done_by_the_next(old_url):
    worker = Worker()
    worker.begin(tasks.migrate_and_hang, old_url)
    worker.next_report()
    worker.kill()
    assert versions(Store(old_url)) == [FORMAT]
    store = Store(old_url, migrations=NEXT)
    store.check()
    assert notes(store) == [("coin toss, twice",)]
    assert_same_runs(store.read("coin toss").runs, RECORD.runs)


def test_many_that_migrate_at_once_do_it_once(old_url):
    crowd = Crowd(8)
    crowd.run(tasks.migrate, old_url)
    crowd.end()
    store = Store(old_url, migrations=NEXT)
    assert sorted(versions(store)) == list(range(FORMAT, newest(NEXT) + 1))
    assert notes(store) == [("coin toss, twice",)]


def test_an_older_package_that_has_the_database_open_stops_writing(old_url):
    older = Store(old_url)
    older.check()
    Store(old_url, migrations=NEXT).check()
    for change in (lambda: older.write(RECORD, "merge"), lambda: older.delete("coin toss")):
        with pytest.raises(NewerFormat, match=f"has format {newest(NEXT)}"):
            change()
    with pytest.raises(NewerFormat):
        Store(old_url).read("coin toss")


def test_an_old_database_that_cannot_be_written(old_url):
    with read_only(old_url) as url:
        store = Store(url, migrations=OPTIONAL)
        store.check()
        assert_same_runs(store.read("coin toss").runs, RECORD.runs)
        with pytest.raises(ReadOnlyStore):
            store.write(RECORD, "replace")
        with pytest.raises(ReadOnlyStore, match=f"has format {FORMAT}, .* format {newest(NEXT)}"):
            Store(url, migrations=NEXT).read("coin toss")
        store.close()
    assert versions(Store(old_url)) == [FORMAT]
