"""SQLite."""

from __future__ import annotations

import datetime
import operator
import os
import re
import socket
import sqlite3
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, ClassVar

import orjson
import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput, StorageUnavailable
from mltraq_prefect.storage.sql.dialects import (
    lexing,
    sqlite_blobs,
    sqlite_files,
    sqlite_origins,
    sqlite_sizes,
)
from mltraq_prefect.storage.sql.dialects.base import Dialect
from mltraq_prefect.storage.sql.dialects.declarations import (
    LOCK_SECONDS,
    Columns,
    ColumnType,
    Origins,
    Trouble,
    as_texts,
)
from mltraq_prefect.storage.values import kinds
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.names import key_name

_TROUBLES: dict[int, Trouble] = {
    sqlite3.SQLITE_BUSY: "timeout",
    sqlite3.SQLITE_CANTOPEN: "unavailable",
    sqlite3.SQLITE_LOCKED: "timeout",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_IOERR_WRITE: "full",
    sqlite3.SQLITE_IOERR: "unavailable",
}


_OF_JSON = {
    kinds.BOOL: (("true", "false"), "INTEGER", "attempts"),
    kinds.INT: (("integer", "true", "false"), "INTEGER", "attempts"),
    kinds.FLOAT: (("real", "integer", "true", "false"), "REAL", "duration_s"),
    kinds.DATETIME: (("text",), "TEXT", "started_at"),
    kinds.JSON: (("object", "array"), "TEXT", "params"),
}
"""How params of a kind are, unless as text: types in JSON, that in SQL, and a column like them."""

_ESCAPED = re.compile(r'[\x00-\x1f"\\]')
"""Characters that JSON escapes."""


ROWS_A_STATEMENT = 50
"""A step of SQLite's machine costs as much as some cells, whatever it inserts."""

BYTES_A_STATEMENT = 2**20
"""Of binary values: the driver copies what it is given, so a larger one has its own statement."""

LOWEST = (3, 35)
"""The version of SQLite that an empty column of another kind needs: `DROP COLUMN` is new there."""

PAGE_SIZE = f"PRAGMA page_size = {sqlite_sizes.PAGE}"
"""Of a file that is still empty: each page is a write of its own, and arrays are many pages."""


_READING_ACTIONS = frozenset(
    (
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    )
)

_PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_info", "index_xinfo", "index_list")
_READING_PRAGMAS = frozenset((*_PRAGMAS, "foreign_key_list", "integrity_check", "quick_check"))
_PLAIN_PRAGMAS = _READING_PRAGMAS | {"compile_options", "database_list", "encoding", "journal_mode"}
"""Those that only read: with an argument, and without."""


def _reads(action: int, first: str | None, second: str | None, *_more: str | None) -> int:
    """Say whether a statement of a user may do what SQLite's authorizer is asked for."""
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = first in (_PLAIN_PRAGMAS if second is None else _READING_PRAGMAS)
    else:  # a function in FROM declares its columns as if it changed the schema, which none can
        allowed = action in _READING_ACTIONS or (action, first) == (
            sqlite3.SQLITE_UPDATE,
            "sqlite_master",
        )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _moments(cells: Sequence[datetime.datetime | None]) -> list[str | None]:
    """Return times without zone as `str` shows them."""
    texts: list[str | None] = orjson.loads(orjson.dumps(cells).replace(b"T", b" "))
    return texts


def _largest(kinds: Mapping[str, Kind], columns: Columns) -> int:
    """Return about how many bytes the binary values of a row have at most; those of one value."""
    return sum(
        max((len(cell) for cell in cells if cell is not None), default=0)
        for kind, cells in zip(kinds.values(), columns, strict=True)
        if kind.is_envelope and not isinstance(cells, Constant)
    )


class SQLite(Dialect):
    """SQLite, in a file or in memory.

    The journal mode is left as it is: the default, a rollback journal, keeps a database one file
    and is as safe as the file system's locks, where a WAL must not be on a network file system.
    Readers and writers wait for each other for the moment of a commit only.
    """

    name = "sqlite"
    unknown_column = r"no such column: (?:v\.)?(.+)"
    driver = "pysqlite"
    example = "sqlite:///file.db"
    placeholder = "?"
    valid_json = "json_valid"
    sorts_groups = True
    reconnects = False
    counts_updates = True
    clock = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    for_update = skip_locked = ""  # a transaction that writes is alone
    has_views = True
    apart = lexing.SQLITE
    max_columns = 2000
    inline_bytes = 16_384
    ledger_options = "WITHOUT ROWID"  # one tree, by experiment and run, instead of two
    series_options = "WITHOUT ROWID"
    nan = False
    negative_zero = False
    # SQLite lets any value into any column, so values are restored whatever their type is.
    types: ClassVar[Mapping[Kind, ColumnType]] = {
        kinds.BOOL: ColumnType("BOOLEAN", restore={0: False, 1: True}.__getitem__),
        kinds.INT: ColumnType("BIGINT", restore=operator.index),
        kinds.FLOAT: ColumnType("DOUBLE", restore=float),
        kinds.TEXT: ColumnType("TEXT"),
        kinds.BYTES: ColumnType("BLOB"),
        kinds.DATETIME: ColumnType(
            "DATETIME", adapt=_moments, restore=datetime.datetime.fromisoformat
        ),
        kinds.DATE: ColumnType("DATE", adapt=as_texts, restore=datetime.date.fromisoformat),
        kinds.TIME: ColumnType("TIME", adapt=as_texts, restore=datetime.time.fromisoformat),
        kinds.UUID: ColumnType("CHAR(36)", adapt=as_texts, restore=uuid.UUID),
        kinds.JSON: ColumnType("JSON"),
        kinds.BINARY: ColumnType("BLOB"),
        kinds.KEY: ColumnType("VARCHAR(64)"),
    }

    def message(self, error: BaseException) -> str:
        """Say what a lock means."""
        if self.trouble(error) == "timeout":
            return f"another program has had it locked for {LOCK_SECONDS} s ({error})"
        return str(error)

    def engine_options(self, url: sa.URL) -> dict[str, Any]:
        """Keep the one connection that a memory is, and one to a file: its pages are in memory.

        Raises:
            StorageUnavailable: Python has a version of SQLite that cannot drop columns.
        """
        if sqlite3.sqlite_version_info < LOWEST:
            raise StorageUnavailable(
                f"SQLite {'.'.join(map(str, LOWEST))} or later is needed, and this Python has "
                f"{sqlite3.sqlite_version}: use another Python, or a database of another kind"
            )
        if self.is_private(url):
            return {"poolclass": sa.pool.StaticPool}
        if sqlite_files.path(url) is None:
            return {"poolclass": sa.pool.NullPool}
        return {"poolclass": sa.pool.QueuePool, "pool_size": 1, "max_overflow": -1}

    def keeps(self, url: sa.URL, *, failed: bool) -> bool:
        """Close a file that has a WAL: the last who closes it brings all into one file."""
        path = sqlite_files.path(url)
        return path is None or not (failed or sqlite_files.has_wal(path))

    def is_private(self, url: sa.URL) -> bool:
        """Return whether the URL names a database in memory."""
        database = url.database or ":memory:"
        in_memory = url.query.get("mode") == "memory" or "mode=memory" in database
        return in_memory or database == ":memory:"

    def resolved(self, url: sa.URL) -> sa.URL:
        """Make the path of a file absolute."""
        if url.host:
            raise InvalidInput(
                f"a SQLite URL names a file and no host: write sqlite:///{url.host} for one in the "
                f"working directory, sqlite:////{url.host} for one from the root"
            )
        path = url.database
        if not path or self.is_private(url):
            return url
        scheme, bare = ("file:", path[5:]) if path.startswith("file:") else ("", path)
        return url.set(database=f"{scheme}{Path(bare).absolute()}")

    def is_missing(self, url: sa.URL) -> bool:
        """Return whether a file is not there, and its folder is."""
        path = sqlite_files.missing(url)
        return path is not None and path.parent.is_dir()

    def identity(self, url: sa.URL) -> str | None:
        """Tell the file by its machine, too: SQLite's locks do not reach others."""
        found = sqlite_files.stat(url)
        return found and f"{socket.gethostname()} {found.st_dev} {found.st_ino}"

    def before_connect(self, url: sa.URL, *, write: bool) -> None:
        """Create a file for its owner alone, as SQLite gives its journals the mode of the file.

        What only reads creates nothing.
        """
        path = sqlite_files.missing(url)
        if path is not None:
            flags = os.O_CREAT | os.O_WRONLY if write else os.O_RDONLY
            os.close(os.open(path, flags, 0o600))

    def file_state(self, url: sa.URL) -> tuple[object, ...]:
        """Ask the file system, which knows of writers who do not use SQLite, too."""
        return sqlite_files.state(url)

    def prepare(self, connection: Any) -> None:
        """Give the connection memory, and a new file its pages; see `CACHE_KIB`, `PAGE_SIZE`."""
        connection.execute(PAGE_SIZE)
        connection.execute(sqlite_blobs.cache(sqlite_blobs.CACHE_KIB))

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Wait for other processes; leave transactions to this module."""
        return {"timeout": LOCK_SECONDS, "isolation_level": None, "check_same_thread": False}

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Take the write lock at once: a transaction that upgrades later can only fail."""
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(None)
        driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def begin_query(self, connection: sa.Connection) -> None:
        """Forbid what does not only read."""
        self.begin(connection, write=False)
        connection.connection.driver_connection.set_authorizer(_reads)  # type: ignore[union-attr]

    def origins(
        self,
        connection: sa.Connection,
        cursor: Any,
        sql: str,
        are_whole: Callable[[Collection[str]], Collection[str]],
    ) -> Origins:
        """Ask another database, in memory, which is made for the statement."""
        driver: Any = connection.connection.driver_connection
        try:
            return sqlite_origins.origins(driver, sql, are_whole)
        finally:
            driver.set_authorizer(_reads)

    def rekey(self, connection: sa.Connection, table: str) -> Sequence[str]:
        """Give the index that format 1 made another name: no primary key is added to a table."""
        sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND name = ?"
        old = f"{table}_key"
        if not connection.exec_driver_sql(sql, (table, old)).all():
            return ()
        return (
            f"DROP INDEX {self.quote(old)}",
            f'CREATE UNIQUE INDEX {self.quote(key_name(table))} ON {self.quote(table)} ("id_run")',
        )

    def _encoded(self, text: str) -> str:
        return f"CAST(x'{text.encode().hex()}' AS TEXT)"

    def moment(self, document: str, key: str) -> str:
        """Take the text, as which all moments are kept."""
        return f"json_extract({document}, '$.{key}')"

    def seconds_since(self, moment: str) -> str:
        """Count days, to a thousandth of a second."""
        return f"(julianday('now') - julianday({moment})) * 86400.0"

    def param(self, key: str, kind: Kind) -> str:
        """Ask for type and value: JSON is parsed once. A path has no escapes for its key.

        What a view computes has no declared type, by which other programs go. The last part of a
        union has one: here a column of the ledger, of which no row is ever read.
        """
        if _ESCAPED.search(key):
            found = "FROM json_each(r.params) WHERE key = " + self.literal(key)
            type_, value = f"(SELECT type {found})", f"(SELECT value {found})"
        else:
            path = self.literal(f'$."{key}"')
            type_, value = f"json_type(r.params, {path})", f"json_extract(r.params, {path})"
        types, cast, column = _OF_JSON.get(kind, (("text",), "TEXT", "error"))
        listed = ", ".join(f"'{name}'" for name in types)
        own = f"CAST(CASE WHEN {type_} IN ({listed}) THEN {value} END AS {cast})"
        return f"(SELECT {own} UNION ALL SELECT q.{column} FROM experiment_runs AS q WHERE 0)"

    def view_statements(self, view: str, select: str) -> Sequence[str]:
        """Make it anew: what hangs on it goes by its name."""
        return (f"DROP VIEW IF EXISTS {view}", f"CREATE VIEW {view} AS {select}")

    def view_texts(self, connection: sa.Connection) -> Mapping[str, str]:
        """Return them from the schema, as they were written."""
        sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'view'"
        return dict(map(tuple, connection.exec_driver_sql(sql)))

    def by_index(self, name: str) -> str:
        """Name it: all rows of an experiment count as ten, and their key as shorter."""
        return f" INDEXED BY {self.quote(name)}"

    def relations(self, connection: sa.Connection, names: Collection[str]) -> set[str]:
        """Ask the schema: indexes share the tables' namespace."""
        marks = ", ".join("?" * len(names))
        sql = f"SELECT name FROM sqlite_schema WHERE name IN ({marks})"
        return set(connection.exec_driver_sql(sql, tuple(names)).scalars())

    def named(self, connection: sa.Connection, table: str) -> list[str]:
        """Find what mentions a view, which is made anew; who uses a table follows it."""
        sql = "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger')"
        rows = connection.exec_driver_sql(sql).all()
        if table not in {name for type_, name, _ in rows if type_ == "view"}:
            return []
        word = re.compile(rf"\b{re.escape(table)}\b", re.IGNORECASE)
        found = [(type_, name) for type_, name, text in rows if word.search(text or "")]
        return [f"{type_} {name}" for type_, name in found if name != table]

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Estimate them by some rows: dbstat would read all pages."""
        return {table: sqlite_sizes.size(self, connection, table) for table in tables}

    def rename(self, moves: Sequence[tuple[str, str]]) -> Sequence[str]:
        """Leave views as they are: they go by the name of the table, which may be gone just now."""
        legacy = "PRAGMA legacy_alter_table = {}".format
        return (legacy("ON"), *super().rename(moves), legacy("OFF"))

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """A column of integers takes floats as they are; an empty column is made anew."""
        if not is_empty:
            return ()
        return (
            f"ALTER TABLE {table} DROP COLUMN {column}",
            f"ALTER TABLE {table} ADD COLUMN {column} {self.types[kind].sql}",
        )

    def insert(self, cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert several rows by each statement, to which constant cells are given once."""
        constants = {
            i: cells.value for i, cells in enumerate(columns) if isinstance(cells, Constant)
        }
        varying = [cells for cells in columns if not isinstance(cells, Constant)]
        total, width = len(columns[0]), len(varying)
        variables = cursor.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        largest = _largest(kinds, columns)
        if sqlite_blobs.takes(cursor, table, largest):
            sqlite_blobs.insert(cursor, table, kinds, columns)
            return
        fitting = (variables - len(constants)) // max(1, width)
        size = max(1, min(ROWS_A_STATEMENT, BYTES_A_STATEMENT // max(1, largest), fitting))
        shared = tuple(constants.values())
        cells = chain.from_iterable(zip(*varying, strict=True))
        with sqlite_blobs.passing_through(cursor) if largest > BYTES_A_STATEMENT else nullcontext():
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
