"""A batch of runs, and the outcomes of its attempts at a step."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from mltraq_prefect.execution.attempt import THREAD, WORKER, Attempt, attempt
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.frozen_values import FrozenValues
from mltraq_prefect.execution.judge import Reply, SharedVerdicts
from mltraq_prefect.execution.logs import LogRecord
from mltraq_prefect.execution.row_buffer import RowChannel
from mltraq_prefect.execution.serialization import Chunk, remaining
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.model.spool import Spool

Guard = Callable[[int], AbstractContextManager[None]]
DeliverRows = Callable[[list[LoggedRows], Reply | None], None]
"""Takes rows, and what sends a decision on their attempts back."""

EXCEPTION_BYTES = 100_000
"""Larger pickles of exceptions are not sent: an exception may refer to anything."""

HANDOVER_SECONDS = 0.5
"""A worker sends its outcomes at this interval, in seconds."""


@dataclass(slots=True)
class Outcome:
    """Outcome of a step on the next runs of a chunk.

    Attributes:
        count: Number of these runs.
        done: The runs that completed the step, or None.
        failed: The runs that failed, as they were before the step, or None.
        stopped: The runs that were stopped, or None: they have ended.
        failures: Description and traceback of each failed run.
        records: What the step logged and printed.
        returned: Name of the type of a value that the step returned, or None.
        exception: The exception of the first failed run, if it can be pickled.
        changed: Globals that the step changed, and that were restored.
        rows: What the step has added to the series of runs, in the order of time.
        reply: Sends a decision on their attempts to the worker; None if there is no way.
    """

    count: int
    done: Chunk | None
    failed: Chunk | None
    failures: list[tuple[str, str]]
    records: list[LogRecord] = field(default_factory=list)
    returned: str | None = None
    exception: BaseException | None = None
    changed: set[str] = field(default_factory=set)
    rows: list[LoggedRows] = field(default_factory=list)
    stopped: Chunk | None = None
    reply: Reply | None = None


def outcome_of_rows(rows: list[LoggedRows]) -> Outcome:
    """Return an outcome that has only what a step has added to the series of runs."""
    return Outcome(0, None, None, [], rows=rows)


def outcome_of_records(records: list[LogRecord]) -> Outcome:
    """Return an outcome that has only what a step has logged and printed."""
    return Outcome(0, None, None, [], records)


class Batch:
    """The runs of one task run, in one step.

    Attributes:
        label: Describes the runs: params of a single run, else positions (``101-200 of 1000``).
        size: Number of runs.
        todo: Chunks of the runs that have not completed the step.
        done: Chunks of the runs that have, unless they were delivered already.
        stopped: Chunks of the runs that were stopped in it, unless they were delivered already.
        failures: Description and traceback of each run that failed in the last attempt.
        returned: Name of the type of a value that the step returned, or None.
        exception: The exception of the first run that failed in the last attempt, or None.
        changed: Globals that the step changed, and that were restored.
        number: Identifies the batch for the fan-out, also if a copy of it comes back.
        rows: What the step has added to the series of runs, unless it was delivered already.
        facts: What a process that writes it has to know; None if none is to.
        here: What the worker of a cluster that executes it holds of it; None elsewhere.
    """

    __slots__ = (
        *("changed", "done", "exception", "failures"),
        *("facts", "here", "label", "number", "returned", "rows", "size", "stopped", "todo"),
    )

    def __init__(self, label: str, size: int, todo: list[Chunk]) -> None:
        self.label = label
        self.size = size
        self.todo = todo
        self.done: list[Chunk] = []
        self.stopped: list[Chunk] = []
        self.failures: list[tuple[str, str]] = []
        self.returned: str | None = None
        self.exception: BaseException | None = None
        self.changed: set[str] = set()
        self.number = 0
        self.rows: list[LoggedRows] = []
        self.facts: Any = None
        self.here: Any = None

    def attempt(self, execute: Callable[[Chunk], Iterator[Outcome]]) -> Iterator[Outcome]:
        """Execute all chunks in `todo`; runs that fail, or are not reached, stay in it.

        Args:
            execute: Executes the step on a chunk, and yields outcomes.

        Raises:
            RuntimeError: `execute` gave no outcome for some runs.
        """
        left, self.failures, self.exception = deque(self.todo), [], None
        failed: list[Chunk] = []
        handled = 0
        try:
            while left:
                for outcome in execute(left[0]):
                    handled += outcome.count
                    self._note(outcome, failed)
                    yield outcome
                if handled < len(left[0]):
                    raise RuntimeError(f"{self!r}: {len(left[0]) - handled} were not executed")
                left.popleft()
                handled = 0
        finally:
            self.todo = failed + remaining(left, handled)

    def _note(self, outcome: Outcome, failed: list[Chunk]) -> None:
        if outcome.done is not None:
            self.done.append(outcome.done)
        if outcome.stopped is not None:
            self.stopped.append(outcome.stopped)
        if outcome.failed is not None:
            failed.append(outcome.failed)
        self.failures += outcome.failures
        self.returned = self.returned or outcome.returned
        self.exception = self.exception or outcome.exception
        self.changed |= outcome.changed

    def next(self) -> Batch | None:
        """Return the batch for the next step: the runs that completed this one, or None."""
        if not self.done:
            return None
        following = Batch(self.label, sum(map(len, self.done)), self.done)
        following.here = self.here
        return following

    def ended(self) -> list[Chunk]:
        """Return the chunks that it has, whether they have completed the step or not."""
        return self.todo + self.stopped + self.done

    def clear(self) -> None:
        """Forget the runs and what they have left."""
        self.todo, self.done, self.stopped, self.rows = [], [], [], []

    def ids_done(self) -> list[str]:
        """Return the ids of the runs that have completed the step and are still in the batch."""
        return [frozen.id_run for chunk in self.done for frozen in chunk]

    def __repr__(self) -> str:
        return f"<runs {self.label}>"


def execute_chunk(
    make_step: Callable[[], Step],
    kwargs: FrozenValues,
    chunk: Chunk,
    guard: Guard,
    channel: RowChannel,
) -> Iterator[Outcome]:
    """Execute a step on the runs of a chunk, in a worker process.

    Args:
        make_step: Returns the step, with its captured state as it was at first.
        kwargs: Kwargs of the execution; each run gets a copy.
        chunk: The runs.
        guard: Makes the context for the run of an index.
        channel: Takes the rows that the step logs.

    Yields:
        Outcomes from time to time; their counts add up to the number of runs.
    """
    start = 0
    while start < len(chunk):
        attempts = _attempt_some(make_step, kwargs, chunk, start, guard, channel)
        outcome = outcome_of(attempts)
        outcome.exception = _picklable(outcome.exception)
        if channel.files is not None:
            _keep_files(outcome, channel.files.spool)
        yield outcome
        start += len(attempts)


def _attempt_some(
    make_step: Callable[[], Step],
    kwargs: FrozenValues,
    chunk: Chunk,
    start: int,
    guard: Guard,
    channel: RowChannel,
) -> list[Attempt]:
    """Attempt runs until it is time to send the outcome."""
    attempts: list[Attempt] = []
    has_exception = False
    until = time.monotonic() + HANDOVER_SECONDS
    for index in range(start, len(chunk)):
        if attempts and time.monotonic() >= until:
            break
        with guard(index):
            result = attempt(make_step(), chunk[index], kwargs, WORKER, channel)
        if result.exception is not None and has_exception:
            result = result._replace(exception=None)  # it keeps alive what its frames refer to
        has_exception = has_exception or result.exception is not None
        attempts.append(result)
    return attempts


def _keep_files(outcome: Outcome, spool: Spool) -> None:
    """Keep the contents that runs have: what is put later is dropped if this process is killed."""
    for chunk in (outcome.done, outcome.stopped, outcome.failed):
        for index, frozen in enumerate(chunk or ()):
            if chunk is not None and frozen.files:
                files = {name: own and spool.kept(own) for name, own in frozen.files.items()}
                chunk[index] = frozen._replace(files=files)


def execute_in_thread(
    step: Step,
    kwargs: FrozenValues,
    verdicts: SharedVerdicts | None,
    monitors: bool,
    files: Desk,
    chunk: Chunk,
    deliver: DeliverRows | None,
) -> Iterator[Outcome]:
    """Execute a step on runs in this thread, without seeding the global generators.

    Args:
        step: The step.
        kwargs: Kwargs of the execution.
        verdicts: Decisions on whether runs are stopped; None if nobody decides.
        monitors: Whether what the step uses is logged, too.
        files: Where files go.
        chunk: The runs.
        deliver: Takes the rows that the step logs, as they come; None leaves them to the outcome.
    """
    rows: list[LoggedRows] = []
    reply = None if verdicts is None else verdicts.note
    context = copy_context()

    def take(own: LoggedRows, _goes_on: bool) -> None:
        if deliver is None:
            rows.append(own)
        else:  # perhaps in a thread that does not know where it is
            context.copy().run(deliver, [own], reply)

    for frozen in chunk:
        channel = RowChannel(take, verdicts, monitors, files)
        outcome = outcome_of([attempt(step, frozen, kwargs, THREAD, channel)])
        outcome.rows, rows = rows, []
        yield outcome


def outcome_of(attempts: Sequence[Attempt]) -> Outcome:
    """Return the outcome of attempts at consecutive runs of a chunk."""
    failed = [each for each in attempts if each.error is not None]
    done = [each for each in attempts if each.error is None]
    return Outcome(
        len(attempts),
        [each.run for each in done if not each.is_stopped] or None,
        [each.run for each in failed] or None,
        [(each.run.describe(), each.error or "") for each in failed],
        returned=next((each.returned for each in attempts if each.returned), None),
        exception=failed[0].exception if failed else None,
        stopped=[each.run for each in done if each.is_stopped] or None,
    )


def _picklable(error: BaseException | None) -> BaseException | None:
    """Return an exception, without its traceback, if another process can unpickle it."""
    if error is None:
        return None
    try:
        unpickled(data := pickle.dumps(error))
    except Exception:
        return None
    return error if len(data) < EXCEPTION_BYTES else None


def outcome_of_lost(chunk: Chunk, reason: str, kind: str = "WorkerDied") -> Outcome:
    """Return the outcome of runs that failed outside of their step, as their worker died.

    Args:
        chunk: The runs as they were before.
        reason: Why.
        kind: Name of the type of the error.
    """
    failed = []
    for frozen in chunk:
        entry = frozen.ledger()
        entry.attempts = entry.attempts + 1 if entry.state == "failed" else 1
        entry.state, entry.error, entry.error_type = "failed", reason, kind
        failed.append(frozen.with_ledger(entry))
    failures = [(frozen.describe(), reason) for frozen in failed]
    return Outcome(len(failed), None, failed, failures)
