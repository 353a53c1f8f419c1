"""Progress of an execution, as a bar, and as lines of the log where there is none.

Both are throttled, and neither can fail or delay an execution.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from mltraq_prefect.execution.fanout.bars import Bar, bar
from mltraq_prefect.execution.fanout.executor import Progress, ProgressReporter
from mltraq_prefect.execution.fanout.live_log import Logger
from mltraq_prefect.model.run import Run

BAR_SECONDS = 0.1
"""Interval at which the bar is updated, in seconds."""

LINE_SECONDS = 10.0
"""Interval of the first lines of the log, in seconds."""

LINE_SHARE = 0.1
"""The interval is at least this share of the time since the start, to limit the lines."""

MINUTE = 60.0
"""The longest interval of lines, and that in flows, which have a progress bar in the UI."""


class Elsewhere(NamedTuple):
    """How far the other processes of a shared execution are.

    Attributes:
        completed: Runs that they have completed, or stopped early.
        failed: Runs that have failed there.
        processes: How many processes take part, with this one.
    """

    completed: int
    failed: int
    processes: int


class ProgressDisplay:
    """Counts of an execution, shown while it runs; used by one thread.

    Args:
        experiment: Name of the experiment.
        total: Number of its runs.
        resumed: Number of runs that an earlier execution has completed or stopped.
        resumed_stopped: How many of these were stopped.
    """

    def __init__(self, experiment: str, total: int, resumed: int, resumed_stopped: int = 0) -> None:
        self._experiment = experiment
        self._total = total
        self._resumed = resumed
        self._resumed_stopped = resumed_stopped
        self._completed = 0
        self._failed = 0
        self._stopped = 0
        self._elsewhere: Elsewhere | None = None
        self._bar: Bar | None = None
        self._reporter: ProgressReporter | None = None
        self._began = self._bar_due = time.monotonic()

    @contextmanager
    def shown(self, reporter: ProgressReporter) -> Iterator[None]:
        """Show the progress within a context.

        Args:
            reporter: Receives the progress too.

        Raises:
            Exception: The reporter says that the execution was cancelled.
        """
        with ExitStack() as stack:
            self._bar = stack.enter_context(bar(self._experiment, self._total))
            self._reporter, self._began = reporter, time.monotonic()
            reporter.start(self.progress)
            is_interrupted = True
            try:
                yield
                is_interrupted = False
            except Exception:
                is_interrupted = self._ended() == self._resumed  # the error says all there is
                raise
            finally:
                self._draw()
                reporter.end(is_interrupted=is_interrupted, has_bar=self._bar is not None)
        reporter.tick(has_bar=self._bar is not None)

    def add(self, runs: list[Run]) -> None:
        """Count runs that have ended."""
        states = Counter(run.ledger.state for run in runs)
        self._failed += states["failed"]
        self._stopped += states["stopped"]
        self._completed += len(runs) - states["failed"] - states["stopped"]

    def note_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Note how far other processes are with the same runs; any thread may call it."""
        self._elsewhere = elsewhere

    def tick(self) -> None:
        """Update the display if it is due.

        Raises:
            Exception: The reporter says that the execution was cancelled.
        """
        now = time.monotonic()
        if now >= self._bar_due:
            self._bar_due = now + BAR_SECONDS
            self._draw()
        if self._reporter is not None:
            self._reporter.tick(has_bar=self._bar is not None)

    def progress(self) -> Progress:
        """Return the progress."""
        percent = 100.0 * self._ended() / self._total if self._total else 100.0
        is_idle = self._resumed == self._total
        return Progress(percent, self._experiment, self._counts(), self._left(), is_idle)

    def _left(self) -> float | None:
        """Return how long the rest takes, by what the runs of this execution have taken."""
        ended = self._ended()
        done, left = ended - self._resumed, self._total - ended
        return (time.monotonic() - self._began) * left / done if done and left else None

    def _counts(self) -> str:
        others = self._elsewhere or Elsewhere(0, 0, 0)
        completed = self._completed + self._resumed - self._resumed_stopped + others.completed
        parts = [f"{min(completed, self._total):,} of {self._total:,} runs completed"]
        if failed := self._failed + others.failed:
            parts.append(f"{failed:,} failed")
        if others.processes > 1:
            parts.append(f"{self._completed:,} of them here, {others.processes:,} processes")
        if stopped := self._stopped + self._resumed_stopped:
            parts.append(f"{stopped:,} stopped")
        if self._resumed:
            parts.append(f"{self._resumed:,} resumed")
        return ", ".join(parts)

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar(self._ended(), self._counts())

    def _ended(self) -> int:
        others = self._elsewhere or Elsewhere(0, 0, 0)
        here = self._completed + self._failed + self._stopped + self._resumed
        return min(self._total, here + others.completed + others.failed)


class LogReporter:
    """Logs the progress at intervals and at the end, unless there is a bar.

    Args:
        logger: Logger of the execution.
        first_seconds: The first interval.
        has_end: Whether the end gets a line, too, if anything was executed.
    """

    def __init__(
        self, logger: Logger, first_seconds: float | None = None, *, has_end: bool = True
    ) -> None:
        self._logger = logger
        self._first = LINE_SECONDS if first_seconds is None else first_seconds
        self._has_end = has_end
        self._read: Callable[[], Progress] | None = None
        self._began = self._last = time.monotonic()

    def start(self, read: Callable[[], Progress]) -> None:
        """Start reporting."""
        self._read = read
        self._began = self._last = time.monotonic()

    def tick(self, *, has_bar: bool) -> None:
        """Log a line if one is due."""
        now = time.monotonic()
        pause = max(self._first, min(LINE_SHARE * (now - self._began), MINUTE))
        if not has_bar and now - self._last >= pause:
            self._last = now
            self._log(_left)

    def end(self, *, is_interrupted: bool, has_bar: bool) -> None:
        """Log the last line, unless the execution was interrupted."""
        if has_bar or is_interrupted or self._read is None:
            return
        if self._read().is_idle:
            self._log(lambda _: ": there was nothing to execute")
        elif self._has_end:
            took = f" in {time.monotonic() - self._began:,.1f} s"
            self._log(lambda _: took)

    def _log(self, more: Callable[[Progress], str]) -> None:
        if self._read is not None:
            progress = self._read()
            counts = f"{progress.counts}{more(progress)}"
            self._logger.info("experiment %r: %s", progress.experiment, counts)


def _left(progress: Progress) -> str:
    seconds = progress.left_s
    if seconds is None:
        return ""
    for unit, length in (("h", 3600.0), ("min", MINUTE)):
        if seconds >= 1.5 * length:
            return f", about {seconds / length:,.1f} {unit} left"
    return f", about {seconds:.0f} s left"
