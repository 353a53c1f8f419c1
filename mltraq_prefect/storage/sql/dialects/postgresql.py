"""PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects import (
    lexing,
    postgresql_catalog,
    postgresql_copy,
    postgresql_errors,
    postgresql_grants,
    postgresql_stream,
    postgresql_update,
)
from mltraq_prefect.storage.sql.dialects.base import Dialect
from mltraq_prefect.storage.sql.dialects.declarations import (
    LOCK_SECONDS,
    SCHEMA,
    Columns,
    ColumnType,
    Dependent,
    Origins,
    Right,
    Role,
    Trouble,
)
from mltraq_prefect.storage.values import kinds
from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.names import is_fixed, key_name


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedType(ColumnType):
    """What a kind of column is in PostgreSQL.

    Attributes:
        copied: What the binary format of COPY calls its cells.
    """

    copied: str


_OUTSIDE = 20
"""A value that the page cannot hold is moved out and leaves a pointer of 18 bytes, aligned."""


def _prepare_begin(connection: sa.Connection, *, repeatable: bool, read_only: bool) -> None:
    """Say how the driver begins the transaction of the next statement."""
    from psycopg import IsolationLevel

    level = IsolationLevel.REPEATABLE_READ if repeatable else IsolationLevel.READ_COMMITTED
    driver: Any = connection.connection.driver_connection
    driver.isolation_level, driver.read_only = level, read_only or None  # or as it is by default


def _is_pooled(connection: Any) -> bool:
    """Return whether there is a pooler, such as pgbouncer, between libpq's connection and a server.

    A pooler has told an id of its own when the connection was made.
    """
    answer = connection.exec_(b"SELECT pg_backend_pid()")
    number: bytes | None = answer.get_value(0, 0)
    return number is not None and int(number) != connection.backend_pid


class PostgreSQL(Dialect):
    """PostgreSQL by psycopg 3."""

    name = "postgresql"
    unknown_column = r'column "?(?:v\.)?(.+?)"? does not exist'
    has_all_rows = True
    driver = "psycopg"
    driver_versions = ">=3.2"
    example = "postgresql+psycopg://user@host/database"
    keeps_attached = True
    alters_keys = True
    counts_updates = True
    clock = "clock_timestamp() AT TIME ZONE 'UTC'"
    binds_lists = True
    has_views = True
    document = "JSONB"  # JSON has no equality
    apart = lexing.POSTGRESQL
    argument_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "prepare_threshold": lambda text: None if text.lower() in ("", "none") else int(text)
    }
    extra = "postgresql"
    max_columns = 1600
    max_row = 8000
    nul = False
    # Room for a second, longer version of a row beside the first: no index is written, and little
    # log. Without it a table is as large once its runs are evaluated.
    rewritten_options = "WITH (fillfactor = 45)"
    types: ClassVar[Mapping[Kind, CopiedType]] = {
        kinds.BOOL: CopiedType("BOOLEAN", 8, copied="bool"),
        kinds.INT: CopiedType("BIGINT", 8, copied="int8"),
        kinds.FLOAT: CopiedType("DOUBLE PRECISION", 8, copied="float8"),
        kinds.TEXT: CopiedType("TEXT", _OUTSIDE, copied="text"),
        kinds.BYTES: CopiedType("BYTEA", _OUTSIDE, copied="bytea"),
        kinds.DATETIME: CopiedType("TIMESTAMP", 8, copied="timestamp"),
        kinds.DATE: CopiedType("DATE", 8, copied="date"),
        kinds.TIME: CopiedType("TIME", 8, copied="time"),
        kinds.UUID: CopiedType("UUID", 16, copied="uuid"),
        # kinds.JSON is text on the wire; its own dumper would quote it once more.
        kinds.JSON: CopiedType("JSON", _OUTSIDE, copied="text"),
        kinds.BINARY: CopiedType("BYTEA", _OUTSIDE, copied="bytea"),
        kinds.KEY: CopiedType('VARCHAR(64) COLLATE "C"', 68, copied="text"),
    }

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Bound the time to connect; speak UTF-8, as COPY does, whatever the database keeps."""
        return {"client_encoding": "utf8", "autocommit": False, **super().connect_args(url)}

    def prepare(self, connection: Any) -> None:
        """Read JSON as text; prepare no statements behind a pooler.

        There a statement of this name may be another client's, which would be executed.
        """
        from psycopg.types.string import TextBinaryLoader, TextLoader

        if _is_pooled(connection.pgconn):
            connection.prepare_threshold = None

        class Document(TextBinaryLoader):
            """A document: a byte says of which version its text is."""

            def load(self, data: Any) -> Any:
                return super().load(data[1:])

        for name, loaders in (
            ("json", (TextLoader, TextBinaryLoader)),
            ("jsonb", (TextLoader, Document)),
        ):
            for loader in loaders:
                connection.adapters.register_loader(name, loader)

    def cursor(self, connection: Any, *, is_large: bool = False) -> Any:
        """Let the server send cells as it has them: its text of them takes longer to read."""
        cursor = connection.cursor(binary=True)
        return postgresql_stream.streamed(cursor) if is_large else cursor

    def schema(self, connection: sa.Connection) -> str | None:
        """Follow the search path once."""
        return postgresql_catalog.schema(connection)

    def _encoded(self, text: str) -> str:
        codes = map(ord, text)
        return "E'" + "".join(f"\\u{c:04x}" if c < 1 << 16 else f"\\U{c:08x}" for c in codes) + "'"

    def param(self, key: str, kind: Kind) -> str:
        """Ask for the type first: a cast of anything else would be an error."""
        name = self.literal(key)
        found, text = f"(r.params -> {name})", f"(r.params ->> {name})"
        type_, sql = f"jsonb_typeof{found}", self.types[kind].sql
        if kind is kinds.BOOL:
            return f"CASE {type_} WHEN 'boolean' THEN {found}::boolean END"
        if kind.is_numeric:
            truth = f"{found}::boolean::integer::{sql}"
            return f"CASE {type_} WHEN 'number' THEN {found}::{sql} WHEN 'boolean' THEN {truth} END"
        if kind is kinds.JSON:
            return f"CASE WHEN {type_} IN ('object', 'array') THEN {found} END"
        cast = "" if kind is kinds.TEXT else f"::{sql}"
        return f"CASE {type_} WHEN 'string' THEN {text}{cast} END"

    def moment(self, document: str, key: str) -> str:
        """Cast the text."""
        return f"({document} ->> '{key}')::timestamp"

    def seconds_since(self, moment: str) -> str:
        """Compare with the beginning of the transaction."""
        return f"extract(epoch FROM now() AT TIME ZONE 'UTC' - {moment})::double precision"

    def shortened(self, sql: str, most: int) -> str:
        """Make text of documents first."""
        return super().shortened(f"({sql})::text", most)

    def as_float(self, sql: str, kind: Kind) -> str:
        """Make an integer of a truth value first."""
        return super().as_float(f"({sql})::integer" if kind is kinds.BOOL else sql, kind)

    def rights(self, connection: sa.Connection, table: str) -> Sequence[Right]:
        """Read them from the catalogue."""
        return postgresql_catalog.rights(connection, self.quote(table))

    def grants(
        self, connection: sa.Connection, role: Role, user: str, relations: Sequence[str]
    ) -> Sequence[str]:
        """Give rights on tables, or let the user act as who owns them."""
        return postgresql_grants.statements(connection, role, user, relations, self.quote_foreign)

    def view_columns(self, connection: sa.Connection, view: str) -> Sequence[str]:
        """Read them from the catalogue."""
        return postgresql_catalog.view_columns(connection, self.quote(view))

    def relations(self, connection: sa.Connection, names: Collection[str]) -> set[str]:
        """Ask the catalogue: indexes share the tables' namespace."""
        return postgresql_catalog.relations(connection, names)

    def indexes(self, connection: sa.Connection, table: str) -> set[str]:
        """Ask the catalogue."""
        return postgresql_catalog.indexes(connection, self.quote(table))

    def change_key(
        self, connection: sa.Connection, table: str, key: Sequence[str]
    ) -> Sequence[str]:
        """Change it in place: views and rights stay."""
        old = postgresql_catalog.keys(connection, self.quote(table))
        dropped = [f"DROP CONSTRAINT {self.quote_foreign(name)}" for name in old]
        added = f"ADD PRIMARY KEY ({', '.join(map(self.quote, key))})"
        return [f"ALTER TABLE {self.quote(table)} {', '.join([*dropped, added])}"]

    def leave_room(self, table: str) -> Sequence[str]:
        """Change the option; pages that are full stay so."""
        options = self.rewritten_options.removeprefix("WITH ")
        return [f"ALTER TABLE {self.quote(table)} SET {options}"]

    def columns_left(self, connection: sa.Connection, table: str) -> int:
        """Count the columns that were dropped, too: they keep their places."""
        return self.max_columns - postgresql_catalog.columns_used(connection, self.quote(table))

    def dependents(self, connection: sa.Connection, table: str) -> list[Dependent]:
        """Find views and foreign keys."""
        return postgresql_catalog.dependents(connection, self.quote(table))

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Writers, who hold a lock, see each commit; readers see one state.

        Names mean what is in our schema, also for COPY, whatever the search path is.
        """
        _prepare_begin(connection, repeatable=not write, read_only=not write)
        connection.exec_driver_sql(self._names(connection).replace("%", "%%"))

    def _names(self, connection: sa.Connection) -> str:
        """Return the statement that makes names mean what is in our schema."""
        return f"SET LOCAL search_path TO {self.quote_foreign(connection.info[SCHEMA])}, pg_temp"

    def begin_reading(self, connection: sa.Connection, table: str | None) -> bool:
        """Lock the table before the state of the rows is fixed, which the first SELECT does.

        Columns are always as they are now: the rows of a moment ago, read by way of a column that
        has been made since, are empty in it.
        """
        import psycopg

        if table is None:
            self.begin(connection, write=False)
            return True
        _prepare_begin(connection, repeatable=True, read_only=True)
        lock = f"LOCK TABLE {self.quote(table)} IN ACCESS SHARE MODE"
        hold = f"{self._names(connection)}; SAVEPOINT hold; {lock}; RELEASE SAVEPOINT hold"
        cursor: Any = connection.connection.cursor()
        try:  # several statements in one message, which cannot be prepared
            cursor.execute(hold, prepare=False)
        except psycopg.ProgrammingError as error:  # SELECT tells of all but a missing table
            cursor.execute("ROLLBACK TO SAVEPOINT hold")
            return self.trouble(error) != "moved"
        return True

    def begin_query(self, connection: sa.Connection) -> None:
        """Let the statement see what is there once it has its tables.

        A state that is older than a table, for whose writer it has waited, shows it as empty.
        """
        _prepare_begin(connection, repeatable=False, read_only=True)

    def origins(
        self,
        connection: sa.Connection,
        cursor: Any,
        sql: str,
        are_whole: Callable[[Collection[str]], Collection[str]],
    ) -> Origins:
        """Read what the server says of each column; a view is an origin itself."""
        result = cursor.pgresult
        places = [(result.ftable(i), result.ftablecol(i)) for i in range(result.nfields)]
        return postgresql_catalog.origins(connection, places)

    def check_statement(self, connection: sa.Connection, sql: str) -> None:
        """Let the server parse it: the driver would send it several at once."""
        from psycopg.errors import error_from_result

        driver: Any = connection.connection.driver_connection
        answer = driver.pgconn.prepare(b"", sql.encode())
        if answer.error_message:
            raise error_from_result(answer)

    def idle_limit(self, connection: sa.Connection) -> tuple[str, float] | None:
        """Read the setting."""
        name = "idle_in_transaction_session_timeout"
        sql = f"SELECT extract(epoch FROM current_setting('{name}')::interval)"
        limit = float(connection.exec_driver_sql(sql).scalar_one())
        return (name, limit) if limit else None

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Take an advisory lock until the end of the transaction; wait as long as is allowed."""
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
        connection.exec_driver_sql(
            f"SELECT set_config('lock_timeout', '{LOCK_SECONDS}s', true) "
            "WHERE current_setting('lock_timeout')::interval "
            f"NOT BETWEEN '1 ms' AND '{LOCK_SECONDS} s'"
        )
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))

    def rekey(self, connection: sa.Connection, table: str) -> Sequence[str]:
        """Rename the constraint: its index shares the tables' namespace."""
        name = self.quote(key_name(table))
        return [
            f"ALTER TABLE {self.quote(table)} RENAME CONSTRAINT {self.quote_foreign(old)} TO {name}"
            for old in postgresql_catalog.keys(connection, self.quote(table))
            if old != key_name(table)
        ]

    def late_key(self, table: str, column: str) -> str:
        """Make the primary key."""
        name = self.quote(key_name(table))
        return (
            f"ALTER TABLE {self.quote(table)} "
            f"ADD CONSTRAINT {name} PRIMARY KEY ({self.quote(column)})"
        )

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Count pages, those of large values included; of many tables, by the statistics."""
        return postgresql_catalog.sizes(connection, tables)

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Convert in place; readers with an older snapshot then see no rows, and read again."""
        source = "NULL" if is_empty else column
        type_ = self.types[kind].sql
        alter = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {type_}"
        return (f"{alter} USING {source}::{type_}",)

    def insert(self, cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert by COPY; as text where a user has given columns other types, as users may."""
        types = self._copied(kinds) if self._has_types(cursor, table, kinds) else None
        target = f"{self.quote(table)} ({self._listed(kinds)})"
        postgresql_copy.send(cursor, target, columns, types)

    def _has_types(self, cursor: Any, table: str, kinds: Mapping[str, Kind]) -> bool:
        """Return whether columns have the types of their kinds, as those of fixed tables have."""
        own = self.quote(table), self._listed(kinds), self._copied(kinds)
        return is_fixed(table) or postgresql_copy.have_types(cursor, *own)

    def _copied(self, kinds: Mapping[str, Kind]) -> list[str]:
        return [self.types[kind].copied for kind in kinds.values()]

    def _listed(self, names: Iterable[str]) -> str:
        return ", ".join(map(self.quote, names))

    def update(
        self,
        cursor: Any,
        table: str,
        kinds: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        columns: Columns,
    ) -> int | None:
        """Update from rows in the statement; COPY many to a temporary table first.

        Into columns of other types each row is a statement, whose cells the server converts.
        """
        if len(columns[0]) == 1 or not self._has_types(cursor, table, kinds):
            return super().update(cursor, table, kinds, keys, columns)
        staged = dict(enumerate((*kinds.values(), *keys.values())))
        types = {f"c{index}": self.types[kind].sql for index, kind in staged.items()}
        target = self.quote(table), [*map(self.quote, kinds)], [*map(self.quote, keys)]
        if postgresql_update.fits(columns):
            return postgresql_update.from_values(cursor, target, types, columns)
        with postgresql_update.staging(cursor, types) as staging:
            copied = self._copied(dict(zip(types, staged.values(), strict=True)))
            postgresql_copy.send(cursor, staging, columns, copied)
            return postgresql_update.update(cursor, target, f"{staging} AS u")

    def message(self, error: BaseException) -> str:
        """Leave out what quotes rows."""
        return postgresql_errors.message(error)

    def quotes_values(self, error: BaseException) -> bool:
        """Read the SQLSTATE: class 22 is about data, the others quote names."""
        return str(getattr(error, "sqlstate", None)).startswith("22")

    def trouble(self, error: BaseException) -> Trouble:
        """Read the SQLSTATE."""
        return postgresql_errors.trouble(error)
