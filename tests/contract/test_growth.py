"""What operations make the database do does not grow with what is stored beside it."""

import datetime as dt
import tracemalloc

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from tests import growth

FEW, COPIES = 60, 100
"""Runs at first, and copies of them that are added."""

EXPERIMENTS = 1_000
"""Experiments beside it, which are listed."""

MORE = 1_000
"""Blocks or rows of the catalogue that a connection reads more or less; the runs are 6,000."""

ATTEMPTS = 3
"""How often an operation is counted that is over: the server's own upkeep is counted with it."""

ALLOWED = {"instructions": 1.3, "blocks": 1.3, "read": 1.3, "written": 1.0}


def test_operations_cost_the_same_beside_a_hundred_times_as_many_runs(counted_url, caplog):
    caplog.set_level("ERROR")
    growth.make(counted_url, FEW)
    before = {name: growth.counted(counted_url, work) for name, work in growth.OPERATIONS.items()}
    growth.grow(counted_url, COPIES)
    over = {}
    for name, work in growth.OPERATIONS.items():
        for _ in range(ATTEMPTS):
            found = growth.counted(counted_url, work)
            over[name] = {
                what: (before[name][what], found[what])
                for what, most in ALLOWED.items()
                if what in found and found[what] > most * before[name][what] + MORE
            }
            if not over[name]:
                del over[name]
                break
    assert over == {}


def least_of(url, work):
    """Return the counts of an operation without what else the server does meanwhile."""
    counts = [growth.counted(url, work) for _ in range(ATTEMPTS)]
    return {what: min(each[what] for each in counts) for what in counts[0]}


def test_listing_an_experiment_takes_less_than_a_block(counted_url):
    """Or few instructions of SQLite; opening a session on a server reads none of them."""
    growth.make(counted_url, FEW)
    opened, listed = (growth.OPERATIONS[name] for name in ("open a session", "ls()"))
    before = growth.counted(counted_url, opened)
    growth.crowd(counted_url, EXPERIMENTS)
    after, found = (least_of(counted_url, work) for work in (opened, listed))
    if "blocks" in found:
        assert after["blocks"] < before["blocks"] + MORE
        assert found["blocks"] < after["blocks"] + EXPERIMENTS
    else:
        assert found["instructions"] < after["instructions"] + 200 * EXPERIMENTS
    store = Store(counted_url)
    sizes = {row["name"]: row["bytes"] for row in store.ls()}
    assert 0.5 < sizes[growth.NAME] / store.size(growth.NAME) < 2
    assert min(sizes.values()) > 4_000
    store.close()


def test_runs_by_id_have_no_number_from_which_on_they_cost_more(tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    growth.make(url, FEW)
    growth.grow(url, COPIES)
    store = Store(url)
    ids = [id_run for (id_run,) in store.query("SELECT id_run FROM e_grown ORDER BY id_run")[1]]
    store.close()

    def cost(count):
        return growth.counted(url, lambda url: read(url, ids[:count]))["instructions"]

    assert cost(1_001) < 1.1 * cost(1_000)
    assert cost(1_000) < 12 * cost(100)


def read(url, ids):
    store = Store(url)
    store.read(growth.NAME, ids=ids)
    store.close()


def test_a_loaded_column_takes_few_bytes_a_run(tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    growth.make(url, FEW)
    growth.grow(url, COPIES)
    with mltraq.create_session(url) as session:
        session.load(growth.NAME, pending="score")
        session.load(growth.NAME, columns=["heads"]).runs.df()
        tracemalloc.start()
        try:
            loaded = session.load(growth.NAME, columns=["heads"])
            taken = tracemalloc.get_traced_memory()[0]
            frame = loaded.runs.df()
            with_frame = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert taken < 250 * len(loaded.runs)
        assert with_frame < 350 * len(frame)
        last = [*loaded.runs.values()][-1]
        assert (last.params.n, last.ledger.state) == (55, "completed")
        assert last.ledger.started_at.tzinfo is dt.UTC


def test_an_export_takes_no_more_memory_if_there_are_more_runs(tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    growth.make(url, FEW)
    peaks = []
    for copies in (COPIES, 3):  # 6,000 runs, and 24,000
        growth.grow(url, copies)
        peaks.append(export_peak(url, tmp_path / "runs.csv"))
    assert peaks[1] < 1.3 * peaks[0]


def export_peak(url, path):
    """Return the most bytes that an export takes at once."""
    with mltraq.create_session(url) as session:
        tracemalloc.start()
        try:
            session.export(growth.NAME, path, overwrite=True)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(path.read_text().splitlines()) > len(session.load(growth.NAME, columns=[]).runs)
    return peak
