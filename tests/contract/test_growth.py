"""What operations make the database do does not grow with what is stored beside it."""

import datetime as dt
import tracemalloc

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from tests import growth, servers

FEW, COPIES = 60, 100
"""Runs at first, and copies of them that are added."""

MORE = 1_000
"""Blocks or rows of the catalogue that a connection reads more or less; the runs are 6,000."""

ALLOWED = {"instructions": 1.3, "blocks": 1.3, "read": 1.3, "written": 1.0}


@pytest.fixture(params=["sqlite-file", "postgresql"])
def counted_url(request, tmp_path):
    """A database in which nobody else does anything."""
    if request.param == "postgresql":
        with servers.counted_postgresql_database() as url:
            yield url
    else:
        yield f"sqlite:///{tmp_path}/store.db"


def test_operations_cost_the_same_beside_a_hundred_times_as_many_runs(counted_url, caplog):
    caplog.set_level("ERROR")
    growth.make(counted_url, FEW)
    before = {name: growth.counted(counted_url, work) for name, work in growth.OPERATIONS.items()}
    growth.grow(counted_url, COPIES)
    over = {}
    for name, work in growth.OPERATIONS.items():
        found = growth.counted(counted_url, work)
        for what, most in ALLOWED.items():
            if what in found and found[what] > most * before[name][what] + MORE:
                over[name, what] = before[name][what], found[what]
    assert over == {}


def test_runs_by_id_have_no_number_from_which_on_they_cost_more(tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    growth.make(url, FEW)
    growth.grow(url, COPIES)
    store = Store(url)
    ids = [id_run for (id_run,) in store.query("SELECT id_run FROM e_grown ORDER BY id_run")[1]]

    def cost(count):
        found = growth.counted(url, lambda _: store.read(growth.NAME, ids=ids[:count]))
        return found["instructions"]

    assert cost(1_001) < 1.1 * cost(1_000)
    assert cost(1_000) < 12 * cost(100)
    store.close()


def test_a_loaded_column_takes_few_bytes_a_run(tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    growth.make(url, FEW)
    growth.grow(url, COPIES)
    with mltraq.create_session(url) as session:
        session.load(growth.NAME, pending="score")
        tracemalloc.start()
        try:
            loaded = session.load(growth.NAME, columns=["heads"])
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert taken < 600 * len(loaded.runs)
        last = [*loaded.runs.values()][-1]
        assert (last.params.n, last.ledger.state) == (55, "completed")
        assert last.ledger.started_at.tzinfo is dt.UTC
