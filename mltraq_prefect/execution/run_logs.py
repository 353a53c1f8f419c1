"""What a run logged and printed in a step, kept as a file of the run: ``logs/<step>.txt``.

In a worker its parent reads what the worker writes, and knows by marks between which run it is of;
so the log of a run that has killed its worker is there, too. Elsewhere it is collected by thread.
"""

from __future__ import annotations

import datetime
import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from mltraq_prefect.errors import MltraqError
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.log_names import log_name
from mltraq_prefect.execution.logs import LogRecord, forwarded
from mltraq_prefect.execution.serialization import Chunk, FrozenRun

if TYPE_CHECKING:
    from mltraq_prefect.execution.batch import Outcome

MOST_CHARACTERS = 1_000_000
"""Of a longer log the first and the last half of so many are kept."""


class RunLog:
    """The log of one run; of a long one the beginning and the end."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._sizes = [0, 0]
        self._left_out = 0

    def add(self, record: LogRecord) -> None:
        """Add what was logged or printed."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        level = "" if record.level == logging.INFO else f"{logging.getLevelName(record.level)} "
        self.add_text(f"{at:%Y-%m-%d %H:%M:%S.%f} {level}{record.message}")

    def add_lines(self, text: str) -> None:
        """Add lines as they are."""
        for line in text.splitlines():
            self.add_text(line)

    def add_text(self, text: str) -> None:
        """Add a line as it is, or several that belong together."""
        half = MOST_CHARACTERS // 2
        text = text if len(text) <= half else f"{text[:half]} ..."
        if not self._tail and self._sizes[0] + len(text) <= half:
            self._head.append(text)
            self._sizes[0] += len(text)
            return
        self._tail.append(text)
        self._sizes[1] += len(text)
        while self._sizes[1] > half and len(self._tail) > 1:
            self._sizes[1] -= len(self._tail.popleft())
            self._left_out += 1

    def text(self) -> str:
        """Return it."""
        gap = [f"... {self._left_out:,} lines were left out ..."] if self._left_out else []
        return "".join(f"{line}\n" for line in (*self._head, *gap, *self._tail))


Logs = Mapping[str, RunLog]
"""Logs by `id_run`."""


def with_log(frozen: FrozenRun, step: str, log: RunLog | None, desk: Desk) -> FrozenRun:
    """Return a run with the log of an attempt, which follows those of the attempts before.

    Args:
        frozen: The run after the attempt.
        step: Name of the step.
        log: What was logged; None if nothing.
        desk: Where files go.
    """
    name, whole = log_name(step), RunLog()
    entry = frozen.ledger()
    try:
        known = frozen.files.get(name)
        if known is not None and known.spooled:
            whole.add_lines(desk.fetch(frozen.id_run, name, known).read_text("utf-8"))
        whole.add_text(f"-- step {step}, attempt {entry.attempts}")
        if log is not None:
            whole.add_lines(log.text())
        if entry.error is not None:
            whole.add_text(entry.error.rstrip("\n"))
        data = whole.text().encode("utf-8", "backslashreplace")
        return frozen._replace(files={**frozen.files, name: desk.spool.put(name, data, None)})
    except (MltraqError, OSError) as error:
        logging.getLogger("mltraq_prefect").warning(
            "the log of run %s in step %s is not kept: %s", frozen.describe(), step, error
        )
        return frozen


def with_logs(outcome: Outcome, step: str, logs: Logs, desk: Desk) -> Outcome:
    """Give the runs of an outcome their logs."""

    def kept(chunk: Chunk | None) -> Chunk | None:
        return chunk and [with_log(run, step, logs.get(run.id_run), desk) for run in chunk]

    outcome.done, outcome.failed = kept(outcome.done), kept(outcome.failed)
    outcome.stopped = kept(outcome.stopped)
    return outcome


# -- in the process of the flow ------------------------------------------------------------------


class _Tee(io.TextIOBase):
    """A standard stream that also gives what a thread writes to that thread's log."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text, and collect it."""
        if (lines := _collecting.get(threading.get_ident())) is not None:
            lines.write(text)
        return self.stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Lines:
    """Lines that a thread prints."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._begun = ""

    def write(self, text: str) -> None:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._end(line)
        if len(self._begun) > MOST_CHARACTERS:
            self.end()

    def end(self) -> None:
        """End the last line."""
        self._end(self._begun)
        self._begun = ""

    def _end(self, line: str) -> None:
        shown = line.rstrip("\r").rpartition("\r")[2]
        if shown.strip():
            self._log.add(LogRecord(logging.INFO, shown))


_collecting: dict[int, _Lines] = {}
_lock = threading.Lock()
_tees: dict[str, _Tee] = {}


@contextmanager
def collected() -> Iterator[RunLog]:
    """Collect what this thread logs and prints; what is shown of it is not changed."""
    log, thread = RunLog(), threading.get_ident()
    lines = _Lines(log)
    with _lock:
        if not _collecting:
            for name in ("stdout", "stderr"):
                _tees[name] = _Tee(getattr(sys, name))
                setattr(sys, name, _tees[name])
        _collecting[thread] = lines
    try:
        with forwarded(lambda level, text: log.add(LogRecord(level, text)), skip="prefect"):
            yield log
    finally:
        lines.end()
        with _lock:
            del _collecting[thread]
            for name, tee in _tees.items() if not _collecting else ():
                if getattr(sys, name) is tee:
                    setattr(sys, name, tee.stream)
