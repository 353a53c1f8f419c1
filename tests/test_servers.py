"""Servers of the tests: what makes them may fail by chance, and a test has one if it asks."""

import pytest

from tests import servers


def program(folder, fails):
    """Return a command that makes a folder, but fails so often before that it leaves it half."""
    counter = folder / "calls"
    text = f"mkdir $0 && echo x >> {counter} && echo told && test $(wc -l < {counter}) -gt {fails}"
    return lambda data: ["sh", "-c", text, data]


@pytest.fixture
def folder():
    return servers.new_directory()  # for the user who runs servers, too


def test_a_program_that_makes_data_may_crash_twice(folder):
    data = folder / "data"
    servers.make_patiently(data, program(folder, fails=2))
    assert data.exists()


def test_what_it_has_printed_is_told_when_it_fails_again(folder):
    with pytest.raises(servers.ProgramFailed, match="status 1\ntold"):
        servers.make_patiently(folder / "data", program(folder, fails=3))


@pytest.mark.parametrize("asks", [True, False])
def test_a_prefect_server_is_there_for_who_asks_for_it_alone(request, asks):
    if asks:
        request.getfixturevalue("prefect_server")
    from prefect.settings import PREFECT_API_URL

    assert bool(PREFECT_API_URL.value()) == asks
