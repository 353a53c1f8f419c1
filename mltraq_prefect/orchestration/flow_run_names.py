"""Names and tags of flow runs, so that a person finds those of an experiment."""

from __future__ import annotations

import re
import threading
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from mltraq_prefect.orchestration.prefect_compat import current_flow

_MADE_UP = re.compile(r"[a-z]+-[a-z]+")
"""What Prefect calls a flow run that nobody has named, such as ``topaz-fulmar``."""

MOST_CHARACTERS = 200
"""Of an experiment's name in that of a flow run."""

_ONE_AT_A_TIME = threading.Lock()
"""Tags are read, and written with one more: threads would take away each other's."""


def name_flow_run(client: SyncPrefectClient, flow_run_id: UUID, experiment: str) -> None:
    """Tag a flow run with an experiment, and put the experiment before a name that was made up.

    A name that somebody has chosen stays, here or in the flow. What was made up stays, too: it
    tells flow runs of one experiment apart, and logs have it.

    Args:
        client: Client of the server.
        flow_run_id: The current flow run.
        experiment: Name of the experiment.
    """
    is_named = getattr(current_flow(), "flow_run_name", None) is not None
    with _ONE_AT_A_TIME:
        flow_run = client.read_flow_run(flow_run_id)
        name = None
        if not is_named and _MADE_UP.fullmatch(flow_run.name):
            name = f"{experiment[:MOST_CHARACTERS]} {flow_run.name}"
        tags = None if experiment in flow_run.tags else [*flow_run.tags, experiment]
        if name is not None or tags is not None:
            client.update_flow_run(flow_run_id, name=name, tags=tags)
