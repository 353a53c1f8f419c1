"""The bar in a terminal and the artifact in the UI are as often renewed as time allows, not runs.

Both are compared with the duration of the same flow run, as the server knows it.
"""

import os
import pty
import re

import httpx
import pytest

from deployments.local import LocalPrefect
from mltraq_prefect.execution.fanout.bars import FRAMES_PER_SECOND
from mltraq_prefect.orchestration.progress_artifact import REPORT_SECONDS
from tests import homes
from tests.orchestration.test_programs import read_all
from tests.polling import poll
from tests.sweeps import Sweep

RUNS = 800

ARTIFACT_REQUEST = re.compile(r'"(POST|PATCH) /api/artifacts/\S* HTTP/1.1" 20\d')


@pytest.fixture
def prefect(prefect_tables, tmp_path):
    """A server whose log has a line for each request."""
    prefect = LocalPrefect(homes.furnish(tmp_path / "home", prefect_tables))
    prefect.settings |= {"PREFECT_SERVER_LOGGING_LEVEL": "INFO"}
    with prefect:
        yield prefect


def test_progress_is_shown_now_and_then(url, tmp_path, prefect):
    sweep = Sweep(url, tmp_path / "executions", RUNS, prefect.settings | {"COLUMNS": "120"})
    parent, terminal = pty.openpty()
    process = sweep.start(stderr=terminal)
    os.close(terminal)
    frames = re.findall(r"([\d,]+) of 800 runs completed", read_all(parent))
    assert process.wait(60) == 0
    seconds = poll(lambda: duration(prefect), bool)
    requests = ARTIFACT_REQUEST.findall((tmp_path / "home/server.log").read_text())
    assert 2 <= len(frames) <= 2 + seconds * FRAMES_PER_SECOND
    assert requests[0] == "POST"
    assert set(requests[1:]) == {"PATCH"}
    assert len(requests) <= 2 + seconds / REPORT_SECONDS
    assert frames[-1] == "800"
    assert artifact(prefect)["description"] == "sweep: 800 of 800 runs completed"


def duration(prefect):
    """Return how long the only flow run took, in seconds; 0 until it has ended."""
    (found,) = filtered(prefect, "flow_runs")
    return found["total_run_time"] if found["state_type"] == "COMPLETED" else 0


def artifact(prefect):
    (found,) = filtered(prefect, "artifacts")
    return found


def filtered(prefect, what):
    return httpx.post(f"{prefect.url}/api/{what}/filter", json={}, timeout=30).json()
