"""One Dask for all tests of it; what they see in Prefect depends on no load of this machine."""

import pytest

from mltraq_prefect.orchestration import own_flow

DASK = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}


@pytest.fixture(scope="package")
def cluster():
    """A Dask, whose start takes seconds, as its workers import Prefect."""
    from distributed import LocalCluster

    with LocalCluster(**DASK) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def patient(request, monkeypatch):
    """Executions wait for their flow run, but where a test is about a server that has no time."""
    if "busy" not in request.fixturenames:
        monkeypatch.setattr(own_flow, "BEGIN_SECONDS", 60.0)
