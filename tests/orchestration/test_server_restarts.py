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
from tests.execution.interrupted import BATCH
from tests.sweeps import SECONDS, Sweep, undisturbed

RUNS, HELD = 400, 4 * BATCH
"""All, and the first of those that wait until the server has ended."""

IMPATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "1", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}
"""Prefect's client waits for an answer for two seconds, where it usually waits for a minute."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed") / "executions", RUNS)


@pytest.fixture
def proxy(prefect_server):
    """What is between the sweep and its server, and can end and begin again in its place."""
    url = httpx.URL(PREFECT_API_URL.value())
    with Proxy(url.host, url.port) as proxy:
        yield proxy


@pytest.fixture
def held(url, tmp_path):
    sweep = Sweep(url, tmp_path / "executions", RUNS, {})
    sweep.hold(HELD)
    return sweep


@pytest.fixture
def sweep(held, proxy):
    held.settings = {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api"}
    return held


def test_the_sweep_goes_on_while_the_prefect_server_restarts(sweep, proxy, expected):
    process = sweep.start()
    sweep.wait_for(50, process)
    proxy.end()
    sweep.hold(3 * HELD)
    sweep.wait_for(2 * HELD, process)
    assert process.poll() is None
    proxy.begin_again()
    sweep.release()
    assert process.wait(SECONDS) == 0
    assert sweep.executions() == [1] * RUNS
    assert sweep.results() == expected


def test_a_sweep_whose_prefect_server_was_killed_resumes_with_another(
    held, prefect_tables, prefect_server, tmp_path, expected
):
    with LocalPrefect(homes.furnish(tmp_path / "home", prefect_tables)) as prefect:
        held.settings = prefect.settings | IMPATIENT
        process = held.start()
        held.wait_for(50, process)
        os.killpg(prefect.server.pid, signal.SIGKILL)
        assert prefect.server.wait() == -signal.SIGKILL
        held.hold(3 * HELD)
        held.wait_for(2 * HELD, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) != 0
    held.release()
    kept, executed = held.completed(), sum(held.executions())
    assert 2 * HELD <= kept < RUNS
    held.settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    assert held.start().wait(SECONDS) == 0
    assert sum(held.executions()) == executed + RUNS - kept
    assert held.results() == expected


ENDS = {
    "alone": (("tests.execution.interrupted",), 0, "does not answer, and will not show how"),
    "in a flow": (("tests.execution.studies", "flow"), 1, "ConnectError"),
}
"""Commands, how they end without a Prefect server, and what they say; flows of a user fail."""


@pytest.mark.parametrize(("command", "code", "message"), ENDS.values(), ids=ENDS)
def test_the_sweep_is_complete_although_the_prefect_server_stays_away(
    sweep, proxy, expected, command, code, message
):
    sweep.settings |= IMPATIENT
    process = sweep.start(command, stderr=subprocess.PIPE, text=True)
    sweep.wait_for(50, process)
    proxy.end()
    sweep.release()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == code
    assert message in errors
    assert sweep.results() == expected
    sweep.settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    assert sweep.start(command).wait(SECONDS) == 0
    assert sweep.executions() == [1] * RUNS
