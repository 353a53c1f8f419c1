"""Options are checked before anything changes, and are honoured or refused."""

import datetime
import time

import numpy as np
import pytest
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

import mltraq_prefect as mltraq

NAN, INFINITE = float("nan"), float("inf")

WRONG = [
    ({"n_jobs": 0}, "n_jobs is 0; use a positive number, or -1"),
    ({"n_jobs": 1.5}, "n_jobs is 1.5"),
    ({"n_jobs": True}, "n_jobs is True"),
    ({"n_jobs": "two"}, "n_jobs is 'two'"),
    ({"n_jobs": None}, "n_jobs is None"),
    ({"backend": "cloud"}, "backend is 'cloud'"),
    ({"backend": True}, "backend is True"),
    ({"backend": np.zeros(2)}, "backend is array"),
    ({"backend": "dask"}, "backend is 'dask'; use task_runner=prefect_dask.DaskTaskRunner"),
    ({"backend": "ray"}, "backend is 'ray'; use task_runner=prefect_ray.RayTaskRunner"),
    ({"task_runner": "dask"}, "task_runner is 'dask', not a Prefect task runner"),
    ({"task_runner": ThreadPoolTaskRunner}, "not a Prefect task runner; give an instance"),
    ({"runs_per_task": 0}, "runs_per_task is 0"),
    ({"runs_per_task": -3}, "runs_per_task is -3"),
    ({"runs_per_task": 2.0}, "runs_per_task is 2.0"),
    ({"runs_per_task": True}, "runs_per_task is True"),
    ({"runs_per_task": "many"}, "runs_per_task is 'many'"),
    ({"runs_per_task": None}, "runs_per_task is None"),
    ({"retries": -1}, "retries is -1"),
    ({"retries": NAN}, "retries is nan"),
    ({"retries": True}, "retries is True"),
    ({"retry_delay_seconds": -1}, "retry_delay_seconds is -1"),
    ({"retry_delay_seconds": NAN}, "retry_delay_seconds is nan"),
    ({"retry_delay_seconds": INFINITE}, "retry_delay_seconds is inf"),
    ({"retry_delay_seconds": True}, "retry_delay_seconds is True"),
    ({"retry_delay_seconds": None}, "retry_delay_seconds is None"),
    ({"retry_delay_seconds": "1"}, "retry_delay_seconds is '1'"),
    ({"timeout_seconds": 0}, "timeout_seconds is 0"),
    ({"timeout_seconds": -1}, "timeout_seconds is -1"),
    ({"timeout_seconds": NAN}, "timeout_seconds is nan"),
    ({"timeout_seconds": INFINITE}, "timeout_seconds is inf.*None for no limit"),
    ({"timeout_seconds": 1e300}, r"timeout_seconds is 1e\+300"),
    ({"timeout_seconds": True}, "timeout_seconds is True"),
    ({"timeout_seconds": datetime.timedelta(seconds=1)}, "timeout_seconds is datetime"),
    ({"on_error": "ignore"}, "on_error is 'ignore'"),
    ({"on_error": True}, "on_error is True"),
    ({"checkpoint": "yes"}, "checkpoint is 'yes'"),
    ({"checkpoint": 1}, "checkpoint is 1"),
    ({"checkpoint": None}, "checkpoint is None"),
    ({"seed": -1}, "seed is -1"),
    ({"seed": 1 << 128}, r"seed is 3402\d+; use an integer from 0 to 2\*\*128 - 1"),
    ({"seed": 0.5}, "seed is 0.5"),
    ({"seed": True}, "seed is True"),
    ({"stop": 5}, "stop is 5; use a rule"),
    ({"kwargs": [("k", 1)]}, "kwargs is "),
    ({"kwargs": {"\ud800": 1}}, "kwargs: key .* contains a lone surrogate"),
    ({"kwargs": {1: 2}}, "kwargs has the key 1; keys are strings"),
    ({"steps": None}, "there are no steps to execute"),
    ({"steps": []}, "there are no steps to execute"),
    ({"steps": "train"}, "steps must be a function of one run, or a list of them, not 'train'"),
    ({"steps": [print, 3]}, "a step must be a function of one run, not 3"),
    ({"backend": "local", "n_jobs": 4}, 'n_jobs is 4, which cannot be honoured with backend="loc'),
    ({"backend": "local", "runs_per_task": 9}, "runs_per_task is 9, which cannot be honoured"),
    (
        {"backend": "local", "timeout_seconds": 1},
        "timeout_seconds is 1.0, which .* leave out the b",
    ),
    ({"backend": "local", "task_runner": ThreadPoolTaskRunner()}, "task_runner is .* cannot be"),
    ({"backend": "threads", "timeout_seconds": 1}, "a thread cannot be stopped"),
    (
        {"task_runner": ThreadPoolTaskRunner(), "timeout_seconds": 1},
        'a thread cannot be stopped; use backend="processes"',
    ),
    (
        {"task_runner": ThreadPoolTaskRunner(max_workers=2), "n_jobs": 4},
        "n_jobs is 4, but steps run in the threads of the ThreadPoolTaskRunner",
    ),
    (
        {"task_runner": ProcessPoolTaskRunner(), "n_jobs": 4},
        "n_jobs is 4, but ProcessPoolTaskRunner has the workers of its cluster",
    ),
]


def mark(run):
    run.fields.marked = True


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_an_option_that_cannot_be_used_is_refused_before_anything_changes(
    session, options, message
):
    experiment = session.add_experiment("e").add_runs(N=[1, 2])
    experiment.execute(lambda run: run.fields.update(x=1), {"k": 1}, backend="local").persist()
    with pytest.raises(mltraq.InvalidInput, match=message):
        experiment.execute(**{"steps": mark, "checkpoint": True, **options})
    for run in experiment.runs.values():
        assert run.ledger.state == "completed"
        assert run.ledger.attempts == 1
        assert run.kwargs == {"k": 1}
        assert run.fields == {"x": 1}
    assert session.ls()["revision"].tolist() == [1]


def test_a_function_that_takes_no_curves_is_no_rule(session):
    experiment = session.add_experiment("e").add_runs(N=[1, 2])
    for rule in (mltraq.stop.median, mltraq.stop.patience, lambda curve: True):
        with pytest.raises(mltraq.InvalidInput, match=r"stop is <function.*; use a rule, such as"):
            experiment.execute(mark, stop=rule)
    experiment.execute(mark, stop=max, backend="local")  # C has no signature of it


def test_an_experiment_without_runs_gets_none_if_an_option_is_refused(session):
    experiment = session.add_experiment("empty")
    with pytest.raises(mltraq.InvalidInput):
        experiment.execute(mark, n_jobs=0)
    assert not experiment.runs


INSIDE = [
    ({"timeout_seconds": 1}, "timeout_seconds is 1.0, which cannot be honoured inside a task"),
    ({"n_jobs": 2}, "n_jobs is 2, which .* call execute\\(\\) in the flow instead"),
    ({"backend": "processes"}, "backend is 'processes', which cannot be honoured inside a task"),
]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("options", "message"), INSIDE)
def test_what_cannot_be_honoured_inside_a_task_is_refused(session, options, message):
    experiment = session.add_experiment("e").add_runs(N=[1])

    @task
    def nested():
        experiment.execute(mark, **options)

    with pytest.raises(mltraq.InvalidInput, match=message):
        flow(nested)()
    assert experiment.runs.first().ledger.state == "pending"


@pytest.mark.usefixtures("prefect_server")
def test_the_runner_of_a_flow_counts_too(session):
    experiment = session.add_experiment("e").add_runs(N=[1])

    @flow(task_runner=ProcessPoolTaskRunner())
    def study():
        experiment.execute(mark, n_jobs=2)

    with pytest.raises(mltraq.InvalidInput, match="n_jobs is 2, but ProcessPoolTaskRunner"):
        study()


def test_numbers_of_numpy_are_numbers(session):
    experiment = session.add_experiment("e").add_runs(N=[1])
    experiment.execute(
        mark, backend="local", retries=np.int64(1), seed=np.uint8(7), n_jobs=np.int32(1)
    )
    assert experiment.runs.first().seed == 7


def test_the_local_backend_waits_before_a_retry(session, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    experiment = session.add_experiment("e").add_runs(N=[1])
    experiment.execute(
        lambda run: 1 / 0, backend="local", retries=2, retry_delay_seconds=5, on_error="keep"
    )
    assert pauses == [5, 5]


def test_params_and_fields_may_be_called_self(session):
    experiment = session.add_experiment("e", self="itself")
    experiment.add_run(self=1)
    experiment.add_runs(self=[2])
    with experiment.run(self=3):
        pass
    twin = experiment.copy("twin")
    assert [run.params["self"] for run in twin.runs.values()] == [1, 2, 3]
    assert twin.fields["self"] == "itself"
