"""One Dask for all tests of it."""

import pytest

DASK = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}


@pytest.fixture(scope="package")
def cluster():
    """A Dask, whose start takes seconds, as its workers import Prefect."""
    from distributed import LocalCluster

    with LocalCluster(**DASK) as cluster:
        yield cluster
