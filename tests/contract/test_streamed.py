"""A grid that is streamed is in the tables as any other, on every backend."""

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints import streamed
from mltraq_prefect.model import grid

LEDGER = "SELECT id_run, position, state FROM experiment_runs ORDER BY position"


def draw(run):
    run.fields.y = run.params.N * run.rng.random()


def swept(url, runs):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(runs), k=[1, 1])
        experiment.execute(draw, backend="local", checkpoint=True)
        listed = session.ls()[["runs", "completed", "pending"]].iloc[0].tolist()
        rows = session.query(LEDGER).to_dict("list")
        return listed, rows, session.load("sweep").runs.df(params=True).to_dict("list")


def test_it_is_stored_in_portions_as_if_it_were_small(url, monkeypatch):
    expected = swept("sqlite://", 12)
    monkeypatch.setattr(grid, "MAX_POINTS", 10)
    monkeypatch.setattr(streamed, "PORTION", 10)
    swept(url, 6)
    assert swept(url, 12) == expected
    assert expected[0] == [24, 24, 0]


def test_runs_that_are_listed_are_found_by_their_step(shared_url, monkeypatch):
    monkeypatch.setattr(grid, "MAX_POINTS", 10)
    monkeypatch.setattr(streamed, "PORTION", 10)

    def fail(run):
        raise ValueError(run.params.N)

    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(30))
        with pytest.raises(mltraq.RunsFailed):
            experiment.execute(fail, backend="local", checkpoint=True, max_failures=3)
        assert len(session.load("sweep", pending="fail").runs) == 27
        assert len(session.load("sweep", pending="fail", failed=True).runs) == 30
