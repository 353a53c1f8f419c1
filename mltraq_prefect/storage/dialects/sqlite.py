"""SQLite."""

from __future__ import annotations

import datetime
import os
import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, ClassVar

import orjson
import sqlalchemy as sa

from mltraq_prefect.storage.columns import Constant
from mltraq_prefect.storage.dialects.base import LOCK_SECONDS, Columns, Dialect, Trouble, as_texts
from mltraq_prefect.storage.layout import Kind

_TROUBLES: dict[int, Trouble] = {
    sqlite3.SQLITE_BUSY: "unavailable",
    sqlite3.SQLITE_CANTOPEN: "unavailable",
    sqlite3.SQLITE_LOCKED: "unavailable",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_IOERR_WRITE: "full",
    sqlite3.SQLITE_IOERR: "unavailable",
}


ROWS_A_STATEMENT = 50
"""A step of SQLite's machine costs as much as some cells, whatever it inserts."""


def _moments(cells: Sequence[datetime.datetime | None]) -> list[str | None]:
    """Return times without zone as `str` shows them."""
    texts: list[str | None] = orjson.loads(orjson.dumps(cells).replace(b"T", b" "))
    return texts


class SQLite(Dialect):
    """SQLite, in a file or in memory.

    The journal mode is left as it is: the default, a rollback journal, keeps a database one file
    and is as safe as the file system's locks, where a WAL must not be on a network file system.
    Readers and writers wait for each other for the moment of a commit only.
    """

    name = "sqlite"
    driver = "pysqlite"
    placeholder = "?"
    reconnects = False
    max_columns = 2000
    inline_bytes = 16_384
    ledger_options = "WITHOUT ROWID"  # one tree, by experiment and run, instead of two
    nan = False
    negative_zero = False
    types: ClassVar[dict[Kind, str]] = {
        "bool": "BOOLEAN",
        "int": "BIGINT",
        "float": "DOUBLE",
        "text": "TEXT",
        "bytes": "BLOB",
        "datetime": "DATETIME",
        "date": "DATE",
        "time": "TIME",
        "uuid": "CHAR(36)",
        "json": "JSON",
        "binary": "BLOB",
        "key": "VARCHAR(64)",
    }
    widths: ClassVar[dict[Kind, int]] = dict.fromkeys(types, 1)
    adapt: ClassVar[Mapping[Kind, Callable[[Sequence[Any]], list[Any]]]] = {
        "datetime": _moments,
        "date": as_texts,
        "time": as_texts,
        "uuid": as_texts,
    }
    restore: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {
        "bool": bool,
        "float": float,
        "datetime": datetime.datetime.fromisoformat,
        "date": datetime.date.fromisoformat,
        "time": datetime.time.fromisoformat,
        "uuid": uuid.UUID,
    }

    def engine_options(self, url: sa.URL) -> dict[str, Any]:
        """Open a file for each transaction; keep the one connection that a memory is."""
        return {"poolclass": sa.pool.StaticPool if self.is_private(url) else sa.pool.NullPool}

    def is_private(self, url: sa.URL) -> bool:
        """Return whether the URL names a database in memory."""
        database = url.database or ":memory:"
        in_memory = url.query.get("mode") == "memory" or "mode=memory" in database
        return in_memory or database == ":memory:"

    def is_missing(self, url: sa.URL) -> bool:
        """Return whether a file is not there, and its folder is."""
        path = self._missing_file(url)
        return path is not None and path.parent.is_dir()

    def before_connect(self, url: sa.URL, *, write: bool) -> None:
        """Create a file for its owner alone, as SQLite gives its journals the mode of the file.

        What only reads creates nothing.
        """
        path = self._missing_file(url)
        if path is not None:
            flags = os.O_CREAT | os.O_WRONLY if write else os.O_RDONLY
            os.close(os.open(path, flags, 0o600))

    def _missing_file(self, url: sa.URL) -> Path | None:
        path = url.database
        if path is None or path.startswith("file:") or self.is_private(url):
            return None
        return None if os.path.exists(path) else Path(path)  # noqa: PTH110 (that of Path may raise)

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Wait for other processes; leave transactions to this module."""
        return {"timeout": LOCK_SECONDS, "isolation_level": None, "check_same_thread": False}

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Take the write lock at once: a transaction that upgrades later can only fail."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def late_key(self, table: str, column: str) -> str:
        """Make an index: SQLite adds no primary key to a table."""
        return f'CREATE UNIQUE INDEX "{table}_key" ON "{table}" ("{column}")'

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Count pages by dbstat, if it is compiled in; it reads the tables, not large values."""
        options = {row[0] for row in connection.exec_driver_sql("PRAGMA compile_options")}
        if "ENABLE_DBSTAT_VTAB" not in options:
            return {}
        sql = (
            "SELECT sum(pgsize) FROM dbstat WHERE aggregate = TRUE AND name IN "
            "(SELECT name FROM sqlite_schema WHERE tbl_name = ?)"
        )
        return {
            table: connection.exec_driver_sql(sql, (table,)).scalar_one() or 0 for table in tables
        }

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """A column of integers takes floats as they are; an empty column is made anew."""
        if not is_empty:
            return ()
        return (
            f"ALTER TABLE {table} DROP COLUMN {column}",
            f"ALTER TABLE {table} ADD COLUMN {column} {self.types[kind]}",
        )

    def insert(self, cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert several rows by each statement, to which constant cells are given once."""
        constants = {
            i: cells.value for i, cells in enumerate(columns) if isinstance(cells, Constant)
        }
        varying = [cells for cells in columns if not isinstance(cells, Constant)]
        total, width = len(columns[0]), len(varying)
        variables = cursor.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        size = max(1, min(ROWS_A_STATEMENT, (variables - len(constants)) // max(1, width)))
        shared = tuple(constants.values())
        cells = chain.from_iterable(zip(*varying, strict=True))
        for rows, times in ((size, total // size), (total % size, 1)):
            if rows and times:
                own = (tuple(islice(cells, rows * width)) for _ in range(times))
                sql = self._insertion(table, kinds, list(constants), rows)
                cursor.executemany(sql, map(shared.__add__, own))

    def _insertion(
        self, table: str, kinds: Mapping[str, Kind], constants: Sequence[int], rows: int
    ) -> str:
        """Return an INSERT whose first parameters are the constant cells of all its rows."""
        marks = {place: f"?{number + 1}" for number, place in enumerate(constants)}
        numbers = count(len(marks) + 1)
        values = [
            ", ".join(marks.get(place) or f"?{next(numbers)}" for place in range(len(kinds)))
            for _ in range(rows)
        ]
        names = ", ".join(map(self.quote, kinds))
        return f"INSERT INTO {self.quote(table)} ({names}) VALUES ({'), ('.join(values)})"

    def trouble(self, error: BaseException) -> Trouble:
        """Read the result code, extended or primary (https://www.sqlite.org/rescode.html)."""
        code = getattr(error, "sqlite_errorcode", None) or 0
        return _TROUBLES.get(code) or _TROUBLES.get(code & 0xFF, "other")
