"""Progress of an execution, as a bar and as an artifact in the UI; and detection of cancellation.

Both displays are throttled, and neither can fail or delay an execution.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType

from prefect.exceptions import CancelledRun

from mltraq_prefect.model.run import Run
from mltraq_prefect.orchestration.artifacts import progress_key
from mltraq_prefect.orchestration.bars import Bar, bar
from mltraq_prefect.orchestration.prefect_compat import current_flow_run
from mltraq_prefect.orchestration.progress_reporter import Progress, ProgressReporter

BAR_SECONDS = 0.1
"""Interval at which the bar is updated, in seconds."""


class ProgressDisplay:
    """Counts of an execution, shown while it runs; used as a context manager by one thread.

    Args:
        experiment: Name of the experiment.
        table: Name of its table.
        total: Number of its runs.
        resumed: Number of runs that an earlier execution has completed.
    """

    def __init__(self, experiment: str, table: str, total: int, resumed: int) -> None:
        self._experiment = experiment
        self._key = progress_key(table)
        self._total = total
        self._resumed = resumed
        self._completed = 0
        self._failed = 0
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._reporter: ProgressReporter | None = None
        self._bar_due = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        self._bar = self._stack.enter_context(bar(self._experiment, self._total))
        flow_run = current_flow_run()
        if flow_run is not None:
            self._reporter = ProgressReporter(flow_run.id, self._key, self._report)
            self._reporter.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            self._draw()
            if self._reporter is not None:
                self._reporter.end(last=kind is None or issubclass(kind, Exception))
        if kind is None:
            self._refuse_cancelled()

    def add(self, runs: list[Run]) -> None:
        """Count runs that have ended."""
        failed = sum(run.ledger.state == "failed" for run in runs)
        self._failed += failed
        self._completed += len(runs) - failed

    def tick(self) -> None:
        """Update the display if it is due.

        Raises:
            CancelledRun: The flow run was cancelled.
        """
        now = time.monotonic()
        if now >= self._bar_due:
            self._bar_due = now + BAR_SECONDS
            self._draw()
        self._refuse_cancelled()

    def summary(self) -> str:
        """Return the counts as text."""
        parts = [f"{self._completed + self._resumed:,} of {self._total:,} runs completed"]
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        if self._resumed:
            parts.append(f"{self._resumed:,} resumed")
        return ", ".join(parts)

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar(self._ended(), self.summary())

    def _ended(self) -> int:
        return self._completed + self._failed + self._resumed

    def _refuse_cancelled(self) -> None:
        if self._reporter is not None and self._reporter.was_cancelled:
            raise CancelledRun(f"experiment {self._experiment!r}: cancelled; {self.summary()}")

    def _report(self) -> Progress:
        percent = 100.0 * self._ended() / self._total if self._total else 100.0
        return Progress(percent, f"{self._experiment}: {self.summary()}")
