"""Runs that end early: their results count, and no step follows."""

import pytest

import mltraq_prefect as mltraq

BACKENDS = ("local", "threads", "processes")


def states(experiment):
    return [run.ledger.state for run in experiment.runs.values()]


def train(run):
    run.fields.seen = 0
    for number in range(5):
        run.log(number, loss=float(number))
        if run.params.n == number:
            raise mltraq.StopRun
        run.fields.seen += 1


def evaluate(run):
    run.fields.evaluated = True


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_stopped_run_keeps_its_results_and_is_done(session, backend, checkpoint):
    experiment = session.add_experiment("x").add_runs(n=[1, 9, 2, 9])
    experiment.execute([train, evaluate], backend=backend, checkpoint=checkpoint)
    if not checkpoint:
        experiment.persist()
    found = session.load("x")
    for one in (experiment, found):
        assert states(one) == ["stopped", "completed"] * 2
        assert [run.fields.seen for run in one.runs.values()] == [1, 5, 2, 5]
        assert ["evaluated" in run.fields for run in one.runs.values()] == [False, True] * 2
        assert [len(run.series) for run in one.runs.values()] == [2, 5, 3, 5]
    row = session.ls().iloc[0]
    assert (row["completed"], row["failed"], row["stopped"], row["pending"]) == (2, 0, 2, 0)
    first = found.runs.first().ledger
    assert first.executions["train"].state == "stopped"
    assert (first.step, first.error) == (None, None)
    for step in (train, evaluate, "train", "evaluate"):
        assert len(session.load("x", pending=step).runs) == 0
    attempts = [run.ledger.started_at for run in found.runs.values()]
    found.execute([train, evaluate], backend=backend, checkpoint=checkpoint)
    found.execute(evaluate, backend=backend, checkpoint=checkpoint)
    assert [run.ledger.started_at for run in found.runs.values()] == attempts
    if not checkpoint:
        found.execute(train, backend=backend, rerun=True).persist("merge")
        assert states(session.load("x")) == ["stopped", "completed"] * 2
        assert session.ls().iloc[0]["stopped"] == 2


def test_the_body_of_a_run_may_stop_it(session):
    experiment = session.add_experiment("x")
    with experiment.run(n=1) as run:
        run.fields.seen = 1
        raise mltraq.StopRun("enough")
    assert run.ledger.state == "stopped"
    experiment.persist()
    assert states(session.load("x")) == ["stopped"]
