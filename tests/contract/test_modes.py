"""What a write does to what is there: fail, replace and merge."""

import datetime as dt
import decimal
import uuid

import numpy as np
import pandas as pd
import pytest

from mltraq_prefect.errors import (
    ExperimentExists,
    ExperimentNotFound,
    FieldNotFound,
    InvalidInput,
    InvalidName,
    QueryFailed,
)
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.pending import Pending
from tests.contract.records import assert_same_marks, assert_same_runs, make_record, make_run


@pytest.fixture
def three(store):
    record = make_record(
        runs=[make_run(i, n=i, errors=np.arange(i + 3.0), tree={"a": [i]}) for i in range(3)]
    )
    store.write(record, "fail")
    return record


def contents(store):
    """Return all rows of all tables."""
    tables = ["experiments", "experiment_runs", *(row["table_name"] for row in store.ls())]
    return {table: sorted(map(repr, store.query(f"SELECT * FROM {table}")[1])) for table in tables}


def test_written_says_what_was_done(store):
    record = make_record(runs=[make_run(i, n=i) for i in range(3)])
    written = store.write(record, "fail")
    assert written.id_experiment == record.id_experiment
    assert (written.revision, written.runs, written.changed) == (1, 3, True)
    assert written.columns == ["n"]
    assert written.steps == ["toss"]
    assert written.table == store.table_of(record.name) == store.ls()[0]["table_name"]


def test_fail_names_the_experiment_and_the_ways_out(store, three):
    before = contents(store)
    with pytest.raises(ExperimentExists) as caught:
        store.write(make_record(runs=[make_run(9)]), "fail")
    text = str(caught.value)
    assert "experiment 'coin toss' is in the database" in text
    assert 'if_exists="merge"' in text
    assert 'if_exists="replace"' in text
    assert contents(store) == before


@pytest.mark.parametrize("fields", [{"n": 5.5}, {"n": "text"}, {"other": 1}, {"n": 1, "b": b"x"}])
def test_replace_leaves_nothing_of_the_old(store, three, fields):
    record = make_record(runs=[make_run(7, **fields), make_run(8, **fields)], fields={"k": 1})
    written = store.write(record, "replace")
    assert (written.revision, written.runs) == (2, 2)
    assert written.table == store.table_of("coin toss")
    found = store.read("coin toss")
    assert_same_runs(found.runs, record.runs)
    assert found.id_experiment == record.id_experiment
    assert found.fields == {"k": 1}
    columns, rows = store.query("SELECT * FROM {e}", names={"e": "coin toss"})
    assert set(columns) == {"id_run", *fields}
    assert len(rows) == 2
    assert len(store.query("SELECT * FROM experiment_runs")[1]) == 2


def test_replace_with_the_same_shape(store, three):
    record = make_record(runs=[make_run(5, n=1, errors=np.zeros(1), tree=[])])
    store.write(record, "replace")
    assert_same_runs(store.read("coin toss").runs, record.runs)


def test_merging_what_was_loaded_writes_nothing(store, three):
    before = contents(store)
    written = store.write(store.read("coin toss"), "merge")
    assert (written.changed, written.revision, written.runs) == (False, 1, 0)
    assert contents(store) == before


def test_merging_the_same_runs_again_writes_nothing(store, three):
    """A slot that is executed twice: same ids, same fields, other times."""
    before = contents(store)
    again = make_record(
        runs=[make_run(i, n=i, errors=np.arange(i + 3.0), tree={"a": [i]}) for i in range(3)]
    )
    written = store.write(again, "merge")
    assert (written.changed, written.revision, written.runs) == (False, 1, 0)
    assert written.id_experiment == three.id_experiment
    assert contents(store) == before


def test_merge_of_a_new_name_creates_it(store):
    record = make_record(runs=[make_run(0, n=1)])
    assert store.write(record, "merge").revision == 1
    assert_same_runs(store.read("coin toss").runs, record.runs)


def test_merge_adopts_adds_and_keeps(store, three):
    other = make_record(runs=[make_run(4, n=4), make_run(3, extra="x")], fields={"k": 1})
    written = store.write(other, "merge")
    assert written.id_experiment == three.id_experiment
    assert (written.runs, written.revision) == (2, 2)
    found = store.read("coin toss")
    assert_same_runs(found.runs, [*three.runs, *other.runs])
    assert [run.ledger.position for run in found.runs] == [0, 1, 2, 3, 4]
    assert found.fields == {"k": 1}


def test_evaluation_adds_a_column(store, three):
    loaded = store.read("coin toss", columns=["errors"], pending=Pending("metrics"))
    assert [set(run.fields) for run in loaded.runs] == [{"errors"}] * 3
    for run in loaded.runs:
        run.fields["error"] = float(run.fields["errors"].mean())
        run.ledger.steps["metrics"] = "1"
    written = store.write(loaded, "merge")
    assert (written.columns, written.steps, written.runs) == (["error"], ["metrics"], 3)
    for run in three.runs:
        run.fields["error"] = float(run.fields["errors"].mean())
        run.ledger.steps["metrics"] = "1"
    assert_same_runs(store.read("coin toss").runs, three.runs)
    assert list(store.read("coin toss", pending=Pending("metrics")).runs) == []
    assert store.ls(pending=Pending("metrics")) == []
    assert [row["name"] for row in store.ls(pending=Pending("other"))] == ["coin toss"]


def test_changes_in_place_are_noticed(store, three):
    loaded = store.read("coin toss")
    loaded.runs[0].fields["errors"][0] = 99
    loaded.runs[1].fields["tree"]["a"].append("new")
    written = store.write(loaded, "merge")
    assert written.runs == 2
    assert set(written.columns) == {"errors", "tree"}
    found = store.read("coin toss")
    assert found.runs[0].fields["errors"][0] == 99
    assert found.runs[1].fields["tree"] == {"a": [1, "new"]}


def test_snapshot_of_a_write_serves_the_next(store, three):
    three.snapshot = store.write(make_record(runs=three.runs), "replace").snapshot
    three.id_experiment = three.snapshot.id_experiment
    three.runs[2].fields["n"] = 7
    written = store.write(three, "merge")
    assert (written.runs, written.columns) == (1, ["n"])
    assert_same_marks(written.snapshot, store.read("coin toss").snapshot)


def test_snapshots_of_parts_join(store):
    whole = make_record(runs=[make_run(i, n=i) for i in range(4)])
    first = store.write(make_record(runs=whole.runs[:2]), "merge")
    second = store.write(make_record(runs=whole.runs[2:]), "merge")
    for id_run, seen in second.snapshot.runs.items():
        first.snapshot.runs.put(id_run, seen)
    whole.snapshot, whole.id_experiment = first.snapshot, first.id_experiment
    assert store.write(whole, "merge").changed is False


def test_deleted_fields_go_if_they_were_loaded(store, three):
    loaded = store.read("coin toss", columns=["n", "tree"])
    del loaded.runs[0].fields["n"]
    del loaded.runs[1].fields["tree"]
    store.write(loaded, "merge")
    found = store.read("coin toss").runs
    assert set(found[0].fields) == {"errors", "tree"}
    assert set(found[1].fields) == {"n", "errors"}
    assert set(found[2].fields) == {"n", "errors", "tree"}


def test_residuals_of_fields_that_are_not_loaded_stay(store):
    values = {"pair": (1, 2), "big": 2**70, "none": None, "n": 1}
    record = make_record(runs=[make_run(0, **values), make_run(1, **values)])
    store.write(record, "fail")
    loaded = store.read("coin toss", columns=["n", "none"])
    loaded.runs[0].fields["none"] = (3,)
    del loaded.runs[1].fields["none"]
    loaded.runs[1].fields["n"] = "text"
    store.write(loaded, "merge")
    record.runs[0].fields["none"] = (3,)
    del record.runs[1].fields["none"]
    record.runs[1].fields["n"] = "text"
    assert_same_runs(store.read("coin toss").runs, record.runs)


@pytest.mark.parametrize(
    ("first", "then", "average"),
    [([0, 1], [0.5], 0.5), ([0, 2**60], [0.5], None), ([None, None], [1.5], 1.5)],
)
def test_a_column_of_integers_takes_floats(store, first, then, average):
    record = make_record(runs=[make_run(i, x=value) for i, value in enumerate(first)])
    store.write(record, "fail")
    added = make_record(runs=[make_run(9 + i, x=value) for i, value in enumerate(then)])
    store.write(added, "merge")
    assert_same_runs(store.read("coin toss").runs, [*record.runs, *added.runs])
    if average is not None:
        _, rows = store.query("SELECT avg(x) FROM {e}", names={"e": "coin toss"})
        assert float(rows[0][0]) == average
    assert store.write(store.read("coin toss"), "merge").changed is False


def test_an_empty_column_becomes_what_comes(store):
    store.write(make_record(runs=[make_run(0, x=None)]), "fail")
    store.write(make_record(runs=[make_run(1, x="text")]), "merge")
    found = store.read("coin toss").runs
    assert [run.fields["x"] for run in found] == [None, "text"]
    assert store.query(
        "SELECT x FROM e WHERE x = 'text'".replace(" e ", " {e} "), names={"e": "coin toss"}
    )[1]


def test_two_evaluations_of_one_load_keep_each_others_steps(store, three):
    one, other = store.read("coin toss"), store.read("coin toss")
    for record, step in ((one, "first"), (other, "second")):
        for run in record.runs:
            run.fields[step] = 1.0
            run.ledger.steps[step] = "1"
        store.write(record, "merge")
    for run in store.read("coin toss").runs:
        assert set(run.ledger.steps) == {"toss", "first", "second"}
        assert {"first", "second"} <= set(run.fields)


def test_runs_that_were_not_executed_leave_the_ledger_alone(store, three):
    runs = [Run(run.id_run, params=run.params) for run in three.runs]
    assert store.write(make_record(runs=runs), "merge").changed is False
    assert_same_runs(store.read("coin toss").runs, three.runs)


def test_another_outcome_makes_later_steps_pending(store, three):
    loaded = store.read("coin toss")
    for run in loaded.runs:
        run.ledger.steps["metrics"] = "1"
    store.write(loaded, "merge")
    again = make_record(runs=[make_run(0, n=100), make_run(1, n=1)])
    written = store.write(again, "merge")
    assert written.runs == 1
    assert [run.id_run for run in store.read("coin toss", pending=Pending("metrics")).runs] == [
        again.runs[0].id_run
    ]


def test_failed_runs_are_kept_with_their_error(store):
    run = make_run(0, n=1)
    run.ledger.state, run.ledger.error = "failed", "Traceback \0 é \ud800"
    store.write(make_record(runs=[run, make_run(1)]), "fail")
    (row,) = store.ls()
    assert (row["runs"], row["completed"], row["failed"], row["pending"]) == (2, 1, 1, 0)
    found = store.read("coin toss").runs[0].ledger
    assert found.state == "failed"
    assert found.error.startswith("Traceback ")


def test_merge_into_an_experiment_that_was_replaced_since(store, three):
    loaded = store.read("coin toss")
    store.write(make_record(runs=[make_run(0, n=50)]), "replace")
    store.write(loaded, "merge")
    assert_same_runs(store.read("coin toss").runs, three.runs)


def test_merge_after_delete_writes_everything(store, three):
    loaded = store.read("coin toss")
    store.delete("coin toss")
    store.write(loaded, "merge")
    assert_same_runs(store.read("coin toss").runs, three.runs)


def test_delete_and_create_again(store, three):
    store.delete("coin toss")
    assert not store.exists("coin toss")
    assert store.query("SELECT * FROM experiment_runs")[1] == []
    with pytest.raises(ExperimentNotFound, match="no experiment 'coin toss'"):
        store.delete("coin toss")
    with pytest.raises(ExperimentNotFound, match="no experiment 'coin toss'"):
        store.read("coin toss")
    store.write(make_record(runs=[make_run(0, other="x")]), "fail")
    assert store.ls()[0]["revision"] == 1


def test_empty_experiments(store):
    store.write(make_record("no runs"), "fail")
    store.write(make_record("no fields", runs=[make_run(0)]), "fail")
    assert list(store.read("no runs").runs) == []
    assert store.read("no fields").runs[0].fields == {}
    assert store.write(store.read("no runs"), "merge").changed is False
    assert [row["name"] for row in store.ls()] == ["no fields", "no runs"]


def test_unknown_field(store, three):
    with pytest.raises(FieldNotFound) as caught:
        store.read("coin toss", columns=["eror"])
    assert str(caught.value) == (
        "no run of experiment 'coin toss' has a field 'eror'; its fields: 'n', 'errors', 'tree'"
    )


@pytest.mark.parametrize("key", [1, "", "a\0b", "\ud800", None])
def test_keys_that_cannot_be_stored(store, key):
    run = make_run(0)
    run.fields[key] = 1
    with pytest.raises(InvalidName, match=r"experiment .coin toss., run N=0: field key"):
        store.write(make_record(runs=[run]), "merge")
    with pytest.raises(InvalidName):
        store.write(make_record(fields={key: 1}), "merge")
    run = make_run(1)
    run.params[key] = 1
    with pytest.raises(InvalidName, match="param name"):
        store.write(make_record(runs=[run]), "merge")
    assert store.ls() == []


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", 5])
def test_names_that_cannot_be_stored(store, name):
    with pytest.raises(InvalidName, match="experiment name"):
        store.write(make_record(name), "merge")


def test_runs_with_one_id(store):
    with pytest.raises(InvalidInput, match="two runs have the same id_run"):
        store.write(make_record(runs=[make_run(0), make_run(0)]), "fail")


def test_query_binds_params_and_keeps_the_rest(store, three):
    columns, rows = store.query(
        "SELECT n, ':n {e} 100%' AS t /* :x {y} */ FROM {e} WHERE n >= :least AND 'a%' LIKE 'a%' "
        "ORDER BY n -- :z",
        {"least": np.int64(1), "unused": 5},
        names={"e": "coin toss"},
    )
    assert columns == ["n", "t"]
    assert rows == [(1, ":n {e} 100%"), (2, ":n {e} 100%")]


def test_query_only_reads(store, three):
    before = contents(store)
    for sql in ("DELETE FROM {e}", "DROP TABLE {e}", "UPDATE experiments SET name = 'x'"):
        with pytest.raises(QueryFailed):
            store.query(sql, names={"e": "coin toss"})
    assert contents(store) == before


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT :x", "asks for :x; given params: y"),
        ("SELECT * FROM {x}", "placeholder {x}; known: e"),
        ("SELEC 1", "refused the statement"),
        ("SELECT nothing FROM {e}", "refused the statement"),
    ],
)
def test_query_says_what_is_wrong(store, three, sql, message):
    with pytest.raises(QueryFailed) as caught:
        store.query(sql, {"y": 1}, names={"e": "coin toss"})
    assert message in str(caught.value)


def test_pickles(store, three):
    with pytest.raises(ExperimentNotFound, match="store_pickle=True"):
        store.read_pickle("coin toss")
    written = store.write(
        make_record(), "merge", pickle=lambda id_experiment: id_experiment.encode()
    )
    assert written.changed
    assert store.read_pickle("coin toss") == (three.id_experiment.encode(), three.id_experiment)
    store.write(make_record(), "replace")
    with pytest.raises(ExperimentNotFound):
        store.read_pickle("coin toss")


def test_copies_between_databases(store, three, tmp_path):
    other = Store(f"sqlite:///{tmp_path}/other.db")
    record = store.read("coin toss")
    record.snapshot = None
    other.write(record, "fail")
    assert_same_runs(other.read("coin toss").runs, three.runs)
    other.close()


def test_ids_of_runs_are_checked(store):
    with pytest.raises(InvalidName, match="is not a UUID"):
        store.write(make_record(runs=[Run("x" * 65)]), "fail")
    run = Run(str(uuid.uuid4()).upper())
    store.write(make_record(runs=[run]), "fail")
    assert store.read("coin toss").runs[0].id_run == run.id_run


SPECIAL = [dt.timedelta(1), 2**70, None, decimal.Decimal("0.1")]


@pytest.mark.parametrize("value", SPECIAL, ids=repr)
@pytest.mark.parametrize("other", ["text", dt.datetime(2020, 1, 1), b"x", 1.5, [1, 2]], ids=repr)
def test_a_merge_that_changes_nothing_leaves_what_others_changed(store, value, other):
    """Also where the other one has given a column of special values another kind."""
    store.write(make_record(runs=[make_run(i, a=value) for i in range(2)]), "fail")
    mine, theirs = store.read("coin toss"), store.read("coin toss")
    theirs.runs[0].fields["a"] = other
    store.write(theirs, "merge")
    assert store.write(mine, "merge").changed is False
    assert_same_runs(store.read("coin toss").runs, theirs.runs)


def test_times_and_numbers_of_ledger_entries_that_are_not_plain(store):
    started = [
        dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=20))),
        dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
        pd.Timestamp("2020-01-01", tz="UTC"),
        None,
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    ]
    runs = [make_run(i, n=i) for i in range(len(started))]
    for run, moment in zip(runs, started, strict=True):
        run.ledger.started_at = moment
        run.ledger.duration_s, run.ledger.attempts = np.float64(1.5), np.int64(2)
    store.write(make_record(runs=runs), "fail")
    found = [run.ledger for run in store.read("coin toss").runs]
    assert [entry.started_at for entry in found] == started
    assert {(entry.duration_s, entry.attempts) for entry in found} == {(1.5, 2)}
