"""MariaDB and MySQL."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import orjson
import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput, QueryFailed
from mltraq_prefect.storage.sql.dialects import lexing, mariadb_grants, mariadb_origins
from mltraq_prefect.storage.sql.dialects.base import Dialect
from mltraq_prefect.storage.sql.dialects.declarations import (
    LOCK_SECONDS,
    Columns,
    ColumnType,
    Dependent,
    Origins,
    Role,
    Trouble,
    as_texts,
)
from mltraq_prefect.storage.values import kinds
from mltraq_prefect.storage.values.kinds import Kind

_TROUBLES: dict[int, Trouble] = {
    **dict.fromkeys((0, 1040, 1044, 1045, 1049, 1053, 1203, 1226, 1698, 1927), "unavailable"),
    **dict.fromkeys((2002, 2003, 2006, 2013, 2014, 2055, 3169, 4031), "unavailable"),
    **dict.fromkeys((1213, 1020, 1412, 1684), "conflict"),
    **dict.fromkeys((1205, 1969, 3024), "timeout"),
    **dict.fromkeys((1054, 1146), "moved"),
    **dict.fromkeys((1290, 1792, 1836, 3989), "read-only"),
    **dict.fromkeys((1142, 1143, 1227), "forbidden"),
    **dict.fromkeys((28, 1021, 1030, 1114), "full"),
}


_QUOTING = frozenset((1062, 1064, 1292, 1366, 1411, 1690))
"""Duplicates, statements with the values in them, and values that do not fit."""


_WRITES_FILE = re.compile(r"\bINTO\b.*(OUT|DUMP)FILE\b", re.IGNORECASE | re.DOTALL)


_MULTI_STATEMENTS = 1 << 16
"""The flag of the protocol."""


_CASTS = {
    kinds.INT: "SIGNED",
    kinds.FLOAT: "DOUBLE",
    kinds.DATE: "DATE",
    kinds.DATETIME: "DATETIME(6)",
}


_ASCII = "CHARACTER SET ascii COLLATE ascii_bin"

_OUTSIDE = 42
"""InnoDB keeps up to 40 bytes of a long value in the page, and adds its length."""


def _time(value: datetime.timedelta) -> datetime.time:
    return (datetime.datetime.min + value).time()


class MariaDB(Dialect):
    """MariaDB and MySQL by PyMySQL.

    Each statement that changes a table commits. So they come first and only add, and a table of
    another shape is filled beside the old one, which it replaces once it is complete.
    """

    name = "mariadb"
    unknown_column = r"Unknown column '(?:v\.)?(.+?)'"
    has_all_rows = True
    has_views = True
    driver = "pymysql"
    driver_versions = ">=1.1"
    example = "mysql+pymysql://user@host/database"
    quote_mark = "`"
    apart = lexing.MARIADB
    argument_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {"max_allowed_packet": int}
    extra = "mysql"
    max_columns = 1017
    max_row = 7960  # of 8126, less what a row has beside its columns
    nan = False
    infinity = False
    negative_zero = False
    ddl_commits = True
    alters_keys = True
    clock = "CAST(UTC_TIMESTAMP(6) AS CHAR)"
    limit_advice = "; raise its max_allowed_packet"
    # InnoDB moves a row that grows within its page, and soon writes the page anew, to its log too.
    steps_block = 128
    table_options = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    types: ClassVar[Mapping[Kind, ColumnType]] = {
        kinds.BOOL: ColumnType("BOOLEAN", 8, restore=bool),
        kinds.INT: ColumnType("BIGINT", 8, restore=int),
        kinds.FLOAT: ColumnType("DOUBLE", 8),
        kinds.TEXT: ColumnType("LONGTEXT", _OUTSIDE),
        kinds.BYTES: ColumnType("LONGBLOB", _OUTSIDE),
        kinds.DATETIME: ColumnType("DATETIME(6)", 8),
        kinds.DATE: ColumnType("DATE", 8),
        kinds.TIME: ColumnType("TIME(6)", 8, restore=_time),
        kinds.UUID: ColumnType(f"CHAR(36) {_ASCII}", 37, adapt=as_texts, restore=uuid.UUID),
        kinds.JSON: ColumnType("LONGTEXT", _OUTSIDE),
        kinds.BINARY: ColumnType("LONGBLOB", _OUTSIDE),
        kinds.KEY: ColumnType(f"VARCHAR(64) {_ASCII}", 66),
    }

    def resolved(self, url: sa.URL) -> sa.URL:
        """Refuse a URL without a database; let no text hold several statements."""
        if not url.database:
            raise InvalidInput(
                "the database URL names a server and no database on it; write "
                f"{url.drivername}://user@host/database"
            )
        flags = url.query.get("client_flag")
        if isinstance(flags, str) and flags.isdigit():
            url = url.update_query_dict({"client_flag": str(int(flags) & ~_MULTI_STATEMENTS)})
        return url

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Bound the time to connect, agree on an encoding, and commit where we say."""
        fixed = {"charset": "utf8mb4", "use_unicode": True, "autocommit": False}
        return fixed | super().connect_args(url)

    def prepare(self, connection: Any) -> None:
        """Refuse what would be cut, and wait for others no longer than for locks.

        MySQL alone executes a comment of this version; its sizes could else be a day old. MariaDB
        alone executes one with an M: a GRANT to a user that is misspelt would make that user.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SET SESSION sql_mode = concat('STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION' "
                "/*M!100107 , ',NO_AUTO_CREATE_USER' */), "
                f"lock_wait_timeout = least(@@lock_wait_timeout, {LOCK_SECONDS}), "
                "innodb_lock_wait_timeout = "
                f"least(@@innodb_lock_wait_timeout, {LOCK_SECONDS}) "
                "/*!80000 , information_schema_stats_expiry = 0 */"
            )

    def cursor(self, connection: Any, *, is_large: bool = False) -> Any:
        """Take rows while they come, if they are many."""
        from pymysql.cursors import Cursor, SSCursor

        return connection.cursor(SSCursor if is_large else Cursor)

    def _encoded(self, text: str) -> str:
        return f"CONVERT(x'{text.encode().hex()}' USING utf8mb4)"

    def param(self, key: str, kind: Kind) -> str:
        """Ask for type and text of the value."""
        params, name = "r.params", orjson.dumps(key).decode()
        if key.startswith("-"):  # MariaDB takes it for the sign of an index, escaped or not
            other = f'"mltraq {name[1:]}'
            params = f"REPLACE({params}, {self.literal(f'{name}:')}, {self.literal(f'{other}:')})"
            name = other
        found = f"JSON_EXTRACT({params}, {self.literal(f'$.{name}')})"
        type_, text = f"JSON_TYPE({found})", f"JSON_UNQUOTE({found})"
        if kind is kinds.JSON:
            return f"CASE WHEN {type_} IN ('OBJECT', 'ARRAY') THEN {found} END"
        if kind is kinds.TEXT:
            return f"CASE {type_} WHEN 'STRING' THEN {text} END"
        truth = f"WHEN 'BOOLEAN' THEN {text} = 'true'"
        if kind is kinds.BOOL:
            return f"CASE {type_} {truth} END"
        cast = f"CAST({text} AS {_CASTS[kind]})"
        if not kind.is_numeric:
            return f"CASE {type_} WHEN 'STRING' THEN {cast} END"
        return f"CASE {type_} WHEN 'INTEGER' THEN {cast} WHEN 'DOUBLE' THEN {cast} {truth} END"

    def grants(
        self, connection: sa.Connection, role: Role, user: str, relations: Sequence[str]
    ) -> Sequence[str]:
        """Give rights on the database."""
        return mariadb_grants.statements(connection, role, user)

    def moment(self, document: str, key: str) -> str:
        """Cast the text."""
        return f"CAST(JSON_UNQUOTE(JSON_EXTRACT({document}, '$.{key}')) AS DATETIME(6))"

    def seconds_since(self, moment: str) -> str:
        """Count microseconds."""
        return f"TIMESTAMPDIFF(MICROSECOND, {moment}, UTC_TIMESTAMP(6)) / 1e6"

    def view_texts(self, connection: sa.Connection) -> Mapping[str, str]:
        """Return those that this user may see."""
        sql = (
            "SELECT table_name, view_definition FROM information_schema.views "
            "WHERE table_schema = DATABASE()"
        )
        return dict(map(tuple, connection.exec_driver_sql(sql)))

    def relations(self, connection: sa.Connection, names: Collection[str]) -> set[str]:
        """Ask for tables and views."""
        marks = ", ".join(["%s"] * len(names))
        sql = (
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = DATABASE() AND table_name IN ({marks})"
        )
        return set(connection.exec_driver_sql(sql, tuple(names)).scalars())

    def dependents(self, connection: sa.Connection, table: str) -> list[Dependent]:
        """Find foreign keys of this database; views go by the name of the table, as rights do.

        Without `table_schema` the server opens each table and view of all databases: it takes a
        hundred times as long, and crashes MariaDB 10.11 if others make and drop tables meanwhile.
        """
        sql = (
            "SELECT DISTINCT constraint_name, table_name FROM information_schema.key_column_usage "
            "WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE() "
            "AND referenced_table_name = %s"
        )
        rows = connection.exec_driver_sql(sql, (table,))
        return [Dependent(f"foreign key {name} of table {other}", None) for name, other in rows]

    def named(self, connection: sa.Connection, table: str) -> list[str]:
        """Find views and rights; the server shows those that concern this user."""
        views = (
            "SELECT DISTINCT concat('view ', table_name) FROM information_schema.views "
            "WHERE table_schema = DATABASE() "
            "AND instr(view_definition, concat('`', DATABASE(), '`.', %s))"
        )
        rights = (
            "SELECT DISTINCT concat('the right of ', grantee) "
            "FROM information_schema.table_privileges "
            "WHERE table_schema = DATABASE() AND table_name = %s"
        )
        found = connection.exec_driver_sql(views, (self.quote(table),)).scalars().all()
        return [*found, *connection.exec_driver_sql(rights, (table,)).scalars()]

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Writers, who hold a lock, see each commit; readers see one state."""
        # Not for the transaction alone: a statement that commits would be free to change tables.
        mode = "READ COMMITTED, READ WRITE" if write else "REPEATABLE READ, READ ONLY"
        connection.exec_driver_sql(f"SET SESSION TRANSACTION ISOLATION LEVEL {mode}")
        options = "" if write else " WITH CONSISTENT SNAPSHOT"
        connection.exec_driver_sql(f"START TRANSACTION{options}")

    def begin_query(self, connection: sa.Connection) -> None:
        """Let the statement see what is there once it has its tables: older states lack them."""
        mode = "READ COMMITTED, READ ONLY"
        connection.exec_driver_sql(f"SET SESSION TRANSACTION ISOLATION LEVEL {mode}")
        connection.exec_driver_sql("START TRANSACTION")

    def origins(
        self,
        connection: sa.Connection,
        cursor: Any,
        sql: str,
        are_whole: Callable[[Collection[str]], Collection[str]],
    ) -> Origins:
        """Read what the server says of each column, as far as that is right."""
        return mariadb_origins.origins(connection, cursor, sql)

    def check_text(self, sql: str) -> None:
        """Refuse what writes a file of the server: a transaction that only reads allows it.

        Wherever the words are: the server executes some comments, and its modes decide what quotes.
        """
        if _WRITES_FILE.search(sql):
            raise QueryFailed(
                "query() only reads, and refused the statement, which has INTO OUTFILE or DUMPFILE"
            )

    def idle_limit(self, connection: sa.Connection) -> tuple[str, float] | None:
        """Read the settings, those that the server has."""
        sql = (
            "SHOW SESSION VARIABLES WHERE variable_name IN ('wait_timeout', "
            "'idle_transaction_timeout', 'idle_write_transaction_timeout') AND value > 0"
        )
        found = [(float(value), name) for name, value in connection.exec_driver_sql(sql)]
        limit, name = min(found, default=(0.0, ""))
        return (name, limit) if limit else None

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Take a lock of this name and this database; it survives the commits of statements."""
        sql = "SELECT GET_LOCK(SHA2(CONCAT(DATABASE(), '/', %s), 224), %s)"
        if connection.exec_driver_sql(sql, (name, LOCK_SECONDS)).scalar() != 1:
            raise TimeoutError(f"another process has been writing for {LOCK_SECONDS} s")

    def unlock(self, connection: sa.Connection, name: str) -> None:
        """Release it, after the commit."""
        sql = "SELECT RELEASE_LOCK(SHA2(CONCAT(DATABASE(), '/', %s), 224))"
        connection.exec_driver_sql(sql, (name,))

    def value_limit(self, connection: sa.Connection) -> int:
        """Return what one packet takes, less some room for the statement."""
        packet: int = connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()
        return packet - 64 * 1024

    def sent(self, value: str | bytes) -> int:
        """Count the bytes of a literal: text, in which some are escaped, or hexadecimal digits."""
        if isinstance(value, bytes):
            return 2 * len(value)
        raw = value.encode()
        return 2 * len(raw) - len(raw.translate(None, b"\0\n\r\x1a'\"\\"))

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Ask for statistics, which may lag behind."""
        sql = (
            "SELECT table_name, data_length + index_length FROM information_schema.tables "
            "WHERE table_schema = DATABASE()"
        )
        found = {name: int(size) for name, size in connection.exec_driver_sql(sql) if size}
        return {name: found[name] for name in tables if name in found}

    def rename(self, moves: Sequence[tuple[str, str]]) -> Sequence[str]:
        """Rename all at once."""
        return ("RENAME TABLE " + ", ".join(f"{old} TO {new}" for old, new in moves),)

    def drop_index(self, name: str, table: str) -> str:
        """Name the table: indexes have their own names in each."""
        return f"DROP INDEX {self.quote(name)} ON {self.quote(table)}"

    def change_key(
        self, connection: sa.Connection, table: str, key: Sequence[str]
    ) -> Sequence[str]:
        """Change it by one statement."""
        names = ", ".join(map(self.quote, key))
        return (f"ALTER TABLE {self.quote(table)} DROP PRIMARY KEY, ADD PRIMARY KEY ({names})",)

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Convert in place: a float holds the integers that were checked before."""
        alter = f"ALTER TABLE {table} MODIFY COLUMN {column} {self.types[kind].sql}"
        return (f"UPDATE {table} SET {column} = NULL", alter) if is_empty else (alter,)

    def update(
        self,
        cursor: Any,
        table: str,
        kinds: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        columns: Columns,
    ) -> None:
        """Insert rows whose keys are there already: many in one statement.

        MySQL deprecates VALUES(), but MariaDB does not know the alias that it wants instead.
        """
        names = ", ".join(map(self.quote, (*kinds, *keys)))
        marks = ", ".join(["%s"] * (len(kinds) + len(keys)))
        values = ", ".join(f"{self.quote(name)} = VALUES({self.quote(name)})" for name in kinds)
        cursor.executemany(
            f"INSERT INTO {self.quote(table)} ({names}) VALUES ({marks}) "
            f"ON DUPLICATE KEY UPDATE {values}",
            list(zip(*columns, strict=True)),
        )

    def message(self, error: BaseException) -> str:
        """Put the number last; as a tuple, the driver's text would be in quotes of its own."""
        if len(error.args) != 2 or not isinstance(error.args[1], str):
            return str(error)
        number, text = error.args
        if number == 1146:  # say a table as the statement does, without its database
            text = re.sub(r"^Table '[^'.]*\.", "Table '", text)
        if number == 1054:  # MySQL says in which clause, in quotes too
            text = re.sub(r" in '[\w/ ]+'$", "", text)
        return f"{text} ({number})"

    def quotes_values(self, error: BaseException) -> bool:
        """Read the error number."""
        return bool(error.args) and error.args[0] in _QUOTING

    def trouble(self, error: BaseException) -> Trouble:
        """Read the error number (https://mariadb.com/kb/en/mariadb-error-codes/)."""
        code = error.args[0] if error.args and isinstance(error.args[0], int) else None
        if code is None:
            return "unavailable" if type(error).__name__ == "InterfaceError" else "other"
        return _TROUBLES.get(code, "other")
