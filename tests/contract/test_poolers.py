"""Behind pgbouncer in transaction mode, where each transaction may get another connection."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from tests import servers
from tests.behind import pgbouncer
from tests.contract.integrity import assert_sound

SESSIONS = 8
MERGES = 6
RUNS = 60
"""Of a merge: more than are updated one by one."""


@pytest.fixture(scope="module")
def pooled():
    """URLs of a database: through a pgbouncer, and direct."""
    with (
        servers.counted_postgresql_database() as direct,
        pgbouncer(direct) as pooler,
    ):
        yield pooler.url, direct


def use(url, number):
    """Do what a session does, each statement more often than a driver waits to prepare it."""
    name = f"of session {number}"
    with mltraq.create_session(url) as session:
        for merge in range(MERGES):
            experiment = session.add_experiment(name).add_runs(x=range(RUNS * (merge + 1)))
            for run in experiment.runs.values():
                run.fields |= {"number": number, "merge": merge}
            experiment.persist("merge")
            loaded = session.load(name)
            found = {(run.fields.number, run.fields.merge) for run in loaded.runs.values()}
            assert found == {(number, merge)}
            assert set(session.frame(name)["number"]) == {number}
            sql = "SELECT count(*) AS n FROM {experiment} WHERE number = :n"
            assert loaded.query(sql, {"n": number})["n"].tolist() == [RUNS * (merge + 1)]
    return name


def test_sessions_that_share_connections_get_what_is_theirs(pooled):
    url, direct = pooled
    with ThreadPoolExecutor(SESSIONS) as threads:
        names = list(threads.map(use, [url] * SESSIONS, range(SESSIONS)))
    with mltraq.create_session(direct) as session:
        assert session.ls()["name"].tolist() == names
        assert len(session.verify()) == 0
    assert_sound(direct)


def log_and_square(run):
    run.log(x=run.params.x)
    run.fields.square = run.params.x**2


def test_a_checkpointed_sweep(pooled):
    url, _ = pooled
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(x=range(40))
        experiment.execute(log_and_square, checkpoint=True, backend="local")
        stored = session.load("sweep")
        for run in stored.runs.values():
            assert run.fields.square == run.params.x**2
            assert run.series["x"].tolist() == [run.params.x]
        stored.delete()


def test_the_options_of_a_url_which_a_pooler_refuses(pooled):
    url = sa.make_url(pooled[0]).update_query_dict({"options": "-csearch_path=public"})
    with pytest.raises(mltraq.StoreError, match="ALTER ROLE user IN DATABASE database SET search_"):
        mltraq.create_session(url.render_as_string(hide_password=False))
