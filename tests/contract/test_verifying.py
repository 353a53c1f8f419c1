"""What is corrupt, or belongs to nothing, is found on every backend; counts are mended."""

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import CorruptData, ExperimentNotFound

FORGET_STANDINGS = (
    "DELETE FROM experiment_standings "
    "WHERE id_experiment = (SELECT id_experiment FROM experiments WHERE name = 'one')"
)
"""What the documentation says of who changes states of runs."""


def track(run):
    run.log(loss=run.params.n)
    run.fields.n = run.params.n
    run.fields.grid = np.arange(10.0)
    run.fields.large = np.arange(5_000.0)
    run.fields.pair = (run.params.n, float("nan"))


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        for name in ("one", "other"):
            experiment = opened.add_experiment(name).add_runs(n=range(6))
            experiment.execute(track, backend="local").persist()
        yield opened


def change(session, *statements):
    """Change tables as somebody does who has another tool."""
    with session._store._database.writing("somebody else") as transaction:
        for statement in statements:
            transaction.run(statement)


def found(session, *arguments, **options):
    frame = session.verify(*arguments, **options)
    return sorted(frame[["experiment", "run", "field"]].itertuples(index=False, name=None))


def test_what_is_whole_has_no_problem(session):
    assert session.verify().empty
    assert list(session.verify().columns) == ["experiment", "run", "field", "problem", "is_mended"]
    with pytest.raises(ExperimentNotFound):
        session.verify("none")


def test_corrupt_cells_are_named_and_the_others_read(session):
    first, second, third, *_ = session.load("one").runs
    is_sqlite = session._store._database.dialect.inline_bytes is not None
    with session._store._database.writing("somebody else") as transaction:
        for table, column, id_run in (
            ("e_one", "grid", first),
            ("experiment_runs", "residual", second),
        ):
            sql = f"UPDATE {table} SET {column} = ? WHERE id_run = ?"
            transaction.run(sql, (b"MLTQ junk", id_run))
        if is_sqlite:
            transaction.run("DELETE FROM experiment_values WHERE id_run = ?", (third,))
        else:
            transaction.run("UPDATE e_one SET large = ? WHERE id_run = ?", (b"", third))
    expected = {(first, "grid"), (second, "residual"), (third, "large")}
    assert found(session) == sorted(("one", *where) for where in expected)
    assert found(session, "other") == []


def test_states_that_somebody_has_changed(session):
    first, second, *_ = session.load("one").runs
    reset = "UPDATE experiment_runs SET state = 'pending', steps = '{}'"
    change(session, f"{reset} WHERE id_run = '{first}'", FORGET_STANDINGS)
    assert list(session.load("one", pending=track).runs) == [first]
    assert session.ls(pending=track)["name"].tolist() == ["one"]
    (problem,) = session.verify("one")["problem"]
    assert "has 6 (5 completed, 1 pending)" in problem
    assert session.verify(repair=True)["is_mended"].all()
    change(session, f"{reset} WHERE id_run = '{second}'")
    problems = "\n".join(session.verify("one")["problem"])
    assert "the standing of 1 run in" in problems
    assert "has 6 (4 completed, 2 pending)" in problems
    assert session.verify(repair=True)["is_mended"].all()
    assert session.verify().empty
    assert sorted(session.load("one", pending=track).runs) == sorted([first, second])


def test_a_run_that_somebody_has_deleted_in_one_table_is_not_written_over(session):
    experiment = session.load("one")
    first = experiment.runs.first()
    change(session, f"DELETE FROM experiment_runs WHERE id_run = '{first.id_run}'")
    first.fields.n = 7
    with pytest.raises(CorruptData, match="1 run is in e_one and not in experiment_runs, where"):
        experiment.persist("merge")


def test_counts_follow_when_runs_are_executed_that_somebody_has_made_pending(session):
    change(
        session,
        "UPDATE experiment_runs SET state = 'failed', step = 'track', steps = '{}' "
        "WHERE position < 2",
        FORGET_STANDINGS,
    )
    pending = session.load("one", pending=track, failed=True)
    assert len(pending.runs) == 2
    pending.execute(track, backend="local").persist("merge")
    listed = session.ls().set_index("name").loc["one"]
    assert (listed["completed"], listed["failed"], listed["runs"]) == (6, 0, 6)
    assert session.verify("one").empty


def test_what_belongs_to_nothing_is_found_and_counts_are_mended(session):
    first, second, third, *_ = session.load("one").runs
    change(
        session,
        f"DELETE FROM e_one WHERE id_run = '{first}'",
        f"DELETE FROM experiment_runs WHERE id_run IN ('{second}', '{third}')",
        "UPDATE experiments SET completed = 99 WHERE name = 'other'",
    )
    frame = session.verify("one")
    text = "\n".join(frame["problem"])
    assert "1 run is in experiment_runs and not in e_one" in text
    assert "2 runs are in e_one and not in experiment_runs; to delete them there" in text
    assert "2 runs are in s_one and not in experiment_runs" in text
    assert "experiment_run_steps has rows of 2 runs not in experiment_runs" in text
    assert "counts 6 runs (6 completed), and experiment_runs has 4 (4 completed)" in text
    for problem in frame["problem"]:
        statements = problem.partition("execute ")[2].partition("; then")[0]
        change(session, *filter(None, statements.split("; ")))
    assert [own.is_mended for own in session.verify("one", repair=True).itertuples()] == [True]
    assert session.verify("one").empty
    assert len(session.load("one").runs) == 3
    assert not session.verify(repair=True).empty
    assert session.verify().empty
    (row,) = session.ls(where="name = 'other'").itertuples()
    assert (row.runs, row.completed) == (6, 6)


def test_rows_of_no_experiment_are_found(session):
    change(session, "DELETE FROM experiments WHERE name = 'other'")
    frame = session.verify()
    assert set(frame["experiment"]) == {""}
    assert "6 rows of experiment_runs are of no experiment" in "\n".join(frame["problem"])
    for problem in frame["problem"]:
        change(session, problem.partition("execute ")[2])
    assert session.verify().empty
