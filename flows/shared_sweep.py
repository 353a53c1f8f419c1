"""A sweep that several flow runs of one deployment execute together; see docs/shared.md.

Start it as often as there shall be processes. They need a database that all of them can reach:
python flows/shared_sweep.py [DATABASE_URL]
"""

import sys

import numpy as np
from prefect import flow

import mltraq_prefect as mltraq


def walk(run: mltraq.Run) -> None:
    """Let walkers take random steps, and keep where they end."""
    steps = run.rng.normal(run.params.drift, 1.0, (run.kwargs.walkers, run.params.length))
    run.fields.ends = steps.sum(axis=1)


def distance(run: mltraq.Run) -> None:
    """Track how far the walkers have come on average, with its standard error."""
    far = np.abs(run.fields.ends)
    run.fields.distance = float(far.mean())
    run.fields.standard_error = float(far.std(ddof=1) / np.sqrt(len(far)))


@flow
def sweep(
    store: str | None = None,
    url: str | None = None,
    repetitions: int = 20,
    n_jobs: int = -1,
    lease_seconds: float = 30.0,
) -> None:
    """Take part in the sweep; return when all of it is done, whoever has done it.

    Args:
        store: Name of an Experiment Store block; None if the URL is given otherwise.
        url: URL of the database; the environment variable MLTRAQ_DATABASE_URL if None.
        repetitions: Runs at each point.
        n_jobs: Worker processes of this flow run; -1 is one a core.
        lease_seconds: How long the other flow runs wait for a sign of this one.
    """
    with mltraq.create_session(url, block=store) as session:
        experiment = session.add_experiment("walks").add_runs(
            drift=[0.0, 0.01, 0.02, 0.05, 0.1],
            length=[100, 200, 500, 1_000],
            repetition=range(repetitions),
        )
        experiment.execute(
            [walk, distance],
            {"walkers": 1_000},
            n_jobs=n_jobs,
            checkpoint=True,
            shared=True,
            lease_seconds=lease_seconds,
        )


if __name__ == "__main__":
    sweep(url=sys.argv[1] if len(sys.argv) > 1 else "sqlite:///walks.db")
