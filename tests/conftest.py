"""Fixtures that every test may use: a Prefect server, a session on a database of its own."""

import os
import signal

os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
for variable in [name for name in os.environ if name.startswith("MLTRAQ_DATABASE")]:
    del os.environ[variable]

import hypothesis
import pytest

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


@pytest.fixture(scope="session")
def prefect_tables():
    """A database with the tables of a Prefect server, which the processes of a session share."""
    return homes.made_once(session_servers.folder())


@pytest.fixture(scope="session")
def prefect_server(prefect_tables):
    """A real Prefect server, which the processes of a session share."""
    url = session_servers.shared("prefect", lambda: homes.served(prefect_tables))
    with homes.used(url):
        yield


@pytest.fixture
def without_prefect(prefect_server):
    """No server is configured, though Prefect is imported: executions do without it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


@pytest.fixture
def way(request):
    """Executions make task runs, or do without Prefect; `tests.ways` chooses."""
    name = "prefect_server" if request.param == "prefect" else "without_prefect"
    request.getfixturevalue(name)
    return request.param


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


def pytest_collection_modifyitems(items):
    """Refuse tests whose names differ in each process: `make test` divides them by their names."""
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give this test ids that stay: {unstable[0]}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from tests.scheduling import Scheduling

    return Scheduling(config, log)
