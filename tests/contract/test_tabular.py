"""Files of experiments, from every backend."""

import numpy as np
import pytest

import mltraq_prefect as mltraq


def test_files_have_what_the_database_has(url, tmp_path, monkeypatch):
    monkeypatch.setattr("mltraq_prefect.tabular.exports.FIRST_RUNS", 2)
    monkeypatch.setattr("mltraq_prefect.tabular.exports.MOST_RUNS", 3)
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
