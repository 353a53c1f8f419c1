"""Rows that runs log, on their way into the thread of the execution."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from mltraq_prefect.execution.batch import Batch, DeliverRows
from mltraq_prefect.execution.fanout.executor import Collector
from mltraq_prefect.execution.fanout.row_owners import Ended, OwnSeries, RowOwners
from mltraq_prefect.execution.judge import Judge, Reply, Verdict
from mltraq_prefect.execution.pool.parent import WorkersClosed
from mltraq_prefect.model.series import LoggedRows

POLL_SECONDS = 0.2

ROWS_IN_FLIGHT = 8
"""Messages with logged rows that are waiting; who has another one waits, and so does its worker."""


class RowIntake:
    """Gives rows to the collector and to the judge, in the thread of the execution.

    Args:
        arrived: What that thread does next.
        collector: Takes the rows.
        judge: Decides on their attempts, if somebody does.
    """

    def __init__(
        self,
        arrived: queue.SimpleQueue[Callable[[], None]],
        collector: Collector,
        judge: Judge | None,
    ) -> None:
        self._arrived = arrived
        self._collector = collector
        self._judge = judge
        self._owners = RowOwners(collector.has_ended)
        self._room = threading.Semaphore(ROWS_IN_FLIGHT)
        self._is_closed = False

    def close(self) -> None:
        """Let nobody wait any longer: the execution ends."""
        self._is_closed = True

    def of(self, _batch: Batch) -> DeliverRows:
        """Return what takes the rows of a batch that is executed in this process."""
        return self.log

    def log(self, rows: list[LoggedRows], reply: Reply | None) -> None:
        """Take rows that runs log; any thread may call it, and waits if too many have arrived.

        Raises:
            WorkersClosed: The execution was interrupted; a run without its rows has not ended.
        """
        self._wait_for_room()
        self._arrived.put(partial(self._log, rows, reply))

    def log_and_tell(self, rows: list[LoggedRows], tell: Callable[[list[Verdict]], None]) -> None:
        """Take rows of a worker that waits until they are taken in, and for what is decided."""

        def log() -> None:
            verdicts: list[Verdict] = []
            self._log(rows, verdicts.append)
            tell(verdicts)

        self._take_in_turn(log)

    def settle_and_tell(self, ended: Ended, tell: Callable[[list[OwnSeries]], None]) -> None:
        """Take that a batch has ended, whose worker waits until its rows are written.

        It is told which of them are not there, as they are another worker's, or were refused.
        """

        def settle() -> None:
            self._room.release()
            wrong = self._owners.settle(ended)
            # Its runs are not to be there without rows that the database has refused.
            tell(wrong if self._collector.flush_rows() else [*{*wrong, *ended.logged}])

        self._take_in_turn(settle)

    def forget(self, ids: Iterable[str]) -> None:
        """Forget runs that have ended."""
        self._owners.forget(ids)

    def _take_in_turn(self, take: Callable[[], None]) -> None:
        with suppress(WorkersClosed):  # nobody is told
            self._wait_for_room()
            self._arrived.put(take)

    def _wait_for_room(self) -> None:
        while not self._room.acquire(timeout=POLL_SECONDS):
            if self._is_closed:
                raise WorkersClosed("the execution was interrupted")

    def _log(self, rows: list[LoggedRows], reply: Reply | None) -> None:
        self._room.release()
        self._collector.log(self._owners.admitted(rows))
        if self._judge is not None:
            self._judge.take(self._owners.judged(rows), reply)
