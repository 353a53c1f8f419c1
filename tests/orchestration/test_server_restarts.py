"""The Prefect server ends in the middle of a sweep: what was done is not lost."""

import signal
import subprocess

import httpx
import pytest
from prefect.settings import PREFECT_API_URL

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
def sweep(url, tmp_path, proxy):
    settings = {"PREFECT_API_URL": f"http://127.0.0.1:{proxy.port}/api"}
    sweep = Sweep(url, tmp_path / "executions", RUNS, settings)
    sweep.hold(HELD)
    return sweep


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


def test_an_interrupted_sweep_resumes_with_another_prefect_server(sweep, proxy, expected):
    sweep.settings |= IMPATIENT
    process = sweep.start()
    sweep.wait_for(50, process)
    proxy.end()
    sweep.hold(3 * HELD)
    sweep.wait_for(2 * HELD, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) != 0
    sweep.release()
    kept, executed = sweep.completed(), sum(sweep.executions())
    assert 2 * HELD <= kept < RUNS
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
