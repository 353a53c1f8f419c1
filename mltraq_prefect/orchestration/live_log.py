"""What steps print and log, in the log of a task run: as it comes, but not more than is read."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from mltraq_prefect.execution.logs import LogRecord

LINES_PER_SECOND = 50
MOST_AT_ONCE = 200


class LiveLog:
    """Shows records while a task run goes on.

    Of many lines it holds some back until the end, so that neither a terminal nor the Prefect
    server is flooded while it has other things to do. All lines keep the time of their making.

    Args:
        logger: Of the task run.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._logger = logger
        self._held: list[LogRecord] = []
        self._untold = 0
        self._allowed = float(MOST_AT_ONCE)
        self._filled = time.monotonic()

    def show(self, records: Iterable[LogRecord]) -> None:
        """Show records, or hold them back until the end if there are too many."""
        self._fill()
        if self._untold and self._allowed >= 1:
            self._tell()
        for record in records:
            if self._allowed >= 1:
                self._allowed -= 1
                self._log(record)
            else:
                self._held.append(record)
                self._untold += 1

    def close(self) -> None:
        """Show what was held back."""
        for record in self._held:
            self._log(record)
        self._held, self._untold = [], 0

    def _fill(self) -> None:
        now = time.monotonic()
        gained = (now - self._filled) * LINES_PER_SECOND
        self._allowed, self._filled = min(self._allowed + gained, MOST_AT_ONCE), now

    def _tell(self) -> None:
        self._logger.info("%s lines are left out here, and follow at the end", f"{self._untold:,}")
        self._untold = 0

    def _log(self, record: LogRecord) -> None:
        if isinstance(self._logger, logging.Logger):
            logger, extra = self._logger, None
        else:
            logger, extra = self._logger.logger, self._logger.extra
        if not logger.isEnabledFor(record.level):
            return
        made = logger.makeRecord(
            logger.name, record.level, "", 0, "%s", (record.message,), None, extra=extra
        )
        made.created, made.msecs = record.created, record.created % 1 * 1000
        logger.handle(made)
