"""A sweep to be interrupted: ``python -m tests.execution.interrupted URL FOLDER RUNS``.

Each execution of a run leaves a mark in the folder, so that they can be counted afterwards.
"""

import os
import sys
import time
from pathlib import Path

import mltraq_prefect as mltraq


def pace(run):
    if (Path(run.kwargs.folder) / "slow").exists():
        time.sleep(0.25)


def draw(run):
    with (Path(run.kwargs.folder) / f"run-{run.params.N}").open("a") as file:
        file.write("x")
    run.fields.drawn = run.rng.random(3)
    run.locals.extra = run.params.N
    time.sleep(run.kwargs.seconds)


def finish(run):
    run.fields.total = float(run.fields.drawn.sum()) + run.locals.extra


def sweep(url, folder, runs):
    (Path(folder) / "pid").write_text(str(os.getpid()))
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(runs))
        kwargs = {"folder": folder, "seconds": 0.01}
        experiment.execute([draw, finish], kwargs, n_jobs=2, checkpoint=True)


if __name__ == "__main__":
    url, folder, runs = sys.argv[1:]
    sweep(url, folder, int(runs))
