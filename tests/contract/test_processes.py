"""Many processes that do something to one database at the same moment."""

import sqlite3
import stat
import threading

import pytest

from mltraq_prefect.storage import Store
from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.processes import Crowd
from tests.contract.readers import read_while_replaced
from tests.contract.records import make_record, make_run
from tests.contract.tasks import numbers_of

MANY = 16
REPLACES = 100


@pytest.fixture(scope="module")
def crowd():
    started = Crowd(MANY)
    yield started
    started.end()


@pytest.fixture(scope="module")
def pair():
    started = Crowd(2)
    yield started
    started.end()


def test_the_fixed_tables_are_made_once(shared_url, crowd):
    crowd.run(tasks.check, shared_url)
    assert_sound(shared_url)
    store = Store(shared_url)
    assert len(store.query("SELECT * FROM experiment_format")[1]) == 1


def test_experiments_of_their_own_in_an_empty_database(shared_url, crowd):
    crowd.run(tasks.own, shared_url)
    assert [row["runs"] for row in Store(shared_url).ls()] == [3] * MANY
    assert_sound(shared_url)


def test_fail_has_one_winner(shared_url, crowd):
    won = crowd.run(tasks.fail, shared_url)
    assert won.count(True) == 1
    found = Store(shared_url).read("coin toss")
    assert numbers_of(found) == {won.index(True)}
    assert len(found.runs) == 20
    assert_sound(shared_url)


def test_replace_has_a_complete_winner(shared_url, crowd):
    crowd.run(tasks.replace_some, shared_url)
    store = Store(shared_url)
    found = store.read("coin toss")
    assert len(found.runs) == 20
    (winner,) = numbers_of(found)
    assert winner % 3 == 2  # the last one of some process
    assert store.ls()[0]["revision"] == MANY * 3
    assert_sound(shared_url)


def test_merge_gives_the_union_once(shared_url, crowd):
    crowd.run(tasks.merge_some, shared_url)
    runs = Store(shared_url).read("coin toss").runs
    for run in runs:
        n = run.fields["n"]
        assert run.fields == {"n": n, "pair": (n, 1), f"f{n % 40}": n}
    assert sorted(run.fields["n"] for run in runs) == list(range(MANY * 3))
    assert sorted(run.ledger.position for run in runs) == list(range(MANY * 3))
    assert_sound(shared_url)


def test_merges_of_the_same_runs_join(shared_url, crowd):
    crowd.run(tasks.merge_same, shared_url)
    store = Store(shared_url)
    runs = store.read("coin toss").runs
    own = {f"by {number}": number for number in range(MANY)}
    assert [run.fields for run in runs] == [{"shared": i} | own for i in range(5)]
    assert store.ls()[0]["revision"] == MANY
    assert_sound(shared_url)


def test_everything_at_once(shared_url, crowd):
    crowd.run(tasks.anything, shared_url)
    assert_sound(shared_url)


def columns_of_their_own(number):
    return [(f"from {number} {i}", (i, 1.5, "x", b"y")[i % 4]) for i in range(10)]


def columns_of_other_kinds(number):
    return [(f"both {i}", ("text", 0.5)[(number + i) % 2]) for i in range(10)]


def numbers_and_text(number):
    return [("same", value) for value in ([1, 2.5, 3] if number else [2**60, "text", b"x"])] * 3


@pytest.mark.parametrize("fields", [columns_of_their_own, columns_of_other_kinds, numbers_and_text])
def test_two_that_change_the_schema(shared_url, pair, fields):
    both = [fields(0), fields(1)]
    pair.run(tasks.add_fields, shared_url, each=both)
    (run,) = Store(shared_url).read("coin toss").runs
    written = {key: {value for own in both for k, value in own if k == key} for key in run.fields}
    assert set(run.fields) == {key for own in both for key, _ in own}
    for key, value in run.fields.items():
        assert value in written[key]
    assert_sound(shared_url)


def test_readers_never_see_a_mixture(shared_url):
    """`soak` replaces for longer."""
    read_while_replaced(shared_url, REPLACES)


def test_a_file_with_a_write_ahead_log(tmp_path, crowd):
    """Where its owner has chosen one, in which a lock that is taken too late is not waited for."""
    url = f"sqlite:///{tmp_path}/x.db"
    Store(url).check()
    connection = sqlite3.connect(tmp_path / "x.db")
    assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    crowd.run(tasks.merge_some, url)
    assert len(Store(url).read("coin toss").runs) == MANY * 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    connection.close()
    assert_sound(url)


def test_threads_with_stores_of_their_own_make_the_tables(shared_url):
    barrier, errors = threading.Barrier(MANY), []

    def work():
        store = Store(shared_url)
        barrier.wait()
        try:
            store.check()
        except Exception as error:
            errors.append(error)
        store.close()

    threads = [threading.Thread(target=work) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert_sound(shared_url)


def test_threads_share_a_store(store):
    """Also the one connection of a database in memory."""
    errors = []

    def work(number):
        try:
            for i in range(5):
                run = make_run(number * 5 + i, n=i)
                store.write(make_record(runs=[run]), "merge")
                store.read("coin toss")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.read("coin toss").runs) == 40
