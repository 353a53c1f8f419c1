"""Fixtures that every test may use: a Prefect server, a session on a database of its own."""

import gc
import os
import random
import signal
from pathlib import Path

os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
# Clients read whom they trust for each connection, here too, where nobody speaks TLS: 150
# authorities, the system's or those that a variable names, take 20 ms, one takes none.
for variable in ("SSL_CERT_FILE", "PREFECT_API_SSL_CERT_FILE"):
    os.environ[variable] = str(Path(__file__).parent / "assets" / "authority.pem")
# Each of the many programs that tests start would compile all modules of the package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for variable in list(os.environ):
    if variable.startswith(("MLTRAQ_DATABASE", "PREFECT_API_URL", "PREFECT_PROFILE")):
        del os.environ[variable]  # of the user, whose databases and server are not for tests

import hypothesis
import pytest
import websockets.asyncio.connection
import websockets.client

import mltraq_prefect as mltraq
from tests import homes, session_servers

# A shell's background jobs ignore Ctrl-C, and so would the programs that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is.
_tests = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("tests", _tests)
# New examples are for developers to find, and `make fuzz`; what CI tests is what the commit says.
hypothesis.settings.register_profile("ci", _tests, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("fuzz", _tests, max_examples=2_000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "tests")
# A thread of Prefect's, which a test before has started, pings its server with random numbers.
# Were they those of all, Hypothesis would take them for ones that a strategy has drawn.
websockets.asyncio.connection.random = websockets.client.random = random.Random()


@pytest.fixture(scope="session")
def prefect_tables():
    """A database with the tables of a Prefect server, which the processes of a session share."""
    return homes.made_once()


@pytest.fixture(scope="session")
def prefect_settings(prefect_tables):
    """Settings with a real Prefect server, which the processes of a session share."""
    url = session_servers.shared("prefect", lambda: homes.served(prefect_tables))
    settings = homes.settings_for(url)
    yield settings
    homes.send_all(settings)


@pytest.fixture
def prefect_server(prefect_settings, monkeypatch):
    """A server is configured, for this test alone: who does not ask for one has none.

    Executions wait for their flow run: what they see of Prefect depends on no load of this machine.
    """
    monkeypatch.setattr("mltraq_prefect.orchestration.own_flow.BEGIN_SECONDS", 600.0)
    with homes.used(prefect_settings):
        yield


@pytest.fixture(scope="session")
def plain_settings():
    """Settings without a server."""
    return homes.settings_for(None)


@pytest.fixture
def without_prefect(plain_settings):
    """No server is configured, though Prefect is imported: executions do without it."""
    with homes.used(plain_settings):
        yield


@pytest.fixture
def way(request):
    """Executions make task runs, or do without Prefect; `tests.ways` chooses."""
    name = "prefect_server" if request.param == "prefect" else "without_prefect"
    request.getfixturevalue(name)
    return request.param


ELSEWHERE = ("asyncio", "distributed", "httpx", "prefect._internal", "prefect.events", "websockets")
"""Loggers of threads of Prefect's and of clusters, which other tests of a process have started."""


@pytest.fixture
def caplog(caplog):
    """What is logged, but for what others are doing in the meantime."""

    def is_here(record):
        return not record.name.startswith(ELSEWHERE)

    caplog.handler.addFilter(is_here)
    yield caplog
    caplog.handler.removeFilter(is_here)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/mltraq.db"


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config):
    if session_servers.folder() is not None:  # a worker of pytest-xdist, or pytest in a test
        return (yield)
    with session_servers.opened():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep what is imported and collected out of the search for garbage, which cost a fifth."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items):
    """Refuse tests whose names differ in each process: `make test` divides them by their names."""
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give this test ids that stay: {unstable[0]}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from tests.scheduling import Scheduling

    return Scheduling(config, log)
