"""What the ledger says of a run in each step: one row a run and step."""

import datetime as dt
import shutil

import pytest

import mltraq_prefect as mltraq
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


def test_a_flow_run_that_is_known_late_is_that_of_its_own_execution_alone(store):
    old, new = (
        StepEntry("completed", "1", task_run_id=f"task of {name}", id_execution=name)
        for name in ("old", "new")
    )
    run = executed(0, toss=old, score=new)
    run.ledger.flow_run_id = None
    run.ledger.task_run_id, run.ledger.id_execution = "task of new", "new"
    record = make_record(runs=[run])
    store.write(record, "fail")
    store.name_flow_run("coin toss", record.id_experiment, [run.id_run], "late", "new")
    (stored,) = store.read("coin toss").runs
    entries = stored.ledger.executions
    assert (entries["toss"].flow_run_id, entries["score"].flow_run_id) == (None, "late")
    assert stored.ledger.flow_run_id == "late"


def scale(run):
    run.fields.scaled = run.params.x * 2


def shift(run):
    run.fields.shifted = run.fields.scaled + 1


def judge(run):
    if run.params.x == 1:
        raise ValueError("one is bad")


def test_a_checkpointed_run_that_fails_in_a_later_step_has_a_row_that_says_so(url):
    sql = "SELECT step, state, error_type, error FROM experiment_run_steps WHERE position = 1"
    steps = [scale, shift, judge]
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(x=[0, 1])
        experiment.execute(steps, backend="local", checkpoint=True, on_error="keep")
        said = {row.step: row for row in session.query(sql).itertuples()}
        assert {step: row.state for step, row in said.items()} == {
            "scale": "pending",
            "shift": "pending",
            "judge": "failed",
        }
        assert said["judge"].error_type == "ValueError"
        assert "one is bad" in said["judge"].error
        _, ours = (run.ledger for run in experiment.runs.values())
        _, stored = (run.ledger for run in session.load("sweep").runs.values())
        assert stored.executions == ours.executions
        assert (stored.state, stored.step) == ("failed", "scale")


def test_the_first_format_said_it_in_the_steps_and_the_error_of_a_run(tmp_path):
    shutil.copy(FOLDER / "format-1.db", tmp_path / "old.db")
    store = Store(f"sqlite:///{tmp_path}/old.db")
    full, failed = store.read("coin toss").runs
    assert full.ledger.executions["toss"].duration_s == 0.25
    assert full.ledger.executions["toss"].started_at == dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    assert failed.ledger.step == "toss"
    assert failed.ledger.executions["toss"].error == "step toss: no coin"
    assert rows(store) == [(1, "toss", "completed"), (2, "toss", "failed")]


def refuse(run):
    raise ValueError("no coin")


def fail_at_first(run):
    if not run.kwargs.is_good:
        raise ValueError("worse")


def of_steps(session):
    sql = "SELECT step, state, error_type, id_execution FROM experiment_run_steps ORDER BY step"
    return {row.step: row for row in session.query(sql).itertuples()}


@pytest.mark.parametrize("way", ["checkpoint", "loaded", "defined"])
def test_a_step_that_failed_before_and_was_not_tried_again_has_no_failure(url, way):
    options = {"backend": "local", "on_error": "keep"}
    with mltraq.create_session(url) as session:
        for is_good, checkpoint in ((True, True), (False, "accept")):
            if is_good or way != "loaded":
                experiment = session.add_experiment("sweep").add_runs(x=[0])
            else:
                experiment = session.load("sweep")
            options["checkpoint"] = way == "checkpoint" and checkpoint
            experiment.execute([fail_at_first, refuse], {"is_good": is_good}, **options)
            with pytest.raises(mltraq.RunsFailed):
                experiment.persist("merge")
            assert of_steps(session)["refuse" if is_good else "fail_at_first"].state == "failed"
        assert of_steps(session).keys() == {"fail_at_first"}
        (ours,) = (run.ledger for run in experiment.runs.values())
        (stored,) = (run.ledger for run in session.load("sweep").runs.values())
        assert stored.executions == ours.executions


@pytest.mark.parametrize("way", ["checkpoint", "loaded", "defined"])
def test_the_same_failure_again_is_of_the_last_execution(url, way):
    options = {"backend": "local", "on_error": "keep", "checkpoint": way == "checkpoint"}
    with mltraq.create_session(url) as session:
        for first in (True, False):
            if first or way != "loaded":
                experiment = session.add_experiment("sweep").add_runs(x=[0])
            else:
                experiment = session.load("sweep")
            experiment.execute(refuse, **options)
            with pytest.raises(mltraq.RunsFailed):
                experiment.persist("merge")
            (ours,) = (run.ledger for run in experiment.runs.values())
            said = of_steps(session)["refuse"].id_execution
            assert said == ours.executions["refuse"].id_execution is not None
            assert session.query("SELECT id_execution FROM experiment_runs").iat[0, 0] == said
        assert len(session.query("SELECT * FROM experiment_executions")) == 2
