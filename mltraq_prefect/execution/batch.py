"""A batch of runs on its way through the steps, and what becomes of it in each."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from mltraq_prefect.execution.attempt import THREAD, WORKER, Attempt, attempt
from mltraq_prefect.execution.copies import AtRest
from mltraq_prefect.execution.logs import LogRecord
from mltraq_prefect.execution.serialization import Parcel, rest
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.pickling import unpickled

Guard = Callable[[int], AbstractContextManager[None]]

EXCEPTION_BYTES = 100_000
"""An exception may hold anything; one that is larger when pickled is not handed over."""

PART_SECONDS = 0.5
"""A worker hands over what it has when this much time has passed since it last did."""


@dataclass(slots=True)
class Outcome:
    """What became of some runs of a parcel in one step.

    Attributes:
        count: Number of runs: the next ones of the parcel, in its order.
        done: Parcel of the runs that completed the step, or None.
        failed: Parcel of the runs that did not, as they were before it, or None.
        failures: Run for a person and traceback, one a failed run.
        records: What the step logged and printed.
        returned: Type of a value that the step returned, for which there is no use.
        exception: What the step raised in the first run that failed, if it can be handed over.
        changed: Globals that the step has changed, and that were put back.
    """

    count: int
    done: Parcel | None
    failed: Parcel | None
    failures: list[tuple[str, str]]
    records: list[LogRecord] = field(default_factory=list)
    returned: str | None = None
    exception: BaseException | None = None
    changed: set[str] = field(default_factory=set)


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
        exception: What the step raised in the first run that failed in the last attempt.
        changed: Globals that the step has changed, and that were put back.
    """

    __slots__ = ("changed", "done", "exception", "failures", "label", "returned", "size", "todo")

    def __init__(self, label: str, size: int, todo: list[Parcel]) -> None:
        self.label = label
        self.size = size
        self.todo = todo
        self.done: list[Parcel] = []
        self.failures: list[tuple[str, str]] = []
        self.returned: str | None = None
        self.exception: BaseException | None = None
        self.changed: set[str] = set()

    def attempt(self, execute: Callable[[Parcel], Iterator[Outcome]]) -> Iterator[Outcome]:
        """Execute what is to do. What fails stays to do, and so does what an exception prevented.

        Raises:
            RuntimeError: There are runs of which `execute` gave no outcome.
        """
        left, self.failures, self.exception = deque(self.todo), [], None
        failed: list[Parcel] = []
        handled = 0
        try:
            while left:
                for outcome in execute(left[0]):
                    handled += outcome.count
                    self._note(outcome, failed)
                    yield outcome
                if handled < len(left[0]):
                    raise RuntimeError(f"{self!r}: {len(left[0]) - handled} were not executed")
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
        self.exception = self.exception or outcome.exception
        self.changed |= outcome.changed

    def next(self) -> Batch | None:
        """Return the runs that completed this step, for the next; None if there are none."""
        if not self.done:
            return None
        return Batch(self.label, self.size - len(self.failures), self.done)

    def __repr__(self) -> str:
        return f"<runs {self.label}>"


def execute_packed(
    make_step: Callable[[], Step],
    kwargs: AtRest,
    parcel: Parcel,
    guard: Guard,
) -> Iterator[Outcome]:
    """Execute a step on the runs of a parcel; this is what worker processes do.

    Args:
        make_step: Returns what to execute, of which nobody else has changed anything.
        kwargs: Of which each run gets a copy as `run.kwargs`.
        parcel: The runs.
        guard: Makes a context in which the run of that place is executed.

    Yields:
        Outcomes, as time passes; their counts add up to the number of runs.
    """
    start = 0
    while start < len(parcel):
        attempts = _attempt_some(make_step, kwargs, parcel, start, guard)
        outcome = came_to(attempts)
        outcome.exception = _sendable(outcome.exception)
        yield outcome
        start += len(attempts)


def _attempt_some(
    make_step: Callable[[], Step], kwargs: AtRest, parcel: Parcel, start: int, guard: Guard
) -> list[Attempt]:
    """Attempt runs until it is time to hand over."""
    attempts: list[Attempt] = []
    has_exception = False
    until = time.monotonic() + PART_SECONDS
    for place in range(start, len(parcel)):
        if attempts and time.monotonic() >= until:
            break
        with guard(place):
            result = attempt(make_step(), parcel[place], kwargs, WORKER)
        if result.exception is not None and has_exception:
            result = result._replace(exception=None)  # it holds all that its frames hold
        has_exception = has_exception or result.exception is not None
        attempts.append(result)
    return attempts


def execute_here(step: Step, kwargs: AtRest, parcel: Parcel) -> Iterator[Outcome]:
    """Execute a step on runs in this thread, without seeding the global generators."""
    for resting in parcel:
        yield came_to([attempt(step, resting, kwargs, THREAD)])


def came_to(attempts: Sequence[Attempt]) -> Outcome:
    """Return the outcome of attempts at runs that follow each other in a parcel."""
    failed = [each for each in attempts if each.error is not None]
    return Outcome(
        len(attempts),
        [each.run for each in attempts if each.error is None] or None,
        [each.run for each in failed] or None,
        [(each.run.describe(), each.error or "") for each in failed],
        returned=next((each.returned for each in attempts if each.returned), None),
        exception=failed[0].exception if failed else None,
    )


def _sendable(error: BaseException | None) -> BaseException | None:
    """Return an exception if another process can read it, without its traceback."""
    if error is None:
        return None
    try:
        unpickled(packed := pickle.dumps(error))
    except Exception:
        return None
    return error if len(packed) < EXCEPTION_BYTES else None


def lost(parcel: Parcel, reason: str) -> Outcome:
    """Return the outcome of an attempt of which nothing came back: every run failed."""
    failed = []
    for resting in parcel:
        entry = resting.ledger()
        entry.attempts = entry.attempts + 1 if entry.state == "failed" else 1
        entry.state, entry.error, entry.error_type = "failed", reason, "WorkerDied"
        failed.append(resting.with_ledger(entry))
    failures = [(resting.describe(), reason) for resting in failed]
    return Outcome(len(failed), None, failed, failures)
