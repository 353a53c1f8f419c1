"""Pages of runs in the Prefect UI, if there is one."""

from __future__ import annotations

import functools

from mltraq_prefect.model.ledger_entry import Facts
from mltraq_prefect.orchestration.configured import may_name_server


def run_pages(entry: Facts) -> dict[str, str]:
    """Return the addresses of the pages of a run's flow run and task run, by what they are."""
    if not _has_ui():
        return {}
    from mltraq_prefect.orchestration.links import page_url

    found = {
        "flow run": page_url("flow-run", entry.flow_run_id),
        "task run": page_url("task-run", entry.task_run_id),
    }
    return {kind: url for kind, url in found.items() if url is not None}


@functools.cache
def _has_ui() -> bool:
    """Return whether Prefect's settings may name a server; it takes seconds to ask Prefect."""
    return may_name_server()
