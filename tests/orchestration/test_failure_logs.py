"""What the log tells of failures: each once, and nothing of what ended well."""

import logging
import os
import signal
import threading
import traceback

import pytest
from prefect import flow

import mltraq_prefect as mltraq
from tests.polling import poll
from tests.prefect_api import logs
from tests.steps import fail_in_two_ways
from tests.ways import in_both_ways

pytestmark = pytest.mark.usefixtures("prefect_server")

END = "the end of the test"


def executed(experiment, *args, **options):
    """Return the records that a flow logs which executes an experiment."""

    @flow
    def study():
        with pytest.raises(mltraq.RunsFailed):
            experiment.execute(*args, **options)
        logging.getLogger("prefect.flow_runs").info(END, extra={"flow_run_id": _current()})
        return _current()

    return logs(study(), lambda messages: END in messages)


def _current():
    from prefect import runtime

    return runtime.flow_run.id


def test_each_distinct_error_of_a_batch_is_one_line(session):
    experiment = session.add_experiment("e").add_runs(N=range(6))
    errors = [r for r in executed(experiment, fail_in_two_ways, runs_per_task=6) if r.level >= 40]
    first, second = sorted(record.message for record in errors)
    assert first.startswith("3 runs, such as N=0; N=2; N=4\nstep fail_in_two_ways: Traceback")
    assert "    return 1 / 0\n" in first
    assert first.endswith("ZeroDivisionError: division by zero")
    assert second.startswith("3 runs, such as N=1; N=3; N=5\n")
    assert second.endswith("KeyError: 1")


def test_an_error_that_was_told_before_is_told_without_its_frames(session):
    experiment = session.add_experiment("e").add_runs(N=range(4))
    records = executed(experiment, lambda run: 1 / 0, n_jobs=1, runs_per_task=1)
    errors = [record.message for record in records if record.level >= 40]
    assert len(errors) == 4
    assert sum("Traceback" in message for message in errors) == 1
    short = "ZeroDivisionError: division by zero (test_failure_logs.py:"
    assert sum(short in message for message in errors) == 3


def test_a_batch_that_fails_wholly_with_one_error_says_so_at_once(session):
    experiment = session.add_experiment("e").add_runs(N=range(4))
    records = executed(experiment, lambda run: 1 / 0, n_jobs=1, runs_per_task=2)
    errors = [record.message for record in records if record.level >= 40]
    assert errors[0].startswith("All 2 runs of the batch failed with one error; with on_error=")


def test_what_is_tried_again_is_no_error_yet(session):
    experiment = session.add_experiment("e").add_runs(N=[1])
    records = executed(experiment, lambda run: 1 / 0, retries=2)
    assert [r.message for r in records if r.level == 30 and "tried again" in r.message] == [
        r.message for r in records if "tried again" in r.message
    ]
    assert sum("tried again" in record.message for record in records) == 2
    assert sum(record.level >= 40 for record in records) == 1


def test_a_sweep_of_many_runs_logs_no_line_a_run(session):
    experiment = session.add_experiment("e").add_runs(N=range(1_000))
    step = {"bad": 999}
    records = executed(experiment, lambda run: 1 / (run.params.N - run.kwargs.bad), step)
    assert len(records) < 25


@in_both_ways
def test_an_interruption_is_told_once(session, tmp_path, caplog):
    def hang(run):
        (tmp_path / "begun").touch()
        threading.Event().wait()

    def interrupt():
        poll((tmp_path / "begun").exists, bool)
        os.kill(os.getpid(), signal.SIGINT)

    experiment = session.add_experiment("e").add_runs(N=range(4))
    with caplog.at_level(logging.INFO):
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt, match="interrupted; 0 of 4 runs completed"):
            experiment.execute(hang, n_jobs=2)
    errors = [record.getMessage() for record in caplog.records if record.levelno >= 40]
    assert [message for message in errors if "WorkersClosed" in message] == []
    assert len(errors) <= 1  # Prefect tells of the flow run


def test_the_cause_is_the_users_exception_for_a_debugger(session):
    experiment = session.add_experiment("e").add_runs(N=[1])
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(fail_in_two_ways, backend="local")
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    *_, (frame, _) = traceback.walk_tb(cause.__traceback__)
    assert frame.f_code.co_name == "fail_in_two_ways"
    assert frame.f_locals["run"].params.N == 1
