"""MLflow on the tracking workloads, given as ``RUNSxVALUES``: seconds of each.

A value is a metric at a step; they are sent with `log_batch`, 1,000 at a time.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import Metric

from benchmarks.report import WALL, fastest

BATCH = 1_000


def main(workloads: list[str]) -> None:
    logging.disable()
    track(1, 1)
    seconds = []
    for workload in workloads:
        size = map(int, workload.split("x"))
        seconds += fastest(partial(track, *size), repeats=1, clock=WALL)
    print(json.dumps(seconds))


def track(runs: int, values: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        client = MlflowClient(f"sqlite:///{directory}/bench.db")
        experiment = client.create_experiment("bench", f"file://{directory}/artifacts")
        for _ in range(runs):
            run = client.create_run(experiment).info.run_id
            metrics = [Metric("metric", i / 7, 0, i) for i in range(values)]
            for first in range(0, values, BATCH):
                client.log_batch(run, metrics[first : first + BATCH])
            client.set_terminated(run)


if __name__ == "__main__":
    main(sys.argv[1:])
