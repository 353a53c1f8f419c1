"""What public functions are given and cannot use is refused by name, before anything changes."""

import datetime

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect import InvalidInput

WRONG = {
    "overwrite": lambda session, _: session.export("x", "x.csv", overwrite="no"),
    "series": lambda session, _: session.export("x", "x.csv", series=None),
    "path": lambda session, _: session.export("x", 5),
    "columns": lambda session, _: session.export("x", "x.csv", columns=5),
    "repair": lambda session, _: session.verify(repair="no"),
    "latest": lambda session, _: session.missing_slots("x", "1 hour", latest=1),
    "every": lambda session, _: session.missing_slots("x", 5),
    "slot": lambda session, _: session.missing_slots("x", "1 hour", slot=None),
    "pickle": lambda session, _: session.load("x", pickle="no"),
    "failed": lambda session, _: session.load("x", failed=1),
    "decode": lambda session, _: session.query("SELECT 1", decode="no"),
    "sql": lambda session, _: session.query(None),
    "order_by": lambda session, _: session.frame("x", order_by=5),
    "params": lambda session, _: session.import_frame(pd.DataFrame({"a": [1]}), "y", params=[1]),
    "tags": lambda session, _: session.ls(tags=[]),
    "experiment": lambda session, _: session.persist(None),
    "store_pickle": lambda _, experiment: experiment.persist("merge", store_pickle="no"),
    "report": lambda _, experiment: experiment.persist("merge", report=None),
    "by": lambda _, experiment: experiment.view(by="model"),
    "lower": lambda _, experiment: experiment.view(lower="yes"),
    "metric": lambda _, experiment: experiment.view(metric=""),
    "artifact": lambda _, experiment: experiment.report("x.html", artifact=5),
    "ledger": lambda _, experiment: experiment.runs.df(ledger="no"),
    "confidence": lambda _, experiment: mltraq.compare(experiment, "n", "x", confidence="95"),
    "seed": lambda _, experiment: mltraq.compare(experiment, "n", "x", seed=2.5),
    "pair_on": lambda _, experiment: mltraq.compare(experiment, "n", "x", pair_on=5),
    "create": lambda *_: mltraq.create_session("sqlite://", create="no"),
    "compress": lambda *_: mltraq.create_session("sqlite://", compress=5),
    "files": lambda *_: mltraq.create_session("sqlite://", files=5),
}
"""A call for each argument, by the name that the error has."""


@pytest.mark.parametrize("names", [np.True_, np.False_, "iterator"])
def test_all_or_some_can_be_said_in_any_way(experiment, names):
    def given():
        return iter(["n"]) if names == "iterator" else names

    assert experiment.persist("merge", report=given()) is experiment
    with pytest.raises(InvalidInput, match="has no field 'm'"):
        experiment.persist("merge", report=iter(["n", "m"]))
    with mltraq.create_session("sqlite://", compress=given()) as session:
        assert session.ls().empty


@pytest.fixture
def experiment(session):
    experiment = session.add_experiment("x").add_runs(x=[1, 2])
    for run in experiment.runs.values():
        run.fields.n, run.ledger.state = run.params.x, "completed"
    return experiment.persist()


@pytest.mark.parametrize("argument", WRONG)
def test_an_argument_of_another_type_is_named(session, experiment, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "..")
    before = session.query("SELECT revision FROM experiments").to_dict()
    with pytest.raises(InvalidInput, match=rf"\b{argument} (is|has|of type) "):
        WRONG[argument](session, experiment)
    assert session.query("SELECT revision FROM experiments").to_dict() == before


def test_truth_values_of_numpy_are_truth_values(experiment):
    assert "state" in experiment.runs.df(ledger=np.True_)
    assert "state" not in experiment.runs.df(ledger=np.False_)
    assert mltraq.create_session("sqlite://", create=np.True_).ls().empty
    assert experiment.view(metric="n", lower=np.False_)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("state", "done"),
        ("state", None),
        ("state", 5),
        ("error", 5),
        ("steps", {"a": 1}),
        ("steps", None),
        ("attempts", "many"),
        ("attempts", 2.5),
        ("started_at", "now"),
        ("started_at", ""),
        ("started_at", 0),
        ("duration_s", "long"),
        ("duration_s", "1.5"),
        ("flow_run_id", datetime.date(2026, 1, 1)),
    ],
)
@pytest.mark.parametrize("if_exists", ["replace", "merge"])
def test_a_ledger_that_is_no_ledger_is_not_written(session, experiment, fact, value, if_exists):
    entry = experiment.runs.first().ledger
    entry.error = "a change, so that a merge writes the entry"
    setattr(entry, fact, value)
    with pytest.raises(InvalidInput, match=rf"run.ledger.{fact} is .*; use "):
        experiment.persist(if_exists)
    assert session.load("x").runs.first().ledger.error is None


@pytest.mark.parametrize("part", ["fields", "params", "ledger"])
@pytest.mark.parametrize("value", [None, 5, "text", [1]])
def test_a_part_of_a_run_that_is_something_else_is_named(experiment, part, value):
    setattr(experiment.runs.first(), part, value)
    with pytest.raises(InvalidInput, match=rf"experiment 'x', run .*: {part} is .*; use a "):
        experiment.persist("merge")


def test_what_is_assigned_to_an_experiment_is_checked(experiment):
    with pytest.raises(InvalidInput, match=r"experiment\.fields is 5; use a dict"):
        experiment.fields = 5
    experiment.fields = {"author": "Ada"}
    assert experiment.fields.author == "Ada"
    with pytest.raises(AttributeError, match=r"cannot be assigned; add_run"):
        experiment.runs = {}
