"""A sweep to be interrupted: ``python -m tests.execution.interrupted URL FOLDER RUNS``.

Each execution of a run leaves a mark in the folder, so that they can be counted afterwards. A file
``held`` in there names the first run whose last step waits until the file names a later one, or is
gone; a batch has `BATCH` runs then, so that those before it do not wait with it.
"""

import math
import os
import sys
import time
from pathlib import Path

import mltraq_prefect as mltraq

BATCH = 25


def pace(run):
    if (Path(run.kwargs.folder) / "slow").exists():
        time.sleep(0.5)


def held(folder):
    """Return the first run that waits; infinity if none does."""
    try:
        return int((Path(folder) / "held").read_text())
    except FileNotFoundError:
        return math.inf


def draw(run):
    with (Path(run.kwargs.folder) / f"run-{run.params.N}").open("a") as file:
        file.write("x")
    run.fields.drawn = run.rng.random(3)
    run.locals.extra = run.params.N
    time.sleep(run.kwargs.seconds)


def finish(run):
    while held(run.kwargs.folder) <= run.params.N:
        time.sleep(0.05)
    run.fields.total = float(run.fields.drawn.sum()) + run.locals.extra


def sweep(url, folder, runs):
    (Path(folder) / "pid").write_text(str(os.getpid()))
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(runs))
        kwargs = {"folder": folder, "seconds": 0.01}
        runs_per_task = "auto" if held(folder) == math.inf else BATCH
        options = {"n_jobs": 2, "checkpoint": True, "runs_per_task": runs_per_task}
        experiment.execute([draw, finish], kwargs, **options)


def await_flow_run():
    """Let the sweep begin with its flow run, however busy the server is: tests look for it."""
    from mltraq_prefect.orchestration import own_flow

    own_flow.BEGIN_SECONDS = 60.0


if __name__ == "__main__":
    if os.environ.get("PREFECT_API_URL"):
        await_flow_run()
    url, folder, runs = sys.argv[1:]
    sweep(url, folder, int(runs))
