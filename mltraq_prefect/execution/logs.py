"""What a step logs and prints in a worker process, on its way to the task run's logs."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log record or a printed line, as plain values."""

    level: int
    message: str


class _Collector(logging.Handler):
    def __init__(self, level: int, records: list[LogRecord]) -> None:
        super().__init__(level)
        self._records = records
        self._formatter = logging.Formatter("%(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._records.append(LogRecord(record.levelno, self._formatter.format(record)))
        except Exception:
            self.handleError(record)


class _Lines(io.TextIOBase):
    """A text stream that makes a record of each line written to it."""

    def __init__(self, records: list[LogRecord]) -> None:
        self._records = records
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        self._records.extend(LogRecord(logging.INFO, line) for line in lines if line.strip())
        return len(text)

    def finish(self) -> None:
        if self._line.strip():
            self.write("\n")


@contextmanager
def captured(level: int) -> Iterator[list[LogRecord]]:
    """Collect what is logged through the root logger and printed to standard output, in order.

    Args:
        level: Records below it are left out.
    """
    records: list[LogRecord] = []
    root = logging.getLogger()
    handler, previous, lines = _Collector(level, records), root.level, _Lines(records)
    root.addHandler(handler)
    root.setLevel(min(level, previous) if previous else level)
    try:
        with redirect_stdout(lines):
            yield records
    finally:
        lines.finish()
        root.setLevel(previous)
        root.removeHandler(handler)


class _Forwarder(logging.Handler):
    def __init__(self, thread: int, log: Callable[[int, str], None], skip: str) -> None:
        super().__init__(logging.INFO)
        self._thread = thread
        self._log = log
        self._skip = skip

    def emit(self, record: logging.LogRecord) -> None:
        name = record.name.partition(".")[0]
        if record.thread == self._thread and name != self._skip:
            self._log(record.levelno, record.getMessage())


@contextmanager
def forwarded(log: Callable[[int, str], None], skip: str) -> Iterator[None]:
    """Forward what this thread logs through the root logger.

    Args:
        log: Gets level and message of each record.
        skip: Records of this logger, and of those under it, are not forwarded.
    """
    handler = _Forwarder(threading.get_ident(), log, skip)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
