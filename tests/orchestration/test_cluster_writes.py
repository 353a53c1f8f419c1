"""Workers of a real Dask cluster write what they make themselves, into a database of each kind."""

import logging
import os
import pickle
import secrets
import socket
from typing import ClassVar

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.execution.row_buffer import ROWS_AT_ONCE
from tests.contract.conftest import SHARED, empty_database
from tests.orchestration.cluster_steps import contents, count, judge, leave, make
from tests.polling import poll
from tests.prefect_api import everything_of

pytestmark = pytest.mark.usefixtures("prefect_server")

PASSWORD = f"hunter2{secrets.token_urlsafe(12)}"


class Noted:
    """A future of which the size of the result is noted when it arrives."""

    def __init__(self, future, sizes):
        self._future, self._sizes = future, sizes
        self.task_run_id, self.add_done_callback = future.task_run_id, future.add_done_callback

    def result(self, **options):
        found = self._future.result(**options)
        self._sizes.append(len(pickle.dumps(found)))
        return found


@pytest.fixture
def runner(cluster):
    """A task runner that notes the bytes that come back, and may submit each batch twice."""
    from prefect_dask import DaskTaskRunner

    class Watched(DaskTaskRunner):
        sizes: ClassVar = []
        is_twice: ClassVar = False

        def submit(self, task, parameters, wait_for=None):
            if self.is_twice:
                super().submit(task, parameters)
            return Noted(super().submit(task, parameters, wait_for), self.sizes)

    return Watched(address=cluster.scheduler_address)


@pytest.fixture(params=SHARED)
def secret_url(request, tmp_path):
    with empty_database(request.param, tmp_path) as url:
        if "postgresql" in url:  # whose test server takes any password
            url = sa.make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)
        yield url


def told(experiment):
    """Return what the ledger says, but for times and places."""
    return [
        (
            run.ledger.state,
            run.ledger.step,
            run.ledger.steps,
            run.ledger.attempts,
            run.ledger.error_type,
            {name: (own.state, own.error_type) for name, own in run.ledger.executions.items()},
            [*run.series.get("N", ())],
            {name: file.path().read_bytes() for name, file in run.files.items()},
            run.fields.get("mean"),
            run.fields.get("note"),
        )
        for run in experiment.runs.values()
    ]


def changed_at(folder):
    return folder.stat().st_mtime_ns if folder.exists() else None


def test_workers_write_what_they_make(secret_url, runner, session, cluster, tmp_path):
    options = {"checkpoint": True, "on_error": "keep"}
    kwargs = {"tried": str(tmp_path / "tried")}
    here = session.add_experiment("sweep").add_runs(N=range(6))
    here.execute([make, judge], kwargs, backend="local", **options)
    os.remove(kwargs["tried"])
    with mltraq.create_session(secret_url) as there:
        experiment = there.add_experiment("sweep").add_runs(N=range(6))
        before = changed_at(contents())
        experiment.execute([make, judge], kwargs, task_runner=runner, runs_per_task=3, **options)
        assert changed_at(contents()) == before, "no content of a file has come here"
        assert not any(run.is_in_memory("fields") for run in experiment.runs.values())
        assert sum(runner.sizes) < 100_000
        assert told(experiment) == told(here)
        assert told(there.load("sweep")) == told(session.load("sweep"))
        flow_run_id = experiment.runs.first().ledger.flow_run_id
        ran_on = {run.ledger.worker.split(":")[0] for run in experiment.runs.values()}
        assert ran_on == {socket.gethostname()}
        experiment.execute([make, judge], kwargs, task_runner=runner, runs_per_task=3, **options)
        assert len(runner.sizes) == 3, "only the run that had failed was executed again"
        assert told(experiment) == told(there.load("sweep"))
        rows = [run.series["N"].tolist() for run in experiment.runs.values()]
        assert rows == [[N] for N in range(6)], "a step that logs nothing now replaces rows"
    assert PASSWORD not in everything_of(flow_run_id)
    assert PASSWORD not in str(cluster.get_logs())
    with cluster.get_client() as client:
        left = client.run(lambda: sorted(contents().glob("*")))
    assert [*left.values()] == [[]], "workers keep no content that is written"


def test_of_two_workers_that_execute_a_batch_the_first_to_write_counts(session, runner, tmp_path):
    type(runner).is_twice = True
    experiment = session.add_experiment("twice").add_runs(N=[1])
    kwargs = {"counter": str(tmp_path / "tries")}
    experiment.execute(count, kwargs, task_runner=runner, checkpoint=True)
    for run in (experiment.runs.first(), session.load("twice").runs.first()):
        first = run.fields.tries
        assert dict(run.fields) == {"tries": first, f"only_in_{first}": True}
        assert run.ledger.state == "completed"
        assert run.series["tries"].tolist() == [first] * 3 * ROWS_AT_ONCE


def test_what_a_worker_has_written_counts_if_it_is_killed_before_it_says_so(
    session, url, runner, cluster, tmp_path, caplog
):
    assert poll(lambda: cluster.scheduler.workers, bool)
    counter = tmp_path / "executed"
    kwargs = {"counter": str(counter), "database": sa.make_url(url).database}
    experiment = session.add_experiment("killed").add_runs(N=[1, 2])
    options = {"runs_per_task": 2, "backend": "threads", "checkpoint": True}
    with caplog.at_level(logging.INFO, "mltraq_prefect"):
        experiment.execute(leave, kwargs, task_runner=runner, **options)
    assert "2 runs were executed twice, as when a worker is lost" in caplog.text
    assert counter.read_text() == ".."
    for runs in (experiment.runs, session.load("killed").runs):
        for number, run in enumerate(runs.values(), 1):
            assert (run.ledger.state, run.ledger.attempts) == ("completed", 1)
            assert (run.fields.double, run.series["N"].tolist()) == (2 * number, [number])
            assert run.files["note.txt"].path().read_bytes() == b"%d" % number
    assert session.query("SELECT count(*) AS n FROM e_killed")["n"].tolist() == [2]


def test_a_worker_elsewhere_gives_its_results_to_the_flow(session, runner, cluster, caplog):
    def move(name):
        socket.gethostname = lambda: name

    own = socket.gethostname()
    with cluster.get_client() as client:
        client.run(move, "another-machine")
        experiment = session.add_experiment("elsewhere").add_runs(N=range(2))
        experiment.execute([make, judge], task_runner=runner, runs_per_task=1, checkpoint=True)
        client.run(move, own)
    assert sum(runner.sizes) > 8_000_000
    assert [run.fields.mean for run in session.load("elsewhere").runs.values()] == [0, 3]
    said = [record for record in caplog.records if "pass through this process" in record.message]
    assert len(said) == 1
    assert "something else here" in said[0].message
