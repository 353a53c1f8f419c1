"""Workers of clusters that have not this package, or another version of it, are named."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

import mltraq_prefect as mltraq
from tests.orchestration.rays import patiently
from tests.polling import poll

pytestmark = pytest.mark.usefixtures("prefect_server")


def square(run):
    run.fields.square = run.params.N**2


HIDING = """\
import sys

class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mltraq_prefect":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hiding())
"""


@pytest.fixture
def without_package(tmp_path):
    """The environment of a worker on which the package is not installed."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.fixture
def other_version(tmp_path):
    """The environment of a worker that has another version of the package."""
    package = tmp_path / "mltraq_prefect"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text("__version__ = '0.0.9'\nVALUES_FORMAT = 7\n")
    return {"PYTHONPATH": str(tmp_path)}


@contextmanager
def dask_worker(cluster, environment, folder):
    """Start a worker in a process of its own, in another folder than this one."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
    worker = subprocess.Popen(
        [*command, "--no-nanny", "--no-dashboard"],
        env=os.environ | environment,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize(
    ("environment", "is_late", "said"),
    [
        ("without_package", False, r"cannot import mltraq_prefect \(No module named .*\): install"),
        ("without_package", True, r"(cannot import mltraq_prefect|has ended when .* install)"),
        ("other_version", False, r"has mltraq_prefect 0\.0\.9 with values of format 7, and this"),
    ],
    ids=["none", "none, and late", "other version"],
)
def test_a_dask_worker_without_this_package_is_named(
    session, request, tmp_path, environment, is_late, said
):
    from distributed import LocalCluster
    from prefect_dask import DaskTaskRunner

    environment = request.getfixturevalue(environment)
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        dask_worker(cluster, environment, tmp_path),
    ):
        if not is_late:
            assert poll(lambda: cluster.scheduler.workers, bool)
        experiment = session.add_experiment("bare").add_runs(N=range(2))
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        with pytest.raises(mltraq.InvalidInput, match=rf"worker tcp://\S+ of the Dask\w+ {said}"):
            experiment.execute(square, task_runner=runner)


def test_a_ray_node_without_this_package_is_named(session, without_package):
    from prefect_ray import RayTaskRunner

    runner = RayTaskRunner(
        init_kwargs={
            "num_cpus": 2,
            "include_dashboard": False,
            "runtime_env": {"env_vars": without_package},
        }
    )
    experiment = session.add_experiment("bare").add_runs(N=range(2))
    with pytest.raises(mltraq.InvalidInput, match=r"worker \S+ of the RayTaskRunner cannot import"):
        patiently(lambda: experiment.execute(square, task_runner=runner))
