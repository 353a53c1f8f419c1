"""PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

import sqlalchemy as sa

from mltraq_prefect.storage.dialects.base import LOCK_SECONDS, Dialect, Row, Trouble
from mltraq_prefect.storage.layout import Kind

_SQLSTATES: dict[str, Trouble] = {
    "08": "unavailable",
    "57P": "unavailable",
    "53300": "unavailable",
    "3D000": "unavailable",
    "28": "unavailable",
    "40": "conflict",
    "55P03": "conflict",
    "42P01": "moved",
    "42703": "moved",
    "53100": "full",
    "25006": "read-only",
    "42501": "read-only",
}


class PostgreSQL(Dialect):
    """PostgreSQL by psycopg 3."""

    name = "postgresql"
    driver = "psycopg"
    extra = "postgresql"
    max_columns = 1600
    max_row = 8000
    nul = False
    types: ClassVar[dict[Kind, str]] = {
        "bool": "BOOLEAN",
        "int": "BIGINT",
        "float": "DOUBLE PRECISION",
        "text": "TEXT",
        "bytes": "BYTEA",
        "datetime": "TIMESTAMP",
        "date": "DATE",
        "time": "TIME",
        "uuid": "UUID",
        "json": "JSON",
        "binary": "BYTEA",
        "key": 'VARCHAR(64) COLLATE "C"',
    }
    # A value that the page cannot hold is moved out and leaves a pointer of 18 bytes, aligned.
    widths: ClassVar[dict[Kind, int]] = {
        kind: 20 if kind in ("text", "bytes", "json", "binary") else 8 for kind in types
    } | {"uuid": 16, "key": 68}
    # JSON is text on the wire; its own dumper would quote it once more.
    copied: ClassVar[Mapping[Kind, str]] = {
        "bool": "bool",
        "int": "int8",
        "float": "float8",
        "text": "text",
        "bytes": "bytea",
        "datetime": "timestamp",
        "date": "date",
        "time": "time",
        "uuid": "uuid",
        "json": "text",
        "binary": "bytea",
        "key": "text",
    }

    def prepare(self, connection: Any) -> None:
        """Read JSON as the text that was written."""
        from psycopg.types.string import TextLoader

        connection.adapters.register_loader("json", TextLoader)

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Writers, who hold a lock, see each commit; readers see one state."""
        level = "READ COMMITTED" if write else "REPEATABLE READ, READ ONLY"
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Take an advisory lock until the end of the transaction."""
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Convert in place; readers with an older snapshot then see no rows, and read again."""
        source = "NULL" if is_empty else column
        kind_ = self.types[kind]
        alter = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind_}"
        return (f"{alter} USING {source}::{kind_}",)

    def insert(
        self, cursor: Any, table: str, columns: Mapping[str, Kind], rows: Iterable[Row]
    ) -> None:
        """Insert by binary COPY."""
        names = ", ".join(map(self.quote, columns))
        sql = f"COPY {self.quote(table)} ({names}) FROM STDIN (FORMAT BINARY)"
        with cursor.copy(sql) as copy:
            copy.set_types([self.copied[kind] for kind in columns.values()])
            for row in rows:
                copy.write_row(row)

    def update(
        self,
        cursor: Any,
        table: str,
        columns: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        rows: Iterable[Row],
    ) -> None:
        """COPY the rows to a temporary table and update from it, once they are many."""
        rows = iter(rows)
        first = list(islice(rows, 50))
        if len(first) < 50:
            super().update(cursor, table, columns, keys, first)
            return
        staged = dict(columns) | {f"k_{name}": kind for name, kind in keys.items()}
        fields = ", ".join(
            f"{self.quote(name)} {self.types[kind]}" for name, kind in staged.items()
        )
        cursor.execute(f"CREATE TEMPORARY TABLE mltraq_update ({fields}) ON COMMIT DROP")
        self.insert(cursor, "mltraq_update", staged, chain(first, rows))
        values = ", ".join(f"{self.quote(name)} = u.{self.quote(name)}" for name in columns)
        found = " AND ".join(f"t.{self.quote(key)} = u.{self.quote('k_' + key)}" for key in keys)
        cursor.execute(
            f"UPDATE {self.quote(table)} AS t SET {values} FROM mltraq_update AS u WHERE {found}"
        )
        cursor.execute("DROP TABLE mltraq_update")

    def trouble(self, error: BaseException) -> Trouble:
        """Read the SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
        import psycopg

        state = getattr(error, "sqlstate", None)
        if state is None:
            lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
            return "unavailable" if lost else "other"
        for prefix, trouble in _SQLSTATES.items():
            if state.startswith(prefix):
                return trouble
        return "other"
