"""What goes wrong in an execution, as Prefect shows it."""

import logging
import os
import signal
import threading

import pytest
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

import mltraq_prefect as mltraq
from tests.polling import poll
from tests.prefect_api import flow_run, logs, task_runs

pytestmark = pytest.mark.usefixtures("prefect_server")


def flow_run_id(experiment):
    (found,) = {run.ledger.flow_run_id for run in experiment.runs.values()}
    return found


@pytest.fixture
def experiment(session):
    return session.add_experiment("numbers").add_runs(N=[1, 2, 3, 4])


def test_a_run_that_hangs_fails_alone_in_its_batch(experiment):
    def hang(run):
        if run.params.N == 2:
            threading.Event().wait()
        run.fields.fine = True

    with pytest.raises(mltraq.RunsFailed, match=r"run N=2\nexceeded timeout_seconds=5"):
        experiment.execute(hang, timeout_seconds=5, runs_per_task=4)
    assert [run.fields.get("fine") for run in experiment.runs.values()] == [True, None, True, True]
    (batch,) = task_runs(flow_run_id(experiment), 1).values()
    assert batch.state.message.startswith("1 of 4 runs failed; N=2: exceeded timeout_seconds=5")


def test_a_task_runner_that_takes_nothing_is_named(experiment):
    class Closed(ThreadPoolTaskRunner):
        def submit(self, *args, **kwargs):
            raise RuntimeError("Task runner is not started")

    with pytest.raises(mltraq.InvalidInput, match="Closed takes no task runs: Task runner is not"):
        experiment.execute(lambda run: None, task_runner=Closed())


def test_a_task_runner_that_was_used_before_is_used_again(experiment):
    runner = ThreadPoolTaskRunner(max_workers=1)
    with runner:
        pass
    experiment.execute(lambda run: run.fields.update(x=1), task_runner=runner)
    assert [run.fields.x for run in experiment.runs.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_step_that_returns_a_value_is_told_so_once(experiment, backend):
    def answer(run):
        return 42

    experiment.execute(answer, backend=backend)
    logged = "step 'answer' returned a value (of type int), which is ignored: track results in "
    found = logs(flow_run_id(experiment), lambda messages: any(logged in m for m in messages))
    assert sum(logged in record.message for record in found) == 1


def test_a_rule_about_a_key_that_no_run_logs_is_told_of_in_the_log_of_the_flow_run(experiment):
    experiment.execute(lambda run: run.log(loss=1.0), stop=mltraq.stop.median("lose"))
    told = "stop: no run has logged numbers as 'lose'; known: 'loss'"
    found = logs(flow_run_id(experiment), lambda messages: told in messages)
    assert told in [record.message for record in found]


def test_what_a_step_logs_in_a_thread_reaches_its_task_runs_logs(experiment):
    def speak(run):
        logging.getLogger("anybody").warning("logged %s", run.params.N)

    experiment.execute(speak, task_runner=ThreadPoolTaskRunner(max_workers=2))
    expected = {f"logged {n}" for n in (1, 2, 3, 4)}
    records = logs(flow_run_id(experiment), lambda found: expected <= set(found))
    runs = task_runs(flow_run_id(experiment), 4)
    for n in (1, 2, 3, 4):
        of_run = [r.message for r in records if r.task_run_id == runs[f"speak N={n}"].id]
        assert [message for message in of_run if "logged" in message] == [f"logged {n}"]


def test_a_retried_flow_resumes(session, tmp_path):
    def note(run):
        with (tmp_path / str(run.params.N)).open("a") as file:
            file.write("x")
        run.fields.x = run.params.N
        if run.params.N == 2 and not (tmp_path / "mended").exists():
            raise RuntimeError("broken")

    @flow(retries=1)
    def study():
        experiment = session.add_experiment("retried").add_runs(N=range(4))
        try:
            experiment.execute(note, checkpoint=True)
        finally:
            (tmp_path / "mended").touch()
        return [run.fields.x for run in experiment.runs.values()]

    assert study() == [0, 1, 2, 3]
    assert [(tmp_path / str(n)).read_text() for n in range(4)] == ["x", "x", "xx", "x"]


def test_progress_is_an_artifact(session):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    experiment = session.add_experiment("shown").add_runs(N=range(3))
    experiment.execute(lambda run: run.fields.update(x=1), checkpoint=True)
    again = session.add_experiment("shown").add_runs(N=range(5))
    with pytest.raises(mltraq.InvalidInput, match="other code"):
        again.execute(lambda run: run.fields.update(x=2), checkpoint=True)
    again.execute(lambda run: 1 / (run.params.N - 3), checkpoint="accept", on_error="keep")

    def descriptions():
        chosen = ArtifactFilter(key=ArtifactFilterKey(any_=["progress-mltraq-shown"]))
        with get_client(sync_client=True) as client:
            return {
                found.description: found.data
                for found in client.read_artifacts(artifact_filter=chosen)
            }

    expected = {
        "shown: 3 of 3 runs completed": 100.0,
        "shown: 4 of 5 runs completed, 1 failed, 3 resumed": 100.0,
    }
    assert poll(descriptions, lambda found: found == expected) == expected


def test_the_flow_run_of_an_execution_that_failed_says_so_in_one_line(experiment):
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(lambda run: 1 / 0, retries=1)
    state = flow_run(flow_run_id(experiment)).state
    assert state.is_failed()
    assert state.message == caught.value.summary
    assert state.message.startswith("experiment 'numbers': 4 of 4 runs failed: 4 x ZeroDivisionErr")
    assert "\n" not in state.message


def test_the_flow_run_of_a_user_says_so_too(experiment):
    @flow
    def study():
        experiment.execute(lambda run: 1 / (run.params.N - 2), runs_per_task=2)

    with pytest.raises(mltraq.RunsFailed) as caught:
        study()
    state = flow_run(flow_run_id(experiment)).state
    assert state.is_failed()
    assert state.message.endswith(f"RunsFailed: {caught.value.summary}")
    assert "\n" not in state.message


def test_workers_that_die_again_and_again_cost_their_own_runs_alone(experiment):
    def die(run):
        if run.params.N in (2, 3):
            os.kill(os.getpid(), signal.SIGKILL)
        run.fields.alive = True

    with pytest.raises(mltraq.RunsFailed, match="2 of 4 runs failed") as caught:
        experiment.execute(die, retries=1, runs_per_task=2, n_jobs=1)
    text = "2 runs, such as N=2; N=3\nthe worker process was ended by SIGKILL"
    assert text in caught.value.details
    assert [run.fields.get("alive") for run in experiment.runs.values()] == [True, None, None, True]
    assert [run.ledger.attempts for run in experiment.runs.values()] == [1, 2, 2, 1]
