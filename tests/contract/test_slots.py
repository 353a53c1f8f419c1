"""Slots of a schedule that were lost, or not executed to the end, on every backend."""

import datetime as dt

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import FieldNotFound, InvalidInput

HOUR = dt.timedelta(hours=1)
NOW = dt.datetime(2026, 3, 1, 12, 34, 56, 789, dt.UTC)
THIS = NOW.replace(minute=0, second=0, microsecond=0)
BERLIN = dt.timezone(dt.timedelta(hours=2))


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    """An hour of the clock would end in the midst of a test now and then."""
    for module in ("slots", "retention"):
        name = f"mltraq_prefect.storage.maintenance.{module}.utc_now"
        monkeypatch.setattr(name, lambda: NOW.replace(tzinfo=None))


def ago(*hours):
    return [THIS - hour * HOUR for hour in hours]


def toss(run):
    run.fields.heads = 1
    if run.params.n == 2:
        raise ValueError("n is 2")


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


def test_slots_that_are_lost_or_pending_are_missing_and_failed_ones_are_not(session):
    by_hand = THIS - 7 * HOUR + dt.timedelta(minutes=12, seconds=34)
    done = [by_hand, *ago(6, 4, 1)]
    executed = session.add_experiment("tosses").add_runs(n=[1, 2], slot=done)
    executed.execute(toss, backend="local", on_error="keep").persist(on_error="keep")
    (killed,) = ago(3)
    session.add_experiment("tosses").add_runs(n=[1, 2], slot=[killed]).persist("merge")

    def missing(*args, **options):
        return session.missing_slots("tosses", *args, **options)

    assert missing("1 hour") == ago(5, 3, 2)
    assert missing(HOUR, latest=True) == ago(5, 3, 2, 0)
    assert missing("1 hour", since=THIS - 4 * HOUR) == ago(3, 2)
    assert missing("1 hour", since=killed.astimezone(BERLIN)) == ago(3, 2)
    assert missing("1 hour", since=NOW - THIS + 2.5 * HOUR) == ago(2)
    assert missing("1 hour", since="300000 weeks") == ago(5, 3, 2)  # before all times
    assert missing("60 minutes", since=THIS - 9 * HOUR) == ago(9, 8, 7, 5, 3, 2)
    listed = [*ago(9, 4, 3), THIS, THIS + HOUR]
    assert missing(listed) == ago(9, 3)
    assert missing(listed, since="4 hours", latest=True) == ago(3, 0)
    half = [one + HOUR / 2 for one in ago(3, 2)]
    assert missing("1 hour", offset="30 minutes", since=half[0] - HOUR / 4)[:2] == half
    assert all(one.tzinfo is dt.UTC for one in missing("1 hour"))

    refilled = session.add_experiment("tosses").add_runs(n=[1, 2], slot=missing("1 hour"))
    refilled.execute(toss, checkpoint=True, backend="local", on_error="keep")
    assert missing("1 hour") == []
    assert len(session.load("tosses").runs) == 2 * 7


def test_nothing_stored_is_nothing_to_begin_with(session):
    assert session.missing_slots("tosses", "1 hour") == []
    assert session.missing_slots("tosses", "1 hour", since=THIS - HOUR) == ago(1)


@pytest.mark.parametrize(
    ("every", "options", "error", "message"),
    [
        ("hourly", {}, InvalidInput, "every is 'hourly'"),
        ("1 hour", {"since": "ever"}, InvalidInput, "since is 'ever'"),
        ("1 hour", {"offset": "-5 minutes"}, InvalidInput, "offset is '-5 minutes'"),
        ("1 minute", {"since": "52 weeks"}, InvalidInput, "slots are due .* give `since`"),
        (["today"], {}, InvalidInput, "a slot is 'today'"),
        ([THIS], {"offset": "1 hour"}, InvalidInput, "offset is of use with an interval"),
        ("1 hour", {"slot": "n"}, InvalidInput, "'n' are not times"),
        ("1 hour", {"slot": "hour"}, FieldNotFound, "no param 'hour'; its params: 'n', 'slot'"),
    ],
)
def test_what_says_no_slots_is_refused(tmp_path, every, options, error, message):
    with mltraq.create_session(f"sqlite:///{tmp_path}/a.db") as session:
        session.add_experiment("tosses").add_runs(n=[1], slot=[THIS]).persist()
        with pytest.raises(error, match=message):
            session.missing_slots("tosses", every, **options)
