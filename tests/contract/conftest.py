"""Each test of the contract runs on each backend, in an empty database of its own."""

import contextlib

import pytest

from mltraq_prefect.storage import Store
from tests import servers

SHARED = ("sqlite-file", "postgresql", "mariadb")
"""Those that several processes can use."""
BACKENDS = (*SHARED, "sqlite-memory")


@contextlib.contextmanager
def empty_database(backend, folder):
    """Yield the URL of an empty database, and drop it afterwards."""
    if backend == "sqlite-memory":
        yield "sqlite://"
    elif backend == "sqlite-file":
        yield f"sqlite:///{folder}/store.db"
    elif backend == "postgresql":
        with servers.postgresql_database() as url:
            yield url
    else:
        with servers.mariadb_database() as url:
            yield url


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    with empty_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=SHARED)
def shared_url(request, tmp_path):
    """A database that several processes can use."""
    with empty_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def store(url):
    opened = Store(url)
    opened.check()
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite-file", "postgresql"])
def counted_url(request, tmp_path):
    """A database in which nobody else does anything."""
    if request.param == "postgresql":
        with servers.counted_postgresql_database() as url:
            yield url
    else:
        yield f"sqlite:///{tmp_path}/store.db"
