"""Batches on the workers of a real local Dask cluster and a real local Ray."""

import os
import random
import threading
from typing import ClassVar

import cloudpickle
import numpy as np
import pytest
from prefect import flow

import mltraq_prefect as mltraq
from tests.prefect_api import logs

pytestmark = pytest.mark.usefixtures("prefect_server")

DASK = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
RAY = {"num_cpus": 2, "include_dashboard": False}


def dask_of_its_own():
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(cluster_kwargs=DASK)


def ray_of_its_own():
    from prefect_ray import RayTaskRunner

    return RayTaskRunner(init_kwargs=RAY)


@pytest.fixture(scope="module")
def dask():
    """Task runners of one cluster: its start takes seconds, and its workers import Prefect."""
    from distributed import LocalCluster
    from prefect_dask import DaskTaskRunner

    with LocalCluster(**DASK) as cluster:
        yield lambda: DaskTaskRunner(address=cluster.scheduler_address)


@pytest.fixture(scope="module")
def ray():
    """Task runners that find a Ray in this process, and leave it there."""
    import ray as api
    from prefect_ray import RayTaskRunner

    with api.init(**RAY):
        yield RayTaskRunner


@pytest.fixture(params=["dask", "ray"])
def runner(request):
    return request.getfixturevalue(request.param)()


def draw(run):
    print("drawing", run.params.N)
    run.fields.own = run.rng.random(2).tolist()
    run.fields.python = random.random()
    run.fields.numpy = np.random.uniform()
    run.fields.ppid = os.getppid()
    run.locals.array = np.full(3, run.params.N)
    run.log(N=run.params.N)


def total(run):
    if run.params.N == 3:
        raise ValueError("three is bad")
    if run.params.N == 5 and run.kwargs.hang:
        threading.Event().wait()
    run.fields.total = int(run.locals.array.sum())


DRAWN = ("own", "python", "numpy")


@pytest.fixture(params=[dask_of_its_own, ray_of_its_own], ids=["dask", "ray"])
def executed(request, session):
    experiment = session.add_experiment("cluster").add_runs(N=range(12))
    return experiment.execute(
        [draw, total],
        {"hang": True},
        task_runner=request.param(),
        runs_per_task=3,
        timeout_seconds=2,
        on_error="keep",
    )


def test_a_cluster_gives_the_same_results_and_the_same_failures(executed, session):
    here = session.add_experiment("cluster").add_runs(N=range(12))
    here.execute([draw, total], {"hang": False}, backend="local", on_error="keep")
    there = list(executed.runs.values())
    for run, expected in zip(there, here.runs.values(), strict=True):
        assert [run.fields[key] for key in DRAWN] == [expected.fields[key] for key in DRAWN]
    assert [r.fields.get("total") for r in there] == [0, 3, 6, None, 12, None, *range(18, 36, 3)]
    assert os.getpid() not in {run.fields.ppid for run in there}
    assert [run.series["N"].tolist() for run in there] == [[n] for n in range(12)]
    assert there[3].ledger.error.endswith("ValueError: three is bad")
    assert there[5].ledger.error.startswith("exceeded timeout_seconds=2")
    records = logs(there[0].ledger.flow_run_id, lambda found: "drawing 11" in found)
    printed = {record.message for record in records if record.message.startswith("drawing")}
    assert printed == {f"drawing {n}" for n in range(12)}


def ray_of(run):
    import ray as api

    run.fields.address = api.get(api.remote(_gcs_address).remote())


def _gcs_address():
    import ray as api

    return api.get_runtime_context().gcs_address


def dask_of(run):
    import distributed

    if run.kwargs.in_worker:
        run.fields.address = distributed.get_worker().scheduler.address
    else:
        with distributed.Client() as client:
            run.fields.address = client.scheduler.address


STEPS = {"DaskTaskRunner": dask_of, "RayTaskRunner": ray_of}


def test_steps_use_the_api_of_the_cluster_on_which_they_are(session, runner):
    addresses, step = set(), STEPS[type(runner).__name__]

    @flow(task_runner=runner)
    def study():
        for backend in ("processes", "threads"):
            experiment = session.add_experiment(backend).add_runs(N=[1])
            experiment.execute(step, {"in_worker": backend == "threads"}, backend=backend)
            addresses.update(run.fields.address for run in experiment.runs.values())

    study()
    assert len(addresses) == 1


def test_a_scheduler_that_does_not_answer_is_named(session):
    from prefect_dask import DaskTaskRunner

    runner = DaskTaskRunner(address="tcp://127.0.0.1:1", client_kwargs={"timeout": 1})
    experiment = session.add_experiment("nowhere").add_runs(N=[1])
    with pytest.raises(mltraq.InvalidInput, match="the task runner DaskTaskRunner takes no task"):
        experiment.execute(draw, task_runner=runner)


def test_a_cluster_that_gets_few_batches_at_first_stops_early(session, dask):
    def fail(run):
        raise NameError("name 'modle' is not defined")

    experiment = session.add_experiment("stopped").add_runs(N=range(100))
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(fail, task_runner=dask(), runs_per_task=2, on_error="stop")
    assert caught.value.not_executed >= 50
    states = [run.ledger.state for run in experiment.runs.values()]
    assert states.count("pending") == caught.value.not_executed


def counting(runner):
    """Return a runner that notes how many bytes each task has."""

    class Counting(type(runner)):
        sizes: ClassVar = []

        def submit(self, task, *args, **kwargs):
            self.sizes.append(len(cloudpickle.dumps(task)))
            return super().submit(task, *args, **kwargs)

    runner.__class__ = Counting
    return runner


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_kwargs_and_closures_do_not_travel_with_each_task_run(session, runner, backend):
    captured, runner = np.ones(500_000), counting(runner)

    def first(run):
        run.fields.x = float(captured.sum())

    def second(run):
        run.fields.y = float(run.kwargs.given.sum())

    experiment = session.add_experiment("large").add_runs(N=range(4))
    experiment.execute(
        [first, second],
        {"given": np.ones(500_000)},
        task_runner=runner,
        runs_per_task=1,
        backend=backend,
    )
    found = [(run.fields.x, run.fields.y) for run in experiment.runs.values()]
    assert found == [(500_000, 500_000)] * 4
    assert len(runner.sizes) == 8
    assert max(runner.sizes) < 100_000


def test_workers_that_start_later_get_kwargs_and_none_keeps_them(session):
    from distributed import LocalCluster
    from prefect_dask import DaskTaskRunner

    def look(run):
        run.fields.x = float(run.kwargs.given.sum())

    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster:
        cluster.adapt(minimum=0, maximum=1)
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        experiment = session.add_experiment("late").add_runs(N=range(2))
        experiment.execute(look, {"given": np.ones(500_000)}, task_runner=runner)
        assert not [name for name in cluster.scheduler.worker_plugins if "mltraq" in name]
    assert [run.fields.x for run in experiment.runs.values()] == [500_000] * 2


def test_what_a_cluster_cannot_take_is_named(session, dask):
    lock, captured = threading.Lock(), np.ones(500_000)

    def hold(run):
        run.fields.x = (lock.locked(), captured.sum())

    experiment = session.add_experiment("lock").add_runs(N=[1])
    with pytest.raises(mltraq.InvalidInput, match=r"DaskTaskRunner takes no task runs: .*lock"):
        experiment.execute(hold, task_runner=dask(), backend="threads")
