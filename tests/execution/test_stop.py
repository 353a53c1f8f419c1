"""Executions that stop early, and failures that are kept until what succeeded is written."""

import pytest
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

import mltraq_prefect as mltraq
from tests.steps import fail, fail_odd
from tests.ways import both_ways


def states(experiment):
    found = [run.ledger.state for run in experiment.runs.values()]
    return {state: found.count(state) for state in sorted(set(found))}


BACKENDS = [
    {"backend": "local"},
    {"backend": "threads", "n_jobs": 1},
    {"n_jobs": 1},
    {"n_jobs": 2, "runs_per_task": 5},
]
WITH_TASK_RUNS = [
    *BACKENDS[1::2],
    {"task_runner": ThreadPoolTaskRunner(max_workers=2)},
]


@both_ways("where", BACKENDS, with_task_runs=WITH_TASK_RUNS, ids=" ".join)
def test_it_stops_at_the_first_failure(session, where):
    experiment = session.add_experiment("e").add_runs(N=range(1_000))
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(fail, on_error="stop", **where)
    found = states(experiment)
    assert 1 <= found["failed"] <= 20
    assert found["pending"] == 1_000 - found["failed"]
    error = caught.value
    assert (error.failed, error.not_executed, error.total) == (*found.values(), 1_000)
    assert f"and then {found['pending']} were not executed" in str(error)
    assert error.groups[0].error_type == "NameError"


def test_it_stops_when_so_many_have_failed(session):
    experiment = session.add_experiment("e").add_runs(N=range(100))
    with pytest.raises(mltraq.RunsFailed):
        experiment.execute(fail_odd, backend="local", max_failures=3)
    assert states(experiment) == {"completed": 3, "failed": 3, "pending": 94}


def test_fewer_failures_do_not_stop_it(session):
    experiment = session.add_experiment("e").add_runs(N=range(10))
    with pytest.raises(mltraq.RunsFailed, match="5 of 10 runs failed: 5 x ValueError"):
        experiment.execute(fail_odd, backend="local", max_failures=6)


def test_what_was_stopped_is_resumed(session):
    first = session.add_experiment("e").add_runs(N=range(10))
    with pytest.raises(mltraq.RunsFailed):
        first.execute(fail_odd, backend="local", checkpoint=True, on_error="stop")
    listed = session.query("SELECT state FROM experiment_runs")["state"].tolist()
    assert {state: listed.count(state) for state in sorted(set(listed))} == {
        "completed": 1,
        "failed": 1,
        "pending": 8,
    }
    again = session.add_experiment("e").add_runs(N=range(10))
    again.execute(fail_odd, backend="local", checkpoint=True, on_error="keep")
    assert states(again) == {"completed": 5, "failed": 5}


@pytest.mark.parametrize("options", [{"max_failures": 0}, {"max_failures": True}])
def test_limits_that_make_no_sense(session, options):
    with pytest.raises(mltraq.InvalidInput, match="max_failures is "):
        session.add_experiment("e").execute(fail, **options)


def test_persist_tells_of_kept_failures_once_when_everything_is_written(session):
    experiment = session.add_experiment("e").add_runs(N=range(4))
    experiment.execute(fail_odd, backend="local", on_error="keep")
    with pytest.raises(mltraq.RunsFailed, match="2 of 4 runs failed"):
        experiment.persist()
    assert session.query("SELECT count(half) AS n FROM e_e")["n"][0] == 2
    errors = session.query("SELECT error FROM experiment_runs WHERE state = 'failed'")["error"]
    assert all("ValueError: odd" in error for error in errors)
    experiment.persist(if_exists="merge")


def test_persist_can_keep_them_too(session):
    experiment = session.add_experiment("e").add_runs(N=range(4))
    experiment.execute(fail_odd, backend="local", on_error="keep").persist(on_error="keep")
    experiment.persist(if_exists="merge")
    with pytest.raises(mltraq.InvalidInput, match="on_error is 'stop'"):
        experiment.persist(on_error="stop")


def test_a_failure_that_was_mended_or_raised_is_not_told_again(session):
    def fail_if_broken(run):
        run.fields.inverse = 1 / (not run.kwargs.broken)

    experiment = session.add_experiment("e").add_runs(N=range(4))
    experiment.execute(fail_if_broken, {"broken": True}, backend="local", on_error="keep")
    experiment.execute(fail_if_broken, {"broken": False}, backend="local", on_error="keep")
    experiment.persist()
    with pytest.raises(mltraq.RunsFailed):
        experiment.execute(fail_odd, backend="local")
    experiment.persist(if_exists="merge")


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_that_keeps_failures_stores_the_rest_and_ends_failed(session):
    @flow
    def study():
        experiment = session.add_experiment("e").add_runs(N=range(4))
        experiment.execute(fail_odd, on_error="keep").persist(if_exists="merge")

    state = study(return_state=True)
    assert state.is_failed()
    assert "2 of 4 runs failed" in state.message
    assert session.query("SELECT count(half) AS n FROM e_e")["n"][0] == 2
    listed = session.ls()
    assert (listed["completed"][0], listed["failed"][0]) == (2, 2)


def test_persist_to_another_database_tells_of_them_too(session):
    experiment = session.add_experiment("e").add_runs(N=range(4))
    experiment.execute(fail_odd, backend="local", on_error="keep")
    other = mltraq.create_session("sqlite://")
    with pytest.raises(mltraq.RunsFailed, match="2 of 4 runs failed"):
        other.persist(experiment)
    assert other.ls()["failed"].tolist() == [2]
    experiment.persist()
