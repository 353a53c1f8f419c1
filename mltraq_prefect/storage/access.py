"""How the tables are reached: the part of `Store` that all others are built upon."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.errors import ExperimentNotFound
from mltraq_prefect.storage.sql import schema
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.values.names import table_name

T = TypeVar("T")


class Access:
    """Transactions on the tables of a database, which are made, or migrated, when it is needed.

    Args:
        database: The database.

    Attributes:
        url: Its URL without secrets.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_ready = False
        self.url = database.url

    def check(self) -> None:
        """Connect; make the fixed tables if they are missing, or bring them to the present format.

        Raises:
            StorageUnavailable: The database cannot be reached.
            ForeignTable: A table has the name of one of ours, but another shape.
            NewerFormat: A later version of the package wrote the database.
            ReadOnlyStore: Tables are missing or of a format that is too old, and it cannot be
                written.
        """
        if not self._is_ready or self._database.is_missing():
            self._database.retry(self._check)

    def _check(self) -> None:
        if not schema.exists(self._database):
            schema.create(self._database)
        self._is_ready = True

    def _exists(self) -> bool:
        if not self._is_ready or self._database.is_missing():
            self._is_ready = self._database.retry(lambda: schema.exists(self._database))
        return self._is_ready

    def _reading(self, read: Callable[[Transaction], T], missing: str | None = None) -> T:
        return self.making(lambda transaction: _done(read(transaction)), missing)

    def making(
        self, select: Callable[[Transaction], Callable[[], T]], missing: str | None = None
    ) -> T:
        """Select in a transaction, and make what is asked for when that has ended.

        Args:
            select: What selects it.
            missing: The experiment that it is of, if it is of one, which must be there.
        """
        if not self._exists():
            raise ExperimentNotFound(
                f"there is no experiment {missing!r} in the database {self.url}: it is empty"
            )
        table = None if missing is None else table_name(missing)
        return self._database.retry(lambda: self._make_once(select, table))

    def _make_once(self, select: Callable[[Transaction], Callable[[], T]], table: str | None) -> T:
        with self._database.reading(table) as transaction:
            make = select(transaction)
        return uncollected(make)


def _done(value: T) -> Callable[[], T]:
    return lambda: value
