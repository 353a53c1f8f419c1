"""Arrays tracked by other packages: seconds of the processor, for each line ``RUNSxVALUES``.

Each run tracks one array of floats on SQLite, or in the files of the package; MLflow, Aim and
Trackio have no arrays, and get their values one by one, as points of a metric. What would take
minutes is left out. Run with the name of a package; workloads come on the standard input.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.report import CPU, fastest

Track = Callable[[list[Any], str], None]


def main(package: str, answers: IO[str]) -> None:
    logging.disable()
    track, most = PACKAGES[package]
    in_folder(track, [np.zeros(1)])
    for line in sys.stdin:
        runs, values = map(int, line.split("x"))
        seconds = None
        if runs * values <= most and runs <= most / 100:
            arrays = [np.random.default_rng(i).random(values) for i in range(runs)]
            (seconds,) = fastest(partial(in_folder, track, arrays), repeats=1, clock=CPU)
        print(json.dumps(seconds), file=answers, flush=True)


def in_folder(track: Track, arrays: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        track(arrays, folder)


def mltraq(arrays: list[Any], folder: str, *, in_files: bool = False) -> None:
    import mltraq

    with mltraq.options().ctx({"datastore.url": f"file:///{folder}/files"}):
        session = mltraq.create_session(f"sqlite:///{folder}/bench.db")
        experiment = session.create_experiment("bench")
        for array in arrays:
            with experiment.run() as run:
                run.fields.array = mltraq.DataStore(array=array) if in_files else array
        experiment.persist()


def mlflow(arrays: list[Any], folder: str) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(f"sqlite:///{folder}/bench.db")
    experiment = client.create_experiment("bench", f"file://{folder}/artifacts")
    for array in arrays:
        run = client.create_run(experiment).info.run_id
        points = [Metric("array", value, 0, i) for i, value in enumerate(array.tolist())]
        for first in range(0, len(points), 1_000):
            client.log_batch(run, points[first : first + 1_000])
        client.set_terminated(run)


def optuna(arrays: list[Any], folder: str) -> None:
    import optuna

    study = optuna.create_study(storage=f"sqlite:///{folder}/bench.db", study_name="bench")
    for array in arrays:
        trial = study.ask()
        trial.set_user_attr("array", array.tolist())
        study.tell(trial, 0.0)


def aim(arrays: list[Any], folder: str) -> None:
    from aim import Run

    quiet = {"system_tracking_interval": None, "capture_terminal_logs": False}
    for array in arrays:
        run = Run(repo=folder, log_system_params=False, **quiet)
        for i, value in enumerate(array.tolist()):
            run.track(value, name="array", step=i)
        run.close()


def trackio(arrays: list[Any], folder: str) -> None:
    import trackio

    for i, array in enumerate(arrays):
        trackio.init(project=Path(folder).name, name=f"run {i}")
        for value in array.tolist():
            trackio.log({"array": value})
        trackio.finish()


SLOW = 10_000
PACKAGES: dict[str, tuple[Track, int]] = {
    "mltraq": (mltraq, 10**9),
    "files": (partial(mltraq, in_files=True), 10**9),
    "mlflow": (mlflow, SLOW),
    "optuna": (optuna, SLOW),
    "aim": (aim, 1_000),
    "trackio": (trackio, 1_000),
}
"""How each tracks arrays, and how many values, or a hundredth of that in runs, take no minutes."""


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    for shown in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), shown)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder  # which it reads once
        main(sys.argv[1], answers)
    os._exit(0)  # some leave threads behind
