"""A thread that tells the server how far an execution is, and hears from it of a cancellation.

It is a thread because a request may take a minute: Prefect's client waits for a server that is
restarted. The execution does not, and what the server misses is told later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import CancelledRun, PrefectException
from prefect.logging import get_run_logger

from mltraq_prefect.execution.fanout.executor import Progress
from mltraq_prefect.orchestration.artifacts import progress_key
from mltraq_prefect.orchestration.late_flow_run import is_known
from mltraq_prefect.orchestration.prefect_compat import (
    create_progress,
    current_flow_run,
    update_progress,
)
from mltraq_prefect.orchestration.telling import leave, thread

REPORT_SECONDS = 2.0

RequestErrors = (httpx.HTTPError, PrefectException, OSError, ImportError)


class ProgressArtifact:
    """Updates a progress artifact of the current flow run: a `ProgressReporter`.

    Errors of requests are logged, never raised.

    Args:
        table: Name of the experiment's table; the key of the artifact is made of it.
    """

    def __init__(self, table: str) -> None:
        self._key = progress_key(table)
        self._flow_run: FlowRun | None = None
        self._artifact: UUID | None = None
        self._ended = threading.Event()
        self._is_last_wanted = False
        self._was_cancelled = False

    def start(self, read: Callable[[], Progress]) -> None:
        """Start a thread that reports at regular intervals."""
        self._read = read
        self._flow_run = current_flow_run()
        if self._flow_run is None:
            return
        self._thread = thread(partial(self._serve, self._flow_run), "reporter")
        self._thread.start()

    def tick(self, *, has_bar: bool) -> None:  # noqa: ARG002
        """Raise if the flow run was cancelled on the server.

        Raises:
            CancelledRun: It was.
        """
        if self._was_cancelled:
            progress = self._read()
            raise CancelledRun(f"experiment {progress.experiment!r}: cancelled; {progress.counts}")

    def end(self, *, is_interrupted: bool, has_bar: bool) -> None:  # noqa: ARG002
        """Report once more, unless interrupted, and wait for that, but not for long."""
        self._is_last_wanted = not is_interrupted
        self._ended.set()
        if self._flow_run is None or is_interrupted:
            return
        leave(self._thread)

    def _serve(self, flow_run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            while not self._ended.wait(REPORT_SECONDS):
                self._report(client, flow_run)
            if self._is_last_wanted:
                self._report(client, flow_run)

    def _report(self, client: SyncPrefectClient, flow_run: FlowRun) -> None:
        if is_known(flow_run):
            self._attempt(self._send, client, flow_run.id)
            self._attempt(self._check_cancelled, client, flow_run.id)

    def _attempt(
        self,
        request: Callable[[SyncPrefectClient, UUID], None],
        client: SyncPrefectClient,
        flow_run_id: UUID,
    ) -> None:
        try:
            request(client, flow_run_id)
        except RequestErrors as error:
            get_run_logger().debug("the server did not answer to a report: %s", error)

    def _send(self, client: SyncPrefectClient, flow_run_id: UUID) -> None:
        progress = self._read()
        percent, text = progress.percent, f"{progress.experiment}: {progress.counts}"
        if self._artifact is not None:
            update_progress(client, self._artifact, percent, text)
            return
        self._artifact = create_progress(client, flow_run_id, self._key, percent, text)

    def _check_cancelled(self, client: SyncPrefectClient, flow_run_id: UUID) -> None:
        state = client.read_flow_run(flow_run_id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self._was_cancelled = True
