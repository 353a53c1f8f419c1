"""What the facade uses of the modules that import Prefect; imported where it is needed.

Importing it checks the version of Prefect first.

Raises:
    UnsupportedVersion: Prefect is missing, or of a version that is not supported.
"""

from mltraq_prefect.requirements import check_installed, troubles_of_server

check_installed("prefect")
if troubles := troubles_of_server():
    from prefect.logging import get_logger

    for trouble in troubles:
        get_logger().warning("%s", trouble)

from mltraq_prefect.orchestration.artifacts import announce, link_report  # noqa: E402
from mltraq_prefect.orchestration.blocks import (  # noqa: E402
    ExperimentStore,
    pickle_key_of_block,
    url_of_block,
)
from mltraq_prefect.orchestration.events import Persisted  # noqa: E402
from mltraq_prefect.orchestration.flows import in_flow  # noqa: E402
from mltraq_prefect.orchestration.runners import check_runner, is_on_this_machine  # noqa: E402
from mltraq_prefect.orchestration.task_executor import execute_in_tasks  # noqa: E402

__all__ = [
    "ExperimentStore",
    "Persisted",
    "announce",
    "check_runner",
    "execute_in_tasks",
    "in_flow",
    "link_report",
    "is_on_this_machine",
    "pickle_key_of_block",
    "url_of_block",
]
