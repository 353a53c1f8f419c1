"""Idle workers serve the next execution of a process, where a new one would be no different."""

import importlib
import logging
import os
import subprocess
import sys
import threading

import pytest

from mltraq_prefect.execution import Workers, WorkersClosed, as_steps
from mltraq_prefect.execution.parcels import opened, pack_runs
from mltraq_prefect.execution.reserve import RESERVE
from mltraq_prefect.execution.worker import make_job
from mltraq_prefect.run import Run


@pytest.fixture(autouse=True)
def nothing_kept():
    RESERVE.close()
    yield
    RESERVE.close()


def execute(step, kwargs=None):
    """Return the fields of one run, executed by workers of its own."""
    (prepared,) = as_steps(step, kwargs or {}, 0)
    job = make_job(prepared, kwargs or {}, logging.INFO, None)
    with Workers(1) as workers:
        (outcome,) = workers.execute(job, pack_runs([Run(params={"N": 1})]))
    (run,) = opened(outcome.done)
    return run.fields


def look(run):
    run.fields.pid = os.getpid()
    run.fields.here = os.getcwd()
    run.fields.mode = os.environ.get("MLTRAQ_MODE")


def test_a_worker_serves_the_next_execution():
    assert execute(look)["pid"] == execute(look)["pid"]


def leave_directory(run):
    look(run)
    os.chdir("/")


def leave_environment(run):
    look(run)
    os.environ["MLTRAQ_MODE"] = "other"


def leave_thread(run):
    look(run)
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def leave_process(run):
    look(run)
    subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)


LEFT = [leave_directory, leave_environment, leave_thread, leave_process]


@pytest.mark.parametrize("leave", LEFT, ids=lambda step: step.__name__)
def test_a_worker_in_which_a_step_has_left_something_does_not(leave):
    first, second = execute(leave), execute(look)
    assert first["pid"] != second["pid"]
    assert (first["here"], first["mode"]) == (second["here"], second["mode"])


def test_nor_one_that_got_another_environment_or_directory(monkeypatch, tmp_path):
    first = execute(look)
    monkeypatch.setenv("MLTRAQ_MODE", "new")
    second = execute(look)
    assert (second["mode"], second["pid"] != first["pid"]) == ("new", True)
    monkeypatch.chdir(tmp_path)
    assert execute(look)["here"] == str(tmp_path)


def test_nor_one_whose_modules_have_changed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    source = "import os\ndef answer(run):\n    run.fields.update(answer={}, pid=os.getpid())\n"
    (tmp_path / "changing.py").write_text(source.format(1))
    module = importlib.import_module("changing")
    first, again = execute(module.answer), execute(module.answer)
    assert first == again
    (tmp_path / "changing.py").write_text(source.format(22))
    importlib.reload(module)
    assert execute(module.answer)["answer"] == 22


def interrupt(pids):
    job = make_job(as_steps(look, {}, 0)[0], {}, logging.INFO, None)
    with Workers(1) as workers:
        for outcome in workers.execute(job, pack_runs([Run(params={"N": 1})])):
            pids.append(opened(outcome.done)[0].fields["pid"])
        raise WorkersClosed


def test_an_interrupted_execution_keeps_none():
    pids = []
    with pytest.raises(WorkersClosed):
        interrupt(pids)
    assert execute(look)["pid"] not in pids


def test_jobs_of_earlier_executions_are_forgotten():
    """The same worker, asked for a job by the key that it had before."""
    job = make_job(as_steps(look, {}, 0)[0], {}, logging.INFO, None)
    for _ in range(2):
        with Workers(1) as workers:
            (outcome,) = workers.execute(job, pack_runs([Run(params={"N": 1})]))
            assert outcome.failed is None
