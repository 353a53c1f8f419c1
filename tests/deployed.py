"""The deployments of the documentation on a real server, with a real worker and PostgreSQL."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from deployments.local import LocalPrefect, free_port
from tests import homes
from tests.processes import on_one_core
from tests.servers import postgresql_database

ROOT = Path(__file__).parent.parent
DOCUMENTATION = ROOT / "docs" / "deployments.md"
PASSWORD = "canary/Zq7 wörd"
"""What must appear nowhere."""

SECONDS = 120

SOON = 10
"""Until a slot of a schedule, before which the server has to see it: it looks every 2 s."""


class Deployed:
    """A Prefect server with the two deployments, read through its HTTP API.

    Attributes:
        prefect: The server.
        url: Address of the UI.
        database: URL of the database that the deployments share.
        pages: Address of its results pages, if something serves them.
        home: Folder with the server's database and logs.
        output: What the commands that deploy have printed.
    """

    def __init__(
        self, prefect: LocalPrefect, home: Path, database: str, pages: str, output: str
    ) -> None:
        self.prefect, self.url, self.settings = prefect, prefect.url, prefect.settings
        self.home, self.database, self.pages, self.output = home, database, pages, output
        self._http = httpx.Client(base_url=f"{prefect.url}/api/", timeout=120)

    def get(self, path):
        return self._request("GET", path).json()

    def post(self, path, **body):
        return self._request("POST", path, body).json()

    def patch(self, path, **body):
        self._request("PATCH", path, body)

    def _request(self, method, path, body=None):
        """Ask until the server, which may find its SQLite database locked, has an answer."""

        def answer():
            found = self._http.request(method, path, json=body)
            return None if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else found

        return self.wait(answer, f"answer to {method} {path}").raise_for_status()

    def deployment(self, flow):
        return self.get(f"deployments/name/{flow}/coin-toss")

    def start(self, flow, **parameters):
        """Create a flow run of a deployment, as `prefect deployment run` does."""
        path = f"deployments/{self.deployment(flow)['id']}/create_flow_run"
        return self.post(path, parameters=parameters, state={"type": "SCHEDULED"})

    def stop_clock(self):
        """Take the schedules away, by which a flow run might start in the middle of any test."""
        for flow in ("toss", "refill", "evaluate"):
            self.patch(f"deployments/{self.deployment(flow)['id']}", schedules=[])

    @contextmanager
    def scheduled_soon(self, flow):
        """Run a deployment in some seconds, by a schedule."""
        path = f"deployments/{self.deployment(flow)['id']}"
        first = datetime.now(UTC) + timedelta(seconds=SOON)
        soon = {"interval": 60, "anchor_date": first.isoformat()}
        self.patch(path, schedules=[{"schedule": soon, "active": True}])
        try:
            yield
        finally:
            self.patch(path, schedules=[])

    def flow_runs(self, flow):
        return self.post(
            "flow_runs/filter", flows={"name": {"any_": [flow]}}, sort="EXPECTED_START_TIME_ASC"
        )

    def started(self, flow):
        """Return the flow runs of a flow that do not wait for a slot of the hourly schedule."""
        return [run for run in self.flow_runs(flow) if run["state_type"] != "SCHEDULED"]

    def finished(self, flow, count):
        """Wait until so many flow runs of a flow have completed; return all that have started."""

        def complete():
            found = self.started(flow)
            states = [run["state_type"] for run in found]
            assert not {"FAILED", "CRASHED"} & set(states), self.log("worker.log")
            return found if states.count("COMPLETED") >= count else None

        return self.wait(complete, f"{count} flow runs of {flow}")

    def tagged(self, flow):
        """Return the first flow run of a flow, once it has completed and has all of its names."""

        def read():
            found = self.finished(flow, 1)[0]
            return found if found["tags"] else None

        return self.wait(read, f"tags of {flow}")

    def wait(self, read, what, seconds=SECONDS):
        """Read until it is something, and return it."""
        end = time.monotonic() + seconds
        while (found := read()) is None:
            assert time.monotonic() < end, f"no {what}:\n{self.log('worker.log')}"
            time.sleep(0.2)
        return found

    def events(self, count):
        """Wait for the events of persists, and return them in order."""

        def read():
            filter_ = {"event": {"name": ["mltraq.experiment.persisted"]}, "order": "ASC"}
            found = self.post("events/filter", filter=filter_)["events"]
            return found if len(found) >= count else None

        return self.wait(read, f"{count} events")

    def log(self, name):
        path = self.home / name
        return path.read_text(errors="replace") if path.exists() else ""


def secured(url):
    """Return a URL with a password in it; the private server takes any."""
    parsed = sa.make_url(url)
    return parsed.set(password=parsed.password or PASSWORD).render_as_string(hide_password=False)


def commands():
    """Return the commands of the documentation that deploy."""
    (block,) = re.findall(r"<!-- commands -->\n```sh\n(.*?)```", DOCUMENTATION.read_text(), re.S)
    return block.splitlines()


@pytest.fixture(scope="package")
def deployed(prefect_tables, tmp_path_factory):
    """What is there after the commands of the documentation, in a folder that was empty."""
    home = homes.furnish(tmp_path_factory.mktemp("prefect"), prefect_tables)
    with follow_documentation(home, tmp_path_factory.mktemp("study")) as found:
        found.stop_clock()
        start_worker(found.prefect)
        yield found


@contextmanager
def follow_documentation(home, folder, after_init="true", at_last="true", **settings):
    """Deploy as the documentation says, up to the worker; yield what is there then.

    Args:
        home: A furnished home of the Prefect server.
        folder: An empty folder.
        after_init: A command to run in it, once it has the templates.
        at_last: A command to run in it, once all is deployed.
        **settings: Environment variables more.
    """
    with postgresql_database() as database, LocalPrefect(home) as prefect:
        database = secured(database)
        pages = f"http://127.0.0.1:{free_port()}"
        variables = {"MLTRAQ_DATABASE_URL": database}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        prefect.settings |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO", **settings}
        prefect.settings |= {"MLTRAQ_RESULTS_PAGES": pages}  # flow runs have it of their worker
        environment = os.environ | prefect.settings | variables | {"PATH": path}
        init, *others = [line for line in commands() if line != _worker()]
        lines = (init, after_init, *others, at_last)
        output = [_run(line, environment, folder) for line in lines]
        yield Deployed(prefect, home, database, pages, "".join(output))


def start_worker(prefect):
    """Start a worker as the documentation says."""
    with on_one_core():
        return prefect.start("worker.log", *_worker().partition("#")[0].split()[1:])


def _worker():
    (line,) = [line for line in commands() if "# in a terminal of its own" in line]
    return line


@pytest.fixture(scope="package")
def tossed(deployed):
    """The flow run of `toss`, started by hand, and that of `evaluate`, started by its event."""
    deployed.start("toss")
    return deployed.tagged("toss"), deployed.tagged("evaluate")


def _run(command, environment, folder):
    done = subprocess.run(
        ["bash", "-c", command], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
