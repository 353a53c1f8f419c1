"""No error, traceback or log record shows what fields hold; names and params may be shown."""

import collections
import contextlib
import dataclasses
import datetime as dt
import enum
import logging
import secrets
import threading
import traceback
import uuid

import numpy as np
import orjson
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.codecs import envelope
from tests.contract.conftest import empty_database

SECRET = f"hunter2{secrets.token_urlsafe(12)}"
SHOWN = SECRET[:7]
"""Part of it is too much: messages cut what is long."""

Pair = collections.namedtuple("Pair", "a b")
Colour = enum.Enum("Colour", {"RED": SECRET})


class Label(str):
    pass


@dataclasses.dataclass(frozen=True)
class Point:
    x: str = SECRET


class Zone(dt.tzinfo):
    def __repr__(self):
        return SECRET

    def utcoffset(self, when):
        return dt.timedelta(0)

    def tzname(self, when):
        return SECRET


@pytest.fixture(autouse=True)
def logged(caplog):
    """Whatever is logged by whoever, at any level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert SHOWN not in caplog.text


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


@pytest.fixture
def sqlite_session(tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as opened:
        yield opened


def refused(kind, call, *args, **options):
    """Call; return the message of the error with its notes, as a traceback shows them."""
    with pytest.raises(kind) as caught:
        call(*args, **options)
    assert SHOWN not in "".join(traceback.format_exception(caught.value))
    assert SHOWN not in repr(caught.value)
    return "".join(traceback.format_exception_only(caught.value))


def define(session, value, name="e", **params):
    experiment = session.add_experiment(name)
    experiment.add_run(**(params or {"N": 1})).fields.x = value
    return experiment


def cycle():
    items = [SECRET]
    items.append(items)
    return items


def nested():
    value = SECRET
    for _ in range(101):
        value = [value]
    return value


UNSUPPORTED = {
    "object": Point(),
    "in a list": [SECRET, Point()],
    "in a dict": {"a": SECRET, "b": Point()},
    "in a set": {SECRET, Point()},
    "in sets": {frozenset([(SECRET, Point())])},
    "subclass": Label(SECRET),
    "named tuple": Pair(SECRET, 1),
    "enum": Colour.RED,
    "exception": ValueError(SECRET),
    "bytearray": bytearray(SECRET.encode()),
    "array": np.array([SECRET, Point()]),
    "masked": np.ma.masked_array([SECRET, "b"], [True, False]),
    "records": np.rec.array([(SECRET, 2.0)], dtype=[("a", "U30"), ("b", float)]),
    "metadata": np.zeros(1, np.dtype("f8", metadata={"unit": SECRET})),
    "series": pd.Series([SECRET, Point()]),
    "frame": pd.DataFrame({"a": [SECRET, Point()]}),
    "index": pd.DataFrame({"a": [1, 2]}, index=pd.Index([SECRET, Point()])),
    "surrogate": pd.array([chr(0xD800) + SECRET], dtype=pd.StringDtype("python")),
    "zone": dt.datetime(2024, 1, 1, tzinfo=Zone()),
    "cycle": cycle(),
    "too deep": nested(),
}


@pytest.mark.parametrize("value", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_values_that_cannot_be_stored(sqlite_session, value):
    session = sqlite_session
    message = refused(mltraq.UnsupportedType, define(session, value).persist)
    assert "experiment 'e', run N=1: fields.x" in message
    refused(mltraq.UnsupportedType, session.add_experiment("own", x=value).persist)

    def step(run):
        run.fields.x = value

    again = session.add_experiment("again").add_runs(N=[1])
    refused(mltraq.RunsFailed, again.execute, step, backend="local", checkpoint=True)
    assert SHOWN not in again.runs.first().ledger.error


def test_what_cannot_be_sent_to_a_worker(sqlite_session, prefect_server):
    def hold(run):
        run.locals.held = [SECRET, threading.Lock()]

    unsent = define(sqlite_session, [SECRET, threading.Lock()])
    message = refused(mltraq.InvalidInput, unsent.execute, hold)
    assert "fields.x (of type list) cannot be sent" in message
    held = define(sqlite_session, SECRET)
    message = refused(mltraq.RunsFailed, held.execute, [hold, print])
    assert "locals.held (of type list) cannot be passed on" in message


NATIVE = {
    "float": 1.5,
    "numpy int": np.int8(1),
    "text": "a",
    "bytes": b"a",
    "datetime": dt.datetime(2024, 1, 1),
    "date": dt.date(2024, 1, 1),
    "time": dt.time(1),
    "uuid": uuid.UUID(int=1),
    "json": [1],
    "binary": 1j,
}
WRONG = {
    "text": f"{SECRET}",
    "bytes": SECRET.encode(),
    "half of JSON": f'["{SECRET}"',
    "a key twice": f'{{"{SECRET}": 1, "{SECRET}": 2}}',
}


@pytest.mark.parametrize("kind", NATIVE)
def test_cells_of_another_kind(sqlite_session, tmp_path, kind):
    """SQLite's columns take anything."""
    define(sqlite_session, NATIVE[kind]).persist()
    for wrong in WRONG.values():
        change(f"sqlite:///{tmp_path}/x.db", "UPDATE e_e SET x = :x", x=wrong)
        with contextlib.suppress(mltraq.CorruptData):  # some may be of this kind
            assert sqlite_session.load("e").runs.first().fields.x is not None
            continue
        message = refused(mltraq.CorruptData, sqlite_session.load, "e")
        assert "experiment 'e'" in message
        assert "field 'x' is corrupt" in message


TAGS = "datetime date time timedelta decimal uuid int float complex bytes str np.array pd.series"


@pytest.mark.parametrize("tag", TAGS.split())
def test_envelopes_whose_value_makes_no_sense(session, url, tag):
    define(session, 1j).persist()
    for argument in (SECRET, [SECRET], [SECRET] * 2, [SECRET, 0, None], {SECRET: 1}):
        document = orjson.dumps({f"${tag}": argument})
        forged = envelope.pack(document, [], plain=False)
        with session._store._database.writing("test") as transaction:
            transaction.run("UPDATE e_e SET x = ?", (forged,))
        message = refused(mltraq.CorruptData, session.load, "e")
        assert "experiment 'e', run" in message


def change(url, sql, **params):
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(sql), params)


QUOTED = {"plain": SECRET, "quotes": f"""a"b'c {SECRET} "d" 'e'""", "lines": f"a'b\"c\n{SECRET}'"}
SERVERS = ["postgresql", "mariadb"]


@pytest.fixture(params=SERVERS)
def server_url(request, tmp_path):
    with empty_database(request.param, tmp_path) as url:
        yield url


UNIQUE = {"sqlite": "x", "postgresql": "x", "mysql": "x(100)"}


@pytest.mark.parametrize("value", QUOTED.values(), ids=QUOTED)
def test_a_constraint_of_the_user_fails(shared_url, value):
    with mltraq.create_session(shared_url) as session:
        define(session, value).persist()
        kind = sa.make_url(shared_url).get_backend_name()
        change(shared_url, f"CREATE UNIQUE INDEX only_one ON e_e ({UNIQUE[kind]})")
        twice = define(session, value, N=2)
        assert "refused: " in refused(mltraq.StoreError, twice.persist, "merge")


INTEGER = {
    "postgresql": "DROP VIEW v_e; ALTER TABLE e_e ALTER COLUMN x TYPE integer USING 1",
    "mysql": "ALTER TABLE e_e MODIFY COLUMN x INTEGER",
}


@pytest.mark.parametrize("value", QUOTED.values(), ids=QUOTED)
def test_a_column_that_the_user_has_made_another(server_url, value):
    with mltraq.create_session(server_url) as session:
        define(session, None).persist()
        define(session, value, N=2).persist("merge")
        change(server_url, "UPDATE e_e SET x = NULL")
        change(server_url, INTEGER[sa.make_url(server_url).get_backend_name()])
        refused(mltraq.MltraqError, define(session, value, N=3).persist, "merge")


FAILING = {
    "sqlite": ["SELECT json_extract('1', x) FROM {e}"],
    "postgresql": [
        "SELECT CAST(x AS integer) FROM {e}",
        "SELECT x::timestamptz FROM {e}",
        "SELECT x::json FROM {e}",
        "SELECT x::regclass FROM {e}",
        "SELECT date_trunc(x, now()) FROM {e}",
        "SELECT * FROM {e} WHERE x = CAST(:x AS integer)",
    ],
    "mysql": ["SELECT x FROM {e} WHERE x = :x AND"],
}


@pytest.mark.parametrize("value", QUOTED.values(), ids=QUOTED)
def test_a_statement_of_the_user_fails(session, url, value):
    define(session, value).persist()
    for sql in FAILING[sa.make_url(url).get_backend_name()]:
        params = {"x": value} if ":x" in sql else None
        experiment = session.load("e")
        assert "refused the statement: " in refused(
            mltraq.QueryFailed, experiment.query, sql.replace("{e}", "{experiment}"), params
        )


def test_names_in_a_statement_are_told(session):
    define(session, SECRET).persist()
    for sql in ("SELECT nosuch FROM e_e", "SELECT * FROM nosuch", "nosuch"):
        assert "nosuch" in refused(mltraq.QueryFailed, session.query, sql)


def test_conflicts_limits_and_names(session, url):
    experiment = define(session, SECRET).persist()
    refused(mltraq.ExperimentExists, define(session, SECRET).persist)
    refused(mltraq.FieldNotFound, session.load, "e", columns=["y"])
    refused(mltraq.UntrustedPickle, _load_forged_pickle, session)
    experiment.runs.first().fields["a\0b"] = SECRET
    refused(mltraq.InvalidName, experiment.persist, "merge")
    if sa.make_url(url).get_backend_name() == "mysql":
        many = define(session, SECRET.encode() * 2_000_000, "large")
        assert "fields.x most of them" in refused(mltraq.StoreError, many.persist)


def _load_forged_pickle(session):
    define(session, SECRET, "pickled").persist(store_pickle=True)
    with session._store._database.writing("test") as transaction:
        transaction.run("UPDATE experiment_pickles SET pickle = ?", (SECRET.encode(),))
    session.load("pickled", pickle=True)


def test_other_results_than_those_of_a_checkpoint(session):
    def draw(run):
        run.fields.x = SECRET

    experiment = session.add_experiment("c").add_runs(N=[1])
    experiment.execute(draw, {"k": 1}, backend="local", checkpoint=True)
    again = session.add_experiment("c").add_runs(N=[1])
    refused(mltraq.InvalidInput, again.execute, draw, {"k": 2}, backend="local", checkpoint=True)
