"""Experiments are copied to another database some runs at a time."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import (
    CorruptData,
    ExperimentExists,
    ExperimentNotFound,
    InvalidInput,
    StoreError,
)
from mltraq_prefect.storage import Store, copying
from tests.values import assert_same_experiment

NAME = "to copy"
RUNS = 9


@pytest.fixture(autouse=True)
def four_runs_at_once(monkeypatch):
    monkeypatch.setattr(copying, "RUNS_AT_ONCE", 4)


@pytest.fixture
def url(shared_url):
    return shared_url


@pytest.fixture
def source(url):
    with closing(Store(url)) as store:
        yield store


@pytest.fixture
def other(tmp_path):
    return f"sqlite:///{tmp_path}/other.db"


@pytest.fixture
def target(other):
    with closing(Store(other)) as store:
        yield store


def step(run):
    for epoch in range(run.params.N):
        run.log(loss=epoch / 7)
    run.fields.array = np.arange(3_000.0) + run.params.N
    run.fields.object = {"a": (run.params.N, None)}
    run.fields["values"] = [run.params.N]
    run.files["text.txt"] = b"%d" % run.params.N


def fill(url):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment(NAME, own=(1, 2))
        experiment.tags, experiment.note = {"team": "vision"}, "é"
        experiment.add_runs(N=range(RUNS)).execute(step, backend="local").persist()


def copy(source, target, mode="fail"):
    counts = []
    copying.copy(source, target, NAME, mode, counts.append)
    return counts


def count_of(store):
    return [(row["runs"], row["completed"]) for row in store.ls() if row["name"] == NAME]


def content(url):
    with mltraq.create_session(url) as session:
        experiment = session.load(NAME)
        texts = [run.files["text.txt"].path().read_bytes() for run in experiment.runs.values()]
        return experiment, texts, pd.concat([run.series for run in experiment.runs.values()])


@pytest.mark.parametrize("is_back", [False, True])
def test_a_copy_has_all_in_its_order(url, other, *, is_back):
    here, there = (other, url) if is_back else (url, other)
    fill(here)
    with closing(Store(here)) as source, closing(Store(there)) as target:
        assert copy(source, target) == [4, 4, 1]
    (experiment, texts, rows), (found, texts_found, rows_found) = map(content, (here, there))
    assert_same_experiment(found, experiment)
    assert texts == texts_found
    pd.testing.assert_frame_equal(rows, rows_found)
    assert (found.tags, found.note, found.fields.own) == ({"team": "vision"}, "é", (1, 2))
    assert found.executions.index.tolist() == experiment.executions.index.tolist()
    assert found.runs.df(ledger=True).equals(experiment.runs.df(ledger=True))


def test_a_second_copy_adds_nothing(url, source, target):
    fill(url)
    copy(source, target)
    with pytest.raises(ExperimentExists):
        copy(source, target)
    assert copy(source, target, "merge") == [4, 4, 1]
    assert count_of(target) == [(RUNS, RUNS)]
    assert copy(source, target, "replace") == [4, 4, 1]
    assert count_of(target) == [(RUNS, RUNS)]


def set_steps(store, id_run, steps):
    with store._database.writing("test") as transaction:
        transaction.run("UPDATE experiment_runs SET steps = ? WHERE id_run = ?", (steps, id_run))


def test_a_merge_copies_what_is_left_after_a_failure(url, source, target):
    fill(url)
    id_run = source.read(NAME).runs[5].id_run
    sql = "SELECT steps FROM experiment_runs WHERE id_run = :id_run"
    ((steps,),) = source.query(sql, {"id_run": id_run})[1]
    set_steps(source, id_run, "[")
    with pytest.raises(CorruptData):
        copy(source, target)
    assert count_of(target) == [(4, 4)]
    set_steps(source, id_run, steps)
    assert copy(source, target, "merge") == [4, 4, 1]
    assert count_of(target) == [(RUNS, RUNS)]


@pytest.mark.parametrize("mode", ["fail", "merge", "replace"])
def test_one_that_is_nowhere_is_not_found(source, target, mode):
    with pytest.raises(ExperimentNotFound, match=NAME):
        copy(source, target, mode)


def test_it_does_not_replace_itself(url, source):
    fill(url)
    with closing(Store(url)) as same, pytest.raises(InvalidInput, match="the same database"):
        copy(source, same, "replace")
    assert count_of(source) == [(RUNS, RUNS)]


def test_one_that_is_deleted_there_meanwhile_is_told(url, source, target):
    fill(url)
    with pytest.raises(StoreError, match="deleted or replaced in the other database"):
        copying.copy(source, target, NAME, "fail", lambda _count: target.delete(NAME))


def test_one_that_is_replaced_here_meanwhile_is_told(url, source, target):
    fill(url)

    def replaced(_count):
        with mltraq.create_session(url) as session:
            session.add_experiment(NAME).add_runs(N=range(20)).persist("replace")

    with pytest.raises(StoreError, match="was replaced while it was copied"):
        copying.copy(source, target, NAME, "fail", replaced)


def test_one_without_runs_is_copied(url, source, target):
    with mltraq.create_session(url) as session:
        session.add_experiment(NAME, own=1).persist()
    assert copy(source, target) == [0]
    assert count_of(target) == [(0, 0)]


def test_what_is_wrong_in_another_experiment_does_not_keep_it(url, source, target):
    fill(url)
    with mltraq.create_session(url) as session:
        session.add_experiment("other").persist()
    with source._database.writing("test") as transaction:
        transaction.run("UPDATE experiments SET run_columns = '[' WHERE name = 'other'")
    assert copy(source, target) == [4, 4, 1]
    assert count_of(target) == [(RUNS, RUNS)]


def test_steps_that_are_none_are_corrupt_for_a_merge_too(url, source):
    fill(url)
    record = replace(source.read(NAME), snapshot=None)  # who does not know them compares them
    for run in record.runs:
        run.ledger.steps = {"another": "1"}
    for steps in ("[", "[1]"):
        set_steps(source, record.runs[5].id_run, steps)
        with pytest.raises(CorruptData, match=r"are not steps|is corrupt: JSON"):
            source.write(record, "merge")
