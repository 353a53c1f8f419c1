"""What the ledger says of a run in each step: one row a run and step."""

import datetime as dt
import shutil

from mltraq_prefect.model.ledger_entry import StepEntry
from mltraq_prefect.storage import Store
from tests.contract.assets import FOLDER
from tests.contract.records import make_record, make_run

MORNING = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)
LONG = "fit \N{SNOWMAN} " + "x" * 300 + " "
FACTS = StepEntry("completed", "1", None, None, 2, MORNING, 1.5, "flow", "task")
FAILED = StepEntry("failed", "2", "ValueError: no", "ValueError", 1, MORNING, 0.5)


def executed(number, **entries):
    """Return a run with entries of steps."""
    run = make_run(number, n=number)
    entry = run.ledger
    entry.executed = dict(entries)
    entry.steps = {s: e.fingerprint for s, e in entries.items() if e.state == "completed"}
    entry.step = next((s for s, e in entries.items() if e.state == "failed"), None)
    entry.state = "failed" if entry.step else "completed"
    entry.error = FAILED.error if entry.step else None
    return run


def rows(store):
    sql = "SELECT id_run, step, state FROM experiment_run_steps ORDER BY id_run, step"
    return [(int(id_run[-2:], 16), step, state) for id_run, step, state in store.query(sql)[1]]


def test_entries_come_back_as_they_were_whatever_the_step_is_called(store):
    steps = {"toss": FACTS, LONG: FACTS, LONG[:-1]: FAILED, "TOSS": FACTS}
    record = make_record(runs=[executed(0, **steps), executed(1, toss=FACTS), make_run(2)])
    store.write(record, "fail")
    first, second, third = store.read("coin toss").runs
    assert first.ledger.executions == steps
    assert first.ledger.step == LONG[:-1]
    assert second.ledger.executions == {"toss": FACTS}
    assert third.ledger.executions.keys() == third.ledger.steps.keys()


def test_a_later_step_leaves_the_entries_of_earlier_ones(store):
    store.write(make_record(runs=[executed(i, toss=FACTS) for i in range(60)]), "fail")
    loaded = store.read("coin toss")
    for run in loaded.runs:
        run.ledger.steps["score"] = "3"
        run.ledger.executed["score"] = StepEntry("completed", "3", duration_s=0.25)
    store.write(loaded, "merge")
    for run in store.read("coin toss").runs:
        assert run.ledger.executions["toss"] == FACTS
        assert run.ledger.executions["score"].duration_s == 0.25


def test_a_failed_step_is_replaced_when_it_completes(store):
    store.write(make_record(runs=[executed(0, toss=FAILED)]), "fail")
    store.write(make_record(runs=[executed(0, toss=FACTS)]), "merge")
    (run,) = store.read("coin toss").runs
    assert run.ledger.executions == {"toss": FACTS}
    assert (run.ledger.state, run.ledger.step) == ("completed", None)


def test_a_loaded_experiment_is_replaced_with_all_its_entries(store):
    store.write(make_record(runs=[executed(0, toss=FACTS)]), "fail")
    store.write(store.read("coin toss"), "replace")
    (run,) = store.read("coin toss").runs
    assert run.ledger.executions == {"toss": FACTS}


def test_a_deleted_experiment_leaves_none(store):
    store.write(make_record(runs=[executed(0, toss=FACTS)]), "fail")
    store.delete("coin toss")
    assert rows(store) == []


def test_the_first_format_said_it_in_the_steps_and_the_error_of_a_run(tmp_path):
    shutil.copy(FOLDER / "format-1.db", tmp_path / "old.db")
    store = Store(f"sqlite:///{tmp_path}/old.db")
    full, failed = store.read("coin toss").runs
    assert full.ledger.executions["toss"].duration_s == 0.25
    assert full.ledger.executions["toss"].started_at == dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    assert failed.ledger.step == "toss"
    assert failed.ledger.executions["toss"].error == "step toss: no coin"
    assert rows(store) == [(1, "toss", "completed"), (2, "toss", "failed")]
