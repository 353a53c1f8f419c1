"""Execution of steps on runs, in this process or in worker processes; knows nothing of Prefect."""

from mltraq_prefect.execution.batch import Batch, Outcome, execute_batch, split
from mltraq_prefect.execution.serial import execute_serially
from mltraq_prefect.execution.steps import Step, as_steps
from mltraq_prefect.execution.workers import Workers, worker_count

__all__ = [
    "Batch",
    "Outcome",
    "Step",
    "Workers",
    "as_steps",
    "execute_batch",
    "execute_serially",
    "split",
    "worker_count",
]
