"""A Prefect server that has no time does not stop the computing, and hears of all in the end."""

import threading
from contextvars import copy_context
from uuid import uuid4

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

import mltraq_prefect as mltraq
from mltraq_prefect.orchestration import own_flow
from tests.orchestration.busy_server import busy_server
from tests.polling import poll
from tests.prefect_api import flow_run, logs, task_runs
from tests.steps import double_drawn, draw_and_wait

pytestmark = pytest.mark.usefixtures("prefect_server")

SECONDS = 90

BEGIN_SECONDS = own_flow.BEGIN_SECONDS


@pytest.fixture
def busy(prefect_server, monkeypatch):
    """A server that can be held; executions wait for it as long as they do elsewhere."""
    monkeypatch.setattr(own_flow, "BEGIN_SECONDS", BEGIN_SECONDS)
    with busy_server() as server:
        yield server


def completed(session, name):
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


def test_runs_are_executed_and_written_before_their_flow_run_is_there(busy, url, session, tmp_path):
    go, experiment_name = tmp_path / "go", f"early {uuid4().hex}"
    name = f"{experiment_name}: draw_and_wait, double_drawn"

    def execute():
        with mltraq.create_session(url) as own:
            experiment = own.add_experiment(experiment_name).add_runs(N=range(16))
            options = {"n_jobs": 1, "checkpoint": True, "runs_per_task": 4}
            experiment.execute([draw_and_wait, double_drawn], {"go": go}, **options)

    with busy.held():
        executing = in_thread(execute)
        early = poll(lambda: completed(session, experiment_name), lambda n: n >= 4, SECONDS)
        assert 4 <= early <= 8
        assert flow_runs(name) == []
        assert busy.asked
    (found,) = poll(lambda: flow_runs(name), lambda runs: runs and runs[0].state.is_running())
    go.touch()
    executing.join(SECONDS)
    assert not executing.is_alive()
    assert completed(session, experiment_name) == 16
    assert poll(lambda: flow_run(found.id).state, lambda state: state.is_final()).is_completed()
    tasks = task_runs(str(found.id), 8)
    assert {run.state.type.value for run in tasks.values()} == {"COMPLETED"}
    ledger = session.query("SELECT flow_run_id, task_run_id FROM experiment_run_steps")
    assert set(ledger["flow_run_id"]) == {str(found.id)}
    assert set(ledger["task_run_id"]) == {str(run.id) for run in tasks.values()}
    expected = {f"drawing {n}" for n in range(16)}
    records = logs(str(found.id), lambda messages: expected <= set(messages))
    assert expected <= {record.message for record in records}


def test_runs_that_were_persisted_before_their_flow_run_is_there_get_its_id(busy, url, session):
    name, steps = f"persisted {uuid4().hex}", [draw_and_wait, double_drawn]
    sql = (
        "SELECT flow_run_id FROM experiment_run_steps UNION SELECT flow_run_id FROM experiment_runs"
    )

    def execute():
        with mltraq.create_session(url) as own:
            own.add_experiment(name).add_runs(N=range(3)).execute(steps).persist()

    with busy.held():
        executing = in_thread(execute)
        executing.join(SECONDS)
        assert not executing.is_alive()
        assert session.query(sql)["flow_run_id"].isna().all()
    (found,) = poll(lambda: flow_runs(f"{name}: draw_and_wait, double_drawn"), len)
    ids = poll(lambda: set(session.query(sql)["flow_run_id"]), {str(found.id)}.__eq__)
    assert ids == {str(found.id)}
    assert poll(lambda: flow_run(found.id).state, lambda state: state.is_final()).is_completed()


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
                experiment.execute([draw_and_wait, double_drawn], checkpoint=True)
                experiment.persist(if_exists="merge")
            assert busy.asked
            return completed(session, "first"), completed(session, "second")

    assert study("waits") == (4, 4)
    for name in ("first", "second"):
        found = poll(lambda key=f"mltraq-{name}": Artifact.get(key), bool)
        assert f"# {name}" in found.data or name in found.description
