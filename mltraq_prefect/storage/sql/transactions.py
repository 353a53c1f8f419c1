"""One open transaction, and what a driver's error in it means."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any, TypeVar

import sqlalchemy as sa

from mltraq_prefect.errors import StoreError
from mltraq_prefect.storage.sql.dialects import SCHEMA, Columns, Dependent, Dialect, Trouble
from mltraq_prefect.storage.values.columns import Maker, gathered
from mltraq_prefect.storage.values.kinds import Kind

T = TypeVar("T")

ROWS_AT_ONCE = 500
"""Rows that are fetched and turned into columns at once: few enough for the processor's cache."""

LARGE = 10_000
"""Of so many rows a driver never has all in memory."""


class DriverError(StoreError):
    """A driver's error inside a transaction, with what it means; never leaves the package.

    Attributes:
        trouble: What it means.
        whole: What the database says, perhaps with values.
    """

    def __init__(self, trouble: Trouble, message: str, whole: str | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.whole = message if whole is None else whole


class RowsMissing(DriverError):
    """Runs of the ledger have no rows in their table.

    Either the table was replaced while it was read, which another try tells, or somebody has
    deleted them.

    Attributes:
        found: Name of the experiment, what is wrong, and the revision in which it is.
    """

    def __init__(self, experiment: str, reason: str, revision: int) -> None:
        super().__init__("moved", reason)
        self.found = experiment, reason, revision


Selected = Callable[[], list[Sequence[Any]]]
"""Makes the columns of what was selected; once."""


class Transaction:
    """One open transaction. The SQL it is given marks parameters by ``?``.

    Attributes:
        absent: A table that was not there when the transaction began.
        abandoned: Objects of the location of files that no file refers to after the commit.
    """

    absent: str | None = None

    def __init__(self, connection: sa.Connection, dialect: Dialect) -> None:
        self.abandoned: list[str] = []
        self.connection = connection
        self.dialect = dialect
        self.quote = dialect.quote
        self._idle, self._since = 0.0, time.monotonic()

    def idle(self) -> float:
        """Return how many seconds the server has waited for the next statement."""
        return max(self._idle, time.monotonic() - self._since)

    def _executed(self, execute: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Return what a call returns that sends a statement."""
        self._idle = time.monotonic() - self._since
        found = execute(*arguments, **named)
        self._since = time.monotonic()
        return found

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        cursor = self._cursor()
        self._executed(cursor.execute, self._marked(sql), tuple(parameters))
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return found if isinstance(found, list) else list(found)

    def select(
        self, sql: str, makers: Sequence[Maker], parameters: Sequence[Any] = ()
    ) -> list[Sequence[Any]]:
        """Return the rows of a query by columns, each made of cells that the driver gives."""
        return self.selected(sql, makers, parameters)()

    def selected(
        self,
        sql: str,
        makers: Sequence[Maker],
        parameters: Sequence[Any] = (),
        *,
        is_marked: bool = False,
        most: int | None = None,
    ) -> Selected:
        """Run a query; return what makes its columns, when the transaction has ended, too.

        The drivers of servers have all rows when a query has run. The transaction need not wait
        for what is made of them, unless they are so many that they come some at a time.

        Args:
            sql: The query.
            makers: What makes the cells of each column.
            parameters: Its parameters.
            is_marked: Whether it is as the driver takes it already.
            most: How many rows there can be, if that is known.
        """
        is_large = most is not None and most >= LARGE
        cursor = self.dialect.cursor(self.connection.connection, is_large=is_large)
        text = sql if is_marked else self._marked(sql)

        def columns() -> list[Sequence[Any]]:
            with closing(cursor):
                return gathered(_chunks(cursor), makers)

        if self.dialect.has_all_rows and not is_large:
            self._executed(cursor.execute, text, tuple(parameters))
            return columns
        with closing(cursor):  # whatever happens: the transaction cannot end before
            self._executed(cursor.execute, text, tuple(parameters))
            found = self._executed(columns)
        return lambda: found

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement that returns nothing."""
        execute = self.connection.exec_driver_sql
        self._executed(execute, self._marked(sql), tuple(parameters))

    def allows(self, statements: Sequence[str], *, keep: bool = True) -> bool:
        """Run statements that change a table, or none of them if the database refuses one.

        Where such a statement commits, or there are no savepoints, an error is raised as by any
        other.

        Args:
            statements: What to run.
            keep: Whether what they change shall stay.
        """
        if self.dialect.ddl_commits or not self.dialect.savepoints:
            for statement in statements:
                self.run(statement)
            return True
        try:
            with self.connection.begin_nested() as attempt:
                for statement in statements:
                    self.run(statement)
                if not keep:
                    attempt.rollback()
        except sa.exc.DBAPIError as error:
            if self.dialect.trouble(error.orig or error) != "other":
                raise
            return False
        return True

    def define(self, statement: str) -> None:
        """Run a statement that has no parameters, whatever characters names in it have."""
        options = {"no_parameters": True}
        execute = self.connection.exec_driver_sql
        self._executed(execute, statement, execution_options=options)

    def permits(self, statements: Sequence[str]) -> bool:
        """Run statements that define something, or none of them if this user may not."""
        has_savepoint = self.dialect.savepoints and not self.dialect.ddl_commits
        try:
            with self.connection.begin_nested() if has_savepoint else nullcontext():
                for statement in statements:
                    self.define(statement)
        except sa.exc.DBAPIError as error:
            if self.dialect.trouble(error.orig or error) != "forbidden":
                raise
            return False
        return True

    def insert(self, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert many rows, given by their columns."""
        cursor = self._cursor()
        self._executed(self.dialect.insert, cursor, table, kinds, columns)
        cursor.close()

    def update(
        self, table: str, kinds: Mapping[str, Kind], keys: Mapping[str, Kind], columns: Columns
    ) -> int | None:
        """Update many rows, given by columns: the new values, then the keys of each.

        Returns:
            How many rows were found; None if the dialect does not count them.
        """
        cursor = self._cursor()
        found = self._executed(self.dialect.update, cursor, table, kinds, keys, columns)
        cursor.close()
        return found if self.dialect.counts_updates else None

    def has_table(self, table: str) -> bool:
        """Return whether a table, or whatever shares its namespace, has this name."""
        return bool(self.relations([table]))

    def relations(self, names: Collection[str]) -> set[str]:
        """Return which of some names tables, or whatever shares their namespace, have."""
        return self.dialect.relations(self.connection, names) if names else set()

    def dependents(self, table: str) -> list[Dependent]:
        """Return what of a user's hangs on a table."""
        return self.dialect.dependents(self.connection, table)

    def qualified(self, table: str) -> str:
        """Return the quoted name of a table as any statement of the user can have it."""
        schema = self.connection.info.get(SCHEMA)
        name = self.quote(table)
        return name if schema is None else f"{self.dialect.quote_foreign(schema)}.{name}"

    def columns(self, table: str) -> set[str]:
        """Return the names of the columns of a table.

        Not by reflection, which on PostgreSQL reads JSON: this connection keeps that as text.
        """
        sql = f"SELECT * FROM {self.dialect.quote(table)} WHERE 1 = 0"
        return set(self.connection.exec_driver_sql(sql).keys())

    def _cursor(self) -> Any:
        return self.connection.connection.cursor()

    def _marked(self, sql: str) -> str:
        return sql.replace("?", self.dialect.placeholder)


def _chunks(cursor: Any) -> Iterator[Sequence[tuple[Any, ...]]]:
    rows = cursor.fetchmany(ROWS_AT_ONCE)
    while rows:
        yield rows
        rows = cursor.fetchmany(ROWS_AT_ONCE) if len(rows) == ROWS_AT_ONCE else ()
