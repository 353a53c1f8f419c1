"""What the ledger says of a run."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

State = Literal["pending", "completed", "failed"]


@dataclass(slots=True)
class StepEntry:
    """What the ledger says of one run in one step.

    Attributes:
        state: ``completed``, ``failed``, or ``pending`` if its result no longer counts.
        fingerprint: Of what was executed; None if that is not known.
        error: Traceback of its failure, or None.
        error_type: Type of what it raised, such as ``ValueError``, or None.
        attempts: How often it was tried in its last execution.
        started_at: When its first attempt began (UTC, aware), or None.
        duration_s: Seconds of compute of all attempts, or None.
        flow_run_id: Id of the Prefect flow run that executed it, or None.
        task_run_id: Id of the Prefect task run that executed it, or None.
    """

    state: State = "completed"
    fingerprint: str | None = None
    error: str | None = None
    error_type: str | None = None
    attempts: int = 0
    started_at: datetime.datetime | None = None
    duration_s: float | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None


@dataclass(slots=True)
class LedgerEntry:
    """What the ledger says of one run: a summary, and an entry of each step.

    Attributes:
        state: ``pending``, ``completed`` or ``failed``.
        steps: Completed steps, each with the fingerprint of what was executed.
        error: Traceback of the last failure, or None.
        attempts: How often its last step was tried.
        started_at: When its first step began (UTC, aware), or None.
        duration_s: Seconds of compute of all its steps, or None.
        flow_run_id: Id of the Prefect flow run that executed its last step, or None.
        task_run_id: Id of the Prefect task run that executed its last step, or None.
        position: Place in the experiment's order; None until it is stored.
        step: The step to be tried next: the one that has failed, or that an execution has listed;
            None if there is no such step.
        error_type: Type of what the failed step raised, such as ``ValueError``, or None.
        executed: Entries of steps that were executed or read since the run is in memory.
        stored: Reads the entries that the database has of other steps; None if there are none.
    """

    state: State = "pending"
    steps: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    attempts: int = 0
    started_at: datetime.datetime | None = None
    duration_s: float | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None
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
        return self.executed

    def begin(self, step: str, fingerprint: str) -> StepEntry:
        """Note that a step is tried, again if its last attempt failed; return its entry."""
        now = datetime.datetime.now(datetime.UTC)
        entry = self.executed.get(step) if self.state == "failed" else None
        if entry is None:
            self.executed[step] = entry = StepEntry("pending", fingerprint, started_at=now)
        self.started_at = self.started_at or now
        self.attempts = entry.attempts = self.attempts + 1 if self.state == "failed" else 1
        return entry

    def spend(self, step: str, seconds: float) -> None:
        """Add the compute of an attempt."""
        entry = self.executed[step]
        entry.duration_s = (entry.duration_s or 0.0) + seconds
        self.duration_s = (self.duration_s or 0.0) + seconds

    def complete(self, step: str, fingerprint: str) -> None:
        """Note that a step has done what it is for."""
        entry = self.executed[step]
        entry.state, entry.error, entry.error_type = "completed", None, None
        self.state, self.error, self.error_type, self.step = "completed", None, None, None
        self.steps[step] = fingerprint

    def fail(self, step: str, fingerprint: str) -> None:
        """Note in which step the run has failed, with the error that the summary has."""
        entry = self.executed.setdefault(step, StepEntry("failed", fingerprint))
        entry.state, entry.error, entry.error_type = "failed", self.error, self.error_type
        entry.attempts = self.attempts
        self.state, self.step = "failed", step
        self.steps.pop(step, None)

    def expect(self, steps: Sequence[str], changed: Container[str] = ()) -> None:
        """Note that steps are due, the first of them now, whatever became of them earlier.

        Args:
            steps: Their names.
            changed: Those that are others now: what completed after them was made of their results.
        """
        done = list(self.steps)
        first = next((place for place, step in enumerate(done) if step in changed), len(done))
        later = [step for step in done[first:] if step not in steps]
        if any(step in self.steps or step in self.executed or step == self.step for step in steps):
            self._forget(steps)
        self._outdate(later)
        self.state, self.step, self.attempts = "pending", steps[0], 0
        self.error = self.error_type = None

    def discard(self, steps: Sequence[str]) -> None:
        """Note that what some steps have done is lost, and that the first is to be tried next."""
        self._outdate(steps)
        self.step = steps[0]

    def _outdate(self, steps: Sequence[str]) -> None:
        for step in steps:
            if (entry := self.executed.get(step)) is not None and entry.state == "completed":
                entry.state = "pending"
            self.steps.pop(step, None)

    def _forget(self, steps: Sequence[str]) -> None:
        others = {step: entry for step, entry in self.executions.items() if step not in steps}
        began = [entry.started_at for entry in others.values() if entry.started_at is not None]
        spent = [entry.duration_s for entry in others.values() if entry.duration_s is not None]
        self.executed = others
        self.steps = {step: print_ for step, print_ in self.steps.items() if step not in steps}
        self.started_at, self.duration_s = min(began, default=None), sum(spent) if spent else None

    def copy(self) -> LedgerEntry:
        """Return an entry with the same values in dicts of its own."""
        executed = {step: replace(entry) for step, entry in self.executed.items()}
        return replace(self, steps=dict(self.steps), executed=executed)

    def __getstate__(self) -> tuple[Any, ...]:
        _ = self.executions
        return tuple(getattr(self, name) for name in LedgerEntry.__slots__[:-1])

    def __setstate__(self, state: Any) -> None:
        values = LedgerEntry()
        names = LedgerEntry.__slots__[:-1]
        known = dict(zip(names, state, strict=True)) if len(state) > 2 else state[1]
        for name in LedgerEntry.__slots__:
            setattr(self, name, known.get(name, getattr(values, name)))
