"""Worker processes: what dies or hangs costs its own run, and nothing is left behind."""

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import Workers, WorkersClosed, as_steps, tracebacks, worker_count
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.serialization import consume_runs, pickle_runs
from mltraq_prefect.model.run import Run
from tests.polling import poll
from tests.processes import is_alive


@pytest.fixture
def workers():
    with Workers(1) as opened_workers:
        yield opened_workers


def execute(workers, step, count=4, timeout_seconds=None, kwargs=None):
    """Return the runs that completed by N, and the errors of those that failed by N."""
    (prepared,) = as_steps(step, kwargs or {}, 0)
    job = make_job(prepared, kwargs or {}, logging.INFO, timeout_seconds)
    chunk = pickle_runs([Run(params={"N": n}) for n in range(count)])
    done, failed, records = {}, {}, []
    handled = 0
    for outcome in workers.execute(job, chunk):
        handled += outcome.count
        records += [record.message for record in outcome.records]
        if outcome.done is not None:
            done |= {run.params.N: run for run in consume_runs(outcome.done)}
        if outcome.failed is not None:
            failed |= {run.params.N: run.ledger.error for run in consume_runs(outcome.failed)}
    assert handled == count
    return done, failed, records


def test_a_run_that_hangs_is_killed_alone(workers):
    def wait_forever(run):
        run.fields.pid = os.getpid()
        if run.params.N == 1:
            threading.Event().wait()

    done, failed, _ = execute(workers, wait_forever, timeout_seconds=5.0)
    assert sorted(done) == [0, 2, 3]
    assert "exceeded timeout_seconds=5; its worker was killed" in failed[1]
    assert "in wait_forever" in failed[1]


def test_a_step_that_holds_the_interpreter_is_killed_too(workers):
    def hold(run):
        if run.params.N == 0:
            ctypes.PyDLL(None).sleep(1000)

    done, failed, _ = execute(workers, hold, count=2, timeout_seconds=5.0)
    assert sorted(done) == [1]
    assert "exceeded timeout_seconds=5" in failed[0]


@pytest.mark.parametrize(
    ("end", "named"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "ended by SIGKILL, perhaps because the"),
        (lambda: os._exit(3), "ended by an exit with code 3"),
        (lambda: ctypes.string_at(0), r"ended by SIGSEGV\nWhere it was(.|\n)*in end_some"),
    ],
    ids=["killed", "exit", "crash"],
)
def test_a_worker_that_ends_costs_one_run_and_says_why(workers, end, named):
    def end_some(run):
        run.fields.alive = True
        if run.params.N in (1, 2):
            end()

    done, failed, _ = execute(workers, end_some)
    assert sorted(done) == [0, 3]
    assert all(re.search(named, failed[n]) for n in (1, 2))
    assert not any(tracebacks.PACKAGE in error for error in failed.values())


def test_what_was_done_is_handed_over_while_the_rest_goes_on(workers, tmp_path):
    """The second half waits for a file that is made when the first half has arrived."""
    arrived = tmp_path / "arrived"

    def wait(run):
        while run.params.N == 1 and not arrived.exists():
            pass
        if run.params.N == 0:
            time.sleep(0.6)

    (step,) = as_steps(wait, {}, 0)
    chunk = pickle_runs([Run(params={"N": n}) for n in range(2)])
    outcomes = workers.execute(make_job(step, {}, logging.INFO, None), chunk)
    assert next(outcomes).count == 1
    arrived.touch()
    assert next(outcomes).count == 1


def test_kwargs_are_the_same_for_each_run(workers):
    def spoil(run):
        run.fields.k = run.kwargs.k
        run.kwargs.k = -1

    done, _, _ = execute(workers, spoil, kwargs={"k": 5})
    assert [run.fields.k for run in done.values()] == [5, 5, 5, 5]


def test_prints_and_log_records_come_in_order(workers):
    def speak(run):
        print("first", run.params.N)
        logging.getLogger("step").warning("second %s", run.params.N)

    _, _, records = execute(workers, speak, count=2)
    assert records == ["first 0", "second 0", "first 1", "second 1"]


def test_a_step_has_no_standard_input(workers):
    def read(run):
        run.fields.text = sys.stdin.read()

    done, _, _ = execute(workers, read, count=1)
    assert done[0].fields.text == ""


def test_closed_workers_interrupt_who_waits(workers):
    started = threading.Event()

    def consume():
        for _ in workers.execute(make_job(step, {}, logging.INFO, None), chunk):
            started.set()

    def call():
        with pytest.raises(WorkersClosed):
            consume()

    def hang(run):
        if run.params.N == 1:
            threading.Event().wait()
        time.sleep(0.6)

    (step,) = as_steps(hang, {}, 0)
    chunk = pickle_runs([Run(params={"N": n}) for n in range(2)])
    thread = threading.Thread(target=call)
    thread.start()
    assert started.wait(180)
    workers.close()
    thread.join(180)
    assert not thread.is_alive()


def test_processes_that_a_step_starts_end_with_its_worker(workers):
    def start(run):
        run.fields.pid = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1).pid

    done, _, _ = execute(workers, start, count=1)
    pid = done[0].fields.pid
    assert is_alive(pid)
    workers.close()
    assert not poll(lambda: is_alive(pid), lambda alive: not alive)


ORPHANS = """
import logging, os, sys, threading
from mltraq_prefect.execution import Workers, as_steps
from mltraq_prefect.execution.serialization import pickle_runs
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.model.run import Run

def hang(run):
    print(os.getpid(), file=open(run.params.path, "w"), flush=True)
    HANG

(step,) = as_steps(hang, {}, 0)
chunk = pickle_runs([Run(params={"path": sys.argv[1]})])
list(Workers(1).execute(make_job(step, {}, logging.INFO, None), chunk))
"""


@pytest.mark.parametrize(
    "hang", ["while True: pass", "import ctypes; ctypes.PyDLL(None).sleep(1000)"]
)
def test_a_worker_ends_when_its_parent_is_killed(tmp_path, hang):
    path = tmp_path / "pid"
    program = ORPHANS.replace("HANG", hang)
    parent = subprocess.Popen([sys.executable, "-c", program, str(path)])
    pid = poll(lambda: path.exists() and path.read_text().strip(), bool)
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    assert not poll(lambda: is_alive(pid), lambda alive: not alive)


def test_a_step_that_cannot_be_sent_is_named():
    lock = threading.Lock()
    (step,) = as_steps(lambda run: lock.acquire(), {}, 0)
    with pytest.raises(InvalidInput, match=r"step '<lambda>' cannot be sent to a worker process"):
        make_job(step, {}, logging.INFO, None)


def test_kwargs_that_cannot_be_sent_are_named():
    (step,) = as_steps(print, {}, 0)
    with pytest.raises(InvalidInput, match=r"kwargs.lock \(of type lock\) cannot be sent"):
        make_job(step, {"lock": threading.Lock()}, logging.INFO, None)


def test_numbers_of_workers():
    assert worker_count(3) == 3
    assert worker_count(-1) >= 1
    assert worker_count(-1000) == 1
