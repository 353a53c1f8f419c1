"""An execution that is killed or cancelled at any moment: nothing that was written is lost."""

import random
import signal

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from tests.prefect_api import flow_run, poll
from tests.sweeps import Sweep, alive, undisturbed, workers_of

pytestmark = pytest.mark.usefixtures("prefect_server")

RUNS = 200


@pytest.fixture
def sweep(url, tmp_path):
    settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    return Sweep(url, tmp_path / "executions", RUNS, settings)


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
    assert sweep.results() == undisturbed(tmp_path / "undisturbed", RUNS)


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
