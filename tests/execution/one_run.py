"""A step on one run, in a worker of its own; programs import this without pytest and Prefect."""

import logging
import os
import sys

from mltraq_prefect.execution import Workers, as_steps
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.serialization import consume_runs, pickle_runs
from mltraq_prefect.model.run import Run


def tell(run):
    """Tell what the process of a step has."""
    run.fields.server = os.getppid()
    run.fields.pid = os.getpid()
    run.fields.variable = os.environ.get("MLTRAQ_A_VARIABLE")
    run.fields.directory = os.getcwd()
    run.fields.path = sys.path
    run.fields.umask = os.umask(0)
    run.fields.priority = os.getpriority(os.PRIO_PROCESS, 0)
    run.fields.server_marked = hasattr(logging, "mark")
    logging.mark = True


def ended(outcomes):
    """Return the outcomes that are more than records of what was printed."""
    return [outcome for outcome in outcomes if outcome.count]


def executed(step, workers=None):
    """Return the fields of a run after a step, in a worker of its own unless one is given."""
    if workers is None:
        with Workers(1) as own:
            return executed(step, own)
    (prepared,) = as_steps(step, {}, 0)
    job = make_job(prepared, {}, logging.INFO, None)
    (outcome,) = ended(workers.execute(job, pickle_runs([Run()])))
    assert not outcome.failures, outcome.failures[0][1]
    (run,) = consume_runs(outcome.done)
    return run.fields
