"""The only part of the package that imports Prefect: flows, task runs, and what they show.

What it exports is imported when it is asked for: Prefect imports `blocks` whenever it looks for
types of blocks, and must not wait for the rest.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mltraq_prefect.requirements import check_installed, troubles_of_server

if TYPE_CHECKING:
    from mltraq_prefect.orchestration.artifacts import announce as announce
    from mltraq_prefect.orchestration.blocks import ExperimentStore as ExperimentStore
    from mltraq_prefect.orchestration.blocks import pickle_key_of_block as pickle_key_of_block
    from mltraq_prefect.orchestration.blocks import url_of_block as url_of_block
    from mltraq_prefect.orchestration.events import Persisted as Persisted
    from mltraq_prefect.orchestration.fanout import execute_in_tasks as execute_in_tasks
    from mltraq_prefect.orchestration.flows import in_flow as in_flow
    from mltraq_prefect.orchestration.links import page_url as page_url
    from mltraq_prefect.orchestration.progress import ShownProgress as ShownProgress
    from mltraq_prefect.orchestration.runners import check_runner as check_runner

_MODULES = {
    "artifacts": ("announce",),
    "blocks": ("ExperimentStore", "pickle_key_of_block", "url_of_block"),
    "events": ("Persisted",),
    "fanout": ("execute_in_tasks",),
    "flows": ("in_flow",),
    "links": ("page_url",),
    "progress": ("ShownProgress",),
    "runners": ("check_runner",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            _check_prefect()
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _check_prefect() -> None:
    """Refuse a Prefect that is not supported; warn of one whose server does not work here.

    Raises:
        UnsupportedVersion: It is one, or there is none.
    """
    check_installed("prefect")
    if troubles := troubles_of_server():
        from prefect.logging import get_logger

        for trouble in troubles:
            get_logger().warning("%s", trouble)
