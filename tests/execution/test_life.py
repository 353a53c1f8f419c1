"""Workers that are done end as programs do; nothing that their steps have started outlives them."""

import atexit
import os
import signal
import subprocess
import sys

import pytest

from mltraq_prefect.execution import Workers
from mltraq_prefect.execution.pool import parent as parents_side
from tests.execution.one_run import executed
from tests.polling import poll
from tests.processes import is_alive


def test_what_a_step_leaves_for_the_end_is_done_before_the_execution_returns(tmp_path):
    def leave(run):
        atexit.register((tmp_path / "at the end").touch)
        globals()["file"] = (tmp_path / "unflushed").open("w")
        globals()["file"].write("text")

    with Workers(1) as opened:
        executed(leave, opened)
        assert not (tmp_path / "at the end").exists()
    assert (tmp_path / "at the end").exists()
    assert (tmp_path / "unflushed").read_text() == "text"


def test_who_cleans_up_after_a_worker_has_time_to(tmp_path):
    """As joblib's resource tracker: it ends when the pipe does, and takes no notice of SIGTERM."""

    def start(run):
        text = f"""
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
sys.stdin.read()
open({str(tmp_path / "cleaned")!r}, "w").close()
"""
        tracker = subprocess.Popen([sys.executable, "-c", text], stdin=-1, stdout=-1)
        tracker.stdout.read(1)
        globals()["tracker"] = tracker

    executed(start)
    assert (tmp_path / "cleaned").exists()


def test_a_worker_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(parents_side, "DISMISSED_SECONDS", 0.5)

    def hold(run):
        run.fields.pid = os.getpid()
        atexit.register(signal.pause)

    assert not is_alive(executed(hold).pid)


DETACHED = """
import os, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
os.closerange(0, 3)
signal.pause()
"""


@pytest.mark.parametrize("is_good", [True, False], ids=["good", "killed"])
def test_a_process_that_has_detached_itself_ends_with_the_worker(is_good, tmp_path):
    def start(run):
        command = [sys.executable, "-c", DETACHED]
        daemon = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        (tmp_path / "pid").write_text(daemon)
        if not is_good:
            os.kill(os.getpid(), signal.SIGKILL)

    if is_good:
        executed(start)
    else:
        with pytest.raises(AssertionError, match="ended by SIGKILL"):
            executed(start)
    assert not is_alive((tmp_path / "pid").read_text().strip())


PARENT = """
import subprocess, sys, time
from pathlib import Path
from tests.execution.one_run import executed
from tests.execution.test_life import DETACHED

def start(run):
    command = [sys.executable, "-c", DETACHED]
    pid = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    Path({path!r}).write_text(pid)
    time.sleep(1000)

executed(start)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_program_too(tmp_path, number):
    path = tmp_path / "pid"
    program = PARENT.format(path=str(path))
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    pid = poll(lambda: path.exists() and path.read_text().strip(), bool)
    assert is_alive(pid)
    parent.send_signal(number)
    parent.wait(180)
    assert not poll(lambda: is_alive(pid), lambda alive: not alive)
