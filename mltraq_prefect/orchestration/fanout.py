"""Runs fan out as task runs: one a batch and step, each following the one before it alone.

The next step of a batch is submitted when its previous step is done, and only as many batches
are on their way as keep the workers busy, so a batch is finished and collected while others have
not started: memory holds what is in flight, and no step waits for another batch.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import allow_failure, opaque

from mltraq_prefect.execution import Batch, Step, Workers, split, worker_count
from mltraq_prefect.execution.batch import opened, pack_runs
from mltraq_prefect.orchestration.step_tasks import StepTask, step_task
from mltraq_prefect.run import Run

Collect = Callable[[list[Run]], None]
AnyRunner = TaskRunner[Any]

WINDOW_ON_A_CLUSTER = 1_000


def execute_in_tasks(
    steps: Sequence[Step],
    runs: Sequence[Run],
    collect: Collect,
    *,
    backend: str,
    n_jobs: int,
    task_runner: AnyRunner | None,
    runs_per_task: int | str,
    retries: int,
    retry_delay_seconds: float,
) -> None:
    """Execute steps on runs as task runs of the current flow run.

    Args:
        steps: In order; each becomes a task.
        runs: Sent to the workers as they are.
        collect: Gets runs as they end, completed or failed, with their ledger entries.
        backend: ``"processes"`` or ``"threads"``.
        n_jobs: Number of workers on this machine; -1 is one a core.
        task_runner: Where the task runs go; a thread pool of `n_jobs` if None, unless the flow
            has a runner of another kind.
        runs_per_task: Size of a batch, or ``"auto"``.
        retries: How often Prefect retries a task run; only its failed runs are executed again.
        retry_delay_seconds: Pause before a retry.
    """
    count = worker_count(n_jobs)
    with ExitStack() as stack:
        runner = _runner(stack, task_runner, count)
        local = isinstance(runner, ThreadPoolTaskRunner)
        in_processes = backend == "processes"
        workers = stack.enter_context(Workers(count)) if local and in_processes else None
        packed = in_processes or not local
        tasks = [step_task(step, workers, packed, retries, retry_delay_seconds) for step in steps]
        batches = _batches(runs, runs_per_task, packed)
        window = 2 * count if local else WINDOW_ON_A_CLUSTER
        _Fanout(runner, tasks, batches, collect).run(window)


def _runner(stack: ExitStack, given: AnyRunner | None, count: int) -> AnyRunner:
    context = FlowRunContext.get()
    of_flow = context.task_runner if context is not None else None
    if given is None and of_flow is not None and not isinstance(of_flow, ThreadPoolTaskRunner):
        return of_flow
    fresh = ThreadPoolTaskRunner(max_workers=count) if given is None else given.duplicate()
    return stack.enter_context(fresh)


def _batches(runs: Sequence[Run], runs_per_task: int | str, packed: bool) -> Iterator[Batch]:
    for label, members in split(runs, runs_per_task):
        yield Batch(label, len(members), pack_runs(members) if packed else members)


class _Fanout:
    """The task runs of one execution: which batch is in which step."""

    def __init__(
        self,
        runner: AnyRunner,
        tasks: Sequence[StepTask],
        batches: Iterator[Batch],
        collect: Collect,
    ) -> None:
        self._runner = runner
        self._tasks = tasks
        self._batches = batches
        self._collect = collect
        self._ended: queue.SimpleQueue[PrefectFuture[Batch]] = queue.SimpleQueue()
        self._position: dict[Any, int] = {}
        context = FlowRunContext.get()
        flow_run = context.flow_run if context is not None else None
        self._flow_run_id = str(flow_run.id) if flow_run is not None else None

    def run(self, window: int) -> None:
        while True:
            while len(self._position) < window and (batch := next(self._batches, None)):
                self._submit(0, batch, after=None)
            if not self._position:
                return
            self._advance(self._ended.get())

    def _submit(self, position: int, batch: Batch, after: PrefectFuture[Batch] | None) -> None:
        future = self._runner.submit(
            self._tasks[position],
            {"batch": opaque(batch)},
            wait_for=None if after is None else [allow_failure(after)],  # type: ignore[list-item]
        )
        self._position[future.task_run_id] = position
        future.add_done_callback(self._ended.put)

    def _advance(self, future: PrefectFuture[Batch]) -> None:
        position = self._position.pop(future.task_run_id)
        batch = future.result(raise_on_failure=False)
        if isinstance(batch, BaseException):
            raise batch
        last = position + 1 == len(self._tasks)
        following = None if last else batch.next()
        if following is not None:
            self._submit(position + 1, following, after=future)
        self._gather(batch, future, with_done=last)

    def _gather(self, batch: Batch, future: PrefectFuture[Batch], *, with_done: bool) -> None:
        parcels = [batch.todo] if batch.todo is not None else []
        parcels += batch.done if with_done else []
        runs = [run for parcel in parcels for run in opened(parcel)]
        for run in runs:
            run.ledger.flow_run_id = self._flow_run_id
            run.ledger.task_run_id = str(future.task_run_id)
        # Prefect keeps every task's result until the flow run ends: let it keep an empty one.
        batch.todo, batch.done = None, []
        if runs:
            self._collect(runs)
