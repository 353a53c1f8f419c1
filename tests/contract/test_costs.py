"""What runs and their steps have cost, on every backend; and in databases of the format before."""

import os
import shutil
import time

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution import monitor
from mltraq_prefect.storage import Store
from tests.contract.assets import FOLDER
from tests.contract.records import make_record, make_run

MIB = 2**20


def large(run):
    run.fields.total = sum(bytearray(64 * MIB)[:: MIB // 16])
    work(run)


def work(run):
    run.fields.total = sum(range(300_000))


def test_costs_of_runs_and_steps_are_in_the_ledger(url):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("x").add_runs(n=[1, 2])
        experiment.execute([large, work], n_jobs=1).persist()
        for run in session.load("x").runs.values():
            of_steps = run.ledger.executions
            assert all(entry.cpu_s > 0 for entry in of_steps.values())
            assert run.ledger.cpu_s == sum(entry.cpu_s for entry in of_steps.values())
            peaks = [of_steps[name].peak_rss_bytes for name in ("large", "work")]
            assert peaks[0] > peaks[1] + 48 * MIB  # a peak is forgotten after its attempt
            assert run.ledger.peak_rss_bytes == peaks[0]
            assert run.ledger.worker == of_steps["work"].worker
            assert int(run.ledger.worker.rpartition(":")[2]) != os.getpid()
        sql = "SELECT count(cpu_s) AS a, count(peak_rss_bytes) AS b, count(worker) AS c FROM {}"
        for table, rows in (("experiment_runs", 2), ("experiment_run_steps", 4)):
            assert session.query(sql.format(table)).values.tolist() == [[rows] * 3]


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_memory_of_steps_in_this_process_is_not_known(backend):
    with mltraq.create_session("sqlite://") as session:
        experiment = session.add_experiment("x").add_runs(n=[1]).execute(work, backend=backend)
        entry = experiment.runs.first().ledger
        assert entry.cpu_s > 0
        assert entry.peak_rss_bytes is None
        assert int(entry.worker.rpartition(":")[2]) == os.getpid()


def test_a_database_of_the_format_before_gets_costs(tmp_path):
    shutil.copy(FOLDER / "format-2.db", tmp_path / "old.db")
    store = Store(f"sqlite:///{tmp_path}/old.db")
    assert [run.ledger.cpu_s for run in store.read("coin toss").runs] == [None, None]
    new = make_run(7, n=7)
    new.ledger.cpu_s, new.ledger.peak_rss_bytes, new.ledger.worker = 1.5, 2**40, "host:1"
    store.write(make_record(runs=[new]), "merge")
    found = store.read("coin toss").runs[-1].ledger
    assert (found.cpu_s, found.peak_rss_bytes, found.worker) == (1.5, 2**40, "host:1")


def watch(run):
    run.log(loss=1.0)
    time.sleep(monitor.SAMPLE_SECONDS * 1.5)  # at least: a busy machine lets it sleep longer


def test_what_runs_use_is_monitored(session_of_backend):
    session, backend = session_of_backend
    experiment = session.add_experiment("x").add_runs(n=[1])
    rule = mltraq.stop.bound(above=2)
    experiment.execute(watch, backend=backend, monitor=True, stop=rule).persist()
    run = session.load("x").runs.first()
    assert run.ledger.state == "completed"
    assert run.series["rss_bytes"].dropna().min() > MIB
    assert run.series["cpu_percent"].dropna().min() >= 0
    assert run.series["loss"].dropna().tolist() == [1.0]
    assert len(run.series) >= 3


@pytest.fixture(params=["local", "threads", "processes"])
def session_of_backend(request):
    with mltraq.create_session("sqlite://") as session:
        yield session, request.param


def test_decisions_that_do_not_depend_on_timing_and_monitoring_exclude_each_other():
    with mltraq.create_session("sqlite://") as session:
        experiment = session.add_experiment("x").add_runs(n=[1])
        with pytest.raises(mltraq.InvalidInput, match="monitor=True and synchronous=True"):
            experiment.execute(work, monitor=True, synchronous=True, stop=mltraq.stop.median())
