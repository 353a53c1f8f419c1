"""A thread that tells the server how far an execution is, and hears from it of a cancellation.

It is a thread because a request may take a minute: Prefect's client waits for a server that is
restarted. The execution does not, and what the server misses is told later.
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
"""The end of an execution waits so long at most for its last report."""

Trouble = (httpx.HTTPError, PrefectException, OSError, ImportError)


class Report(NamedTuple):
    """How far an execution is.

    Attributes:
        percent: From 0 to 100.
        description: For a person.
    """

    percent: float
    description: str


class Reporter:
    """Keeps a progress artifact of a flow run; nothing that goes wrong here is raised.

    Args:
        flow_run_id: The flow run.
        key: Of the artifact.
        read: Says how far the execution is; called in the reporter's thread.

    Attributes:
        was_cancelled: Whether the server has said that the flow run shall end.
    """

    def __init__(self, flow_run_id: UUID, key: str, read: Callable[[], Report]) -> None:
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
        """Report in regular intervals."""
        self._thread.start()

    def end(self, *, last: bool) -> None:
        """Stop.

        Args:
            last: Whether to report and listen once more, and to wait for that, but not for long.
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
        self._try(self._tell, client)
        self._try(self._listen, client)

    def _try(self, request: Callable[[SyncPrefectClient], None], client: SyncPrefectClient) -> None:
        try:
            request(client)
        except Trouble as error:
            get_run_logger().debug("the server did not answer to a report: %s", error)

    def _tell(self, client: SyncPrefectClient) -> None:
        percent, text = self._read()
        if self._artifact is not None:
            update_progress(client, self._artifact, percent, text)
            return
        self._artifact = create_progress(client, self._flow_run_id, self._key, percent, text)

    def _listen(self, client: SyncPrefectClient) -> None:
        state = client.read_flow_run(self._flow_run_id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self.was_cancelled = True
