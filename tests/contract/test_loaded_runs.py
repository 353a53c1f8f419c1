"""Runs that were loaded are made when somebody asks for one; till then they behave alike."""

import copy
import gc
import json
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect import Run, Runs, StoreError
from mltraq_prefect.storage.sql.transactions import ROWS_AT_ONCE
from mltraq_prefect.storage.values.columns import (
    FEW,
    Constant,
    Texts,
    compact_moments,
    compact_texts,
    gathered,
)

USES = {
    "iterate": lambda runs: [*runs],
    "backwards": lambda runs: [*reversed(runs)],
    "unpack": lambda runs: [*{**runs}],
    "dict": lambda runs: [*dict(runs)],
    "keys": lambda runs: [*runs.keys()],
    "items": lambda runs: [(key, run.id_run) for key, run in runs.items()],
    "params": lambda runs: [run.params.x for run in runs.values()],
    "equal": lambda runs: runs == dict(runs.items()),
    "equal reversed": lambda runs: dict.fromkeys("a") == runs,
    "unequal": lambda runs: runs != {},
    "contains": lambda runs: "no run" in runs,
    "get": lambda runs: runs.get("no run"),
    "copy": lambda runs: len(copy.copy(runs)),
    "pickle": lambda runs: [run.params.x for run in pickle.loads(pickle.dumps(runs)).values()],
    "first": lambda runs: runs.first().params.x,
    "union": lambda runs: len(runs | Runs([Run(params={"x": 99})])),
    "reversed union": lambda runs: len({} | runs),
    "add": lambda runs: (runs.add(Run(params={"x": 9})), len(runs))[1],
    "next": lambda runs: (runs.next(), len(runs))[1],
    "update": lambda runs: (runs.update(other=Run("other")), len(runs))[1],
    "pop": lambda runs: (runs.popitem()[1].params.x, len(runs)),
    "default": lambda runs: (runs.setdefault("other", Run("other")).id_run, len(runs)),
    "clear": lambda runs: (runs.clear(), len(runs))[1],
    "length": len,
    "truth": bool,
    "text": repr,
    "page": lambda runs: runs._repr_html_(),
    "json": lambda runs: json.dumps(runs, default=lambda run: run.id_run),
}


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


def track(run):
    if run.params.x == 3:
        raise ValueError("three")
    if run.params.x > 0:
        run.fields.late = run.params.x / 2
    run.fields.array = np.arange(run.params.x)
    run.fields.param_x = "a text"


def stored(session):
    experiment = session.add_experiment("loaded").add_runs(x=range(6))
    experiment.execute(track, backend="local", on_error="keep").persist(on_error="keep")
    return experiment


@pytest.mark.parametrize("url", ["sqlite-memory"], indirect=True)
def test_loaded_runs_behave_as_runs(session):
    stored(session)
    for use in USES.values():
        made = Runs(session.load("loaded").runs.values())
        assert use(session.load("loaded").runs) == use(made)


def test_a_frame_of_loaded_runs_is_that_of_runs_that_are_made(session):
    stored(session)
    more = session.add_experiment("loaded").add_runs(x=[7])
    more.execute(track, backend="local").persist("merge")
    for columns in (None, ["late"], ["array", "param_x"], []):
        for parts in ({}, {"params": True}, {"ledger": True}, {"params": True, "ledger": True}):
            loaded = session.load("loaded", columns=columns)
            found = loaded.runs.df(**parts)
            made = Runs(loaded.runs.values()).df(**parts)
            assert [*found.columns] == [*made.columns]
            pd.testing.assert_frame_equal(found, made)


def test_what_is_changed_is_in_the_frame_and_is_written(session):
    stored(session)
    loaded = session.load("loaded")
    assert len(loaded.runs.df()) == 6
    run = loaded.runs.first()
    run.fields.late = -1.0
    assert loaded.runs.df()["late"][0] == -1.0
    assert loaded.runs[run.id_run] is run
    loaded.persist("merge", on_error="keep")
    assert session.load("loaded").runs[run.id_run].fields.late == -1.0


def test_threads_get_the_same_runs(session):
    stored(session)
    for _ in range(20):
        runs = session.load("loaded").runs
        with ThreadPoolExecutor(4) as threads:
            found = [*threads.map(lambda _, own=runs: [*own.values()], range(4))]
        assert len({id(run) for part in found for run in part}) == 6


@pytest.mark.parametrize("url", ["sqlite-memory"], indirect=True)
def test_what_was_loaded_is_freed_as_soon_as_nobody_uses_it(session):
    stored(session)
    gc.collect()
    gc.disable()
    try:
        for options in {}, {"where": "x > 0"}, {"columns": []}:
            loaded = session.load("loaded", **options)
            gone = weakref.ref(loaded), weakref.ref(loaded.runs)
            assert len(loaded.runs.df())
            del loaded
            assert [found() for found in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("url", ["sqlite-memory"], indirect=True)
def test_a_run_is_whole_when_its_experiment_is_not_in_memory_any_more(session):
    def step(run):
        run.log(loss=float(run.params.x))
        run.files["x.txt"] = str(run.params.x).encode()

    made = session.add_experiment("tracked").add_runs(x=[1, 2])
    made.execute(step, backend="local").persist()
    run, other = session.load("tracked").runs.values()
    gc.collect()
    assert run.series["loss"].tolist() == [1.0]
    assert run.files["x.txt"].path().read_text() == "1"
    session.load("tracked").delete_runs(where="x = 2")
    with pytest.raises(StoreError, match=r"experiment 'tracked'.*deleted"):
        _ = other.series


@pytest.mark.parametrize("order", ["id_run", "n"])
def test_rows_of_a_table_may_be_in_any_order(shared_url, order):
    count = 450  # so many that their ids are packed
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("loaded").add_runs(x=range(count))
        experiment.execute(track_number, backend="local").persist()
        put_in_order(shared_url, order)
        for columns in (None, []):
            runs = session.load("loaded", columns=columns).runs.values()
            assert [run.params.x for run in runs] == [*range(count)]
        runs = session.load("loaded").runs.values()
        assert all(run.fields.n == -run.params.x for run in runs)


def put_in_order(url, order):
    """Insert the rows of a table anew; where they are kept by their key, they stay as they are."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE moved AS SELECT * FROM e_loaded")
        connection.exec_driver_sql("DELETE FROM e_loaded")
        insert = f"INSERT INTO e_loaded SELECT * FROM moved ORDER BY {order}"
        connection.exec_driver_sql(insert)
        connection.exec_driver_sql("DROP TABLE moved")


def track_number(run):
    run.fields.n = -run.params.x


def test_packed_texts_are_taken_in_any_order():
    texts = [f"{n} \N{GREEK SMALL LETTER MU}"[: n % 7] for n in range(25_000)]
    order = np.random.default_rng(0).permutation(len(texts))
    assert list(Texts(texts).taken(order)) == [texts[place] for place in order]
    assert list(Texts(texts).taken(order[:3])) == [texts[place] for place in order[:3]]
    assert list(Texts([]).taken(order[:0])) == []


@pytest.mark.parametrize("last", [1, FEW, FEW + 1])
def test_columns_take_little_memory_however_few_rows_come_last(last):
    rows = [("same", f"id {n}", None) for n in range(ROWS_AT_ONCE + last)]
    chunks = [rows[:ROWS_AT_ONCE], rows[ROWS_AT_ONCE:]]
    same, ids, nothing = gathered(chunks, [compact_texts, compact_texts, compact_moments])
    assert [type(same), type(ids), type(nothing)] == [Constant, Texts, Constant]
    assert [*zip(same, ids, nothing, strict=True)] == rows
