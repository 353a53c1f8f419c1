"""What a dialect declares, and how most databases behave.

A dialect declares the SQL types of the kinds of columns, which values they change, how rows are
written in bulk, how a transaction begins and what is locked in it, and what its errors mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import sqlalchemy as sa

from mltraq_prefect.storage.values.kinds import Kind
from mltraq_prefect.storage.values.names import checked_identifier

Trouble = Literal[
    "unavailable",
    "conflict",
    "moved",
    "timeout",
    "read-only",
    "unreadable",
    "full",
    "encoding",
    "other",
]
"""What a driver's error means.

``timeout`` is a limit of the server, or of a wait for others, that has passed; ``encoding`` a
character that the database cannot hold. After
``unavailable``, ``conflict`` and ``moved`` (a table or column that was there a moment ago is not
there now: another process is changing it) a transaction is repeated.
"""

Columns = Sequence[Sequence[Any]]
"""The cells of many rows, a sequence a column."""

SCHEMA = "mltraq schema"

LOCK_SECONDS = 60
"""How long a writer waits for another one."""


class Dependent(NamedTuple):
    """Something of a user's that hangs on a table.

    Attributes:
        what: What it is and what it is called, such as ``view public.best``.
        column: The column on which it hangs; None if it is the table.
    """

    what: str
    column: str | None


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a kind of column is in one database.

    Attributes:
        sql: The type, as statements name it.
        width: Bytes that a cell takes in the page of its row at most, where that has a limit.
        adapt: Makes what the driver takes for natural cells of a column; None if it takes them.
        restore: Makes a natural cell of what the driver gives; None if it gives that.
    """

    sql: str
    width: int = 1
    adapt: Callable[[Sequence[Any]], list[Any]] | None = None
    restore: Callable[[Any], Any] | None = None


class Dialect:
    """Behaviour that most databases share.

    Attributes:
        types: The type of each kind of column.
        driver: The only driver that is supported; SQLAlchemy's own choice if empty.
        example: A URL of such a database, for messages.
        quote_mark: What encloses an identifier.
        argument_types: How the driver's arguments that a URL can have are made of text.
        keeps_attached: Whether views and grants hang on a table and not on its name, so that a
            table of another shape is not made anew but altered.
        savepoints: Whether a part of a transaction can be undone.
        binds_lists: Whether a parameter can be a list, which SQL sees as an array.
        byte_length: The function of SQL that counts the bytes of a binary value.
        table_options: What ends the statement that makes a table.
        ledger_options: What follows that for the ledger: its rows are short, each is written
            several times, and they are read by experiment.
        has_all_rows: Whether its driver holds all rows of a query that has run, so that they can be
            taken from the cursor when the transaction has ended.
        steps_block: The steps of a run are padded by blanks to a multiple of so many characters,
            where a row that has grown costs more than one that is written in its place.
    """

    name: ClassVar[str]
    driver: ClassVar[str] = ""
    example: ClassVar[str] = ""
    quote_mark: ClassVar[str] = '"'
    argument_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {}
    keeps_attached: ClassVar[bool] = False
    extra: ClassVar[str] = ""
    types: ClassVar[Mapping[Kind, ColumnType]]
    max_columns: ClassVar[int]
    max_row: ClassVar[int] = 2**40
    placeholder: ClassVar[str] = "%s"
    table_options: ClassVar[str] = ""
    ledger_options: ClassVar[str] = ""
    steps_block: ClassVar[int] = 1
    nan: ClassVar[bool] = True
    infinity: ClassVar[bool] = True
    negative_zero: ClassVar[bool] = True
    nul: ClassVar[bool] = True
    savepoints: ClassVar[bool] = True
    binds_lists: ClassVar[bool] = False
    ddl_commits: ClassVar[bool] = False
    inline_bytes: ClassVar[int | None] = None
    byte_length: ClassVar[str] = "length"
    reconnects: ClassVar[bool] = True
    has_all_rows: ClassVar[bool] = False
    limit_advice: ClassVar[str] = ""

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
        return {"pool_pre_ping": True}

    def is_private(self, url: sa.URL) -> bool:
        """Return whether the database is one connection of this process, and ends with it."""
        return False

    def is_missing(self, url: sa.URL) -> bool:
        """Return whether the database is not there, and is made when something is written."""
        return False

    def before_connect(self, url: sa.URL, *, write: bool) -> None:
        """Do what has to be done before each connection.

        Raises:
            OSError: There is nothing to connect to.
        """

    def prepare(self, connection: Any) -> None:
        """Set up a new connection of the driver."""

    def cursor(self, connection: Any) -> Any:
        """Return a cursor for many rows of tables of this package."""
        return connection.cursor()

    def quote(self, name: str) -> str:
        """Quote an identifier of ours: the only way in which one becomes part of a statement.

        Raises:
            CorruptData: It is not one that this package makes.
        """
        return f"{self.quote_mark}{checked_identifier(name)}{self.quote_mark}"

    def quote_foreign(self, name: str) -> str:
        """Quote an identifier that a user has made."""
        mark = self.quote_mark
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def schema(self, connection: sa.Connection) -> str | None:
        """Return the schema of our tables: fixed once a session is open; None if there are none.

        Transactions find it in the ``info`` of their connection, by the key `SCHEMA`.
        """
        return None

    def same_text(self, column: str) -> str:
        """Return the condition that a text is a parameter, blanks at its end included."""
        return f"{column} = ?"

    def relations(self, connection: sa.Connection, names: Collection[str]) -> set[str]:
        """Return which of some names tables, or whatever shares their namespace, have."""
        inspector = sa.inspect(connection)
        return {*inspector.get_table_names(), *inspector.get_view_names()} & set(names)

    def columns_left(self, connection: sa.Connection, table: str) -> int:
        """Return how many columns more a table can get in its life."""
        return self.max_columns

    def dependents(self, connection: sa.Connection, table: str) -> list[Dependent]:
        """Return what would be lost with a table, or would keep it from being dropped."""
        return []

    def begin(self, connection: sa.Connection, *, write: bool) -> None:
        """Start a transaction in which all statements see one state of the database."""

    def hold(self, connection: sa.Connection, table: str) -> bool:
        """Keep a table as it is until the end of a reading transaction that has just begun.

        For databases in which a state of the rows does not come with that of the columns.

        Returns:
            Whether the table is there, as far as that matters.
        """
        return True

    def begin_query(self, connection: sa.Connection) -> None:
        """Start a transaction for one statement, of which nothing is known."""
        self.begin(connection, write=False)

    def check_statement(self, connection: sa.Connection, sql: str) -> None:
        """Refuse a user's text without parameters that holds several statements.

        Raises:
            Exception: The driver's own; it would execute them all.
        """

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
        """Return what makes a column of a filled table its key; nothing if it had it before."""
        return ""

    def sizes(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """Return the bytes that tables take with their indexes; without those not known."""
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
    ) -> None:
        """Update many rows, given by columns: the new values, then the keys of each."""
        values = ", ".join(f"{self.quote(name)} = {self.placeholder}" for name in kinds)
        condition = " AND ".join(f"{self.quote(name)} = {self.placeholder}" for name in keys)
        sql = f"UPDATE {self.quote(table)} SET {values} WHERE {condition}"
        cursor.executemany(sql, zip(*columns, strict=True))

    def message(self, error: BaseException) -> str:
        """Return what the database says in an error of the driver."""
        return str(error)

    def quotes_values(self, error: BaseException) -> bool:
        """Return whether what it quotes there may be a value, and not a name."""
        return False

    def trouble(self, error: BaseException) -> Trouble:
        """Say what an error of the driver means."""
        raise NotImplementedError


def as_texts(cells: Sequence[Any]) -> list[Any]:
    """Return cells as `str` shows them; None as it is."""
    return [None if cell is None else str(cell) for cell in cells]
