"""Operations that are tried again after a conflict or a lost connection, and what ends them."""

from __future__ import annotations

import time
from collections.abc import Callable
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


def retry(
    operation: Callable[[], T],
    may_repeat: Callable[[Trouble], bool],
    seconds: float,
    url: str,
) -> T:
    """Run an operation, which must be idempotent, until it succeeds or must not be repeated.

    Args:
        operation: What is run.
        may_repeat: Whether this database may be asked again after such a trouble.
        seconds: How long it is tried again.
        url: The database for a person.

    Raises:
        StoreError: What has ended it for good.
        CorruptData: Rows of runs are missing, and no other process is replacing them.
    """
    deadline: float | None = None
    pause = FIRST_PAUSE_SECONDS
    missing = None
    while True:
        try:
            return operation()
        except DriverError as error:
            if isinstance(error, RowsMissing):
                if error.found == missing:
                    raise CorruptData(missing[1], experiment=missing[0]) from None
                missing = error.found
            now = time.monotonic()
            deadline = now + seconds if deadline is None else deadline
            is_final = error.trouble not in REPEATED or not may_repeat(error.trouble)
            if is_final or now >= deadline:
                raise final_error(error, url) from None
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
