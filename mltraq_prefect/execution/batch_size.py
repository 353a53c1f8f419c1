"""Division of runs into batches, by the durations of the runs that have ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

from mltraq_prefect.model.description import describe
from mltraq_prefect.model.run import Run

TASK_RUNS_PER_STEP = 100
"""A graph can show this many. There are more where a batch would take long, or workers wait."""
MAX_TASK_RUNS_PER_STEP = 1_000
TASK_RUNS_PER_WORKER = 8
MAX_BATCH_SECONDS = 60.0
"""A longer batch is made smaller, as far as the number of task runs allows."""

BATCH_SECONDS = 3.0
"""Target duration of a batch of short runs: each task run has an overhead."""
CHECKPOINTED_SECONDS = 1.0
"""The same with checkpoints: a killed execution loses no more than this."""
MIN_BATCH_SECONDS = 0.25
"""Batches get smaller towards the end, but not shorter than this."""
MAX_BATCH_RUNS = 1_000
"""Batches are not made larger than this for speed: memory holds several of them."""

MAX_EXTRAPOLATION = 50
"""The mean duration of n runs is used to plan at most this many times n runs."""

BATCHES_IN_FLIGHT = 2
"""Batches in flight for each worker, so that it does not wait for the next one."""

SHORT_WAIT_SECONDS = 1.0
"""What another process could execute waits no longer than that for a worker of this one."""

COMPARED_RUNS = 1_000
"""Runs that are compared to find the params that vary, by which batches of one run are named."""

FIRST_BATCHES = 8
"""Batches in flight at first if the execution may stop early; more follow as they succeed."""


class BatchSizer:
    """Chooses the size of each batch, and how many are in flight, from the runs that have ended.

    A batch is a fair share of the remaining runs, within bounds, so that all workers end at about
    the same time (Polychronopoulos and Kuck, "Guided self-scheduling", 1987).

    Args:
        total: Number of runs.
        workers: Number of batches that are executed at the same time.
        seconds: Target duration of a batch of short runs.
        fixed: Size of every batch; None derives it from durations.
        starts_small: Whether only few batches are in flight at first.
        in_lockstep: Whether none waits for a worker, because those at work may wait for it.
        is_shared: Whether other processes could execute what waits for a worker.
    """

    def __init__(
        self,
        total: int,
        workers: int,
        seconds: float = BATCH_SECONDS,
        fixed: int | None = None,
        *,
        starts_small: bool = False,
        in_lockstep: bool = False,
        is_shared: bool = False,
    ) -> None:
        self._is_shared = is_shared
        self._in_lockstep = in_lockstep
        self._starts_small = starts_small
        self._total = total
        self._workers = workers
        self._seconds = seconds
        self._fixed = fixed
        self._ended = 0
        self._per_run = 0.0
        self._weight = 0.0

    def observe(self, runs: Sequence[Run]) -> None:
        """Learn from runs that have ended; recent ones weigh more: the first import modules."""
        seconds = sum(run.ledger.duration_s or 0.0 for run in runs)
        before = self._per_run * self._weight / 2
        self._ended += len(runs)
        self._weight = self._weight / 2 + len(runs)
        self._per_run = (before + seconds) / self._weight

    def max_in_flight(self) -> int:
        """Return how many batches may be in flight: at first, enough to measure durations."""
        waits_long = (self._fixed or 1) * self._per_run > SHORT_WAIT_SECONDS
        if self._in_lockstep or (self._is_shared and waits_long):
            return self._workers
        most = self._workers + min((BATCHES_IN_FLIGHT - 1) * self._workers, self._ended // 2)
        if not self._starts_small:
            return most
        return min(most, FIRST_BATCHES + 2 * (self._ended // (self._fixed or 1)))

    def size(self, left: int) -> int:
        """Return the size of the next batch.

        Args:
            left: Number of runs that are not in a batch yet.
        """
        if self._fixed is not None:
            return self._fixed
        if not self._ended or self._total <= TASK_RUNS_PER_STEP:
            return 1
        # A fifth of the task runs is for the smaller batches at the end.
        fewest = self._total / (0.8 * self._task_runs())
        short = 1 / max(self._per_run, 1e-9)
        largest = max(
            fewest, min(self._seconds * short, MAX_BATCH_RUNS, MAX_EXTRAPOLATION * self._ended)
        )
        least = max(fewest / 4, MIN_BATCH_SECONDS * short)
        return ceil(min(largest, max(left / self._workers, least)))

    def _task_runs(self) -> float:
        """Return how many task runs a step may have."""
        wanted = (
            TASK_RUNS_PER_STEP,
            TASK_RUNS_PER_WORKER * self._workers,
            self._total * self._per_run / MAX_BATCH_SECONDS,
        )
        return min(MAX_TASK_RUNS_PER_STEP, max(wanted))


Divide = Callable[[BatchSizer], Iterator[tuple[str, list[Run]] | None]]
"""Yields the label and the runs of each batch, or None if there is none just now."""


@dataclass(frozen=True, slots=True)
class Work:
    """What an execution executes.

    Attributes:
        total: Number of runs.
        runs: Those that there are from the start: all, unless they are made while others execute.
        divide: Divides them into batches.
    """

    total: int
    runs: Sequence[Run]
    divide: Divide

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Work:
        """Return the work on runs that are all there, and that nobody else executes."""
        return cls(len(runs), runs, partial(split, runs))


def split(runs: Sequence[Run], sizer: BatchSizer) -> Iterator[tuple[str, list[Run]]]:
    """Yield the label and the runs of each batch.

    Args:
        runs: In the order of the experiment.
        sizer: Chooses the size of each batch when it is made.
    """
    total, start = len(runs), 0
    names: set[str] | None = None
    while start < total:
        members = list(runs[start : start + sizer.size(total - start)])
        end = start + len(members)
        label = f"{start + 1}-{end} of {total}"
        if len(members) == 1:
            names = _varying(runs) if names is None else names
            label = _described(members[0], names)
        yield label, members
        start = end


def _varying(runs: Sequence[Run]) -> set[str]:
    """Return the params in which runs differ, as far as the first ones tell."""
    first, found = runs[0].params, set[str]()
    for run in itertools.islice(runs, 1, COMPARED_RUNS):
        others = [key for key in {*first, *run.params} if key not in found]
        found.update(key for key in others if not _is_same(first, run.params, key))
    return found


def _is_same(params: Mapping[str, Any], others: Mapping[str, Any], key: str) -> bool:
    if key not in params or key not in others:
        return False
    value, other = params[key], others[key]
    return value is other or describe({key: value}) == describe({key: other})


def _described(run: Run, names: set[str]) -> str:
    varying = {key: run.params[key] for key in run.params if key in names}  # `items` may be a param
    return describe(varying or run.params)
