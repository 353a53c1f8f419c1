"""How far an execution is: a bar in a terminal, an artifact in the UI; and whether to go on.

All of it is throttled, and none of it can make an execution fail: a server that does not answer is
asked again later.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import CancelledRun, PrefectException
from prefect.logging import get_run_logger
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mltraq_prefect.orchestration.artifacts import artifact_key
from mltraq_prefect.run import Run

ARTIFACT_SECONDS = 2.0
BAR_SECONDS = 0.1

Trouble = (httpx.HTTPError, PrefectException, OSError)


class ShownProgress:
    """Counts of an execution, shown while it goes on; used as a context manager by one thread.

    Args:
        experiment: Name of the experiment.
        table: Name of its table.
        total: Number of its runs.
        resumed: Runs that an earlier execution has completed.
    """

    def __init__(self, experiment: str, table: str, total: int, resumed: int) -> None:
        self._experiment = experiment
        self._key = f"{artifact_key(table)}-progress"
        self._total = total
        self._resumed = resumed
        self._completed = 0
        self._failed = 0
        self._stack = ExitStack()
        self._bar: Callable[[], None] | None = None
        self._artifact: UUID | None = None
        self._bar_due = self._artifact_due = time.monotonic()

    def __enter__(self) -> ShownProgress:
        if sys.stderr.isatty():
            self._bar = self._start_bar()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if self._bar is not None:
                self._bar()
            if kind is None or issubclass(kind, Exception):
                self._show_artifact()

    def add(self, runs: list[Run]) -> None:
        """Count runs that have ended."""
        failed = sum(run.ledger.state == "failed" for run in runs)
        self._failed += failed
        self._completed += len(runs) - failed

    def tick(self) -> None:
        """Show what is due.

        Raises:
            CancelledRun: The flow run was cancelled.
        """
        now = time.monotonic()
        if self._bar is not None and now >= self._bar_due:
            self._bar_due = now + BAR_SECONDS
            self._bar()
        if now >= self._artifact_due:
            self._show_artifact()
            self._refuse_cancelled()
            self._artifact_due = time.monotonic() + ARTIFACT_SECONDS

    def summary(self) -> str:
        """Return the counts for a person."""
        parts = [f"{self._completed + self._resumed:,} of {self._total:,} runs completed"]
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        if self._resumed:
            parts.append(f"{self._resumed:,} resumed")
        return ", ".join(parts)

    def _start_bar(self) -> Callable[[], None]:
        from rich.console import Console

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[summary]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=5)
        bar = self._stack.enter_context(progress)
        task = bar.add_task(self._experiment, total=self._total, summary=self.summary())

        def update() -> None:
            bar.update(task, completed=self._ended(), summary=self.summary())

        return update

    def _ended(self) -> int:
        return self._completed + self._failed + self._resumed

    def _show_artifact(self) -> None:
        percent = 100.0 * self._ended() / self._total if self._total else 100.0
        description = f"{self._experiment}: {self.summary()}"
        try:
            if self._artifact is None:
                created = create_progress_artifact(percent, self._key, description)
                self._artifact = cast(UUID, created)
            else:
                update_progress_artifact(self._artifact, percent, description)
        except Trouble as error:
            get_run_logger().debug("the progress artifact was not updated: %s", error)

    def _refuse_cancelled(self) -> None:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(context.flow_run.id).state
        except Trouble as error:
            get_run_logger().debug("the state of the flow run was not read: %s", error)
            return
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            raise CancelledRun(f"experiment {self._experiment!r}: cancelled; {self.summary()}")
