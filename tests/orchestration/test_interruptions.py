"""An execution that is killed or cancelled at any moment: nothing that was written is lost."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

import mltraq_prefect as mltraq
from tests.execution.interrupted import draw, finish
from tests.prefect_api import flow_run, poll

pytestmark = pytest.mark.usefixtures("prefect_server")

RUNS = 200


class Sweep:
    """A process that executes `tests.execution.interrupted`."""

    def __init__(self, url, folder, runs=RUNS):
        self.url, self.folder, self.runs = url, folder, runs
        folder.mkdir()

    def start(self):
        command = [sys.executable, "-m", "tests.execution.interrupted"]
        return subprocess.Popen(
            [*command, self.url, str(self.folder), str(self.runs)],
            env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
        )

    def executions(self):
        return [path.stat().st_size for path in self.folder.glob("run-*")]

    def completed(self):
        with mltraq.create_session(self.url) as session:
            if session.ls().empty:
                return 0
            counted = "SELECT count(*) AS n FROM experiment_runs WHERE state = 'completed'"
            return int(session.query(counted)["n"][0])

    def wait_for(self, completed, process):
        poll(self.completed, lambda n: n >= completed or process.poll() is not None)

    def results(self):
        with mltraq.create_session(self.url) as session:
            runs = session.load("sweep").runs.values()
            return [(run.params.N, run.fields.drawn.tobytes(), run.fields.total) for run in runs]


def undisturbed(folder, runs=RUNS):
    folder.mkdir()
    experiment = mltraq.create_session().add_experiment("sweep").add_runs(N=range(runs))
    experiment.execute([draw, finish], {"folder": str(folder)}, backend="local")
    return [
        (r.params.N, r.fields.drawn.tobytes(), r.fields.total) for r in experiment.runs.values()
    ]


def workers_of(pid):
    status = {path: path.read_text() for path in Path("/proc").glob("[0-9]*/status")}
    return [int(path.parent.name) for path, text in status.items() if f"PPid:\t{pid}\n" in text]


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def sweep(url, tmp_path):
    return Sweep(url, tmp_path / "executions")


def test_killed_again_and_again_it_ends_as_if_undisturbed(sweep, tmp_path):
    generator = random.Random(7)
    for kill in range(3):
        process = sweep.start()
        sweep.wait_for(generator.randint(1, 40) + 40 * kill, process)
        process.kill()
        process.wait()
    kept = sweep.completed()
    lost = sum(sweep.executions()) - kept
    process = sweep.start()
    assert process.wait(120) == 0
    assert sum(sweep.executions()) == RUNS + lost
    assert sweep.results() == undisturbed(tmp_path / "undisturbed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_a_signal_stops_it_and_keeps_what_is_done(sweep, number):
    process = sweep.start()
    sweep.wait_for(10, process)
    children = workers_of(process.pid)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert not poll(lambda: alive(children), lambda left: not left)
    assert 10 <= sweep.completed() < RUNS


def test_a_cancellation_stops_it_and_keeps_what_is_done(sweep):
    process = sweep.start()
    sweep.wait_for(10, process)
    children = workers_of(process.pid)
    with get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(like_="sweep: draw, finish"))
        latest = FlowRunSort.START_TIME_DESC
        (found,) = client.read_flow_runs(flow_run_filter=named, sort=latest, limit=1)
        client.set_flow_run_state(found.id, Cancelling())
    assert process.wait(60) != 0
    assert not poll(lambda: alive(children), lambda left: not left)
    state = poll(lambda: flow_run(found.id).state, lambda state: state.is_final())
    assert state.is_cancelled()
    assert "experiment 'sweep': cancelled;" in state.message
    assert 10 <= sweep.completed() < RUNS
