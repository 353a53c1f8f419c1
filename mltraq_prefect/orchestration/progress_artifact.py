"""A thread that tells the server how far an execution is, and hears from it of a cancellation.

It is a thread because a request may take a minute: Prefect's client waits for a server that is
restarted. The execution does not, and what the server misses is told later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import CancelledRun, PrefectException
from prefect.logging import get_run_logger

from mltraq_prefect.execution.fanout.executor import Progress
from mltraq_prefect.execution.fanout.progress import MINUTE, LogReporter
from mltraq_prefect.orchestration.artifacts import progress_key
from mltraq_prefect.orchestration.flow_run_names import name_flow_run
from mltraq_prefect.orchestration.late_flow_run import is_known
from mltraq_prefect.orchestration.prefect_compat import (
    create_progress,
    current_flow_run,
    update_progress,
)
from mltraq_prefect.orchestration.telling import leave, thread
from mltraq_prefect.reports.html.pictures import markdown_picture
from mltraq_prefect.reports.live_curves import LiveCurves
from mltraq_prefect.reports.summary import escaped

REPORT_SECONDS = 2.0

CURVES_SECONDS = 10.0
"""Curves, and the counts above them, are drawn no more often."""

CURVES_BYTES = 100_000
"""Room for curves in an artifact."""

RequestErrors = (httpx.HTTPError, PrefectException, OSError, ImportError)


class ProgressArtifact:
    """Updates a progress artifact of the current flow run: a `ProgressReporter`.

    Each minute it logs a line, too. Errors of requests are logged, never raised.

    Args:
        table: Name of the experiment's table; the key of the artifact is made of it.
        curves: What the runs have logged.
    """

    def __init__(self, table: str, curves: LiveCurves) -> None:
        self._key = progress_key(table)
        self._curves = curves
        self._curves_due = 0.0
        self._has_curves = False
        self._is_named = False
        self._flow_run: FlowRun | None = None
        self._artifact: UUID | None = None
        self._ended = threading.Event()
        self._is_last_wanted = False
        self._was_cancelled = False
        self._lines = LogReporter(get_run_logger(), MINUTE, has_end=False)

    def start(self, read: Callable[[], Progress]) -> None:
        """Start a thread that reports at regular intervals."""
        self._read = read
        self._lines.start(read)
        self._flow_run = current_flow_run()
        if self._flow_run is None:
            return
        self._thread = thread(partial(self._serve, self._flow_run), "reporter")
        self._thread.start()

    def tick(self, *, has_bar: bool) -> None:
        """Log a line if one is due; raise if the flow run was cancelled on the server.

        Raises:
            CancelledRun: It was.
        """
        if self._was_cancelled:
            progress = self._read()
            raise CancelledRun(f"experiment {progress.experiment!r}: cancelled; {progress.counts}")
        self._lines.tick(has_bar=has_bar)

    def end(self, *, is_interrupted: bool, has_bar: bool) -> None:
        """Report once more, unless interrupted, and wait for that, but not for long."""
        self._lines.end(is_interrupted=is_interrupted, has_bar=has_bar)
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
                self._curves_due = 0.0
                self._report(client, flow_run)

    def _report(self, client: SyncPrefectClient, flow_run: FlowRun) -> None:
        if is_known(flow_run):
            if not self._is_named:
                self._attempt(self._name, client, flow_run.id)
            self._attempt(self._send, client, flow_run.id)
            self._attempt(self._check_cancelled, client, flow_run.id)

    def _name(self, client: SyncPrefectClient, flow_run_id: UUID) -> None:
        name_flow_run(client, flow_run_id, self._read().experiment)
        self._is_named = True

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
        progress, text = self._read(), self._text()
        if self._artifact is not None:
            update_progress(client, self._artifact, progress.percent, text)
            return
        self._artifact = create_progress(
            client, flow_run_id, self._key, progress.percent, text or ""
        )

    def _text(self) -> str | None:
        """Return counts and curves as Markdown; None if those that were sent last are recent."""
        progress, now = self._read(), time.monotonic()
        text = f"{escaped(progress.experiment)}: {progress.counts}"
        if self._has_curves and now < self._curves_due:
            return None
        parts, room = [text], CURVES_BYTES
        for key, svg in self._curves.figures():
            drawn = markdown_picture(svg, escaped(key))
            room -= len(drawn)
            if room < 0:
                break
            parts.append(drawn)
        self._has_curves = len(parts) > 1
        self._curves_due = now + CURVES_SECONDS
        return "\n\n".join(parts)

    def _check_cancelled(self, client: SyncPrefectClient, flow_run_id: UUID) -> None:
        state = client.read_flow_run(flow_run_id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self._was_cancelled = True
