"""Choice of the task runner of an execution, and checks of the options that depend on it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import ExecutionOptions, timeout_in_threads
from mltraq_prefect.execution.options import CLUSTERS
from mltraq_prefect.orchestration.prefect_compat import current_task_runner, thread_count

AnyRunner = TaskRunner[Any]

CLUSTER_CONCURRENCY = 500
"""Assumed number of batches that a cluster executes at once: task runners do not tell."""


def check_runner(options: ExecutionOptions) -> None:
    """Refuse an object that is not a task runner, and options that the runner cannot honour.

    Raises:
        InvalidInput: It is not a task runner, or an option cannot be honoured.
    """
    given = options.task_runner
    if given is not None and not isinstance(given, TaskRunner):
        raise InvalidInput(
            f"task_runner is {given!r}, not a Prefect task runner; "
            "give an instance, such as ThreadPoolTaskRunner(max_workers=8)"
        )
    if runs_in_threads(options) and options.timeout_seconds is not None:
        raise InvalidInput(timeout_in_threads())
    runner = given or _flow_runner()
    if runner is None:
        return
    if not isinstance(runner, ThreadPoolTaskRunner):
        _check_cluster(runner, options)
    elif options.n_jobs != -1 and runs_in_threads(options):
        raise InvalidInput(
            f"n_jobs is {options.n_jobs}, but steps run in the threads of the "
            f"{type(runner).__name__}: leave out n_jobs and give the runner max_workers, or use "
            'backend="processes"'
        )


def _check_cluster(runner: AnyRunner, options: ExecutionOptions) -> None:
    """Refuse what needs workers of this machine."""
    name = type(runner).__name__
    if options.stop:
        _check_stop(runner, options)
    if options.shared:
        raise InvalidInput(
            f"shared=True needs workers of this machine: a {name} shares runs out itself; leave "
            "out the task runner, and start the flow as often as you like, or leave out shared"
        )
    if options.n_jobs != -1:
        raise InvalidInput(
            f"n_jobs is {options.n_jobs}, but {name} has the workers of its cluster: leave out "
            "n_jobs, or give task_runner=ThreadPoolTaskRunner() for workers on this machine"
        )


def _check_stop(runner: AnyRunner, options: ExecutionOptions) -> None:
    """Refuse rules that could not stop runs on a cluster, or would let runs wait for ever."""
    name = type(runner).__name__
    if cluster_of(runner) is None:
        raise InvalidInput(
            f"stop=... needs workers of this machine, of Dask or of Ray: {name} gives what runs "
            "log only when they have ended; leave out the task runner, or raise mltraq.StopRun in "
            "steps"
        )
    if options.synchronous:
        raise InvalidInput(
            f"synchronous=True needs workers of this machine: if the {name} loses one while others "
            "wait for its run, there may be no room left for it; "
            "leave out synchronous, or the task runner"
        )


def runs_in_threads(options: ExecutionOptions) -> bool:
    """Return whether steps run in the threads of the task runner."""
    if options.backend in (None, "prefect"):
        return isinstance(options.task_runner, ThreadPoolTaskRunner)
    return options.backend == "threads"


def is_on_this_machine(options: ExecutionOptions) -> bool:
    """Return whether a new flow run executes its batches here, and not on a cluster."""
    return options.task_runner is None or isinstance(options.task_runner, ThreadPoolTaskRunner)


def choose_runner(stack: ExitStack, given: AnyRunner | None, threads: int) -> AnyRunner:
    """Return the started task runner of an execution.

    Args:
        stack: Stops the runner, unless it is the flow's.
        given: The user's choice, or None.
        threads: Number of threads of a new runner.
    """
    if given is None and (of_flow := _flow_runner()) is not None:
        return of_flow
    fresh = ThreadPoolTaskRunner(max_workers=threads) if given is None else given.duplicate()
    return stack.enter_context(fresh)


def _flow_runner() -> AnyRunner | None:
    """Return the runner of the current flow, if that is not Prefect's default."""
    runner = current_task_runner()
    return None if isinstance(runner, ThreadPoolTaskRunner) else runner


def cluster_of(runner: AnyRunner) -> str | None:
    """Return ``"dask"`` or ``"ray"``; None for any other task runner. Nothing is imported."""
    for cluster, name in CLUSTERS.items():
        kind = getattr(sys.modules.get(f"prefect_{cluster}"), name, None)
        if kind is not None and isinstance(runner, kind):
            return cluster
    return None


def concurrency(runner: AnyRunner) -> int:
    """Return how many batches a runner executes at the same time."""
    threads = thread_count(runner) if isinstance(runner, ThreadPoolTaskRunner) else None
    return min(threads or CLUSTER_CONCURRENCY, CLUSTER_CONCURRENCY)


def submission_error(runner: AnyRunner, error: Exception) -> InvalidInput:
    """Return the error for a task runner that refuses to run a task."""
    return InvalidInput(f"the task runner {type(runner).__name__} takes no task runs: {error}")
