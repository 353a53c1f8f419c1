"""A thread that reports progress to the Prefect server, and asks it for a cancellation.

A request may take a minute, as Prefect's client waits for a server that restarts. The execution
does not wait; the next report includes what a failed one has missed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import NamedTuple
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from mltraq_prefect.orchestration.prefect_compat import create_progress, update_progress

REPORT_SECONDS = 2.0

LAST_SECONDS = 30.0
"""The end of an execution waits this long at most for its last report, in seconds."""

RequestErrors = (httpx.HTTPError, PrefectException, OSError, ImportError)


class Progress(NamedTuple):
    """Progress of an execution.

    Attributes:
        percent: From 0 to 100.
        description: The counts as text.
    """

    percent: float
    description: str


class ProgressReporter:
    """Updates a progress artifact of a flow run; errors are logged, never raised.

    Args:
        flow_run_id: Id of the flow run.
        key: Key of the artifact.
        read: Returns the progress; called in the reporter's thread.

    Attributes:
        was_cancelled: Whether the flow run was cancelled on the server.
    """

    def __init__(self, flow_run_id: UUID, key: str, read: Callable[[], Progress]) -> None:
        self._flow_run_id = flow_run_id
        self._key = key
        self._read = read
        self._artifact: UUID | None = None
        self._ended = threading.Event()
        self._is_last_wanted = False
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._serve,), name="reporter", daemon=True
        )
        self.was_cancelled = False

    def start(self) -> None:
        """Start reporting at regular intervals."""
        self._thread.start()

    def end(self, *, last: bool) -> None:
        """Stop.

        Args:
            last: Whether to report once more, and to wait for it for `LAST_SECONDS` at most.
        """
        self._is_last_wanted = last
        self._ended.set()
        if last:
            self._thread.join(LAST_SECONDS)

    def _serve(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._ended.wait(REPORT_SECONDS):
                self._report(client)
            if self._is_last_wanted:
                self._report(client)

    def _report(self, client: SyncPrefectClient) -> None:
        self._attempt(self._send, client)
        self._attempt(self._check_cancelled, client)

    def _attempt(
        self, request: Callable[[SyncPrefectClient], None], client: SyncPrefectClient
    ) -> None:
        try:
            request(client)
        except RequestErrors as error:
            get_run_logger().debug("the server did not answer to a report: %s", error)

    def _send(self, client: SyncPrefectClient) -> None:
        percent, text = self._read()
        if self._artifact is not None:
            update_progress(client, self._artifact, percent, text)
            return
        self._artifact = create_progress(client, self._flow_run_id, self._key, percent, text)

    def _check_cancelled(self, client: SyncPrefectClient) -> None:
        state = client.read_flow_run(self._flow_run_id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self.was_cancelled = True
