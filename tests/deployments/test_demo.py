"""The demo of deployments leaves nothing behind, whenever and however it is ended."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from deployments.local import free_port
from tests import homes
from tests.deployed import ROOT
from tests.processes import on_one_core

SECONDS = 300


@pytest.mark.parametrize(
    ("after", "sign"),
    [
        ("Starting a Prefect server", signal.SIGHUP),
        ("Press Ctrl-C to stop it all", signal.SIGTERM),
    ],
)
def test_server_and_worker_end_with_the_demo(after, sign, url, prefect_tables, tmp_path):
    port, home = free_port(), homes.furnish(tmp_path / "home", prefect_tables)
    options = ["--port", str(port), "--home", home]
    with on_one_core():
        demo = subprocess.Popen(
            [sys.executable, "-u", ROOT / "deployments" / "demo.py", *options],
            env=os.environ | {"MLTRAQ_DATABASE_URL": url},
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        assert any(after in line for line in demo.stdout)
        started = started_by(demo)
        demo.send_signal(sign)
        demo.send_signal(sign)  # as a service manager and make do
        assert demo.wait(SECONDS) == 0
        _, left = psutil.wait_procs(started, SECONDS)
        assert left == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        for process in [*started_by(demo), demo]:
            process.kill()
        demo.stdout.close()
        demo.wait()


def started_by(process):
    """Return what a process and its children have started, once there is something."""
    while process.poll() is None:
        if found := psutil.Process(process.pid).children(recursive=True):
            return found
    return []
