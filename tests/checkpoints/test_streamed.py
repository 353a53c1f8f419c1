"""Grids that are too large for memory: executed portion by portion, with the same results."""

import gc
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints import resume, streamed
from mltraq_prefect.model import grid
from mltraq_prefect.storage.tables.first_in import FirstIn
from tests.prefect_api import task_runs
from tests.ways import plainly

COLUMNS = ["id_run", "position", "state", "steps", "params"]
LEDGER = f"SELECT {', '.join(COLUMNS)} FROM experiment_runs ORDER BY position"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Grids of more than 20 points are large, and have portions of 10."""
    monkeypatch.setattr(grid, "MAX_POINTS", 20)
    monkeypatch.setattr(streamed, "PORTION", 10)
    monkeypatch.setattr(streamed, "MOST_IN_BATCH", 4)


@pytest.fixture
def at_once(monkeypatch):
    """Return what makes all runs of a grid in memory, as if it were small."""

    def executed(*steps):
        monkeypatch.setattr(grid, "MAX_POINTS", 1000)
        with mltraq.create_session("sqlite://") as other:
            define(other).execute(list(steps), backend="local", checkpoint=True)
            found = stored(other)
        monkeypatch.setattr(grid, "MAX_POINTS", 20)
        return found

    return executed


def define(session, n=12):
    return session.add_experiment("sweep").add_runs(N=range(n), k=[1, 2, 1])


def stored(session):
    frame = session.load("sweep").runs.df(params=True, ledger=True)
    return session.query(LEDGER).to_dict("list"), frame[["id_run", "N", "k", "y"]].to_dict("list")


def draw(run):
    run.fields.y = run.params.N * run.params.k + run.rng.random()


def double(run):
    run.fields.z = 2 * run.fields.y


@plainly
@pytest.mark.parametrize("backend", ["local", "threads", "processes"])
def test_it_is_executed_and_stored_as_if_all_runs_were_in_memory(session, at_once, backend):
    experiment = define(session).execute(draw, backend=backend, checkpoint=True)
    assert len(experiment.runs) == 36
    assert stored(session) == at_once(draw)
    assert experiment._state.content.runs == {}
    assert dict(experiment._state.seen) == {}


def test_task_runs_are_named_by_the_points_that_they_execute(prefect_server, session, at_once):
    define(session).execute(draw, checkpoint=True, backend="prefect", n_jobs=1, runs_per_task=8)
    assert stored(session) == at_once(draw)
    flow_runs = set(session.query("SELECT flow_run_id FROM experiment_runs")["flow_run_id"])
    assert len(flow_runs) == 1
    places = ["1-8", "9-10", "11-18", "19-20", "21-28", "29-30", "31-36"]
    names = {f"draw {own} of 36" for own in places}
    assert task_runs(flow_runs.pop(), len(names)).keys() == names


def test_memory_holds_the_runs_of_a_portion_or_two(session, monkeypatch):
    monkeypatch.setattr(streamed, "PORTION", 5)
    monkeypatch.setattr(resume, "FLUSH_SECONDS", 0.0)

    def count(run):
        if run.params.N == 19 and run.params.k == 2:
            gc.collect()
            run.fields.alive = sum(type(own) is type(run) for own in gc.get_objects())

    gc.collect()
    earlier = [own for own in gc.get_objects() if type(own) is mltraq.Run]  # none goes meanwhile
    define(session, 20).execute(count, backend="local", checkpoint=True)
    alive = session.query("SELECT alive FROM e_sweep WHERE alive IS NOT NULL")["alive"]
    assert 1 <= alive.iloc[0] - len(earlier) <= 15  # of 60


def test_memory_holds_what_runs_have_completed_before_of_a_portion_or_two(session, monkeypatch):
    monkeypatch.setattr(streamed, "PORTION", 5)
    monkeypatch.setattr(resume, "FLUSH_SECONDS", 0.0)

    def is_mine(own):
        return type(own) is FirstIn and [*own.steps] == ["first", "count"]

    def first(run):
        run.fields.first = run.params.N

    def count(run):
        if run.params.N == 19 and run.params.k == 2:
            run.fields.known = max(len(own.before) for own in gc.get_objects() if is_mine(own))

    define(session, 20).execute(first, backend="local", checkpoint=True)
    define(session, 20).execute([first, count], backend="local", checkpoint=True)
    known = session.query("SELECT known FROM e_sweep WHERE known IS NOT NULL")["known"]
    assert 1 <= known.iloc[0] <= 15  # of 60


def test_all_runs_are_listed_before_the_first_is_executed(session, url):
    def count(run):
        with mltraq.create_session(run.kwargs.url) as other:
            run.fields.listed = int(other.ls()["runs"].iloc[0])

    define(session).execute(count, {"url": url}, backend="local", checkpoint=True)
    assert set(session.query("SELECT listed FROM e_sweep")["listed"]) == {36}


@plainly
def test_what_is_completed_is_not_executed_again_and_the_rest_is(
    session, at_once, tmp_path, caplog
):
    executed = tmp_path / "executed"

    def fragile(run):
        with executed.open("a") as file:
            file.write(f"{run.params.N} ")
        if run.params.N in (4, 9) and run.params.k == 2 and not (tmp_path / "mended").exists():
            raise ValueError("broken")
        draw(run)

    with pytest.raises(mltraq.RunsFailed, match="2 of 36 runs failed") as caught:
        define(session).execute(fragile, backend="local", checkpoint=True)
    assert [group.examples for group in caught.value.groups] == [("N=4, k=2", "N=9, k=2")]
    assert len(session.load("sweep", pending="fragile", failed=True).runs) == 2
    (tmp_path / "mended").touch()
    executed.unlink()
    caplog.set_level("INFO")
    define(session).execute(fragile, backend="threads", n_jobs=1, checkpoint=True)
    assert executed.read_text().split() == ["4", "9"]
    assert "36 of 36 runs completed, 34 resumed" in caplog.text
    assert set(session.query(LEDGER)["state"]) == {"completed"}


def test_steps_that_follow_get_the_fields_that_are_stored(session):
    define(session).execute(draw, backend="local", checkpoint=True)
    define(session).execute(double, backend="local", checkpoint=True)
    found = session.query("SELECT y, z FROM e_sweep")
    assert len(found) == 36
    assert (found["z"] == 2 * found["y"]).all()


def test_one_object_can_execute_several_times(session):
    experiment = define(session).execute(draw, backend="local", checkpoint=True)
    experiment.execute([draw, double], backend="local", checkpoint=True)
    assert session.query("SELECT count(z) AS n FROM e_sweep")["n"].iloc[0] == 36


def test_a_grid_goes_on_where_a_smaller_one_ended(session, monkeypatch):
    monkeypatch.setattr(grid, "MAX_POINTS", 1000)
    define(session, 5).execute(draw, backend="local", checkpoint=True)
    first = session.query(LEDGER)
    monkeypatch.setattr(grid, "MAX_POINTS", 20)
    define(session, 12).execute(draw, backend="local", checkpoint=True)
    found = session.query(LEDGER)
    assert found[:15].equals(first)
    assert found["position"].tolist() == list(range(36))
    assert set(found["state"]) == {"completed"}


def test_results_of_other_code_are_refused_before_anything_is_changed(session):
    define(session, 8).execute(draw, backend="local", checkpoint=True)
    before = session.query(LEDGER)

    def draw_otherwise(run):
        run.fields.y = -run.params.N

    draw_otherwise.__name__ = draw_otherwise.__qualname__ = "draw"
    with pytest.raises(mltraq.InvalidInput, match="results of 24 of these runs"):
        define(session).execute(draw_otherwise, backend="local", checkpoint=True)
    assert session.query(LEDGER).equals(before)
    define(session).execute(draw_otherwise, backend="local", checkpoint="accept")
    assert session.query("SELECT sum(y < 0) AS n FROM e_sweep")["n"].iloc[0] == 12
    define(session).execute(draw_otherwise, backend="local", checkpoint="replace")
    assert session.query("SELECT sum(y <= 0) AS n FROM e_sweep")["n"].iloc[0] == 36


def test_params_that_lead_to_code_belong_to_the_fingerprint(session):
    def use(run):
        run.fields.y = run.params.make(run.params.N)

    grown = {"make": [np.sqrt, square], "N": range(11)}
    session.add_experiment("made").add_runs(**grown).execute(use, backend="local", checkpoint=True)
    again = session.add_experiment("made").add_runs(**grown)
    again.execute(use, backend="local", checkpoint=True)
    executions = session.query("SELECT count(*) AS n FROM experiment_executions")
    assert executions["n"].iloc[0] == 1
    prints = session.query("SELECT DISTINCT fingerprint FROM experiment_run_steps")
    assert len(prints) == 2


def square(x):
    return x * x


# -- interruptions --------------------------------------------------------------------------------


def test_a_database_that_refuses_in_the_midst_of_listing_loses_nothing(session, url, at_once):
    import sqlite3

    define(session, 1)
    session.add_experiment("first").persist()
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON experiment_runs WHEN NEW.position = 25 "
            "BEGIN SELECT RAISE(ABORT, 'enough'); END"
        )
    with pytest.raises(mltraq.StoreError, match="enough"):
        define(session).execute(draw, backend="local", checkpoint=True)
    assert session.query(LEDGER)["position"].tolist() == list(range(20))
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER full")
    define(session).execute(draw, backend="local", checkpoint=True)
    assert stored(session) == at_once(draw)


def test_a_kill_while_it_is_executed_loses_what_was_not_written(session, url, at_once):
    program = (
        "import os, signal; from tests.checkpoints import test_streamed as t\n"
        "import mltraq_prefect as mltraq\n"
        "t.grid.MAX_POINTS, t.streamed.PORTION = 20, 10\n"
        "def draw(run):\n"
        "    if run.params.N == 8: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    t.draw(run)\n"
        f"t.define(mltraq.create_session({url!r})).execute(draw, backend='local', checkpoint=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(session.query(LEDGER)) == 36
    assert len(session.load("sweep", pending="draw").runs) > 11
    define(session).execute(draw, backend="local", checkpoint="accept")
    assert stored(session)[1] == at_once(draw)[1]


def test_ctrl_c_says_how_much_is_stored(session):
    def interrupted(run):
        if run.params.N == 7:
            os.kill(os.getpid(), signal.SIGINT)
        draw(run)

    with pytest.raises(KeyboardInterrupt, match="21 of 36 runs completed and are stored"):
        define(session).execute(interrupted, backend="local", checkpoint=True)


def test_the_object_that_was_interrupted_goes_on(session, tmp_path):
    def draw_later(run):
        if run.params.N == 7 and not (tmp_path / "later").exists():
            raise KeyboardInterrupt
        draw(run)

    experiment = define(session)
    with pytest.raises(KeyboardInterrupt):
        experiment.execute(draw_later, backend="local", checkpoint=True)
    (tmp_path / "later").touch()
    experiment.execute(draw_later, backend="local", checkpoint=True)
    assert experiment._state.content.runs == {}
    assert session.ls()["completed"].iloc[0] == 36


def test_runs_that_others_execute_meanwhile_are_not_missed(session, url, tmp_path):
    executed = tmp_path / "executed"

    def draw_beside(run):
        if not executed.exists():
            executed.touch()
            with mltraq.create_session(url) as other:
                define(other).execute(draw_beside, backend="local", checkpoint=True)
        with executed.open("a") as file:
            file.write("x")
        run.fields.y = run.params.N

    define(session).execute(draw_beside, backend="local", checkpoint=True)
    assert executed.stat().st_size == 36 + 10
    assert session.ls()["completed"].iloc[0] == 36


def meanwhile(run, where, step, mark="first"):
    """Execute a step on runs in another session, once, while the first run is executed."""
    mark = Path(run.kwargs.folder) / mark
    if run.params.N or run.params.k == 2 or mark.exists():
        return
    mark.touch()
    with mltraq.create_session(run.kwargs.url) as other:
        runs = other.load("sweep", where=where)
        runs.execute(step, run.kwargs, backend="local", checkpoint=True)


def test_what_others_compute_otherwise_meanwhile_is_not_overwritten(session, url, tmp_path):
    def draw_otherwise(run):
        run.fields.y = -1.0

    def draw_slowly(run):
        meanwhile(run, "N > 9", draw_otherwise)
        draw(run)

    for own in (draw_otherwise, draw_slowly):
        own.__name__ = own.__qualname__ = "draw"
    kwargs = {"url": url, "folder": str(tmp_path)}
    with pytest.raises(mltraq.InvalidInput, match=r"results of 6 of these runs .* differently"):
        define(session).execute(draw_slowly, kwargs, backend="local", checkpoint=True)
    ys = session.query("SELECT y FROM v_sweep WHERE N > 9")["y"]
    assert set(ys) == {-1.0}
    assert session.ls()["completed"].iloc[0] == 36


def test_fields_that_others_give_runs_meanwhile_are_there_for_the_steps(session, url, tmp_path):
    def prepare(run):
        run.fields.y = 3.0

    def tag(run):
        run.fields.tagged = run.fields.y + 1

    def finish(run):
        meanwhile(run, "N > 9", prepare)
        meanwhile(run, "N > 9", tag, mark="second")
        run.fields.z = run.fields.get("tagged", 0.0)

    kwargs = {"url": url, "folder": str(tmp_path)}
    define(session).execute([prepare, finish], kwargs, backend="local", checkpoint=True)
    found = session.query("SELECT tagged, z FROM v_sweep WHERE N > 9")
    assert found.to_dict("list") == {"tagged": [4.0] * 6, "z": [4.0] * 6}
    runs = session.load("sweep", where="N > 9").runs.values()
    assert all(run.ledger.executions.keys() == {"prepare", "tag", "finish"} for run in runs)


def test_failures_can_be_kept_for_persist(session):
    def fail(run):
        raise ValueError(run.params.N)

    experiment = define(session)
    experiment.execute(fail, backend="local", checkpoint=True, on_error="keep")
    experiment.fields.note = "kept"
    with pytest.raises(mltraq.RunsFailed, match="36 of 36 runs failed: 36 x ValueError"):
        experiment.persist(if_exists="merge")
    assert session.load("sweep").fields.note == "kept"
    experiment.persist(if_exists="merge")


@pytest.mark.parametrize("most", [20, 1000])
def test_kept_failures_are_not_lost_by_a_later_step(session, tmp_path, monkeypatch, most):
    monkeypatch.setattr(grid, "MAX_POINTS", most)

    def draw_some(run):
        if run.params.N == 4 and not (tmp_path / "mended").exists():
            raise ValueError("broken")
        draw(run)

    def double_some(run):
        if run.params.N == 5:
            raise KeyError("absent")
        double(run)

    options = {"backend": "local", "checkpoint": True, "on_error": "keep"}
    experiment = define(session).execute(draw_some, **options).execute(double_some, **options)
    with pytest.raises(mltraq.RunsFailed, match="6 of 36 runs failed") as caught:
        experiment.persist(if_exists="merge")
    groups = [(group.count, group.error_type, group.examples[0]) for group in caught.value.groups]
    assert sorted(groups) == [(3, "KeyError", "N=5, k=1"), (3, "ValueError", "N=4, k=1")]
    assert len(caught.value.failures) == 3

    experiment.execute(draw_some, **options)
    with pytest.raises(mltraq.RunsFailed, match="3 of 3 runs failed: 3 x KeyError"):
        experiment.execute(double_some, **options | {"on_error": "raise"})
    with pytest.raises(mltraq.RunsFailed, match="3 of 3 runs failed: 3 x ValueError"):
        experiment.persist(if_exists="merge")

    experiment.execute(draw_some, **options)
    (tmp_path / "mended").touch()
    experiment.execute(draw_some, **options)
    experiment.persist(if_exists="merge")


def test_no_run_begins_after_the_last_failure(session):
    def fail(run):
        raise ValueError(run.params.N)

    with pytest.raises(mltraq.RunsFailed, match="1 of 36 runs failed") as caught:
        define(session).execute(fail, backend="local", checkpoint=True, on_error="stop")
    assert caught.value.not_executed == 35
    assert session.ls()["pending"].iloc[0] == 35


# -- what is not in memory ------------------------------------------------------------------------


def test_who_asks_for_a_run_is_told_where_it_is(session):
    experiment = define(session)
    asked = [
        lambda runs: list(runs),
        lambda runs: runs.df(),
        lambda runs: dict(runs),
        lambda runs: runs.first(),
        lambda runs: runs["a"],
        lambda runs: runs | {},
        lambda runs: pickle.dumps(runs),
    ]
    for ask in asked:
        with pytest.raises(mltraq.InvalidInput, match=r"its 36 runs are streamed.*session\.frame"):
            ask(experiment.runs)
    for call in (experiment.copy, experiment.info, experiment.links, experiment.add_run):
        with pytest.raises(mltraq.InvalidInput, match=r"its 36 runs are streamed"):
            call()
    with pytest.raises(mltraq.InvalidInput, match="its 36 runs are streamed"):
        mltraq.create_session("sqlite://").persist(experiment)
    assert repr(experiment).startswith("Experiment('sweep', runs=36, ")
    experiment.fields.author = "Ada"
    page = experiment._repr_html_()
    assert "36 runs of a grid that is streamed" in page
    assert "author" in page
    assert "Ada" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give checkpoint=True"),
        ({"checkpoint": True, "stop": mltraq.stop.median(after=5)}, r"stop=\.\.\. compares"),
        ({"checkpoint": True, "shared": True}, "which shared=True does not do"),
    ],
)
def test_options_that_need_all_runs_are_refused(session, options, message):
    with pytest.raises(mltraq.InvalidInput, match=message):
        define(session).execute(draw, backend="local", **options)
    assert session.ls().empty


def test_it_is_persisted_by_executing_it(session):
    experiment = define(session)
    with pytest.raises(mltraq.InvalidInput, match=r"checkpoint=True. lists and writes them"):
        experiment.persist()
    experiment.execute(draw, backend="local", checkpoint=True)
    with pytest.raises(mltraq.InvalidInput, match=r"if_exists='replace' would write all"):
        experiment.persist(if_exists="replace")
    experiment.tags["team"] = "vision"
    experiment.persist(if_exists="merge")
    assert session.ls()["tags"].iloc[0] == {"team": "vision"}
    assert session.ls()["completed"].iloc[0] == 36


def test_it_is_the_only_grid_of_its_object(session):
    experiment = session.add_experiment("other").add_runs(N=range(3))
    with pytest.raises(mltraq.InvalidGrid, match="has no others: add them to a new one"):
        experiment.add_runs(N=range(30))
    with pytest.raises(mltraq.InvalidGrid, match="has no others: add them to a new one"):
        define(session).add_runs(N=range(30))


def test_nothing_is_written_if_nothing_is_due(session, url):
    define(session).execute(draw, backend="local", checkpoint=True)
    path = url.removeprefix("sqlite:///")
    with mltraq.create_session(f"sqlite:///file:{path}?mode=ro&uri=true") as reader:
        define(reader).execute(draw, backend="local", checkpoint=True)
        with pytest.raises(mltraq.errors.ReadOnlyStore):
            define(reader).execute(double, backend="local", checkpoint=True)


def test_runs_can_be_deleted_and_are_executed_again(session):
    experiment = define(session).execute(draw, backend="local", checkpoint=True)
    assert experiment.delete_runs("N < 4") == 12
    experiment.execute(draw, backend="local", checkpoint=True)
    assert session.ls()["completed"].iloc[0] == 36
