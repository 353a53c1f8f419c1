"""A flow whose runs take part in one sweep; each execution of a run of it leaves a mark."""

import time

from prefect import flow

import mltraq_prefect as mltraq
from tests.execution.interrupted import draw, finish, pace


@flow
def sweep(url: str, folder: str, runs: int, lease_seconds: float, ahead: float = 0.0):
    """Take part; the clock of this process is some seconds ahead."""
    now = time.time
    time.time = lambda: now() + ahead
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(runs))
        experiment.execute(
            [pace, draw, finish],
            {"folder": folder, "seconds": 0.02},
            n_jobs=1,
            checkpoint=True,
            shared=True,
            lease_seconds=lease_seconds,
        )
        ended = [(run.params.N, run.fields.total) for run in experiment.runs.values()]
        assert len(ended) == runs
