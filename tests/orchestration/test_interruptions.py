"""An execution that is killed or cancelled at any moment: nothing that was written is lost."""

import random
import signal
import subprocess

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort, CancelledRun, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from tests.execution.interrupted import BATCH
from tests.polling import poll
from tests.prefect_api import flow_run
from tests.processes import alive
from tests.sweeps import SECONDS, Sweep, undisturbed

pytestmark = pytest.mark.usefixtures("prefect_server")

RUNS, HELD = 200, 4 * BATCH
"""All, and the first of those that wait: no sweep ends before it is interrupted."""


@pytest.fixture
def sweep(url, tmp_path):
    settings = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    sweep = Sweep(url, tmp_path / "executions", RUNS, settings)
    sweep.hold(HELD)
    return sweep


@pytest.fixture
def plain(sweep, tmp_path):
    """The sweep, where no Prefect server is configured."""
    unset = dict.fromkeys(("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"), "")
    sweep.settings = unset | {"PREFECT_HOME": str(tmp_path / "prefect")}
    return sweep


@pytest.mark.parametrize("kind", ["sweep", "plain"])
def test_killed_again_and_again_it_ends_as_if_undisturbed(kind, request, tmp_path):
    sweep = request.getfixturevalue(kind)
    sweep.release()
    sweep.runs = 400
    generator = random.Random(7)
    for kill in range(3):
        process = sweep.start()
        sweep.wait_for(generator.randint(1, 40) + 40 * kill, process)
        process.kill()
        process.wait()
    kept = sweep.completed()
    outcome_of_lost = sum(sweep.executions()) - kept
    process = sweep.start()
    assert process.wait(SECONDS) == 0
    assert sum(sweep.executions()) == sweep.runs + outcome_of_lost
    assert sweep.results() == undisturbed(tmp_path / "undisturbed", sweep.runs)


IN_FLOWS = {
    "alone": ("tests.execution.interrupted",),
    "in a flow": ("tests.execution.studies", "flow"),
    "in an async flow": ("tests.execution.studies", "async"),
}
"""Commands that execute the sweep: in a flow of its own, and in flows of a user."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
@pytest.mark.parametrize("command", IN_FLOWS.values(), ids=IN_FLOWS)
def test_a_signal_stops_it_and_keeps_what_is_done(sweep, command, number):
    process = sweep.start(command)
    sweep.wait_for(10, process)
    helpers = sweep.helpers()
    process.send_signal(number)
    assert process.wait(SECONDS) != 0
    assert helpers
    assert not poll(lambda: alive(helpers), lambda left: not left)
    assert 10 <= sweep.completed() < RUNS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_a_signal_stops_it_without_prefect_too(plain, number):
    process = plain.start(stderr=subprocess.PIPE, text=True)
    plain.wait_for(10, process)
    helpers = plain.helpers()
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert helpers
    assert not poll(lambda: alive(helpers), lambda left: not left)
    assert 10 <= plain.completed() < RUNS
    if number == signal.SIGINT:
        last = errors.splitlines()[-1]
        assert last.startswith("KeyboardInterrupt: experiment 'sweep': interrupted; ")
        assert "mltraq_prefect/execution" not in errors


@pytest.mark.parametrize("command", IN_FLOWS.values(), ids=IN_FLOWS)
def test_a_cancellation_stops_it_and_keeps_what_is_done(sweep, command):
    process = sweep.start(command)
    sweep.wait_for(10, process)
    helpers = sweep.helpers()
    found = sweep.flow_run_id()
    cancel(found)
    assert process.wait(SECONDS) != 0
    assert helpers
    assert not poll(lambda: alive(helpers), lambda left: not left)
    state = poll(lambda: flow_run(found).state, lambda state: state.is_final())
    assert state.is_cancelled()
    assert "experiment 'sweep': cancelled;" in state.message
    assert 10 <= sweep.completed() < RUNS


@pytest.mark.parametrize("in_flow", [False, True], ids=["alone", "in a flow"])
def test_a_cancellation_at_the_very_end_is_one_too(session, in_flow):
    experiment = session.add_experiment("last").add_runs(N=[1])

    def cancel_this(run):
        cancel(runtime.flow_run.id)

    def execute():
        experiment.execute(cancel_this, backend="threads")

    with pytest.raises((CancelledRun, Abort), match="'last': cancelled; 1 of 1 runs completed"):
        flow(execute)() if in_flow else execute()
    state = flow_run(experiment.runs.first().ledger.flow_run_id).state
    assert state.is_cancelled()


def test_a_cancellation_of_a_deployments_flow_run(sweep):
    sweep.settings["PREFECT_RUNNER_POLL_FREQUENCY"] = "1"
    process = sweep.start(("tests.execution.studies", "served"))
    try:
        found = run_deployment("study/sweep")
        sweep.wait_for(10, process)
        helpers = sweep.helpers()
        cancel(found.id)
        state = poll(lambda: flow_run(found.id).state, lambda state: state.is_final())
        assert state.is_cancelled()
        assert helpers
        assert not poll(lambda: alive(helpers), lambda left: not left)
        assert 10 <= sweep.completed() < RUNS
    finally:
        process.terminate()
        process.wait(SECONDS)


def cancel(flow_run_id):
    """Do what the button of the UI does."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Cancelling())


def run_deployment(name):
    with get_client(sync_client=True) as client:
        poll(lambda: _deployment(client, name), bool)
        return client.create_flow_run_from_deployment(_deployment(client, name).id)


def _deployment(client, name):
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None
