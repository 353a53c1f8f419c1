"""A user's Prefect settings change neither how executions end nor what they keep."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import warnings

import pytest
from prefect import flow, tags
from prefect.context import FlowRunContext
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_DEFAULT_RETRIES,
    PREFECT_LOGGING_LOG_PRINTS,
    PREFECT_RESULTS_PERSIST_BY_DEFAULT,
    PREFECT_TASKS_DEFAULT_NO_CACHE,
    PREFECT_TASKS_DEFAULT_PERSIST_RESULT,
    PREFECT_TASKS_DEFAULT_RETRIES,
    PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS,
    PREFECT_TASKS_DISABLE_CACHING,
    PREFECT_TASKS_REFRESH_CACHE,
    PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS,
    temporary_settings,
)

import mltraq_prefect as mltraq
from tests import homes
from tests.prefect_api import flow_run, task_runs
from tests.processes import alive
from tests.steps import count_and_refuse_two, hang_once

pytestmark = pytest.mark.usefixtures("prefect_server")

SETTINGS = {
    PREFECT_FLOWS_DEFAULT_RETRIES: 2,
    PREFECT_LOGGING_LOG_PRINTS: True,
    PREFECT_RESULTS_PERSIST_BY_DEFAULT: True,
    PREFECT_TASKS_DEFAULT_NO_CACHE: True,
    PREFECT_TASKS_DEFAULT_PERSIST_RESULT: True,
    PREFECT_TASKS_DEFAULT_RETRIES: 2,
    PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS: 600,
    PREFECT_TASKS_DISABLE_CACHING: True,
    PREFECT_TASKS_REFRESH_CACHE: True,
    PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS: 1,
}


@pytest.fixture
def experiment(session):
    return session.add_experiment("numbers").add_runs(N=[1, 2, 3])


def executions(folder):
    return [(folder / str(n)).read_text() for n in (1, 2, 3)]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_changes_neither_the_end_nor_what_is_kept(experiment, setting, tmp_path):
    with (
        temporary_settings({setting: SETTINGS[setting]}),
        tags("of the user"),
        pytest.raises(mltraq.RunsFailed),
    ):
        experiment.execute(count_and_refuse_two, {"folder": tmp_path}, runs_per_task=3)
    assert executions(tmp_path) == ["x", "x", "x"]
    assert [run.fields.get("x") for run in experiment.runs.values()] == [1, None, 3]
    (found,) = {run.ledger.flow_run_id for run in experiment.runs.values()}
    assert flow_run(found).state.is_failed()
    assert flow_run(found).run_count == 1


def test_a_retry_waits_as_long_as_its_execution_says(experiment, tmp_path):
    """Not as long as a setting says; the test would take too long."""
    with (
        temporary_settings({PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS: 600}),
        pytest.raises(mltraq.RunsFailed),
    ):
        experiment.execute(count_and_refuse_two, {"folder": tmp_path}, runs_per_task=3, retries=1)
    assert executions(tmp_path) == ["x", "xx", "x"]


def test_tags_of_the_user_are_those_of_the_task_runs(experiment):
    with tags("of the user", "another"):
        experiment.execute(lambda run: run.fields.update(x=1), runs_per_task=3)
    (found,) = {run.ledger.flow_run_id for run in experiment.runs.values()}
    (task_run,) = task_runs(found, 1).values()
    assert set(task_run.tags) == {"of the user", "another"}
    assert set(flow_run(found).tags) == {"of the user", "another", experiment.name}


def test_a_server_that_is_not_there_is_named(experiment):
    gone = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    said = r"the Prefect server at http://127\.0\.0\.1:9/api does not answer \(.+\): start it, or"
    with temporary_settings(gone), pytest.raises(mltraq.InvalidInput, match=said):
        experiment.execute(lambda run: run.fields.update(x=1))
    assert not any(run.fields for run in experiment.runs.values())
    experiment.execute(lambda run: run.fields.update(x=1))
    assert [run.fields.x for run in experiment.runs.values()] == [1, 1, 1]


def test_a_server_that_is_there_and_does_not_answer_is_not_to_be_started(experiment):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        settings = {
            PREFECT_API_URL: url,
            PREFECT_CLIENT_MAX_RETRIES: 0,
            PREFECT_API_REQUEST_TIMEOUT: 0.5,
        }
        said = rf"^the Prefect server at {url} is there, but has not answered \(.+\): try"
        with temporary_settings(settings), pytest.raises(mltraq.InvalidInput, match=said) as raised:
            experiment.execute(lambda run: run.fields.update(x=1))
    assert str(raised.value).endswith("; unset PREFECT_API_URL to do without")


def test_a_timeout_of_the_surrounding_flow_ends_the_execution_and_its_workers(session, tmp_path):
    ids = []

    @flow(timeout_seconds=5)
    def study():
        ids.append(str(FlowRunContext.get().flow_run.id))
        execute()

    def execute():
        experiment = session.add_experiment("hangs").add_runs(N=[1, 2, 3])
        experiment.execute(hang_once, {"folder": tmp_path}, checkpoint=True)
        return [run.fields.x for run in experiment.runs.values()]

    with pytest.raises(TimeoutError):
        study()
    assert flow_run(ids[0]).state.name == "TimedOut"
    assert not alive([int(file.read_text()) for file in tmp_path.glob("[123]")])
    (tmp_path / "again").touch()
    assert execute() == [1, 2, 3]


def test_a_persist_that_fails_is_not_tried_again(session):
    attempts = []

    @flow
    def study():
        session.add_experiment("numbers").add_runs(N=[1]).persist("fail")

    study()
    with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 2}):
        handler = logging.Handler()
        handler.emit = lambda record: attempts.append(record.getMessage())
        logging.getLogger("prefect.task_runs").addHandler(handler)
        try:
            with pytest.raises(mltraq.ExperimentExists):
                study()
        finally:
            logging.getLogger("prefect.task_runs").removeHandler(handler)
    assert not [message for message in attempts if "etry" in message]


def test_in_a_running_event_loop_nothing_is_left_unawaited(experiment):
    async def main():
        experiment.execute(lambda run: run.fields.update(x=1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
    assert [run.fields.x for run in experiment.runs.values()] == [1, 1, 1]


WITHOUT_SERVER = """
import os
import threading
import mltraq_prefect as mltraq
from tests.processes import descendants

def execute(name):
    experiment = mltraq.create_session().add_experiment(name).add_runs(N=[1])
    experiment.execute(lambda run: run.fields.update(x=1), backend="prefect", n_jobs=1)
    assert experiment.runs.first().fields.x == 1
    assert experiment.runs.first().ledger.task_run_id

threads = [threading.Thread(target=execute, args=(f"e{n}",)) for n in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
commands = {pid: open(f"/proc/{pid}/cmdline").read() for pid in descendants(os.getpid())}
print(*[pid for pid, command in commands.items() if "uvicorn" in command])
"""


def test_executions_in_threads_share_one_temporary_server(prefect_tables, tmp_path):
    settings = {
        "PREFECT_HOME": str(homes.furnish(tmp_path, prefect_tables)),
        "PREFECT_API_URL": "",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PYTHONPATH": os.getcwd(),
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    (server,) = done.stdout.split()
    assert not alive([server])
