"""Servers of a session of tests end with it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import poll

ROOT = Path(__file__).parents[1]

SESSION = """\
import os, signal, subprocess
from tests.session_servers import VARIABLE, Server, opened, shared

pids = []

def start():
    pids.append(subprocess.Popen(["sleep", "600"]).pid)
    return Server("none", pids[0])

with opened():
    shared("sleeper", start)
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    _, status = os.wait()

    print(os.environ[VARIABLE], pids[0], os.WTERMSIG(status), flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_a_session_that_is_told_to_end(number):
    environment = {name: own for name, own in os.environ.items() if not name.startswith("MLTRAQ_")}
    command = [sys.executable, "-c", SESSION]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as session:
        folder, pid, ended_by = session.stdout.readline().split()
        assert ended_by == str(signal.SIGTERM.value)  # a fork ends no servers
        assert Path(folder).is_dir()
        session.send_signal(number)
        _, told = session.communicate(timeout=180)
    assert "KeyboardInterrupt" in told
    assert not Path(folder).exists()
    assert poll(lambda: not Path("/proc", pid).exists(), bool)
