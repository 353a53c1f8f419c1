"""What comes from outside: stored names, params of queries, limits of servers, encodings, files."""

import contextlib
import datetime as dt
import gc
import os
import random
import re
import sqlite3
import struct
import threading
import time
import uuid

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.schema import TABLES
from mltraq_prefect.storage.values.kinds import JSON, KEY, TEXT
from tests import servers
from tests.contract.proxy import proxied
from tests.contract.records import make_record, make_run
from tests.contract.test_conflicts import WAITING
from tests.contract.test_ownership import change, define, engine_of, rows

# -- stored names never become SQL -----------------------------------------------------------------

MARK = "pwned"
INJECTIONS = (
    f'x"; CREATE TABLE {MARK} (a INTEGER); --',
    f"x`; CREATE TABLE {MARK} (a INTEGER); --",
    f"x'; CREATE TABLE {MARK} (a INTEGER); --",
    f"e_a WHERE 1 = (SELECT 1 FROM {MARK})",
    f'e_a" CROSS JOIN "{MARK}',
    f"e_a` CROSS JOIN `{MARK}",
    f"{MARK}\0",
)
LITERALS = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)


class Statements:
    """The texts of statements, without literals, that reach a database."""

    def __init__(self):
        self.texts = []

    def add(self, text):
        self.texts.append(LITERALS.sub("''", text))

    def assert_ours(self):
        assert not [text for text in self.texts if MARK in text]


@contextlib.contextmanager
def watched(url):
    """Yield a URL, and the statements that are sent to it."""
    found = Statements()
    if url.startswith("sqlite"):
        listen = lambda connection, _: connection.set_trace_callback(found.add)  # noqa: E731
        sa.event.listen(sa.Engine, "connect", listen)
        try:
            yield url, found
        finally:
            sa.event.remove(sa.Engine, "connect", listen)
        return
    with proxied(url) as (proxy, through):
        split = postgresql_texts if "postgresql" in url else mysql_texts
        yield through, found
        for part in proxy.sent:
            for text in split(bytes(part)):
                found.add(text.decode("utf-8", "replace"))


def postgresql_texts(sent):
    """Yield the texts of the messages Query and Parse; parameters are in others."""
    (place,) = struct.unpack_from(">I", sent)  # after the first message, which has no type
    while place + 5 <= len(sent):
        kind, size = struct.unpack_from(">cI", sent, place)
        if kind in b"QP":
            yield sent[place + 5 : place + 1 + size]
        place += 1 + size


def mysql_texts(sent):
    """Yield the texts of COM_QUERY."""
    place = 0
    while place + 5 <= len(sent):
        size = int.from_bytes(sent[place : place + 3], "little")
        if sent[place + 4] == 3:
            yield sent[place + 5 : place + 4 + size]
        place += 4 + size


def text_columns(table):
    """Return the text columns of a fixed table, and their kinds."""
    columns, *_ = TABLES[table]
    return {name: kind for name, kind in columns.items() if kind in (KEY, TEXT, JSON)}


@pytest.mark.parametrize("table", [table for table in TABLES if text_columns(table)])
def test_no_stored_text_becomes_part_of_a_statement(shared_url, table):
    # A file costs little, and is searched for more of them.
    count = 3 if shared_url.startswith("sqlite") else 1
    for column, kind in text_columns(table).items():
        chance = random.Random(f"{table}.{column}")
        for injection in chance.sample([*forms(column, kind)], count):
            begin_again(shared_url)
            poison(shared_url, table, column, injection)
            with watched(shared_url) as (url, statements):
                use_all(url)
            statements.assert_ours()
            assert not any(name == MARK for name, _ in relations(shared_url)), (column, injection)


def begin_again(url):
    """Let a database have one experiment, whatever it had: new tables for each would cost more."""
    ours = relations(url)
    drops = [f"DROP {kind} {name}" for name, kind in ours if name.startswith(("e_", "s_", "v_"))]
    kept = [table for table in TABLES if ours and table != "experiment_format"]
    # Views first.
    change(url, *sorted(drops, reverse=True), *(f"DELETE FROM {table}" for table in kept))
    store = Store(url)
    store.write(make_record("a", runs=[make_run(i, n=i, x="t") for i in range(2)]), "replace")
    store.close()


def relations(url):
    """Return what is in a database: names, each with TABLE or VIEW."""
    if url.startswith("sqlite"):
        return rows(url, "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')")
    schema = "current_schema()" if "postgresql" in url else "database()"
    kind = "CASE table_type WHEN 'VIEW' THEN 'VIEW' ELSE 'TABLE' END"
    listed = f"information_schema.tables WHERE table_schema = {schema}"
    return rows(url, f"SELECT table_name, {kind} FROM {listed}")


def forms(column, kind):
    for injection in INJECTIONS:
        quoted = injection.replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\\u0000")
        if column == "run_columns":
            entry = '"kind": "int", "type": "int"'
            yield f'{{"n": {{"column": "{quoted}", {entry}}}}}'
            yield f'{{"{quoted}": {{"column": "{quoted}", {entry}}}}}'
        elif column == "properties":
            yield f'{{"format": 2, "table": "{quoted}"}}'
            yield f'{{"format": 2, "table": "mltraq_{"0" * 32}", "retired": "{quoted}"}}'
        elif kind is JSON:
            yield f'{{"{quoted}": "{quoted}"}}'
        elif "\0" not in injection:
            yield injection[:60] if kind is KEY else injection


def poison(url, table, column, text):
    """Put a text into a column, or a row where there is none; a database may refuse it."""
    columns = TABLES[table][0]
    mark = "?" if url.startswith("sqlite") else "%s"
    engine = engine_of(url)
    with contextlib.suppress(sa.exc.DBAPIError), engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = {mark}", (text,))
    if table == "experiment_unfinished":
        values = {"owner": "e_a", "table_name": "e_a", "column_name": "n"} | {column: text}
        marks = ", ".join([mark] * len(columns))
        with contextlib.suppress(sa.exc.DBAPIError), engine.begin() as connection:
            sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            connection.exec_driver_sql(sql, tuple(values[name] for name in columns))


def use_all(url):
    with contextlib.suppress(mltraq.MltraqError), mltraq.create_session(url) as session:
        use(session)


def use(session):
    """Do everything that leads to statements; errors are the package's."""
    uses = (
        lambda: session.load("a"),
        session.ls,
        lambda: session.load("a").query("SELECT * FROM {experiment}"),
        lambda: [dict(run.fields) for run in session.load("a").runs.values()],
        lambda: session._store.results("a", last=10).header(),
        lambda: define(session, "a", 0.5, key="n").persist("merge"),
        lambda: define(session, "a", "text", key="n").persist("replace"),
        lambda: session.load("a").delete(),
    )
    for one in uses:
        with contextlib.suppress(mltraq.MltraqError):
            one()


# -- params of queries -----------------------------------------------------------------------------


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
ID = uuid.UUID(int=7)


@pytest.fixture
def filled(session):
    experiment = session.add_experiment("a").add_runs(i=range(4))
    for number, run in enumerate(experiment.runs.values()):
        run.fields.update(n=number, t=f"t{number}", when=WHEN + dt.timedelta(days=number))
        run.fields.update(day=dt.date(2026, 1, 1 + number), id=uuid.UUID(int=7 + number))
    return experiment.persist()


FOUND = [
    ("n IN :x", [1, 2, 9], [1, 2]),
    ("n IN (:x)", (1, 2), [1, 2]),
    ("n in ( :x )", {1}, [1]),
    ("n IN :x", np.array([0, 3]), [0, 3]),
    ("n IN :x", [], []),
    ("n NOT IN :x", [1, 2], [0, 3]),
    ("t IN :x AND n > 0", ["t0", "t1"], [1]),
    ("id IN :x", [ID], [0]),
    ("id = :x", ID, [0]),
    ("when_ = :x", pd.Timestamp(WHEN), [0]),
    ("when_ >= :x", pd.Timestamp(WHEN, tz="UTC") + pd.Timedelta(days=2), [2, 3]),
    ("when_ > :x", np.datetime64("2026-01-04"), [2, 3]),
    ("when_ > :x", WHEN, [1, 2, 3]),
    ("day = :x", dt.date(2026, 1, 2), [1]),
    ("n = :x", np.int8(2), [2]),
]


@pytest.mark.parametrize(("condition", "value", "found"), FOUND)
def test_params_of_queries(filled, condition, value, found):
    quote = "`" if "mysql" in repr(filled) else '"'
    condition = condition.replace("when_", f"{quote}when{quote}")
    sql = f"SELECT n FROM {{experiment}} WHERE {condition} ORDER BY n"
    assert filled.query(sql, {"x": value})["n"].tolist() == found


@pytest.mark.parametrize(
    ("condition", "value", "message"),
    [
        ("n = :x", {"a": 1}, ":x is of type dict, which SQL does not have; give a number"),
        ("n = :x", object(), ":x is of type object"),
        ("n IN :x", [1, object()], ":x is of type object"),
        ("n NOT IN :x", [], ":x is empty: leave out the condition"),
    ],
)
def test_params_that_sql_does_not_have(filled, condition, value, message):
    with pytest.raises(mltraq.errors.QueryFailed, match=message):
        filled.query(f"SELECT n FROM {{experiment}} WHERE {condition}", {"x": value})


# -- lists, and rows that were deleted -------------------------------------------------------------


def test_the_list_of_an_empty_database_has_its_columns(session):
    empty = session.ls()
    assert len(empty) == 0
    define(session, "a").persist()
    assert list(session.ls().columns) == list(empty.columns)
    assert session.ls()["runs"].tolist() == [3]
    for listed in (empty, session.ls()):
        assert [str(listed[name].dtype) for name in ("created_at", "updated_at")] == [
            "datetime64[us, UTC]"
        ] * 2
    age = pd.Timestamp.now(tz="UTC") - session.ls()["created_at"][0]
    assert pd.Timedelta(0) <= age < pd.Timedelta("1 hour")


def test_a_row_that_was_deleted_by_sql(shared_url):
    with mltraq.create_session(shared_url) as session:
        experiment = define(session, "a").persist()
        gone = experiment.runs.first().id_run
        change(shared_url, f"DELETE FROM e_a WHERE id_run = '{gone}'")
        began = time.monotonic()
        with pytest.raises(mltraq.CorruptData, match=f"'a'.* 1 of its runs .*{gone}") as caught:
            session.load("a")
        assert time.monotonic() - began < 15  # where a lost connection is waited for 30 s
        way = re.search(r"execute (DELETE .*)$", str(caught.value))
        change(shared_url, *way[1].split("; "))
        assert len(session.load("a").runs) == 2
        assert session.ls()["runs"].tolist() == [2]
        change(shared_url, *way[1].split("; "))
        assert session.ls()["runs"].tolist() == [2]


def with_large_values(session, name="a", n=3):
    """Return an experiment whose runs have completed a step, with a value that may be beside."""

    def fill(run):
        run.fields.x = run.params.i
        run.fields.large = np.arange(5_000)

    return session.add_experiment(name).add_runs(i=range(n)).execute(fill, backend="local")


@pytest.mark.parametrize("n", [3, 1_100])
def test_a_merge_into_rows_that_were_deleted_by_sql(shared_url, n):
    """What would change them is not lost, nor written without the rest of the run."""
    with mltraq.create_session(shared_url) as session:
        with_large_values(session, n=n).persist()
        loaded = session.load("a", columns=["x"])
        gone = loaded.runs.first().id_run
        change(shared_url, f"DELETE FROM e_a WHERE id_run = '{gone}'")
        for run in loaded.runs.values():
            run.fields.x += 100
        with pytest.raises(mltraq.CorruptData, match=f"1 of its runs .*{gone}"):
            loaded.persist("merge")
        assert rows(shared_url, "SELECT count(*), max(x) FROM e_a") == [(n - 1, n - 1)]


def test_runs_that_were_deleted_by_sql_can_be_written_again(shared_url):
    with mltraq.create_session(shared_url) as session:
        whole = with_large_values(session).persist()
        part = session.load("a", columns=["x"])
        gone = whole.runs.first().id_run
        change(shared_url, f"DELETE FROM e_a WHERE id_run = '{gone}'")
        with pytest.raises(mltraq.CorruptData) as caught:
            session.load("a")
        way = re.search(r"execute (DELETE .*)$", str(caught.value))
        change(shared_url, *way[1].split("; "))
        for run in (*part.runs.values(), *whole.runs.values()):
            run.fields.y = 1
        with pytest.raises(mltraq.StoreError, match=f"without the fields 'large', .* {gone}; load"):
            part.persist("merge")
        whole.persist("merge")
        found = session.load("a").runs
        assert set(found) == set(whole.runs)
        assert found[gone].fields.large.tolist() == list(range(5_000))


@pytest.mark.parametrize(
    ("what", "mode"), [("deleted", "merge"), ("deleted", "fail"), ("replaced", "merge")]
)
def test_a_part_of_an_experiment_is_written_into_no_other(shared_url, what, mode):
    with mltraq.create_session(shared_url) as session:
        with_large_values(session).persist()
        part = session.load("a", columns=["x"])
        session.load("a").delete()
        if what == "replaced":
            with_large_values(session, n=2).persist()
        for run in part.runs.values():
            run.fields.y = 1
        with pytest.raises(mltraq.StoreError, match=f"'a' has been {what} since .* 'large', so"):
            part.persist(mode)
        assert session.ls()["runs"].tolist() == ([2] if what == "replaced" else [])


# -- files -----------------------------------------------------------------------------------------


def test_a_relative_path_is_resolved_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mltraq.create_session("sqlite:///x.db") as session:
        define(session, "a").persist()
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        define(session, "b").persist()
        assert session.ls()["name"].tolist() == ["a", "b"]
        assert not os.listdir(tmp_path / "other")


def test_a_file_that_is_deleted_under_a_session(tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as session:
        define(session, "a").persist()
        (tmp_path / "x.db").unlink()
        assert session.ls().empty
        define(session, "a").persist()
        assert len(session.load("a").runs) == 3


def test_a_file_that_another_program_has_locked(tmp_path, monkeypatch):
    monkeypatch.setattr("mltraq_prefect.storage.sql.dialects.sqlite.LOCK_SECONDS", 0.2)
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as session:
        define(session, "a").persist()
        with contextlib.closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            locked = "was reached, but .*another program has had it locked"
            with pytest.raises(mltraq.StorageUnavailable, match=locked):
                define(session, "b").persist()


# -- servers ---------------------------------------------------------------------------------------


def with_options(url, *options):
    made = sa.make_url(url)
    text = " ".join([made.query["options"], *(f"-c{option}" for option in options)])
    return made.update_query_dict({"options": text}).render_as_string(hide_password=False)


def test_a_transaction_that_the_server_has_ended_for_being_idle():
    with servers.postgresql_database() as url:
        patient = Store(url)
        patient.check()
        patient.close()
        store = Store(with_options(url, "idle_in_transaction_session_timeout=100ms"))
        began = time.monotonic()
        with pytest.raises(mltraq.StorageUnavailable, match="idle_in_transaction_session_timeout"):
            store._database.retry(lambda: be_idle(store, url))
        assert time.monotonic() - began < 15
        store.close()


def be_idle(store, url):
    with store._database.reading() as transaction:
        ((pid,),) = transaction.rows("SELECT pg_backend_pid()")
        while rows(url, f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"):
            time.sleep(0.01)
        transaction.rows("SELECT 1")


@pytest.mark.parametrize("option", ["lock_timeout=100ms", "statement_timeout=200ms"])
def test_a_limit_of_the_server_is_named(option):
    with servers.postgresql_database() as url:
        with mltraq.create_session(url) as session:
            define(session, "a").persist()
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        with engine.connect() as other, mltraq.create_session(with_options(url, option)) as session:
            other.exec_driver_sql("LOCK TABLE experiments IN ACCESS EXCLUSIVE MODE")
            name = option.split("=")[0].replace("_", " ")
            began = time.monotonic()
            with pytest.raises(
                mltraq.StorageUnavailable, match=f"a time limit has passed: .*{name}"
            ):
                session.load("a")
            assert time.monotonic() - began < 15


def test_the_garbage_collector_is_on_while_a_write_waits():
    with servers.postgresql_database() as url, mltraq.create_session(url) as session:
        define(session, "a").persist()
        other = Store(url)
        with other._database.writing(other.table_of("a")) as transaction:
            writer = threading.Thread(target=define(session, "a", 2).persist, args=("merge",))
            writer.start()
            while not transaction.rows(WAITING):
                assert writer.is_alive()
            assert gc.isenabled()
        writer.join()
        assert session.load("a").runs.first().fields.x == 2
        other.close()


def test_who_may_not_read_is_told_so():
    with servers.postgresql_database() as url:
        with mltraq.create_session(url) as session:
            define(session, "a").persist()
        schema = sa.make_url(url).query["options"].removeprefix("-csearch_path=")
        role = f"r_{uuid.uuid4().hex[:12]}"
        change(url, f"CREATE ROLE {role} LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        try:
            limited = sa.make_url(url).set(username=role).render_as_string(hide_password=False)
            with pytest.raises(
                mltraq.StoreError, match=r"cannot be read: .*mltraq-prefect grant reader --to USER"
            ) as caught:
                mltraq.create_session(limited)
            assert not isinstance(caught.value, mltraq.errors.ReadOnlyStore)
        finally:
            change(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_very_long_error_is_cut(shared_url):
    store = Store(shared_url)
    run = make_run(0, n=1)
    run.ledger.state, run.ledger.error = "failed", f"begin {'é' * 2_000_000} end"
    record = make_record("a", runs=[run])
    store.write(record, "fail")
    error = store.read("a").runs[0].ledger.error
    assert len(error) < 100_000
    assert error.startswith("begin é")
    assert error.endswith("é end")
    assert not store.write(record, "merge").changed
    store.close()


# -- encodings -------------------------------------------------------------------------------------


@pytest.fixture
def latin_url():
    """A database of PostgreSQL that keeps text as LATIN1."""
    name = f"t_{uuid.uuid4().hex}"
    server = sa.make_url(servers.postgresql_url())
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_text_in_a_database_of_another_encoding(latin_url):
    with mltraq.create_session(latin_url) as session:
        experiment = define(session, "Zürich", "Zürich", n=100).persist()
        assert {run.fields.x for run in session.load("Zürich").runs.values()} == {"Zürich"}
        found = experiment.query("SELECT x FROM {experiment} WHERE x = :x", {"x": "Zürich"})
        assert found["x"].tolist() == ["Zürich"] * 100
        money = define(session, "money", "franc")
        list(money.runs.values())[1].fields.x = "€"
        with pytest.raises(mltraq.InvalidInput, match=r"'money', run i=1: fields\.x .*'€'.*LATIN1"):
            money.persist()
        assert session.ls()["name"].tolist() == ["Zürich"]


def test_a_client_encoding_of_the_environment(monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with servers.postgresql_database() as url, mltraq.create_session(url) as session:
        define(session, "a", "Zürich €").persist()
        assert session.load("a").runs.first().fields.x == "Zürich €"
        assert session.query("SELECT x FROM e_a")["x"].tolist() == ["Zürich €"] * 3
