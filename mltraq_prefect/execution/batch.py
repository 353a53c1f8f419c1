"""A batch of runs on its way through the steps, and what becomes of it in each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from mltraq_prefect.execution.attempt import attempt
from mltraq_prefect.execution.logs import LogRecord
from mltraq_prefect.execution.parcels import (
    Packed,
    Parcel,
    opened,
    pack_done,
    pack_runs,
    rest,
    size_of,
)
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.run import Namespace, Run

Guard = Callable[[int], AbstractContextManager[None]]

PART_SECONDS = 0.5
"""A worker hands over what it has when this much time has passed since it last did."""


@dataclass(slots=True)
class Outcome:
    """What became of some runs of a parcel in one step.

    Attributes:
        count: Number of runs: the next ones of the parcel, in its order; 0 if it is
            only records, while a step is executed.
        done: Parcel of the runs that completed the step, or None.
        failed: Parcel of the runs that did not, as they were before it, or None.
        failures: Run for a person and traceback, one a failed run.
        records: What the step logged and printed.
        returned: Type of a value that the step returned, for which there is no use.
    """

    count: int
    done: Parcel | None
    failed: Parcel | None
    failures: list[tuple[str, str]]
    records: list[LogRecord] = field(default_factory=list)
    returned: str | None = None


def only_records(records: list[LogRecord]) -> Outcome:
    """Return what a step has logged and printed so far."""
    return Outcome(0, None, None, [], records)


class Batch:
    """The runs that one task run handles, in one step.

    Attributes:
        label: Its runs for a person: params of a single run, else positions (``101-200 of 1000``).
        size: Number of runs.
        todo: Parcels of the runs that have yet to complete the step.
        done: Parcels of those that have, unless they were delivered already.
        failures: Of the last attempt: run for a person and traceback, one a failed run.
        returned: Type of a value that the step returned, if it did.
    """

    __slots__ = ("done", "failures", "label", "returned", "size", "todo")

    def __init__(self, label: str, size: int, todo: list[Parcel]) -> None:
        self.label = label
        self.size = size
        self.todo = todo
        self.done: list[Parcel] = []
        self.failures: list[tuple[str, str]] = []
        self.returned: str | None = None

    def attempt(self, execute: Callable[[Parcel], Iterator[Outcome]]) -> Iterator[Outcome]:
        """Execute what is to do. What fails stays to do, and so does what an exception prevented.

        Raises:
            RuntimeError: There are runs of which `execute` gave no outcome.
        """
        left, self.failures = deque(self.todo), []
        failed: list[Parcel] = []
        handled = 0
        try:
            while left:
                for outcome in execute(left[0]):
                    handled += outcome.count
                    self._note(outcome, failed)
                    yield outcome
                if handled < size_of(left[0]):
                    raise RuntimeError(f"{self!r}: {size_of(left[0]) - handled} were not executed")
                left.popleft()
                handled = 0
        finally:
            self.todo = failed + rest(left, handled)

    def _note(self, outcome: Outcome, failed: list[Parcel]) -> None:
        if outcome.done is not None:
            self.done.append(outcome.done)
        if outcome.failed is not None:
            failed.append(outcome.failed)
        self.failures += outcome.failures
        self.returned = self.returned or outcome.returned

    def next(self) -> Batch | None:
        """Return the runs that completed this step, for the next; None if there are none."""
        if not self.done:
            return None
        return Batch(self.label, self.size - len(self.failures), self.done)

    def __repr__(self) -> str:
        return f"<runs {self.label}>"


def execute_packed(
    step: Step,
    kwargs: Mapping[str, Any],
    parcel: Packed,
    guard: Guard,
) -> Iterator[Outcome]:
    """Execute a step on the runs of a pickled parcel; this is what worker processes do.

    Args:
        step: What to execute.
        kwargs: What the runs get as `run.kwargs`.
        parcel: Pickled runs.
        guard: Makes a context in which the run of that place is executed.

    Yields:
        Outcomes, as time passes; their counts add up to the number of runs.
    """
    runs = opened(parcel)
    start = 0
    while start < len(runs):
        end, errors, returned = _attempt_some(step, kwargs, runs, start, guard)
        members = runs[start:end]
        done, unpacked = pack_done([run for run in members if run.id_run not in errors])
        errors |= unpacked
        failed = _as_before(opened(parcel)[start:end], members, errors) if errors else []
        packed = pack_runs(failed) if failed else None
        yield Outcome(end - start, done, packed, described(failed), returned=returned)
        start = end


def _attempt_some(
    step: Step,
    kwargs: Mapping[str, Any],
    runs: Sequence[Run],
    start: int,
    guard: Guard,
) -> tuple[int, dict[str, str], str | None]:
    """Attempt runs until it is time to hand over; return the end, errors, type returned."""
    errors: dict[str, str] = {}
    returned: str | None = None
    until = time.monotonic() + PART_SECONDS
    end = start
    while end < len(runs) and (end == start or time.monotonic() < until):
        run = runs[end]
        run.kwargs = Namespace(kwargs)
        with guard(end):
            result = attempt(step, run, seeded=True)
        if result.error is not None:
            errors[run.id_run] = result.error
        returned = returned or result.returned
        end += 1
    return end, errors, returned


def execute_here(step: Step, parcel: list[Run]) -> Iterator[Outcome]:
    """Execute a step on runs in this thread, without seeding the global generators."""
    for run in parcel:
        before = run.copy()
        result = attempt(step, run, seeded=False)
        if result.error is None:
            yield Outcome(1, [run], None, [], returned=result.returned)
        else:
            failed = _as_before([before], [run], {run.id_run: result.error})
            yield Outcome(1, None, failed, described(failed), returned=result.returned)


def lost(runs: list[Run], reason: str) -> Outcome:
    """Return the outcome of an attempt of which nothing came back: every run failed."""
    for run in runs:
        entry = run.ledger
        entry.attempts = entry.attempts + 1 if entry.state == "failed" else 1
        entry.state, entry.error, entry.error_type = "failed", reason, "WorkerDied"
    return Outcome(len(runs), None, pack_runs(runs), described(runs))


def _as_before(before: list[Run], after: list[Run], errors: dict[str, str]) -> list[Run]:
    """Return the failed runs as they were before the step, with a ledger that tells the failure."""
    ledgers = {run.id_run: run.ledger for run in after}
    failed = [run for run in before if run.id_run in errors]
    for run in failed:
        run.ledger = ledgers[run.id_run]
        run.ledger.state = "failed"
        run.ledger.error = errors[run.id_run]
        run.ledger.error_type = run.ledger.error_type or "PicklingError"
    return failed


def described(failed: list[Run]) -> list[tuple[str, str]]:
    """Return run for a person and error of each failed run."""
    return [(run.describe(), run.ledger.error or "") for run in failed]
