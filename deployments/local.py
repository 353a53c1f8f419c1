"""A Prefect server with a home of its own, and workers, as child processes of this one."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

START_SECONDS = 240
STOP_SECONDS = 20
BUSY_SECONDS = 120
"""After so long a server that only says that it is busy is taken at its word."""

QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "2",
}
"""Settings for few flow runs that start soon, rather than for many."""

FRUGAL = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "20",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
"""Settings for a server that shares the cores with what it shows: see docs/execution.md."""


class LocalPrefect:
    """A server on this machine; use it as a context manager.

    Args:
        home: Folder for the server's database and logs.
        port: Where it listens; any free port if None.

    Attributes:
        url: Address of the UI.
        server: The process of the server.
        settings: Environment variables that make a program use this server.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        self._home = home.absolute()
        self._port = port or free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.url = f"http://127.0.0.1:{self._port}"
        self.settings = {
            **QUICK,
            **FRUGAL,
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_UI_API_URL": f"{self.url}/api",
            "PREFECT_HOME": str(self._home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
        }

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True, exist_ok=True)
        try:
            self.serve()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, then the server."""
        for process in reversed(self._processes):
            stop(process)

    def serve(self) -> None:
        """Start the server; one that has ended starts again where it was."""
        listen = ["--host", "127.0.0.1", "--port", str(self._port)]
        self.server = server = self.start("server.log", "server", "start", *listen)
        self.wait(lambda: self._answers(server), START_SECONDS, "the Prefect server to start")

    def start(self, log: str, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command of Prefect's that goes on until the end, with a log file."""
        with (self._home / log).open("wb") as output, _uninterrupted():
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "prefect", *command],
                env=os.environ | self.settings,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._processes.append(process)
        return process

    def run(self, *command: str) -> str:
        """Run a command of Prefect's and return what it prints."""
        python = ("-m", "prefect", "--no-prompt", *command)
        return self.python(*python, called=f"prefect {' '.join(command)}")

    def python(self, *arguments: str, called: str, **settings: str) -> str:
        """Run Python and return what it prints; end this program with that if it fails.

        Args:
            *arguments: Of Python.
            called: What it is, for a person.
            **settings: Further environment variables.
        """
        done = subprocess.run(  # noqa: S603
            [sys.executable, *arguments],
            env=os.environ | self.settings | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{called} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start_flow_run(self, deployment: str) -> None:
        """Start a flow run of a deployment, as `prefect deployment run` does."""
        path = f"deployments/{self._request('GET', f'deployments/name/{deployment}')['id']}"
        self._request("POST", f"{path}/create_flow_run", {"state": {"type": "SCHEDULED"}})

    def wait(self, until: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s for {what}; the logs are in {self._home}")
            time.sleep(0.2)

    def is_idle(self) -> bool:
        """Return whether no flow run is on its way."""
        active = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
        count: int = self._request("POST", "flow_runs/count", {"flow_runs": active})
        return count == 0

    def _request(self, method: str, path: str, body: object = None) -> Any:
        """Ask the server again while it is busy, as when it finds its SQLite database locked."""
        end = time.monotonic() + BUSY_SECONDS
        while True:
            found = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=60)
            is_busy = found.status_code == httpx.codes.SERVICE_UNAVAILABLE
            if not is_busy or time.monotonic() > end:
                return found.raise_for_status().json()
            time.sleep(0.5)

    def _answers(self, server: "subprocess.Popen[bytes]") -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"the Prefect server ended; its log is {self._home}/server.log")
        try:
            return httpx.get(f"{self.url}/api/health", timeout=5).is_success
        except httpx.TransportError:
            return False


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals that raise wait: a process that has begun must be known to who ends it."""
    waiting: list[int] = []
    handlers = {
        sign: signal.signal(sign, lambda number, _: waiting.append(number))
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(sign))
    }
    try:
        yield
    finally:
        for sign, handler in handlers.items():
            signal.signal(sign, handler)
        for number in waiting:
            signal.raise_signal(number)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children: by asking, then by force."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sign)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
