"""Environment variables by which worker processes on a cluster find the cluster."""

from __future__ import annotations

import os
import sys


def set_cluster_address() -> None:
    """Set the address of this cluster in the environment of processes that are started here.

    Without it, a step that uses Ray's API would start another Ray cluster.
    """
    for variable, address in (("RAY_ADDRESS", _ray()), ("DASK_SCHEDULER_ADDRESS", _dask())):
        if address and not os.environ.get(variable):
            os.environ[variable] = address


def _ray() -> str | None:
    ray = sys.modules.get("ray")
    is_initialized = getattr(ray, "is_initialized", None)  # another thread may be importing it
    if ray is None or is_initialized is None or not is_initialized():
        return None
    return str(ray.get_runtime_context().gcs_address)


def _dask() -> str | None:
    get_worker = getattr(sys.modules.get("distributed"), "get_worker", None)
    if get_worker is None:
        return None
    try:
        return str(get_worker().scheduler.address)
    except ValueError:  # this is no process of a cluster
        return None
