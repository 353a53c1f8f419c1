"""What the ledger says of a run."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

State = Literal["pending", "completed", "failed", "stopped"]


DONE = frozenset(("completed", "stopped"))
"""States of a step whose results count."""

_HALTED = frozenset(("failed", "stopped"))
"""States of a run that may not have come to all steps of its execution."""

EARLIEST, SUM, LARGEST = ({"joined": function} for function in (min, sum, max))
"""How the values that several attempts, or several steps, have for a fact become one."""


@dataclass
class Facts:
    """What is known of the attempts at one step, and of the attempts at all steps of a run.

    Each field is a column of the ledger in both tables. One that is declared with ``EARLIEST``,
    ``SUM`` or ``LARGEST`` as metadata has that of its steps in the summary of a run; any other has
    the value of the step that was executed last.

    Attributes:
        attempts: Number of attempts in the last execution.
        started_at: Start of the first attempt (UTC, aware), or None.
        duration_s: Compute time of all attempts, in seconds, or None.
        flow_run_id: Id of the Prefect flow run, or None.
        task_run_id: Id of the Prefect task run, or None.
        cpu_s: CPU time of all attempts, in seconds, with threads and processes that the step has
            waited for; in threads, that of the thread; or None.
        peak_rss_bytes: The most memory that the worker has used in an attempt, or None: it is not
            known where steps run in this process.
        worker: Host and process id of the last attempt, or None.
        id_execution: Id of the execution, or None.
    """

    __slots__ = ()

    attempts: int = 0
    started_at: datetime.datetime | None = field(default=None, metadata=EARLIEST)
    duration_s: float | None = field(default=None, metadata=SUM)
    flow_run_id: str | None = None
    task_run_id: str | None = None
    cpu_s: float | None = field(default=None, metadata=SUM)
    peak_rss_bytes: int | None = field(default=None, metadata=LARGEST)
    worker: str | None = None
    id_execution: str | None = None


_JOINED: dict[str, Callable[[Sequence[Any]], Any]] = {
    fact.name: fact.metadata["joined"] for fact in fields(Facts) if fact.metadata
}


def _joined(fact: str, values: Iterable[Any]) -> Any:
    """Return what values of a fact, some of which are not known, come to."""
    known = [value for value in values if value is not None]
    return _JOINED[fact](known) if known else None


# A dataclass has the fields of its last base first: the order in which they are given by place.


@dataclass
class _StepOutcome:
    __slots__ = ()

    state: State = "completed"
    fingerprint: str | None = None
    error: str | None = None
    error_type: str | None = None


@dataclass(slots=True)
class StepEntry(Facts, _StepOutcome):
    """State of one run in one step, and the `Facts` of it.

    Attributes:
        state: ``completed``, ``failed``, ``stopped`` (ended early by `StopRun`, with its results),
            or ``pending`` if the result no longer counts.
        fingerprint: Fingerprint of step, kwargs and seed; None if unknown.
        error: Traceback of the failure, or None.
        error_type: Type of the error that was raised, such as ``ValueError``, or None.
    """

    @property
    def is_untried(self) -> bool:
        """Whether this only says that an execution has not come to the step."""
        return self.state == "pending" and not self.attempts

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        _restore(self, state[1])


def _restore(entry: StepEntry | LedgerEntry, values: Mapping[str, Any]) -> None:
    """Set the fields of an entry from a pickle, which may be older than some of them."""
    blank = type(entry)()
    for own in fields(entry):
        setattr(entry, own.name, values.get(own.name, getattr(blank, own.name)))


@dataclass
class _RunOutcome:
    __slots__ = ()

    state: State = "pending"
    steps: dict[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True)
class LedgerEntry(Facts, _RunOutcome):
    """State of one run: a summary with the `Facts` of its steps, and an entry for each step.

    Attributes:
        state: ``pending``, ``completed``, ``failed`` or ``stopped``; no step follows the one in
            which a run was stopped.
        steps: Completed steps, and the one in which the run was stopped, by name, each with the
            fingerprint of what was executed.
        error: Traceback of the last failure, or None.
        position: Position in the order of the experiment, from 0; None until it is stored.
        step: The step to be tried next: the one that has failed, or the next that an execution has
            listed; None if there is no such step.
        error_type: Type of the error of the failed step, such as ``ValueError``, or None.
        executed: Entries of the steps that this process has executed or read, and of those that
            their execution has not come to.
        stored: Reads the entries of other steps from the database; None if there are none.
    """

    position: int | None = None
    step: str | None = None
    error_type: str | None = None
    executed: dict[str, StepEntry] = field(default_factory=dict)
    stored: Callable[[], dict[str, StepEntry]] | None = field(default=None, repr=False)

    @property
    def executions(self) -> dict[str, StepEntry]:
        """Entries of all steps that were tried, by name; read from the database when needed."""
        if self.stored is not None:
            self.executed = self.stored() | self.executed
            self.stored = None
        if self.state in _HALTED and any(own.is_untried for own in self.executed.values()):
            return {step: own for step, own in self.executed.items() if not own.is_untried}
        return self.executed

    def begin(self, step: str, fingerprint: str) -> StepEntry:
        """Record the start of an attempt at a step, and return the entry of the step.

        Args:
            step: Name of the step.
            fingerprint: Its fingerprint.
        """
        now = datetime.datetime.now(datetime.UTC)
        entry = self.executed.get(step) if self.state == "failed" else None
        if entry is None:
            self.executed[step] = entry = StepEntry("pending", fingerprint, started_at=now)
        self.started_at = self.started_at or now
        self.attempts = entry.attempts = self.attempts + 1 if self.state == "failed" else 1
        return entry

    def spend(self, step: str, worker: str | None = None, **facts: float) -> None:
        """Add what an attempt has taken.

        Args:
            step: Name of the step.
            worker: Who has made it.
            facts: Those of the `Facts` that are joined, such as ``duration_s``, by name.
        """
        entry = self.executed[step]
        entry.worker = self.worker = worker
        for fact, value in facts.items():
            for total in (entry, self):
                setattr(total, fact, _joined(fact, (getattr(total, fact), value)))

    def complete(self, step: str, fingerprint: str, *, early: bool = False) -> None:
        """Record that a step has completed.

        Args:
            step: Name of the step.
            fingerprint: Its fingerprint.
            early: Whether it has stopped the run.
        """
        entry = self.executed[step]
        entry.state = self.state = "stopped" if early else "completed"
        entry.error = entry.error_type = self.error = self.error_type = self.step = None
        self.steps[step] = fingerprint

    def fail(self, step: str, fingerprint: str) -> None:
        """Record that the run has failed in a step, with the error of the summary.

        Args:
            step: Name of the step.
            fingerprint: Its fingerprint.
        """
        entry = self.executed.setdefault(step, StepEntry("failed", fingerprint))
        entry.state, entry.error, entry.error_type = "failed", self.error, self.error_type
        entry.attempts = self.attempts
        self.state, self.step = "failed", step
        self.steps.pop(step, None)

    def expect(self, steps: Sequence[str], changed: Container[str] = ()) -> None:
        """Record that steps are due, whatever their earlier outcome; the first is due now.

        Args:
            steps: Names of the steps, in order.
            changed: Names of steps that have changed: later results depended on theirs, and no
                longer count.
        """
        done = list(self.steps)
        first = next((index for index, step in enumerate(done) if step in changed), len(done))
        later = [step for step in done[first:] if step not in steps]
        if any(step in self.steps or step in self.executed or step == self.step for step in steps):
            self._forget(steps)
        self._outdate(later)
        self.state, self.step, self.attempts = "pending", steps[0], 0
        self.error = self.error_type = None

    def note_untried(self, steps: Iterable[str]) -> None:
        """Record which steps of its execution a run that has ended did not come to.

        What is known of earlier attempts at them no longer counts.

        Args:
            steps: Names of all steps of the execution.
        """
        if self.state in _HALTED:
            for step in steps:
                self.executed.setdefault(step, StepEntry("pending"))

    def discard(self, steps: Sequence[str]) -> None:
        """Record that the results of steps are lost, and that the first is to be tried next.

        Args:
            steps: Names of the steps, in order.
        """
        self._outdate(steps)
        self.step = steps[0]

    def _outdate(self, steps: Sequence[str]) -> None:
        for step in steps:
            entry = self.executed.get(step)
            if entry is not None and entry.state in DONE:
                entry.state = "pending"
            self.steps.pop(step, None)

    def _forget(self, steps: Sequence[str]) -> None:
        others = {step: entry for step, entry in self.executions.items() if step not in steps}
        self.executed = others
        self.steps = {step: print_ for step, print_ in self.steps.items() if step not in steps}
        for fact in _JOINED:
            setattr(self, fact, _joined(fact, [getattr(entry, fact) for entry in others.values()]))

    def copy(self) -> LedgerEntry:
        """Return an entry with the same values, in new dicts."""
        executed = {step: replace(entry) for step, entry in self.executed.items()}
        return replace(self, steps=dict(self.steps), executed=executed)

    def __getstate__(self) -> tuple[Any, ...]:
        _ = self.executions
        first = tuple(getattr(self, name) for name in _PICKLED)
        later = {name: getattr(self, name) for name in RUN_COLUMNS if name not in _PICKLED}
        return (*first, later) if later else first

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if len(state) == 2:
            values = state[1]
        else:
            values = dict(zip(_PICKLED, state, strict=False))
            for later in state[len(_PICKLED) :]:
                values |= later
        _restore(self, values)


STEP_COLUMNS = tuple(own.name for own in fields(StepEntry))
"""What the ledger has of a run in a step, in the order in which an entry takes it by place."""

RUN_COLUMNS = tuple(own.name for own in fields(LedgerEntry))[:-2]
"""What the ledger has of a run, in the order in which an entry takes it by place."""

_PICKLED = (
    *("state", "steps", "error", "attempts", "started_at", "duration_s"),
    *("flow_run_id", "task_run_id", "position", "step", "error_type", "executed"),
)
"""What pickles hold by place; columns that came later follow by name."""
