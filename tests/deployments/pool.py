"""A process work pool with workers, and flow runs of one deployment that share a sweep."""

import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL

import mltraq_prefect as mltraq
from tests.polling import poll
from tests.processes import descendants, is_alive
from tests.sweeps import SECONDS

ROOT = Path(__file__).parent.parent.parent
HOUR = 3_600


class Pool:
    """Use it as a context manager; workers, and what they have started, end with it.

    Args:
        url: The database of the sweep.
        folder: Where executions of runs leave marks; it is made.
        runs: Number of runs.
        lease_seconds: Of each flow run.
    """

    def __init__(self, url, folder, runs, lease_seconds):
        folder.mkdir()
        (folder / "slow").touch()
        self.given = {
            "url": url,
            "folder": str(folder),
            "runs": runs,
            "lease_seconds": lease_seconds,
        }
        self.folder = folder
        self.killed = set()
        self._workers = []
        self._started = set()
        self._name = f"shared-{uuid.uuid4().hex[:8]}"

    def __enter__(self):
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name=self._name, type="process"))
        flow = Flow.from_source(ROOT, "tests/deployments/shared_flow.py:sweep")
        self._deployment = flow.to_deployment(self._name, work_pool_name=self._name).apply()
        return self

    def __exit__(self, *_exception):
        for worker in self._workers:
            self._kill_all(worker.pid)
        for pid in self._started:
            self._kill_all(pid)

    def _kill_all(self, pid):
        for own in [pid, *descendants(pid)]:
            if is_alive(own):
                os.kill(own, 9)

    def hurry(self):
        """Let runs end as fast as they can; until now each takes half a second more."""
        (self.folder / "slow").unlink()

    def start_worker(self):
        settings = {
            "PREFECT_API_URL": PREFECT_API_URL.value(),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self._name]
        with (self.folder / f"worker-{len(self._workers)}.log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, "--type", "process", "--limit", "2"],
                env=os.environ | settings,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._workers.append(worker)

    def start_flow_run(self, **more):
        """Create a flow run, which some worker starts; return its id."""
        with get_client(sync_client=True) as client:
            made = client.create_flow_run_from_deployment(
                self._deployment, parameters=self.given | more
            )
        return str(made.id)

    def states(self, ids):
        with get_client(sync_client=True) as client:
            return {one: client.read_flow_run(one).state.type.value for one in ids}

    def claims(self):
        with mltraq.create_session(self.given["url"]) as session:
            if session.ls().empty:
                return []
            return session.claims("sweep").to_dict("records")

    def wait_for(self, until):
        """Wait until something is true of the claims; return them."""
        found = poll(self.claims, until, seconds=SECONDS)
        assert until(found), (found, self.logs())
        return found

    def logs(self):
        return "\n".join(path.read_text()[-2_000:] for path in self.folder.glob("worker-*.log"))

    def kill_flow_run(self, choice=random):
        """Kill the process of a flow run that takes part; return its id, or None."""
        live = [own for own in self.claims() if own["is_live"]]
        if not live:
            return None
        own = choice.choice(live)
        pid = int(own["worker"].rpartition(":")[2])
        if not is_alive(pid):
            return None
        os.kill(pid, 9)
        self.killed.add(own["flow_run_id"])
        return own["flow_run_id"]

    def kill_worker(self, choice=random):
        """Kill a worker; the flow runs that it has started go on."""
        worker = choice.choice([each for each in self._workers if each.poll() is None])
        self._started.update(descendants(worker.pid))
        worker.kill()
        worker.wait()

    def executions(self):
        return [path.stat().st_size for path in self.folder.glob("run-*")]
