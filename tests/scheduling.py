"""How tests are divided among processes: most singly, some together; groups begin first."""

from xdist.scheduler import LoadScopeScheduling

WAITS = "wait for servers and other programs most of the time"

GROUPS = {
    "tests/contract/test_processes.py": "share 16 processes",
    "tests/deployments/test_demo.py": WAITS,
    "tests/deployments/test_end_to_end.py": WAITS,
    "tests/deployments/test_pages.py": WAITS,
    "tests/deployments/test_shared.py": WAITS,
    "tests/orchestration/test_blocks.py": "share names of blocks",
    "tests/orchestration/test_clusters.py": "share a Dask and a Ray",
    "tests/orchestration/test_database_restarts.py": WAITS,
    "tests/orchestration/test_notebooks.py": "share the outputs of a notebook",
    "tests/orchestration/test_server_restarts.py": WAITS,
    "tests/packaging/test_package.py": "share what was built and installed",
}
"""Modules, and what the tests of a group do. One process runs a group while others compute."""


class Scheduling(LoadScopeScheduling):
    """Gives a process one test or one group at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return GROUPS.get(nodeid.partition("::")[0], nodeid)
