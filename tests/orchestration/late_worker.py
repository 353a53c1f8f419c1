"""A Dask worker that sleeps beyond its flow, beside a later execution: ``python -m`` this module.

The flow is killed while its worker is stopped in a step. The same is executed anew, and when that
has logged rows, the worker goes on. Exits with 1 if anything of it is in the run.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

import mltraq_prefect as mltraq
from tests.orchestration.cluster_steps import rows_in
from tests.polling import poll

FLOW = "from tests.orchestration.late_worker import execute; import sys; execute(*sys.argv[1:])"


def late(run):
    """Log, and stop this process the first time; the second time go on when the first is over."""
    folder = Path(run.kwargs.folder)
    number = 2 if (folder / "pid").exists() else 1
    run.fields[f"only_in_{number}"] = run.fields.number = number
    for _ in range(3):
        run.log(number=number)
    assert poll(lambda: rows_in(run.kwargs.url), bool)
    if number == 1:
        (folder / "draft").write_text(str(os.getpid()))
        (folder / "draft").rename(folder / "pid")
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        (folder / "logged").touch()
        assert poll((folder / "over").exists, bool)
        run.log(number=number)


def execute(url, folder, address=None):
    options = {"backend": "threads", "checkpoint": True}
    if address is not None:
        from prefect_dask import DaskTaskRunner

        options["task_runner"] = DaskTaskRunner(address=address)
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("live").add_runs(N=[1])
        experiment.execute(late, {"folder": str(folder), "url": url}, **options)


def wake(cluster, folder):
    """Let the worker go on, and tell when it has nothing to do."""

    def busy():
        with cluster.get_client() as client:
            return sum(client.run(lambda dask_worker: len(dask_worker.active_threads)).values())

    assert poll((folder / "logged").exists, bool)
    os.kill(int((folder / "pid").read_text()), signal.SIGCONT)
    assert poll(busy, lambda number: not number) == 0
    (folder / "over").touch()


def main():
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory() as root,
        prefect_test_harness(server_startup_timeout=120),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
    ):
        folder, url = Path(root), f"sqlite:///{root}/late.db"
        command = [sys.executable, "-c", FLOW, url, root, cluster.scheduler_address]
        settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
        with subprocess.Popen(command, env=os.environ | settings) as flow:
            assert poll((folder / "pid").exists, bool, 120)
            flow.kill()
        waking = threading.Thread(target=wake, args=(cluster, folder))
        waking.start()
        execute(url, folder)
        waking.join()
        with mltraq.create_session(url) as session:
            run = session.load("live").runs.first()
            found = dict(run.fields), run.series["number"].tolist()
    print(f"a worker that slept beyond its flow: {found}")
    return int(found != ({"only_in_2": 2, "number": 2}, [2] * 4))


if __name__ == "__main__":
    sys.exit(main())
