"""Rows that steps log: in every backend, while runs are executed, after kills and retries."""

import itertools
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import mltraq_prefect as mltraq
from tests.polling import poll

BACKENDS = ("local", "threads", "processes")


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def losses(session, name="x"):
    return [run.series["loss"].tolist() for run in session.load(name).runs.values()]


def count(url, what="*"):
    """Return how many rows, or values, other connections see."""
    with mltraq.create_session(url) as session:
        try:
            return int(session.query(f"SELECT count({what}) AS n FROM s_x")["n"][0])
        except mltraq.QueryFailed:  # there is no table yet
            return 0


def hold_on(run):
    run.log(0, loss=1.0)
    wait_for(run.kwargs.seen)
    run.log(1, loss=0.5)


def wait_for(path):
    poll(lambda: os.path.exists(path), bool)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_are_in_the_database_while_their_run_is_executed(session, url, tmp_path, backend):
    experiment = session.add_experiment("x").add_runs(n=[1, 2])
    seen = str(tmp_path / "seen")
    done = threading.Thread(
        target=experiment.execute,
        args=(hold_on, {"seen": seen}),
        kwargs={"checkpoint": True, "backend": backend, "n_jobs": 2 - (backend == "local")},
    )
    done.start()
    assert poll(lambda: count(url), lambda n: n >= 1)
    open(seen, "w").close()
    done.join()
    assert losses(session) == [[1.0, 0.5]] * 2
    assert [run.series["step"].tolist() for run in experiment.runs.values()] == [[0, 1]] * 2


def improve(run):
    """Fail at first, after having logged more than the next attempt."""
    tries = os.path.join(run.kwargs.folder, str(run.params.n))
    is_first = not os.path.exists(tries)
    open(tries, "w").close()
    for number in range(5 if is_first else run.params.n):
        run.log(number, loss=number + is_first / 2)
    if is_first:
        raise ValueError("once")


def also(run):
    run.log(loss=-1.0)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_retry_replaces_the_rows_of_the_attempt_before(session, tmp_path, backend, checkpoint):
    experiment = session.add_experiment("x").add_runs(n=[0, 1, 2])
    options = {"checkpoint": checkpoint, "backend": backend, "retries": 1}
    experiment.execute([improve, also], {"folder": str(tmp_path)}, **options)
    if not checkpoint:
        experiment.persist()
    expected = [[-1.0], [0.0, -1.0], [0.0, 1.0, -1.0]]
    assert losses(session) == expected
    assert [run.series["loss"].tolist() for run in experiment.runs.values()] == expected
    assert experiment.runs.first().series["seq"].tolist() == [0]


def die(run):
    for number in range(run.params.n):
        run.log(number, loss=float(number))
    wait_for_rows(run)
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_rows(run):
    poll(lambda: count(run.kwargs.url), lambda n: n >= run.params.n)


def test_the_rows_of_a_worker_that_died_are_there(session, url):
    experiment = session.add_experiment("x").add_runs(n=[3])
    with pytest.raises(mltraq.RunsFailed, match="SIGKILL"):
        experiment.execute(die, {"url": url}, checkpoint=True)
    assert losses(session) == [[0.0, 1.0, 2.0]]
    session.load("x").execute(silent(), checkpoint="accept")
    assert [len(run.series) for run in session.load("x").runs.values()] == [0]


def silent():
    def die(run):
        run.fields.done = True

    return die


def endless(run):
    for number in itertools.count():
        run.log(number, loss=number * 0.5, run=run.params.n)
        if number >= run.kwargs.get("rows", number + 1):
            break


SCRIPT = """
import sys
import mltraq_prefect as mltraq
from tests.checkpoints.test_series import endless

if __name__ == "__main__":
    with mltraq.create_session(sys.argv[1]) as session:
        experiment = session.add_experiment("x").add_runs(n=[1, 2])
        experiment.execute(endless, checkpoint=True, n_jobs=2)
"""


def test_a_killed_flow_leaves_rows_up_to_a_point_in_time_and_the_next_replaces_them(session, url):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, url])
    try:
        poll(lambda: count(url), lambda n: n >= 50_000)
        poll(lambda: count(url, "DISTINCT id_run"), lambda runs: runs == 2)
    finally:
        process.kill()
        process.wait()
    for run in session.load("x").runs.values():
        rows = run.series
        assert rows["seq"].tolist() == list(range(len(rows)))
        assert rows["step"].tolist() == rows["seq"].tolist()
        assert np.array_equal(rows["loss"], rows["seq"] * 0.5)
        assert set(rows["run"]) <= {run.params.n}
    assert count(url) >= 50_000
    experiment = session.load("x").execute(endless, {"rows": 9}, checkpoint=True)
    assert count(url) == 20
    assert [len(run.series) for run in experiment.runs.values()] == [10, 10]


BAD = {
    "not a scalar": lambda run: run.log(loss=[1, 2]),
    "use its item": lambda run: run.log(loss=np.zeros(3)),
    "'seq' is reserved": lambda run: run.log(seq=1),
    "'at' is reserved": lambda run: run.log(at=1),
    "'id_run' is reserved": lambda run: run.log(id_run=1),
    "step is of type dict": lambda run: run.log({"loss": 1}),
    "step is of type float": lambda run: run.log(0.5, loss=1),
    "more than 64 bits": lambda run: run.log(2**64, loss=1),
    "is an empty string": lambda run: run.log(**{"": 1}),
    "contains a NUL": lambda run: run.log(**{"a\0": 1}),
    "can be read when its step has ended": lambda run: run.series,
    "values that are secret": lambda run: run.log(loss=["s3cr3t"]),
}


def fail(run):
    run.log(loss=1.0)
    BAD[run.params.what](run)


def test_what_cannot_be_logged_fails_the_run_in_one_clear_line(session):
    experiment = session.add_experiment("x").add_runs(what=list(BAD))
    experiment.execute(fail, backend="local", on_error="keep")
    experiment.persist(on_error="keep")
    for what, run in zip(BAD, experiment.runs.values(), strict=True):
        assert run.ledger.error_type.rpartition(".")[2] in ("InvalidInput", "InvalidName")
        error = run.ledger.error.splitlines()[-1]
        assert what in error or what.startswith("values")
        assert "s3cr3t" not in error
    assert losses(session) == [[1.0]] * len(BAD)
    with pytest.raises(mltraq.InvalidInput, match=r"run\.log is for steps"):
        experiment.runs.first().log(loss=1)


def test_threads_of_a_step_may_log_but_not_after_it(session):
    left = []

    def step(run):
        left.append(run)
        threads = [threading.Thread(target=run.log, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    experiment = session.add_experiment("x").add_runs(n=[1]).execute(step, backend="local")
    rows = experiment.runs.first().series
    assert sorted(rows["step"]) == list(range(20))
    assert rows["seq"].tolist() == list(range(20))
    with pytest.raises(mltraq.InvalidInput, match="the step has ended"):
        left[0].log(loss=1)


def log_kwarg(run):
    if run.kwargs.loss is not None:
        run.log(loss=run.kwargs.loss)


def test_rows_in_memory_do_not_take_the_place_of_checkpointed_ones(session):
    experiment = session.add_experiment("x").add_runs(n=[1, 2]).persist()
    experiment.execute(log_kwarg, {"loss": 1.0}, backend="local")
    experiment.execute(log_kwarg, {"loss": 2.0}, backend="local", checkpoint=True)
    assert losses(session) == [[2.0], [2.0]]
    assert [run.series["loss"].tolist() for run in experiment.runs.values()] == [[2.0], [2.0]]


def test_a_step_that_logs_nothing_now_has_no_checkpointed_rows_of_before(session):
    experiment = session.add_experiment("x").add_runs(n=[1, 2])
    experiment.execute(log_kwarg, {"loss": 1.0}, backend="local", checkpoint=True)
    experiment.execute(log_kwarg, {"loss": None}, backend="local", rerun=True).persist("merge")
    assert [len(run.series) for run in session.load("x").runs.values()] == [0, 0]
