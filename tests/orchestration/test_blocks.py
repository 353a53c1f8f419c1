"""Where flows find their database and the key for pickles; and what nobody gets to see."""

import inspect
import os
import pickle
import subprocess
import sys
import traceback
from urllib.parse import quote, quote_plus

import pytest
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

import mltraq_prefect as mltraq
from mltraq_prefect import ExperimentStore
from mltraq_prefect.orchestration.blocks import (
    PICKLE_KEY_BLOCK,
    pickle_key_of_block,
    url_of_block,
)
from tests.refusing import refusing_server

PASSWORD = "canary/Zq7 wörd"
FORMS = {PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), quote_plus(PASSWORD)}
URLS = [
    f"postgresql+psycopg://user:{quote(PASSWORD, safe='')}@127.0.0.1:9/nothing",
    f"postgresql+psycopg://user@127.0.0.1:9/nothing?password={quote(PASSWORD, safe='')}",
    f"postgresql+psycopg://user@127.0.0.1:9/nothing?password={quote_plus(PASSWORD)}",
    f"mysql+pymysql://user:{quote(PASSWORD, safe='')}@127.0.0.1:9/nothing",
    f"mysql+pymysql://user@127.0.0.1:9/nothing?password={quote(PASSWORD, safe='')}",
    f"oracle://user:{quote(PASSWORD, safe='')}@127.0.0.1/nothing",
    f"postgresql://user:{quote(PASSWORD, safe='')}@127.0.0.1:port/nothing",
    f"sqlite:////no/such/folder/x.db?password={quote(PASSWORD, safe='')}",
]


@pytest.mark.usefixtures("prefect_server")
class TestExperimentStore(BlockStandardTestSuite):
    @pytest.fixture
    def block(self):
        return ExperimentStore

    def test_has_a_valid_code_example(self, block):
        """Replaced: the example of this block is in the documentation, where it is executed."""

    def test_has_a_valid_image(self, block):
        """Replaced: the UI shows its stand-in, as a logo would have to be hosted somewhere."""


def test_the_package_lists_its_block_type_for_who_registers_it():
    """As `prefect block register -m mltraq_prefect` looks for it."""
    assert dict(inspect.getmembers(mltraq, inspect.isclass))["ExperimentStore"] is ExperimentStore


@pytest.fixture
def saved(prefect_server, url):
    ExperimentStore(url=url).save("results", overwrite=True)
    return "results"


def test_a_session_on_the_database_of_a_block(saved, session):
    session.add_experiment("one").persist()
    with mltraq.create_session(block=saved) as other:
        assert list(other.ls()["name"]) == ["one"]


def test_a_block_of_prefect_sqlalchemy_works_in_its_place(prefect_server, session, url):
    SqlAlchemyConnector(connection_info=url).save("connector", overwrite=True)
    parts = ConnectionComponents(driver="sqlite", database=url.partition("///")[2])
    SqlAlchemyConnector(connection_info=parts).save("components", overwrite=True)
    session.add_experiment("one").persist()
    for name in ("connector", "components"):
        with mltraq.create_session(block=f"sqlalchemy-connector/{name}") as other:
            assert list(other.ls()["name"]) == ["one"]


def test_a_block_that_does_not_exist(prefect_server):
    with pytest.raises(mltraq.InvalidInput, match="no block 'experiment-store/nowhere'; make one"):
        mltraq.create_session(block="nowhere")
    with pytest.raises(mltraq.InvalidInput, match="no block 'secret/nowhere'"):
        mltraq.create_session(block="secret/nowhere")


def test_a_server_that_does_not_answer_is_named(prefect_server):
    said = r"'experiment-store/results' cannot be read: the Prefect server at http://127.0.0.1:9/"
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with pytest.raises(mltraq.StorageUnavailable, match=said):
            mltraq.create_session(block="results")
        with pytest.raises(mltraq.StorageUnavailable, match=f"'{PICKLE_KEY_BLOCK}' cannot be read"):
            pickle_key_of_block()


def test_a_server_that_refuses_is_not_said_to_be_down(prefect_server):
    with refusing_server(401) as port:
        url = f"http://127.0.0.1:{port}/api"
        said = rf"cannot be read: the Prefect server at {url} refuses \(.*401"
        settings = temporary_settings({PREFECT_API_URL: url})
        with settings, pytest.raises(mltraq.StorageUnavailable, match=said):
            mltraq.create_session(block="results")


def test_a_block_of_another_kind(prefect_server):
    Secret(value="x").save("other-kind", overwrite=True)
    with pytest.raises(mltraq.InvalidInput, match="'secret/other-kind' holds no database URL"):
        mltraq.create_session(block="secret/other-kind")


def test_a_url_or_a_block_not_both():
    with pytest.raises(mltraq.InvalidInput, match="either a url or a block"):
        mltraq.create_session("sqlite://", block="results")


def test_the_module_of_the_entry_point_is_light():
    code = (
        "import mltraq_prefect.orchestration.blocks, sys;"
        "print([m for m in ('pandas', 'pyarrow', 'loky') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("url", URLS)
def test_no_error_or_repr_shows_the_password(prefect_server, url):
    block = ExperimentStore(url=url)
    block.save("canary", overwrite=True)
    shown = [repr(block), str(block), str(block.model_dump()), block.model_dump_json()]
    with pytest.raises(mltraq.MltraqError) as caught:
        mltraq.create_session(block="canary")
    error = caught.value
    shown += [str(error), repr(error), *traceback.format_exception(error)]
    assert not [text for text in shown for form in FORMS if form in text]
    assert not [form for form in FORMS if form.encode() in pickle.dumps(error)]


def test_no_repr_or_pickle_of_what_is_open_shows_the_password(url):
    hidden = f"{url}?password={quote(PASSWORD, safe='')}"
    session = mltraq.create_session(hidden)
    experiment = session.add_experiment("one").add_runs(x=[1])
    shown = [repr(session), repr(experiment), str(experiment.info()), str(experiment.df())]
    for consume_runs in (session, experiment):
        with pytest.raises(TypeError, match="cannot be pickled") as caught:
            pickle.dumps(consume_runs)
        shown.append(str(caught.value))
    assert not [text for text in shown for form in FORMS if form in text]


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("MLTRAQ_PICKLE_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def test_flows_share_the_key_for_pickles_by_a_secret_block(prefect_server, session, no_key):
    Secret(value="k" * 32).save("mltraq-pickle-key", overwrite=True)

    @task
    def persist():
        experiment = session.add_experiment("signed").add_runs(x=[1])
        experiment.runs.first().locals.temporary = 123
        experiment.persist(store_pickle=True)

    @flow
    def study():
        persist()
        return session.load("signed", pickle=True).runs.first().locals.temporary

    try:
        assert study() == 123
        assert not no_key.exists()
        with pytest.raises(mltraq.UntrustedPickle, match="was not signed with your key"):
            session.load("signed", pickle=True)
    finally:
        Secret.delete("mltraq-pickle-key")


def test_without_that_block_a_flow_uses_the_file_of_the_user(prefect_server, session, no_key):
    @flow
    def study():
        session.add_experiment("signed").add_runs(x=[1]).persist(store_pickle=True)

    study()
    assert os.listdir(no_key / "mltraq") == ["pickle.key"]
    assert len(session.load("signed", pickle=True).runs) == 1


def test_a_shared_key_that_is_too_short_is_refused(prefect_server, session, no_key):
    Secret(value="short").save("mltraq-pickle-key", overwrite=True)

    @flow
    def study():
        session.add_experiment("signed").persist(store_pickle=True)

    try:
        with pytest.raises(mltraq.InvalidInput, match="shared key for pickles is shorter than 16"):
            study()
    finally:
        Secret.delete("mltraq-pickle-key")


def test_the_url_of_a_block_is_exact(prefect_server):
    for url in URLS:
        ExperimentStore(url=url).save("exact", overwrite=True)
        assert url_of_block("exact") == url
