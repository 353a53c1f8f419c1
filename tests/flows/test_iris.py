"""Predictions are stored by one flow and scored by another, which has no models."""

import pandas as pd
import pytest

import mltraq_prefect as mltraq
from flows import iris

pytestmark = pytest.mark.usefixtures("prefect_server", "one_core")


def test_the_leaderboard_comes_from_stored_predictions(url, monkeypatch, capsys):
    monkeypatch.setenv("MLTRAQ_DATABASE_URL", url)
    iris.generate()
    iris.evaluate()
    with mltraq.create_session() as session:
        stored = session.load("iris")
        accuracy = session.query("SELECT count(*) AS n, min(accuracy) AS worst FROM e_iris")
    assert accuracy["n"][0] == 50
    assert accuracy["worst"][0] > 0.85
    for run in stored.runs.values():
        confusion = run.fields.confusion
        assert isinstance(confusion, pd.DataFrame)
        assert confusion.to_numpy().sum() == 75
        assert confusion.to_numpy().trace() / 75 == pytest.approx(run.fields.accuracy)
    iris.report()
    board = capsys.readouterr().out
    names = ("LogisticRegression", "SVC", "KNeighborsClassifier", "DecisionTreeClassifier")
    assert all(name in board for name in (*names, "GaussianNB"))
