"""How tests are divided among processes: most singly, some together; groups begin first."""

from xdist.scheduler import LoadScopeScheduling

GROUPS = {
    "tests/contract/test_processes.py": "share 16 processes",
    "tests/deployments/test_end_to_end.py": "share a server with deployments",
    "tests/ui/test_pages.py": "share a server with deployments",
    "tests/orchestration/test_clusters.py": "share a Dask and a Ray",
    "tests/deployments/test_demo.py": "wait for Prefect servers most of the time",
    "tests/orchestration/test_blocks.py": "share names of blocks",
    "tests/orchestration/test_server_restarts.py": "wait for Prefect servers most of the time",
    "tests/orchestration/test_database_restarts.py": "wait for databases most of the time",
}
"""Modules, and what the tests of a group do. One process runs a group while others compute."""


class Scheduling(LoadScopeScheduling):
    """Gives a process one test or one group at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return GROUPS.get(nodeid.partition("::")[0], nodeid)
