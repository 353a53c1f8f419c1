"""Workers of a cluster that outlive their flow, or the database for a while."""

import logging
import pickle

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints.cluster_results import ClusterResults
from mltraq_prefect.execution import RunFingerprints
from mltraq_prefect.execution.batch import Batch
from mltraq_prefect.execution.fanout.calls import CallLost
from mltraq_prefect.execution.fanout.executed import Executed, StepName, StepResult
from mltraq_prefect.execution.fanout.handover import Handover
from mltraq_prefect.execution.fanout.remote import RowSender
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.serialization import consume_runs, pickle_runs
from mltraq_prefect.model.spool import own_spool
from mltraq_prefect.storage.sql import retries
from tests import servers
from tests.contract.proxy import proxied


def interrupt(run):
    raise KeyboardInterrupt


def interrupted(session, step=interrupt):
    """Return an execution that has ended before its run, as its experiment and the id of it."""
    experiment = session.add_experiment("late").add_runs(N=[1])
    with pytest.raises(KeyboardInterrupt):
        experiment.execute(step, backend="local", checkpoint=True)
    return experiment, max(experiment._state.executions.values(), key=lambda own: own.started_at)


def call_in_vain(_request):
    raise CallLost.by_end()


def call(_request):
    return pickle.dumps([])


def late_worker(experiment, execution, call=call_in_vain):
    """Return a function that ends a batch of an execution on a cluster; its flow has ended."""
    steps = [StepName(*own) for own in execution.steps.items()]
    prints, desk = RunFingerprints(execution.steps), Desk(own_spool(), None)
    more = prints, experiment._state, desk, execution.id_execution
    results = ClusterResults(experiment.runs, steps, *more)
    handover = Handover(results.batch_writer(), steps, None, RowSender(call), None)
    batch = Batch("1", 1, [pickle_runs([*experiment.runs.values()])])
    batch.facts = results.facts_of([*experiment.runs.values()])
    handover.begin(batch)
    (run,) = consume_runs(pickle_runs([*experiment.runs.values()]))
    run.fields.tries = 1
    run.ledger.begin(steps[0].name, steps[0].fingerprint)
    run.ledger.complete(*steps[0])
    batch.todo, batch.done = [], [pickle_runs([run])]
    return lambda: handover(Executed([StepResult(batch, None)]))


@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_whose_flow_has_ended_writes_unless_others_execute_its_steps(session, others):
    end = late_worker(*interrupted(session))
    for _ in range(others):
        interrupted(session)
    if others:
        with pytest.raises(CallLost, match="another execution of these steps has begun"):
            end()
    else:
        end()
    (run,) = session.load("late").runs.values()
    assert run.ledger.state == ("pending" if others else "completed")
    assert dict(run.fields) == ({} if others else {"tries": 1})


def test_a_worker_whose_flow_has_ended_does_not_write_what_was_replaced(session):
    end = late_worker(*interrupted(session))
    session.load("late").persist(if_exists="replace")
    with pytest.raises(CallLost):
        end()
    assert session.load("late").runs.first().ledger.state == "pending"


class Restart(logging.Handler):
    """Starts a server again when somebody says that it has gone."""

    def __init__(self, proxy):
        super().__init__()
        self.proxy, self.said = proxy, []

    def emit(self, record):
        self.said.append(record.getMessage())
        if "has gone away" in self.said[-1]:
            self.proxy.begin_again()


def test_a_worker_waits_for_a_database_that_it_has_reached_before(monkeypatch):
    monkeypatch.setattr(retries, "SILENT_SECONDS", 0.0)
    logger = logging.getLogger("mltraq_prefect")
    with (
        servers.postgresql_database() as direct,
        proxied(direct) as (proxy, url),
        mltraq.create_session(url) as session,
    ):
        end = late_worker(*interrupted(session), call)
        proxy.end()
        restart = Restart(proxy)
        logger.addHandler(restart)
        try:
            executed = end()
        finally:
            logger.removeHandler(restart)
        assert executed.refusal == ""
        assert session.load("late").runs.first().fields.tries == 1
    assert len(restart.said) == 2
