"""Fan-out of runs in batches: each batch is submitted to one step after the other.

The next step of a batch is submitted when its previous step is done; no step waits for another
batch. Only as many batches are in flight as keep the workers busy. So a batch is finished and
collected while others have not started, and memory holds only the batches in flight.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

from mltraq_prefect.execution.attempt import return_warning
from mltraq_prefect.execution.batch import Batch
from mltraq_prefect.execution.batch_size import (
    BATCH_SECONDS,
    CHECKPOINTED_SECONDS,
    TASK_RUNS_PER_STEP,
    BatchSizer,
    Work,
)
from mltraq_prefect.execution.by_value import note_modules
from mltraq_prefect.execution.cores import worker_count
from mltraq_prefect.execution.failures import FailureLimit
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt, Execute, RowsOf
from mltraq_prefect.execution.fanout.calls import Call
from mltraq_prefect.execution.fanout.executed import (
    Executed,
    StepResult,
    note_task_runs,
    step_names,
)
from mltraq_prefect.execution.fanout.executions import in_processes, in_threads, with_files
from mltraq_prefect.execution.fanout.executor import BatchExecutor, Collector, Submission
from mltraq_prefect.execution.fanout.handover import Handover
from mltraq_prefect.execution.fanout.progress import ProgressDisplay
from mltraq_prefect.execution.fanout.remote import RowSender, serving
from mltraq_prefect.execution.fanout.remote_files import FileSender
from mltraq_prefect.execution.fanout.row_intake import POLL_SECONDS, RowIntake
from mltraq_prefect.execution.judge import Judge, judge_of
from mltraq_prefect.execution.module_state import restored_warning
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.pool.parent import Workers
from mltraq_prefect.execution.serialization import Chunk, consume_runs, freeze_runs, pickle_runs
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run


def fan_out(
    executor: BatchExecutor,
    steps: Sequence[Step],
    work: Work,
    collector: Collector,
    options: ExecutionOptions,
    progress: ProgressDisplay,
) -> BaseException | None:
    """Execute steps on runs.

    Args:
        executor: Executes the batches.
        steps: The steps, in order.
        work: The runs; they are not changed.
        collector: Receives the results.
        options: Options of the execution.
        progress: Shows the progress.

    Returns:
        The exception of the first run that failed, if known, or None.

    Raises:
        InvalidInput: A step, the kwargs or a run cannot be pickled.
    """
    has_processes = not executor.runs_in_threads
    if has_processes:
        note_modules()
    with ExitStack() as stack:
        stack.enter_context(executor)
        workers = None
        if has_processes and executor.is_local:
            workers = stack.enter_context(Workers(worker_count(options.n_jobs)))
        stack.enter_context(progress.shown(executor.reporter))
        sizer = _sizer(executor, options, workers is not None, work.total)
        judge = judge_of(options, work.runs, steps)
        fanout = _Fanout(executor, collector, progress, sizer, steps, options, judge)
        call = None
        if not executor.is_local:
            serve = serving(stack, fanout.rows, collector.files)
            call = executor.answered_calls(stack, serve)
        if has_processes:
            executions = in_processes(executor, steps, options, workers)
        else:
            executions = in_threads(stack, executor, steps, options)
        attempts = fanout.attempts(with_files(executions, collector.files, call), call)
        handover = fanout.handover(call)
        executor.prepare(stack, steps, [*attempts], handover)
        facts_of = None
        if collector.elsewhere is not None and handover is not None and handover.write is not None:
            facts_of = collector.elsewhere.facts_of
        fanout.run(_batches(work.divide(sizer), facts_of, pickled=has_processes))
        if judge is not None:
            judge.warn_of_unknown_keys(partial(executor.logger.warning, "%s"))
    return fanout.cause


def _sizer(
    executor: BatchExecutor, options: ExecutionOptions, has_own: bool, total: int
) -> BatchSizer:
    """Return what cuts batches, and says how many are on their way.

    A cluster gets all of them at once, unless the execution may stop at a failure.
    """
    fixed = None if executor.is_local else ceil(total / TASK_RUNS_PER_STEP)
    if not isinstance(options.runs_per_task, str):
        fixed = options.runs_per_task
    seconds = CHECKPOINTED_SECONDS if options.checkpoint else BATCH_SECONDS
    at_once = worker_count(options.n_jobs) if has_own else executor.concurrency
    starts_small = options.failure_limit is not None
    if options.synchronous:  # who waits for others must not keep them from a worker
        at_once, fixed = min(at_once, executor.concurrency), 1
    return BatchSizer(
        total,
        at_once,
        seconds,
        fixed,
        starts_small=starts_small,
        in_lockstep=options.synchronous,
        is_shared=options.shared,
    )


def _batches(
    divided: Iterator[tuple[str, list[Run]] | None],
    facts_of: Callable[[Sequence[Run]], Any] | None,
    *,
    pickled: bool,
) -> Iterator[Batch | None]:
    for divided_off in divided:
        if divided_off is None:
            yield None
            continue
        label, members = divided_off
        chunk = pickle_runs(members) if pickled else freeze_runs(members)
        batch = Batch(label, len(members), [chunk])
        if facts_of is not None:
            batch.facts = facts_of(members)
        yield batch


@dataclass(frozen=True, slots=True)
class _Stage:
    """A batch in a step.

    Attributes:
        position: Index of the step.
        submission: The submitted batch.
        task_runs: Ids of the task runs of this step and of the previous ones.
    """

    position: int
    submission: Submission
    task_runs: tuple[str | None, ...]


def _stages(begun: _Stage, executed: Executed) -> Iterator[_Stage]:
    """Yield the stages that a batch has been in since it was submitted."""
    task_runs = begun.task_runs[:-1]
    for position, result in enumerate(executed.results, start=begun.position):
        task_runs = (*task_runs, result.task_run_id)
        yield _Stage(position, begun.submission, task_runs)


class _End:
    """Ends the batches."""


_END = _End()


class _Fanout:
    """The batches of one execution, and the step in which each of them is."""

    def __init__(
        self,
        executor: BatchExecutor,
        collector: Collector,
        progress: ProgressDisplay,
        sizer: BatchSizer,
        steps: Sequence[Step],
        options: ExecutionOptions,
        judge: Judge | None,
    ) -> None:
        self._executor = executor
        self._judge = judge
        self._limit = FailureLimit(options.failure_limit)
        self._sizer = sizer
        self._collector = collector
        self._elsewhere = collector.elsewhere
        self._progress = progress
        self._is_draining = False
        self._arrived: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.rows = RowIntake(self._arrived, collector, judge)
        self._steps = step_names(steps)
        self.cause: BaseException | None = None
        self._numbers = itertools.count()
        self._stages: dict[int, _Stage] = {}
        self._in_flight: set[int] = set()
        self._logged: set[str] = set()
        self._unnamed: dict[str, LedgerEntry] = {}

    def attempts(self, executions: Sequence[Execute], call: Call | None) -> Iterator[BatchAttempt]:
        """Yield a function for each step that attempts it on a batch.

        Args:
            executions: Functions that execute the steps.
            call: By which workers elsewhere call this process, or None.
        """
        rows: RowsOf | None = None if call is None else RowSender(call).of
        if self._executor.is_local:
            rows = self.rows.of
        deliver = self._deliver if self._executor.is_local else None
        *others, last = executions
        yield from (BatchAttempt(execute, None, rows) for execute in others)
        yield BatchAttempt(last, deliver, rows)

    def handover(self, call: Call | None) -> Handover | None:
        """Return what begins and ends a batch where it is executed; None if that is here."""
        if self._executor.is_local:
            return None
        return Handover(
            None if self._elsewhere is None else self._elsewhere.batch_writer(),
            self._steps,
            self._executor.flow_run_id,
            None if call is None else RowSender(call),
            None if call is None else FileSender(call),
        )

    def _deliver(self, batch: Batch) -> None:
        """Take completed runs out of a batch; any thread may call it."""
        chunks, batch.done, batch.stopped = batch.done + batch.stopped, [], []
        number = batch.number
        self._arrived.put(lambda: self._gather(self._stages[number].task_runs, chunks))

    def run(self, batches: Iterator[Batch | None]) -> None:
        """Submit and collect until all runs have ended, or the limit of failures is reached."""
        try:
            while self._fill(batches) or self._in_flight:
                self._wait()
        finally:
            self._drain()
            if self._unnamed:
                self._executor.when_known(self._name_flow_run)

    def _fill(self, batches: Iterator[Batch | None]) -> bool:
        """Submit batches while there is room; return whether more may come later."""
        while self._has_room():
            if not self._arrived.empty():  # a cluster takes many, and what arrives is not to wait
                return True
            batch = next(batches, _END)
            if batch is None or isinstance(batch, _End):
                return batch is None
            self._submit(0, batch, after=None)
        return False

    def _has_room(self) -> bool:
        return not self._limit.is_reached and len(self._in_flight) < self._sizer.max_in_flight()

    def _wait(self) -> None:
        try:
            handle = self._arrived.get(timeout=POLL_SECONDS)
        except queue.Empty:
            pass
        else:
            handle()
        self._collector.tick()
        self._progress.tick()
        self._executor.check()
        _raise_if_asyncio_cancelled()

    def _drain(self) -> None:
        """Collect what has arrived before an interruption."""
        self._is_draining = True
        self.rows.close()
        while not self._arrived.empty():
            self._arrived.get()()

    def _submit(self, position: int, batch: Batch, after: _Stage | None) -> None:
        batch.number = number = next(self._numbers)
        before = None if after is None else after.submission
        submission = self._executor.submit(
            position, batch, before, lambda: self._arrived.put(partial(self._advance, number))
        )
        task_runs = () if after is None else after.task_runs
        self._stages[number] = _Stage(position, submission, (*task_runs, submission.task_run_id))
        self._in_flight.add(number)

    def _advance(self, number: int) -> None:
        begun = self._stages[number]
        self._in_flight.discard(number)
        executed = begun.submission.result()
        if isinstance(executed, BaseException):
            if self._is_draining:  # the interruption is raised
                return
            raise executed
        stages = [*_stages(begun, executed)]
        for stage, result in zip(stages, executed.results, strict=True):
            self._end_step(self._steps[stage.position].name, result)
        self._go_on(stages[-1], executed.results[-1].batch)
        if self._elsewhere is not None and executed.refusal:
            self._elsewhere.tell_refusal(executed.refusal)
        if self._elsewhere is not None and executed.handed is not None:
            runs = consume_runs(executed.handed.runs)
            self._note(runs)
            self._elsewhere.adopt(runs, executed.handed.report)
        for stage, result in zip(stages, executed.results, strict=True):
            self._gather(stage.task_runs, result.batch.ended())
            # Prefect keeps the result of each task until the flow run ends: leave it empty.
            result.batch.clear()

    def _end_step(self, step: str, result: StepResult) -> None:
        batch = result.batch
        self._warn_once(step, batch)
        if batch.rows:
            self._collector.log(batch.rows)
        self.cause, batch.exception = self.cause or batch.exception, None
        if self._judge is not None:
            self._judge.end([*result.passed, *batch.ids_done()], [step])

    def _go_on(self, stage: _Stage, batch: Batch) -> None:
        """Submit the runs that have completed a step to the next one, if there is one."""
        if stage.position + 1 == len(self._steps):
            return
        following, batch.done = None if self._is_draining else batch.next(), []
        if following is not None:
            self._submit(stage.position + 1, following, after=stage)

    def _gather(self, task_runs: Sequence[str | None], chunks: list[Chunk]) -> None:
        runs = [run for chunk in chunks for run in consume_runs(chunk)]
        flow_run_id = self._executor.flow_run_id
        for run in runs:
            note_task_runs(run.ledger, self._steps, task_runs, flow_run_id)
            if flow_run_id is None and run.ledger.task_run_id is not None:
                self._unnamed[run.id_run] = run.ledger
        if runs:
            self._note(runs)
            self._collector.collect(runs)

    def _note(self, runs: list[Run]) -> None:
        """Count runs that have ended."""
        if self._judge is not None:
            self._judge.end([run.id_run for run in runs])
        self.rows.forget(run.id_run for run in runs)
        self._sizer.observe(runs)
        self._limit.note(runs)
        self._progress.add(runs)

    def _name_flow_run(self, flow_run_id: str) -> None:
        """Note the flow run of runs that have ended before there was one."""
        for entry in self._unnamed.values():
            entry.flow_run_id = flow_run_id
            for executed in entry.executed.values():
                if executed.task_run_id is not None and executed.flow_run_id is None:
                    executed.flow_run_id = flow_run_id
        self._collector.name_flow_run(flow_run_id, list(self._unnamed))

    def _warn_once(self, step: str, batch: Batch) -> None:
        warnings = {
            f"{step} changed {name}": restored_warning(step, name) for name in batch.changed
        }
        if batch.returned is not None:
            warnings[f"{step} returned"] = return_warning(step, batch.returned)
        for key in sorted(warnings.keys() - self._logged):
            self._executor.logger.warning("%s", warnings[key])
        self._logged |= warnings.keys()


def _raise_if_asyncio_cancelled() -> None:
    """Raise if the current asyncio task was cancelled, for example by Ctrl-C.

    Without this, an async function that calls a blocking one would notice only at its end.

    Raises:
        CancelledError: The task was cancelled.
    """
    with suppress(RuntimeError):  # no event loop in this thread
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
