"""Calls of the workers of a cluster to the process of the flow, by the means of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from mltraq_prefect.execution.fanout.calls import Call, Serve
from mltraq_prefect.orchestration import dask_calls, ray_calls
from mltraq_prefect.orchestration.runners import AnyRunner, cluster_of, submission_error


def answered_calls(stack: ExitStack, runner: AnyRunner, serve: Serve) -> Call | None:
    """Let workers call this process.

    Args:
        stack: Ends that when it closes: who waits for an answer gets `CallLost`.
        runner: The started task runner.
        serve: Takes the requests, in another thread.

    Returns:
        What workers call; None for a task runner of an unknown type.

    Raises:
        InvalidInput: The cluster is not there.
    """
    answered = _ANSWERING.get(cluster_of(runner) or "")
    if answered is None:
        return None
    try:
        return answered(stack, runner, serve)
    except Exception as error:
        raise submission_error(runner, error) from error


_ANSWERING: Mapping[str, Callable[[ExitStack, Any, Serve], Call]] = {
    "dask": dask_calls.answered,
    "ray": ray_calls.answered,
}
