"""A replica of PostgreSQL, which streams from its primary, and can be read and not written."""

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.cli import main
from tests import servers
from tests.behind import Replica


@pytest.fixture(scope="module")
def followed():
    """URLs of a database by its primary and by its replica, and the replica."""
    with servers.private_postgresql() as primary, Replica(primary.url) as replica:
        url = servers.new_database(primary.url)
        yield url, replica.url_of(url), replica


def score(run):
    for epoch in range(3):
        run.log(loss=1 / (epoch + run.params.i + 1))
    run.fields.score = {run.params.i: (1.5, None)}


def test_a_replica_is_read_and_a_write_is_refused_before_anything_is_executed(
    followed, tmp_path, capsys
):
    url, replica_url, replica = followed
    with mltraq.create_session(url) as primary:
        primary.add_experiment("scores").add_runs(i=range(4)).execute(
            score, backend="local"
        ).persist()
    replica.catch_up()
    with mltraq.create_session(replica_url) as session:
        assert session.ls()["name"].tolist() == ["scores"]
        loaded = session.load("scores")
        assert [run.fields.score for run in loaded.runs.values()] == [
            {i: (1.5, None)} for i in range(4)
        ]
        assert [len(run.series) for run in loaded.runs.values()] == [3] * 4
        assert session.frame("scores")["i"].tolist() == [0, 1, 2, 3]
        assert len(session.load("scores", where="i > :i", params={"i": 1}).runs) == 2
        assert session.query("SELECT count(*) AS n FROM s_scores")["n"].tolist() == [12]
        assert len(session.verify()) == 0
        page = f"{tmp_path}/a.html"
        assert main(["--database", replica_url, "report", "scores", "--output", page]) == 0

        loaded.runs.first().fields.more = 1
        new = session.add_experiment("new").add_runs(i=[1])
        executed = []
        for write in (
            lambda: loaded.persist("merge"),
            new.persist,
            loaded.delete,
            lambda: loaded.execute(executed.append, checkpoint=True, backend="local"),
            lambda: new.execute(executed.append, checkpoint=True, backend="local"),
        ):
            with pytest.raises(mltraq.errors.ReadOnlyStore, match="read-only transaction"):
                write()
        assert executed == []
    assert main(["--database", replica_url, "doctor"]) == 0
    assert "cannot be written" in capsys.readouterr().out


def test_an_empty_replica_says_that_its_tables_are_made_elsewhere(followed):
    url, _, replica = followed
    empty = replica.url_of(servers.new_database(url))
    replica.catch_up()
    with mltraq.create_session(empty) as session:
        assert session.ls().empty
        with pytest.raises(mltraq.errors.ReadOnlyStore, match="read-only transaction"):
            session.add_experiment("a").add_runs(i=[1]).persist()
