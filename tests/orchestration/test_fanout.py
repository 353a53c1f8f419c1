"""Runs fan out as task runs on a real Prefect server."""

import logging
import os
import signal
import threading

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

import mltraq_prefect as mltraq
from tests.polling import poll
from tests.prefect_api import flow_run, logs, task_runs
from tests.steps import double, increment, refuse_three

pytestmark = pytest.mark.usefixtures("prefect_server")


def flow_run_id(experiment):
    (found,) = {run.ledger.flow_run_id for run in experiment.runs.values()}
    return found


@pytest.fixture
def experiment(session):
    return session.add_experiment("numbers").add_runs(N=[1, 2, 3, 4])


def test_each_step_of_each_run_is_a_task_run_named_for_its_params(experiment):
    experiment.execute([double, increment])
    runs = task_runs(flow_run_id(experiment), 8)
    assert set(runs) == {f"{step} N={n}" for step in ("double", "increment") for n in (1, 2, 3, 4)}
    assert all(run.state.is_completed() for run in runs.values())
    assert [run.fields.more for run in experiment.runs.values()] == [3, 5, 7, 9]


def test_a_step_depends_on_the_step_before_it_of_the_same_run_alone(experiment):
    experiment.execute([double, increment])
    runs = task_runs(flow_run_id(experiment), 8)
    for n in (1, 2, 3, 4):
        first, second = runs[f"double N={n}"], runs[f"increment N={n}"]
        assert [link.id for link in second.task_inputs["wait_for"]] == [first.id]
        assert second.start_time >= first.end_time


def test_runs_are_computed_in_other_processes(session):
    experiment = session.add_experiment("pids").add_runs(N=range(40))
    experiment.execute(double, n_jobs=2)
    pids = {run.fields.pid for run in experiment.runs.values()}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_outside_a_flow_an_execution_is_a_flow_run_of_its_own(experiment):
    experiment.execute(double)
    found = flow_run(flow_run_id(experiment))
    assert found.name == "numbers: double"
    assert found.state.is_completed()


def test_a_flow_of_its_own_has_heartbeats(experiment):
    experiment.execute(double)
    resource = f"prefect.flow-run.{flow_run_id(experiment)}"
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [resource]}}

    def heartbeats():
        with get_client(sync_client=True) as client:
            return client.request("POST", "/events/filter", json={"filter": wanted}).json()[
                "events"
            ]

    assert len(poll(heartbeats, bool)) == 1


def test_inside_a_flow_it_joins_that_flow_and_persist_is_a_task_run(experiment):
    @flow
    def study():
        experiment.execute([double, increment])
        experiment.persist()
        return str(FlowRunContext.get().flow_run.id)

    found = study()
    assert flow_run_id(experiment) == found
    assert "persist numbers" in task_runs(found, 9)


def test_the_ledger_names_the_task_run_that_executed_a_run(experiment):
    experiment.execute([double, increment])
    runs = task_runs(flow_run_id(experiment), 8)
    for run in experiment.runs.values():
        assert run.ledger.task_run_id == str(runs[f"increment N={run.params.N}"].id)


def test_the_ledger_names_the_task_run_of_each_step(experiment):
    """Also of steps that an earlier flow run has executed, and of the step that failed."""
    experiment.execute([double, increment]).persist()
    first = flow_run_id(experiment)
    runs = task_runs(first, 8)
    experiment.execute(refuse_three, on_error="keep").persist("merge", on_error="keep")
    later = task_runs(flow_run_id(experiment), 4)
    links = experiment.links().set_index(["run", "step"])
    for run in experiment.runs.values():
        found = {step: entry.task_run_id for step, entry in run.ledger.executions.items()}
        assert found == {
            "double": str(runs[f"double N={run.params.N}"].id),
            "increment": str(runs[f"increment N={run.params.N}"].id),
            "refuse_three": str(later[f"refuse_three N={run.params.N}"].id),
        }
        assert run.ledger.executions["double"].flow_run_id == first
        assert (f"N={run.params.N}", "increment") in links.index


def test_inside_a_task_it_runs_serially_in_this_process(experiment):
    @task
    def study():
        experiment.execute(double)
        experiment.persist()

    @flow
    def outer():
        study()
        return str(FlowRunContext.get().flow_run.id)

    (only,) = task_runs(outer(), 1)
    assert only.startswith("study")
    assert {run.fields.pid for run in experiment.runs.values()} == {os.getpid()}


def test_a_run_that_fails_fails_alone_and_skips_its_later_steps(experiment):
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute([double, refuse_three, increment])
    message, details = str(caught.value), caught.value.details
    told = "experiment 'numbers': 1 of 4 runs failed: 1 x ValueError: three is bad (steps.py:"
    assert message.startswith(told)
    assert "run N=3" in details
    assert "step refuse_three" in details
    assert "ValueError: three is bad" in details
    assert [run.fields.get("more") for run in experiment.runs.values()] == [3, 5, None, 9]
    runs = task_runs(flow_run_id(experiment), 11)
    assert runs["refuse_three N=3"].state.is_failed()
    assert "N=3: ValueError: three is bad" in runs["refuse_three N=3"].state.message
    state = flow_run(flow_run_id(experiment)).state
    assert state.is_failed()
    assert "1 of 4 runs failed" in state.message


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_run_fails_alone_within_a_batch_too(experiment, backend):
    experiment.execute(
        [double, refuse_three, increment], runs_per_task=4, on_error="keep", backend=backend
    )
    assert [run.fields.get("more") for run in experiment.runs.values()] == [3, 5, None, 9]
    states = [run.ledger.state for run in experiment.runs.values()]
    assert states == ["completed", "completed", "failed", "completed"]
    names = {"double 1-4 of 4", "refuse_three 1-4 of 4", "increment 1-4 of 4"}
    assert set(task_runs(flow_run_id(experiment), 3)) == names


def test_a_failed_run_is_as_it_was_before_the_step_that_failed(session):
    def collect(run):
        run.fields.seen = [1]

    def spoil(run):
        run.fields.seen.append(2)
        run.fields.extra = 1
        raise RuntimeError("late")

    experiment = session.add_experiment("spoiled").add_runs(N=[1])
    experiment.execute([collect, spoil], on_error="keep")
    assert experiment.runs.first().fields == {"seen": [1]}
    assert experiment.runs.first().ledger.steps.keys() == {"collect"}


def test_a_retry_executes_only_what_failed(session, tmp_path):
    def flaky(run):
        with (tmp_path / f"{run.params.N}").open("a") as counter:
            counter.write("x")
        run.fields.tried = (tmp_path / f"{run.params.N}").stat().st_size
        if run.params.N % 2 and run.fields.tried < 2:
            raise RuntimeError("the first time it fails")

    experiment = session.add_experiment("flaky").add_runs(N=range(6))
    experiment.execute(flaky, runs_per_task=3, retries=2)
    assert [run.fields.tried for run in experiment.runs.values()] == [1, 2, 1, 2, 1, 2]
    assert [run.ledger.attempts for run in experiment.runs.values()] == [1, 2, 1, 2, 1, 2]
    runs = task_runs(flow_run_id(experiment), 2)
    assert [run.run_count for run in runs.values()] == [2, 2]


def test_a_killed_worker_costs_its_own_batch_alone(experiment):
    def kill_three(run):
        if run.params.N == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        run.fields.alive = True

    with pytest.raises(mltraq.RunsFailed, match="run N=3\nthe worker process was ended by SIGKILL"):
        experiment.execute(kill_three)
    assert [run.fields.get("alive") for run in experiment.runs.values()] == [True, True, None, True]


def test_what_a_step_logs_and_prints_reaches_its_task_runs_logs(experiment):
    def speak(run):
        print("printed", run.params.N)
        logging.getLogger("anybody").warning("logged %s", run.params.N)
        logging.getLogger("anybody").debug("too fine")

    experiment.execute(speak)
    expected = {f"{how} {n}" for how in ("printed", "logged") for n in (1, 2, 3, 4)}
    records = logs(flow_run_id(experiment), lambda found: expected <= set(found))
    runs = task_runs(flow_run_id(experiment), 4)
    for n in (1, 2, 3, 4):
        of_run = [r for r in records if r.task_run_id == runs[f"speak N={n}"].id]
        spoken = [(r.level, r.message) for r in of_run if r.message.endswith(str(n))]
        assert spoken == [(logging.INFO, f"printed {n}"), (logging.WARNING, f"logged {n}")]
    assert "too fine" not in [record.message for record in records]


def test_closures_and_lambdas_are_steps(experiment):
    offset = 10
    experiment.execute([double, lambda run: run.fields.update(sum=run.fields.double + offset)])
    assert [run.fields.sum for run in experiment.runs.values()] == [12, 14, 16, 18]


def test_classes_and_partials_are_params(session):
    from functools import partial

    experiment = session.add_experiment("makers").add_runs(make=[dict, partial(int, base=2)])
    experiment.execute(lambda run: run.fields.update(name=str(run.params.make)))
    assert experiment.runs.first().fields.name == "<class 'dict'>"
    names = {"<lambda> make=dict", "<lambda> make=int(base=2)"}
    assert set(task_runs(flow_run_id(experiment), 2)) == names


def test_locals_that_cannot_be_passed_on_are_named(experiment):
    def connect(run):
        run.locals.lock = threading.Lock()

    with pytest.raises(mltraq.RunsFailed, match=r"locals.lock \(of type lock\) cannot"):
        experiment.execute([connect, double])


def test_params_that_cannot_be_sent_are_named(session):
    experiment = session.add_experiment("locks").add_runs(lock=[threading.Lock()])
    with pytest.raises(mltraq.InvalidInput, match=r"params.lock \(of type lock\) cannot"):
        experiment.execute(double)


def test_a_task_runner_of_the_users_choice(experiment):
    experiment.execute(double, task_runner=ThreadPoolTaskRunner(max_workers=1))
    assert [run.fields.double for run in experiment.runs.values()] == [2, 4, 6, 8]


def test_an_experiment_without_runs_gets_one(session):
    experiment = session.add_experiment("single")
    experiment.execute(lambda run: run.fields.update(x=run.kwargs.x), kwargs={"x": 5})
    assert experiment.runs.first().fields == {"x": 5}


def own_kind():
    """A task runner of a kind that nobody knows, in this process."""
    from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

    class Own(TaskRunner):
        def __init__(self):
            super().__init__()
            self._threads = ThreadPoolTaskRunner(max_workers=2)
            self.submit, self.map = self._threads.submit, self._threads.map

        def duplicate(self):
            return Own()

        def submit(self, *args, **kwargs):
            raise NotImplementedError

        def __enter__(self):
            self._threads.__enter__()
            return super().__enter__()

        def __exit__(self, *exception):
            super().__exit__(*exception)
            self._threads.__exit__(*exception)

    return Own()


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_files_of_a_runner_of_an_unknown_kind_in_this_process(session, backend, checkpoint):
    def leave(run):
        run.files["N.txt"] = b"%d" % run.params.N

    experiment = session.add_experiment("own").add_runs(N=[1, 2])
    options = {"task_runner": own_kind(), "backend": backend, "checkpoint": checkpoint}
    experiment.execute(leave, **options).persist("merge")
    for runs in (experiment.runs, session.load("own").runs):
        for number, run in enumerate(runs.values(), 1):
            assert run.files["N.txt"].path().read_bytes() == b"%d" % number
