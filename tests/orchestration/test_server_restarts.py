"""The Prefect server ends in the middle of a sweep: what was done is not lost."""

import os
import signal
import subprocess

import httpx
import pytest
from prefect.settings import PREFECT_API_URL

from deployments.local import LocalPrefect
from tests import homes
from tests.contract.proxy import Proxy
from tests.sweeps import SECONDS, Sweep, undisturbed

RUNS = 1_200

IMPATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "1", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}
"""Prefect's client waits for an answer for two seconds, where it usually waits for a minute."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed") / "executions", RUNS)


@pytest.fixture(scope="module")
def server_to_kill(prefect_tables, tmp_path_factory):
    with LocalPrefect(homes.furnish(tmp_path_factory.mktemp("home"), prefect_tables)) as prefect:
        yield prefect


@pytest.fixture
def prefect(server_to_kill):
    """A server, which a test may kill: it is started again for the next one."""
    if server_to_kill.server.poll() is not None:
        server_to_kill.serve()
    return server_to_kill


@pytest.fixture
def proxy(prefect_server):
    """What is between the sweep and its server, and can end as if that was killed."""
    url = httpx.URL(PREFECT_API_URL.value())
    with Proxy(url.host, url.port) as proxy:
        yield proxy


def test_the_sweep_goes_on_while_the_prefect_server_restarts(url, tmp_path, prefect, expected):
    sweep = Sweep(url, tmp_path / "executions", RUNS, prefect.settings)
    process = sweep.start()
    sweep.wait_for(50, process)
    kill(prefect)
    kept = sweep.completed()
    sweep.wait_for(kept + 200, process)
    assert process.poll() is None
    prefect.serve()
    assert process.wait(SECONDS) == 0
    assert sweep.executions() == [1] * RUNS
    assert sweep.results() == expected


def test_an_interrupted_sweep_resumes_with_another_prefect_server(
    url, tmp_path, prefect, prefect_server, expected
):
    sweep = Sweep(url, tmp_path / "executions", RUNS, prefect.settings | IMPATIENT)
    process = sweep.start()
    sweep.wait_for(50, process)
    kill(prefect)
    sweep.wait_for(sweep.completed() + 50, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) != 0
    kept, executed = sweep.completed(), sum(sweep.executions())
    assert 100 <= kept < RUNS
    sweep.settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    assert sweep.start().wait(SECONDS) == 0
    assert sum(sweep.executions()) == executed + RUNS - kept
    assert sweep.results() == expected


ENDS = {
    "alone": (("tests.execution.interrupted",), 0, "does not answer, and will not show how"),
    "in a flow": (("tests.execution.studies", "flow"), 1, "ConnectError"),
}
"""Commands, how they end without a Prefect server, and what they say; flows of a user fail."""


@pytest.mark.parametrize(("command", "code", "message"), ENDS.values(), ids=ENDS)
def test_the_sweep_is_complete_although_the_prefect_server_stays_away(
    url, tmp_path, proxy, expected, command, code, message
):
    through = {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api"}
    sweep = Sweep(url, tmp_path / "executions", RUNS, through | IMPATIENT)
    process = sweep.start(command, stderr=subprocess.PIPE, text=True)
    sweep.wait_for(50, process)
    proxy.end()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == code
    assert message in errors
    assert sweep.results() == expected
    sweep.settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    assert sweep.start(command).wait(SECONDS) == 0
    assert sweep.executions() == [1] * RUNS


def kill(prefect):
    os.killpg(prefect.server.pid, signal.SIGKILL)
    prefect.server.wait()
