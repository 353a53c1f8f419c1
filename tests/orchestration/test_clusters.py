"""Batches on the workers of a real local Dask cluster and a real local Ray."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import cloudpickle
import numpy as np
import pytest
from prefect import flow

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints import streamed
from mltraq_prefect.model import grid
from mltraq_prefect.model.spool import own_spool
from tests.orchestration.busy_server import busy_server
from tests.orchestration.cluster_steps import (
    copy_of_model,
    dask_of,
    die_once,
    draw,
    endless,
    hold_on,
    keep,
    ray_of,
    score,
    total,
    total_of_none,
)
from tests.orchestration.conftest import DASK
from tests.orchestration.rays import patiently
from tests.polling import poll
from tests.prefect_api import logs

pytestmark = pytest.mark.usefixtures("prefect_server")

RAY = {"num_cpus": 2, "include_dashboard": False}


def dask_of_its_own():
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(cluster_kwargs=DASK)


def ray_of_its_own():
    from prefect_ray import RayTaskRunner

    return RayTaskRunner(init_kwargs=RAY)


@pytest.fixture
def dask(cluster):
    from prefect_dask import DaskTaskRunner

    return lambda: DaskTaskRunner(address=cluster.scheduler_address)


@pytest.fixture(scope="module")
def ray():
    """Task runners that find a Ray in this process, and leave it there."""
    import ray as api
    from prefect_ray import RayTaskRunner

    with patiently(lambda: api.init(**RAY)):
        yield RayTaskRunner


@pytest.fixture(params=["dask", "ray"])
def runner(request):
    return request.getfixturevalue(request.param)()


DRAWN = ("own", "python", "numpy")


@pytest.fixture(params=[dask_of_its_own, ray_of_its_own], ids=["dask", "ray"])
def executed(request, session):
    experiment = session.add_experiment("cluster").add_runs(N=range(12))
    options = {"runs_per_task": 3, "timeout_seconds": 10, "on_error": "keep"}

    def execute():
        return experiment.execute(
            [draw, total], {"hang": True}, task_runner=request.param(), **options
        )

    return patiently(execute)


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
    assert there[5].ledger.error.startswith("exceeded timeout_seconds=10")
    drawing = {f"drawing {n}" for n in range(12)}
    records = logs(there[0].ledger.flow_run_id, lambda found: drawing <= set(found))
    assert {own.message for own in records if own.message.startswith("drawing")} == drawing


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
    """Return a runner that notes how many bytes are sent with each task run."""

    class Counting(type(runner)):
        sizes: ClassVar = []

        def submit(self, *args, **kwargs):
            self.sizes.append(len(cloudpickle.dumps((args, kwargs))))
            return super().submit(*args, **kwargs)

    runner.__class__ = Counting
    return runner


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_what_is_large_does_not_travel_with_each_task_run(session, runner, backend):
    captured, runner = np.ones(500_000), counting(runner)

    def first(run):
        run.locals.x = captured * 2
        run.fields.x = float(captured.sum())

    def second(run):
        run.fields.y = float(run.kwargs.given.sum() + run.locals.x.sum())

    experiment = session.add_experiment("large").add_runs(N=range(4))
    experiment.execute(
        [first, second],
        {"given": np.ones(500_000)},
        task_runner=runner,
        runs_per_task=1,
        backend=backend,
    )
    found = [(run.fields.x, run.fields.y) for run in experiment.runs.values()]
    assert found == [(500_000, 1_500_000)] * 4
    ledgers = [run.ledger.executions for run in experiment.runs.values()]
    assert len({own.task_run_id for steps in ledgers for own in steps.values()}) == 8
    assert len(runner.sizes) == 4
    assert max(runner.sizes) < 100_000


def test_workers_that_start_later_get_kwargs_and_none_keeps_them(session):
    from distributed import LocalCluster
    from prefect_dask import DaskTaskRunner

    def look(run):
        run.fields.x = float(run.kwargs.given.sum())

    with LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
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


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_rows_are_in_the_database_while_their_run_is_executed(session, url, runner, backend):
    experiment = session.add_experiment("live").add_runs(N=[1, 2])
    options = {"task_runner": runner, "backend": backend, "runs_per_task": 1}
    experiment.execute(hold_on, {"url": url}, checkpoint=True, **options)
    for run in session.load("live").runs.values():
        assert run.series["step"].tolist() == list(range(20_001))


@pytest.mark.parametrize(("backend", "checkpoint"), [("processes", False), ("threads", True)])
def test_rules_stop_runs_on_a_cluster(session, runner, backend, checkpoint):
    def rule(curve, others):
        ended = [other for other in others if len(other.values("loss")) == 4]
        return ended and len(curve.values("loss")) > 4

    experiment = session.add_experiment("stopped").add_runs(N=[1, 2])
    options = {"task_runner": runner, "backend": backend, "checkpoint": checkpoint}
    experiment.execute([endless, total_of_none], stop=rule, runs_per_task=1, **options)
    first, second = experiment.runs.values()
    assert (first.ledger.state, second.ledger.state) == ("completed", "stopped")
    assert (len(first.series), len(second.series)) == (4, second.fields.number + 2)
    assert ("total" in first.fields, "total" in second.fields) == (True, False)


def test_code_that_params_of_a_streamed_grid_lead_to_is_kept(session, dask, monkeypatch):
    monkeypatch.setattr(grid, "MAX_POINTS", 4)
    monkeypatch.setattr(streamed, "PORTION", 3)
    experiment = session.add_experiment("made").add_runs(make=[total, total_of_none], N=range(3))
    experiment.execute(keep_name, checkpoint=True, task_runner=dask(), backend="threads")
    prints = session.query("SELECT DISTINCT fingerprint FROM experiment_run_steps")["fingerprint"]
    known = set(session.query("SELECT * FROM experiment_steps").to_numpy().ravel())
    params = {print.rpartition("-")[2] for print in prints}
    assert len(params) == 2
    assert params <= known
    assert experiment._state.content.runs == {}


def keep_name(run):
    run.fields.name = run.params.make.__name__


def test_a_run_does_not_wait_for_others_of_a_cluster(session, dask):
    experiment = session.add_experiment("stopped").add_runs(N=[1, 2])
    options = {"stop": mltraq.stop.median("loss"), "synchronous": True}
    with pytest.raises(mltraq.InvalidInput, match="synchronous=True needs workers of this machine"):
        experiment.execute(endless, task_runner=dask(), **options)


@pytest.mark.parametrize(
    ("runner", "checkpoint"), [("dask", True), ("ray", False)], indirect=["runner"]
)
def test_rows_of_a_worker_that_died_are_replaced_even_by_none(
    session, runner, tmp_path, checkpoint
):
    experiment = session.add_experiment("live").add_runs(again=[2, 0])
    options = {"task_runner": runner, "backend": "threads", "checkpoint": checkpoint}
    experiment.execute(die_once, {"tried": str(tmp_path / "tried")}, runs_per_task=2, **options)
    experiment.persist(if_exists="merge")
    for runs in (experiment.runs, session.load("live").runs):
        assert [[*run.series.get("loss", ())] for run in runs.values()] == [[0.0, 0.0], []]


CALLED = """
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

from distributed import Client

from mltraq_prefect.execution.fanout.calls import CallLost
from mltraq_prefect.orchestration.dask_calls import answered

def call_in_vain(call, told):
    try:
        call(b"called")
    except CallLost as lost:
        Path(told).write_text(str(lost))

if __name__ == "__main__":
    client = Client(sys.argv[1])
    with ExitStack() as stack:
        take = lambda request, answer: print(request.decode(), flush=True)
        call = answered(stack, SimpleNamespace(client=client), take)
        client.submit(call_in_vain, call, sys.argv[2]).result()
"""


def test_a_dask_worker_does_not_wait_for_a_process_that_was_killed(dask, tmp_path):
    told = tmp_path / "told"
    command = [sys.executable, "-c", CALLED, dask().address, told]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"called\n"
        process.kill()
    assert poll(told.exists, bool)
    assert told.read_text() == "the execution has ended"


def test_within_a_flow_nothing_waits_for_a_busy_server(runner, session):
    with busy_server() as busy:

        @flow(task_runner=runner)
        def study():
            with busy.held():
                experiment = session.add_experiment("busy").add_runs(N=range(3))
                experiment.execute([draw, total], {"hang": False}, checkpoint=True)
                assert busy.asked
                return [run.fields.total for run in session.load("busy").runs.values()]

        assert study() == [0, 3, 6]


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_files_leave_workers_and_come_back(session, runner, tmp_path, backend):
    options = {"task_runner": runner, "backend": backend, "checkpoint": True, "retries": 1}
    kwargs = {"folder": own_spool().folder, "tried": str(tmp_path / "tried")}
    experiment = session.add_experiment("files").add_runs(N=[1, 2])
    experiment.execute([keep, score], kwargs, keep_logs=True, **options)
    contents = set(Path(own_spool().folder, "contents").glob("*"))
    stored = session.load("files")
    stored.execute(copy_of_model, kwargs, **options)
    for number, run in enumerate(session.load("files").runs.values(), 1):
        for name in ("model.bin", "copy.bin"):
            assert run.files[name].path().read_bytes() == bytes([number]) * 3_000_001
        assert run.files["score.txt"].path().read_bytes() == str(number).encode()
        assert f"keeping {number}" in run.files["logs/keep.txt"].path().read_text()
        log = run.files["logs/score.txt"].path().read_text()
        assert (log.count("attempt"), log.count("ValueError: once")) == (number, number - 1)
    kept = session.query("SELECT count(DISTINCT sha256) AS n FROM experiment_files")
    assert kept["n"][0] == 5 + 4
    assert not set(Path(own_spool().folder, "contents").glob("*")) - contents
