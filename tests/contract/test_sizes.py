"""What `ls` says of the bytes that an experiment takes."""

import os

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.values.names import series_of
from tests.contract.records import backend_of, make_record, make_run


def sizes(store):
    return {row["name"]: row["bytes"] for row in store.ls()}


def test_ls_lists_sizes(store):
    small = make_record("small", runs=[make_run(i, n=i) for i in range(10)])
    noise = [np.frombuffer(os.urandom(100_000), dtype=np.uint8) for _ in range(20)]
    large = make_record("large", runs=[make_run(i, x=x) for i, x in enumerate(noise)])
    store.write(small, "fail")
    store.write(large, "fail")
    refresh(store)
    found = sizes(store)
    assert 1_000 < found["small"] < 100_000
    assert 2_000_000 < found["large"] < 5_000_000


def refresh(store):
    """The statistics of MariaDB and MySQL follow a write after a while."""
    if backend_of(store) == "mariadb":
        with store._database.writing("test") as transaction:
            for row in store.ls():
                transaction.rows(f"ANALYZE TABLE {row['table_name']}")
                series = series_of(row["table_name"])
                if transaction.has_table(series):
                    transaction.rows(f"ANALYZE TABLE {series}")


def test_an_experiment_that_is_merged_into_grows(store):
    store.write(make_record(runs=[make_run(0, x=os.urandom(1_000))]), "fail")
    refresh(store)
    before = sizes(store)["coin toss"]
    store.write(make_record(runs=[make_run(i, x=os.urandom(10_000)) for i in range(99)]), "merge")
    refresh(store)
    assert sizes(store)["coin toss"] >= before + 500_000


def test_series_count(shared_url):
    with mltraq.create_session(shared_url) as session:
        for count in (3, 30):
            experiment = session.add_experiment(f"with {count}").add_runs(n=range(count))
            experiment.execute(log_many, backend="local").persist()
            refresh(Store(shared_url))
        few, many = session.ls().bytes
    assert 3 * 500 * 40 < few < 300_000
    assert 30 * 500 * 40 < many < 3_000_000


def log_many(run):
    for loss in range(500):
        run.log(loss=float(loss))


@pytest.mark.parametrize("url", ["sqlite-file"], indirect=True)
def test_sizes_do_not_read_large_values(url):
    store = Store(url)
    store.write(make_record(runs=[make_run(i, x=np.ones(125_000)) for i in range(50)]), "fail")
    before = bytes_read()
    assert sizes(store)["coin toss"] > 50 * 10**6
    assert bytes_read() - before < 5 * 10**6
    store.close()


def bytes_read():
    """Return how many bytes this process has asked the system for."""
    with open("/proc/self/io") as file:
        return int(dict(line.split(": ") for line in file)["rchar"])
