"""The main job: two flows that share only the database."""

import math

import pytest

import mltraq_prefect as mltraq
from flows import coin_toss
from tests.servers import postgresql_database

pytestmark = pytest.mark.usefixtures("prefect_server")

EXACT = {1: 0.3200000, 25: 0.0627248, 50: 0.0447421, 100: 0.0317761}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, url, monkeypatch):
    if request.param == "sqlite":
        monkeypatch.setenv("MLTRAQ_DATABASE_URL", url)
        yield url
        return
    with postgresql_database() as server_url:
        monkeypatch.setenv("MLTRAQ_DATABASE_URL", server_url)
        yield server_url


def test_the_expectation_is_de_moivres():
    for n, exact in EXACT.items():
        assert coin_toss.expected_error(n, 0.8) == pytest.approx(exact, abs=5e-8)
        brute = sum(
            math.comb(n, k) * 0.8**k * 0.2 ** (n - k) * abs(k / n - 0.8) for k in range(n + 1)
        )
        assert coin_toss.expected_error(n, 0.8) == pytest.approx(brute, rel=1e-9)


def test_toss_and_evaluate_share_only_the_database(database, capsys):
    coin_toss.toss()
    with mltraq.create_session() as session:
        stored = session.load("coin_toss")
        assert all(set(run.fields) == {"n", "errors"} for run in stored.runs.values())
        assert stored.runs.first().fields.errors.shape == (10_000,)
    coin_toss.evaluate()
    with mltraq.create_session() as session:
        first = session.query(coin_toss.QUERY)
    assert list(first["n"]) == [1, 25, 50, 100]
    for row in first.itertuples():
        assert abs(row.error - EXACT[row.n]) / row.standard_error < 4

    coin_toss.toss()
    coin_toss.evaluate()
    with mltraq.create_session() as session:
        assert session.query(coin_toss.QUERY).equals(first)

    coin_toss.report()
    assert len(capsys.readouterr().out.strip().splitlines()) == 5
