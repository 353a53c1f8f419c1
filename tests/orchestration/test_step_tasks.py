"""Task runs of steps whose batch is handed over where it was executed, as on a cluster."""

import pytest
from prefect import flow

from mltraq_prefect.execution import ExecutionOptions
from mltraq_prefect.execution.batch import Batch, Outcome
from mltraq_prefect.execution.fanout.batch_attempt import BatchAttempt
from mltraq_prefect.execution.fanout.calls import CallLost
from mltraq_prefect.execution.fanout.executed import StepName
from mltraq_prefect.execution.fanout.handover import Handover
from mltraq_prefect.execution.fanout.remote import RowSender
from mltraq_prefect.execution.serialization import pickle_runs
from mltraq_prefect.execution.steps import as_steps
from mltraq_prefect.orchestration.step_tasks import step_task
from mltraq_prefect.orchestration.task_executor import TaskRun

pytestmark = pytest.mark.usefixtures("prefect_server")

RETRIES = 2


class Future:
    """What a task runner gives of a task run that has ended."""

    def __init__(self, state):
        self._state, self.task_run_id = state, state.state_details.task_run_id

    def result(self, **options):
        return self._state.result(**options)


def ended(session, execute, call):
    """Return what comes of a batch, and the batch, if a step is executed and it is handed over."""
    (step,) = as_steps(lambda run: None, {}, 0)
    handover = Handover(None, [StepName(step.name, "a")], None, RowSender(call), None)
    options = ExecutionOptions({}, retries=RETRIES)
    attempt = BatchAttempt(execute, None, None)
    task = step_task(step, attempt, options, "e_x", handover, runs_in_thread=False)
    runs = session.add_experiment("x").add_runs(n=[1, 2]).runs
    batch = Batch("1", 2, [pickle_runs([*runs.values()])])

    @flow
    def calling():
        return TaskRun(Future(task(batch, return_state=True))).result()

    return calling(), batch


def complete(chunk, _deliver):
    yield Outcome(len(chunk), chunk, None, [])


def test_a_batch_that_cannot_be_handed_over_is_not_executed_again_without_its_runs(session):
    calls = []

    def call(request):
        calls.append(request)
        raise OSError(f"connection {len(calls)} was lost")

    error, _ = ended(session, complete, call)
    assert (type(error), str(error)) == (OSError, "connection 1 was lost")
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("raised", "attempts"), [(CallLost.by_end(), 1), (OSError("no room"), RETRIES + 1)]
)
def test_a_step_is_tried_again_only_if_somebody_takes_what_it_makes(session, raised, attempts):
    tried = []

    def execute(chunk, _deliver):
        tried.append(chunk)
        raise raised
        yield

    error, batch = ended(session, execute, None)
    assert str(error) == str(raised)
    assert len(tried) == attempts
    assert batch.here is None, "nothing of it stays"
