"""How the tables are reached: the part of `Store` that all others are built upon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.errors import ExperimentNotFound, StorageUnavailable
from mltraq_prefect.storage.formats import schema
from mltraq_prefect.storage.formats.schema import check_version
from mltraq_prefect.storage.reading import reader
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.tables import experiments_table, run_tables
from mltraq_prefect.storage.tables.experiments_table import Entry
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

    def check_for(self, name: str) -> None:
        """Do what `check` does where there may be an experiment of a name; make no tables else.

        Raises:
            ExperimentNotFound: The database is empty.
        """
        self._refuse_empty(name)
        self.check()

    def _refuse_empty(self, missing: str | None) -> None:
        if not self._exists():
            raise ExperimentNotFound(
                f"there is no experiment {missing!r} in the database {self.url}: it is empty"
            )

    def require(self, *names: str) -> None:
        """Refuse names that no experiment has.

        Raises:
            ExperimentNotFound: There is none of a name; with the name that resembles it.
        """
        for name in names:
            self._reading(partial(reader.stored_entry, name=name), missing=name)

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
        if not self._is_ready:
            self._refuse_empty(missing)
        table = None if missing is None else table_name(missing)
        try:
            return self._database.retry(lambda: self._make_once(select, table))
        except StorageUnavailable:
            if self._database.is_missing():  # somebody has deleted it
                self._refuse_empty(missing)
            raise

    def _make_once(self, select: Callable[[Transaction], Callable[[], T]], table: str | None) -> T:
        with self._database.reading(table) as transaction:
            make = select(transaction)
        return uncollected(make)

    @contextmanager
    def _locked(
        self, name: str, id_experiment: str | None = None
    ) -> Iterator[tuple[Transaction, Entry]]:
        """A transaction in which nobody else writes the experiment, and the experiment."""
        with self._database.writing(table_name(name)) as transaction:
            check_version(transaction, self._database)
            found = experiments_table.find(transaction, name)
            entry = run_tables.recover(transaction, table_name(name), found)
            entry = entry or reader.stored_entry(transaction, name)
            if id_experiment not in (None, entry.id_experiment):
                raise ExperimentNotFound(
                    f"experiment {name!r} has been replaced since it was loaded; load it again"
                )
            yield transaction, entry


def _done(value: T) -> Callable[[], T]:
    return lambda: value
