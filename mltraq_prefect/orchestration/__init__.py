"""The only part of the package that imports Prefect: flows, task runs, and what they show."""

from mltraq_prefect.orchestration.blocks import ExperimentStore, url_of_block
from mltraq_prefect.orchestration.fanout import execute_in_tasks
from mltraq_prefect.orchestration.flows import in_flow, in_task, inside_task

__all__ = [
    "ExperimentStore",
    "execute_in_tasks",
    "in_flow",
    "in_task",
    "inside_task",
    "url_of_block",
]
