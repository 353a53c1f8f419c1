"""Workers are forks of a server: as new as interpreters, with what their parent has at the time."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import Workers, as_steps
from mltraq_prefect.execution.pool import fork_server_main
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.serialization import pickle_runs
from mltraq_prefect.model.run import Run
from tests.execution.one_run import ended, executed, tell
from tests.polling import poll
from tests.processes import is_alive

IMPORTED = """
import sys
import mltraq_prefect.execution.pool.fork_server_main
print(*sys.modules)
"""


def test_the_server_has_nothing_that_is_unsafe_after_a_fork():
    """On macOS these are threads, frameworks, and who asks the system for proxies."""
    server = executed(tell).server
    if sys.platform == "linux":
        assert len(os.listdir(f"/proc/{server}/task")) == 1
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    known = {"mltraq_prefect", "numpy", "sqlalchemy", "cloudpickle", "orjson", "xxhash"}
    assert known <= imported
    unsafe = {"_scproxy", "pandas", "prefect", "pyarrow", "tkinter"}
    assert not unsafe & imported
    assert "urllib.request" not in done.stdout.split()


def test_a_server_stays_and_its_workers_are_new():
    first, second = executed(tell), executed(tell)
    assert first.server == second.server
    assert first.pid != second.pid
    assert not second.server_marked


def test_tests_of_pytest_share_a_server_whose_workers_know_that_they_are_tested(monkeypatch):
    servers = set()

    def step(run):
        run.fields.update(pid=os.getppid(), variable=os.environ.get("PYTEST_CURRENT_TEST"))

    for test in ("tests/test_study.py::test_one (call)", "tests/test_study.py::test_two (setup)"):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", test)
        fields = executed(step)
        servers.add(fields.pid)
        assert fields.variable
    assert len(servers) == 1


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
        (outcome,) = ended(workers.execute(job, pickle_runs([Run()])))
    assert "ended by something that left no exit code" in outcome.failures[0][1]


def test_executions_that_overlap_share_the_server():
    """Their workers end and begin at the same moments."""
    servers, failed = set(), []

    def some():
        for _ in range(15):
            try:
                servers.add(executed(lambda run: run.fields.update(pid=os.getppid())).pid)
            except AssertionError as error:
                failed.append(error)

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(servers) == 1


def test_a_worker_that_a_killed_server_has_not_made_is_made_by_another():
    with Workers(1) as workers:
        server = executed(tell, workers).server
    os.kill(server, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (server, signal.SIGKILL)).start()
    assert executed(tell).server != server


def test_a_server_that_cannot_fork_gives_up_one_worker(monkeypatch):
    def refuse():
        raise BlockingIOError

    ours, theirs = socket.socketpair()
    life, its_end = socket.socketpair()
    socket.send_fds(ours, [b"f"], [its_end.fileno(), 1])
    its_end.close()
    monkeypatch.setattr(os, "fork", refuse)
    assert fork_server_main.Server(theirs).take() == []
    assert life.recv(1) == b""


def test_a_daemon_of_a_step_ends_with_its_worker():
    def leave(run):
        if (run_pid := os.fork()) == 0:
            os.setsid()
            os.closerange(0, 3)
            signal.pause()
        (directory / "pid").write_text(str(run_pid))
        os._exit(3)

    directory = Path(tempfile.mkdtemp())
    (prepared,) = as_steps(leave, {}, 0)
    with Workers(1) as workers:
        job = make_job(prepared, {}, logging.INFO, None)
        (outcome,) = ended(workers.execute(job, pickle_runs([Run()])))
    assert "an exit with code 3" in outcome.failures[0][1]
    assert not is_alive(int((directory / "pid").read_text()))


def test_a_directory_that_was_deleted_is_named(monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InvalidInput, match="the current directory has been deleted"):
        executed(tell)


PROGRAM = """
import json, logging, os, signal, subprocess, sys
from tests.execution.one_run import executed, tell
logging.getLogger("mltraq_prefect").setLevel(logging.ERROR)  # it says what `tell` reads
{}
"""


def program(text, *options):
    """Execute a program; return what it prints, which is JSON."""
    command = [sys.executable, *options, "-c", PROGRAM.format(text)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
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


SHARED = """
from mltraq_prefect.execution import workers_of_this_process
ours = executed(tell, workers_of_this_process()).pid
if (pid := os.fork()) == 0:
    print(json.dumps([ours, executed(tell, workers_of_this_process()).pid]))
    sys.exit()
os.waitpid(pid, 0)
assert executed(tell, workers_of_this_process()).pid == ours
"""


def test_a_fork_of_a_clusters_process_has_workers_of_its_own():
    ours, its = program(SHARED)
    assert ours != its


def test_signals_that_a_program_blocks_are_blocked_for_steps_and_not_for_the_server():
    text = """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
def end(run):
    assert signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    os._exit(3)
try:
    executed(end)
except AssertionError as error:
    print(json.dumps("exit with code 3" in str(error)))
"""
    assert program(text)


@pytest.mark.parametrize("closed", ["<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_stay_closed(tmp_path, closed):
    program = tmp_path / "program.py"
    program.write_text(f"""
import os
from pathlib import Path
from tests.execution.one_run import executed

def write(run):
    os.write(1, b"to 1")
    os.write(2, b"to 2")
    run.fields.x = 1

Path({str(tmp_path / "out")!r}).write_text(str(executed(write).x))
""")
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    command = f"{sys.executable} {program} {closed}"
    subprocess.run(command, shell=True, env=environment, timeout=300)
    assert (tmp_path / "out").read_text() == "1"


def test_modules_beside_the_program_are_not_taken_for_those_of_python(tmp_path):
    (tmp_path / "json.py").write_text("raise ImportError('not this one')")
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    (tmp_path / "scripts").mkdir()
    program = tmp_path / "scripts" / "program.py"
    program.write_text("from tests.execution.one_run import *; executed(tell)")
    command = [sys.executable, str(program)]
    subprocess.run(command, cwd=tmp_path, env=environment, timeout=300, check=True)


def test_options_of_the_interpreter_count_for_steps():
    text = "print(json.dumps(executed(lambda run: run.fields.update(o=sys.flags.optimize)).o))"
    assert program(text, "-O") == 1


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "sys.exit()"])
def test_nothing_is_left_however_the_parent_ends(end):
    text = f"""
fields = executed(tell)
print(json.dumps(fields.server), flush=True)
{end}
"""
    command = [sys.executable, "-c", PROGRAM.format(text)]
    done = subprocess.run(command, capture_output=True, timeout=300)
    server = json.loads(done.stdout)
    assert not poll(lambda: is_alive(server), lambda alive: not alive)
