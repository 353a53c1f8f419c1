"""Operations that are tried again after a conflict or a lost connection, and what ends them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mltraq_prefect.errors import (
    CorruptData,
    ReadOnlyStore,
    StorageFull,
    StorageUnavailable,
    StoreError,
)
from mltraq_prefect.storage.sql.dialects import Trouble
from mltraq_prefect.storage.sql.transactions import DriverError, RowsMissing

T = TypeVar("T")

REPEATED: frozenset[Trouble] = frozenset(("unavailable", "conflict", "moved"))
"""Troubles after which an operation is tried again."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0

SILENT_SECONDS = 3.0
"""An outage that lasts longer is told in the log."""

_logger = logging.getLogger("mltraq_prefect")


class Patience:
    """How long a database is waited for, and what the log says of that; for several threads.

    Args:
        seconds: How long.
        url: The database for a person.
    """

    def __init__(self, seconds: float, url: str) -> None:
        self.url = url
        self._seconds = self._away_seconds = seconds
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._is_told = False

    def seconds(self, trouble: Trouble) -> float:
        """Return how long an operation is tried again after a trouble."""
        return self._away_seconds if trouble == "unavailable" else self._seconds

    @contextmanager
    def extended(self, seconds: float) -> Iterator[None]:
        """Wait so long for a database that has gone away, within a context."""
        before = self._away_seconds
        self._away_seconds = seconds
        try:
            yield
        finally:
            self._away_seconds = before

    def note_away(self, why: str) -> None:
        """Take notice that the database cannot be reached, and is tried again."""
        with self._lock:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since, self._is_told = now, False
            if not self._is_told and now - self._away_since >= SILENT_SECONDS:
                self._is_told = True
                _logger.warning(
                    "the database %s has gone away: %s; what is to be written waits for it, up to "
                    "%.0f s",
                    self.url,
                    why,
                    self._away_seconds,
                )

    def note_back(self) -> None:
        """Take notice that the database answers."""
        if self._away_since is None:
            return
        with self._lock:
            since, self._away_since = self._away_since, None
            if since is not None and self._is_told:
                away = time.monotonic() - since
                _logger.warning("the database %s is back after %.0f s", self.url, away)


def retry(
    operation: Callable[[], T],
    may_repeat: Callable[[Trouble], bool],
    patience: Patience,
) -> T:
    """Run an operation, which must be idempotent, until it succeeds or must not be repeated.

    Args:
        operation: What is run.
        may_repeat: Whether this database may be asked again after such a trouble.
        patience: How long it is tried again.

    Raises:
        StoreError: What has ended it for good.
        CorruptData: Rows of runs are missing, and no other process is replacing them.
    """
    began: float | None = None
    pause = FIRST_PAUSE_SECONDS
    missing = None
    while True:
        try:
            result = operation()
            patience.note_back()
            return result
        except DriverError as error:
            if isinstance(error, RowsMissing):
                if error.found == missing:
                    raise CorruptData(missing[1], experiment=missing[0]) from None
                missing = error.found
            now = time.monotonic()
            began = now if began is None else began
            is_final = error.trouble not in REPEATED or not may_repeat(error.trouble)
            if is_final or now >= began + patience.seconds(error.trouble):
                raise final_error(error, patience.url) from None
            if error.trouble == "unavailable":
                patience.note_away(str(error))
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def final_error(error: DriverError, url: str) -> StoreError:
    """Return what a user gets for a trouble of the database.

    Args:
        error: The trouble.
        url: The database for a person.
    """
    where, why = f"the database {url}", str(error)
    if error.trouble == "read-only":
        return ReadOnlyStore(f"{where} cannot be written: {why}")
    if error.trouble == "forbidden":
        return ReadOnlyStore(
            f"{where} cannot be written: {why}; its owner can let you add and change runs, or all, "
            "by: mltraq-prefect grant writer --to USER, or grant owner"
        )
    if error.trouble == "full":
        return StorageFull(f"the disk of {where} is full, and nothing was written: {why}")
    if error.trouble == "unreadable":
        return StoreError(
            f"{where} cannot be read: {why}; its owner can let you, by: "
            "mltraq-prefect grant reader --to USER"
        )
    if error.trouble == "timeout":
        return StorageUnavailable(f"{where} was reached, but a time limit has passed: {why}")
    if error.trouble in ("unavailable", "conflict"):
        return StorageUnavailable(f"{where} cannot be reached: {why}")
    return StoreError(f"{where} refused: {why}")
