"""Statements of users: run in a transaction of their own, and repeated when a table has moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from mltraq_prefect.codecs import uncollected
from mltraq_prefect.errors import QueryFailed
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.reading import query_results
from mltraq_prefect.storage.sql import query
from mltraq_prefect.storage.sql.connections import Database, DriverError, Transaction
from mltraq_prefect.storage.sql.messages import without_values
from mltraq_prefect.storage.sql.query_params import check_params
from mltraq_prefect.storage.tables import experiments_table

T = TypeVar("T")

Make = Callable[[Transaction, query.Result], Callable[[], T]]
"""Makes of a result what makes something of it when the transaction has ended."""


class Queries:
    """Runs statements that read, of which nothing stays; see `Store.query`.

    Args:
        database: Where.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(
        self, sql: str, params: Mapping[str, Any] | None, names: Mapping[str, str] | None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the names of the columns, and the rows as the database gives them."""
        return self._run(sql, params, names, _as_given)

    def columns(
        self,
        sql: str,
        params: Mapping[str, Any] | None,
        names: Mapping[str, str] | None,
        *,
        decoded: bool,
    ) -> tuple[list[str], list[Sequence[Any]]]:
        """Return the names of the columns, and their values.

        Columns of experiments have truth values, dates, times and UUIDs, where the database gives
        numbers or text.

        Args:
            sql: As for `Store.query`.
            params: As for `Store.query`.
            names: As for `Store.query`.
            decoded: Whether binary values and JSON of those columns are decoded.

        Raises:
            QueryFailed: As `Store.query` does.
            CorruptData: A binary value is not what was written.
        """
        make = partial(query_results.select, decoded=decoded)
        dialect = self._database.dialect
        asks = decoded or any(dialect.types[kind].restore for kind in query_results.RESTORED)
        return self._run(sql, params, names, make, asks_origins=asks)

    def _run(
        self,
        sql: str,
        params: Mapping[str, Any] | None,
        names: Mapping[str, str] | None,
        make: Make[T],
        *,
        asks_origins: bool = False,
    ) -> T:
        check_params(params)
        if self._database.is_missing():
            raise QueryFailed(
                f"the database {self._database.url} is empty: nothing has been persisted"
            )
        known = {key: check_name(name, "experiment name") for key, name in (names or {}).items()}
        attempt = partial(self._attempt, sql, params or {}, known, make, asks_origins)
        return uncollected(self._database.retry(attempt))

    def _attempt(
        self,
        sql: str,
        params: Mapping[str, Any],
        names: Mapping[str, str],
        make: Make[T],
        asks_origins: bool,
    ) -> Callable[[], T]:
        now: dict[str, str] = {}
        try:
            with self._database.querying() as transaction:
                now = {
                    key: experiments_table.table_of(transaction, name)
                    for key, name in names.items()
                }
                whole = partial(query_results.whole_views, transaction) if asks_origins else None
                return make(transaction, query.run(transaction, sql, params, now, whole))
        except DriverError as error:
            if error.trouble in ("unavailable", "conflict"):
                raise
            if error.trouble == "moved" and self._have_moved(names, now):
                raise
            reason = self._database.scrub(without_values(error.whole, sql))
            raise QueryFailed(
                f"the database {self._database.url} refused the statement: {reason}"
            ) from None

    def _have_moved(self, names: Mapping[str, str], then: Mapping[str, str]) -> bool:
        with self._database.reading() as transaction:
            return any(
                experiments_table.table_of(transaction, names[key]) != then[key] for key in then
            )


def _as_given(
    _transaction: Transaction, result: query.Result
) -> Callable[[], tuple[list[str], list[tuple[Any, ...]]]]:
    return lambda: (result.keys, query.with_numbers(result.rows))
