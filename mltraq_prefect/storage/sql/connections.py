"""Connections and transactions; every driver error leaves here as one of the package's."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput, MltraqError
from mltraq_prefect.storage.sql import engines, retries, urls
from mltraq_prefect.storage.sql.dialects import SCHEMA, Trouble
from mltraq_prefect.storage.sql.messages import without_values
from mltraq_prefect.storage.sql.migrations import Migrations
from mltraq_prefect.storage.sql.transactions import DriverError, RowsMissing, Selected, Transaction
from mltraq_prefect.texts import first_line

__all__ = ["RECONNECT_SECONDS", "Database", "DriverError", "RowsMissing", "Selected", "Transaction"]

T = TypeVar("T")

RECONNECT_SECONDS = 30.0
"""How long a database that was reachable is waited for."""

MOST_KEPT = 100
"""So many databases of this process keep their file open: some systems let it have 256."""

_keeping: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """The connections to one database; safe to use from several threads.

    A database in memory is one connection, which the threads use in turn.

    Args:
        url: Its SQLAlchemy URL.
        migrations: What brings its tables to the present format.
        reconnect_seconds: How long it is waited for if it was reachable before.

    Attributes:
        discard: Called after a commit with objects that no file refers to any more.
        was_reached: Whether it was reached before: if it goes away, it is waited for.
    """

    def __init__(
        self,
        url: str,
        *,
        migrations: Migrations,
        reconnect_seconds: float = RECONNECT_SECONDS,
    ) -> None:
        parsed, self.dialect = urls.parsed(url)
        self.migrations = migrations
        self.discard: Callable[[Sequence[str]], None] = lambda _places: None
        self.url = urls.masked(url)
        self.patience = retries.Patience(reconnect_seconds, self.url)
        self.secrets = urls.secrets_of(parsed)
        self._parsed = parsed
        self._turn = threading.RLock() if self.dialect.is_private(parsed) else nullcontext()
        self._pid = os.getpid()
        self.was_reached = False
        self._has_schema = False
        self._schema: str | None = None
        self._inherited: list[sa.Pool] = []  # of a parent, whose connections nobody may close here
        self._engine = engines.engine(parsed, self.dialect)
        if not self.dialect.reconnects:  # Python complains of files that nobody has closed
            weakref.finalize(self, _close_own, self._engine, self._pid)

    def close(self) -> None:
        """Close all connections; the next use opens new ones, except to a database in memory."""
        self._engine.dispose()
        _keeping.discard(self)

    def is_missing(self) -> bool:
        """Return whether it is a file that is not there: the next `writing` makes it."""
        return self.dialect.is_missing(self._parsed)

    @property
    def whole_url(self) -> str:
        """The URL with its secrets, as it is used: nowhere to be shown."""
        return self._parsed.render_as_string(hide_password=False)

    def identity(self) -> str | None:
        """Return what tells this database from another one of the same URL; see `Dialect`."""
        return self.dialect.identity(self._parsed)

    def reading(self, table: str | None = None) -> AbstractContextManager[Transaction]:
        """A transaction that sees one state of the database.

        Args:
            table: The table of runs that it reads, if it reads one.
        """

        def begin(transaction: Transaction) -> None:
            is_there = self.dialect.begin_reading(transaction.connection, table)
            transaction.absent = None if is_there else table

        return self._transaction((), begin)

    def querying(self) -> AbstractContextManager[Transaction]:
        """A transaction for one statement of a user; what the statement changes is undone."""
        return self._transaction((), lambda own: self.dialect.begin_query(own.connection))

    def updating(self) -> AbstractContextManager[Transaction]:
        """A transaction that changes rows which it locks itself; commits unless it raises."""
        return self._transaction(())

    @contextmanager
    def writing(self, *locks: str) -> Iterator[Transaction]:
        """A transaction that no other with one of its locks overlaps; commits unless it raises."""
        with self._transaction(sorted(locks)) as transaction:
            yield transaction
        if transaction.abandoned:
            self.discard(transaction.abandoned)

    def retry(self, operation: Callable[[], T]) -> T:
        """Run an operation, which must be idempotent, until no conflict or lost connection ends it.

        A database that was reached before is waited for, for a bounded time.

        Raises:
            StoreError: What has ended it for good.
            CorruptData: Rows of runs are missing, and no other process is replacing them.
        """
        return retries.retry(operation, self._may_repeat, self.patience)

    def _may_repeat(self, trouble: Trouble) -> bool:
        is_local = trouble == "unavailable" and not self.dialect.reconnects
        return self.was_reached and not is_local

    @contextmanager
    def _transaction(
        self, locks: Sequence[str], begin: Callable[[Transaction], None] | None = None
    ) -> Iterator[Transaction]:
        """A transaction that begins in some way to read, or with locks to write.

        It is the frame of every read of a few runs: what it calls is what such a read costs.
        """
        self._after_fork()
        with self._turn:
            try:
                if begin is None:
                    self.dialect.before_connect(self._parsed, write=True)
                with self._connect() as connection:
                    yield from self._connected(connection, locks, begin)
            except MltraqError:
                raise
            except OSError as error:
                own: Trouble = "timeout" if isinstance(error, TimeoutError) else "unavailable"
                raise DriverError(own, self.scrub(str(error))) from None
            except self._driver_errors as error:
                raise self._translated(error, is_reading=begin is not None) from None

    def _connected(
        self,
        connection: sa.Connection,
        locks: Sequence[str],
        begin: Callable[[Transaction], None] | None,
    ) -> Iterator[Transaction]:
        """Yield a transaction; keep its connection then, unless it should be closed."""
        failed = True
        self.was_reached = True
        try:
            self._fix_schema(connection)
            transaction = Transaction(connection, self.dialect)
            try:
                if begin is None:
                    yield from self._writing_within(transaction, locks)
                else:
                    begin(transaction)
                    yield transaction  # who closes the connection undoes it
            except self._driver_errors as error:
                self._drop_lost(connection, error, transaction.idle())
                raise
            failed = False
        finally:
            if not connection.invalidated and not self._keeps(connection, failed=failed):
                connection.detach()

    def _keeps(self, connection: sa.Connection, *, failed: bool) -> bool:
        state = self.dialect.file_state(self._parsed)
        was_kept = bool(state) and engines.leave(connection, state)  # nothing was written since
        if (failed or not was_kept) and not self.dialect.keeps(self._parsed, failed=failed):
            return False
        if state and self not in _keeping:
            if len(_keeping) >= MOST_KEPT:
                return False
            _keeping.add(self)
        return True

    def _drop_lost(self, connection: sa.Connection, error: BaseException, idle: float) -> None:
        """Drop a connection if it is lost, whatever was said of it: to undo the transaction tells.

        Args:
            connection: The connection.
            error: The driver's error.
            idle: How many seconds the server has waited for a statement.
        """
        try:
            connection.rollback()
        except self._driver_errors as lost:
            error = lost
        if self._trouble(error) == "unavailable":
            connection.invalidate()
            self._refuse_idle(idle)

    def _refuse_idle(self, idle: float) -> None:
        """Tell a connection that the server has ended for being idle from one that is lost."""
        try:
            with self._engine.connect() as connection:
                limit = self.dialect.idle_limit(connection)
        except self._driver_errors:
            return
        if limit is not None and idle >= limit[1]:
            raise DriverError(
                "timeout",
                f"{limit[0]} is {limit[1]:g} s, and the server waited {idle:.1f} s for the next "
                "statement of a transaction; raise it for this user",
            ) from None

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

    def _writing_within(
        self, transaction: Transaction, locks: Sequence[str]
    ) -> Iterator[Transaction]:
        connection = transaction.connection
        try:
            with connection.begin():
                self.dialect.begin(connection, write=True)
                for lock in locks:  # in the same order in each process
                    self.dialect.lock(connection, lock)
                yield transaction
        finally:
            for lock in locks:
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

    def _translated(self, error: BaseException, *, is_reading: bool) -> DriverError:
        """Return what an error of the driver means."""
        found = self._driver_error(getattr(error, "orig", None) or error)
        if is_reading and found.trouble in ("read-only", "forbidden"):
            found.trouble = "unreadable"
        return found

    def _driver_error(self, error: BaseException) -> DriverError:
        whole = self.dialect.message(error)
        shown = without_values(whole) if self.dialect.quotes_values(error) else whole
        return DriverError(self.dialect.trouble(error), self.scrub(shown), whole)

    def _trouble(self, error: BaseException) -> Trouble:
        return self.dialect.trouble(getattr(error, "orig", None) or error)

    def scrub(self, message: str) -> str:
        """Return the first line of a driver's message, without secrets of the URL."""
        line = first_line(message, "no reason given")
        for secret in self.secrets:
            line = line.replace(secret, "***")
        return line

    def _after_fork(self) -> None:
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._inherited.append(self._engine.pool)
            self._engine.dispose(close=False)


def _close_own(engine: sa.Engine, pid: int) -> None:
    """Close connections, unless they are those of a parent process."""
    if os.getpid() == pid:
        engine.dispose()
