"""Rows that an attempt logs, on their way out of it.

They are collected in columns and handed over from time to time, so that a step can log often, and
what it has logged is seen soon. Whoever takes them may be slow: then the step waits, and no more
rows are collected.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.judge import Attempted, Verdicts
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import (
    MISSING,
    PLAIN,
    LoggedRows,
    Rows,
    as_step,
    check_key,
    check_scalar,
    packed,
)
from mltraq_prefect.stop import StopRun

HandOver = Callable[[LoggedRows, bool], None]
"""Takes rows, and whether their attempt goes on, so that they shall be seen soon."""

FLUSH_SECONDS = 0.3
"""Rows are handed over after this time at most, in seconds."""

JUDGED_SECONDS = 0.05
"""The same where rules decide on them: the sooner they hear of rows, the sooner runs stop."""

ROWS_AT_ONCE = 10_000
"""So many rows are handed over at once."""

CHARACTERS_AT_ONCE = 1_000_000
"""The same for the text in them."""


class RowChannel(NamedTuple):
    """The way of rows to the process of the execution, that of its decisions back, and files.

    Attributes:
        hand_over: Takes rows.
        verdicts: Decisions on whether attempts are stopped; None if nobody decides.
        monitors: Whether what the step uses is logged, too.
        files: Where files go; None if the step is executed where its run is.
    """

    hand_over: HandOver
    verdicts: Verdicts | None = None
    monitors: bool = False
    files: Desk | None = None


class RowBuffer:
    """The rows of one attempt; threads of the step may use it.

    Args:
        attempt: The attempt.
        channel: Takes the rows.
    """

    def __init__(self, attempt: Attempted, channel: RowChannel) -> None:
        self._attempt = attempt
        self._channel = channel
        self._lock = threading.Lock()
        self._order = threading.Lock()
        self._is_open = True
        self._refusal: BaseException | None = None
        self._pid = os.getpid()
        self._first = 0
        self._taken_at = 0.0
        self._empty()

    def _empty(self) -> None:
        self._steps: list[int | None] = []
        self._times: list[int] = []
        self._columns: dict[str, list[Any]] = {}
        self._characters = 0

    def log(self, step: int | None, values: dict[str, Any]) -> None:
        """Take a row.

        Raises:
            InvalidInput: It cannot be stored, or the attempt is over.
        """
        total = self._taken_in(step, values)
        verdicts = self._channel.verdicts
        if verdicts is not None and verdicts.stops(self._attempt, total):
            raise StopRun("what the run has logged is a reason to stop it")

    def note(self, values: dict[str, Any]) -> None:
        """Take a row that is not the step's own, and no reason to stop it."""
        with suppress(InvalidInput):  # the step has ended
            self._taken_in(None, values)

    def _taken_in(self, step: int | None, values: dict[str, Any]) -> int:
        """Take a row, and return how many there have been."""
        if step is not None:
            step = as_step(step)
        for key, value in values.items():
            if type(value) not in PLAIN:
                check_scalar(key, value)
        with self._lock:
            self._check_open()
            self._append(step, values)
            count = len(self._times)
            total = self._first + count
        if self._is_urgent() or count >= ROWS_AT_ONCE or self._characters >= CHARACTERS_AT_ONCE:
            self.flush()
        elif count == 1:
            _flusher.flush_soon(self)
        return total

    def _is_urgent(self) -> bool:
        """Return whether a decision on the rows is due, or awaited."""
        verdicts = self._channel.verdicts
        return verdicts is not None and (
            verdicts.are_awaited or time.monotonic() - self._taken_at >= JUDGED_SECONDS
        )

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if not self._is_open or os.getpid() != self._pid:
            raise InvalidInput(
                "run.log: the step has ended, or this is another process than the step's; log in "
                "the step itself, or in a thread that it waits for"
            )

    def _append(self, step: int | None, values: dict[str, Any]) -> None:
        columns, count = self._columns, len(self._times)
        if values.keys() != columns.keys():
            for key in values.keys() - columns.keys():
                check_key(key)
            for key in values:
                columns.setdefault(key, [MISSING] * count)
            for key in columns.keys() - values.keys():
                columns[key].append(MISSING)
        for key, value in values.items():
            columns[key].append(value)
            if type(value) is str:
                self._characters += len(value)
        self._steps.append(step)
        self._times.append(time.time_ns() // 1000)

    def flush(self) -> None:
        """Hand over what has been logged so far."""
        with self._order:
            if rows := self._taken():
                self._hand_over(rows, goes_on=True)

    def flush_late(self) -> None:
        """Hand over what waits, in another thread: what goes wrong, the step's next row raises."""
        with suppress(BaseException):  # `_hand_over` keeps it
            self.flush()

    def _hand_over(self, rows: Rows, *, goes_on: bool) -> None:
        id_run, step, number = self._attempt
        try:
            self._channel.hand_over(LoggedRows(id_run, step, rows, attempt=number), goes_on)
        except OSError:  # the parent has gone, and this worker is about to end
            raise
        except BaseException as error:  # such as one of a rule: `close` raises it
            self._refusal = error
            raise

    def close(self, *, is_retry: bool) -> None:
        """Hand over the rest.

        Args:
            is_retry: Whether rows of an earlier attempt are to be replaced, even by none.

        Raises:
            BaseException: Rows could not be handed over, now or before: the execution ends.
        """
        with self._order:
            with self._lock:
                self._is_open = False
            if (rows := self._taken()) or (is_retry and not self._first):
                self._hand_over(rows or Rows(0), goes_on=False)
        if self._refusal is not None:
            raise self._refusal

    def _taken(self) -> Rows | None:
        with self._lock:
            if not self._times:
                return None
            steps, times, columns = self._steps, self._times, self._columns
            first, self._first = self._first, self._first + len(times)
            self._taken_at = time.monotonic()
            self._empty()
        kept = {key: packed(values) for key, values in columns.items()}
        return Rows(first, packed(steps), packed(times), kept)


@contextmanager
def logged_here(run: Run) -> Iterator[None]:
    """Let the body of a ``with`` statement log rows of a run, which stay in memory."""

    def keep(rows: LoggedRows, _goes_on: bool) -> None:
        run.own_rows.put(rows.step, rows.rows)

    rows = RowBuffer(Attempted(run.id_run, "", 1), RowChannel(keep))
    _ = run.own_rows
    run.log_to(rows)
    try:
        yield
    finally:
        run.log_to(None)
        rows.close(is_retry=False)


class _Flusher:
    """The thread of a process that hands over what waits while a step is busy otherwise."""

    def __init__(self) -> None:
        self._waiting: list[RowBuffer] = []
        self._lock = threading.Lock()
        self._is_running = False

    def flush_soon(self, buffer: RowBuffer) -> None:
        """Flush a buffer within `FLUSH_SECONDS`."""
        with self._lock:
            self._waiting.append(buffer)
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="mltraq row flusher", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            with self._lock:
                due, self._waiting = self._waiting, []
                if not due:
                    self._is_running = False
                    return
            for buffer in due:
                buffer.flush_late()


_flusher = _Flusher()


def _forget() -> None:
    """Start anew in a forked process, which does not have the thread."""
    global _flusher
    _flusher = _Flusher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
