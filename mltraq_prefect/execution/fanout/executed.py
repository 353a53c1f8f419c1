"""What became of a batch: in one step, or in all steps that one process has executed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from mltraq_prefect.execution.batch import Batch
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows

Attempt = Callable[[Batch], str | None]
"""Attempts a step on a batch until that has ended, and returns the id of its task run."""


class StepName(NamedTuple):
    """A step as the ledger knows it.

    Attributes:
        name: Its name.
        fingerprint: Its fingerprint.
    """

    name: str
    fingerprint: str


def step_names(steps: Iterable[Step]) -> list[StepName]:
    """Return steps as the ledger knows them."""
    return [StepName(step.name, step.fingerprint) for step in steps]


class StepResult(NamedTuple):
    """A batch after one step.

    Attributes:
        batch: The batch.
        task_run_id: Id of the task run, or None.
        passed: Ids of the runs that the same process has executed the next step on: they are in
            the next batch.
    """

    batch: Batch
    task_run_id: str | None
    passed: Sequence[str] = ()


class Handed(NamedTuple):
    """What a process that has written a batch itself gives back of it.

    Attributes:
        runs: Its runs, with nothing but their ledger entries.
        report: What else the `Collector` has to know.
    """

    runs: Chunk
    report: Any


class Executed(NamedTuple):
    """What one process has made of a batch.

    Attributes:
        results: The batch after each step, in order.
        handed: What is left of it, if that process has written it; None if it has not.
        refusal: Why it could not.
    """

    results: Sequence[StepResult]
    handed: Handed | None = None
    refusal: str = ""

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Description and traceback of each run that has failed."""
        return [failure for result in self.results for failure in result.batch.failures]


def execute_steps(batch: Batch, attempts: Sequence[Attempt]) -> Executed:
    """Execute steps on a batch, one after the other; what they leave stays in this process.

    Args:
        batch: The runs.
        attempts: A function for each step.
    """
    results: list[StepResult] = []
    *others, last = attempts
    for attempt in others:
        task_run_id = attempt(batch)
        following = batch.next()
        if following is None:
            return Executed([*results, StepResult(batch, task_run_id)])
        passed, batch.done = batch.ids_done(), []
        results.append(StepResult(batch, task_run_id, passed))
        batch = following
    return Executed([*results, StepResult(batch, last(batch))])


def note_task_runs(
    entry: LedgerEntry,
    steps: Sequence[StepName],
    task_runs: Sequence[str | None],
    flow_run_id: str | None,
) -> None:
    """Record the task run of each step for a run that has ended, up to the last or failed one.

    Args:
        entry: The ledger entry of the run.
        steps: The steps of the execution.
        task_runs: The task run in each step up to that one.
        flow_run_id: Id of the flow run, or None.
    """
    last = steps[len(task_runs) - 1]
    if entry.state == "failed":
        entry.fail(last.name, last.fingerprint)
    for step, task_run_id in zip(steps, task_runs, strict=False):
        if (executed := entry.executed.get(step.name)) is not None:
            executed.flow_run_id, executed.task_run_id = flow_run_id, task_run_id
    entry.flow_run_id, entry.task_run_id = flow_run_id, task_runs[-1]


class BatchWriter(Protocol):
    """Writes a batch in the process that has executed it; it can be pickled."""

    def begin(self, facts: Any, ids: Sequence[str]) -> tuple[Any, Collection[str]]:
        """Look whether runs of a batch were executed before, by a process that was lost since.

        Args:
            facts: What the `Collector` has told of them.
            ids: The runs.

        Returns:
            What is known of them now, and those that are not to be executed again.
        """

    def is_superseded(self) -> bool:
        """Return whether another execution of the steps has begun later than this one."""

    def __call__(
        self,
        facts: Any,
        runs: Sequence[Run],
        rows: Sequence[LoggedRows],
        logged: Collection[tuple[str, str]],
    ) -> Handed:
        """Write the runs of a batch.

        Args:
            facts: What the `Collector` has told of them.
            runs: The runs, those that failed as they were at first.
            rows: What they have logged, unless it is written already.
            logged: The runs and steps of which rows are written then.

        Raises:
            Exception: They cannot be written from here.
        """
