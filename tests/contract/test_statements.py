"""How many messages servers get does not grow with the runs that are read or written together."""

import contextlib

import psycopg
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.selections import selection
from tests.contract.records import assert_same_runs, make_record, make_run
from tests.servers import postgresql_database

FEW, MANY = 2, 40
MIXED = (0.5, float("nan"), 10**15 + 0.5, -0.0)


@contextlib.contextmanager
def counted():
    """Yield a list of the statements that new connections to PostgreSQL are given."""
    sent = []

    class Cursor(psycopg.Cursor):
        def execute(self, query, *args, **options):
            sent.append(query)
            return super().execute(query, *args, **options)

        def executemany(self, query, params_seq, **options):
            rows = list(params_seq)
            sent.extend([query] * len(rows))
            return super().executemany(query, rows, **options)

    def use(connection, _record):
        connection.cursor_factory = Cursor

    sa.event.listen(sa.pool.Pool, "connect", use)
    try:
        yield sent
    finally:
        sa.event.remove(sa.pool.Pool, "connect", use)


@pytest.fixture
def sent_and_store():
    with postgresql_database() as url, counted() as sent:
        store = Store(url)
        store.check()
        yield sent, store
        store.close()


def make(store, name, count):
    """Write runs with missing and special values, some of which are in residuals."""
    runs = [make_run(i, loss=MIXED[i % 4], tag=f"a{i}") for i in range(count)]
    record = make_record(name, runs)
    record.snapshot = store.write(record, "fail").snapshot
    return record


def change(record):
    for i, run in enumerate(record.runs):
        run.fields["loss"] = MIXED[(i + 1) % 4]
        run.fields["raw"] = bytes([i])
        run.fields["note"] = None if i % 3 else f"it's {i} \\"
        run.ledger.state, run.ledger.error = (
            ("failed", "'x'") if i % 5 == 0 else ("completed", None)
        )
        run.ledger.duration_s = float(i)


def test_runs_that_are_merged_together_are_one_statement_a_table(sent_and_store):
    sent, store = sent_and_store
    counts = {}
    for count in (FEW, MANY):
        record = make(store, f"of {count}", count)
        change(record)
        sent.clear()
        store.write(record, "merge")
        counts[count] = len(sent)
        assert_same_runs(store.read(record.name).runs, record.runs)
    assert counts[MANY] == counts[FEW]


def test_runs_of_a_condition_are_read_by_the_statement_that_finds_them(sent_and_store):
    sent, store = sent_and_store
    make(store, "x", MANY)
    for count in (FEW, MANY):
        sent.clear()
        chosen = selection("tag <> :tag", {"tag": "none"}, limit=count)
        assert len(store.read("x", where=chosen).runs) == count
        assert len([sql for sql in sent if "e_x" in str(sql) and "SELECT" in str(sql)]) == 1
        assert len(sent) == 4  # begin and hold the table, the experiment, its runs, fingerprints


def log_and_keep(run):
    run.log(loss=run.params.N)
    run.files["text.txt"] = b"text"


def test_what_belongs_to_runs_is_read_at_once_for_a_copy():
    counts = {}
    with postgresql_database() as url, counted() as sent, mltraq.create_session(url) as session:
        for count in (FEW, MANY):
            experiment = session.add_experiment(f"of {count}").add_runs(N=range(count))
            experiment.execute(log_and_keep, backend="local").persist()
            loaded = session.load(f"of {count}")
            sent.clear()
            copied = loaded.copy()
            counts[count] = len(sent)
            assert {run.series["loss"].tolist()[0] for run in copied.runs.values()} == {
                *range(count)
            }
            assert all("text.txt" in run.files for run in copied.runs.values())
    assert counts[MANY] == counts[FEW]
