"""What steps print and log: nothing is lost, and it is shown while they are executed."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

from mltraq_prefect.execution import Workers, as_steps
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.serialization import pickle_runs
from mltraq_prefect.model.run import Run


def outcomes(workers, step, count=1, timeout_seconds=None):
    (prepared,) = as_steps(step, {}, 0)
    job = make_job(prepared, {}, logging.INFO, timeout_seconds)
    return workers.execute(job, pickle_runs([Run(params={"N": n}) for n in range(count)]))


def spoken(step, count=1, timeout_seconds=None):
    """Return level and message of all that a step logged and printed."""
    with Workers(1) as workers:
        return [
            (record.level, record.message)
            for outcome in outcomes(workers, step, count, timeout_seconds)
            for record in outcome.records
        ]


def messages(step, count=1, timeout_seconds=None):
    return [message for _, message in spoken(step, count, timeout_seconds)]


@pytest.mark.parametrize(
    "end",
    [
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: ctypes.string_at(0),
        lambda: os._exit(3),
        lambda: threading.Event().wait(),
    ],
    ids=["killed", "crash", "exit", "timeout"],
)
def test_what_was_printed_before_a_worker_ended_is_there(end):
    def speak(run):
        print("printed")
        logging.getLogger("anybody").error("logged")
        print("begun", end="")
        end()

    assert messages(speak, timeout_seconds=5.0)[:3] == ["printed", "logged", "begun"]


def test_output_of_subprocesses_and_of_c_code_is_captured():
    def speak(run):
        subprocess.run(["echo", "of a subprocess"], check=True)
        subprocess.run(["echo", "by sys.stdout"], check=True, stdout=sys.stdout)
        os.write(2, b"to a descriptor\n")
        print("to standard error", file=sys.stderr)
        warnings.warn("beware", stacklevel=1)

    *raw, (level, warning) = spoken(speak)
    assert raw == [
        (logging.INFO, "of a subprocess"),
        (logging.INFO, "by sys.stdout"),
        (logging.INFO, "to a descriptor"),
        (logging.INFO, "to standard error"),
    ]
    assert level == logging.WARNING
    assert "UserWarning: beware" in warning


def test_standard_output_is_a_text_file():
    def speak(run):
        print(sys.stdout.encoding, sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty())
        sys.stdout.reconfigure(line_buffering=True)
        sys.stdout.buffer.write("Zürich\n".encode())
        sys.stdout.writelines(["one\n", "\ud800\n"])

    assert messages(speak) == ["utf-8 1 2 False", "Zürich", "one", "\\ud800"]


def test_a_progress_bar_is_one_line():
    def speak(run):
        for percent in range(101):
            print(f"\r{percent} %", end="", file=sys.stderr)
        print(file=sys.stderr)

    assert messages(speak) == ["100 %"]


def test_text_without_newlines_is_cut_and_complete():
    def speak(run):
        for _ in range(1000):
            print("x" * 1000, end="")

    lines = messages(speak)
    assert len(lines) >= 5
    assert "".join(lines) == "x" * 1_000_000


def test_what_looks_like_a_record_is_text():
    def speak(run):
        print("before\x1e[no record")
        print("\x1e1")

    assert messages(speak) == ["before\x1e[no record", "\x1e1"]


def test_a_traceback_is_logged_whole_and_once():
    def speak(run):
        logging.basicConfig(level=logging.INFO)
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("anybody").exception("no")

    (message,) = messages(speak)
    assert message.startswith("no\nTraceback")


def test_output_comes_while_the_step_is_executed(tmp_path):
    """The step ends when its first line has arrived."""
    arrived = tmp_path / "arrived"

    def speak(run):
        print("first")
        while not arrived.exists():
            time.sleep(0.01)
        print("second")

    with Workers(1) as workers:
        live = outcomes(workers, speak)
        first = next(live)
        assert first.count == 0
        assert [record.message for record in first.records] == ["first"]
        arrived.touch()
        rest = [record.message for outcome in live for record in outcome.records]
    assert rest == ["second"]


def test_a_step_that_closes_its_output_goes_on():
    def speak(run):
        print("before")
        os.closerange(1, 256 if run.params.N < 0 else 3)
        logging.getLogger("anybody").info("after")

    assert messages(speak) == ["before", "after"]
