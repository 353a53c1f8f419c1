"""Whatever goes wrong on the way, the database is as before or as it shall be, and once."""

import contextlib
import os
import pickle
import stat
from dataclasses import replace

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.errors import (
    CorruptData,
    ForeignTable,
    InvalidInput,
    NewerFormat,
    StorageUnavailable,
    StoreError,
)
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.sql.connections import DriverError, Transaction
from mltraq_prefect.storage.tables.first_in import ExecutedBy, FirstIn
from tests.contract.records import assert_same_runs, make_record, make_run


class Faults:
    """Fails the statement of a transaction with the given number, before or after it has run."""

    def __init__(self, monkeypatch):
        self.count = 0
        self.at = None
        self.trouble = "other"
        for name in ("rows", "select", "run", "insert", "update"):
            monkeypatch.setattr(Transaction, name, self._wrap(getattr(Transaction, name)))

    def _wrap(self, method):
        def wrapped(transaction, *args):
            self.count += 1
            if self.count == self.at:
                raise DriverError(self.trouble, "injected")
            return method(transaction, *args)

        return wrapped


@pytest.fixture
def faults(monkeypatch):
    return Faults(monkeypatch)


def runs_of(n, **fields):
    return [make_run(i, n=i, pair=(i, i), **fields) for i in range(n)]


def changed(store, kind):
    """Return a record to write, the mode, and the runs that shall be there then."""
    if kind == "replace":
        record = make_record(runs=runs_of(2, other="x"))
        return record, "replace", record.runs
    record = store.read("coin toss")
    runs = list(record.runs)
    for run in runs:
        run.fields["metric"] = run.fields["n"] / 2
        run.fields["pair"] = "other"
    runs.append(make_run(9, n=9, more=b"x"))
    return replace(record, runs=runs), "merge", runs


@pytest.mark.parametrize("kind", ["replace", "merge"])
@pytest.mark.parametrize("trouble", ["other", "conflict"])
def test_each_statement_fails_in_turn(store, faults, kind, trouble):
    old = make_record(runs=runs_of(3))
    for at in range(1, 100):
        store.write(old, "replace")
        record, mode, new = changed(store, kind)
        faults.count, faults.at, faults.trouble = 0, at, trouble
        try:
            store.write(record, mode)
        except StoreError:
            assert trouble == "other"
            found = store.read("coin toss").runs
            late = len(found) == len(new)  # MariaDB's last statements come after the commit
            assert_same_runs(found, new if late else old.runs)
            injected, faults.at = True, None
            store.write(record, mode)
        else:
            injected, faults.at = faults.count >= at, None
        assert_same_runs(store.read("coin toss").runs, new)
        if not injected:
            break
    assert at > 5


@pytest.mark.parametrize("trouble", ["other", "conflict"])
def test_each_statement_of_a_deletion_fails_in_turn(store, faults, trouble):
    for at in range(1, 100):
        store.write(make_record(runs=runs_of(3)), "replace")
        faults.count, faults.at, faults.trouble = 0, at, trouble
        injected = False
        try:
            store.delete("coin toss")
        except StoreError:
            assert trouble == "other"
            injected = True
        done, faults.at = faults.count < at, None
        if store.exists("coin toss"):
            assert injected
            assert len(store.read("coin toss").runs) == 3
            store.delete("coin toss")
        assert store.query("SELECT id_run FROM experiment_runs")[1] == []
        if done:
            break
    assert at > 5


@pytest.mark.parametrize("url", ["mariadb"], indirect=True)
def test_each_statement_fails_after_one_that_came_after_the_commit(store, faults):
    """A table that was renamed, which could not be said, is not taken for the next one's."""
    old, middle, new = (make_record(runs=runs_of(n, **{f"own {n}": "x"})) for n in (3, 4, 5))
    pairs = 0
    for first in range(1, 40):
        for second in range(1, 40):
            store.write(old, "replace")
            was_late = fail(store, faults, middle, first) and len(store.read("coin toss").runs) == 4
            injected = was_late and fail(store, faults, new, second)
            if not injected:
                break
            found = store.read("coin toss").runs
            assert_same_runs(found, {4: middle, 5: new}[len(found)].runs)
            pairs += 1
    assert pairs > 20


def fail(store, faults, record, at):
    """Replace an experiment, and fail a statement; return whether there are that many."""
    faults.count, faults.at, faults.trouble = 0, at, "other"
    with contextlib.suppress(StoreError):
        store.write(record, "replace")
    faults.at = None
    return faults.count >= at


@pytest.fixture
def lose(monkeypatch):
    """Return what loses the acknowledgement of the next commit, which reaches the server."""

    def armed():
        lost = []
        commit = sa.engine.Transaction.commit

        def commit_and_lose(transaction):
            commit(transaction)
            if not lost:
                lost.append(True)
                raise DriverError("unavailable", "connection lost")

        monkeypatch.setattr(sa.engine.RootTransaction, "commit", commit_and_lose)
        return lost

    return armed


@pytest.mark.filterwarnings("ignore:transaction already deassociated")
@pytest.mark.parametrize("mode", ["fail", "replace", "merge"])
def test_a_lost_acknowledgement(store, lose, mode):
    """The commit reached the server, its acknowledgement did not come back: written once."""
    record, lost = make_record(runs=runs_of(3)), lose()
    if store.url.startswith("sqlite"):
        with pytest.raises(StorageUnavailable):
            store.write(record, mode)
    else:
        written = store.write(record, mode)
        assert (written.changed, written.runs, written.revision) == (True, 3, 1)
    assert lost
    assert_same_runs(store.read("coin toss").runs, record.runs)
    assert store.ls()[0]["revision"] == 1


@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_results_whose_acknowledgement_is_lost_are_not_taken_for_those_of_others(store, lose):
    store.write(make_record(runs=[make_run(0, step="first")]), "fail")
    record = store.read("coin toss")
    record.runs[0].ledger = make_run(0).ledger
    lost, by = lose(), ExecutedBy(first_in=FirstIn(["toss"], {}))
    if store.url.startswith("sqlite"):
        with pytest.raises(StorageUnavailable):
            store.write(record, "merge", by=by)
    else:
        assert store.write(record, "merge", by=by).revision == 2
    assert lost
    assert store.read("coin toss").runs[0].ledger.steps == {"toss": "1"}


UNREACHABLE = [
    "sqlite:////nowhere/at/all/x.db",
    "postgresql+psycopg://user:s3cret@127.0.0.1:1/db",
    "mysql+pymysql://user:s3cret@127.0.0.1:1/db",
    "postgresql://user@127.0.0.1:1/db?password=hidden",
]


@pytest.mark.parametrize("url", UNREACHABLE)
def test_unreachable(url):
    store = Store(url)
    with pytest.raises(StorageUnavailable) as caught:
        store.check()
    text = str(caught.value)
    assert text.startswith("the database ")
    assert "cannot be reached: " in text
    assert "\n" not in text
    for shown in (text, repr(store), store.url):
        assert "s3cret" not in shown
        assert "hidden" not in shown


@pytest.mark.parametrize("url", ["nonsense", "oracle://x", "postgresql://host:port/db", ""])
def test_urls_that_cannot_be_used(url):
    with pytest.raises(InvalidInput):
        Store(url)


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("postgresql+nonsense://user:s3cret@127.0.0.1:1/db", r"postgresql\+psycopg:// instead of"),
        ("postgresql+asyncpg://user:s3cret@127.0.0.1:1/db", r"asyncpg, .*postgresql\+psycopg://"),
        ("postgresql+psycopg2://user:s3cret@127.0.0.1:1/db", r"postgresql\+psycopg://"),
        ("postgres://user:s3cret@127.0.0.1:1/db", r"write postgresql\+psycopg://user@host"),
        ("mysql+aiomysql://user:s3cret@127.0.0.1:1/db", r"mysql\+pymysql://"),
        ("mysql+mysqldb://user:s3cret@127.0.0.1:1/db", r"mysql\+pymysql://"),
        ("mysql://user:s3cret@127.0.0.1:1", r"no database on it; write mysql\+pymysql://"),
        ("sqlite+aiosqlite:///x.db", r"sqlite\+pysqlite://"),
        ("sqlite://x.db", r"write sqlite:///x\.db"),
        ("sqlite:///x.db?cached_statements=ten", "an option .* cannot be used: .*'ten'"),
        ("postgresql://user:s3cret@127.0.0.1:1/db?prepare_threshold=few", "which is not a number"),
    ],
)
def test_urls_that_are_answered_with_the_form_to_use(url, instead):
    with pytest.raises(InvalidInput, match=instead) as caught:
        mltraq.create_session(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("option", ["prepare_threshold=0", "prepare_threshold=none"])
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_options_of_postgresqls_driver(url, option):
    check_options(url, option)


@pytest.mark.parametrize(
    "option",
    [
        "max_allowed_packet=1048576",
        "use_unicode=0",
        "charset=latin1",
        "autocommit=true",
        "init_command=SET sql_mode='ANSI'",
    ],
)
@pytest.mark.parametrize("url", ["mariadb"], indirect=True)
def test_options_of_mariadbs_driver(url, option):
    check_options(url, option)


def check_options(url, option):
    with mltraq.create_session(f"{url}{'&' if '?' in url else '?'}{option}") as session:
        experiment = session.add_experiment("Zürich").add_runs(city=["Zürich"])
        for _ in range(4):  # statements are prepared once they are known
            experiment.persist("merge")
            assert session.load("Zürich").runs.first().params.city == "Zürich"


def test_options_that_the_driver_does_not_know():
    store = Store("mysql+pymysql://user:s3cret@127.0.0.1:1/db?token=hidden")
    with pytest.raises(InvalidInput, match="refuses the options of mysql") as caught:
        store.check()
    assert "hidden" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_store_is_not_pickled(store):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(store)


def test_a_foreign_table_is_left_alone(url):
    store = Store(url)
    with store._database.writing("test") as transaction:
        transaction.run("CREATE TABLE experiments (id INTEGER, title VARCHAR(10))")
    with pytest.raises(ForeignTable, match="'experiments' that is not from mltraq_prefect"):
        store.check()
    assert store.query("SELECT * FROM experiments") == (["id", "title"], [])


def test_a_newer_database(store):
    with store._database.writing("test") as transaction:
        transaction.run("INSERT INTO experiment_format (version, package) VALUES (7, '9.1')")
    store._is_ready = False
    with pytest.raises(NewerFormat, match=r"format 7, written by mltraq_prefect 9\.1"):
        store.check()


def test_a_newer_experiment(store):
    store.write(make_record(runs=runs_of(1)), "fail")
    with store._database.writing("test") as transaction:
        transaction.run('UPDATE experiments SET properties = \'{"format": 7, "package": "9.1"}\'')
    with pytest.raises(NewerFormat, match=r"'coin toss' has format 7, written by mltraq_prefect 9"):
        store.read("coin toss")


def test_corrupt_binary_cells_are_named(store):
    check_corrupt_cell(store, "raw", b"nonsense")


# PostgreSQL itself refuses text that is not JSON.
@pytest.mark.parametrize("url", ["sqlite-file", "sqlite-memory", "mariadb"], indirect=True)
def test_corrupt_json_cells_are_named(store):
    check_corrupt_cell(store, "tree", "[1]]")


def check_corrupt_cell(store, column, value):
    store.write(make_record(runs=[make_run(0, tree={"a": 1}, raw=1j)]), "fail")
    with store._database.writing("test") as transaction:
        transaction.run(f"UPDATE {store.table_of('coin toss')} SET {column} = ?", (value,))
    with pytest.raises(CorruptData, match=f"experiment 'coin toss', run .*field '{column}'"):
        store.read("coin toss")


def test_files_are_private(tmp_path):
    path = tmp_path / "x.db"
    store = Store(f"sqlite:///{path}")
    store.write(make_record(runs=runs_of(3)), "fail")
    with store._database.writing("test") as transaction:
        transaction.run("DELETE FROM experiments")
        modes = {stat.S_IMODE(os.stat(file).st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}
