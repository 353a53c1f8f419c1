"""Workers are forks of a server: as new as interpreters, with what their parent has at the time."""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mltraq_prefect.execution import Workers, as_steps
from mltraq_prefect.execution.parcels import opened, pack_runs
from mltraq_prefect.execution.worker import make_job
from mltraq_prefect.run import Run
from tests.prefect_api import poll
from tests.processes import is_alive


def tell(run):
    """Tell what the process of a step has."""
    run.fields.server = os.getppid()
    run.fields.pid = os.getpid()
    run.fields.variable = os.environ.get("MLTRAQ_A_VARIABLE")
    run.fields.directory = os.getcwd()
    run.fields.path = sys.path
    run.fields.umask = os.umask(0)
    run.fields.priority = os.getpriority(os.PRIO_PROCESS, 0)
    run.fields.server_marked = hasattr(logging, "mark")
    logging.mark = True


def executed(step, workers=None):
    """Return the fields of a run after a step, in a worker of its own unless one is given."""
    if workers is None:
        with Workers(1) as own:
            return executed(step, own)
    (prepared,) = as_steps(step, {}, 0)
    job = make_job(prepared, {}, logging.INFO, None)
    (outcome,) = workers.execute(job, pack_runs([Run()]))
    assert not outcome.failures
    (run,) = opened(outcome.done)
    return run.fields


def test_a_server_stays_and_its_workers_are_new():
    first, second = executed(tell), executed(tell)
    assert first.server == second.server
    assert first.pid != second.pid
    assert not second.server_marked


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_workers_have_what_their_parent_has_at_the_time(monkeypatch, tmp_path):
    assert executed(tell).variable is None
    monkeypatch.setenv("MLTRAQ_A_VARIABLE", "set")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    with umask(0o057):
        fields = executed(tell)
    assert fields.variable == "set"
    assert fields.directory == str(tmp_path)
    assert fields.path[0] == str(tmp_path / "modules")
    assert fields.umask == 0o057


def test_a_worker_has_the_directory_of_its_start(monkeypatch, tmp_path):
    with Workers(1) as workers:
        before = executed(tell, workers)
        monkeypatch.chdir(tmp_path)
        assert executed(tell, workers).pid == before.pid


def test_what_a_step_writes_to_a_descriptor_goes_where_its_parent_writes(capfd):
    def write(run):
        os.write(1, b"to 1")
        os.write(2, b"to 2")

    executed(write)
    assert capfd.readouterr() == ("to 1", "to 2")


def test_a_server_that_was_killed_is_replaced_and_its_workers_go_on():
    with Workers(1) as workers:
        before = executed(tell, workers)
        os.kill(before.server, signal.SIGKILL)
        poll(lambda: is_alive(before.server), lambda alive: not alive)
        assert executed(tell, workers).pid == before.pid
    assert not poll(lambda: is_alive(before.pid), lambda alive: not alive)
    assert executed(tell).server != before.server


def test_a_worker_whose_server_was_killed_may_die_and_says_what_is_known():
    def die(run):
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    (prepared,) = as_steps(die, {}, 0)
    with Workers(1) as workers:
        job = make_job(prepared, {}, logging.INFO, None)
        (outcome,) = workers.execute(job, pack_runs([Run()]))
    assert "ended by something that left no exit code" in outcome.failures[0][1]


PROGRAM = """
import json, os, sys
from tests.execution.test_fork_server import executed, tell
{}
"""


def program(text, *options):
    """Execute a program; return what it prints, which is JSON."""
    command = [sys.executable, *options, "-c", PROGRAM.format(text)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert not done.stderr
    return json.loads(done.stdout)


def test_a_server_ends_with_its_parent_without_a_word():
    text = "fields = executed(tell); print(json.dumps([fields.server, fields.pid]))"
    pids = program(text, "-X", "dev", "-W", "error::ResourceWarning")
    assert not any(map(is_alive, pids))


FORKED = """
before = executed(tell)
if (pid := os.fork()) == 0:
    print(json.dumps([before.server, executed(tell).server]))
    sys.exit()
os.waitpid(pid, 0)
assert executed(tell).server == before.server
"""


def test_a_fork_of_the_parent_has_a_server_of_its_own():
    ours, its = program(FORKED)
    assert ours != its
    assert not is_alive(its)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "sys.exit()"])
def test_nothing_is_left_however_the_parent_ends(end):
    text = f"""
fields = executed(tell)
print(json.dumps(fields.server), flush=True)
{end}
"""
    command = [sys.executable, "-c", PROGRAM.format(text)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    server = json.loads(done.stdout)
    assert not poll(lambda: is_alive(server), lambda alive: not alive)
