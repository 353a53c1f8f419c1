"""Stretches of runs of one standing say of each run what was noted of it last."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.format_4 import OLD_INDEX, TABLE_CHANGES, VALUE_CHANGES
from mltraq_prefect.storage.formats.schema import add_columns
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.reading.pending import Pending
from mltraq_prefect.storage.sql.connections import Database
from mltraq_prefect.storage.tables import standings, stretches
from mltraq_prefect.storage.values.kinds import KEY
from tests.contract.integrity import assert_sound
from tests.contract.records import make_record
from tests.contract.test_run_steps import FACTS, executed

STEPS = ('{"a": "1"}', '{"a": "2", "b": "1"}', "{}")

positions = st.sets(st.integers(0, 60) | st.integers(2_000, 2_010) | st.just(10**6), min_size=1)
changes = st.lists(st.tuples(positions, st.sampled_from([*STEPS, None])), max_size=12)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    own = Store(f"sqlite:///{tmp_path_factory.mktemp('stretches')}/one.db")
    own.check()
    yield own
    own.close()


def noted(places, steps):
    """Return the stretches of completed runs, given in any order."""
    count = len(places)
    return stretches.made_of(places, ["completed"] * count, [steps] * count, [None] * count)


def places_by_standing(transaction, few):
    """Return the places of each standing, if so many stretches are read at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(standings, "FEW", few)
        found = standings.find(transaction, "x")
        return [standings.places(transaction, "x", [own]) for own in found]


@settings(deadline=None, max_examples=60)
@given(changes)
def test_they_are_what_was_noted_last_in_the_fewest_rows(store, made):
    expected = {}
    with store._database.writing("test") as transaction:
        stretches.begin(transaction, "x", noted([70], STEPS[0]))
        expected[70] = STEPS[0]
        for places, steps in made:
            if steps is None:
                stretches.drop(transaction, "x", sorted(places))
                expected = {place: own for place, own in expected.items() if place not in places}
            else:
                stretches.put(transaction, "x", noted(list(places), steps))
                expected |= dict.fromkeys(places, steps)
            if not expected:  # nothing known: the ledger, which is empty here, would be read
                return
        found = stretches.stored(transaction, "x")
        by_standing, same = (places_by_standing(transaction, few) for few in (standings.FEW, 0))
    keys = {place: one.standing for one in found for place in range(one.first, one.last + 1)}
    assert keys == {
        place: stretches.standing_of("completed", steps, None)[0]
        for place, steps in expected.items()
    }
    ends = itertools.pairwise(found)
    assert all(one.last + 1 < two.first or one.standing != two.standing for one, two in ends)
    assert by_standing == same
    assert sorted(place for own in by_standing for place in own) == [
        (one.first, one.last) for one in found
    ]


RUNS = [executed(0, toss=FACTS, score=FACTS), *(executed(n, toss=FACTS) for n in (1, 2))]


def of_format_3(url, *, is_read=False):
    """Write runs; return the database, whose tables are as they were in format 3."""
    store = Store(url)
    store.write(make_record(runs=RUNS), "fail")
    store.close()
    database = Database(url, migrations=MIGRATIONS)
    with database.writing("test") as transaction:
        add_columns(transaction, "experiment_runs", {"standing": KEY})
        transaction.run(f"CREATE INDEX {OLD_INDEX} ON experiment_runs (id_experiment, standing)")
        if is_read:
            transaction.run("CREATE VIEW theirs AS SELECT id_run, standing FROM experiment_runs")
        if transaction.dialect.name == "postgresql":
            transaction.run("ALTER TABLE experiment_runs RESET (fillfactor)")
        transaction.run("DROP TABLE experiment_standings")
        transaction.run("DELETE FROM experiment_format")
        transaction.run("INSERT INTO experiment_format (version, package) VALUES (3, '0.3.0')")
    return database


def assert_migrates(database, url, *, is_read=False):
    migrated = Store(url)
    pending = migrated.read("coin toss", pending=Pending("score")).runs
    assert {run.id_run for run in pending} == {run.id_run for run in RUNS[1:]}
    with database.reading() as transaction:
        assert OLD_INDEX not in transaction.dialect.indexes(
            transaction.connection, "experiment_runs"
        )
        assert is_read or "standing" not in transaction.columns("experiment_runs")
        ((id_experiment,),) = transaction.rows("SELECT id_experiment FROM experiments")
        assert len(stretches.stored(transaction, id_experiment)) == 2
        if transaction.dialect.name == "postgresql":
            sql = "SELECT reloptions FROM pg_class WHERE oid = CAST('experiment_runs' AS regclass)"
            assert transaction.rows(sql) == [(["fillfactor=45"],)]
    migrated.close()
    assert_sound(url)


@pytest.mark.parametrize("is_read", [False, True], ids=["alone", "read by a view"])
def test_standings_of_format_3_become_stretches(shared_url, is_read):
    database = of_format_3(shared_url, is_read=is_read)
    assert_migrates(database, shared_url, is_read=is_read)


def kill_after(changes, database):
    with database.writing("test") as transaction:
        for change in changes:
            change(transaction)
        if transaction.has_table("experiment_standings") and transaction.rows(
            "SELECT 1 FROM experiment_standings"
        ):  # what is filled no older package makes wrong: it cannot write any more
            assert "standing" not in transaction.columns("experiment_runs")
        raise KeyboardInterrupt


def test_a_migration_that_was_killed_anywhere_is_repeated(shared_url):
    database, changes = of_format_3(shared_url), (*TABLE_CHANGES, *VALUE_CHANGES)
    for end in range(1, len(changes) + 1):
        with pytest.raises(KeyboardInterrupt):
            kill_after(changes[:end], database)
    assert_migrates(database, shared_url)
