"""Series on every backend: what SQL sees, what Python gets back, what becomes of them."""

import datetime as dt
import decimal
import math
import uuid

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.values.names import series_name
from tests.contract.integrity import assert_sound
from tests.values import assert_identical

ROWS = [
    (0, {"loss": 1.5, "n": 1, "ok": True, "text": "a", "Loss": 1}),
    (1, {"loss": math.nan, "n": 2**70, "ok": None, "text": "a\nb\t\\N", "at_": 1}),
    (None, {"loss": math.inf, "n": -1, "ok": False, "text": "\ud800\0", "a b": -0.0}),
    (-5, {}),
    (np.int32(7), {"loss": np.float32(0.1), "n": "no number", "when": dt.datetime(2026, 1, 2, 3)}),
    (2**63 - 1, {"loss": 1, "d": decimal.Decimal("1.10"), "u": uuid.UUID(int=5), "c": 1 + 2j}),
    (8, {'"; DROP TABLE e_x; --': 1, "Step": 3, "select": "x", "k" * 80: 1.0}),
    (9, {"when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "day": np.datetime64("NaT")}),
    (10, {"when": pd.Timestamp("2026-01-02 03:04:05.123456789"), "took": pd.Timedelta(5)}),
]


def log_all(run):
    for step, values in ROWS:
        run.log(step, **values)
    run.fields.x = run.params.x


def log_some(run):
    for number in range(run.kwargs.get("rows", 3)):
        run.log(number, loss=run.kwargs.get("loss", 0.5))


def log_more(run):
    run.log(accuracy=1)


def series_of(session, name="x", number=0):
    return list(session.load(name).runs.values())[number].series


def values_of(run):
    """Return the values of each row of a run by key, without rows that lack it."""
    listed = []
    for placed in run.logged():
        for index in range(len(placed.rows)):
            columns = placed.rows.columns.items()
            row = {key: own[index] for key, own in columns if not _is_missing(own[index])}
            listed.append((placed.rows.steps[index], row))
    return listed


def _is_missing(value):
    return type(value).__name__ == "_Sentinel"


def test_any_scalar_comes_back_and_sql_sees_numbers(shared_url):
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("x").add_runs(x=[1, 2])
        experiment.execute(steps=log_all, backend="local").persist()
        found = session.load("x")
        for run in found.runs.values():
            for (step, row), (stored_step, stored) in zip(ROWS, values_of(run), strict=True):
                assert step == stored_step
                assert_identical(dict(row), {key: stored[key] for key in row}, "row")
                assert row.keys() == stored.keys()
        frame = found.runs.first().series
        assert frame["seq"].tolist() == list(range(len(ROWS)))
        assert frame.dtypes[["seq", "step"]].astype(str).tolist() == ["int64", "Int64"]
        assert str(frame["at"].dtype) == "datetime64[us, UTC]"
        assert frame["at"].is_monotonic_increasing
        first = found.runs.first().id_run
        sql = "SELECT step, n FROM s_x WHERE id_run = :id AND n IS NOT NULL ORDER BY seq"
        rows = session.query(sql, {"id": first})
        assert rows["n"].tolist() == [1, float(2**70), -1]
        assert rows["step"].tolist()[:2] == [0, 1]
    assert_sound(shared_url)


def test_series_go_with_their_experiment_in_each_mode(shared_url, tmp_path):
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("x").add_runs(x=[1, 2])
        experiment.execute(steps=log_some, backend="local").persist()
        revision = session.load("x").persist("merge").info()["revision"]
        assert revision == 1
        loaded = session.load("x")
        loaded.execute(steps=log_more, backend="local").persist("merge")
        assert series_of(session)["seq"].tolist() == [0, 1, 2, 3]
        again = session.load("x")
        kwargs = {"rows": 1, "loss": "none"}
        again.execute(steps=log_some, kwargs=kwargs, backend="local", rerun=True)
        expected = again.runs.first().series
        again.persist("merge")
        found = series_of(session)
        assert found["seq"].tolist() == [3, 4]
        assert_identical(expected, found, "series")
        _assert_carried(session, found, tmp_path)
        _assert_organised(session)
        # another layout takes the place of this one, and none at last
        other = session.add_experiment("x").add_runs(x=[1])
        other.execute(steps=log_some, kwargs={"loss": "text"}, backend="local").persist("replace")
        assert series_of(session)["loss"].tolist() == ["text"] * 3
        assert session.query("SELECT count(*) AS n FROM s_x")["n"].tolist() == [3]
        session.add_experiment("x").add_runs(x=[1]).persist("replace")
        assert len(series_of(session)) == 0
    assert_sound(shared_url)
    with mltraq.create_session(shared_url) as session:
        session.load("x").delete()
        assert session.query("SELECT * FROM experiment_series").empty
    assert_sound(shared_url)


def _assert_organised(session):
    """Rename an experiment and delete a run of it: its series follow, also where it is loaded."""
    experiment = session.add_experiment("first name").add_runs(x=[1, 2])
    experiment.execute(steps=log_some, backend="local").persist()
    loaded = session.load("first name")
    loaded.rename("second name")
    assert [len(run.series) for run in loaded.runs.values()] == [3, 3]
    loaded.delete_runs("x = 2")
    assert [len(run.series) for run in session.load("second name").runs.values()] == [3]
    table = series_name("second name")
    assert session.query(f"SELECT count(*) AS n FROM {table}")["n"].tolist() == [3]
    session.load("second name").delete()


def _assert_carried(session, found, folder):
    session.load("x").persist("replace")
    assert_identical(found, series_of(session), "replaced")
    session.load("x").copy("y").persist()
    assert_identical(found, series_of(session, "y"), "copied")
    session.load("y").delete()
    with mltraq.create_session(f"sqlite:///{folder}/other.db") as other:
        other.persist(session.load("x"))
        assert_identical(found, series_of(other), "written elsewhere")
        other.persist(session.load("x"), if_exists="merge")
        assert_identical(found, series_of(other), "merged elsewhere")


def test_a_column_of_integers_takes_floats_and_sql_may_correct_cells(shared_url):
    with mltraq.create_session(shared_url) as session:
        session.add_experiment("x").persist()
        for loss in (3, 0.25, "text", None):
            experiment = session.load("x")
            experiment.add_run(loss=loss)
            experiment.execute(steps=_log_param, backend="local").persist("merge")
        losses = [values_of(run)[0][1]["loss"] for run in session.load("x").runs.values()]
        assert_identical([3, 0.25, "text", None], losses, "losses")
        assert session.query("SELECT avg(loss) AS m FROM s_x")["m"].tolist() == [1.625]
        ids = list(session.load("x").runs)
    engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        text = f"UPDATE s_x SET loss = 7.5 WHERE id_run = '{ids[2]}'"
        connection.exec_driver_sql(text)
    with mltraq.create_session(shared_url) as session:
        assert series_of(session, number=2)["loss"].tolist() == [7.5]


def _log_param(run):
    run.log(loss=run.params.loss)


def test_a_table_of_somebody_else_is_left_alone(shared_url):
    engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE s_x (mine INTEGER)")
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("x").add_runs(x=[1])
        experiment.execute(steps=log_some, backend="local")
        with pytest.raises(mltraq.ForeignTable, match="s_x"):
            experiment.persist()
        assert session.ls().empty
        names = ("api", "api_pkey", "s_api", "e_api", "API")
        for name in names:
            other = session.add_experiment(name).add_runs(x=[1])
            other.execute(steps=log_some, backend="local").persist()
        assert [len(series_of(session, name)) for name in names] == [3] * len(names)


def test_runs_of_a_database_without_series_have_empty_ones(store):
    from tests.contract.records import make_record, make_run

    store.write(make_record(runs=[make_run(1, x=1)]), "fail")
    run = store.read("coin toss").runs[0]
    assert run.series.columns.tolist() == ["seq", "step", "at"]
    assert run.series.empty
    assert isinstance(store, Store)


def test_rows_of_runs_that_were_deleted_are_written_with_them(shared_url):
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("x").add_runs(x=[1, 2])
        experiment.execute(steps=log_some, backend="local").persist()
        session.load("x").delete_runs("state = 'completed'")
        experiment.persist("merge")
        assert [len(run.series) for run in session.load("x").runs.values()] == [3, 3]
        experiment.delete_runs("state = 'completed'")
        experiment.add_runs(x=[1, 2]).execute(steps=log_some, backend="local").persist("merge")
        assert [len(run.series) for run in session.load("x").runs.values()] == [3, 3]
        for id_run in list(experiment.runs):
            del experiment.runs[id_run]
        experiment.add_runs(x=[1, 2])
        kwargs = {"loss": 0.25}
        experiment.execute(log_some, kwargs, backend="local", rerun=True).persist("merge")
        assert series_of(session)["loss"].tolist() == [0.25] * 3
    assert_sound(shared_url)
