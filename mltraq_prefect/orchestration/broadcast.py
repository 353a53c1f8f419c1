"""What all task runs of an execution need travels once to each worker of a cluster, if it is large.

Prefect sends a task with each of its runs; such a task then holds only where the rest is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import cloudpickle

from mltraq_prefect.execution import Outcome
from mltraq_prefect.execution.inputs import new_key
from mltraq_prefect.execution.serialization import Parcel
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.orchestration.runners import AnyRunner, takes_none
from mltraq_prefect.orchestration.step_tasks import Execute

SMALL_BYTES = 256 * 1024
"""What is smaller travels with each task run: that costs less than to send it ahead."""


def sent_ahead(
    stack: ExitStack, runner: AnyRunner, executions: Sequence[Execute]
) -> Sequence[Execute]:
    """Send what executes steps to the workers of a cluster, and return what executes it there.

    Args:
        stack: Takes it away from the workers when it ends.
        runner: The started task runner; with one that is not known, nothing is sent ahead.
        executions: Called in the workers, on parcels.

    Raises:
        InvalidInput: Something in them cannot be pickled, or the cluster does not take it.
    """
    send = _sender(runner)
    if send is None:
        return executions
    try:
        data = cloudpickle.dumps(list(executions))
        if len(data) < SMALL_BYTES:
            return executions
        fetch = send(stack, runner, data)
    except Exception as error:
        raise takes_none(runner, error) from error
    return [partial(_execute, fetch, position) for position in range(len(executions))]


def _execute(fetch: Callable[[], bytes], position: int, parcel: Parcel) -> Iterator[Outcome]:
    # Each task run makes its own objects of the bytes: task runs share nothing.
    execute: Execute = unpickled(fetch())[position]
    return execute(parcel)


Send = Callable[[ExitStack, Any, bytes], Callable[[], bytes]]


def _sender(runner: AnyRunner) -> Send | None:
    for module, name, send in (
        ("prefect_dask", "DaskTaskRunner", _to_dask),
        ("prefect_ray", "RayTaskRunner", _to_ray),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(runner, kind):
            return send
    return None


def _to_dask(stack: ExitStack, runner: Any, data: bytes) -> Callable[[], bytes]:
    """Send data as a plugin of workers: those that start or start anew later get it, too."""
    name, client = f"mltraq_prefect-{new_key()}", runner.client
    plugin = importlib.import_module("distributed").WorkerPlugin()
    plugin.data = data
    stack.callback(_forget, client, name)
    client.register_plugin(plugin, name=name)
    return partial(_from_dask, name)


def _forget(client: Any, name: str) -> None:
    with suppress(OSError, ValueError):  # the cluster is gone, or has never got it
        client.unregister_worker_plugin(name)


def _from_dask(name: str) -> bytes:
    plugin = importlib.import_module("distributed").get_worker().plugins.get(name)
    if plugin is None:
        raise RuntimeError("the execution to which this task run belongs has ended")
    return bytes(plugin.data)


def _to_ray(_stack: ExitStack, _runner: Any, data: bytes) -> Callable[[], bytes]:
    """Put data into the object store; it stays there as long as a task refers to it."""
    return partial(_from_ray, importlib.import_module("ray").put(data))


def _from_ray(reference: Any) -> bytes:
    return bytes(importlib.import_module("ray").get(reference))
