"""Output of steps in the log of a task run, as it arrives, at a limited rate."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from mltraq_prefect.execution.logs import LogRecord

Logger = logging.Logger | logging.LoggerAdapter[Any]

LINES_PER_SECOND = 50
BURST_LINES = 200


class LiveLog:
    """Logs records while a task run is executed.

    If there are too many, some are deferred until the end, so that neither the terminal nor the
    Prefect server is flooded. All records keep their time.

    Args:
        logger: Logger of the task run.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._deferred: list[LogRecord] = []
        self._unannounced = 0
        self._allowed = float(BURST_LINES)
        self._filled = time.monotonic()

    def show(self, records: Iterable[LogRecord]) -> None:
        """Log records, or defer them until the end if there are too many."""
        self._fill()
        if self._unannounced and self._allowed >= 1:
            self._announce_deferred()
        for record in records:
            if self._allowed >= 1:
                self._allowed -= 1
                self._log(record)
            else:
                self._deferred.append(record)
                self._unannounced += 1

    def close(self) -> None:
        """Log the deferred records."""
        for record in self._deferred:
            self._log(record)
        self._deferred, self._unannounced = [], 0

    def _fill(self) -> None:
        now = time.monotonic()
        gained = (now - self._filled) * LINES_PER_SECOND
        self._allowed, self._filled = min(self._allowed + gained, BURST_LINES), now

    def _announce_deferred(self) -> None:
        self._logger.info(
            "%s lines are left out here, and follow at the end", f"{self._unannounced:,}"
        )
        self._unannounced = 0

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
