"""The Prefect server, or the database, ends in the middle of a sweep: what was done is not lost."""

import os
import signal
import subprocess

import pytest
from prefect.settings import PREFECT_API_URL

from deployments.local import LocalPrefect
from tests.servers import private_postgresql
from tests.sweeps import Sweep, alive, undisturbed, workers_of

RUNS = 600


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed") / "executions", RUNS)


@pytest.fixture
def postgresql():
    with private_postgresql() as server:
        yield server


@pytest.fixture
def sweep(postgresql, prefect_server, tmp_path):
    settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    return Sweep(postgresql.url, tmp_path / "executions", RUNS, settings)


def test_the_sweep_goes_on_while_the_prefect_server_restarts(url, tmp_path, expected):
    with LocalPrefect(tmp_path / "home") as prefect:
        sweep = Sweep(url, tmp_path / "executions", RUNS, prefect.settings)
        process = sweep.start()
        sweep.wait_for(50, process)
        os.killpg(prefect.server.pid, signal.SIGKILL)
        prefect.server.wait()
        kept = sweep.completed()
        sweep.wait_for(kept + 200, process)
        assert process.poll() is None
        prefect.serve()
        assert process.wait(120) == 0
    assert sweep.executions() == [1] * RUNS
    assert sweep.results() == expected


def test_the_sweep_goes_on_when_the_database_is_back(postgresql, sweep, expected):
    process = sweep.start()
    sweep.wait_for(50, process)
    postgresql.stop(crash=True)
    postgresql.start()
    assert 50 <= sweep.completed() < RUNS
    assert process.wait(120) == 0
    assert sweep.executions() == [1] * RUNS
    assert sweep.results() == expected


def test_the_sweep_stops_clean_when_the_database_stays_away_and_resumes(
    postgresql, sweep, expected
):
    process = sweep.start(stderr=subprocess.PIPE, text=True)
    sweep.wait_for(50, process)
    workers = workers_of(process.pid)
    postgresql.stop(crash=True)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "StorageUnavailable: the database postgresql" in errors.splitlines()[-1]
    assert not alive(workers)
    postgresql.start()
    kept, executed = sweep.completed(), sum(sweep.executions())
    assert 50 <= kept < RUNS
    assert sweep.start().wait(120) == 0
    assert sum(sweep.executions()) == executed + RUNS - kept
    assert sweep.results() == expected
