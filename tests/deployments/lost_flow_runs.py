"""Flow runs whose worker is killed, too: nobody ends them, and they fill a work pool.

It waits for minutes, as heartbeats do, and is a part of ``make soak``.
"""

import datetime as dt

import psutil
import pytest

import mltraq_prefect as mltraq
from tests import homes
from tests.deployed import SECONDS, follow_documentation, start_worker

SECONDS_LOST = 75
"""After so long without a heartbeat, or a start, a flow run counts as gone; a heartbeat is 30."""

LONG = SECONDS + 4 * SECONDS_LOST
"""What is waited for when flow runs are gone."""

HOLD = """
import pathlib
flow = pathlib.Path("flows/coin_toss.py")
wait = "while run.params.N > 25 and os.path.exists({path!r}): time.sleep(0.1)"
text = flow.read_text().replace("import math\\n", "import math\\nimport time\\n", 1)
flow.write_text(text.replace("\\n    heads =", f"\\n    {{wait}}\\n    heads =", 1))
"""
"""Lets half of a toss wait as long as a file is there."""

THIS = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
FIRST, SECOND = (THIS - dt.timedelta(hours=ago) for ago in (2, 1))
BY_HAND = THIS - dt.timedelta(hours=2, minutes=30)


@pytest.fixture
def held(tmp_path):
    """A file that lets half of a toss wait as long as it is there."""
    path = tmp_path / "hold"
    path.touch()
    return path


@pytest.fixture
def lost(held, prefect_tables, tmp_path):
    """Deployments on a pool for two flow runs, with the automations; no worker yet."""
    home = homes.furnish(tmp_path / "home", prefect_tables)
    folder = tmp_path / "study"
    folder.mkdir()
    program = tmp_path / "hold.py"
    program.write_text(HOLD.format(path=str(held)))
    times = f"--running {SECONDS_LOST} --waiting {SECONDS_LOST}"
    with follow_documentation(
        home,
        folder,
        after_init=f"python {program}",
        at_last=f"python deployments/automations.py {times}",
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30",
    ) as found:
        found.patch("work_pools/mltraq", concurrency_limit=2)
        found.stop_clock()
        yield found


def kill(worker):
    """Kill a worker with all that it has started, as a machine that is gone."""
    processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    _, left = psutil.wait_procs(processes, SECONDS)
    assert left == []


def state_of(lost, run):
    return lost.get(f"flow_runs/{run['id']}")["state_type"]


def completed(session, slot):
    """Return which flow run has tossed the runs of a slot that have completed, and when, by N."""
    if session.ls().empty:
        return {}
    runs = session.load("coin_toss", columns=[]).runs.values()
    return {
        run.params.N: (run.ledger.executions["toss_coins"].flow_run_id, run.ledger.started_at)
        for run in runs
        if run.params.slot == slot and run.ledger.state == "completed"
    }


def test_slots_of_flow_runs_that_are_lost_with_their_worker_are_refilled(lost, held):
    with mltraq.create_session(lost.database) as session:
        worker = start_worker(lost.prefect)
        first = lost.start("toss", slot=FIRST.isoformat())
        lost.wait(lambda: len(completed(session, FIRST)) == 2 or None, "half of a toss")
        beats = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
        lost.wait(lambda: lost.post("events/filter", filter=beats)["events"] or None, "heartbeat")
        before = completed(session, FIRST)
        second = lost.start("toss", slot=SECOND.isoformat())
        lost.wait(lambda: state_of(lost, second) == "PENDING" or None, "second flow run")
        kill(worker)
        assert (state_of(lost, first), state_of(lost, second)) == ("RUNNING", "PENDING")
        assert completed(session, SECOND) == {}

        held.unlink()
        start_worker(lost.prefect)
        third = lost.start("toss", slot=BY_HAND.isoformat())  # has no place until they are gone
        lost.wait(lambda: state_of(lost, third) == "COMPLETED" or None, "place in the pool", LONG)
        for which, run in (("running", first), ("waiting", second)):
            what = f"crash of the one that was {which}"
            lost.wait(lambda run=run: state_of(lost, run) == "CRASHED" or None, what, LONG)

        def refilled():
            return [len(completed(session, slot)) for slot in (FIRST, SECOND)] == [4, 4] or None

        lost.wait(refilled, "slots", LONG)
        after = completed(session, FIRST)
        assert {n: after[n] for n in before} == before  # what the killed one had done is kept
        assert {before[n][0] for n in before} == {first["id"]}
        assert first["id"] not in {after[n][0] for n in after.keys() - before.keys()}
        by = {run["created_by"]["type"] for run in lost.started("refill")}
        assert "AUTOMATION" in by
        messages = [
            lost.get(f"flow_runs/{run['id']}")["state"]["message"] for run in (first, second)
        ]
        assert messages == [
            f"It sends no heartbeats for {SECONDS_LOST} s.",
            f"It did not start for {SECONDS_LOST} s.",
        ]
