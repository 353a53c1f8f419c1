"""Where results come from: the rows of executions, on every backend."""

import datetime as dt
from contextlib import closing

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.model.series import LoggedRows, Rows
from mltraq_prefect.provenance.facts import INLINE
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.tables.first_in import ExecutedBy, FirstIn
from tests.contract.integrity import assert_sound

LARGE = np.arange(INLINE, dtype=np.float64)
KWARGS = {"lr": 0.1, "since": dt.date(2026, 1, 2), "sizes": (1, 2), "weights": LARGE}


def train(run):
    run.fields.loss = run.kwargs.lr * run.params.x


def evaluate(run):
    run.fields.score = run.fields.loss + 1


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


@pytest.fixture
def trained(session):
    experiment = session.add_experiment("study").add_runs(x=range(4))
    experiment.execute(train, KWARGS, backend="local", seed=2**100).persist()
    return experiment


def count(session, table, where="1 = 1"):
    return session.query(f"SELECT count(*) AS n FROM {table} WHERE {where}")["n"].item()


def ids_by_step(experiment):
    """Return the executions that runs refer to, by step."""
    found = {}
    for run in experiment.runs.values():
        for step, entry in run.ledger.executions.items():
            found.setdefault(step, set()).add(entry.id_execution)
    return found


def test_kwargs_are_exact_and_large_ones_are_stored_once(session, trained):
    more = KWARGS | {"lr": 0.2, "model": session}  # which no table keeps
    trained.execute(train, more, backend="local", rerun=True).persist("merge")
    loaded = session.load("study")
    first, second = loaded.executions.index
    assert loaded.executions["seed"].tolist() == [2**100, 0]
    kwargs = loaded.execution(first).kwargs
    np.testing.assert_array_equal(kwargs.pop("weights"), LARGE)
    assert kwargs == {key: value for key, value in KWARGS.items() if key != "weights"}
    assert "Session(" in str(loaded.execution(second).kwargs["model"])
    values = session.query(
        "SELECT value FROM experiment_values WHERE column_name LIKE 'execution %'"
    )
    assert sum(len(value) > LARGE.nbytes for value in values["value"]) == 1
    shown = session.query("SELECT kwargs FROM experiment_executions ORDER BY started_at")
    assert '"since":"2026-01-02"' in str(shown["kwargs"][0]).replace(": ", ":").replace("'", '"')


def test_an_evaluation_keeps_the_execution_of_the_generation(session, trained):
    stored = session.load("study")
    stored.execute(evaluate, backend="local").persist("merge")
    found = session.load("study")
    (of_train,), (of_score,) = (ids_by_step(found)[step] for step in ("train", "evaluate"))
    assert [of_train, of_score] == found.executions.index.tolist()
    assert [list(steps) for steps in found.executions["steps"]] == [["train"], ["evaluate"]]
    later = session._store.steps_begun_after
    assert later(found.id_experiment, of_train) == {"evaluate"}
    assert later(found.id_experiment, of_score) == set()
    assert later(found.id_experiment, "another") is None
    rows = session.query("SELECT DISTINCT id_execution FROM experiment_runs")
    assert rows["id_execution"].tolist() == [of_score]


def test_a_resumed_execution_is_another_row(session):
    def halting(run):
        if run.params.x > 1 and run.kwargs.lr:
            raise ValueError("halt")
        run.fields.done = True

    experiment = session.add_experiment("resumed").add_runs(x=range(4))
    kwargs = {"lr": 1}
    experiment.execute(halting, kwargs, backend="local", on_error="keep", checkpoint=True)
    session.load("resumed").execute(
        halting, {"lr": 0}, backend="local", checkpoint="accept", on_error="keep"
    )
    first, second = session.load("resumed").executions.index
    by_run = [run.ledger.id_execution for run in session.load("resumed").runs.values()]
    assert by_run == [first, first, second, second]
    again = session.load("resumed").execute(
        halting, {"lr": 0}, backend="local", checkpoint="accept"
    )
    assert again.executions.index.tolist() == [first, second]  # there was nothing to execute


class Meanwhile:
    """A kwarg that calls something when an execution notes it, and has read what is stored.

    Args:
        calls: What it calls, once.
    """

    def __init__(self, *calls):
        self.calls = list(calls)

    def __repr__(self):
        while self.calls:
            self.calls.pop()()
        return "meanwhile"

    def __reduce__(self):
        return Meanwhile, ()


def test_one_whose_runs_another_has_listed_meanwhile_is_noted(session):
    """Both find nothing stored, and list the same runs: the second writes nothing by that."""
    experiment, other = (session.add_experiment("study").add_runs(x=range(3)) for _ in range(2))

    def list_runs():
        def train(run):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            other.execute(train, backend="local", checkpoint=True)

    kwargs = {"lr": 0.5, "meanwhile": Meanwhile(list_runs)}
    experiment.execute(train, kwargs, backend="local", checkpoint=True)
    found = session.load("study")
    (of_train,) = ids_by_step(found)["train"]
    assert of_train in found.executions.index
    assert session.verify().empty
    assert "run.kwargs.lr" in found.source("train")


def log(run):
    run.log(lr=run.kwargs.lr)
    run.files["lr"] = str(run.kwargs.lr).encode()
    run.fields.lr = run.kwargs.lr


def kept(session):
    """Return what the database has of each run: field, rows and file."""
    runs = session.load("study").runs.values()
    return [(run.fields.lr, *run.series["lr"], run.files["lr"].path().read_bytes()) for run in runs]


@pytest.mark.parametrize("lr", [0.5, 2.0])
def test_what_another_has_executed_meanwhile_is_not_overwritten(session, caplog, lr):
    experiment, other = (session.add_experiment("study").add_runs(x=range(3)) for _ in range(2))
    kwargs = {"lr": 0.5}
    overtaking = {"lr": lr}

    def overtake():
        other.execute(log, overtaking, backend="local", checkpoint=True)

    kwargs["meanwhile"] = overtaking["meanwhile"] = Meanwhile(overtake)
    caplog.set_level("INFO", "mltraq_prefect")
    if lr == kwargs["lr"]:
        experiment.execute(log, kwargs, backend="local", checkpoint=True)
        assert "3 runs were executed twice" in caplog.text
    else:
        with pytest.raises(mltraq.InvalidInput, match="others have executed 3 of its runs with"):
            experiment.execute(log, kwargs, backend="local", checkpoint=True)
    assert kept(session) == [(lr, lr, str(lr).encode())] * 3
    assert ids_by_step(session.load("study")) == ids_by_step(other)
    assert session.verify().empty


def test_rows_of_runs_that_others_have_executed_meanwhile_are_left_out(shared_url):
    """Of so many runs it is cheaper to read what the ledger says of all than of these alone."""
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("study").add_runs(x=range(300))
        experiment.execute(log, {"lr": 1.0}, backend="local").persist()
        with_more = session.load("study").add_runs(x=range(300, 600)).persist("merge")
        new = [id_run for id_run in with_more.runs if id_run not in experiment.runs]
        rows = Rows(0, [None], [0], {"lr": [2.0]})
        with closing(Store(shared_url)) as store:
            writer = store.series_writer("study", ExecutedBy(first_in=FirstIn(["log"], {})))
            writer.write([LoggedRows(id_run, "log", rows) for id_run in [*new, *experiment.runs]])
        found = session.query("SELECT lr, count(*) AS n FROM s_study GROUP BY lr ORDER BY lr")
        assert found.values.tolist() == [[1.0, 300], [2.0, 300]]


def test_what_no_run_refers_to_goes_with_the_runs(session, trained):
    more = session.add_experiment("study").add_runs(x=range(4, 8))
    more.execute(evaluate_new, KWARGS, backend="local").persist("merge")
    assert len(session.load("study").executions) == 2
    assert session.load("study").delete_runs("x >= 4") == 4
    (left,) = session.load("study").executions.index
    assert ids_by_step(session.load("study")) == {"train": {left}}
    assert session.load("study").source("train").count("def train(run)") == 1
    assert count(session, "experiment_steps", "step = 'evaluate_new'") == 0
    assert session.prune("study", slots=1, slot="x") == 3
    assert session.load("study").executions.index.tolist() == [left]
    session.load("study").delete_runs("1 = 1")
    for table in ("experiment_executions", "experiment_steps", "experiment_values"):
        assert count(session, table) == 0
    trained.execute(train, KWARGS, backend="local").persist("replace")
    session.load("study").delete()
    for table in ("experiment_executions", "experiment_steps", "experiment_values"):
        assert count(session, table) == 0


def evaluate_new(run):
    run.fields.new = run.params.x


def test_they_follow_copies_replacements_and_new_names(session, url, trained, tmp_path):
    (first,) = trained.executions.index
    stored = session.load("study")
    stored.rename("renamed")
    assert session.load("renamed").executions.index.tolist() == [first]
    copy = session.load("renamed").copy("copy").persist()
    assert session.load("copy").executions.index.tolist() == [first]
    copy.execute(evaluate, backend="local").persist("replace")
    assert len(session.load("copy").executions) == 2
    with mltraq.create_session(f"sqlite:///{tmp_path}/other.db") as other:
        other.persist(session.load("copy"))
        found = other.load("copy")
        assert len(found.executions) == 2
        np.testing.assert_array_equal(found.execution(first).kwargs["weights"], LARGE)
        assert "def evaluate" in found.source("evaluate")
        other.persist(session.load("copy"), "merge")
        assert len(other.load("copy").executions) == 2
        assert_sound(f"sqlite:///{tmp_path}/other.db")
    assert session.verify().empty
    if url != "sqlite://":
        assert_sound(url)


def test_a_row_that_is_gone_or_changed_is_found(session, trained):
    database = session._store._database
    with database.writing("test") as transaction:
        transaction.run("UPDATE experiment_executions SET steps = 'nothing'")
    with pytest.raises(mltraq.CorruptData, match="is not what was written"):
        _ = session.load("study").executions
    assert "is not what was written" in " ".join(session.verify("study")["problem"])
    with database.writing("test") as transaction:
        transaction.run("DELETE FROM experiment_executions")
    assert "executions that are not there" in " ".join(session.verify("study")["problem"])
    assert session.load("study").runs.first().fields.loss == 0
