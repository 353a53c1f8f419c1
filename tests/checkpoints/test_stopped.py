"""Runs that end early: their results count, and no step follows."""

import time

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution.judge import Attempted, SharedVerdicts
from mltraq_prefect.execution.row_buffer import RowBuffer, RowChannel
from mltraq_prefect.model.series import Rows
from tests.polling import poll

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


def test_runs_that_were_stopped_before_are_not_counted_as_completed(session, caplog):
    caplog.set_level("INFO", "mltraq_prefect")
    for counts in (
        "1 of 2 runs completed, 1 stopped",
        "1 of 2 runs completed, 1 stopped, 2 resumed",
    ):
        caplog.clear()
        experiment = session.add_experiment("x").add_runs(n=[1, 9])
        experiment.execute(train, backend="threads", checkpoint=True)
        assert any(f"'x': {counts}" in message for message in caplog.messages)


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_a_rule_about_a_key_that_no_run_logs_is_told_of(session, backend, caplog):
    rules = [mltraq.stop.median("lose"), mltraq.stop.patience(9, "loss"), mltraq.stop.median()]
    session.add_experiment("x").add_runs(n=[9]).execute(train, backend=backend, stop=rules)
    told = "stop: no run has logged numbers as 'lose'; known: 'loss'"
    assert [message for message in caplog.messages if message.startswith("stop:")] == [told]


def test_the_body_of_a_run_may_stop_it(session):
    experiment = session.add_experiment("x")
    with experiment.run(n=1) as run:
        run.fields.seen = 1
        raise mltraq.StopRun("enough")
    assert run.ledger.state == "stopped"
    experiment.persist()
    assert states(session.load("x")) == ["stopped"]


def descend(run):
    """Log a curve that is the worse the larger n is; sleep where timing shall differ."""
    for number in range(12):
        time.sleep(run.kwargs.get("pause", 0.0) * (run.params.n % 3))
        run.log(number, note="x", loss=run.params.n + 1 / (number + 1))
    run.fields.end = number


def stopped_by(session, rule, backend, **options):
    """Return what became of each run, and how many rows it has logged."""
    experiment = session.add_experiment("x").add_runs(n=[1, 2, 3, 0, 4, 0])
    experiment.execute(descend, backend=backend, stop=rule, **options)
    return [(run.ledger.state, len(run.series)) for run in experiment.runs.values()]


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_waits_for_decisions_gets_the_same_ones_in_each_backend(session, backend):
    workers = {} if backend == "local" else {"n_jobs": 2}
    rule = mltraq.stop.median("loss", after=5)
    found = stopped_by(session, rule, backend, synchronous=True, kwargs={"pause": 0.001}, **workers)
    done, early = ("completed", 12), ("stopped", 6)
    assert found == [done, done, early, done, early, done]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_stopped_soon_by_any_function_of_curves(session, backend):
    def rule(curve, others):
        assert curve.keys == ["loss"]
        assert all(other.id_run != curve.id_run for other in others)
        return curve.params.n == 4 and curve.values("loss")[-1] < 10

    experiment = session.add_experiment("x").add_runs(n=[1, 4])
    experiment.execute(endless, backend=backend, stop=[rule], checkpoint=True)
    assert states(experiment) == ["completed", "stopped"]
    assert len(session.load("x").runs.first().series) == 3


def endless(run):
    number = 0
    while number < 3 or run.params.n == 4:
        run.log(number, loss=1.0)
        number += 1
        time.sleep(0.001)


def test_rules_see_what_is_worse(session):
    stop = mltraq.stop

    def decide(rule, values, *others):
        curves = [stop.Curve(str(index), {}) for index in range(1 + len(others))]
        for curve, own in zip(curves, (values, *others), strict=True):
            curve.take(Rows(0, [None] * len(own), [0] * len(own), {"loss": own}))
        return rule(curves[0], curves[1:])

    nan = float("nan")
    assert decide(stop.median(), [3.0], [1.0], [2.0, 9.0])
    assert not decide(stop.median(), [3.0], [1.0, 1.0])
    assert not decide(stop.median(after=1), [3.0], [1.0], [2.0])
    assert not decide(stop.median(mode="max"), [3.0], [1.0], [2.0])
    assert decide(stop.median(), [nan], [1.0], [2.0])
    assert not decide(stop.median("other"), [3.0], [1.0], [2.0])
    assert decide(stop.patience(2), [1.0, 1.0, 2.0])
    assert not decide(stop.patience(2), [1.0, 2.0, 0.5])
    assert decide(stop.patience(2, delta=1.0), [1.0, 2.0, 0.5])
    assert decide(stop.patience(1, mode="max"), [1, 1])
    assert decide(stop.bound(above=5), [1, 6, 1])
    assert decide(stop.bound(below=0), [nan])
    assert not decide(stop.bound(above=5, below=1), [1, 5])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stop": 3}, "stop is 3; use a rule"),
        ({"stop": [max, "median"]}, "stop is 'median'"),
        ({"synchronous": True}, "synchronous=True is about early stops"),
    ],
)
def test_options_that_make_no_sense_are_refused(session, options, match):
    with pytest.raises(mltraq.InvalidInput, match=match):
        session.add_experiment("x").add_runs(n=[1]).execute(descend, backend="local", **options)
    for wrong in (
        lambda: mltraq.stop.median(5),
        lambda: mltraq.stop.median(after=-1),
        lambda: mltraq.stop.median(mode="least"),
        lambda: mltraq.stop.patience(0),
        lambda: mltraq.stop.bound("loss"),
        lambda: mltraq.stop.bound(above="x"),
    ):
        with pytest.raises(mltraq.InvalidInput, match=r"^stop\."):
            wrong()


CALLED = []


def log_and_wait(run):
    run.log(loss=1.0)
    run.fields.heard = bool(poll(lambda: CALLED, bool))


@pytest.mark.parametrize("is_broken", [True, False])
def test_an_error_of_a_rule_ends_an_execution_and_no_other(session, is_broken):
    def rule(curve, _others):
        CALLED.append(curve)
        if is_broken:
            raise ZeroDivisionError("rule")

    CALLED.clear()
    experiment = session.add_experiment("x").add_runs(n=[1, 2])
    if is_broken:
        with pytest.raises(ZeroDivisionError):
            experiment.execute(log_and_wait, backend="local", stop=rule)
    else:
        experiment.execute(log_and_wait, backend="local", stop=rule)
        assert all(run.fields.heard for run in experiment.runs.values())


def test_rules_hear_of_rows_at_once_and_nobody_else_does():
    """Steps whose rows wait end before anybody can stop them."""
    for verdicts, count in ((SharedVerdicts(are_awaited=False), 1), (None, 0)):
        heard = []
        channel = RowChannel(lambda rows, _, heard=heard: heard.append(rows), verdicts)
        rows = RowBuffer(Attempted("run", "step", 1), channel)
        rows.log(None, {"loss": 1.0})
        assert len(heard) == count
        rows.close(is_retry=False)
        assert len(heard) == 1
