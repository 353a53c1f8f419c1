"""Models are files of runs: one flow trains, stops and keeps them, another one loads the best."""

import joblib
import pytest

import mltraq_prefect as mltraq
from flows import digits

pytestmark = pytest.mark.usefixtures("prefect_server", "one_core")


def test_models_come_from_files_and_numbers_from_a_commit(url, monkeypatch, capsys):
    monkeypatch.setenv("MLTRAQ_DATABASE_URL", url)
    digits.generate()
    digits.evaluate()
    with mltraq.create_session() as session:
        stored = session.load("digits")
        assert len(stored.runs) == 18
        assert {run.ledger.state for run in stored.runs.values()} == {"completed", "stopped"}
        tested = [run for run in stored.runs.values() if "test_accuracy" in run.fields]
        assert 1 <= len(tested) < 18
        for run in tested:
            assert run.fields.test_accuracy > 0.85
            accuracies = run.series["accuracy"]
            assert accuracies.max() == run.fields.accuracy == accuracies[run.fields.epoch]
            _, x_test, _, y_test = digits.halves(run.params.seed)
            model = joblib.load(run.files["model.joblib"].path())
            assert model.score(x_test, y_test) == run.fields.test_accuracy
            assert "logs/train.txt" in run.files
        commits = stored.executions.git_commit.dropna().unique().tolist()
    digits.report()
    board = capsys.readouterr().out
    assert "test_accuracy" in board
    assert f"made by commit {commits[0] if commits else 'none'}" in board
