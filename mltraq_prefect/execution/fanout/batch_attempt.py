"""One attempt at a step on a batch: its logs, and early delivery of its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from mltraq_prefect.errors import FailureGroup
from mltraq_prefect.execution.batch import Batch, DeliverRows, Outcome
from mltraq_prefect.execution.failures import grouped_failures
from mltraq_prefect.execution.fanout.live_log import LiveLog, Logger
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.tracebacks import headline

Execute = Callable[[Chunk, DeliverRows | None], Iterator[Outcome]]
"""Executes a step on a chunk; rows that it does not deliver come with the outcomes."""

Deliver = Callable[[Batch], None]

RowsOf = Callable[[Batch], DeliverRows]
"""Returns what takes the rows of a batch."""

ERRORS_LOGGED = 3
"""Number of distinct errors of a batch that are logged."""


class BatchAttempt:
    """Attempts a step on batches.

    Args:
        execute: Executes the step on the runs of a chunk.
        deliver: Takes completed runs out of the batch as they arrive; if None, they stay in it.
        rows_of: Returns what takes the rows that runs log; if None, they stay in the batch.
    """

    def __init__(self, execute: Execute, deliver: Deliver | None, rows_of: RowsOf | None) -> None:
        self.execute = execute
        self._deliver = deliver
        self._rows_of = rows_of
        self._logged: set[str] = set()

    def __call__(
        self,
        batch: Batch,
        logger: Logger,
        *,
        is_last: bool,
        with_frames: bool = True,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Execute the runs that have not completed the step; runs that fail stay in `todo`.

        Args:
            batch: The runs.
            logger: Receives the output of the step, and its failures.
            is_last: Whether there are no more retries.
            with_frames: Whether errors are logged with their frames; the error that the execution
                raises at its end has them.
            check: Called after each outcome; raises if the execution was interrupted.
        """
        deliver_rows = None if self._rows_of is None else self._rows_of(batch)
        with closing(LiveLog(logger)) as live:
            for outcome in batch.attempt(lambda chunk: self.execute(chunk, deliver_rows)):
                live.show(outcome.records)
                if batch.here is not None:
                    batch.here.note(outcome)
                if outcome.rows and deliver_rows is None:
                    batch.rows += outcome.rows
                elif outcome.rows and deliver_rows is not None:
                    deliver_rows(outcome.rows, outcome.reply)
                if self._deliver is not None and (batch.done or batch.stopped):
                    self._deliver(batch)
                check()
        if batch.failures:
            self._log_failures(logger, batch, is_last, with_frames)

    def _log_failures(self, logger: Logger, batch: Batch, is_last: bool, with_frames: bool) -> None:
        """Log a line for each distinct error; with its frames the first time, if at all."""
        groups = grouped_failures(batch.failures)
        for group in groups[:ERRORS_LOGGED]:
            if not is_last:
                logger.warning("%s; tried again", group.line)
            elif group.place and f"{group.error_type} {group.place}" in self._logged:
                logger.error("%s", group.line)
            else:
                self._logged.add(f"{group.error_type} {group.place}")
                logger.error("%s%s", _wholly(batch, group), group if with_frames else group.line)
        if left := groups[ERRORS_LOGGED:]:
            count = sum(group.count for group in left)
            logger.error("%s other errors in %s other runs", len(left), count)


def failure_summary(batch: Batch) -> str:
    """Return a line about the runs that failed in the last attempt at a batch."""
    run, error = batch.failures[0]
    return f"{len(batch.failures)} of {batch.size} runs failed; {run}: {headline(error)}"


def _wholly(batch: Batch, group: FailureGroup) -> str:
    if group.count < batch.size or group.count == 1:
        return ""
    return (
        f'All {group.count:,} runs of the batch failed with one error; with on_error="stop" no '
        "runs are started after a failure.\n"
    )
