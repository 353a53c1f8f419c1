"""Steps in worker processes find their task run and flow run; those that do not ask pay nothing."""

import uuid

import pytest

from tests.prefect_api import logs

pytestmark = pytest.mark.usefixtures("prefect_server")


def ask(run):
    from prefect import get_run_logger, runtime

    run.fields.flow_run = runtime.flow_run.id
    run.fields.flow_run_name = runtime.flow_run.name
    run.fields.flow = runtime.flow_run.flow_name
    run.fields.task_run = runtime.task_run.id
    run.fields.task_run_name = runtime.task_run.name
    get_run_logger().info("hello %s", run.params.N)


def call_a_task(run):
    from prefect import task

    run.fields.called = task(lambda x: x + 1, persist_result=False)(run.params.N)


def test_a_step_finds_its_runs_and_their_logger(session):
    experiment = session.add_experiment("asking").add_runs(N=[1, 2, 3])
    experiment.execute([ask, call_a_task], n_jobs=1)
    (flow_run,) = {run.fields.flow_run for run in experiment.runs.values()}
    records = logs(flow_run, lambda found: {f"hello {n}" for n in (1, 2, 3)} <= set(found))
    for run in experiment.runs.values():
        assert run.ledger.flow_run_id == flow_run
        assert run.fields.flow_run_name == "asking: ask, call_a_task"
        assert run.fields.flow == "mltraq-execute"
        assert run.fields.task_run_name == f"ask N={run.params.N}"
        assert run.fields.called == run.params.N + 1
        said = [r for r in records if r.message == f"hello {run.params.N}"]
        assert [record.task_run_id for record in said] == [uuid.UUID(run.fields.task_run)]


def test_who_asks_nothing_does_not_import_prefect(session):
    """The step is code of no module: those of the tests import Prefect."""
    names = {"__name__": "__main__"}
    text = (
        "def ask_nothing(run):\n    import sys\n    run.fields.imported = 'prefect' in sys.modules"
    )
    exec(text, names)
    experiment = session.add_experiment("silent").add_runs(N=[1])
    experiment.execute(names["ask_nothing"])
    assert experiment.runs.first().fields.imported is False
