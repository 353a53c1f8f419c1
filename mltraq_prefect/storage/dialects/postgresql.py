"""PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa

from mltraq_prefect.storage.dialects import postgresql_copy
from mltraq_prefect.storage.dialects.base import LOCK_SECONDS, Columns, Dialect, Trouble
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


FEW = 50
"""Up to so many rows are updated one by one."""


def _has_bytes(kinds: Iterable[Kind], columns: Columns) -> bool:
    return any(
        kind in ("bytes", "binary") and any(cell is not None for cell in cells)
        for kind, cells in zip(kinds, columns, strict=True)
    )


class PostgreSQL(Dialect):
    """PostgreSQL by psycopg 3."""

    name = "postgresql"
    driver = "psycopg"
    extra = "postgresql"
    max_columns = 1600
    max_row = 8000
    nul = False
    # Room for a second version of a row beside the first: no index is written, and little log.
    ledger_options = "WITH (fillfactor = 50)"
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
        from psycopg.types.string import TextBinaryLoader, TextLoader

        connection.adapters.register_loader("json", TextLoader)
        connection.adapters.register_loader("json", TextBinaryLoader)

    def cursor(self, connection: Any) -> Any:
        """Let the server send cells as it has them: its text of them takes longer to read."""
        return connection.cursor(binary=True)

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Writers, who hold a lock, see each commit; readers see one state."""
        level = "READ COMMITTED" if write else "REPEATABLE READ, READ ONLY"
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

    def begin_query(self, connection: sa.Connection) -> None:
        """Let the statement see what is there once it has its tables.

        A state that is older than a table, for whose writer it has waited, shows it as empty.
        """
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY")

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Take an advisory lock until the end of the transaction."""
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))

    def late_key(self, table: str, column: str) -> str:
        """Make the primary key."""
        return f'ALTER TABLE "{table}" ADD PRIMARY KEY ("{column}")'

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Count pages, those of large values included."""
        sql = (
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)"
        )
        rows = connection.exec_driver_sql(sql, (list(tables),))
        return {name: size for name, size in rows if size is not None}

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Convert in place; readers with an older snapshot then see no rows, and read again."""
        source = "NULL" if is_empty else column
        kind_ = self.types[kind]
        alter = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind_}"
        return (f"{alter} USING {source}::{kind_}",)

    def insert(self, cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert by COPY: binary if there are bytes, else text."""
        names = ", ".join(map(self.quote, kinds))
        sql = f"COPY {self.quote(table)} ({names}) FROM STDIN"
        if _has_bytes(kinds.values(), columns):
            with cursor.copy(f"{sql} (FORMAT BINARY)") as copy:
                copy.set_types([self.copied[kind] for kind in kinds.values()])
                for row in zip(*columns, strict=True):
                    copy.write_row(row)
            return
        with cursor.copy(sql) as copy:
            for chunk in postgresql_copy.chunks(list(kinds.values()), columns):
                copy.write(chunk)

    def update(
        self,
        cursor: Any,
        table: str,
        kinds: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        columns: Columns,
    ) -> None:
        """COPY the rows to a temporary table and update from it, once they are many."""
        if len(columns[0]) < FEW:
            super().update(cursor, table, kinds, keys, columns)
            return
        staged = dict(kinds) | {f"k_{name}": kind for name, kind in keys.items()}
        fields = ", ".join(
            f"{self.quote(name)} {self.types[kind]}" for name, kind in staged.items()
        )
        cursor.execute(f"CREATE TEMPORARY TABLE mltraq_update ({fields}) ON COMMIT DROP")
        self.insert(cursor, "mltraq_update", staged, columns)
        values = ", ".join(f"{self.quote(name)} = u.{self.quote(name)}" for name in kinds)
        found = " AND ".join(f"t.{self.quote(key)} = u.{self.quote('k_' + key)}" for key in keys)
        cursor.execute(
            f"UPDATE {self.quote(table)} AS t SET {values} FROM mltraq_update AS u WHERE {found}"
        )
        cursor.execute("DROP TABLE mltraq_update")

    def message(self, error: BaseException) -> str:
        """Leave out details and context, which quote rows."""
        diagnosis = getattr(error, "diag", None)
        primary: str | None = getattr(diagnosis, "message_primary", None)
        return str(error) if primary is None else primary

    def quotes_values(self, error: BaseException) -> bool:
        """Read the SQLSTATE: class 22 is about data, the others quote names."""
        return str(getattr(error, "sqlstate", None)).startswith("22")

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
