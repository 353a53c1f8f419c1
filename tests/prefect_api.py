"""What the Prefect server knows, read through its API; polled, for it learns a moment late."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import TaskRunSort

from tests.polling import poll


def flow_run(flow_run_id):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id)


def task_runs(flow_run_id, count):
    """Return the task runs of a flow run by name, once there are `count` in a final state."""

    def read():
        with get_client(sync_client=True) as client:
            chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
            order = TaskRunSort.NAME_ASC
            return client.read_task_runs(flow_run_filter=chosen, sort=order, limit=200)

    def complete(runs):
        return len(runs) >= count and all(run.state and run.state.is_final() for run in runs)

    found = poll(read, complete)
    assert len(found) == count, sorted(run.name for run in found)
    return {run.name: run for run in found}


def logs(flow_run_id, until):
    """Return the log records of a flow run, once `until` holds for their messages."""

    def read():
        with get_client(sync_client=True) as client:
            chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
            return client.read_logs(chosen, limit=200, offset=0)

    return poll(read, lambda records: until([record.message for record in records]))


def everything_of(flow_run_id):
    """Return what the server keeps of a flow run and its task runs as text, once it has logs."""
    records = logs(flow_run_id, lambda messages: messages)
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        kept = [
            client.read_flow_run(flow_run_id),
            *client.read_task_runs(flow_run_filter=chosen, limit=200),
            *client.read_artifacts(flow_run_filter=chosen, limit=200),
            *records,
        ]
    return "\n".join(item.model_dump_json() for item in kept)
