"""What is different about each database: the one module that a further dialect has to extend.

A dialect declares the SQL types of the kinds of columns, which values they change, how rows are
written in bulk, how a transaction begins and what is locked in it, and what its errors mean.
"""

from __future__ import annotations

import datetime
import hashlib
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, ClassVar, Literal

import sqlalchemy as sa

from mltraq_prefect.storage.layout import Kind

Trouble = Literal["unavailable", "conflict", "moved", "read-only", "full", "other"]
"""What a driver's error means.

After ``unavailable``, ``conflict`` and ``moved`` (a table or column that was there a moment ago is
not there now: another process is changing it) a transaction is repeated.
"""

Row = Sequence[Any]
LOCK_SECONDS = 60
"""How long a writer waits for another one."""


class Dialect:
    """Behaviour that most databases share."""

    name: ClassVar[str]
    driver: ClassVar[str]
    extra: ClassVar[str] = ""
    types: ClassVar[dict[Kind, str]]
    widths: ClassVar[dict[Kind, int]]
    max_columns: ClassVar[int]
    max_row: ClassVar[int] = 2**40
    placeholder: ClassVar[str] = "%s"
    table_options: ClassVar[str] = ""
    nan: ClassVar[bool] = True
    infinity: ClassVar[bool] = True
    negative_zero: ClassVar[bool] = True
    nul: ClassVar[bool] = True
    ddl_commits: ClassVar[bool] = False
    inline_bytes: ClassVar[int | None] = None
    reconnects: ClassVar[bool] = True
    limit_advice: ClassVar[str] = ""
    adapt: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {}
    restore: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {}

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Return arguments of the driver's `connect` that bound how long it takes."""
        return {} if "connect_timeout" in url.query else {"connect_timeout": 10}

    def prepare(self, connection: Any) -> None:
        """Set up a new connection of the driver."""

    def quote(self, name: str) -> str:
        """Quote an identifier of ours: ASCII letters, digits and underscores."""
        return f'"{name}"'

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Start a transaction in which all statements see one state of the database."""

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Wait until no other writer holds the lock of this name; hold it until the end."""

    def unlock(self, connection: sa.Connection, name: str) -> None:
        """Release a lock that outlives its transaction."""

    def value_limit(self, connection: sa.Connection) -> int:
        """Return how many bytes the values of one row can take, as `sent` counts them."""
        return 10**9

    def sent(self, value: str | bytes) -> int:
        """Return how many bytes a value takes on its way to the database."""
        return len(value)

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Return statements that give a column another kind.

        Args:
            table: Quoted name of the table.
            column: Quoted name of the column.
            kind: The new kind: float, from int, if there are values.
            is_empty: Whether all values are NULL.
        """
        raise NotImplementedError

    def insert(
        self, cursor: Any, table: str, columns: Mapping[str, Kind], rows: Iterable[Row]
    ) -> None:
        """Insert many rows."""
        names = ", ".join(map(self.quote, columns))
        marks = ", ".join([self.placeholder] * len(columns))
        sql = f"INSERT INTO {self.quote(table)} ({names}) VALUES ({marks})"
        cursor.executemany(sql, rows)

    def update(
        self,
        cursor: Any,
        table: str,
        columns: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        rows: Iterable[Row],
    ) -> None:
        """Update many rows, each given as the new values followed by its keys."""
        values = ", ".join(f"{self.quote(name)} = {self.placeholder}" for name in columns)
        found = " AND ".join(f"{self.quote(name)} = {self.placeholder}" for name in keys)
        cursor.executemany(f"UPDATE {self.quote(table)} SET {values} WHERE {found}", rows)

    def trouble(self, error: BaseException) -> Trouble:
        """Say what an error of the driver means."""
        raise NotImplementedError


def _uuid(value: str | uuid.UUID) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


_SQLITE_TROUBLES: dict[int, Trouble] = {
    sqlite3.SQLITE_BUSY: "unavailable",
    sqlite3.SQLITE_CANTOPEN: "unavailable",
    sqlite3.SQLITE_LOCKED: "unavailable",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_IOERR_WRITE: "full",
    sqlite3.SQLITE_IOERR: "unavailable",
}


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
    adapt: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {
        "datetime": str,
        "date": str,
        "time": str,
        "uuid": str,
    }
    restore: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {
        "bool": bool,
        "float": float,
        "datetime": datetime.datetime.fromisoformat,
        "date": datetime.date.fromisoformat,
        "time": datetime.time.fromisoformat,
        "uuid": uuid.UUID,
    }

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Wait for other processes; leave transactions to this module."""
        return {"timeout": LOCK_SECONDS, "isolation_level": None, "check_same_thread": False}

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Take the write lock at once: a transaction that upgrades later can only fail."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """A column of integers takes floats as they are; an empty column is made anew."""
        if not is_empty:
            return ()
        return (
            f"ALTER TABLE {table} DROP COLUMN {column}",
            f"ALTER TABLE {table} ADD COLUMN {column} {self.types[kind]}",
        )

    def trouble(self, error: BaseException) -> Trouble:
        """Read the result code, extended or primary (https://www.sqlite.org/rescode.html)."""
        code = getattr(error, "sqlite_errorcode", None) or 0
        return _SQLITE_TROUBLES.get(code) or _SQLITE_TROUBLES.get(code & 0xFF, "other")


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


_MARIADB_TROUBLES: dict[int, Trouble] = {
    **dict.fromkeys((0, 1040, 1044, 1045, 1049, 1053, 1698, 1927), "unavailable"),
    **dict.fromkeys((2002, 2003, 2006, 2013, 2014, 2055), "unavailable"),
    **dict.fromkeys((1205, 1213, 1020), "conflict"),
    **dict.fromkeys((1054, 1146, 1412, 1684), "moved"),
    **dict.fromkeys((1142, 1290, 1792, 1836), "read-only"),
    **dict.fromkeys((28, 1021, 1030, 1114), "full"),
}


def _time(value: datetime.timedelta) -> datetime.time:
    return (datetime.datetime.min + value).time()


class MariaDB(Dialect):
    """MariaDB and MySQL by PyMySQL.

    Each statement that changes a table commits. So they come first and only add, and a table of
    another shape is filled beside the old one, which it replaces once it is complete.
    """

    name = "mariadb"
    driver = "pymysql"
    extra = "mysql"
    max_columns = 1017
    max_row = 8000
    nan = False
    infinity = False
    negative_zero = False
    ddl_commits = True
    limit_advice = "; raise its max_allowed_packet"
    table_options = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    types: ClassVar[dict[Kind, str]] = {
        "bool": "BOOLEAN",
        "int": "BIGINT",
        "float": "DOUBLE",
        "text": "LONGTEXT",
        "bytes": "LONGBLOB",
        "datetime": "DATETIME(6)",
        "date": "DATE",
        "time": "TIME(6)",
        "uuid": "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin",
        "json": "LONGTEXT",
        "binary": "LONGBLOB",
        "key": "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin",
    }
    # InnoDB keeps up to 40 bytes of a long value in the page, and adds its length.
    widths: ClassVar[dict[Kind, int]] = {
        kind: 42 if kind in ("text", "bytes", "json", "binary") else 8 for kind in types
    } | {"uuid": 37, "key": 66}
    adapt: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {"uuid": str}
    restore: ClassVar[Mapping[Kind, Callable[[Any], Any]]] = {
        "bool": bool,
        "int": int,
        "time": _time,
        "uuid": uuid.UUID,
    }

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Bound the time to connect, and agree on an encoding."""
        return {"charset": "utf8mb4", **super().connect_args(url)}

    def prepare(self, connection: Any) -> None:
        """Refuse what would be cut, and wait for others no longer than for locks."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
                f"lock_wait_timeout = {LOCK_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS}"
            )

    def quote(self, name: str) -> str:
        """Quote an identifier of ours: ASCII letters, digits and underscores."""
        return f"`{name}`"

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Writers, who hold a lock, see each commit; readers see one state."""
        # Not for the transaction alone: a statement that commits would be free to change tables.
        mode = "READ COMMITTED, READ WRITE" if write else "REPEATABLE READ, READ ONLY"
        connection.exec_driver_sql(f"SET SESSION TRANSACTION ISOLATION LEVEL {mode}")
        options = "" if write else " WITH CONSISTENT SNAPSHOT"
        connection.exec_driver_sql(f"START TRANSACTION{options}")

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Take a lock of this name and this database; it survives the commits of statements."""
        sql = "SELECT GET_LOCK(SHA2(CONCAT(DATABASE(), '/', %s), 224), %s)"
        if connection.exec_driver_sql(sql, (name, LOCK_SECONDS)).scalar() != 1:
            raise TimeoutError(f"another process has written for {LOCK_SECONDS} s")

    def unlock(self, connection: sa.Connection, name: str) -> None:
        """Release it, after the commit."""
        sql = "SELECT RELEASE_LOCK(SHA2(CONCAT(DATABASE(), '/', %s), 224))"
        connection.exec_driver_sql(sql, (name,))

    def value_limit(self, connection: sa.Connection) -> int:
        """Return what one packet takes, less some room for the statement."""
        packet: int = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        return packet - 64 * 1024

    def sent(self, value: str | bytes) -> int:
        """Count the bytes of a literal, in which some are escaped."""
        raw = value.encode() if isinstance(value, str) else value
        return 2 * len(raw) - len(raw.translate(None, b"\0\n\r\x1a'\"\\"))

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Convert in place: a float holds the integers that were checked before."""
        return (f"ALTER TABLE {table} MODIFY COLUMN {column} {self.types[kind]}",)

    def update(
        self,
        cursor: Any,
        table: str,
        columns: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        rows: Iterable[Row],
    ) -> None:
        """Insert rows whose keys are there already: many in one statement."""
        names = ", ".join(map(self.quote, (*columns, *keys)))
        marks = ", ".join(["%s"] * (len(columns) + len(keys)))
        values = ", ".join(f"{self.quote(name)} = VALUES({self.quote(name)})" for name in columns)
        cursor.executemany(
            f"INSERT INTO {self.quote(table)} ({names}) VALUES ({marks}) "
            f"ON DUPLICATE KEY UPDATE {values}",
            list(rows),
        )

    def trouble(self, error: BaseException) -> Trouble:
        """Read the error number (https://mariadb.com/kb/en/mariadb-error-codes/)."""
        code = error.args[0] if error.args and isinstance(error.args[0], int) else None
        if code is None:
            return "unavailable" if type(error).__name__ == "InterfaceError" else "other"
        return _MARIADB_TROUBLES.get(code, "other")


DIALECTS: dict[str, Dialect] = {
    "sqlite": SQLite(),
    "postgresql": PostgreSQL(),
    "mariadb": MariaDB(),
    "mysql": MariaDB(),
}
"""By the backend name of SQLAlchemy's URL."""
