"""How tests are divided among processes: most singly, some together; groups begin first."""

from xdist.scheduler import LoadScopeScheduling

CLUSTERS = "share a Dask and a Ray"
DEPLOYED = "wait for a server and workers of deployments most of the time"
RESTARTED = "wait for servers that restart most of the time"

GROUPS = {
    "tests/contract/test_processes.py": "share 16 processes",
    "tests/deployments/test_demo.py": DEPLOYED,
    "tests/deployments/test_end_to_end.py": DEPLOYED,
    "tests/deployments/test_pages.py": DEPLOYED,
    "tests/deployments/test_shared.py": DEPLOYED,
    "tests/orchestration/test_blocks.py": "share names of blocks",
    "tests/orchestration/test_cluster_writes.py": CLUSTERS,
    "tests/orchestration/test_clusters.py": CLUSTERS,
    "tests/orchestration/test_database_restarts.py": RESTARTED,
    "tests/orchestration/test_notebooks.py": "share the outputs of a notebook",
    "tests/orchestration/test_server_restarts.py": RESTARTED,
    "tests/packaging/test_package.py": "share what was built and installed",
}
"""Modules, and what the tests of a group do. One process runs a group while others compute."""


class Scheduling(LoadScopeScheduling):
    """Gives a process one test or one group at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return GROUPS.get(nodeid.partition("::")[0], nodeid)
