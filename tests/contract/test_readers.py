"""Other programs read the view of an experiment: pandas, polars and DuckDB."""

import datetime as dt

import duckdb
import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

from mltraq_prefect.storage import Store
from tests.contract.records import backend_of, make_record, make_run

DAY = dt.date(2026, 1, 2)
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5)

TYPES = {
    "label": (pl.String, "VARCHAR"),
    "rate": (pl.Float64, "DOUBLE"),
    "n": (pl.Int64, "BIGINT"),
    "flag": (pl.Boolean, "BOOLEAN"),
    "day": (pl.Date, "DATE"),
    "at": (pl.Datetime, "TIMESTAMP"),
    "f_real": (pl.Float64, "DOUBLE"),
    "f_flag": (pl.Boolean, "BOOLEAN"),
    "state": (pl.String, "VARCHAR"),
    "duration_s": (pl.Float64, "DOUBLE"),
}
AS_NUMBERS = {"flag": pl.Int64, "f_flag": pl.Int64}
AS_TEXT = {"day": pl.String, "at": pl.String}
LESS = {"sqlite": AS_NUMBERS | AS_TEXT, "mariadb": AS_NUMBERS, "postgresql": {}}
"""What a database, or its driver, gives otherwise."""


@pytest.fixture
def connection(shared_url):
    store = Store(shared_url)
    params = {"label": "a", "rate": 0.5, "n": 2**62, "flag": True, "day": DAY, "at": MOMENT}
    fields = {"f_real": 0.5, "f_flag": False}
    store.write(make_record("sales", [make_run(0, params, **fields)]), "fail")
    backend = backend_of(store)
    store.close()
    with sa.create_engine(shared_url, poolclass=sa.pool.NullPool).connect() as opened:
        yield opened, backend


def test_polars_and_duckdb(connection):
    opened, backend = connection
    frame = pl.read_database(f"SELECT {', '.join(TYPES)} FROM v_sales", opened)
    less = LESS[backend]
    assert dict(frame.schema) == {name: less.get(name, type_) for name, (type_, _) in TYPES.items()}
    found = duckdb.sql("SELECT * FROM frame")
    for name, type_ in zip(found.columns, found.types, strict=True):
        assert name in less or str(type_) == TYPES[name][1]
    assert duckdb.sql("SELECT n FROM frame WHERE rate < 0.75").fetchall() == [(2**62,)]


def test_pandas(connection):
    opened, _ = connection
    [row] = pd.read_sql_table("v_sales", opened).to_dict("records")
    assert (row["label"], row["rate"], row["n"], row["f_real"]) == ("a", 0.5, 2**62, 0.5)
    assert (row["flag"], row["f_flag"]) == (True, False)
    assert row["at"] == pd.Timestamp(MOMENT)
    assert pd.Timestamp(row["day"]) == pd.Timestamp(DAY)
    assert row["started_at"] == pd.Timestamp("2026-01-02 03:04:05.678901")


def test_sqlite_declares_what_it_computes(tmp_path):
    """By these types other programs go, such as sqlite_scan of DuckDB."""
    store = Store(f"sqlite:///{tmp_path}/a.db")
    params = {"text": "a", "real": 0.5, "n": 1, "flag": True, "at": MOMENT, "tree": [1]}
    store.write(make_record("sales", [make_run(0, params | {'"': 0.5}, x=1)]), "fail")
    found = store.query("SELECT name, type FROM pragma_table_info('v_sales')")[1]
    types = ["TEXT", "DOUBLE", "BIGINT", "BIGINT", "DATETIME", "JSON", "DOUBLE", "BIGINT"]
    assert [type_ for _, type_ in found[1:9]] == types
    store.close()
