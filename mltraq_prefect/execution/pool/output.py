"""Output and log records of a worker process, on their way to the logs of the task run.

Standard output and error of the worker are a pipe to its parent. It carries what steps, their
subprocesses and C code write, even from a worker that is killed. Log records go through the same
pipe, in order, each as a line of JSON after a separator.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace

from mltraq_prefect.execution.logs import LogRecord
from mltraq_prefect.execution.run_logs import Logs, RunLog

_SEPARATOR = b"\x1e"
"""Separator before a log record: ASCII's record separator, which text does not contain."""

_LONGEST_LINE = 100_000
"""Text without a newline is cut after this many bytes."""

_READ_BYTES = 1 << 20


# -- in the worker -------------------------------------------------------------------------------


class RecordHandler(logging.Handler):
    """Writes log records into the pipe.

    Its name has no underscore, and it has a formatter. So Prefect, when a step imports it, treats
    it as a handler of the user and keeps it.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._file = os.dup(1)  # a step may close or redirect its output

    def mark(self, id_run: str) -> None:
        """Say that what follows is of a run."""
        os.write(self._file, _SEPARATOR + json.dumps({"run": id_run}).encode() + b"\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        try:
            values = (record.levelno, self.format(record), record.created)
            data = memoryview(_SEPARATOR + json.dumps(values).encode() + b"\n")
            while data:
                data = data[os.write(self._file, data) :]
        except Exception:
            self.handleError(record)


_handlers: list[RecordHandler] = []


def start_output() -> None:
    """Open the standard streams of a worker, and send log records to the pipe.

    Nothing is buffered: no output is lost if the process is killed.
    """
    sys.stdout = sys.__stdout__ = _stream(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2)  # type: ignore[misc]
    _handlers[:] = [RecordHandler()]
    logging.getLogger().addHandler(_handlers[0])
    logging.captureWarnings(True)


def set_level(level: int) -> None:
    """Leave out log records below this level."""
    root = logging.getLogger()
    root.setLevel(min(level, root.level) if root.level else level)
    for handler in _handlers:
        handler.setLevel(level)


def mark_run(id_run: str) -> None:
    """Say that what this worker logs and prints from now on is of a run."""
    for handler in _handlers:
        handler.mark(id_run)


def _stream(number: int) -> io.TextIOWrapper:
    file = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(
        file,
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )


# -- in its parent -------------------------------------------------------------------------------


class Output:
    """The parent's end of the pipe.

    Args:
        file: Descriptor of the pipe; closed with this object.
    """

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self._file = file
        self._begun = bytearray()
        self._has_ended = False
        self._latest = 0.0
        self._records: list[LogRecord] = []
        self._run = ""
        self._logs: dict[str, RunLog] = {}

    def fileno(self) -> int:
        """Return the descriptor, which is readable when something was written."""
        return self._file

    def has_ended(self) -> bool:
        """Return whether all writers have closed the pipe."""
        return self._has_ended

    def receive(self) -> None:
        """Read what has been written."""
        with suppress(BlockingIOError):
            self._receive()

    def _receive(self) -> None:
        while not self._has_ended:
            data = os.read(self._file, _READ_BYTES)
            self._has_ended = not data
            *lines, rest = data.split(b"\n")
            for line in lines:
                self._end_line(line)
            self._begun += rest
            if len(self._begun) > _LONGEST_LINE and _SEPARATOR not in self._begun:
                self._end_line(b"")

    def _end_line(self, end: bytes) -> None:
        line = bytes(self._begun + end)
        text, mark, packed = line.partition(_SEPARATOR)
        record = _unpacked(packed) if mark else None
        if mark and (id_run := _marked(packed)):
            self._begun.clear()
            self._add_text(text)
            self._run = id_run
        elif record is None:
            self._begun.clear()
            self._add_text(line)
        else:
            self._begun[:] = text
            self._add(record)

    def _add_text(self, line: bytes) -> None:
        # As on a terminal, a carriage return restarts the line: a progress bar is one line.
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
        if text.strip():
            self._add(LogRecord(logging.INFO, text, time.time()))

    def _add(self, record: LogRecord) -> None:
        """Add a record with an increasing time, so that sorting by time keeps the order."""
        self._latest = max(record.created, self._latest + 1e-6)
        kept = replace(record, created=self._latest)
        self._records.append(kept)
        if self._run:
            self._logs.setdefault(self._run, RunLog()).add(kept)

    def is_empty(self) -> bool:
        """Return whether there are no records."""
        return not self._records

    def take(self, *, last: bool) -> list[LogRecord]:
        """Return the records that have come.

        Args:
            last: Whether an unfinished line ends here.
        """
        if last and self._begun:
            self._end_line(b"")
        records, self._records = self._records, []
        return records

    def take_logs(self) -> Logs:
        """Return the logs of runs so far, by `id_run`; an unfinished line ends here."""
        if self._begun:
            self._end_line(b"")
        logs, self._logs = self._logs, {}
        return logs

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._file)


def _marked(line: bytes) -> str:
    """Return the id of the run that a mark is about; an empty text if it is no mark."""
    try:
        return str(json.loads(line)["run"])
    except (ValueError, TypeError, KeyError):
        return ""


def _unpacked(line: bytes) -> LogRecord | None:
    try:
        level, message, created = json.loads(line)
        return LogRecord(int(level), str(message), float(created))
    except (ValueError, TypeError):
        return None
