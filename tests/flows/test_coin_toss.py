"""The main job: two flows that share only the database."""

import math
from datetime import UTC, datetime, timedelta

import pytest

import mltraq_prefect as mltraq
from flows import coin_toss

pytestmark = pytest.mark.usefixtures("prefect_server", "one_core")

EXACT = {1: 0.3200000, 25: 0.0627248, 50: 0.0447421, 100: 0.0317761}


@pytest.fixture(autouse=True)
def database(url, monkeypatch):
    monkeypatch.setenv("MLTRAQ_DATABASE_URL", url)


def test_the_expectation_is_de_moivres():
    for n, exact in EXACT.items():
        assert coin_toss.expected_error(n, 0.8) == pytest.approx(exact, abs=5e-8)
        brute = sum(
            math.comb(n, k) * 0.8**k * 0.2 ** (n - k) * abs(k / n - 0.8) for k in range(n + 1)
        )
        assert coin_toss.expected_error(n, 0.8) == pytest.approx(brute, rel=1e-9)


def stored_runs():
    with mltraq.create_session() as session:
        return list(session.load("coin_toss").runs.values())


def stored_means():
    with mltraq.create_session() as session:
        return session.query(coin_toss.QUERY)


def test_two_flows_share_only_the_database_and_each_slot_adds_its_runs_once(caplog, capsys):
    slots = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (0, 1)]
    revisions = []
    for slot in (*slots, slots[0]):
        coin_toss.toss(slot=slot)
        if not revisions:
            runs = stored_runs()
            assert all(set(run.fields) == {"n", "slot", "errors"} for run in runs)
            assert all(run.fields.errors.shape == (10_000,) for run in runs)
        coin_toss.evaluate()
        with mltraq.create_session() as session:
            revisions.append(session.ls()["revision"][0])
    assert revisions[0] < revisions[1] == revisions[2]
    done = "4 of 4 runs completed, 4 resumed: there was nothing to execute"
    assert [message for message in caplog.messages if "nothing to execute" in message] == [
        f"experiment 'coin_toss': {done}"
    ]
    rows = stored_means()
    assert len(stored_runs()) == 8
    assert list(rows["n"]) == [1, 25, 50, 100]
    assert list(rows["slots"]) == [2, 2, 2, 2]
    assert list(rows["replicates"]) == [20_000] * 4
    for row in rows.itertuples():
        assert abs(row.error - EXACT[row.n]) / math.sqrt(row.variance / row.slots) < 4
    with mltraq.create_session() as session:
        found = session.query(coin_toss.SLOTS)
    assert [datetime.fromisoformat(str(slot)).hour for slot in found["slot"]] == [0, 1] * 4
    assert found["error"].nunique() == 8
    coin_toss.report()
    assert len(capsys.readouterr().out.strip().splitlines()) == 5


def test_slots_that_were_lost_or_killed_are_refilled(monkeypatch):
    now = datetime(2026, 3, 1, 12, 34, 56)  # an hour of the clock may end in the midst of this
    monkeypatch.setattr("mltraq_prefect.storage.maintenance.slots.utc_now", lambda: now)
    hour = datetime(2026, 3, 1, 12, tzinfo=UTC)
    done, lost, killed, latest = (hour - timedelta(hours=ago) for ago in (3, 2, 1, 0))
    with mltraq.create_session() as session:
        first = session.add_experiment("coin_toss").add_runs(N=[1, 25, 50, 100], slot=[done])
        kwargs = {"P": coin_toss.BIAS, "K": 10_000}
        first.execute(coin_toss.toss_coins, kwargs, backend="local", checkpoint=True)
        # As it is when a flow is killed at its beginning.
        begun = session.add_experiment("coin_toss").add_runs(N=[1, 25, 50, 100], slot=[killed])
        begun.persist("merge")
    coin_toss.refill()
    with mltraq.create_session() as session:
        found = session.frame("coin_toss", ["slot"], "state = 'completed'")["slot"]
        assert found.value_counts().to_dict() == {done: 4, lost: 4, killed: 4}
        assert session.missing_slots("coin_toss", "1 hour", latest=True) == [latest]
    coin_toss.refill(latest=True)
    with mltraq.create_session() as session:
        assert session.missing_slots("coin_toss", "1 hour", latest=True) == []
        assert len(session.load("coin_toss", columns=[]).runs) == 16


def test_an_evaluation_before_the_first_toss_does_nothing():
    coin_toss.evaluate()
    with mltraq.create_session() as session:
        assert session.ls().empty


def test_a_run_that_fails_costs_its_siblings_nothing(monkeypatch):
    toss_coins, metrics = coin_toss.toss_coins, coin_toss.metrics

    def fragile_toss(run):
        toss_coins(run)
        if run.params.N == 25:
            raise RuntimeError("the coin is lost")

    def fragile_metrics(run):
        metrics(run)
        if run.params.N == 50:
            raise RuntimeError("the abacus is broken")

    for name, fragile in (("toss_coins", fragile_toss), ("metrics", fragile_metrics)):
        fragile.__name__ = name
        monkeypatch.setattr(coin_toss, name, fragile)
    state = coin_toss.toss(return_state=True)
    assert state.is_failed()
    assert "1 of 4 runs failed" in state.message
    with mltraq.create_session() as session:
        (error,) = session.query("SELECT error FROM experiment_runs WHERE error IS NOT NULL")[
            "error"
        ]
    assert "RuntimeError: the coin is lost" in error
    assert coin_toss.evaluate(return_state=True).is_failed()
    with mltraq.create_session() as session:
        failed = session.query("SELECT error FROM experiment_runs WHERE state = 'failed'")
        listed = session.query("SELECT n, error FROM e_coin_toss WHERE error IS NOT NULL")
    assert sorted(listed["n"]) == [1, 100]
    assert any("the abacus is broken" in error for error in failed["error"])
    coin_toss.evaluate()  # the failed run is in quarantine, and blocks nothing
    monkeypatch.setattr(coin_toss, "metrics", metrics)
    coin_toss.evaluate()  # other code: it is tried again
    with mltraq.create_session() as session:
        mended = session.query("SELECT n FROM e_coin_toss WHERE error IS NOT NULL ORDER BY n")
        steps = session.query("SELECT step FROM experiment_runs WHERE state = 'failed'")["step"]
    assert list(mended["n"]) == [1, 50, 100]
    assert list(steps) == ["toss_coins"]
