"""Execution of steps on runs, in this process or in workers; independent of Prefect."""

from mltraq_prefect.execution.batch import Batch, Outcome
from mltraq_prefect.execution.batch_size import BatchSizer, Work, split
from mltraq_prefect.execution.cores import worker_count
from mltraq_prefect.execution.failures import (
    FailureLimit,
    grouped_failures,
    interruption_message,
)
from mltraq_prefect.execution.fingerprints import (
    Manifest,
    RunFingerprints,
    differences,
    has_other_code,
)
from mltraq_prefect.execution.options import ExecutionOptions, timeout_in_threads
from mltraq_prefect.execution.pool.parent import (
    Workers,
    WorkersClosed,
    prepare_workers,
    workers_of_this_process,
)
from mltraq_prefect.execution.pool.preparation import check_processes, refuse_while_preparing
from mltraq_prefect.execution.serial import execute_serially
from mltraq_prefect.execution.steps import Step, as_steps, refuse_edited

__all__ = [
    "Batch",
    "ExecutionOptions",
    "FailureLimit",
    "Manifest",
    "Outcome",
    "BatchSizer",
    "RunFingerprints",
    "Step",
    "Work",
    "Workers",
    "WorkersClosed",
    "as_steps",
    "check_processes",
    "differences",
    "execute_serially",
    "grouped_failures",
    "interruption_message",
    "has_other_code",
    "prepare_workers",
    "refuse_edited",
    "refuse_while_preparing",
    "split",
    "timeout_in_threads",
    "worker_count",
    "workers_of_this_process",
]
