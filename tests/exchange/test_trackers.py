"""Databases that other trackers have made, imported."""

import datetime as dt
import math
import shutil
import sqlite3
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.exchange import foreign, import_from, importing
from tests import servers

ASSETS = Path(__file__).parent / "assets"


def restored(name, folder):
    """Return the file of a database that a tracker has made."""
    file = folder / f"{name}.db"
    with sqlite3.connect(file) as connection:
        connection.executescript((ASSETS / f"{name}.sql").read_text())
    connection.close()
    return file


def lost(report):
    return {(what, why): number for what, why, number in report.not_carried}


@pytest.fixture
def mlflow(tmp_path):
    return restored("mlflow-3", tmp_path)


@pytest.fixture
def optuna(tmp_path):
    return restored("optuna-5", tmp_path)


def test_mlflow(session, mlflow):
    content = mlflow.read_bytes()
    report = import_from("mlflow", str(mlflow), session)
    assert [*report.experiments] == [("Default", 0, 0, 0), ("digits", 3, 0, 3)]
    check_digits(session)
    assert lost(report) == {
        ("registered models, apart from the versions that runs have made",
         "they are not part of a run"): 1,
        ("an experiment", "it was deleted in MLflow"): 1,
        ("a run", "it was deleted in MLflow"): 1,
        ("the artifacts of a run", "no file is copied; artifact_uri says where"): 3,
    }  # fmt: skip
    assert mlflow.read_bytes() == content


def check_digits(session):
    experiment = session.load("digits")
    assert experiment.fields.tags == {"team": "vision"}
    first, second, third = experiment.runs.values()
    assert dict(first.params) == {"lr": 0.1, "model": "svc", "augment": True}
    assert dict(third.params) == {"lr": 1e-05, "model": "7", "augment": False}
    assert (first.fields.accuracy, first.fields["val/loss"]) == (0.0, 0.2)
    history = second.series
    assert history["step"].tolist() == [0, 1, 2, 3, 4]
    assert history["val/loss"].tolist()[:3] == [1.0, 0.5, 1 / 3]
    assert math.isnan(history["val/loss"][3])
    assert history["at"].dt.year.tolist() == [2023] * 5
    assert "accuracy" not in first.series
    assert first.fields.tags == {"mlflow.runName": "run 0", "note": "first\nsecond"}
    assert [run.ledger.state for run in (first, second, third)] == [
        "completed",
        "failed",
        "pending",
    ]
    assert first.ledger.started_at == dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    assert first.ledger.duration_s == 5.0
    (dataset,) = first.fields.datasets
    assert (dataset["name"], dataset["dataset_source"]) == ("iris", "/data/iris.csv")
    assert dataset["tags"] == {"mlflow.data.context": "training"}
    assert [model["name"] for model in third.fields.models] == ["best", "digits-model"]
    assert uuid.UUID(first.id_run).hex in first.fields.artifact_uri


def test_an_experiment_is_read_and_written_in_parts(session, mlflow, monkeypatch):
    monkeypatch.setattr(foreign, "POINTS_AT_ONCE", 1)
    monkeypatch.setattr(importing, "RUNS_AT_ONCE", 2)
    monkeypatch.setattr(importing, "LOOKED_UP", 1)
    assert import_from("mlflow", str(mlflow), session).experiments[1] == ("digits", 3, 0, 3)
    check_digits(session)
    written = session.load("digits").info()["revision"]
    assert written == 2
    assert import_from("mlflow", str(mlflow), session).experiments[1] == ("digits", 3, 3, 3)
    assert session.load("digits").info()["revision"] == written


@pytest.mark.parametrize("backend", ["postgresql", "mariadb"])
def test_mlflow_on_a_server(session, mlflow, backend):
    """The same tables with the types of a server."""
    database = getattr(servers, f"{backend}_database")
    source, metadata = sa.create_engine(f"sqlite:///{mlflow}"), sa.MetaData()
    metadata.reflect(source)
    with database() as url:
        engine = sa.create_engine(sa.make_url(url))
        for table in metadata.tables.values():
            table.constraints = {c for c in table.constraints if isinstance(c, sa.UniqueConstraint)}
            table.indexes.clear()
            for column in table.columns:
                column.server_default, column.autoincrement = None, False
                if isinstance(column.type, sa.FLOAT):
                    column.type = sa.Double()
        metadata.create_all(engine)
        with source.connect() as old, engine.begin() as new:
            for table in metadata.tables.values():
                if rows := [row._asdict() for row in old.execute(sa.select(table))]:
                    new.execute(sa.insert(table), rows)
        engine.dispose()
        report = import_from("mlflow", url, session)
    assert report.experiments[1] == ("digits", 3, 0, 3)
    assert report.source.partition("://")[0] in url
    check_digits(session)


def test_optuna(session, optuna):
    report = import_from("optuna", f"sqlite:///{optuna}", session)
    assert [*report.experiments] == [("tune", 6, 0, 6), ("pareto", 2, 0, 2)]
    assert lost(report) == {("a trial", "it has not begun"): 1}
    experiment = session.load("tune")
    assert experiment.fields.directions == ["minimize"]
    assert experiment.fields["user_attrs.team"] == "vision"
    runs = list(experiment.runs.values())
    assert [run.ledger.state for run in runs] == [
        *("completed", "stopped", "failed"),
        *("completed", "completed", "pending"),
    ]
    assert [run.fields.number for run in runs] == [0, 1, 2, 3, 4, 5]
    assert runs[1].fields.trial_state == "PRUNED"
    assert dict(runs[0].params) == {
        "x": 0.0976270078546495, "layers": 6, "lr": 0.0025766385746135885, "optimizer": None
    }  # fmt: skip
    assert type(runs[0].params.layers) is int
    assert runs[3].fields.value == math.inf
    history = runs[2].series
    assert history["step"].tolist() == [0, 1, 2]
    assert math.isnan(history["intermediate_value"][1])
    assert [at.to_pydatetime() for at in history["at"]] == [runs[2].ledger.started_at] * 3
    assert runs[0].fields["user_attrs.seconds"] == [1, 2.5]
    assert runs[0].fields.distributions["layers"]["attributes"]["high"] == 8
    both = session.load("pareto").runs.first()
    assert both.fields["values"] == [both.params.x, 2.0]


def check_iris(experiment, *, dtypes, sequence, name):
    runs = sorted(experiment.runs.values(), key=lambda run: run.fields.n)
    assert len(runs) == 3
    for i, run in enumerate(runs):
        own = run.fields
        assert own.is_best is (i == 2)
        assert own.note == f"run {i}"
        assert own.when == dt.datetime(2024, 1, 2, 3, 4, 5, 6)
        assert own.predictions.dtype == (np.float32 if dtypes else np.float64)
        assert np.allclose(own.predictions, np.arange(4 + i) / 3)
        assert own.tree == {"depth": i, "splits": [1, 2.5, "x"], "key": uuid.UUID(int=i)}
        assert own.table["x"].tolist() == [1.0, 2.0]
        if "t" in own.table:
            assert own.table["t"].tolist() == [*pd.to_datetime(["2024-01-01", "2024-01-02"])]
        assert own.series.tolist() == [1, 2, 3]
        assert own.series.name == name
        assert run.ledger.state == "completed"
        if sequence:
            assert own.losses["loss"].tolist() == [0.5, 0.25]
    assert runs[2].fields.accuracy == 1.0
    assert "accuracy" not in runs[1].fields  # a NaN, which SQLite has as NULL


@pytest.mark.parametrize("version", ["0.0.100", "0.0.103", "0.0.110", "0.1.165"])
def test_mltraq(session, tmp_path, version):
    file = restored(f"mltraq-{version}", tmp_path)
    if version == "0.1.165":
        shutil.copytree(ASSETS / "mltraq.datastore", tmp_path / "mltraq.datastore")
    report = import_from("mltraq", str(file), session, prefix="old/")
    assert report.experiments[:2] == [("old/Iris study", 3, 0, 3), ("old/empty", 1, 0, 1)]
    assert lost(report) == {}
    sequence = version == "0.1.165"
    dtypes = version != "0.0.100"
    check_iris(session.load("old/Iris study"), dtypes=dtypes, sequence=sequence, name="s")
    empty = session.load("old/empty")
    assert empty.fields.author == "Ada"
    if version == "0.1.165":
        store = session.load("old/stored").runs.first().fields.store
        assert store["name"] == "a"
        assert store["weights"].tolist() == [1.0, 1.0, 1.0]
        zeros = session.load("old/compressed").runs.first().fields.zeros
        assert zeros.tolist() == [0.0] * 1000


def test_values_in_files_that_are_not_there(session, tmp_path):
    report = import_from("mltraq", str(restored("mltraq-0.1.165", tmp_path)), session)
    assert ("stored", 1, 0, 1) in report.experiments
    ((what, why),) = lost(report)
    assert (what, "not in the folder" in why) == ("a field of a run", True)


@pytest.mark.parametrize("name", ["mlflow-3", "optuna-5", "mltraq-0.1.165"])
def test_a_second_import_adds_nothing(session, tmp_path, name):
    file, tool = str(restored(name, tmp_path)), name.partition("-")[0]
    first = import_from(tool, file, session)
    before = session.ls().set_index("name")
    second = import_from(tool, file, session)
    after = session.ls().set_index("name")
    assert after["runs"].tolist() == before["runs"].tolist()
    assert after["revision"].tolist() == before["revision"].tolist()
    assert [own.before for own in second.experiments] == [own.after for own in first.experiments]


def test_what_has_happened_since_the_first_import(session, mlflow):
    import_from("mlflow", str(mlflow), session)
    with sqlite3.connect(mlflow) as connection:
        connection.execute("UPDATE runs SET status = 'FINISHED' WHERE status = 'RUNNING'")
        connection.execute("UPDATE metrics SET value = 0.75 WHERE key = 'accuracy' AND value = 0.5")
        connection.execute(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "SELECT key, value, timestamp, run_uuid, 9, is_nan FROM metrics "
            "WHERE key = 'val/loss' AND step = 4"
        )
    connection.close()
    import_from("mlflow", str(mlflow), session)
    first, *_, third = session.load("digits").runs.values()
    assert first.series["step"].tolist() == [0, 1, 2, 3, 4, 9]
    assert (third.ledger.state, third.fields.accuracy) == ("completed", 0.75)


def test_times_that_are_none(session, mlflow):
    """Whoever gives MLflow nanoseconds has values of years that no calendar has."""
    with sqlite3.connect(mlflow) as connection:
        (run,) = connection.execute("SELECT run_uuid FROM runs WHERE name = 'run 0'").fetchone()
        for step, at in enumerate((10**18, 10**15, -(10**14), 10**12)):
            row = ("ns", step / 2, at, run, step, 0)
            connection.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", row)
        for key, step in (("infinite", math.inf), ("seq", 0), ("seq", 1)):
            row = (key, 1.0, 0, run, step, 0)
            connection.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", row)
    connection.close()
    report = import_from("mlflow", str(mlflow), session)
    series = session.load("digits").runs[str(uuid.UUID(run))].series.dropna(subset="ns")
    assert series["ns"].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert series["at"].dt.year.tolist() == [1970, 1970, 1970, 2001]
    none = lost(report)
    reason = "no calendar has it; its row has 1970 instead"
    assert none["the time of a value of a metric", reason] == 3
    assert none["the series of a metric", "no column of a series can have its name"] == 1
    reason = "it is not a number, or its step or time is not an integer"
    assert none["a value of a metric", reason] == 1


def test_experiments_of_others_are_not_mixed(session, mlflow):
    session.add_experiment("digits").add_runs(x=[1, 2]).persist()
    with pytest.raises(mltraq.ExperimentExists, match=r"'digits'.*nothing was imported.*'mlflow/'"):
        import_from("mlflow", str(mlflow), session)
    assert session.ls()["name"].tolist() == ["digits"]
    import_from("mlflow", str(mlflow), session, prefix="mlflow/")
    assert session.ls()["name"].tolist() == ["digits", "mlflow/Default", "mlflow/digits"]


def test_databases_of_something_else(session, mlflow, tmp_path):
    session.add_experiment("own").persist()
    (tmp_path / "text.db").write_text("no database, " * 100)
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE runs (x)").connection.close()
    for tool, source, error, text in (
        ("wandb", mlflow, mltraq.InvalidInput, "known are mltraq, mlflow, optuna"),
        ("optuna", mlflow, mltraq.InvalidInput, "a database of MLflow: import it as mlflow"),
        ("mltraq", tmp_path / "mltraq.db", mltraq.InvalidInput, "a database of mltraq_prefect"),
        ("mlflow", tmp_path / "empty.db", mltraq.InvalidInput, "not a database of MLflow, nor of"),
        ("mlflow", tmp_path / "text.db", mltraq.StorageUnavailable, "cannot be read: file is not"),
        ("mlflow", tmp_path / "none.db", mltraq.InvalidInput, "there is no file"),
        ("mlflow", f"sqlite:///{tmp_path}/none.db", mltraq.InvalidInput, "there is no file"),
        ("mlflow", "oracle://x/y", mltraq.InvalidInput, "no support for oracle"),
    ):
        with pytest.raises(error, match=text):
            import_from(tool, str(source), session)
    assert not (tmp_path / "none.db").exists()
    assert session.ls()["name"].tolist() == ["own"]


def test_damaged_cells_cost_themselves_alone(session, mlflow, optuna, tmp_path):
    with sqlite3.connect(mlflow) as connection:
        connection.execute("UPDATE tags SET value = CAST(x'ff00fe' AS TEXT) WHERE key = 'note'")
        connection.execute("UPDATE params SET key = '' WHERE key = 'augment'")
        connection.execute("UPDATE runs SET start_time = 'soon' WHERE name = 'run 0'")
        connection.execute("UPDATE metrics SET step = 'x' WHERE key = 'accuracy'")
        (run,) = connection.execute("SELECT max(run_uuid) FROM tags").fetchone()
        connection.execute("INSERT INTO metrics VALUES ('tags', 1, 0, ?, 0, 0)", (run,))
    connection.close()
    report = import_from("mlflow", str(mlflow), session)
    assert ("digits", 3, 0, 3) in report.experiments
    assert lost(report)["a metric of a run", "its name is that of another field"] == 1
    assert lost(report)["a param of a run", "its name is an empty string; give it at least one "
                        "character"] == 3  # fmt: skip
    with sqlite3.connect(optuna) as connection:
        connection.execute("UPDATE trial_params SET distribution_json = '{' WHERE param_id = 1")
        connection.execute("UPDATE trial_params SET param_value = 99 WHERE param_id = 4")
        connection.execute("UPDATE trials SET datetime_start = 'soon' WHERE trial_id = 2")
        connection.execute("UPDATE trials SET datetime_start = '0001-01-01' WHERE trial_id = 1")
        connection.execute("UPDATE trial_values SET value = 'x' WHERE trial_id = 1")
        steps = "UPDATE trial_intermediate_values SET step = "
        connection.execute(f"{steps}1.5 WHERE trial_intermediate_value_id = 1")
        connection.execute(f"{steps}'x' WHERE trial_intermediate_value_id = 2")
    connection.close()
    report = import_from("optuna", str(optuna), session)
    assert lost(report)["an intermediate value", "its step is not an integer"] == 2
    assert session.verify("tune").empty
    assert ("tune", 6, 0, 6) in report.experiments
    assert lost(report)["a param of a trial", "its distribution does not say what its value means"]
    old = restored("mltraq-0.1.165", tmp_path)
    with sqlite3.connect(old) as connection:
        connection.execute("UPDATE experiment_iris_study SET tree = x'8005636f730a' WHERE n = 1")
        connection.execute("UPDATE experiment_iris_study SET predictions = x'43303178' WHERE n = 2")
        connection.execute("UPDATE experiment_iris_study SET \"when\" = 'soon' WHERE n = 0")
        connection.execute("UPDATE experiments SET meta = x'00' WHERE name = 'empty'")
    connection.close()
    report = import_from("mltraq", str(old), session)
    assert ("Iris study", 3, 0, 3) in report.experiments
    assert ("empty", 0, 0, 0) in report.experiments
    assert sum(n for (what, _), n in lost(report).items() if what == "a field of a run") == 4


def test_a_run_whose_id_is_no_text_and_a_number_for_bytes_cost_themselves_alone(
    session, mlflow, tmp_path
):
    with sqlite3.connect(mlflow) as connection:
        connection.execute("UPDATE runs SET run_uuid = x'ff00fe' WHERE name = 'run 1'")
    connection.close()
    report = import_from("mlflow", str(mlflow), session)
    assert ("digits", 2, 0, 2) in report.experiments
    assert lost(report)["a run", "its id is not text"] == 1
    old = restored("mltraq-0.1.165", tmp_path)
    with sqlite3.connect(old) as connection:
        connection.execute("UPDATE experiment_iris_study SET tree = 7.5 WHERE n = 1")
        connection.execute("UPDATE experiments SET fields = 1.5 WHERE name = 'empty'")
    connection.close()
    report = import_from("mltraq", str(old), session)
    assert ("Iris study", 3, 0, 3) in report.experiments
    assert sum(number for (what, _), number in lost(report).items() if what == "a field of a run")
    assert any(what == "the fields of an experiment" for what, _ in lost(report))
