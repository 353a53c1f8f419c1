"""Broadcast of large data, which all task runs of an execution need, once to each cluster worker.

Prefect sends a task with each of its runs. After a broadcast, the task holds only a reference.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import cloudpickle

from mltraq_prefect.execution import Outcome
from mltraq_prefect.execution.batch import DeliverRows
from mltraq_prefect.execution.fanout.batch_attempt import Execute
from mltraq_prefect.execution.inputs import new_key
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.orchestration.runners import AnyRunner, cluster_of, submission_error

SMALL_BYTES = 256 * 1024
"""Smaller data is sent with each task run, which is cheaper than a broadcast."""


def broadcast(
    stack: ExitStack, runner: AnyRunner, executions: Sequence[Execute]
) -> Sequence[Execute]:
    """Send functions that execute steps to the workers of a cluster; return references to them.

    Args:
        stack: Removes the data from the workers when it closes.
        runner: The started task runner; for one of an unknown type nothing is sent.
        executions: Functions that workers call with chunks, and with what takes rows.

    Raises:
        InvalidInput: A function cannot be pickled, or the cluster refuses the data.
    """
    send = _SENDERS.get(cluster_of(runner) or "")
    if send is None:
        return executions
    try:
        data = cloudpickle.dumps(list(executions))
        if len(data) < SMALL_BYTES:
            return executions
        fetch = send(stack, runner, data)
    except Exception as error:
        raise submission_error(runner, error) from error
    return [partial(_execute, fetch, position) for position in range(len(executions))]


def _execute(
    fetch: Callable[[], bytes], position: int, chunk: Chunk, deliver: DeliverRows | None
) -> Iterator[Outcome]:
    # Each task run unpickles its own objects: task runs share nothing.
    execute: Execute = unpickled(fetch())[position]
    return execute(chunk, deliver)


Send = Callable[[ExitStack, Any, bytes], Callable[[], bytes]]


def _to_dask(stack: ExitStack, runner: Any, data: bytes) -> Callable[[], bytes]:
    """Send data as a worker plugin: workers that start later get it, too."""
    name, client = f"mltraq_prefect-{new_key()}", runner.client
    plugin = importlib.import_module("distributed").WorkerPlugin()
    plugin.data = data
    stack.callback(_forget, client, name)
    client.register_plugin(plugin, name=name)
    return partial(_from_dask, name)


def _forget(client: Any, name: str) -> None:
    with suppress(OSError, ValueError):  # the cluster has gone, or never got it
        client.unregister_worker_plugin(name)


def _from_dask(name: str) -> bytes:
    plugin = importlib.import_module("distributed").get_worker().plugins.get(name)
    if plugin is None:
        raise RuntimeError("the execution to which this task run belongs has ended")
    return bytes(plugin.data)


def _to_ray(_stack: ExitStack, _runner: Any, data: bytes) -> Callable[[], bytes]:
    """Put data into the object store, where it stays as long as a task refers to it."""
    return partial(_from_ray, importlib.import_module("ray").put(data))


def _from_ray(reference: Any) -> bytes:
    return bytes(importlib.import_module("ray").get(reference))


_SENDERS: Mapping[str, Send] = {"dask": _to_dask, "ray": _to_ray}
