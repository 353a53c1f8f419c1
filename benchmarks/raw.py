"""The drivers without this package: what rows cost at least."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import psycopg
import sqlalchemy as sa

from benchmarks.runs import FIELDS

Rows = Sequence[tuple[Any, ...]]

COLUMNS = ", ".join(("id_run", *FIELDS))
_TYPES = ", ".join(f"{name} {kind}" for name, kind in FIELDS.items())
_COSTS = "cpu_s DOUBLE PRECISION, peak_rss_bytes BIGINT, worker TEXT"
_LEDGER = (
    "id_experiment CHAR(36), id_run CHAR(36), position BIGINT, params TEXT, state TEXT, "
    "steps TEXT, step TEXT, error TEXT, error_type TEXT, attempts BIGINT, started_at TIMESTAMP, "
    "duration_s DOUBLE PRECISION, flow_run_id CHAR(36), task_run_id CHAR(36), "
    f"{_COSTS}, residual TEXT, standing CHAR(32), PRIMARY KEY (id_experiment, position)"
)
_STEPS = (
    "id_experiment CHAR(36), step_key TEXT, position BIGINT, id_run CHAR(36), step TEXT, "
    "state TEXT, fingerprint TEXT, error TEXT, error_type TEXT, attempts BIGINT, "
    "started_at TIMESTAMP, duration_s DOUBLE PRECISION, flow_run_id CHAR(36), "
    f"task_run_id CHAR(36), {_COSTS}, PRIMARY KEY (id_experiment, step_key, position)"
)
CREATE = {
    "raw": f"id_run CHAR(36) PRIMARY KEY, {_TYPES}",
    "raw_ledger": _LEDGER,
    "raw_steps": _STEPS,
}
INDEXES = {"raw_ledger": ("id_run", "standing")}
"""Columns by which runs are found, as in our tables; each after the experiment."""


def ledger_rows(rows: Rows) -> Rows:
    """Return a row like those of our ledger for each row."""
    ids, steps = str(uuid.UUID(int=1)), '{"toss": "1"}'
    started = "2026-01-02 03:04:05.678901"
    return [
        (
            ids,
            row[0],
            i,
            f'{{"N": {i}}}',
            "completed",
            steps,
            None,
            None,
            None,
            1,
            started,
            0.25,
            ids,
            None,
            0.2,
            10_000_000,
            "1",
            None,
            "0123456789abcdef0123456789abcdef",
        )
        for i, row in enumerate(rows)
    ]


def step_rows(rows: Rows) -> Rows:
    """Return a row like those of our table of runs and steps for each row."""
    ids, started = str(uuid.UUID(int=1)), "2026-01-02 03:04:05.678901"
    costs = (0.2, 10_000_000, "1")
    facts = ("toss", "completed", "1", None, None, 1, started, 0.25, ids, None, *costs)
    return [(ids, "toss", i, row[0], *facts) for i, row in enumerate(rows)]


def write(url: str, tables: Mapping[str, Rows]) -> None:
    """Make tables and write their rows in one transaction: `executemany`, or COPY."""
    connection: Any = sqlite3.connect(_path(url)) if url.startswith("sqlite") else _psycopg(url)
    with connection:
        for table, rows in tables.items():
            connection.execute(f"CREATE TABLE {table} ({CREATE[table]})")
            for column in INDEXES.get(table, ()):
                index = f"CREATE INDEX {table}_{column} ON {table} (id_experiment, {column})"
                connection.execute(index)
            if url.startswith("sqlite"):
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            else:
                _copy(connection, table, rows)
    connection.close()


def drop(url: str) -> None:
    """Drop the tables that `write` makes."""
    connection: Any = sqlite3.connect(_path(url)) if url.startswith("sqlite") else _psycopg(url)
    with connection:
        for table in CREATE:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.close()


def _copy(connection: psycopg.Connection[Any], table: str, rows: Rows) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def read(url: str) -> list[dict[str, Any]]:
    """Return the rows: SELECT, `fetchall`, a dict a row."""
    connection: Any = sqlite3.connect(_path(url)) if url.startswith("sqlite") else _psycopg(url)
    cursor = connection.execute(f"SELECT {COLUMNS} FROM raw")
    names = [column[0] for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    connection.close()
    return found


def to_sql(url: str, fields: Sequence[dict[str, Any]]) -> None:
    """Write a frame of the fields with pandas."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        pd.DataFrame(fields).to_sql("frame", connection, index=False)
    engine.dispose()


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _psycopg(url: str) -> psycopg.Connection[Any]:
    parsed = sa.make_url(url).set(drivername="postgresql")
    return psycopg.connect(parsed.render_as_string(hide_password=False))
