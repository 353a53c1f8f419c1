"""The bar in a terminal and the artifact in the UI are as often renewed as time allows, not runs.

Both are compared with the duration of the same flow run, as the server knows it.
"""

import os
import pty
import re

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
)
from prefect.settings import PREFECT_API_URL

from mltraq_prefect.execution.fanout.bars import FRAMES_PER_SECOND
from mltraq_prefect.orchestration.progress_artifact import REPORT_SECONDS
from tests.contract.proxy import Proxy
from tests.orchestration.test_programs import read_all
from tests.polling import poll
from tests.prefect_api import flow_run
from tests.sweeps import Sweep

RUNS = 400

ARTIFACT_REQUEST = re.compile(rb"(POST|PATCH) /api/artifacts/\S* HTTP/1.1")


def test_progress_is_shown_now_and_then(url, tmp_path, prefect_server):
    direct = httpx.URL(PREFECT_API_URL.value())
    parent, terminal = pty.openpty()
    with Proxy(direct.host, direct.port) as proxy:
        through = str(direct.copy_with(port=proxy.port))
        settings = {"PREFECT_API_URL": through, "COLUMNS": "120"}
        sweep = Sweep(url, tmp_path / "executions", RUNS, settings)
        process = sweep.start(stderr=terminal)
        os.close(terminal)
        frames = re.findall(r"([\d,]+) of 400 runs completed", read_all(parent))
        assert process.wait(180) == 0
        requests = ARTIFACT_REQUEST.findall(b"".join(proxy.in_order))
    flow_run_id = sweep.flow_run_id()
    seconds = poll(lambda: duration(flow_run_id), bool)
    assert 2 <= len(frames) <= 2 + seconds * FRAMES_PER_SECOND
    assert requests[0] == b"POST"
    assert set(requests[1:]) == {b"PATCH"}
    assert 2 <= len(requests) <= 2 + seconds / REPORT_SECONDS
    assert frames[-1] == "400"
    assert artifact(flow_run_id).description == "sweep: 400 of 400 runs completed"


def duration(flow_run_id):
    """Return how long a flow run took, in seconds; 0 until it has ended."""
    found = flow_run(flow_run_id)
    return found.total_run_time.total_seconds() if found.state.is_completed() else 0


def artifact(flow_run_id):
    with get_client(sync_client=True) as client:
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        (found,) = client.read_artifacts(artifact_filter=chosen)
        return found
