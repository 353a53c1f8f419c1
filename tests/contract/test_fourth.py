"""A fourth kind of database through the public API: one small module is all that it took."""

import contextlib
import datetime as dt
import math
import subprocess
import sys
import threading
import uuid

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import (
    ExperimentExists,
    ExperimentNotFound,
    InvalidInput,
    ReadOnlyStore,
    StorageUnavailable,
)
from mltraq_prefect.storage.sql.dialects import DIALECTS
from tests.contract.fourth import DuckDB
from tests.contract.test_names import HOSTILE
from tests.values import assert_identical, assert_same_experiment

VALUES = {
    "number": [1.5, math.nan, math.inf, -math.inf, -0.0, 0.0, 0.1 + 0.2, 5e-324],
    "count": [1, -(2**63), 2**63 - 1, 2**63, -(2**200), None, True, 0],
    "flag": [True, False],
    "note": [
        "",
        "é\u0301😀",
        "nul\0",
        "\ud800",
        "x" * 70_000,
        "'; DROP TABLE e_all; --",
        "%s :x {e}",
    ],
    "raw": [b"", b"\0\xff'\\x41", bytes(range(256)) * 300],
    "when": [
        dt.datetime(1, 1, 1),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
        dt.datetime(2026, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    ],
    "day": [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
    "hour": [dt.time(), dt.time(23, 59, 59, 999999), dt.time(1, tzinfo=dt.UTC)],
    "identity": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "tree": [{"a": [1, 2.5, None, {"b": "é"}]}, [1, (2, 3)], {1: math.nan}, (), [2**70]],
    "array": [np.arange(12.0).reshape(3, 4), np.zeros(30_000), np.array(["2026", "NaT"], "M8[ns]")],
    "scalar": [np.float32(0.1), np.int8(-3), np.datetime64("2026-01-01T00:00:00.000000001", "ns")],
    "frame": [
        pd.DataFrame({"n": [1, 2], "t": ["x", None]}, index=pd.Index([5, 6], name="i")),
        pd.Series([1.5, None], name="s"),
    ],
    "mixed": [1, 1.5, "text", None, b"bytes", [1], np.arange(3)],
}
"""A field each; other runs do not have it."""


@contextlib.contextmanager
def registered(dialect=None):
    """Let the package know of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DIALECTS, "duckdb", dialect or DuckDB())
        yield


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    with registered():
        yield f"duckdb:///{tmp_path}/store.duckdb" if request.param == "file" else "duckdb://"


@pytest.fixture
def path(tmp_path):
    with registered():
        yield tmp_path / "own.duckdb"


def fill(experiment):
    experiment.add_runs(N=range(8), pair=[(1, 2)])
    for place, run in enumerate(experiment.runs.values()):
        run.fields.update({key: some[place] for key, some in VALUES.items() if place < len(some)})
    return experiment


def fields_of(session, name, key):
    return [run.fields.get(key) for run in session.load(name).runs.values()]


def test_every_value_comes_back_and_sql_sees_what_is_natural(session):
    experiment = fill(session.add_experiment("all", note="é", when=VALUES["when"][2])).persist()
    assert_same_experiment(session.load("all"), experiment)
    kept = session.query("SELECT number, day, hour FROM e_all WHERE number = :x", {"x": 1.5})
    assert kept.values.tolist() == [[1.5, dt.date(1, 1, 1), dt.time()]]
    ((count, infinite),) = session.query(
        "SELECT count(*), count(*) FILTER (WHERE isinf(number)) FROM e_all"
    ).values.tolist()
    assert (count, infinite) == (8, 2)
    tree = experiment.query("SELECT tree->>'$.a[1]' AS x FROM {experiment} WHERE flag")["x"]
    assert tree.tolist() == ["2.5"]


def test_copies_to_and_from_sqlite_are_the_same(session, tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as other:
        experiment = fill(session.add_experiment("all", note="é")).persist()
        assert_same_experiment(other.persist(session.load("all")), experiment)
        assert_same_experiment(other.load("all"), experiment)
        experiment.delete()
        session.persist(other.load("all"))
        assert_same_experiment(session.load("all"), experiment)
        other.persist(session.load("all"), if_exists="merge")
        session.persist(other.load("all"), if_exists="merge")
        assert [*other.ls()["revision"], *session.ls()["revision"]] == [1, 1]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
def test_hostile_names(session):
    for number, name in enumerate(HOSTILE):
        experiment = session.add_experiment(name)
        with experiment.run(number=number) as run:
            run.fields.update({name: number, "n": number})
        experiment.persist()
    keys = session.add_experiment("keys")
    keys.add_run().fields.update({key: number for number, key in enumerate(HOSTILE)})
    keys.persist()
    assert_same_experiment(session.load("keys"), keys)
    assert sorted(session.ls()["name"]) == sorted([*HOSTILE, "keys"])
    for number, name in enumerate(HOSTILE):
        found = session.load(name)
        assert fields_of(session, name, name) == [number]
        assert found.query("SELECT n FROM {experiment}")["n"].tolist() == [number]


def test_fail_replace_merge_and_delete(session):
    first = session.add_experiment("modes").add_runs(N=[1, 2])
    for run in first.runs.values():
        run["n"] = run.params.N
    first.persist()
    again = session.add_experiment("modes").add_runs(N=[2, 3])
    for run in again.runs.values():
        run.fields.update(n=run.params.N + 0.5, large=np.full(9_000, run.params.N))
    with pytest.raises(ExperimentExists):
        again.persist()
    again.persist(if_exists="merge")
    assert_identical(fields_of(session, "modes", "n"), [1, 2.5, 3.5])
    found = session.query("SELECT n, typeof(n) AS t FROM e_modes ORDER BY n")
    assert found.values.tolist() == [[1.0, "DOUBLE"], [2.5, "DOUBLE"], [3.5, "DOUBLE"]]
    assert session.load("modes").info()["run_count"] == 3
    session.add_experiment("modes").add_runs(x=["a", "b"]).persist(if_exists="replace")
    loaded = session.load("modes")
    assert [dict(run.params) for run in loaded.runs.values()] == [{"x": "a"}, {"x": "b"}]
    assert session.query("SELECT * FROM e_modes").columns.tolist() == ["id_run"]
    assert session.query("SELECT count(*) AS n FROM experiment_values")["n"].tolist() == [0]
    loaded.delete()
    assert session.ls().empty
    with pytest.raises(ExperimentNotFound):
        session.load("modes")
    tables = session.query("SELECT table_name AS t FROM duckdb_tables()")["t"]
    assert not [name for name in tables if name.startswith(("e_", "new_", "old_"))]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([1, 2], [1.5, 2]),
        ([2**63 - 1, 2], [0.5, 2]),
        ([None, None], ["text", b"x"]),
        ([None, None], [dt.date(2020, 1, 1), None]),
        ([True, False], [3, -0.0]),
        ([0.5, math.nan], [1, "text"]),
        (["a", "b"], [np.zeros(5_000), None]),
    ],
)
def test_columns_of_other_kinds(session, old, new):
    experiment = session.add_experiment("kinds").add_runs(N=[0, 1])
    for values in (old, new):
        for run, value in zip(experiment.runs.values(), values, strict=True):
            run["x"] = value
        experiment.persist(if_exists="merge")
        assert_identical(fields_of(session, "kinds", "x"), values)
    part = session.load("kinds", columns=[])
    for run in part.runs.values():
        run["y"] = run.params.N / 2
    part.persist(if_exists="merge")
    assert_identical(fields_of(session, "kinds", "x"), new)
    assert_identical(fields_of(session, "kinds", "y"), [0.0, 0.5])


def test_steps_and_what_is_pending(session):
    experiment = session.add_experiment("steps").add_runs(N=range(20))
    experiment.execute(toss, backend="local", checkpoint=True)
    assert session.ls(pending="measure")["name"].tolist() == ["steps"]
    stored = session.load("steps", columns=["tossed"], pending="measure")
    stored.execute(measure, backend="local").persist(if_exists="merge")
    assert session.ls(pending="measure").empty
    mean = session.query("SELECT avg(mean) AS m FROM e_steps")["m"].tolist()
    assert mean == [pytest.approx(np.mean(fields_of(session, "steps", "mean")))]


def toss(run):
    run.fields.tossed = run.rng.random(3_000)


def measure(run):
    run.fields.mean = float(run.fields.tossed.mean())


def test_pickles(session, monkeypatch):
    monkeypatch.setenv("MLTRAQ_PICKLE_KEY", "k" * 32)
    experiment = session.add_experiment("pickled").add_runs(N=[1])
    experiment.persist(store_pickle=True)
    assert_same_experiment(session.load("pickled", pickle=True), experiment)


def test_a_file_that_grows_is_measured(path):
    with mltraq.create_session(f"duckdb:///{path}") as session:
        experiment = session.add_experiment("sized").add_runs(N=range(10))
        for run in experiment.runs.values():
            run["x"] = run.rng.random(50_000)
        experiment.persist()
        assert 4_000_000 < session.ls()["bytes"][0] < 6_000_000


def test_a_query_changes_nothing(session):
    fill(session.add_experiment("all")).persist()
    for sql in ("DELETE FROM e_all", "DROP TABLE e_all"):
        with pytest.raises(mltraq.errors.QueryFailed):
            session.query(sql)
    assert len(session.load("all").runs) == 8


def test_an_error_shows_no_value(session):
    experiment = session.add_experiment("secret")
    experiment.add_run()["x"] = "hunter2"
    experiment.persist()
    with pytest.raises(mltraq.errors.QueryFailed, match="Conversion Error") as caught:
        session.query("SELECT CAST(x AS INTEGER) FROM e_secret")
    assert "hunter2" not in str(caught.value)


def test_threads_merge_into_one_experiment(url):
    with mltraq.create_session(url) as session:
        barrier, errors = threading.Barrier(5), []

        def work(number):
            experiment = session.add_experiment("shared")
            with experiment.run(N=number) as run:
                run.fields.update({"n": number, f"own {number % 3}": number / 2})
            barrier.wait()
            try:
                experiment.persist(if_exists="merge")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(fields_of(session, "shared", "n")) == list(range(5))
        for own in range(3):
            found = [n for n in fields_of(session, "shared", f"own {own}") if n is not None]
            assert sorted(found) == [number / 2 for number in range(5) if number % 3 == own]


def test_what_cannot_be_written_or_reached(path):
    with mltraq.create_session(f"duckdb:///{path}") as session:
        experiment = session.add_experiment("one").add_runs(N=[1]).persist()
    with mltraq.create_session(f"duckdb:///{path}?access_mode=read_only") as session:
        assert_same_experiment(session.load("one"), experiment)
        with pytest.raises(ReadOnlyStore, match="cannot be written"):
            session.load("one").delete()
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(StorageUnavailable, match=r"cannot be reached: .*lock"):
            mltraq.create_session(f"duckdb:///{path}")
        other.communicate(b"\n")


def test_one_whose_statements_commit(path):
    """As if it could not undo what changes tables: a table is then filled beside the old one."""
    kind = DuckDB()
    kind.ddl_commits = True
    with registered(kind), mltraq.create_session(f"duckdb:///{path}") as session:
        for value in (1, "text", 1.5):
            experiment = session.add_experiment("again").add_runs(N=[1, 2])
            for run in experiment.runs.values():
                run[f"own {value}"] = value
            assert_same_experiment(session.persist(experiment, if_exists="replace"), experiment)
            assert_same_experiment(session.load("again"), experiment)
        tables = session.query("SELECT table_name AS t FROM duckdb_tables()")["t"]
        assert [name for name in tables if not name.startswith("experiment")] == ["e_again"]


def test_only_the_tests_know_it():
    with pytest.raises(InvalidInput, match="no support for duckdb databases"):
        mltraq.create_session("duckdb://")
