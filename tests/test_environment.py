"""Which database a session has: what is said of none, and of a misspelt variable."""

import logging
import os
import subprocess
import sys

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

import mltraq_prefect as mltraq


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "mltraq_prefect")
    return caplog


def test_without_a_database_one_line_says_so(warnings):
    with mltraq.create_session() as session:
        assert session.ls().empty
    (line,) = warnings.messages
    assert "it is in memory, and gone when the program ends" in line
    assert "sqlite:///mltraq.db, or set MLTRAQ_DATABASE_URL" in line
    assert "\n" not in line


def test_a_database_that_was_asked_for_is_not_spoken_of(warnings, url, monkeypatch):
    mltraq.create_session("sqlite://").close()
    mltraq.create_session(url).close()
    monkeypatch.setenv("MLTRAQ_DATABASE_URL", url)
    with mltraq.create_session() as session:
        session.add_experiment("one").persist()
    with mltraq.create_session(url) as session:
        assert list(session.ls()["name"]) == ["one"]
    assert warnings.messages == []


def test_an_empty_url_is_refused():
    with pytest.raises(mltraq.InvalidInput, match="URL cannot be parsed"):
        mltraq.create_session("")


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("MLTRAQ_DATABSE_URL", "MLTRAQ_DATABASE_URL"),
        ("MLTRAQ_URL", "MLTRAQ_DATABASE_URL"),
        ("mltraq_database_url", "MLTRAQ_DATABASE_URL"),
        ("MLTRAQ_PICKLEKEY", "MLTRAQ_PICKLE_KEY"),
        ("MLTRAQ_", "MLTRAQ_PROVENANCE"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_names_the_nearest(misspelt, meant, url, monkeypatch):
    monkeypatch.setenv(misspelt, "x")
    for given in (url, None):
        with pytest.raises(mltraq.InvalidInput, match=f"{misspelt}; do you mean {meant}"):
            mltraq.create_session(given)
    assert not os.path.exists(url.removeprefix("sqlite:///"))


def test_variables_of_others_are_not_ours(url, monkeypatch):
    for name in (
        "MLTRAQ_DB_SERVICE_HOST",
        "MLTRAQ_DB_SERVICE_PORT_POSTGRES",
        "MLTRAQ_DB_PORT",
        "MLTRAQ_DB_PORT_5432_TCP_ADDR",
        "MLTRAQ_PEERS_PYTHON",
        "MLTRAQ",
        "MLTRAQDATABASE_URL",
    ):
        monkeypatch.setenv(name, "x")
    mltraq.create_session(url).close()


def test_without_prefect_nothing_asks_it():
    code = (
        "import sys, mltraq_prefect as m; m.create_session();"
        "print([name for name in sys.modules if name == 'prefect'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("prefect_server")
class TestInFlows:
    def test_a_flow_of_a_script_may_try_in_memory(self, warnings):
        @flow
        def study():
            with mltraq.create_session() as session:
                session.add_experiment("one").persist()
                return session.ls()["name"].tolist()

        assert study() == ["one"]
        assert len([line for line in warnings.messages if "in memory" in line]) == 1

    def test_a_deployment_without_a_database_is_refused(self, warnings, monkeypatch, url):
        @flow
        def study(given: str | None = None):
            mltraq.create_session(given).close()

        with get_client(sync_client=True) as client:
            id_deployment = client.create_deployment(client.create_flow(study), "nightly")
            first, second = (
                client.create_flow_run_from_deployment(id_deployment) for _ in range(2)
            )
        run_flow(study, flow_run=first, parameters={"given": url})
        with pytest.raises(mltraq.InvalidInput, match="of a deployment has no database"):
            run_flow(study, flow_run=second)

        # Outside of the flow, in the module that is loaded for it: what a worker sets.
        monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(second.id))
        with pytest.raises(mltraq.InvalidInput, match="of a deployment has no database"):
            mltraq.create_session()
        assert not [line for line in warnings.messages if "in memory" in line]
