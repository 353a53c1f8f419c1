"""Rows of very many runs come some at a time from servers, and never all of them are in memory."""

import psycopg
import pytest
from pymysql.cursors import Cursor, SSCursor

from mltraq_prefect.errors import QueryFailed
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.selections import selection
from mltraq_prefect.storage.sql import transactions
from mltraq_prefect.storage.sql.transactions import ROWS_AT_ONCE
from tests import servers
from tests.contract.records import make_record, make_run

MANY = 2 * ROWS_AT_ONCE
"""So many rows come some at a time in these tests; as many as `LARGE` otherwise."""
RUNS = MANY + ROWS_AT_ONCE + 7
UNKNOWN = 2**63
"""Of rows that come some at a time, PyMySQL gives a greater number."""


@pytest.fixture(scope="module", params=[servers.postgresql_database, servers.mariadb_database])
def url(request):
    with request.param() as url:
        store = Store(url)
        store.check()
        runs = [make_run(i, {"i": i}, n=i, text=f"a{i}") for i in range(RUNS)]
        store.write(make_record("many", runs), "fail")
        store.close()
        yield url


@pytest.fixture
def held(monkeypatch):
    """What drivers have in memory at once: rows of each result that their cursors get."""
    counts = []
    monkeypatch.setattr(psycopg.Cursor, "execute", counting(psycopg.Cursor.execute, counts))
    monkeypatch.setattr(psycopg.Cursor, "stream", counting_parts(psycopg.Cursor.stream, counts))
    monkeypatch.setattr(Cursor, "execute", counting(Cursor.execute, counts))
    monkeypatch.setattr(SSCursor, "fetchmany", counting_many(SSCursor.fetchmany, counts))
    return counts


def counting(execute, counts):
    def counted(cursor, *args, **options):
        found = execute(cursor, *args, **options)
        if cursor.rowcount < UNKNOWN:
            counts.append(cursor.rowcount)
        return found

    return counted


def counting_parts(stream, counts):
    def counted(cursor, *args, **options):
        part = None
        for row in stream(cursor, *args, **options):
            if cursor.pgresult is not part:
                part = cursor.pgresult
                counts.append(part.ntuples)
            yield row

    return counted


def counting_many(fetchmany, counts):
    def counted(cursor, size=None):
        rows = fetchmany(cursor, size)
        counts.append(len(rows))
        return rows

    return counted


@pytest.fixture
def store(url, held, monkeypatch):
    monkeypatch.setattr(transactions, "LARGE", MANY)
    opened = Store(url)
    opened.check()
    yield opened
    opened.close()


def numbers(record):
    return [run.fields["n"] for run in record.runs]


def test_few_of_all_rows_are_held_at_once(store, held):
    before = store.read("many", columns=[])
    held.clear()
    found = store.read("many", columns=["n"])
    assert numbers(found) == list(range(RUNS))
    assert [run.id_run for run in found.runs] == [run.id_run for run in before.runs]
    assert max(held) == ROWS_AT_ONCE
    assert sum(held) >= 2 * RUNS


def test_runs_of_a_condition(store, held):
    held.clear()
    few = selection("n >= :n", {"n": RUNS - 3})
    assert sorted(numbers(store.read("many", where=few))) == [RUNS - 3, RUNS - 2, RUNS - 1]
    assert max(held) < ROWS_AT_ONCE
    last = selection("n <> 5", {}, order_by="-n", limit=MANY)
    assert sorted(numbers(store.read("many", where=last))) == [*range(RUNS - MANY, RUNS)]
    assert max(held) == ROWS_AT_ONCE


def test_an_error_of_the_server_after_many_rows(store, url):
    if url.startswith("mysql"):
        late = f"exp(CASE WHEN n = {RUNS - 2} THEN 1e6 ELSE 0 END) >= 0"
    else:
        late = f"1 / (n - {RUNS - 2}) < 2"
    for _ in range(2):
        with pytest.raises(QueryFailed, match="refused the condition"):
            store.read("many", where=selection(late, {}))
    assert len(store.read("many", columns=[]).runs) == RUNS


def test_a_reading_that_is_left_in_the_middle(store):
    read, parts = store._database.reading, []

    def interrupted(cells):
        parts.append(len(cells))
        if len(parts) > 1:
            raise KeyboardInterrupt
        return list(cells)

    with pytest.raises(KeyboardInterrupt), read() as transaction:
        transaction.selected("SELECT text FROM e_many", [interrupted], most=RUNS)
    assert parts == [ROWS_AT_ONCE] * 2
    with read() as transaction:
        ((count,),) = transaction.rows("SELECT count(*) FROM e_many")
    assert count == RUNS
