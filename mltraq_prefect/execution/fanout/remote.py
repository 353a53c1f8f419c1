"""What workers of a cluster ask of the process of the execution, while their batches are away.

They send contents of files and ask for stored ones (`remote_files.py`), and deliver the rows that
runs log. The answer comes when these are taken in, with the decisions
on their attempts: so a worker that is faster than the database waits, and a batch never comes back
before its rows. When a batch has ended, they hear which rows it has to give anew.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mltraq_prefect.execution.batch import Batch, DeliverRows
from mltraq_prefect.execution.fanout.batch_here import BatchHere, SentRows
from mltraq_prefect.execution.fanout.calls import Answer, Call, CallLost, Serve, told
from mltraq_prefect.execution.fanout.remote_files import FileRequests
from mltraq_prefect.execution.fanout.row_owners import Ended, OwnSeries
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.judge import Reply, Verdict
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.series import LoggedRows


class TakesRows(Protocol):
    """Takes rows in the process of the execution."""

    def log_and_tell(self, rows: list[LoggedRows], tell: Callable[[list[Verdict]], None]) -> None:
        """Take rows, and tell the decisions on their attempts when all of them are taken in."""

    def settle_and_tell(self, ended: Ended, tell: Callable[[list[OwnSeries]], None]) -> None:
        """Write the rows before, and tell which of those that were sent are not there."""


FILE_THREADS = 2
"""Threads that answer requests about files."""


@dataclass(frozen=True, slots=True)
class RowSender:
    """Delivers rows from a worker of a cluster.

    Attributes:
        call: Sends them.
    """

    call: Call

    def of(self, batch: Batch) -> DeliverRows:
        """Return what delivers the rows of a batch."""
        return partial(self._send, batch.here.rows)

    def _send(self, sent: SentRows, rows: list[LoggedRows], reply: Reply | None) -> None:
        """Deliver rows, and send decisions to where their steps are executed.

        Raises:
            CallLost: Nobody takes them.
        """
        own = [each._replace(sender=sent.sender) for each in rows]
        request = pickle.dumps(own, pickle.HIGHEST_PROTOCOL)
        sent.keep(own, request)
        for verdict in unpickled(self.call(request)):
            if reply is not None:
                reply(verdict)

    def settle(self, here: BatchHere) -> list[LoggedRows]:
        """Return the rows of a batch that has ended which are to be written with its runs.

        The others are there: all of them, if nobody else has executed the batch. If the process of
        the execution does not answer, it may have none.
        """
        ended = Ended(here.rows.sender, list(here.begun), sorted(here.rows.logged))
        try:
            wrong = unpickled(self.call(pickle.dumps(ended)))
        except CallLost:
            here.is_alone, wrong = True, ended.logged
        return list(here.rows.of(wrong))


def serving(stack: ExitStack, rows: TakesRows, files: Desk) -> Serve:
    """Return what serves the requests of workers.

    Args:
        stack: Ends that when it closes.
        rows: Takes rows.
        files: Where files go, and come from.
    """
    requests = FileRequests(files)
    threads = ThreadPoolExecutor(FILE_THREADS, "mltraq files")
    stack.callback(threads.shutdown, cancel_futures=True)

    def serve(request: bytes, answer: Answer) -> None:
        found = unpickled(request)
        if isinstance(found, list):
            rows.log_and_tell(found, lambda verdicts: answer(pickle.dumps(verdicts)))
        elif isinstance(found, Ended):
            rows.settle_and_tell(found, lambda wrong: answer(pickle.dumps(wrong)))
        else:  # a disk may be slow, and rows are not to wait
            with suppress(RuntimeError):  # the execution has ended
                threads.submit(told(lambda: answer(pickle.dumps(requests.answer(found)))))

    return serve
