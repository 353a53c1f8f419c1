"""The database ends in the middle of a sweep: what was done is not lost."""

import subprocess

import pytest
from prefect.settings import PREFECT_API_URL

from tests import servers
from tests.execution.interrupted import BATCH
from tests.polling import poll
from tests.processes import alive, descendants
from tests.sweeps import SECONDS, Sweep, undisturbed

RUNS, HELD = 300, 4 * BATCH
"""All, and the first of those that wait until the database has ended."""

SERVERS = {
    "postgresql": servers.private_postgresql,
    "mariadb": lambda: servers.private_mariadb(innodb_flush_log_at_trx_commit=1),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("undisturbed") / "executions", RUNS)


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def database(server):
    """An empty database on a server that tests may stop, and start again."""
    server.url = servers.new_database(server.url)
    return server


@pytest.fixture
def sweep(database, prefect_server, tmp_path):
    settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    sweep = Sweep(database.url, tmp_path / "executions", RUNS, settings)
    sweep.hold(HELD)
    return sweep


def test_the_sweep_goes_on_when_the_database_is_back(database, sweep, expected, tmp_path):
    log = tmp_path / "log"
    sweep.settings["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "WARNING"
    with log.open("w") as output:
        process = sweep.start(stderr=output, stdout=output)
    sweep.wait_for(50, process)
    database.stop(crash=True)
    sweep.release()
    away = "has gone away"
    assert away in poll(log.read_text, lambda text: away in text, seconds=SECONDS)
    database.start()
    assert 50 <= sweep.completed() < RUNS
    assert process.wait(SECONDS) == 0
    said = log.read_text()
    assert said.count("what is to be written waits for it, up to 1800 s") == 1
    assert said.count("is back after ") == 1
    assert sweep.executions() == [1] * RUNS
    assert sweep.results() == expected


def test_the_sweep_stops_clean_when_the_database_stays_away_and_resumes(database, sweep, expected):
    sweep.settings["MLTRAQ_DATABASE_WAIT"] = "2"
    process = sweep.start(stderr=subprocess.PIPE, text=True)
    sweep.wait_for(50, process)
    helpers = descendants(process.pid)
    assert helpers, process.poll() is None or process.communicate()
    database.stop(crash=True)
    sweep.release()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    kind = database.url.partition("+")[0]
    assert f"StorageUnavailable: the database {kind}" in errors.splitlines()[-1]
    assert not alive(helpers)
    database.start()
    kept, executed = sweep.completed(), sum(sweep.executions())
    assert 50 <= kept < RUNS
    assert sweep.start().wait(SECONDS) == 0
    assert sum(sweep.executions()) == executed + RUNS - kept
    assert sweep.results() == expected
