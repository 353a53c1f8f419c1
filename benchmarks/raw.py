"""The drivers without this package: what rows cost at least."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import pandas as pd
import psycopg
import sqlalchemy as sa

from benchmarks.runs import FIELDS

Rows = Sequence[tuple[Any, ...]]

COLUMNS = ", ".join(("id_run", *FIELDS))
_TYPES = ", ".join(f"{name} {kind}" for name, kind in FIELDS.items())
CREATE = f"CREATE TABLE raw (id_run CHAR(36) PRIMARY KEY, {_TYPES})"


def write(url: str, rows: Rows) -> None:
    """Make a table and write rows in one transaction: `executemany`, or COPY."""
    if url.startswith("sqlite"):
        with sqlite3.connect(_path(url)) as connection:
            connection.execute(CREATE)
            marks = ", ".join("?" * (len(FIELDS) + 1))
            connection.executemany(f"INSERT INTO raw VALUES ({marks})", rows)
        connection.close()
    else:
        with _psycopg(url) as connection, connection.cursor() as cursor:
            cursor.execute(CREATE)
            with cursor.copy(f"COPY raw ({COLUMNS}) FROM STDIN") as copy:
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
