"""Connections and transactions; every driver error leaves here as one of the package's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import sqlalchemy as sa

from mltraq_prefect.errors import (
    InvalidInput,
    MltraqError,
    ReadOnlyStore,
    StorageFull,
    StorageUnavailable,
    StoreError,
)
from mltraq_prefect.storage import urls
from mltraq_prefect.storage.columns import Maker, gathered
from mltraq_prefect.storage.dialects import SCHEMA, Columns, Dependent, Dialect, Trouble
from mltraq_prefect.storage.layout import Kind
from mltraq_prefect.storage.messages import without_values
from mltraq_prefect.storage.migrations import MIGRATIONS, Migrations

T = TypeVar("T")

RECONNECT_SECONDS = 30.0
"""How long a database that was reachable is waited for."""

ROWS_AT_ONCE = 500
"""So many rows are fetched and turned into columns at once: they stay in the processor's cache."""

REPEATED: frozenset[Trouble] = frozenset(("unavailable", "conflict", "moved"))
"""After what an operation is tried again."""


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


Selected = Callable[[], list[Sequence[Any]]]
"""Makes the columns of what was selected; once."""


class Transaction:
    """One open transaction. The SQL it is given marks parameters by ``?``."""

    def __init__(self, connection: sa.Connection, dialect: Dialect) -> None:
        self.connection = connection
        self.dialect = dialect
        self.quote = dialect.quote

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        cursor = self._cursor()
        cursor.execute(self._marked(sql), tuple(parameters))
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return list(found)

    def select(
        self, sql: str, makers: Sequence[Maker], parameters: Sequence[Any] = ()
    ) -> list[Sequence[Any]]:
        """Return the rows of a query by columns, each made of cells that the driver gives."""
        return self.selected(sql, makers, parameters)()

    def selected(
        self, sql: str, makers: Sequence[Maker], parameters: Sequence[Any] = ()
    ) -> Selected:
        """Run a query; return what makes its columns, when the transaction has ended, too.

        The drivers of servers have all rows when a query has run. The transaction need not wait
        for what is made of them.
        """
        cursor = self.dialect.cursor(self.connection.connection)
        cursor.execute(self._marked(sql), tuple(parameters))

        def columns() -> list[Sequence[Any]]:
            found = gathered(_chunks(cursor), makers)
            cursor.close()
            return found

        if self.dialect.has_all_rows:
            return columns
        found = columns()
        return lambda: found

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement that returns nothing."""
        self.connection.exec_driver_sql(self._marked(sql), tuple(parameters))

    def allows(self, statements: Sequence[str], *, keep: bool = True) -> bool:
        """Run statements that change a table, or none of them if the database refuses one.

        Where such a statement commits, an error is raised as by any other.

        Args:
            statements: What to run.
            keep: Whether what they change shall stay.
        """
        if self.dialect.ddl_commits:
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

    def insert(self, table: str, kinds: Mapping[str, Kind], columns: Columns) -> None:
        """Insert many rows, given by their columns."""
        cursor = self._cursor()
        self.dialect.insert(cursor, table, kinds, columns)
        cursor.close()

    def update(
        self, table: str, kinds: Mapping[str, Kind], keys: Mapping[str, Kind], columns: Columns
    ) -> None:
        """Update many rows, given by columns: the new values, then the keys of each."""
        cursor = self._cursor()
        self.dialect.update(cursor, table, kinds, keys, columns)
        cursor.close()

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
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield rows


class Database:
    """The connections to one database; safe to use from several threads.

    A database in memory is one connection, which the threads use in turn.

    Args:
        url: Its SQLAlchemy URL.
        reconnect_seconds: How long it is waited for if it was reachable before.
        migrations: What brings its tables to the present format.
    """

    def __init__(
        self,
        url: str,
        *,
        reconnect_seconds: float = RECONNECT_SECONDS,
        migrations: Migrations = MIGRATIONS,
    ) -> None:
        parsed, self.dialect = urls.parsed(url)
        self.migrations = migrations
        self._reconnect_seconds = reconnect_seconds
        self.url = urls.masked(url)
        self._secrets = urls.secrets_of(parsed)
        self._parsed = parsed
        self._turn = threading.RLock() if self.dialect.is_private(parsed) else nullcontext()
        self._pid = os.getpid()
        self._was_reached = False
        self._has_schema = False
        self._schema: str | None = None
        self._engine = _engine(parsed, self.dialect)

    def close(self) -> None:
        """Close all connections; the next use opens new ones, except to a database in memory."""
        self._engine.dispose()

    def is_missing(self) -> bool:
        """Return whether it is a file that is not there: the next `writing` makes it."""
        return self.dialect.is_missing(self._parsed)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the database."""
        with self._transaction(None) as transaction:
            yield transaction

    @contextmanager
    def querying(self) -> Iterator[Transaction]:
        """A transaction for one statement of a user; what the statement changes is undone."""
        with self._transaction(None, begin=self.dialect.begin_query) as transaction:
            yield transaction

    @contextmanager
    def writing(self, lock: str) -> Iterator[Transaction]:
        """A transaction that no other with the same lock overlaps; commits unless it raises."""
        with self._transaction(lock) as transaction:
            yield transaction

    def retry(self, operation: Callable[[], T]) -> T:
        """Run an operation, which must be idempotent, until no conflict or lost connection ends it.

        A database that was reached before is waited for, for a bounded time.

        Raises:
            StoreError: What has ended it for good.
        """
        deadline = None
        pause = 0.05
        while True:
            try:
                return operation()
            except DriverError as error:
                if error.trouble not in REPEATED or not self._was_reached:
                    raise self._final(error) from None
                now = time.monotonic()
                deadline = now + self._reconnect_seconds if deadline is None else deadline
                local = error.trouble == "unavailable" and not self.dialect.reconnects
                if now >= deadline or local:
                    raise self._final(error) from None
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    @contextmanager
    def _transaction(
        self, lock: str | None, begin: Callable[[sa.Connection], None] | None = None
    ) -> Iterator[Transaction]:
        self._after_fork()
        with self._turn, self._translated(is_reading=lock is None):
            self.dialect.before_connect(self._parsed, write=lock is not None)
            with self._connect() as connection:
                self._was_reached = True
                self._fix_schema(connection)
                try:
                    yield from self._within(connection, lock, begin or self._begin_reading)
                except self._driver_errors as error:
                    if self._trouble(error) == "unavailable":
                        connection.invalidate()
                    raise

    def _connect(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except TypeError as error:
            raise InvalidInput(
                f"the driver refuses the options of {self.url}: {self.scrub(str(error))}"
            ) from None

    def _fix_schema(self, connection: sa.Connection) -> None:
        """Find our schema once, and tell each connection."""
        if not self._has_schema:
            self._schema = self.dialect.schema(connection)
            self._has_schema = True
            connection.rollback()
        if self._schema is not None:
            connection.info[SCHEMA] = self._schema

    def _begin_reading(self, connection: sa.Connection) -> None:
        self.dialect.begin(connection, write=False)

    def _within(
        self, connection: sa.Connection, lock: str | None, begin: Callable[[sa.Connection], None]
    ) -> Iterator[Transaction]:
        if lock is None:
            with connection.begin() as outer:
                begin(connection)
                yield Transaction(connection, self.dialect)
                outer.rollback()
            return
        try:
            with connection.begin():
                self.dialect.begin(connection, write=True)
                self.dialect.lock(connection, lock)
                yield Transaction(connection, self.dialect)
        finally:
            self._unlock(connection, lock)

    def _unlock(self, connection: sa.Connection, lock: str) -> None:
        try:
            if not connection.invalidated:
                self.dialect.unlock(connection, lock)
        except self._driver_errors:
            connection.invalidate()  # the lock goes with the connection

    @property
    def _driver_errors(self) -> tuple[type[BaseException], ...]:
        return (sa.exc.DBAPIError, self._engine.dialect.loaded_dbapi.Error)

    @contextmanager
    def _translated(self, *, is_reading: bool) -> Iterator[None]:
        try:
            yield
        except MltraqError:
            raise
        except OSError as error:
            raise DriverError("unavailable", self.scrub(str(error))) from None
        except self._driver_errors as error:
            found = self._driver_error(getattr(error, "orig", None) or error)
            if is_reading and found.trouble == "read-only":
                found.trouble = "unreadable"
            raise found from None

    def _driver_error(self, error: BaseException) -> DriverError:
        whole = self.dialect.message(error)
        shown = without_values(whole) if self.dialect.quotes_values(error) else whole
        return DriverError(self.dialect.trouble(error), self.scrub(shown), whole)

    def _trouble(self, error: BaseException) -> Trouble:
        return self.dialect.trouble(getattr(error, "orig", None) or error)

    def scrub(self, message: str) -> str:
        """Return the first line of a driver's message, without secrets of the URL."""
        line = next(iter(message.strip().splitlines()), "no reason given")
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line

    def _final(self, error: DriverError) -> StoreError:
        where, why = f"the database {self.url}", str(error)
        if error.trouble == "read-only":
            return ReadOnlyStore(f"{where} cannot be written: {why}")
        if error.trouble == "full":
            return StorageFull(f"the disk of {where} is full, and nothing was written: {why}")
        if error.trouble == "unreadable":
            return StoreError(f"{where} cannot be read: {why}; ask its owner to GRANT you SELECT")
        if error.trouble == "timeout":
            return StorageUnavailable(f"{where} was reached, but a time limit has passed: {why}")
        if error.trouble in ("unavailable", "conflict"):
            return StorageUnavailable(f"{where} cannot be reached: {why}")
        return StoreError(f"{where} refused: {why}")

    def _after_fork(self) -> None:
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._engine.dispose(close=False)


def _engine(url: sa.URL, dialect: Dialect) -> sa.Engine:
    options = dialect.engine_options(url) | {
        "connect_args": urls.arguments(url, dialect) | dialect.connect_args(url)
    }
    try:
        engine = sa.create_engine(url, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise StorageUnavailable(
            f"{dialect.name} databases need the package {error.name}; install "
            f"mltraq-prefect[{dialect.extra}]"
        ) from None
    except sa.exc.NoSuchModuleError:
        raise InvalidInput(f"SQLAlchemy has no driver {url.drivername}; name another one") from None
    sa.event.listen(engine, "connect", lambda connection, _record: dialect.prepare(connection))
    return engine
