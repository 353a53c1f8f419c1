"""The database of another tracker: read only, by SQL alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mltraq_prefect.errors import StorageUnavailable
from mltraq_prefect.storage.sql import urls
from mltraq_prefect.storage.sql.dialects.others import other
from mltraq_prefect.texts import first_line

ROWS_AT_ONCE = 10_000

RUNS_AT_ONCE, POINTS_AT_ONCE = 500, 100_000
"""Runs, and values of their series, that are read together at most."""


class Foreign:
    """An open database; `opened` makes it.

    Attributes:
        url: Its URL without secrets.
        file: Its file, if it is one.
        tables: Names of the columns of each table, with their types in upper case.
    """

    def __init__(self, connection: sa.Connection, url: str, file: Path | None) -> None:
        self._connection = connection
        self.url = url
        self.file = file
        inspector = sa.inspect(connection)
        self.tables: dict[str, dict[str, str]] = {
            table: {own["name"]: own["type"].__visit_name__ for own in inspector.get_columns(table)}
            for table in inspector.get_table_names()
        }

    def has(self, table: str, *columns: str) -> bool:
        """Return whether there is a table with some columns."""
        return table in self.tables and set(columns) <= self.tables[table].keys()

    def rows(
        self,
        table: str,
        columns: Sequence[str],
        where: tuple[str, Any] | None = None,
        order: Sequence[str] = (),
        at_once: int = ROWS_AT_ONCE,
    ) -> Iterator[tuple[Any, ...]]:
        """Yield rows of a table; a column that it does not have is None.

        Args:
            table: Its name; if there is none, there are no rows.
            columns: The columns to read.
            where: A column, and the value that it has in these rows; a list of values.
            order: The columns that say their order.
            at_once: How many are in memory.
        """
        if table not in self.tables:
            return
        there = self.tables[table]
        wanted = [sa.column(c) if c in there else sa.null().label(c) for c in columns]
        select = sa.select(*wanted).select_from(sa.table(table))
        if where is not None:
            name, value = where
            is_list = isinstance(value, list)
            select = select.where(
                sa.column(name).in_(value) if is_list else sa.column(name) == value
            )
        select = select.order_by(*[sa.column(name) for name in order])
        for some in self._connection.execute(select).yield_per(at_once).partitions():
            yield from map(tuple, some)

    def batches(
        self, rows: Sequence[tuple[Any, ...]], table: str, column: str
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Divide rows, so that not too much of another table belongs to those of a batch.

        Args:
            rows: The rows; their first cell identifies them.
            table: The other table.
            column: Its column that has what identifies them.
        """
        for start in range(0, len(rows), RUNS_AT_ONCE):
            some = rows[start : start + RUNS_AT_ONCE]
            counts = self._counts(table, column, [row[0] for row in some])
            batch: list[tuple[Any, ...]] = []
            held = 0
            for row in some:
                own = counts.get(row[0], 0)
                if batch and held + own > POINTS_AT_ONCE:
                    yield batch
                    batch, held = [], 0
                batch.append(row)
                held += own
            yield batch

    def _counts(self, table: str, column: str, values: list[Any]) -> dict[Any, int]:
        """Return how many rows of a table have each of some values in a column."""
        if not self.has(table, column):
            return {}
        own: sa.ColumnClause[Any] = sa.column(column)
        select = sa.select(own, sa.func.count()).select_from(sa.table(table))
        rows = self._connection.execute(select.where(own.in_(values)).group_by(own))
        return dict(rows.tuples().all())

    def count(self, table: str) -> int:
        """Return the number of rows of a table; 0 if there is none."""
        if table not in self.tables:
            return 0
        select = sa.select(sa.func.count()).select_from(sa.table(table))
        return int(self._connection.execute(select).scalar_one())


@contextmanager
def opened(source: str) -> Iterator[Foreign]:
    """Open the database of another tracker; close it at the end.

    Args:
        source: Its URL, or the path of a SQLite file.

    Raises:
        InvalidInput: It is no database, or no such file.
        StorageUnavailable: It cannot be reached, or read.
    """
    found = other(source)
    secrets = urls.secrets_of(found.url)
    engine = sa.create_engine(found.url, hide_parameters=True, poolclass=sa.pool.NullPool)
    sa.event.listen(engine, "connect", lambda connection, _record: found.prepare(connection))
    try:
        with engine.connect() as plain:
            connection = plain.execution_options(**found.options)
            yield Foreign(connection, found.shown, found.file)
    except sa.exc.DBAPIError as error:
        reason = first_line(error.orig, "no reason given")
        for secret in secrets:
            reason = reason.replace(secret, "***")
        raise StorageUnavailable(f"the database {found.shown} cannot be read: {reason}") from None
    finally:
        engine.dispose()
