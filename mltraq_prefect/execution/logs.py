"""What steps log and print."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log record or a printed line, as plain values.

    Attributes:
        level: Level of `logging`.
        message: A printed line, or a message with its traceback.
        created: Time when it was logged or read, in seconds since the epoch.
    """

    level: int
    message: str
    created: float = field(default_factory=time.time)


class _Forwarder(logging.Handler):
    def __init__(self, thread: int, log: Callable[[int, str], None], skip: str) -> None:
        super().__init__(logging.INFO)
        self._thread = thread
        self._log = log
        self._skip = skip

    def emit(self, record: logging.LogRecord) -> None:
        name = record.name.partition(".")[0]
        if record.thread == self._thread and name != self._skip:
            self._log(record.levelno, self.format(record))


@contextmanager
def forwarded(log: Callable[[int, str], None], skip: str) -> Iterator[None]:
    """Forward what this thread logs through the root logger.

    Args:
        log: Called with level and message of each record.
        skip: Records of this logger, and of loggers below it, are not forwarded.
    """
    handler = _Forwarder(threading.get_ident(), log, skip)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
