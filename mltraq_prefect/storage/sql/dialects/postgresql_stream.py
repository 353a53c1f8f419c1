"""Rows that come some at a time, so that those of a whole result are never in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

SIZE = 500
"""Rows of which the driver makes one result: its memory is used again for the next ones."""


class Streamed:
    """A cursor whose rows are taken while the server sends them.

    Its connection does nothing else before it is closed, not even a rollback.

    Args:
        cursor: Of the driver.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._sent: Any = None
        self._rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        """Send a query, and wait for its first row."""
        self._sent = self._cursor.stream(sql, parameters, size=SIZE)
        self._rows = chain([*islice(self._sent, 1)], self._sent)

    def fetchmany(self, size: int) -> list[Any]:
        """Return the next rows."""
        return [*islice(self._rows, size)]

    def close(self) -> None:
        """Cancel the query if not all rows were taken."""
        if self._sent is not None:
            self._sent.close()
        self._cursor.close()


def streamed(cursor: Any) -> Any:
    """Return a cursor that takes rows some at a time; the same one if libpq is before 17."""
    from psycopg import capabilities

    return Streamed(cursor) if capabilities.has_stream_chunked() else cursor
