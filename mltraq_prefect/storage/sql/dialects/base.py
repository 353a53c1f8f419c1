"""What a dialect declares, and how most databases behave.

A dialect declares the SQL types of the kinds of columns, which values they change, how rows are
written in bulk, how a transaction begins and what is locked in it, and what its errors mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa

from mltraq_prefect.storage.sql.dialects.declarations import (
    Columns,
    ColumnType,
    Dependent,
    Origins,
    Right,
    Trouble,
)
from mltraq_prefect.storage.sql.dialects.expressions import Expressions
from mltraq_prefect.storage.sql.dialects.users import Users
from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.names import quoted


class Dialect(Expressions, Users):
    """Behaviour that most databases share; a dialect overrides what differs.

    Attributes:
        name: Name of the kind of database, for messages.
        types: The type of each kind of column.
        driver: The only driver that is supported; SQLAlchemy's own choice if empty.
        driver_versions: Specifier of its versions, such as ``>=3.2``; any if empty.
        extra: The extra of this package that installs the driver; empty if none is needed.
        example: A URL of such a database, for messages.
        quote_mark: Encloses an identifier.
        placeholder: Stands for a parameter in a statement of the driver.
        argument_types: Functions that convert the text of a URL's arguments for the driver.
        max_columns: The number of columns that a table can have.
        max_row: Bytes that the columns of a row can take in its page.
        unknown_column: Matches what the database says of a column that no table has, with its name.
        limit_advice: Ends the message about a row that is too large: how to raise the limit.
        keeps_attached: Whether views and grants belong to a table and not to its name. A table
            that needs another shape is then altered, not created again.
        savepoints: Whether a part of a transaction can be undone.
        ddl_commits: Whether a statement that changes a table commits the transaction.
        reconnects: Whether a lost connection is worth waiting for.
        document: The type in which SQL sees the params of runs, if it does not keep their text; the
            text is then kept beside.
        has_views: Whether experiments get a view, for which `param` is needed.
        binds_lists: Whether a parameter can be a list, which SQL sees as an array.
        has_all_rows: Whether rows, if not very many, can be fetched after the transaction's end.
        nan: Whether a column of floats holds NaN.
        infinity: Whether it holds infinities.
        negative_zero: Whether it holds the sign of a zero.
        nul: Whether a text can contain a NUL character.
        inline_bytes: Bytes above which a binary value is stored outside of its row; None if never.
        byte_length: The function of SQL that counts the bytes of a binary value.
        valid_json: The function of SQL that tells whether a text is JSON, where an expression of
            `param` refuses what is none; empty where it does not.
        table_options: Ends the statement that creates a table.
        alters_keys: Whether the primary key of a table can be changed.
        counts_updates: Whether the driver counts the rows that an update has found.
        ledger_options: Follows that for the ledger. Its rows are short, each is written several
            times, and they are read by experiment.
        rewritten_options: Follows that for tables of runs, the ledger's among them: an evaluation
            rewrites their rows.
        series_options: Follows them for tables of series, whose rows are read and replaced by run.
        steps_block: The steps of a run are padded with blanks to a multiple of so many characters,
            where a row that has grown costs more than one that is overwritten.

    The methods share these arguments:
        url: The URL of the database.
        connection: SQLAlchemy's connection; the driver's in `prepare` and `cursor`.
        is_large: Whether there may be so many rows that they shall come some at a time.
        cursor: A cursor that `cursor` has returned.
        table: Name of a table, not quoted unless stated otherwise.
        tables: Names of tables.
        names: Names of tables to look for.
        name: A name: of a column or table to quote, or of a lock.
        column: Name of a column, quoted.
        key: Names of the columns of a primary key, or the key of a param.
        view: Name of a view, not quoted.
        sql: A statement.
        write: Whether the transaction, or the connection, is going to write.
        failed: Whether the transaction has failed.
        kinds: The kinds of the columns, by name.
        keys: The kinds of the columns that identify a row, by name.
        columns: Cells of the rows, one sequence for each column.
        moves: Quoted names of tables, old and new.
        value: A value as the driver gets it.
        error: An error of the driver.
    """

    name: ClassVar[str]
    driver: ClassVar[str] = ""
    driver_versions: ClassVar[str] = ""
    example: ClassVar[str] = ""
    quote_mark: ClassVar[str] = '"'
    argument_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {}
    keeps_attached: ClassVar[bool] = False
    extra: ClassVar[str] = ""
    types: ClassVar[Mapping[Kind, ColumnType]]
    max_columns: ClassVar[int]
    max_row: ClassVar[int] = 2**40
    valid_json: ClassVar[str] = ""
    placeholder: ClassVar[str] = "%s"
    table_options: ClassVar[str] = ""
    alters_keys: ClassVar[bool] = False
    counts_updates: ClassVar[bool] = False
    ledger_options: ClassVar[str] = ""
    rewritten_options: ClassVar[str] = ""
    series_options: ClassVar[str] = ""
    steps_block: ClassVar[int] = 1
    nan: ClassVar[bool] = True
    infinity: ClassVar[bool] = True
    negative_zero: ClassVar[bool] = True
    nul: ClassVar[bool] = True
    savepoints: ClassVar[bool] = True
    document: ClassVar[str] = ""
    has_views: ClassVar[bool] = False
    binds_lists: ClassVar[bool] = False
    ddl_commits: ClassVar[bool] = False
    inline_bytes: ClassVar[int | None] = None
    byte_length: ClassVar[str] = "length"
    reconnects: ClassVar[bool] = True
    has_all_rows: ClassVar[bool] = False
    limit_advice: ClassVar[str] = ""
    unknown_column: ClassVar[str] = ""

    def resolved(self, url: sa.URL) -> sa.URL:
        """Return a URL as it is used, whatever becomes of the process's working directory.

        Raises:
            InvalidInput: It cannot be used.
        """
        return url

    def connect_args(self, url: sa.URL) -> dict[str, Any]:
        """Return arguments of the driver's `connect` that bound how long it takes."""
        return {} if "connect_timeout" in url.query else {"connect_timeout": 10}

    def engine_options(self, url: sa.URL) -> dict[str, Any]:
        """Return arguments of SQLAlchemy's `create_engine`: how connections are kept."""
        return {}

    def is_private(self, url: sa.URL) -> bool:
        """Return whether the database exists only in one connection of this process."""
        return False

    def is_missing(self, url: sa.URL) -> bool:
        """Return whether the database does not exist yet; the first write creates it."""
        return False

    def identity(self, url: sa.URL) -> str | None:
        """Return what tells it from others of this URL; None if no other process reaches it."""
        return ""

    def before_connect(self, url: sa.URL, *, write: bool) -> None:
        """Make what a transaction needs that writes; else refuse by an `OSError` what is not there.

        Before a transaction that writes, and before a new connection is made.
        """

    def file_state(self, url: sa.URL) -> tuple[object, ...]:
        """Return which file this is, if it is one, and then what changes when it is written."""
        return ()

    def keeps(self, url: sa.URL, *, failed: bool) -> bool:
        """Return whether a connection may be kept after a transaction."""
        return True

    def prepare(self, connection: Any) -> None:
        """Set up a new connection of the driver."""

    def cursor(self, connection: Any, *, is_large: bool = False) -> Any:
        """Return a cursor for many rows of our tables."""
        return connection.cursor()

    def quote(self, name: str) -> str:
        """Return an identifier of ours in quotes; nothing else puts one into a statement.

        Raises:
            CorruptData: It is not one that this package makes.
        """
        return quoted(name, self.quote_mark)

    def quote_foreign(self, name: str) -> str:
        """Return an identifier of a user in quotes."""
        mark = self.quote_mark
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def schema(self, connection: sa.Connection) -> str | None:
        """Return the schema of our tables: fixed once a session is open; None if there are none.

        Transactions find it in the ``info`` of their connection, by the key `SCHEMA`.
        """
        return None

    def view_statements(self, view: str, select: str) -> Sequence[str]:
        """Return statements that make a view, in the place of one that there is.

        Args:
            view: Its quoted name.
            select: What it selects.
        """
        return (f"CREATE OR REPLACE VIEW {view} AS {select}",)

    def rights(self, connection: sa.Connection, table: str) -> Sequence[Right]:
        """Return what a table or view has of owner, comment and grants, if it loses them anew."""
        return ()

    def view_columns(self, connection: sa.Connection, view: str) -> Sequence[str]:
        """Return the columns of a view in their order, where what hangs on it holds them fast."""
        return ()

    def view_texts(self, connection: sa.Connection) -> Mapping[str, str]:
        """Return the texts of all views by name, where what they read can be taken from them."""
        return {}

    def relations(self, connection: sa.Connection, names: Collection[str]) -> set[str]:
        """Return the names that are in use by tables, or by what shares their namespace."""
        inspector = sa.inspect(connection)
        return {*inspector.get_table_names(), *inspector.get_view_names()} & set(names)

    def by_index(self, name: str) -> str:
        """Return what follows a table in a statement, so that one of its indexes is used."""
        return ""

    def indexes(self, connection: sa.Connection, table: str) -> set[str]:
        """Return the names of the indexes of a table."""
        return {str(index["name"]) for index in sa.inspect(connection).get_indexes(table)}

    def drop_index(self, name: str, table: str) -> str:
        """Return the statement that drops an index of a table."""
        return f"DROP INDEX {self.quote(name)}"

    def leave_room(self, table: str) -> Sequence[str]:
        """Return statements that give a table the `rewritten_options` of a new one."""
        return ()

    def change_key(
        self, connection: sa.Connection, table: str, key: Sequence[str]
    ) -> Sequence[str]:
        """Return statements that make other columns the key of a table, where `alters_keys`."""
        return ()

    def columns_left(self, connection: sa.Connection, table: str) -> int:
        """Return how many more columns a table can ever get."""
        return self.max_columns

    def dependents(self, connection: sa.Connection, table: str) -> list[Dependent]:
        """Return what would be lost with a table, or would keep it from being dropped."""
        return []

    def named(self, connection: sa.Connection, table: str) -> list[str]:
        """Return what of a user's goes by the name of a table, and not with it to another name."""
        return []

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Start a transaction in which all statements see one state of the database."""

    def begin_reading(self, connection: sa.Connection, table: str | None) -> bool:
        """Start a transaction that reads; return whether a table is there, if that matters.

        It is kept as it is where a state of the rows does not come with that of the columns.
        """
        self.begin(connection, write=False)
        return True

    def begin_query(self, connection: sa.Connection) -> None:
        """Start a transaction for one statement of a user."""
        self.begin(connection, write=False)

    def check_statement(self, connection: sa.Connection, sql: str) -> None:
        """Refuse a user's text without parameters that holds several statements.

        Raises:
            Exception: The driver's own; it would execute them all.
        """

    def origins(
        self,
        connection: sa.Connection,
        cursor: Any,
        sql: str,
        are_whole: Callable[[Collection[str]], Collection[str]],
    ) -> Origins:
        """Return what the columns of a result are; nothing where the database does not tell.

        Args:
            connection: SQLAlchemy's, in the transaction of the statement.
            cursor: The driver's, which has the result.
            sql: The statement, in which parameters are NULL.
            are_whole: Returns those of some views whose columns are origins themselves.
        """
        return ()

    def check_text(self, sql: str) -> None:
        """Refuse a user's text that would do what no transaction undoes, such as write a file.

        Raises:
            QueryFailed: It would.
        """

    def idle_limit(self, connection: sa.Connection) -> tuple[str, float] | None:
        """Return after how many seconds the server ends a transaction that waits for its client.

        With the name of the setting; None if it never does.
        """
        return None

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

    def rekey(self, connection: sa.Connection, table: str) -> Sequence[str]:
        """Return statements that give the key of a table of format 1 its present name."""
        return ()

    def late_key(self, table: str, column: str) -> str:
        """Return the statement that makes a column of a filled table its primary key.

        Empty if the table was created with its key.
        """
        return ""

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Return the bytes of tables and their indexes in bounded time, those that are known."""
        return {}

    def rename(self, moves: Sequence[tuple[str, str]]) -> Sequence[str]:
        """Return statements that rename tables, in their order: quoted names, old and new.

        Needed only where a statement that changes a table commits.
        """
        return [f"ALTER TABLE {old} RENAME TO {new}" for old, new in moves]

    def retype(self, table: str, column: str, kind: Kind, *, is_empty: bool) -> Sequence[str]:
        """Return statements that give a column another kind.

        Args:
            table: Quoted name of the table.
            column: Quoted name of the column.
            kind: The new kind: float, from int, if there are values.
            is_empty: Whether its values are to be forgotten: all are in the residual.
        """
        raise NotImplementedError

    def insert(self, cursor: Any, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert many rows, given by their columns."""
        names = ", ".join(map(self.quote, kinds))
        marks = ", ".join([self.placeholder] * len(kinds))
        sql = f"INSERT INTO {self.quote(table)} ({names}) VALUES ({marks})"
        cursor.executemany(sql, list(zip(*columns, strict=True)))

    def update(
        self,
        cursor: Any,
        table: str,
        kinds: Mapping[str, Kind],
        keys: Mapping[str, Kind],
        columns: Columns,
    ) -> int | None:
        """Update many rows, given by columns: the new values, then the keys of each.

        Returns:
            How many rows were found, where `counts_updates`.
        """
        values = ", ".join(f"{self.quote(name)} = {self.placeholder}" for name in kinds)
        condition = " AND ".join(f"{self.quote(name)} = {self.placeholder}" for name in keys)
        sql = f"UPDATE {self.quote(table)} SET {values} WHERE {condition}"
        cursor.executemany(sql, zip(*columns, strict=True))
        found: int = cursor.rowcount
        return found

    def message(self, error: BaseException) -> str:
        """Return what the database says in an error of the driver."""
        return str(error)

    def quotes_values(self, error: BaseException) -> bool:
        """Return whether the message of an error may quote a value, not only names."""
        return False

    def trouble(self, error: BaseException) -> Trouble:
        """Return what an error of the driver means."""
        raise NotImplementedError
