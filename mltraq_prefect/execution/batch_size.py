"""How runs are divided into batches, while it is learnt how long they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from mltraq_prefect.model.run import Run

TASK_RUNS_PER_STEP = 100
"""So many, a graph can show; there are more where a batch would take long, or workers wait."""
MOST_TASK_RUNS_PER_STEP = 1_000
TASK_RUNS_PER_WORKER = 8
LONG_SECONDS = 60.0
"""A batch that takes longer than this is made smaller, as far as the number of task runs allows."""

BATCH_SECONDS = 3.0
"""Short runs are put together in batches of about this much: each task run has its price."""
CHECKPOINTED_SECONDS = 1.0
"""The same, where a kill shall not cost more."""
LEAST_SECONDS = 0.25
"""Towards the end batches get smaller, but not smaller than this."""
MOST_RUNS = 1_000
"""Nor are batches made larger than this for speed: memory holds some of them."""

TRUST = 50
"""How long some runs took is not taken to hold for more than so many times as many."""

BATCHES_AHEAD = 2
"""So many batches a worker are on their way, so that it does not wait for the next."""

FIRST_BATCHES = 8
"""Of an execution that may stop early; there are more as they end well."""


class Pace:
    """How large batches shall be, and how many on their way; learnt from the runs that ended.

    A batch is a fair share of what is left, within bounds, so the workers end at about the same
    time (Polychronopoulos and Kuck, "Guided self-scheduling", 1987).

    Args:
        total: Number of runs.
        workers: How many batches are executed at the same time.
        seconds: How long a batch of short runs takes.
        fixed: Size of every batch, whatever is learnt; None if it follows from that.
        is_careful: Whether the execution may stop early: few batches are on their way at first.
    """

    def __init__(
        self,
        total: int,
        workers: int,
        seconds: float = BATCH_SECONDS,
        fixed: int | None = None,
        *,
        is_careful: bool = False,
    ) -> None:
        self._is_careful = is_careful
        self._total = total
        self._workers = workers
        self._seconds = seconds
        self._fixed = fixed
        self._ended = 0
        self._per_run = 0.0
        self._weight = 0.0

    def note(self, runs: Sequence[Run]) -> None:
        """Take runs that have ended. Those of late count most: the first ones import modules."""
        seconds = sum(run.ledger.duration_s or 0.0 for run in runs)
        before = self._per_run * self._weight / 2
        self._ended += len(runs)
        self._weight = self._weight / 2 + len(runs)
        self._per_run = (before + seconds) / self._weight

    def ahead(self) -> int:
        """Return how many batches to have on their way: at first, enough to tell the pace."""
        most = self._workers + min((BATCHES_AHEAD - 1) * self._workers, self._ended // 2)
        if not self._is_careful:
            return most
        return min(most, FIRST_BATCHES + 2 * (self._ended // (self._fixed or 1)))

    def size(self, left: int) -> int:
        """Return the size of the next batch.

        Args:
            left: Number of runs that are in no batch yet.
        """
        if self._fixed is not None:
            return self._fixed
        if not self._ended or self._total <= TASK_RUNS_PER_STEP:
            return 1
        # A fifth of the task runs is for the smaller batches at the end.
        fewest = self._total / (0.8 * self._task_runs())
        short = 1 / max(self._per_run, 1e-9)
        largest = max(fewest, min(self._seconds * short, MOST_RUNS, TRUST * self._ended))
        least = max(fewest / 4, LEAST_SECONDS * short)
        return ceil(min(largest, max(left / self._workers, least)))

    def _task_runs(self) -> float:
        """Return how many task runs a step may have."""
        wanted = (
            TASK_RUNS_PER_STEP,
            TASK_RUNS_PER_WORKER * self._workers,
            self._total * self._per_run / LONG_SECONDS,
        )
        return min(MOST_TASK_RUNS_PER_STEP, max(wanted))


def split(runs: Sequence[Run], pace: Pace) -> Iterator[tuple[str, list[Run]]]:
    """Yield label and runs of each batch.

    Args:
        runs: In the order of the experiment.
        pace: Tells the size of each batch when it is made.
    """
    total, start = len(runs), 0
    while start < total:
        members = list(runs[start : start + pace.size(total - start)])
        end = start + len(members)
        positions = f"{start + 1}-{end} of {total}"
        yield (members[0].describe() if len(members) == 1 else positions), members
        start = end
