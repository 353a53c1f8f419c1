"""Experiments through the public API, on SQLite: what users write, and what they get wrong."""

import sqlite3

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq


def files(tmp_path):
    return {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.fixture
def stored(session):
    experiment = session.add_experiment("stored", description="of two runs").add_runs(N=[1, 2])
    experiment.execute(lambda run: run.fields.update(x=run.params.N / 2), backend="local")
    return experiment.persist()


def test_what_is_persisted_is_loaded(session, stored):
    loaded = session.load("stored")
    assert loaded.id_experiment == stored.id_experiment
    assert loaded.fields == {"description": "of two runs"}
    assert [run.fields for run in loaded.runs.values()] == [{"x": 0.5}, {"x": 1.0}]
    assert [run.params for run in loaded.runs.values()] == [{"N": 1}, {"N": 2}]
    assert list(loaded.runs) == list(stored.runs)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, "x"], "b": {"c": True}},
        [1, 2.5, "three"],
        (1, "two", (3.0,)),
        "text",
        5,
        0.1 + 0.2,
        True,
        pd.Series([1.5, None, 3.0], index=["a", "b", "c"], name="s"),
        pd.DataFrame({"n": [1, 2], "t": ["x", "y"]}),
        np.arange(12.0).reshape(3, 4),
        np.array(["2026-01-01T00:00:00.000000001", "NaT"], dtype="datetime64[ns]"),
        np.datetime64("2026-01-01T00:00:00.000000001", "ns"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_storage_chapters_types_round_trip(session, value):
    experiment = session.add_experiment("types")
    experiment.add_run()["value"] = value
    experiment.persist()
    loaded = session.load("types").runs.first()["value"]
    assert type(loaded) is type(value)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(loaded, value, check_freq=True)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(loaded, value, check_freq=True)
    elif isinstance(value, np.ndarray):
        assert loaded.dtype == value.dtype
        np.testing.assert_array_equal(loaded, value)
    else:
        assert loaded == value


def test_merge_adds_columns_and_runs_and_keeps_the_rest(session, stored):
    loaded = session.load("stored", columns=[])
    for run in loaded.runs.values():
        run["y"] = run.params.N * 10
    loaded.add_run(N=3)["y"] = 30
    loaded.persist(if_exists="merge")
    rows = session.query("SELECT x, y FROM e_stored ORDER BY y")
    assert rows["y"].tolist() == [10, 20, 30]
    assert rows["x"].tolist()[:2] == [0.5, 1.0]
    assert pd.isna(rows["x"][2])


def test_merge_of_a_new_definition_adopts_what_is_there(session, stored):
    again = session.add_experiment("stored").add_runs(N=[1, 2, 3])
    again.execute(lambda run: run.fields.update(x=run.params.N / 2), backend="local")
    again.persist(if_exists="merge")
    assert again.id_experiment == stored.id_experiment
    assert session.query("SELECT x FROM e_stored ORDER BY x")["x"].tolist() == [0.5, 1.0, 1.5]


def test_replace_leaves_nothing_of_the_old(session, stored):
    fresh = session.add_experiment("stored").add_runs(N=[9])
    fresh.runs.first()["z"] = 1
    fresh.persist(if_exists="replace")
    loaded = session.load("stored")
    assert [run.fields for run in loaded.runs.values()] == [{"z": 1}]


def test_replicates_are_runs_of_their_own(session):
    first = session.add_experiment("replicates").add_runs(N=[1, 1, 1])
    again = session.add_experiment("replicates").add_runs(N=[1, 1, 1])
    assert len(first.runs) == 3
    assert list(first.runs) == list(again.runs)
    other = session.add_experiment("others").add_runs(N=[1, 1, 1])
    assert not set(first.runs) & set(other.runs)


def test_adding_to_a_loaded_experiment_counts_on(session, stored):
    loaded = session.load("stored")
    loaded.add_run(N=1)
    assert len(loaded.runs) == 3


def test_an_experiment_that_exists(session, stored, tmp_path):
    before = files(tmp_path)
    with pytest.raises(
        mltraq.ExperimentExists, match=r"'stored'.*if_exists=\"merge\".*if_exists=\"replace\""
    ):
        session.add_experiment("stored").persist()
    assert files(tmp_path) == before


def test_a_name_that_is_taken_is_told_before_anything_is_computed(session, stored, caplog):
    told = []

    def look(run):
        told.extend(record.getMessage() for record in caplog.records)

    with caplog.at_level("INFO"):
        session.load("stored").execute(look, backend="local")
        session.add_experiment("other").add_runs(N=[1]).execute(look, backend="local")
        assert not any("already" in line for line in told)
        session.add_experiment("stored").add_runs(N=[1]).execute(look, backend="local")
    (line,) = [line for line in told if "already" in line]
    assert "experiment 'stored' is in the database already" in line
    assert 'if_exists="merge" or "replace"' in line


def test_an_experiment_that_does_not_exist(session, stored):
    with pytest.raises(mltraq.ExperimentNotFound, match="'missing'"):
        session.load("missing")


def test_a_step_that_raises_names_run_params_and_step_and_keeps_the_rest(session):
    def invert(run):
        run.fields.inverse = 1 / run.params.N

    experiment = session.add_experiment("inverses").add_runs(N=[1, 0, 2])
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(invert, backend="local")
    assert str(caught.value).startswith("experiment 'inverses': 1 of 3 runs failed: 1 x ZeroDiv")
    assert "run N=0\nstep invert: Traceback" in caught.value.details
    assert caught.value.details.endswith("ZeroDivisionError: division by zero")
    experiment.persist()
    states = session.query("SELECT state, error FROM experiment_runs ORDER BY position")
    assert states["state"].tolist() == ["completed", "failed", "completed"]
    assert session.query("SELECT count(inverse) AS n FROM e_inverses")["n"][0] == 2


def test_a_field_of_an_unsupported_type(session, stored, tmp_path):
    experiment = session.add_experiment("odd").add_runs(N=[1, 2])
    experiment.runs.first()["scores"] = [1, {"a": object()}]
    before = files(tmp_path)
    with pytest.raises(mltraq.UnsupportedType) as caught:
        experiment.persist()
    message = str(caught.value)
    assert message.startswith("experiment 'odd', run N=1: fields.scores[1]['a'] is of type object")
    assert files(tmp_path) == before


def test_a_field_key_that_is_not_a_string(session, tmp_path):
    experiment = session.add_experiment("keys")
    experiment.add_run(N=1).fields[3] = 1.0
    with pytest.raises(mltraq.InvalidName, match=r"experiment 'keys', run N=1: .*3"):
        experiment.persist()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"N": []}, "param 'N' of the grid has no values, so it defines no runs"),
        ({"N": range(5, 5, 3)}, "param 'N' of the grid has no values"),
        ({"N": range(10**20, 0, -3)}, "2 x 33,333,333,333,333,333,334"),
        ({"N": 5}, r"param 'N' of the grid is 5, not a list of values; .* write N=\[5\]"),
        ({"name": "abc"}, r"param 'name' of the grid is 'abc', not a list .* name=\['abc'\]"),
    ],
)
def test_an_empty_grid_value(session, grid, message):
    experiment = session.add_experiment("grid")
    with pytest.raises(mltraq.InvalidGrid, match=message):
        experiment.add_runs(**{"M": [1, 2], **grid})
    assert not experiment.runs


@pytest.mark.parametrize("name", [3, "", b"x"])
def test_a_name_that_is_no_text(session, name):
    with pytest.raises(mltraq.InvalidName, match=r"experiment name .*string"):
        session.add_experiment(name)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nonexistent/folder/mltraq.db",
        "postgresql+psycopg://user:canary-secret@127.0.0.1:1/test",
    ],
)
def test_an_unreachable_database(url):
    with pytest.raises(mltraq.StorageUnavailable) as caught:
        mltraq.create_session(url)
    assert "canary-secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_foreign_table_called_experiments(url, tmp_path):
    with sqlite3.connect(tmp_path / "mltraq.db") as connection:
        connection.execute(
            "CREATE TABLE experiments (experiment_id INTEGER, artifact_location TEXT)"
        )
    with pytest.raises(mltraq.ForeignTable, match="experiments"):
        mltraq.create_session(url)


def test_nothing_pending_is_nothing_to_execute(session, stored):
    done = session.load("stored")
    done.execute(lambda run: run.fields.update(y=1), backend="local")
    done.persist(if_exists="merge")
    pending = session.load("stored", pending="<lambda>")
    pending.execute(lambda run: run.fields.update(y=2))
    assert not pending.runs
    pending.persist(if_exists="merge")
    assert session.query("SELECT sum(y) AS total FROM e_stored")["total"][0] == 2


def test_if_exists_that_cannot_be_used(session):
    with pytest.raises(mltraq.InvalidInput, match="if_exists is 'overwrite'"):
        session.add_experiment("e").persist(if_exists="overwrite")


def test_copies_share_nothing_that_is_tracked(session, stored):
    twin = stored.copy("twin")
    assert not set(twin.runs) & set(stored.runs)
    twin.runs.first()["x"] = 100.0
    twin.persist()
    assert [run["x"] for run in session.load("stored").runs.values()] == [0.5, 1.0]
    assert [run["x"] for run in session.load("twin").runs.values()] == [100.0, 1.0]


def test_between_databases(session, stored):
    other = mltraq.create_session()
    other.persist(stored)
    assert [run.fields for run in other.load("stored").runs.values()] == [{"x": 0.5}, {"x": 1.0}]
    assert other.load("stored").id_experiment == stored.id_experiment


def test_ls_info_df_query_delete(session, stored):
    listed = session.ls()
    assert listed["name"].tolist() == ["stored"]
    assert stored.info()["run_count"] == 2
    assert stored.info()["bytes"] > 0
    assert stored.copy("not stored").info()["bytes"] is None
    assert stored.df()["description"].tolist() == ["of two runs"]
    assert stored.query("SELECT x FROM {experiment} WHERE x > :least", {"least": 0.7})[
        "x"
    ].tolist() == [1.0]
    stored.delete()
    assert session.ls().empty
    stored.persist()
    assert len(session.load("stored").runs) == 2


def test_namespaces_name_what_they_know(session):
    run = session.add_experiment("e").add_run()
    run.fields.error = 1
    with pytest.raises(AttributeError, match="there is no 'eror' here; known: error"):
        _ = run.fields.eror


def test_a_report_of_what_is_not_persisted_says_what_to_do(tmp_path):
    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(x=[1])
    with pytest.raises(mltraq.ExperimentNotFound, match=r"no experiment 'e' .*; persist it"):
        experiment.report(tmp_path / "e.html")
    assert experiment.persist().report(tmp_path / "e.html").exists()
