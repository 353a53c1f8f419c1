"""Files of experiments, from every backend."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mltraq_prefect as mltraq


def test_files_have_what_the_database_has(url, tmp_path, monkeypatch):
    monkeypatch.setattr("mltraq_prefect.tabular.sources.FIRST_RUNS", 2)
    monkeypatch.setattr("mltraq_prefect.tabular.sources.MOST_RUNS", 3)
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("Müller/2").add_runs(lr=[0.1, 1e-300], seed=range(5))
        for i, run in enumerate(experiment.runs.values()):
            run.fields |= {"val/accuracy": i / 7, "n": i, "text": "x\0" * i, "flag": i % 2 == 0}
            run.fields.large = np.arange(i * 4_000, dtype="f4")
            run.fields.loss = [float("nan"), float("-inf"), -0.0][i % 3]
            run.ledger.state = "completed" if i else "failed"
        experiment.persist()
        session.add_experiment("other").add_runs(x=range(7)).persist()
        file = tmp_path / "runs.arrow"
        session.export("Müller/2", file)
        loaded = session.load("Müller/2").runs
        back = session.import_frame(file, "Müller/2").runs
        assert list(back) == list(loaded)
        for run, own in zip(loaded.values(), back.values(), strict=True):
            assert dict(own.params) == dict(run.params)
            assert own.ledger.state == run.ledger.state
            assert own.fields.large.dtype == np.float32
            for key, value in run.fields.items():
                assert np.array_equal(own.fields[key], value, equal_nan=key == "loss")
        experiment.delete()
        with pytest.raises(mltraq.ExperimentNotFound):
            session.export("Müller/2", tmp_path / "gone.csv")


def test_files_of_series_have_what_was_logged(url, tmp_path, monkeypatch):
    """Many runs, and many parts of one run, are read some at a time."""
    monkeypatch.setattr("mltraq_prefect.storage.series.series_chunks.MOST_ROWS", 7)
    monkeypatch.setattr("mltraq_prefect.storage.series.series_chunks.MOST_PARTS", 4)
    monkeypatch.setattr("mltraq_prefect.storage.series.series_plan.ROWS_A_PART", 3)
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("Müller/2")
        for i, epochs in enumerate([0, 1, 20, 2, 3, 0, 1, 1, 1, 1, 1]):
            with experiment.run(i=i, epochs=epochs) as run:
                for epoch in range(epochs):
                    run.log(epoch, loss=0.5**epoch, **({"Seq": "late"} if epoch == 19 else {}))
        experiment.persist()
        session.add_experiment("other").add_runs(x=range(7)).persist()
        file = tmp_path / "series.arrow"
        session.export("Müller/2", file, series=True)
        table = pa.ipc.open_file(file).read_all()
        runs = session.load("Müller/2").runs
        frames = [run.series.assign(id_run=run.id_run) for run in runs.values()]
        expected = [row for frame in frames for row in frame.to_dict("records")]
        assert len(expected) == 31
        names = ["id_run", "seq", "step", "at", "loss", "field_Seq"]
        assert table.column_names == names
        assert table.schema.field("at").type == pa.timestamp("us", "UTC")
        for row, own in zip(table.to_pylist(), expected, strict=True):
            assert [row[key] for key in names[:5]] == [own[key] for key in names[:5]]
        assert [row["field_Seq"] for row in table.to_pylist() if row["step"] == 19] == ["late"]
        session.export("Müller/2", tmp_path / "loss.csv", columns=["loss"], series=True)
        assert pd.read_csv(tmp_path / "loss.csv")["loss"].sum() == sum(r["loss"] for r in expected)
        session.export("other", tmp_path / "none.parquet", series=True)
        assert pd.read_parquet(tmp_path / "none.parquet").empty
        with pytest.raises(mltraq.FieldNotFound, match=r"logged 'lost'; logged is: 'loss', 'Seq'"):
            session.export("Müller/2", tmp_path / "x.csv", columns=["lost"], series=True)
        files = [file, *(tmp_path / f"again.{suffix}" for suffix in ("csv", "jsonl", "xlsx"))]
        for own in files[1:]:
            session.export("Müller/2", own, series=True)
        for own in (*files, pd.read_csv(files[1])):
            with pytest.raises(mltraq.InvalidInput, match="not runs themselves"):
                session.import_frame(own, "again")
        session.export(None, tmp_path / "all")
        index = pd.read_csv(tmp_path / "all" / "experiments.csv").set_index("name")
        assert index["series"].isna().to_dict() == {"Müller/2": False, "other": True}
        assert len(pd.read_parquet(tmp_path / "all" / index["series"]["Müller/2"])) == 31
