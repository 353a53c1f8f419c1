"""A Prefect server that has no time does not stop the computing, and hears of all in the end."""

import contextlib
import re
import threading
from contextvars import copy_context
from uuid import uuid4

import httpx
import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.settings import PREFECT_API_URL, temporary_settings

import mltraq_prefect as mltraq
from tests.contract.proxy import Proxy
from tests.polling import poll
from tests.prefect_api import flow_run, logs, task_runs

pytestmark = pytest.mark.usefixtures("prefect_server")

WRITING = re.compile(rb"(POST|PUT|PATCH|DELETE) (?!\S*/filter )")
"""How a request to write begins; filters are read with POST."""

SECONDS = 90


class BusyServer(Proxy):
    """A Prefect server that writes nothing for its clients while it is held; reading works.

    Attributes:
        url: By which it is reached.
        asked: How many requests to write it has got while it was held.
    """

    def __init__(self, url):
        direct = httpx.URL(url)
        super().__init__(direct.host, direct.port)
        self.url = str(direct.copy_with(port=self.port))
        self.asked = 0
        self._free = threading.Event()
        self._free.set()

    @contextlib.contextmanager
    def held(self):
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def _forward(self, client, server, answers):
        while sent := client.recv(65536):
            if WRITING.match(sent) and not self._free.is_set():
                self.asked += 1
                assert self._free.wait(SECONDS), "nobody lets the server go on"
            server.sendall(sent)


@pytest.fixture
def busy(prefect_server):
    with (
        BusyServer(PREFECT_API_URL.value()) as server,
        temporary_settings({PREFECT_API_URL: server.url}),
    ):
        yield server


def draw(run):
    print("drawing", run.params.N)
    run.fields.drawn = run.rng.random()
    if run.params.N >= 20:
        assert poll(run.kwargs.go.exists, bool, SECONDS)


def double(run):
    run.fields.doubled = 2 * run.fields.drawn


def completed(url, name):
    with mltraq.create_session(url) as session:
        if session.ls().empty:
            return 0
        runs = session.query(
            "SELECT count(*) AS n FROM experiment_runs r JOIN experiments e USING (id_experiment)"
            " WHERE e.name = :name AND r.state = 'completed'",
            {"name": name},
        )
        return int(runs["n"][0])


def in_thread(body):
    """Start a function in a thread that has the settings of this one."""
    thread = threading.Thread(target=copy_context().run, args=(body,), daemon=True)
    thread.start()
    return thread


def flow_runs(name):
    with get_client(sync_client=True) as client:
        chosen = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
        return client.read_flow_runs(flow_run_filter=chosen)


def test_runs_are_executed_and_written_before_their_flow_run_is_there(busy, url, tmp_path):
    go, experiment_name = tmp_path / "go", f"early {uuid4().hex}"
    name = f"{experiment_name}: draw, double"

    def execute():
        with mltraq.create_session(url) as session:
            experiment = session.add_experiment(experiment_name).add_runs(N=range(40))
            options = {"n_jobs": 1, "checkpoint": True, "runs_per_task": 5}
            experiment.execute([draw, double], {"go": go}, **options)

    with busy.held():
        executing = in_thread(execute)
        early = poll(lambda: completed(url, experiment_name), lambda n: n >= 10, SECONDS)
        assert 10 <= early <= 20
        assert flow_runs(name) == []
        assert busy.asked
    (found,) = poll(lambda: flow_runs(name), lambda runs: runs and runs[0].state.is_running())
    go.touch()
    executing.join(SECONDS)
    assert not executing.is_alive()
    assert completed(url, experiment_name) == 40
    assert poll(lambda: flow_run(found.id).state, lambda state: state.is_final()).is_completed()
    tasks = task_runs(str(found.id), 16)
    assert {run.state.type.value for run in tasks.values()} == {"COMPLETED"}
    with mltraq.create_session(url) as session:
        ledger = session.query("SELECT flow_run_id, task_run_id FROM experiment_run_steps")
    assert set(ledger["flow_run_id"]) == {str(found.id)}
    assert set(ledger["task_run_id"]) == {str(run.id) for run in tasks.values()}
    expected = {f"drawing {n}" for n in range(40)}
    records = logs(str(found.id), lambda messages: expected <= set(messages))
    assert expected <= {record.message for record in records}


def test_a_failure_before_the_flow_run_is_there_is_shown_in_the_end(busy, session):
    def fail(run):
        raise ValueError(f"{run.params.N} is bad")

    failures, experiment_name = [], f"bad {uuid4().hex}"

    def execute():
        experiment = session.add_experiment(experiment_name).add_runs(N=range(2))
        with pytest.raises(mltraq.RunsFailed) as caught:
            experiment.execute(fail)
        failures.append(caught.value)

    with busy.held():
        executing = in_thread(execute)
        poll(lambda: failures, len, SECONDS)
        assert len(failures) == 1  # though the server knows nothing yet
        assert flow_runs(f"{experiment_name}: fail") == []
    executing.join(SECONDS)
    (found,) = poll(lambda: flow_runs(f"{experiment_name}: fail"), len)
    state = poll(lambda: flow_run(found.id).state, lambda state: state.is_final())
    assert state.is_failed()
    assert "2 of 2 runs failed" in state.message


def test_a_flow_goes_on_while_its_reports_wait(busy, url):
    @flow
    def study(name):
        with busy.held(), mltraq.create_session(url) as session:
            for name in ("first", "second"):
                experiment = session.add_experiment(name).add_runs(N=range(4))
                experiment.execute([draw, double], checkpoint=True)
                experiment.persist(if_exists="merge")
            assert busy.asked
            return completed(url, "first"), completed(url, "second")

    assert study("waits") == (4, 4)
    for name in ("first", "second"):
        found = poll(lambda key=f"mltraq-{name}": Artifact.get(key), bool)
        assert f"# {name}" in found.data or name in found.description
