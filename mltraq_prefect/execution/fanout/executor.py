"""Protocols of the fan-out: executors of batches, receivers of results and of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from mltraq_prefect.execution.batch import Batch, Outcome
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt
from mltraq_prefect.execution.fanout.calls import Call, Serve
from mltraq_prefect.execution.fanout.executed import BatchWriter, Executed
from mltraq_prefect.execution.fanout.handover import Handover
from mltraq_prefect.execution.fanout.live_log import Logger
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.pool.child import Job
from mltraq_prefect.execution.pool.parent import Workers
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows

ExecuteJob = Callable[[Workers | None, Job, int, Chunk], Iterator[Outcome]]
"""Executes a job with a priority on a chunk, in these workers, or in those of its own process."""


class WrittenElsewhere(Protocol):
    """Has batches written in the processes that execute them, in the thread of the execution."""

    def batch_writer(self) -> BatchWriter | None:
        """Return what writes batches where they are executed; None if they are to come back.

        It is asked for once, before the first batch, and only if they are executed elsewhere.
        """

    def facts_of(self, runs: Sequence[Run]) -> Any:
        """Return what that has to know of a batch; None if it is to come back."""

    def adopt(self, runs: list[Run], report: Any) -> None:
        """Take runs that were written where they were executed: they have ledger entries alone."""

    def tell_refusal(self, reason: str) -> None:
        """Take why a batch that comes back could not be written where it was executed."""


class Collector(Protocol):
    """Receiver of the results, in the thread of the execution."""

    @property
    def files(self) -> Desk:
        """Where steps put files."""

    def log(self, rows: Sequence[LoggedRows], *, soon: bool = False) -> None:
        """Take rows that runs have logged, before the runs themselves come.

        Where steps run in this process, other threads call it, too.

        Args:
            rows: The rows.
            soon: Whether they shall be seen soon, and `tick` may not be called until then.
        """

    def flush_rows(self) -> bool:
        """Write the rows that were taken; return whether none was refused."""

    def has_ended(self, id_run: str) -> bool:
        """Return whether a run has come that was executed."""

    def collect(self, runs: list[Run]) -> None:
        """Take runs that have completed or failed, with their ledger entries."""

    @property
    def elsewhere(self) -> WrittenElsewhere | None:
        """What has batches written where they are executed; None if all are to come back."""

    def name_flow_run(self, flow_run_id: str, runs: Sequence[str]) -> None:
        """Take the flow run of runs, by id, that have ended before there was one.

        If it becomes known only after the end, another thread calls it.
        """

    def tick(self) -> None:
        """Do periodic work; called several times a second."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an execution.

    Attributes:
        percent: From 0 to 100.
        experiment: Name of the experiment.
        counts: Counts of its runs, as text.
        left_s: Seconds until its end, if runs take as long as so far; None if that is not known.
        is_idle: Whether all runs had completed before, so that none is executed.
    """

    percent: float
    experiment: str
    counts: str
    left_s: float | None = None
    is_idle: bool = False


class ProgressReporter(Protocol):
    """Receiver of the progress of an execution, in addition to the bar."""

    def start(self, read: Callable[[], Progress]) -> None:
        """Start reporting.

        Args:
            read: Returns the progress; any thread may call it.
        """

    def tick(self, *, has_bar: bool) -> None:
        """Report if it is due; called several times a second.

        Args:
            has_bar: Whether a bar is shown.

        Raises:
            Exception: The execution was cancelled.
        """

    def end(self, *, is_interrupted: bool, has_bar: bool) -> None:
        """Report the end.

        Args:
            is_interrupted: Whether the execution ends by an interruption.
            has_bar: Whether a bar is shown.
        """


class Submission(Protocol):
    """A batch that was submitted: for one step, or for that and all later ones."""

    @property
    def task_run_id(self) -> str | None:
        """Id of its task run, or None."""

    def result(self) -> Executed | BaseException:
        """Return what became of the batch, or the exception that prevented it."""


class BatchExecutor(AbstractContextManager[Any], Protocol):
    """Executes batches, several at the same time; a context manager for one execution."""

    @property
    def runs_in_threads(self) -> bool:
        """Whether steps run in its threads, not in worker processes."""

    @property
    def is_local(self) -> bool:
        """Whether it works on this machine, on the same batch objects."""

    @property
    def concurrency(self) -> int:
        """Number of batches that it executes at the same time."""

    @property
    def execute_job(self) -> ExecuteJob:
        """A function that executes jobs in worker processes; it can be pickled."""

    @property
    def flow_run_id(self) -> str | None:
        """Id of the flow run of the execution; None if there is none, or none yet."""

    def check(self) -> None:
        """Raise if batches would wait for ever; called several times a second."""

    def when_known(self, note: Callable[[str], None]) -> None:
        """Call a function with the id of the flow run: now, or as soon as there is one."""

    @property
    def logger(self) -> Logger:
        """Logger of the execution."""

    @property
    def reporter(self) -> ProgressReporter:
        """Receiver of the progress."""

    def answered_calls(self, stack: ExitStack, serve: Serve) -> Call | None:
        """Let workers that are not in this process call it.

        Args:
            stack: Ends that when it closes.
            serve: Takes their requests, in another thread.

        Returns:
            What they call; None if there is no way, or no need.
        """

    def prepare(
        self,
        stack: ExitStack,
        steps: Sequence[Step],
        attempts: Sequence[BatchAttempt],
        handover: Handover | None,
    ) -> None:
        """Prepare for the steps of the execution.

        On other machines attempts may be given another way to execute their steps.

        Args:
            stack: Holds resources until the execution ends.
            steps: The steps, in order.
            attempts: A function for each step that attempts it on a batch.
            handover: Begins and ends a batch where it is executed; None if that is this process.

        Raises:
            InvalidInput: They cannot be executed there.
        """

    def submit(
        self, position: int, batch: Batch, after: Submission | None, done: Callable[[], None]
    ) -> Submission:
        """Submit a batch for a step; failed runs are tried again as the options say.

        An executor on other machines may execute all later steps as well, where the runs are.

        Args:
            position: Index of the step.
            batch: The runs.
            after: The same runs in the previous step, which has ended; None in the first step.
            done: Called once, by any thread, when there is a result.
        """
