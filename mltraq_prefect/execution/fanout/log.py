"""Logger of an execution without Prefect; it writes to standard error if logging is not set up."""

from __future__ import annotations

import logging
import sys

NAME = "mltraq_prefect"

SUBJECT = "task_run_name"
"""Attribute of the records of a batch: step and runs. Prefect's records have it too."""


def execution_logger() -> logging.Logger:
    """Return a logger for one execution.

    Records go to the handlers of the program. If there are none, the logger writes records from
    INFO on to standard error. Nothing global is changed.
    """
    parent = logging.getLogger(NAME)
    logger = logging.Logger(NAME)
    logger.parent = parent
    if not parent.hasHandlers():
        logger.setLevel(logging.INFO)
        logger.addHandler(_Console())
    return logger


class _Console(logging.Handler):
    """Writes to the current standard error, which a progress bar replaces."""

    def __init__(self) -> None:
        super().__init__()
        form = "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(message)s"
        self.setFormatter(_Lines(form, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


class _Lines(logging.Formatter):
    """Formats records as Prefect does in a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        subject = getattr(record, SUBJECT, None)
        if subject is not None:
            record.message = f"{subject} - {record.message}"
        return super().formatMessage(record)
