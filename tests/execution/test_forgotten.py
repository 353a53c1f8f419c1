"""No run is forgotten, whatever keeps a batch from being executed."""

import logging
import os
import resource
import socket
from contextlib import contextmanager

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

import mltraq_prefect as mltraq
from mltraq_prefect.execution import Batch, Workers, as_steps
from mltraq_prefect.execution.batch import Outcome
from mltraq_prefect.execution.pool import fork_server_main
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.serialization import consume_runs, freeze_runs, pickle_runs
from mltraq_prefect.model.run import Run
from tests.steps import count


def batch_of(counts, packed):
    """Return a batch of chunks with so many runs, which are numbered."""
    numbers = iter(range(sum(counts)))
    chunks = [[Run(params={"N": next(numbers)}) for _ in range(count)] for count in counts]
    return Batch(
        "some", sum(counts), [pickle_runs(p) if packed else freeze_runs(p) for p in chunks]
    )


def numbers(chunks):
    return [run.params.N for chunk in chunks for run in consume_runs(chunk)]


def until(most):
    """Complete runs one by one, until an exception comes at this one."""

    def execute(chunk):
        for run in consume_runs(chunk):
            if most == run.params.N:
                raise OSError("no more")
            yield Outcome(1, pickle_runs([run]), None, [])

    return execute


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "as they are"])
@pytest.mark.parametrize("end", range(6))
def test_what_an_exception_prevents_stays_to_do(packed, end):
    batch = batch_of([2, 3, 1], packed)
    with pytest.raises(OSError, match="no more"):
        list(batch.attempt(until(end)))
    assert numbers(batch.done) == list(range(end))
    assert numbers(batch.todo) == list(range(end, 6))
    list(batch.attempt(until(None)))
    assert numbers(batch.done) == list(range(6))
    assert batch.todo == []


def test_runs_without_an_outcome_are_no_success():
    batch = batch_of([2, 3], packed=True)
    with pytest.raises(RuntimeError, match="some>: 2 were not executed"):
        list(batch.attempt(lambda _: iter([Outcome(0, None, None, [])])))
    assert numbers(batch.todo) == list(range(5))


@contextmanager
def no_more_files():
    """Let this process open no more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        lowest_free = file.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_worker_that_cannot_start_for_want_of_files_fails_its_runs():
    (step,) = as_steps(lambda run: None, {}, 0)
    job = make_job(step, {}, logging.INFO, None)
    chunk = pickle_runs([Run(params={"N": n}) for n in range(3)])
    with Workers(1) as workers, no_more_files():
        outcomes = list(workers.execute(job, chunk))
    assert [outcome.count for outcome in outcomes] == [3]
    assert "no worker process could start: [Errno 24]" in outcomes[0].failures[0][1]


def test_descriptors_that_the_server_has_no_room_for_cost_one_worker():
    ours, theirs = socket.socketpair()
    life, its_end = socket.socketpair()
    server = fork_server_main.Server(theirs)
    socket.send_fds(ours, [b"f"], [its_end.fileno(), 1])
    its_end.close()
    with no_more_files():
        assert server.take() == []
    assert life.recv(1) == b""


class Forgetful(ThreadPoolTaskRunner):
    """A task runner that loses some of the runs that it gets."""

    def submit(self, task, parameters, *args, **kwargs):
        batch = parameters["batch"]
        if "=1" in batch.label:
            parameters = {"batch": Batch(batch.label, 0, [])}
        return super().submit(task, parameters, *args, **kwargs)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("checkpoint", [False, True])
def test_runs_that_a_task_runner_loses_are_an_error(tmp_path, checkpoint):
    with mltraq.create_session(f"sqlite:///{tmp_path}/mltraq.db") as session:
        experiment = session.add_experiment("lossy").add_runs(N=[0, 1, 2])
        options = {"steps": count, "checkpoint": checkpoint, "runs_per_task": 1}
        with pytest.raises(mltraq.RunsMissing, match="1 of 3 runs, such as N=1") as caught:
            experiment.execute(task_runner=Forgetful(max_workers=1), **options)
        assert (caught.value.missing, caught.value.total) == (1, 3)
        states = [run.ledger.state for run in experiment.runs.values()]
        assert states == ["completed", "pending", "completed"]
        experiment.execute(**options)
