"""Deleting some runs of an experiment, and old ones, on every backend."""

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.errors import (
    ExperimentNotFound,
    FieldNotFound,
    InvalidInput,
    QueryFailed,
    StoreError,
)
from mltraq_prefect.model.spool import own_spool
from mltraq_prefect.storage.maintenance import retention
from mltraq_prefect.storage.maintenance.deleting import Condition
from tests.contract.integrity import assert_sound
from tests.contract.records import make_record, make_run
from tests.contract.test_faults import Faults

OF_RUNS = ("experiment_runs", "experiment_run_steps", "experiment_values", "experiment_series")


def track(run):
    run.log(loss=run.params.n)
    run.fields.large = np.full(5_000, run.params.n)
    run.fields.n = run.params.n
    if run.params.n == 2:
        raise ValueError("two")


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        for name in ("one", "other"):
            experiment = opened.add_experiment(name).add_runs(n=range(8), name=["a'b"])
            experiment.execute(track, backend="local", on_error="keep")
            experiment.persist(on_error="keep")
        yield opened


def counts(session, name):
    (row,) = session.ls(where="name = :name", params={"name": name}).itertuples()
    return row.runs, row.completed, row.failed, row.pending


def rows_of(session, name):
    """Count what each table has of an experiment."""
    (row,) = session.ls(where="name = :name", params={"name": name}).itertuples()
    sql = "SELECT count(DISTINCT id_run) AS n FROM {} WHERE id_experiment = :id AND id_run <> ''"
    found = {
        table: session.query(sql.format(table), {"id": row.id_experiment})["n"][0]
        for table in OF_RUNS
    }
    for table in (row.table_name, f"s_{name}"):
        sql = f"SELECT count(DISTINCT id_run) AS n FROM {table}"
        found[table] = session.query(sql)["n"][0]
    return found


def test_runs_go_with_all_that_belongs_to_them(session):
    experiment = session.load("one")
    before, others = rows_of(session, "one"), rows_of(session, "other")
    assert counts(session, "one") == (8, 7, 1, 0)
    where = "n > :least AND name = :name AND state = 'completed'"
    assert experiment.delete_runs(where, {"least": 4, "name": "a'b"}) == 3
    assert counts(session, "one") == (5, 4, 1, 0)
    assert len(experiment.runs) == 5
    after = rows_of(session, "one")
    assert {table: before[table] - n for table, n in after.items()} == {
        table: 3 if n else 0 for table, n in before.items()
    }
    assert rows_of(session, "other") == others
    assert experiment.delete_runs("state = 'failed'") == 1
    assert counts(session, "one") == (4, 4, 0, 0)
    assert [run.fields.n for run in session.load("one").runs.values()] == [0, 1, 3, 4]
    experiment.add_runs(n=[9], name=["c"]).persist("merge")
    assert [run.params.n for run in session.load("one").runs.values()] == [0, 1, 3, 4, 9]
    assert experiment.delete_runs("1 = 1") == 5
    assert counts(session, "one") == (0, 0, 0, 0)
    assert set(rows_of(session, "one").values()) == {0}


def test_conditions_that_are_none(session):
    experiment = session.load("one")
    for where, message in {
        "n >": "refused the condition",
        "n > :x": "x",
        "state = (DELETE FROM experiments)": "refused",
    }.items():
        with pytest.raises(QueryFailed, match=message):
            experiment.delete_runs(where)
    with pytest.raises(FieldNotFound, match="known: 'id_run', 'param_n', 'name', 'large', 'n'"):
        experiment.delete_runs("m > 3")
    for where in ("", "  ", None, "n > 3); DELETE FROM experiments; --"):
        with pytest.raises(InvalidInput, match=r"give a condition in SQL|comment"):
            experiment.delete_runs(where)
    with pytest.raises(ExperimentNotFound):
        session.add_experiment("new").delete_runs("1 = 1")
    session.load("one").delete()
    session.add_experiment("one").persist()
    with pytest.raises(ExperimentNotFound, match="has been replaced since"):
        experiment.delete_runs("1 = 1")


def test_each_statement_of_a_deletion_fails_in_turn(store, monkeypatch):
    faults = Faults(monkeypatch)
    condition = Condition("n > 1")
    for at in range(1, 100):
        store.write(make_record(runs=[make_run(i, n=i) for i in range(4)]), "replace")
        faults.count, faults.at = 0, at
        try:
            assert len(store.delete_runs("coin toss", condition)) == 2
        except StoreError:
            faults.at = None
            assert len(store.read("coin toss").runs) == store.ls()[0]["runs"] == 4
        else:
            if faults.count < at:
                break
    faults.at = None
    assert at > 5
    assert len(store.read("coin toss").runs) == store.ls()[0]["runs"] == 2


def test_old_runs_are_pruned_some_at_a_time(store, url, monkeypatch):
    monkeypatch.setattr("mltraq_prefect.storage.maintenance.upkeep.PRUNED_AT_ONCE", 2)
    now = dt.datetime.now(dt.UTC)
    runs = [make_run(i, params={"slot": i // 2, "n": i}, n=i) for i in range(10)]
    for day, run in enumerate(runs):
        run.ledger.started_at = now - dt.timedelta(days=day)
    runs[9].ledger.state = "pending"
    store.write(make_record(runs=runs), "fail")
    told = []

    def prune(keep=None, slots=None, where=None, **params):
        old = retention.old(keep, slots, "slot", where, params)
        return store.prune("coin toss", old, lambda *counts: told.append(counts))

    assert prune("1 week", where="n > :n", n=8) == 0
    assert prune("156 hours") == 2
    assert told[-1] == (2, 2)
    assert [run.fields["n"] for run in store.read("coin toss").runs] == [0, 1, 2, 3, 4, 5, 6, 9]
    assert prune(slots=3) == 4
    assert told[-3:] == [(0, 4), (2, 4), (4, 4)]
    assert [run.fields["n"] for run in store.read("coin toss").runs] == [4, 5, 6, 9]
    assert prune(slots=3) == 0
    if url != "sqlite://":
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE experiments SET run_count = 77, completed = 66")
        prune("30 days")
        (row,) = store.ls()
        assert (row["runs"], row["completed"], row["pending"]) == (4, 3, 1)
        assert_sound(url)


def test_series_and_files_of_deleted_runs_are_not_taken_for_empty(session):
    def work(run):
        run.log(loss=run.params.n)
        run.files["a.txt"] = b"a"

    made = (
        session.add_experiment("both")
        .add_runs(n=[1, 2])
        .execute(work, backend="local", checkpoint=True)
    )
    loaded = session.load("both")
    plain = session.add_experiment("plain").add_runs(n=[1, 2]).persist()
    assert session.load("both").delete_runs("n = 1") == 1
    assert session.load("plain").delete_runs("n = 1") == 1
    for experiment in (made, loaded):
        first, second = experiment.runs.values()
        assert second.series["loss"].tolist() == [2]
        assert list(second.files) == ["a.txt"]
        for ask in (lambda run: run.series, lambda run: list(run.files)):
            with pytest.raises(
                StoreError, match=r"'both', run n=1: its \w+ would be in .* deleted"
            ):
                ask(first)
        with pytest.raises(StoreError, match=r"'both', run n=1: its \w+ w.* deleted"):
            experiment.copy()
        experiment.add_runs(n=[3])
        del experiment.runs[first.id_run]
        assert [len(run.files) for run in experiment.copy().runs.values()] == [1, 0]
    assert plain.runs.first().series.empty
    assert len(plain.runs.first().files) == 0


def test_series_stay_in_memory_when_an_experiment_is_deleted(session):
    loaded = session.load("one")
    loaded.delete()
    assert loaded.runs.first().series["loss"].tolist() == [0]
    loaded.persist()
    assert session.load("one").runs.first().series["loss"].tolist() == [0]


@pytest.mark.parametrize("url", ["sqlite-memory"], indirect=True)
def test_what_is_kept_is_said(session):
    for options, message in (
        ({}, "prune needs keep"),
        ({"keep": "a while"}, "give a time such as '30 days'"),
        ({"keep": "0 days"}, "give a time"),
        ({"keep": f"{10**20} weeks"}, "give a time"),
        ({"slots": 0}, "slots is 0"),
        ({"slots": 3, "params": {"x": 1}}, "no condition"),
    ):
        with pytest.raises(InvalidInput, match=message):
            session.prune("one", **options)
    with pytest.raises(FieldNotFound, match=r"no param 'slot', .* its params: 'n', 'name'"):
        session.prune("one", slots=3)
    with pytest.raises(ExperimentNotFound):
        session.prune("none", "1 day")
    assert session.prune("one", keep="99999999999 seconds") == 0
    assert session.prune("one", keep="9999999 days") == 0
    assert session.prune("one", slots=3, slot="n", where="param_n <> 0") == 4


# -- whole experiments -----------------------------------------------------------------------------


def keep(run):
    run.log(loss=run.params.n)
    run.files["a.bin"] = bytes([run.params.n]) * 1000
    run.fields.n = run.params.n


def score(run):
    run.fields.score = -run.fields.n


def told(experiment):
    """Return all that is known of an experiment, but for its place in the database."""
    runs = [
        (
            *(run.id_run, dict(run.fields), run.series.to_dict("list")),
            {name: file.path().read_bytes() for name, file in run.files.items()},
            {step: (own.state, own.id_execution) for step, own in run.ledger.executions.items()},
        )
        for run in experiment.runs.values()
    ]
    return runs, experiment.executions[["started_at", "seed"]].to_dict("index")


@pytest.mark.parametrize("is_checkpointed", [False, True])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_what_was_deleted_is_whole_in_memory_and_can_be_written_again(
    shared_url, is_loaded, is_checkpointed
):
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("x").add_runs(n=[1, 2])
        for step in (keep, score):
            experiment.execute(step, backend="local", checkpoint=is_checkpointed)
        before = told(experiment.persist("merge"))
        experiment = session.load("x") if is_loaded else experiment
        experiment.delete()
        assert session.ls().empty
        shutil.rmtree(Path(own_spool().folder, "copies"))  # as if nobody had read any
        for run in experiment.runs.values():
            assert run.series["loss"].tolist() == [run.params.n]
            assert run.files["a.bin"].path().read_bytes() == bytes([run.params.n]) * 1000
        assert len(experiment.copy("y").persist().runs) == 2
        experiment.persist()
        assert told(session.load("x")) == before
        copied = [run.files["a.bin"].size for run in session.load("y").runs.values()]
        assert copied == [1000, 1000]
    assert_sound(shared_url)
