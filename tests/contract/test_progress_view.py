"""The view of how far experiments are, on every backend."""

import contextlib
import datetime as dt

import mltraq_prefect as mltraq
from tests.contract.test_ownership import change, rows

ROUNDED = dt.timedelta(milliseconds=10)
"""SQLite tells the time in milliseconds."""


def now():
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def fail_at_two(run):
    if run.params.i == 2:
        raise ValueError("two")
    run.fields.x = run.params.i


def test_it_counts_runs_and_says_how_long_ago_each_experiment_was_written(url):
    with mltraq.create_session(url) as session:
        session.add_experiment("a").add_runs(i=range(5)).persist()
        b = session.add_experiment("b c").add_runs(i=range(4))
        with contextlib.suppress(mltraq.RunsFailed):
            b.execute(fail_at_two, checkpoint=True, backend="local")
        before = now()
        found = session.query("SELECT * FROM experiment_progress ORDER BY name")
        after = now()
        counts = found[["name", "runs", "completed", "failed", "stopped", "pending"]]
        assert counts.values.tolist() == [["a", 5, 0, 0, 0, 5], ["b c", 4, 3, 1, 0, 0]]
        assert found["table_name"].tolist() == session.ls()["table_name"].tolist()
        written = [dt.datetime.fromisoformat(str(at)) for at in found["written_at"]]
        assert written[0] < written[1] <= before
        for at, lag in zip(written, found["lag_s"], strict=True):
            assert before - ROUNDED <= at + dt.timedelta(seconds=float(lag)) <= after + ROUNDED


def test_what_somebody_else_has_called_so_is_left_alone(shared_url):
    change(shared_url, "CREATE TABLE experiment_progress (note INTEGER)")
    with mltraq.create_session(shared_url) as session:
        session.add_experiment("a").add_runs(i=[1]).persist()
        assert session.ls()["name"].tolist() == ["a"]
    assert rows(shared_url, "SELECT note FROM experiment_progress") == []
