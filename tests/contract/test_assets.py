"""A database of each format version is read, and written, as if it had been made today."""

import shutil

import numpy
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.sql.migrations import newest
from tests.contract.assets import FOLDER, record_1
from tests.contract.records import assert_same_runs
from tests.values import assert_identical

RECORDS = {1: record_1, 2: record_1, 3: record_1, 4: record_1}
PICKLED = FOLDER / "pickle-1.db"
"""Has the pickle of an experiment, signed with `PICKLE_KEY`, that was loaded and merged before."""
PICKLE_KEY = "a-key-for-the-tests-alone"


@pytest.fixture(params=sorted(RECORDS))
def old(request, tmp_path):
    """A copy of an old database, and what it holds."""
    shutil.copy(FOLDER / f"format-{request.param}.db", tmp_path / "old.db")
    with_path = Store(f"sqlite:///{tmp_path}/old.db")
    yield with_path, RECORDS[request.param]()
    with_path.close()


def test_there_is_one_of_each_version():
    assert set(RECORDS) == set(range(1, newest(MIGRATIONS) + 1))
    assert {path.name for path in FOLDER.glob("format-*.db")} == {f"format-{n}.db" for n in RECORDS}


def test_it_is_read(old):
    store, expected = old
    found = store.read("coin toss")
    assert found.id_experiment == expected.id_experiment
    assert_identical(expected.fields, dict(found.fields))
    assert_same_runs(found.runs, expected.runs)


def test_what_was_written_then_is_not_written_again(old):
    store, expected = old
    assert not store.write(expected, "merge").changed


def test_it_is_written(old):
    store, _ = old
    loaded = store.read("coin toss", columns=["bool"])
    for run in loaded.runs:
        run["added"] = 1.5
    store.write(loaded, "merge")
    assert store.query("SELECT sum(added) FROM {e}", names={"e": "coin toss"})[1] == [(3.0,)]


def test_a_pickle_of_format_1_is_loaded_and_merged(tmp_path, monkeypatch):
    monkeypatch.setenv("MLTRAQ_PICKLE_KEY", PICKLE_KEY)
    shutil.copy(PICKLED, tmp_path / "old.db")
    with mltraq.create_session(f"sqlite:///{tmp_path}/old.db") as session:
        experiment = session.load("pickled", pickle=True)
        first, second = experiment.runs.values()
        assert [run.locals.scratch for run in (first, second)] == [{"n": 1}, {"n": 2}]
        assert_identical(second.fields.squares, numpy.array([0, 1]))
        assert list(first.ledger.steps) == ["step"]
        first.fields.total = 5.0
        experiment.persist(if_exists="merge")
        totals = session.query("SELECT total FROM e_pickled ORDER BY total").total
        assert list(totals) == [2.0, 5.0]
