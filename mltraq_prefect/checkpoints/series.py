"""Rows of series on their way to the database, while runs are executed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.model.series import LoggedRows

FLUSH_SECONDS = 0.25
"""Rows are written after this time at most, in seconds: they have waited in their worker before."""

ROWS_AT_ONCE = 50_000
"""So many rows are written at once."""


class WaitingRows:
    """Rows that wait to be written.

    Args:
        state: Writes them.
    """

    def __init__(self, state: StoredState) -> None:
        self._state = state
        self._rows: list[LoggedRows] = []
        self._count = 0
        self._since = 0.0
        self._refusal: Exception | None = None

    def put(self, rows: Sequence[LoggedRows]) -> None:
        """Take rows, unless the database has refused some before."""
        if self._refusal is not None or not rows:
            return
        if not self._rows:
            self._since = time.monotonic()
        self._rows += rows
        self._count += sum(len(logged.rows) for logged in rows)

    def tick(self, *, soon: bool = False) -> None:
        """Write them if they have waited long enough, or if they are many.

        Args:
            soon: Whether they have, whenever they came.

        Raises:
            StoreError: The database has refused rows, now or before.
        """
        is_due = self._rows and (soon or time.monotonic() - self._since >= FLUSH_SECONDS)
        if is_due or self._count >= ROWS_AT_ONCE or self._refusal is not None:
            self.flush()

    def flush(self) -> None:
        """Write them.

        Raises:
            StoreError: The database has refused rows, now or before.
        """
        if self._refusal is not None:
            raise self._refusal
        if not self._rows:
            return
        try:
            self._state.log(self._rows)
        except Exception as error:  # runs must not be there without their rows
            self._refusal = error
            raise
        finally:
            self._rows, self._count = [], 0
